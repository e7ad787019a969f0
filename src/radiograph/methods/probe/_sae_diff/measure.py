"""Passes over the rows of both sides, and the statistics that follow.

1. one pass: group sums of scaled rows and of written rows, mean and covariance of the reference
2. every feature's shift and tests; the joint selection; the same for a sham
3. codes: of every feature (`full`), else of those that are reported; where features compete, of all at once
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from radiograph.core import Context, UserError
from radiograph.dictionaries.plain import PlainDictionary
from radiograph.methods.probe._sae_diff.sample import Picked, Sample
from radiograph.methods.probe._sae_diff.sides import Sides
from radiograph.numerics.shifts import (
    Carried,
    CodeSums,
    Design,
    FeatureRates,
    FeatureShifts,
    FeatureTests,
    GroupSums,
    RowSpread,
    blocks,
    carried,
    feature_rates,
    feature_shifts,
    feature_tests,
    independent,
    segments,
)

if TYPE_CHECKING:
    from radiograph.methods.probe._sae_diff.options import Config

COLUMNS = 2048
COMPETING = 2**36
"""Products of rows, width and features up to which competing features are all encoded for the reported ones."""
KEPT = 2**22
"""Values of group sums of pre-activations that are kept between passes."""


@dataclass(frozen=True, eq=False)
class Sums:
    """What one pass over both sides leaves."""

    design: Design
    bins: NDArray[np.int64]
    """Merged group of each group; by side where the sides have other rows."""
    read: NDArray[np.float64]
    """[merged, width] sums of scaled rows, as the design wants them."""
    written: NDArray[np.float64]
    """The same of the rows that the decoder writes."""
    variance: NDArray[np.float64] | None
    """Of the mean shift of scaled rows, over all groups; None where they are the merged ones."""
    spread: RowSpread
    trace: float
    """Mean ‖x − x̄‖² of the reference where the shift is written."""
    sample: Sample


def gathered(config: Config, ctx: Context, dictionary: PlainDictionary, sides: Sides, most: int) -> tuple[Sides, Sums]:
    """The one pass, and the sides in the groups that it found; `most` rows of each side are kept for the sample."""
    picked = [Picked.of(groups, most) for groups in sides.groups]
    width = dictionary.width
    whole = width * width * 8 <= config.memory // 2
    groups = sides.counts.shape[1]
    stores = [*sides.inputs, *(sides.targets or ())]
    other = sides.targets is not None
    scaled = dictionary.normalisation != "none"
    spread = RowSpread(width, whole)
    target = RowSpread(sides.targets[0].width, False) if sides.targets is not None else spread
    read = [GroupSums(groups, width) for _ in range(1 if sides.paired else 2)]
    written = [GroupSums(groups, stores[-1].width) for _ in read] if other or scaled else read
    with ctx.progress.task("sums of rows", sides.tokens) as task:
        if sides.paired:
            for tiles, place in sides.tiles(stores):
                owners = sides.groups[0][place]
                first, second = (dictionary.scaled(t) if scaled else t for t in tiles[:2])
                read[0].add(np.subtract(second, first, dtype=np.float64), owners)
                spread.add(first)
                if written is not read:
                    written[0].add(np.subtract(tiles[-1], tiles[-2], dtype=np.float64), owners)
                if target is not spread:
                    target.add(tiles[-2])
                picked[0].take([tiles[0], tiles[-2]], place)
                picked[1].take([tiles[1], tiles[-1]], place)
                task.advance(len(first))
        else:
            for side in (0, 1):
                own = [sides.inputs[side], *((sides.targets[side],) if sides.targets else ())]
                for tiles, place in sides.tiles(own):
                    owners, rows = sides.groups[side][place], dictionary.scaled(tiles[0]) if scaled else tiles[0]
                    read[side].add(rows, owners)
                    if written is not read:
                        written[side].add(tiles[-1], owners)
                    if side == 0:
                        spread.add(rows)
                        if target is not spread:
                            target.add(tiles[-1])
                    picked[side].take([tiles[0], tiles[-1]], place)
                    task.advance(len(rows) / 2)
    if sides.assumed and (factor := independent(read)) > 1:
        sides, same = sides.lengthened(factor), written is read
        read = [_joined(sums, factor) for sums in read]
        written = read if same else [_joined(sums, factor) for sums in written]
        groups = sides.counts.shape[1]
        for own in picked:
            own.groups //= factor
    design, bins = sides.design(config.groups, config.permutations, ctx.seed)
    tables = [_merged(sums, sides, design, bins) for sums in (read, written)]
    variance = None if sides.paired and groups == design.groups else _variance(read, sides)
    return sides, Sums(design, bins, tables[0], tables[1], variance, spread, target.trace, Sample.of(picked))


def _joined(sums: GroupSums, factor: int) -> GroupSums:
    return sums.merged(np.arange(sums.groups) // factor)


def _merged(sums: list[GroupSums], sides: Sides, design: Design, bins: NDArray[np.int64]) -> NDArray[np.float64]:
    if sides.paired:
        return sums[0].sums if len(bins) == design.groups else sums[0].merged(bins).sums
    own = design.groups // 2
    tables: list[NDArray[np.float64]] = []
    for side in (1, 0):
        table = np.zeros((own, sums[side].width))
        np.add.at(table, bins[side], sums[side].sums)  # groups that a side lacks add nothing
        tables.append(table)
    # About their common mean, so that a large offset costs no digits.
    counts = np.array([_bin_counts(sides, bins, side, own) for side in (1, 0)])
    mean = (tables[0].sum(0) + tables[1].sum(0)) / counts.sum()
    return np.concatenate([table - np.outer(n, mean) for table, n in zip(tables, counts, strict=True)])


def _bin_counts(sides: Sides, bins: NDArray[np.int64], side: int, own: int) -> NDArray[np.float64]:
    return np.bincount(bins[side], sides.counts[side], own).astype(np.float64)


def _variance(read: list[GroupSums], sides: Sides) -> NDArray[np.float64]:
    """Of the mean shift: G/(G − 1) Σ(S_g − n_gΔ)(S_g − n_gΔ)ᵀ/n², summed over sides where they have other rows."""
    parts: list[NDArray[Any]] = []
    for sums in read:
        n, kept = float(sums.counts.sum()), int((sums.counts > 0).sum())
        off = sums.sums - np.outer(sums.counts / n, sums.sums.sum(0))
        parts.append(off.T @ off * (kept / max(kept - 1, 1) / n**2))
    return parts[0] if len(parts) == 1 else np.add(parts[0], parts[1])


@dataclass(frozen=True, eq=False)
class Found:
    """The statistics of every feature, and the selection."""

    shifts: FeatureShifts
    tests: FeatureTests
    carried: Carried | None
    rates: FeatureRates | None
    """Of the features of `counted`."""
    codes: CodeSums | None
    counted: NDArray[np.integer] | None
    """Features whose codes were counted; None: none."""
    code_tokens: int


def tested(
    config: Config, ctx: Context, dictionary: PlainDictionary, sides: Sides, sums: Sums, directions: NDArray[Any] | None
) -> Found:
    """Tests of every feature; `directions` are decoder rows of length 1, where the dictionary has some."""
    every = np.arange(dictionary.size)
    codes = counted = rates = None
    if config.depth == "full" and dictionary.encodes:
        counted = every
        codes = counted_codes(ctx, dictionary, sides, sums, None)
    column = _columns(dictionary, sums, codes)
    with ctx.progress.task("tests of features"):
        tests = feature_tests(sums.design, dictionary.size, column)
        shifts = feature_shifts(
            dictionary.encoder,
            sums.design,
            lambda block: column(block)[0],
            sums.variance,
            sums.spread.covariance if sums.spread.whole else None,
        )
    chosen = None
    if directions is not None:
        with ctx.progress.task("features that carry the shift"):
            chosen = carried(directions, sums.written, sums.design, seed=ctx.seed)
    if counted is None and dictionary.encodes:
        counted = reported(config, tests, chosen)
        work = sides.tokens * dictionary.width * dictionary.size
        if dictionary.pointwise or work <= COMPETING:
            codes = counted_codes(ctx, dictionary, sides, sums, counted)
        else:
            counted = None
    if codes is not None:
        rates = feature_rates(codes, sums.design, _code_counts(sides, sums))
    return Found(shifts, tests, chosen, rates, codes, counted, sides.tokens)


def reported(config: Config, tests: FeatureTests, chosen: Carried | None) -> NDArray[np.integer]:
    """Carried features first, then those of largest statistic."""
    first = [] if chosen is None else [one.row for one in chosen.chosen]
    count = min(config.top_k, len(tests.statistic))
    order = np.argsort(-tests.statistic, kind="stable")[: count + len(first)]
    rest = [int(i) for i in order if int(i) not in set(first)]
    return np.array([*first, *rest][: max(count, len(first))], np.int64)


def preactivated(dictionary: PlainDictionary, sums: NDArray[np.float64], block: slice) -> NDArray[np.float64]:
    """[group, feature] of a block of features, from the sums of rows: pre-activations are linear in them."""
    return sums @ dictionary.encoder[block].T.astype(np.float64)


def every(dictionary: PlainDictionary) -> list[slice]:
    """Blocks of all features."""
    return list(blocks(dictionary.size))


def _columns(
    dictionary: PlainDictionary, sums: Sums, codes: CodeSums | None
) -> Callable[[slice], list[NDArray[np.float64]]]:
    kept: dict[int, NDArray[np.float64]] = {}
    keep = codes is None and sums.design.groups * dictionary.size <= KEPT  # codes of all features fill the memory

    def column(block: slice) -> list[NDArray[np.float64]]:
        found = kept.get(block.start)
        if found is None:
            found = preactivated(dictionary, sums.read, block)
            if keep:
                kept[block.start] = found
        tables = [found]
        if codes is not None:
            tables.append(codes.fired(block))
        return tables

    return column


def _code_counts(sides: Sides, sums: Sums) -> NDArray[np.int64]:
    """Tokens of each side and merged group."""
    if sides.paired:
        merged = np.bincount(sums.bins, sides.counts[0], sums.design.groups).astype(np.int64)
        return np.array([merged, merged])
    own = sums.design.groups // 2
    return np.array([_bin_counts(sides, sums.bins, side, own) for side in (0, 1)]).astype(np.int64)


def counted_codes(
    ctx: Context, dictionary: PlainDictionary, sides: Sides, sums: Sums, chosen: NDArray[np.integer] | None
) -> CodeSums:
    """Codes of all features, or of some, by merged group."""
    bins = sums.bins if sides.paired else sums.bins[0]
    own = [bins[sides.groups[0]], bins[sides.groups[1]] if sides.paired else sums.bins[1][sides.groups[1]]]
    groups = sums.design.groups if sides.paired else sums.design.groups // 2
    size = dictionary.size if chosen is None else len(chosen)
    found = CodeSums(groups, size, sides.paired)
    encode = _encoder(dictionary, chosen)
    with ctx.progress.task("codes", sides.tokens) as task:
        if sides.paired:
            for tiles, place in sides.tiles(sides.inputs):
                runs = segments(own[0][place])
                for (block, one), (_, two) in zip(*(encode(dictionary.scaled(t)) for t in tiles), strict=True):
                    found.add_both(found.add(0, one, block, *runs), found.add(1, two, block, *runs), block)
                task.advance(len(tiles[0]))
        else:
            for side in (0, 1):
                for tiles, place in sides.tiles([sides.inputs[side]]):
                    runs = segments(own[side][place])
                    for block, codes in encode(dictionary.scaled(tiles[0])):
                        found.add(side, codes, block, *runs)
                    task.advance(len(tiles[0]) / 2)
    beyond = ~np.isfinite(found.totals).all(0)
    if beyond.any():
        place = int(beyond.argmax())
        raise UserError(
            "codes are too large for float32",
            where=f"feature {place if chosen is None else int(chosen[place])}",
            fix="the activations, or the weights of the dictionary, are far beyond those of a model",
            code="too_large",
        )
    return found


def _encoder(dictionary: PlainDictionary, chosen: NDArray[np.integer] | None) -> Callable[[NDArray[Any]], Any]:
    """Blocks of codes of scaled rows."""
    if chosen is not None and dictionary.pointwise:
        return lambda rows: [(slice(0, len(chosen)), dictionary.codes(dictionary.preactivations(rows, chosen), chosen))]
    if chosen is not None:
        return lambda rows: [(slice(0, len(chosen)), dictionary.codes(dictionary.preactivations(rows))[:, chosen])]
    if not dictionary.pointwise:
        return lambda rows: [(slice(0, dictionary.size), dictionary.codes(dictionary.preactivations(rows)))]

    def blocks(rows: NDArray[Any]) -> Any:
        for start in range(0, dictionary.size, COLUMNS):
            block = slice(start, min(dictionary.size, start + COLUMNS))
            yield block, dictionary.codes(dictionary.preactivations(rows, block), block)

    return blocks
