"""A crosscoder over the two sides: one code serves both, so instead of a shift of codes it is asked where a feature
is written.

1. rows of both sides stand side by side; codes of the whole; rate and mean when active of every feature
2. ρ, the candidate's share of the decoder norms, nominates; ν^e and ν^r of the most lopsided features say whether they
   are written on one side only (`numerics.dictionaries.exclusivity`)
3. the joint selection runs on the rows D_cand − D_ref: what a code would have to do to carry the shift
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from radiograph.core import Context, Refusal
from radiograph.evidence import RefusalRecord, Requirement
from radiograph.evidence.probes.shift import (
    CarriedFeature,
    FeatureShift,
    MovedCount,
    Shares,
    ShiftCounts,
    WrittenFeature,
)
from radiograph.methods.dictionary._evaluation import requirements
from radiograph.methods.probe._sae_diff import labels, sides
from radiograph.methods.probe._sae_diff.written import group_tables, rest_of
from radiograph.numerics.dictionaries.exclusivity import NOMINATE, ScalingSums, norm_share, scalings
from radiograph.numerics.dictionaries.units import draws
from radiograph.numerics.shifts import LEAST_GROUPS, Carried, GroupSums, RowSpread, carried

if TYPE_CHECKING:
    from radiograph.dictionaries.plain import PlainDictionary
    from radiograph.methods.probe._sae_diff.options import Config
    from radiograph.store.activations import ActivationStore

NOMINATED: Final = 64
"""Lopsided features that are scaled, the most lopsided first."""


def compare(
    config: Config,
    ctx: Context,
    held: PlainDictionary,
    inputs: tuple[ActivationStore, ActivationStore],
    wanted: Sequence[Requirement],
) -> FeatureShift:
    """Measure where features are written.

    Raises:
        Refusal: it reads other sources, or the sides hold other tokens.
    """
    both = _together(config, held, inputs)
    width, decoder = inputs[0].width, held.decoder
    assert decoder is not None, "looked at by `_together`"
    ref, cand = decoder[:, :width], decoder[:, width:]
    sums, spread = GroupSums(both.counts.shape[1], width), (RowSpread(width, False), RowSpread(width, False))
    fired, total = np.zeros(held.size, np.int64), np.zeros(held.size)
    for rows, owners, codes in _coded(ctx, held, both, "codes"):
        sums.add(np.subtract(rows[1], rows[0], dtype=np.float64), owners)
        for own, side in zip(spread, rows, strict=True):
            own.add(side)
        fired += np.count_nonzero(codes, axis=0)
        total += codes.sum(0, dtype=np.float64)
    design, bins = both.design(config.groups, config.permutations, ctx.seed)
    table = sums.sums if len(bins) == design.groups else sums.merged(bins).sums
    scales = [(width / max(own.trace, 1e-300)) ** 0.5 for own in spread]
    rho = norm_share(*(np.linalg.norm(d, axis=1) * s for d, s in zip((ref, cand), scales, strict=True)))
    order = np.argsort(-np.abs(rho - 0.5), kind="stable")
    nominees = np.sort(order[(np.abs(rho - 0.5) > NOMINATE - 0.5)[order] & (fired > 0)[order]][:NOMINATED])
    written = _written(ctx, held, both, bins, design.groups, nominees, rho, scales, fired, total)
    difference = cand - ref
    lengths = np.linalg.norm(difference, axis=1)
    directions = difference / np.where(lengths > 0, lengths, 1)[:, None]
    chosen = None
    if design.groups >= LEAST_GROUPS:
        chosen = carried(directions, table, design, seed=ctx.seed)
    columns: dict[str, Any] = {"feature": np.arange(held.size), "rate": fired / both.tokens, "rho": rho}
    columns["mean"] = total / both.tokens
    ctx.output.table("features", columns)
    group_tables(ctx, design, table, max(spread[0].trace, 1e-300), chosen, directions)
    drift = float(np.linalg.norm(design.weights[0] @ table) / max(spread[0].trace, 1e-300) ** 0.5)
    return _result(config, ctx, held, both, design.groups, chosen, written, drift, wanted)


def _together(config: Config, held: PlainDictionary, inputs: tuple[ActivationStore, ActivationStore]) -> sides.Sides:
    width = inputs[0].width
    if held.widths != (width, width) or config.paired == "off" or held.decoder is None:
        raise Refusal(
            "dictionary_mismatch",
            "a crosscoder needs the same tokens on both sides, and two sources of their width",
            expected=f"widths {list(held.widths)}",
            got=f"{width}, twice" if config.paired == "on" else "--paired off",
            fixable=True,
        )
    return sides.together(config, inputs, None, config.memory)


def _result(
    config: Config,
    ctx: Context,
    held: PlainDictionary,
    both: sides.Sides,
    merged: int,
    chosen: Carried | None,
    written: tuple[WrittenFeature, ...],
    drift: float,
    wanted: Sequence[Requirement],
) -> FeatureShift:
    gaps = [
        RefusalRecord(code="one_code", what="moved, l2, fvu", text="one code serves both sides: there is none to shift")
    ]
    if chosen is None:
        gaps.append(RefusalRecord(code="few_groups", what="carried", text=f"{merged} groups are too few"))
    share = None if chosen is None else chosen.share
    count = None if chosen is None else len(chosen.chosen)
    values = {"carried": count, "share_carried": share, "activation_drift": drift}
    known: dict[tuple[str, str | None], float] = {(k, None): float(v) for k, v in values.items() if v is not None}
    return FeatureShift(
        reference=both.inputs[0].name,
        candidate=both.inputs[1].name,
        dictionary=ctx.label(config.dictionary),
        dictionary_sha256=held.sha256,
        kind=held.kind,
        activation=held.sigma,
        site=both.inputs[0].site,
        target=None,
        n=ShiftCounts(
            tokens=both.tokens,
            tokens_cand=both.tokens,
            groups=int((both.counts[0] > 0).sum()),
            merged=merged,
            clusters=both.clusters,
            codes=both.tokens,
            sample=0,
        ),
        features=held.size,
        depth=config.depth,
        moved=MovedCount(level=config.q, count=None, sham=None, sham_carried=None if chosen is None else chosen.sham),
        carried=() if chosen is None else _carried(chosen, labels.of(ctx, config, held)),
        rest=rest_of(chosen),
        shown=(),
        changes=(),
        written=written,
        l2=None,
        effect_rms=None,
        activation_drift=drift,
        shares=Shares(
            carried=share,
            carried_interval=None if chosen is None else chosen.share_interval,
            seen=None,
            seen_null=None,
            outside=None,
            outside_random=(),
        ),
        fvu=None,
        null=(),
        largest=0.0,
        stamps=tuple(both.stamps),
        notes=held.notes,
        requirements=requirements.answered(wanted, known),
        not_measured=tuple(gaps),
    )


def _carried(chosen: Carried, words: labels.Words) -> tuple[CarriedFeature, ...]:
    return tuple(
        CarriedFeature(
            feature=one.row,
            **words(one.row),
            coefficient=one.coefficient,
            interval=(one.interval.low, one.interval.high),
            share=one.share,
            q=one.q,
            alternatives=one.alternatives,
            state="raised" if one.coefficient > 0 else "suppressed",
            effect=None,
            rate_ref=None,
            rate_cand=None,
            delta=None,
        )
        for one in chosen.chosen
    )


def _coded(
    ctx: Context, held: PlainDictionary, both: sides.Sides, title: str
) -> Iterator[tuple[list[NDArray[Any]], NDArray[np.int64], NDArray[Any]]]:
    """Rows of both sides, their groups, and the codes of the two together."""
    with ctx.progress.task(title, both.tokens) as task:
        for rows, place in both.tiles(both.inputs):
            yield rows, both.groups[0][place], held.encode(np.concatenate(rows, axis=1))
            task.advance(len(rows[0]))


def _written(
    ctx: Context,
    held: PlainDictionary,
    both: sides.Sides,
    bins: NDArray[np.int64],
    units: int,
    nominees: NDArray[np.int64],
    rho: NDArray[np.float64],
    scales: Sequence[float],
    fired: NDArray[np.int64],
    total: NDArray[np.float64],
) -> tuple[WrittenFeature, ...]:
    """Latent scaling of the nominees."""
    if not len(nominees) or held.decoder is None:
        return ()
    width = held.widths[0]
    ours = [held.decoder[nominees, i * width : (i + 1) * width] * scales[i] for i in (0, 1)]
    strong = (rho[nominees] > 0.5).astype(np.int64)
    larger = np.where(strong[:, None] > 0, ours[1], ours[0])
    sums = ScalingSums(units, len(nominees))
    for rows, owners, codes in _coded(ctx, held, both, "latent scaling"):
        rebuilt = held.decode(codes, np.concatenate(rows, axis=1))
        row, column = np.nonzero(codes[:, nominees])
        z = codes[row, nominees[column]].astype(np.float64)
        entries = np.empty((4, len(z)))
        for side in (0, 1):
            guess = rebuilt[:, side * width : (side + 1) * width] * scales[side]
            error = rows[side] * scales[side] - guess
            # Error strong, error weak, reconstruction strong, reconstruction weak.
            line = np.where(strong[column] == side, 0, 1)
            own = z * np.einsum("fw,fw->f", ours[side], larger)[column]
            places = np.arange(len(z))
            entries[line, places] = z * ((error @ larger.T)[row, column] + own)
            entries[line + 2, places] = z * (guess @ larger.T)[row, column]
        squares = np.square(z) * np.square(larger, dtype=np.float64).sum(1)[column]
        sums.add(bins[owners][row], column, entries, squares)
    found = scalings(sums, np.ones(len(nominees), bool), draws(units, seed=ctx.seed))
    return tuple(
        WrittenFeature(
            feature=int(j),
            rate=float(fired[j] / both.tokens),
            active=float(total[j] / fired[j]) if fired[j] else None,
            rho=float(rho[j]),
            nu_error=one.nu_error,
            nu_reconstruction=one.nu_reconstruction,
            state=one.state,
        )
        for j, one in zip(nominees, found, strict=True)
    )
