"""Reconstruction on a sample of tokens that is spread over the groups.

1. per token: squared error on each side, squared distance from the side's mean; FVU = Σ error / Σ distance
2. the difference of FVU, candidate − reference, with an interval over groups; a lower bound above .02: the candidate
   has left the dictionary
3. share outside: Σ‖Δx − Δx̂‖² / Σ‖Δx‖² over tokens, and the same for three random dictionaries of equal L0: the
   own one behind a random signed permutation of the coordinates, its bias moved
4. guard: variance explained on the reference may fall short of what is recorded by .05, beyond the sample's interval
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from radiograph.core import Refusal
from radiograph.dictionaries.plain import PlainDictionary
from radiograph.evidence.probes.shift import Fvu
from radiograph.numerics.resampling import bootstrap

TOLERANCE: Final = 0.05
LEFT: Final = 0.02
DRAWS: Final = 1000
RANDOM: Final = 3
RANDOM_ROWS: Final = 64


@dataclass(eq=False)
class Picked:
    """Rows that a pass leaves behind."""

    places: NDArray[np.int64]
    groups: NDArray[np.int64]
    rows: list[list[NDArray[Any]]] = field(default_factory=list)

    @classmethod
    def of(cls, groups: NDArray[np.int64], most: int) -> Picked:
        """At most so many rows, evenly over the groups."""
        order = np.argsort(groups, kind="stable")
        taken = order[np.unique(np.linspace(0, len(order) - 1, min(most, len(order))).astype(np.int64))]
        places = np.sort(taken)
        return cls(places, groups[places])

    def take(self, tiles: list[NDArray[Any]], place: slice) -> None:
        """Keep what is wanted of a tile, of what is read and of what is written."""
        first, last = np.searchsorted(self.places, [place.start, place.stop])
        if last > first:
            own = self.places[first:last] - place.start
            self.rows.append([tile[own].astype(np.float32) for tile in tiles])


@dataclass(frozen=True, eq=False)
class Sample:
    """[side] rows that are read, rows that are written, groups."""

    read: tuple[NDArray[Any], NDArray[Any]]
    written: tuple[NDArray[Any], NDArray[Any]]
    groups: tuple[NDArray[np.int64], NDArray[np.int64]]

    @classmethod
    def of(cls, picked: list[Picked]) -> Sample:
        """The rows of both sides."""
        read, written = ([np.concatenate([rows[i] for rows in side.rows]) for side in picked] for i in (0, 1))
        return cls((read[0], read[1]), (written[0], written[1]), (picked[0].groups, picked[1].groups))


@dataclass(frozen=True, eq=False)
class Rebuilt:
    """Per token of the sample."""

    errors: tuple[NDArray[np.float64], NDArray[np.float64]]
    distances: tuple[NDArray[np.float64], NDArray[np.float64]]
    groups: tuple[NDArray[np.int64], NDArray[np.int64]]
    l0: float
    missed: NDArray[np.float64] | None
    """‖Δx − Δx̂‖² a token; None where the sides hold other tokens."""
    moved: NDArray[np.float64] | None

    @property
    def fvu(self) -> tuple[float, float]:
        """Of the reference and of the candidate."""
        one, two = (float(e.sum() / d.sum()) for e, d in zip(self.errors, self.distances, strict=True))
        return one, two

    @property
    def outside(self) -> float | None:
        """Share of token shifts that the reconstruction misses."""
        if self.missed is None or self.moved is None or not self.moved.sum() > 0:
            return None
        return float(self.missed.sum() / self.moved.sum())


def rebuilt(dictionary: PlainDictionary, sample: Sample, paired: bool) -> Rebuilt:
    """Encode and decode the sample."""
    (first, active), (second, _) = (dictionary.rebuilt(rows) for rows in sample.read)
    rebuilds = first, second
    errors = [_squares(w - r) for w, r in zip(sample.written, rebuilds, strict=True)]
    distances = [_squares(w - w.mean(0, dtype=np.float64)) for w in sample.written]
    missed = moved = None
    if paired:
        shift = sample.written[1].astype(np.float64) - sample.written[0]
        missed, moved = _squares(shift - (rebuilds[1].astype(np.float64) - rebuilds[0])), _squares(shift)
    l0 = active / len(sample.read[0])
    return Rebuilt((errors[0], errors[1]), (distances[0], distances[1]), sample.groups, l0, missed, moved)


def compared(found: Rebuilt, paired: bool, seed: int) -> Fvu | Refusal:
    """FVU of both sides and the interval of their difference."""
    if not all(d.sum() > 0 for d in found.distances):
        return Refusal("no_variance", "the sampled rows do not vary, so no share of a variance is unexplained")
    (one, two), groups = found.fvu, found.groups
    owners = groups[0] if paired else np.concatenate([groups[0], groups[1] + groups[0].max() + 1])
    n = len(groups[0])

    def difference(counts: NDArray[np.float64]) -> NDArray[np.float64]:
        first, second = (counts, counts) if paired else (counts[:, :n], counts[:, n:])
        sides = zip((first, second), found.errors, found.distances, strict=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            ref, cand = ((c @ e) / (c @ d) for c, e, d in sides)
        return np.nan_to_num(cand - ref)

    try:
        low, high = bootstrap(difference, len(owners), seed=seed, resamples=DRAWS, clusters=owners).interval()
    except Refusal as refusal:
        return refusal
    return Fvu(ref=one, cand=two, difference=(low, high), left_dictionary=low > LEFT)


def check_quality(dictionary: PlainDictionary, found: Rebuilt, transfer: bool, seed: int) -> list[str]:
    """Hold what is recorded of the dictionary to what it does on the reference; returns stamps.

    Raises:
        Refusal: `dictionary_mismatch`, exit 3, both sides named.
    """
    recorded = dictionary.metadata.neutral or dictionary.metadata.quality
    if recorded is None:
        return ["unchecked_dictionary"] if found.fvu[0] >= 1 else []

    def explained(counts: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1 - (counts @ found.errors[0]) / np.maximum(counts @ found.distances[0], 1e-300)

    value = 1 - found.fvu[0]
    low = high = value  # better than recorded is no mismatch: the texts may be easier
    if len(np.unique(found.groups[0])) > 1:
        low, high = bootstrap(
            explained, len(found.errors[0]), seed=seed, resamples=DRAWS, clusters=found.groups[0]
        ).interval()
    expected = recorded.explained_variance
    if expected <= high + TOLERANCE:
        return []
    if transfer:
        return ["transferred"]
    raise Refusal(
        "dictionary_mismatch",
        "the dictionary does not explain the reference as it is recorded to",
        expected=f"variance explained {expected:.3f}, less {TOLERANCE} at most",
        got=f"{value:.3f} ({low:.3f} to {high:.3f}) on {len(found.errors[0])} tokens of the reference",
        fix="use a dictionary of this model and site; --transfer measures all the same, and says so",
        fixable=True,
    )


def random_outside(dictionary: PlainDictionary, sample: Sample, l0: float, seed: int) -> tuple[float, ...]:
    """Share outside of the same dictionary behind a random signed permutation of the coordinates: it then knows nothing
    of the site. Its bias is moved so that as many codes are active.
    """
    take = thinned(len(sample.read[0]))
    read, written = ([rows[take].astype(np.float32) for rows in both] for both in (sample.read, sample.written))
    centre = read[0].mean(0)
    shift = written[1].astype(np.float64) - written[0]
    whole = float(_squares(shift).sum())
    if not whole > 0 or dictionary.kind != "sae":
        return ()
    generator = np.random.default_rng((seed, *b"turned"))
    found: list[float] = []
    for _ in range(RANDOM):
        order = generator.permutation(dictionary.width)
        signs = (generator.integers(0, 2, len(order)) * 2 - 1).astype(np.float32)
        rows = [(side - centre)[:, order] * signs + centre for side in read]
        level = _level(dictionary, rows[0], max(1, round(l0 * len(take))))
        sides = [dictionary.rebuilt(side, level)[0] for side in rows]
        change = (sides[1].astype(np.float64) - sides[0]) * signs
        turned = np.empty_like(change)
        turned[:, order] = change
        found.append(float(_squares(shift - turned).sum()) / whole)
    return tuple(found)


def thinned(rows: int) -> NDArray[np.int64]:
    """The rows of a sample on which random dictionaries are looked at."""
    return np.unique(np.linspace(0, rows - 1, RANDOM_ROWS).astype(np.int64))


def _level(dictionary: PlainDictionary, rows: NDArray[Any], active: int) -> np.float32:
    """What must be taken from pre-activations so that so many of them fire; 0 where their number is fixed."""
    if not dictionary.pointwise or dictionary.sigma == "identity":
        return np.float32(0)
    margin = dictionary.preactivations(dictionary.scaled(rows))
    margin -= dictionary.parameters.get("threshold", np.float32(0))
    margin += dictionary.parameters.get("gate_bias", np.float32(0))
    flat, place = margin.reshape(-1), max(0, margin.size - active - 1)
    flat.partition(place)
    return flat[place]


def _squares(rows: NDArray[Any]) -> NDArray[np.float64]:
    return np.square(rows, dtype=np.float64).sum(1)
