"""What matched features share beside their activations: each component by itself, with its place among random pairs."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64, Int64

from radiograph.core import derive
from radiograph.methods._match.sides import Side

if TYPE_CHECKING:
    from radiograph.numerics.matching import Activations, Component
    from radiograph.numerics.matching._components import Compare

_DENSE = 1 << 28
"""Dense values that random pairs may cost."""


@dataclass(frozen=True, eq=False)
class Features:
    """Some features of both sides: those that were compared."""

    left: Int64[np.ndarray, " left"]
    right: Int64[np.ndarray, " right"]


def fingerprints(
    sides: tuple[Side, Side],
    among: Features,
    pairs: tuple[Int64[np.ndarray, " pair"], Int64[np.ndarray, " pair"]],
    values: tuple[Activations, Activations] | None,
    *,
    similarity: str,
    logits: Compare | None,
    without: Collection[str],
    seed: int,
) -> dict[str, Component | None]:
    """Every component of these pairs (places among `among`); None where the sides cannot be compared in it."""
    from radiograph.numerics.matching import component

    units = values[0].n_units if values is not None else 1
    draws = int(np.clip(_DENSE // max(units, 1), 1000, 10_000))
    found: dict[str, Component | None] = {}
    for name, compare in comparisons(sides, among, values, similarity, logits, without).items():
        if compare is None:
            found[name] = None
            continue
        sizes = len(among.left), len(among.right)
        found[name] = component(compare, *pairs, sizes, seed=derive(seed, name), random_pairs=draws)
    return found


def comparisons(
    sides: tuple[Side, Side],
    among: Features,
    values: tuple[Activations, Activations] | None,
    similarity: str,
    logits: Compare | None,
    without: Collection[str],
) -> dict[str, Compare | None]:
    """How each component compares two features."""
    from radiograph.numerics.matching import text_similarity

    left, right = sides
    labels = [
        [side.labels[place] for place in own.tolist()]
        for side, own in zip(sides, (among.left, among.right), strict=True)
    ]
    made: dict[str, Compare | None] = {
        "activation": None,
        "decoder": _decoders(left, right, among),
        "logits": None if logits is None else _placed(logits, among),
        "text": text_similarity(labels[0], labels[1], without) if any(labels[0]) and any(labels[1]) else None,
        "firing": None,
    }
    if values is not None:
        made["activation"] = _of_activations(values, among, similarity)
        made["firing"] = _of_activations(values, among, "jaccard")
    return made


def _of_activations(values: tuple[Activations, Activations], among: Features, kind: str) -> Compare:
    from radiograph.numerics.matching import Similarity

    one, two = values[0].of_features(among.left), values[1].of_features(among.right)
    return Similarity.of(one, two, kind).exact  # pyright: ignore[reportArgumentType]


def _decoders(left: Side, right: Side, among: Features) -> Compare | None:
    """Cosines of write directions where both lie in one space; NaN for a pair that does not."""
    from radiograph.numerics.matching import decoder_cosine

    if left.directions is None or right.directions is None:
        return None
    bases = [np.array([side.bases[place] or "" for place in own.tolist()], dtype=object) for side, own in (
        (left, among.left), (right, among.right)
    )]  # fmt: skip
    if not set(bases[0]) & set(bases[1]) - {""}:
        return None
    one, two = left.directions[among.left], right.directions[among.right]
    cosine = decoder_cosine(one, two, "shared", "shared")
    if cosine is None:
        return None

    def compare(a: Int64[np.ndarray, " pair"], b: Int64[np.ndarray, " pair"]) -> Float64[np.ndarray, " pair"]:
        same = (bases[0][a] == bases[1][b]) & (bases[0][a] != "")
        return np.where(same, cosine(a, b), np.nan)

    return compare


def _placed(compare: Callable[..., Float64[np.ndarray, " pair"]], among: Features) -> Compare:
    return lambda a, b: compare(among.left[a], among.right[b])
