"""How the rows of a decoder lie: features that nearly repeat each other, and encoders that look elsewhere.

1. The cosine of each decoder row with its nearest other row (`neighbours`, exact). Above 16,384 features for a seeded
   sample of 8,192 rows, each compared with all.
2. Duplicates: rows with a neighbour above .95. A dictionary of random rows of the same number is the yardstick: in d
   dimensions F random rows have neighbours too.
3. Cosine of each feature's encoder and decoder rows, where both stand in one space.
Rows of length zero have no neighbour and are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from radiograph.core.shapes import Float, Float64, Int
from radiograph.numerics.neighbours import nearest_rows

DUPLICATE = 0.95
ALL = 16_384
SAMPLE = 8_192
_QUERIES = 1_024
BINS = 40
"""Of a histogram of cosines, −1 to 1."""


@dataclass(frozen=True, eq=False)
class Geometry:
    """Of the rows looked at, which are all of them or a sample."""

    features: Int[np.ndarray, " row"]
    nearest: Int[np.ndarray, " row"]
    cosine: Float64[np.ndarray, " row"]
    """With the nearest other row."""
    encoder_cosine: Float64[np.ndarray, " feature"] | None
    """Of every feature's encoder and decoder row; None where they live in different spaces."""

    @property
    def duplicates(self) -> int:
        """Rows with a neighbour above .95."""
        return int((self.cosine > DUPLICATE).sum())


def decoder_geometry(
    decoder: Float[np.ndarray, "feature width"],
    encoder: Float[np.ndarray, "feature width"] | None = None,
    *,
    seed: int,
    sample: int | None = None,
) -> Geometry:
    """Nearest neighbours of decoder rows, and of encoder rows the cosine with their own decoder row."""
    features = np.arange(len(decoder))
    limit = sample if sample is not None else len(decoder) if len(decoder) <= ALL else SAMPLE
    if limit < len(decoder):
        features = np.sort(np.random.default_rng(seed).choice(len(decoder), size=limit, replace=False))
    found = [
        (feature, close.index[0], close.cosine[0])
        for start in range(0, len(features), _QUERIES)
        for feature, close in zip(
            features[start : start + _QUERIES],
            nearest_rows(decoder, features[start : start + _QUERIES], k=1, least=-1.0),
            strict=True,
        )
        if len(close.index)
    ]
    columns = np.array([(f, i) for f, i, _ in found], dtype=np.int64).reshape(len(found), 2)
    return Geometry(
        features=columns[:, 0],
        nearest=columns[:, 1],
        cosine=np.array([c for _, _, c in found], dtype=np.float64),
        encoder_cosine=None if encoder is None else row_cosines(encoder, decoder),
    )


def row_cosines(
    left: Float[np.ndarray, "row width"], right: Float[np.ndarray, "row width"]
) -> Float64[np.ndarray, " row"]:
    """Cosine of each row with the row of the same number, float64; 0 where one has length zero."""
    along = np.einsum("rw,rw->r", left, right, dtype=np.float64)
    squares = [np.einsum("rw,rw->r", rows, rows, dtype=np.float64) for rows in (left, right)]
    norms = np.sqrt(squares[0] * squares[1])
    return np.divide(along, norms, out=np.zeros_like(along), where=norms > 0)


def cosine_histogram(cosines: Float64[np.ndarray, " row"]) -> Int[np.ndarray, " 40"]:
    """Cosines in 40 equal bins from −1 to 1."""
    return np.histogram(np.clip(cosines, -1, 1), bins=BINS, range=(-1, 1))[0]
