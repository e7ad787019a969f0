"""Words that a model says when it is given a feature's write direction; no context is read.

What it says is a reading of the vector, not of when the feature fires: score it like any other explanation. With a
reconstructor the round trip vector → text → vector is measured beside texts of other vectors; that is a score of
vectors and stands apart.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from radiograph.evidence.explanations import RoundTripRecord
from radiograph.explanations._described import described
from radiograph.explanations._study import Explained, Study
from radiograph.numerics.explanations import round_trip

_LEAST = 3


def lacks(study: Study) -> str | None:
    """A verbalizer, and a vector for each feature."""
    if study.verbalizer is None:
        return "a model that speaks"
    return None if study.vectors is not None else "features with write directions"


def explain(study: Study) -> Explained:
    """Say each vector; reconstruct."""
    import torch

    assert study.verbalizer is not None and study.vectors is not None
    vectors = torch.from_numpy(np.ascontiguousarray(study.vectors, np.float32))
    texts = study.verbalizer.verbalize(vectors, study.seed)
    found = tuple(
        base.model_copy(update={"text": text} if text else {"why": "it said nothing"})
        for base, text in zip(described(study), texts, strict=True)
    )
    return Explained(f"{study.verbalizer.name} at {study.verbalizer.site}", found, extra=_round_trip(study, texts))


def _round_trip(study: Study, texts: list[str]) -> dict[str, Any]:
    assert study.vectors is not None
    if study.reconstructor is None:
        return {"round_trip_missing": "no reconstructor was given"}
    if len(texts) < _LEAST:
        return {"round_trip_missing": f"under {_LEAST} vectors"}
    rebuilt = study.reconstructor.reconstruct(texts).numpy()
    if rebuilt.shape != study.vectors.shape:
        return {"round_trip_missing": f"the reconstructor gives vectors of width {rebuilt.shape[1]}"}
    return {"round_trip": RoundTripRecord(**round_trip(study.vectors, rebuilt)._asdict())}
