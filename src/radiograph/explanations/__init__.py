"""Floor 3: labels for features, and how much each may be trusted."""

from radiograph.explanations._attributes import Choice, Labelled, choose
from radiograph.explanations._labels import Label, Labels, label_features
from radiograph.explanations._preferred import Explanation, preferred
from radiograph.explanations._sources import LABELS_FILE, NO_LABELS, SHIPPED, LabelSource, open_labels

__all__ = [
    "LABELS_FILE",
    "NO_LABELS",
    "SHIPPED",
    "Choice",
    "Explanation",
    "Label",
    "LabelSource",
    "Labelled",
    "Labels",
    "choose",
    "label_features",
    "open_labels",
    "preferred",
]
