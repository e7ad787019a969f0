"""Words of the small world: the attribute of its tokens that a feature goes with best.

1. per feature and attribute: AUROC of the activation for the attribute over content tokens (ties at mid-rank, so that
   the many zeros count as measured), on the texts that teach
2. the best one is kept if its AUROC on the texts that check is at least `floor`
"""

from __future__ import annotations

import numpy as np

from radiograph.core import Refusal
from radiograph.evidence import Estimate
from radiograph.explanations._attributes import Choice, Labelled, choose
from radiograph.explanations._described import described
from radiograph.explanations._study import Explained, Study
from radiograph.explanations.texts._passages import CHECK, LEARN, Material

AUTHOR = "small world"


def lacks(study: Study) -> str | None:
    """The world's labels of the tokens."""
    return None if study.truth is not None else "a model and texts of the small world, whose tokens are labelled"


def explain(study: Study) -> Explained:
    """Choose on one part, score on the other."""
    truth = study.truth
    assert truth is not None
    part = study.part[study.material.passages.text_of]
    halves = [Labelled(_dense(m), truth.of[part == p]) for m, p in ((study.learn, LEARN), (study.check, CHECK))]
    if min(len(half.truth) for half in halves) < 2:
        raise Refusal("few_groups", "too few labelled tokens", got=str([len(half.truth) for half in halves]))
    chosen = choose(halves[0], halves[1], floor=truth.floor)
    return Explained(
        AUTHOR,
        tuple(
            base.model_copy(update=_words(truth.names, chosen.get(place)))
            for place, base in enumerate(described(study))
        ),
    )


def _words(names: tuple[str, ...], choice: Choice | None) -> dict[str, object]:
    if choice is None:
        return {"why": "no attribute of the world fits it"}
    return {
        "text": names[choice.attribute].replace("_", " "),
        "score": Estimate(value=choice.scoring, n=choice.n, unit="auroc", null=0.5, method="held-out tokens"),
    }


def _dense(material: Material) -> np.ndarray:
    return np.asarray(material.fires.todense(), np.float32).T
