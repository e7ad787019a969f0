"""Floor 3: words for features: who may write them, what they rest on, how well they say where a feature fires.

Texts and features (`Material`) are parted into what explains and what is reserved; `explainer(NAME).explain(study)`
writes words; `scorers` ask how well they foretell the reserved texts. Labels of others: `open_labels`, `preferred`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from radiograph.core import deferred
from radiograph.explanations._labels import Label, Labels, label_features
from radiograph.explanations._preferred import Explanation, preferred
from radiograph.explanations._sources import LABELS_FILE, NO_LABELS, SHIPPED, LabelSource, open_labels

if TYPE_CHECKING:
    from radiograph.explanations._asking import as_data, exchange, lines, marked_text, question
    from radiograph.explanations._attributes import Choice, Labelled, choose
    from radiograph.explanations._find import Explainer, explained, explainer, scorer_module, verbalizer_module
    from radiograph.explanations._protocol import Reconstructor, Verbalizer
    from radiograph.explanations._study import Explained, Study, Truth
    from radiograph.explanations.texts._contexts import Context, Windowed
    from radiograph.explanations.texts._passages import CHECK, LEARN, RESERVE, Material, Passages, parts
    from radiograph.explanations.texts._records import material_of, passages_of, write_material


__all__ = [
    "CHECK",
    "LABELS_FILE",
    "LEARN",
    "NO_LABELS",
    "RESERVE",
    "SHIPPED",
    "Choice",
    "Context",
    "Explained",
    "Explainer",
    "Explanation",
    "Label",
    "LabelSource",
    "Labelled",
    "Labels",
    "Material",
    "Passages",
    "Reconstructor",
    "Study",
    "Truth",
    "Verbalizer",
    "Windowed",
    "as_data",
    "choose",
    "exchange",
    "explained",
    "explainer",
    "label_features",
    "lines",
    "marked_text",
    "material_of",
    "open_labels",
    "parts",
    "passages_of",
    "preferred",
    "question",
    "scorer_module",
    "verbalizer_module",
    "write_material",
]

__getattr__ = deferred(__name__, __file__)
