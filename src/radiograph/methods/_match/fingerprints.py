"""What matched features share beside their activations: each component by itself, with its place among random pairs."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from radiograph.core import derive
from radiograph.core.shapes import Float64, Int64
from radiograph.methods._match.sides import Directions, Side

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

    spaces: list[tuple[Compare, np.ndarray, np.ndarray]] = []
    for one, two in shared_spaces(left, right):
        cosine = decoder_cosine(one.rows, two.rows, one.basis, two.basis)
        if cosine is not None:
            spaces.append((cosine, one.places(len(left.ids))[among.left], two.places(len(right.ids))[among.right]))
    if not spaces:
        return None

    def compare(a: Int64[np.ndarray, " pair"], b: Int64[np.ndarray, " pair"]) -> Float64[np.ndarray, " pair"]:
        value = np.full(len(a), np.nan)
        for cosine, ours, theirs in spaces:
            both = np.flatnonzero((ours[a] >= 0) & (theirs[b] >= 0))
            if len(both):
                value[both] = cosine(ours[a[both]], theirs[b[both]])
        return value

    return compare


def shared_spaces(left: Side, right: Side) -> list[tuple[Directions, Directions]]:
    """Directions of both sides that may be compared: same basis, same width."""
    pairs = ((one, two) for one in left.writes for two in right.writes)
    return [
        (one, two)
        for one, two in pairs
        if one.basis is not None and one.basis == two.basis and one.rows.shape[1] == two.rows.shape[1]
    ]


def _placed(compare: Callable[..., Float64[np.ndarray, " pair"]], among: Features) -> Compare:
    return lambda a, b: compare(among.left[a], among.right[b])
