"""Which features of a crosscoder over two models are written in one of them only, as the rows say and not the norms.

The definition is that of `numerics.dictionaries.exclusivity`. One pass over the rows, O(entries × width):
1. ρ nominates, in the space in which every source has the same spread per column; at most 2,048 features, the most
   lopsided first
2. beside them as many features with ρ near one half, and as many random directions read with the nominees' codes
3. the same nominees on the pair (reference, its own copy): the candidate's rows are replaced by the reference's, so
   that nothing can be exclusive, whatever the norms say
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from radiograph.core import Source
from radiograph.core.codec import Codes
from radiograph.core.shapes import Float, Int
from radiograph.core.sites import REFERENCE
from radiograph.dictionaries._dictionary import Dictionary
from radiograph.dictionaries._quality import plain
from radiograph.dictionaries.measures._blocks import Block, Blocks, Survey
from radiograph.numerics.dictionaries.exclusivity import (
    NOMINATE,
    SHARED_BAND,
    Scaling,
    ScalingSums,
    norm_share,
    scalings,
)
from radiograph.numerics.dictionaries.units import Draws

MOST = 2048
COMPARED = 20
"""Features of equal norms that are read at least: what shared looks like, also where norms nominate nothing."""
_CHUNK = 2**22
"""Values gathered at once for products with single features."""

Role = Literal["nominee", "shared", "random_direction", "copy"]


@dataclass(frozen=True, slots=True)
class Probe:
    """One feature, read along its larger decoder row or along a random direction."""

    role: Role
    feature: int
    rho: float
    """Share of the candidate in the decoder norms."""
    side: Literal["reference", "candidate"]
    """Where the decoder row is larger."""
    scaling: Scaling


@dataclass(frozen=True, slots=True, eq=False)
class Exclusivity:
    """What latent scaling says about one pair of sources."""

    reference: str
    candidate: str
    nominated: int
    """All of them, though at most 2,048 are probed."""
    probes: tuple[Probe, ...]
    rho: Float[np.ndarray, " feature"]

    def of(self, role: Role) -> list[Probe]:
        """Probes of one role."""
        return [probe for probe in self.probes if probe.role == role]


def model_pairs(dictionary: Dictionary) -> list[tuple[int, int]]:
    """Places of sources that are one site in the reference and in a candidate."""
    sources = [Source.parse(address) for address in dictionary.targets]
    reference = {s.site: i for i, s in enumerate(sources) if s.role == REFERENCE}
    return [(reference[s.site], i) for i, s in enumerate(sources) if s.role != REFERENCE and s.site in reference]


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """Features to be read along directions of their own."""

    role: Role
    features: Int[Tensor, " probe"]
    directions: Float[Tensor, "probe width"]
    strong: Int[Tensor, " probe"]
    """0: the reference has the larger row. 1: the candidate."""
    writes: tuple[Float[Tensor, " probe"], Float[Tensor, " probe"]]
    """⟨D_s, u⟩ of both sources."""


def exclusivity(
    dictionary: Dictionary,
    blocks: Blocks,
    survey: Survey,
    taken: Draws,
    pair: tuple[int, int],
    *,
    live: np.ndarray,
    seed: int,
) -> Exclusivity:
    """Latent scaling of the live features of a crosscoder for one pair of its sources of equal width."""
    scales = [(dictionary.target_widths[s] / survey.variances[s]) ** 0.5 for s in pair]
    rows = [dictionary.split_targets(dictionary.decoder)[s] * scale for s, scale in zip(pair, scales, strict=True)]
    norms = [r.norm(dim=1).cpu().numpy() for r in rows]
    rho = norm_share(norms[0], norms[1])
    lopsided = np.flatnonzero(live & (np.abs(rho - 0.5) > NOMINATE - 0.5))
    nominees = np.sort(lopsided[np.argsort(-np.abs(rho[lopsided] - 0.5), kind="stable")][:MOST])
    generator = np.random.default_rng((seed, *b"exclusivity"))
    even = np.flatnonzero(live & (rho > SHARED_BAND[0]) & (rho < SHARED_BAND[1]))
    wanted = min(len(even), max(len(nominees), COMPARED))
    even = np.sort(generator.choice(even, size=wanted, replace=False)) if wanted else even
    groups = [
        _group("nominee", nominees, rows, rho),
        _group("shared", even, rows, rho),
        _group("random_direction", nominees, rows, rho, generator),
    ]
    sums = _pass(dictionary, blocks, survey.units, pair, scales, groups)
    # On copies both sides are the reference: its scale, and its rows in the candidate's place.
    copies = _group("copy", nominees, [rows[0], rows[1] * (scales[0] / scales[1])], rho)
    twin = _pass(dictionary, partial(_copied, dictionary, blocks, pair), survey.units, pair, [scales[0]] * 2, [copies])
    probes = [
        Probe(group.role, int(feature), float(rho[feature]), "candidate" if strong else "reference", scaling)
        for group, total in zip([*groups, copies], [*sums, *twin], strict=True)
        for feature, strong, scaling in zip(
            group.features.tolist(),
            group.strong.tolist(),
            scalings(total, np.full(len(group.features), group.role in ("nominee", "copy")), taken),
            strict=True,
        )
    ]
    names = [dictionary.targets[s] for s in pair]
    return Exclusivity(names[0], names[1], len(lopsided), tuple(probes), rho)


def _group(
    role: Role,
    features: Int[np.ndarray, " probe"],
    rows: Sequence[Tensor],
    rho: Float[np.ndarray, " feature"],
    generator: np.random.Generator | None = None,
) -> _Group:
    chosen = torch.from_numpy(features)
    strong = torch.from_numpy((rho[features] > 0.5).astype(np.int64))
    ours = [r[chosen] for r in rows]
    larger = torch.where(strong[:, None].to(ours[0].device) > 0, ours[1], ours[0])
    if generator is not None:
        drawn = torch.from_numpy(generator.standard_normal(larger.shape)).to(larger)
        larger = drawn / drawn.norm(dim=1, keepdim=True) * larger.norm(dim=1, keepdim=True)
    writes = (ours[0] * larger).sum(1).double(), (ours[1] * larger).sum(1).double()
    return _Group(role, chosen, larger, strong, writes)


def _pass(
    dictionary: Dictionary,
    blocks: Blocks,
    units: int,
    pair: tuple[int, int],
    scales: Sequence[float],
    groups: Sequence[_Group],
) -> list[ScalingSums]:
    sums = [ScalingSums(units, len(group.features)) for group in groups]
    places = [torch.full((dictionary.size,), -1, dtype=torch.long) for _ in groups]
    for place, group in zip(places, groups, strict=True):
        place[group.features] = torch.arange(len(group.features))
    for block in blocks():
        rows = plain(block.inputs)
        codes = dictionary.encode(rows)
        rebuilt = dictionary.split_targets(dictionary.decode(codes, rows))
        targets = dictionary.split_targets(plain(block.targets))
        ours = [rebuilt[s].float() * scale for s, scale in zip(pair, scales, strict=True)]
        errors = [targets[s].to(r) * scale - r for s, scale, r in zip(pair, scales, ours, strict=True)]
        for total, place, group in zip(sums, places, groups, strict=True):
            _tally(total, group, place.to(codes.indices.device), codes, block, errors, ours)
    return sums


def _tally(
    total: ScalingSums,
    group: _Group,
    place: Int[Tensor, " feature"],
    codes: Codes,
    block: Block,
    errors: Sequence[Tensor],
    rebuilt: Sequence[Tensor],
) -> None:
    column = place[codes.indices]
    kept = (column >= 0).nonzero().flatten()
    if not len(kept):
        return
    column, row, z = column[kept], codes.rows[kept], codes.values[kept].double()
    strong = group.strong.to(column.device)[column]
    sides = torch.empty(4, len(kept), dtype=torch.float64, device=z.device)
    for source in range(2):
        # Order of `ScalingSums`: error strong, error weak, reconstruction strong, reconstruction weak.
        line = torch.where(strong == source, 0, 1)
        along_error = _products(errors[source], group.directions, row, column)
        along_error += z * group.writes[source].to(z.device)[column]
        along_rebuilt = _products(rebuilt[source], group.directions, row, column)
        entries = torch.arange(len(kept), device=z.device)
        sides[line, entries] = z * along_error
        sides[line + 2, entries] = z * along_rebuilt
    squares = z.square() * group.directions.double().square().sum(1)[column]
    total.add(
        block.units[row.cpu().numpy()],
        column.cpu().numpy(),
        sides.cpu().numpy(),
        squares.cpu().numpy(),
    )


def _products(
    rows: Float[Tensor, "row width"],
    directions: Float[Tensor, "probe width"],
    row: Int[Tensor, " entry"],
    column: Int[Tensor, " entry"],
) -> Float[Tensor, " entry"]:
    """⟨row, direction⟩ of each entry, a bounded number of values at a time."""
    step = max(1, _CHUNK // rows.shape[1])
    parts = [
        (rows[r] * directions[c]).sum(1, dtype=torch.float64)
        for r, c in zip(row.split(step), column.split(step), strict=True)
    ]
    return torch.cat(parts)


def _copied(dictionary: Dictionary, blocks: Blocks, pair: tuple[int, int]) -> Iterator[Block]:
    """The same rows, the candidate's replaced by the reference's."""
    for block in blocks():
        parts = list(dictionary.split(block.inputs))
        parts[pair[1]] = parts[pair[0]]
        rows = torch.cat(parts, 1)
        yield Block(rows, rows, block.units, block.positions)
