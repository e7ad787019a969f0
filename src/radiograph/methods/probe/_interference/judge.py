"""From losses to cells, bands and the worst pair: the same for a run and for whoever checks it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from radiograph.core import Refusal, derive
from radiograph.core.shapes import Float64, Shaped
from radiograph.evidence import RefusalRecord
from radiograph.evidence.probes.interference import InterferenceBand, InterferenceCell, WorstPair
from radiograph.methods.probe._interference.losses import Loss, Losses
from radiograph.numerics.interference import band_of, difference_interval, gain, paired_scores, ratio_interval
from radiograph.numerics.proportions import Interval

FEWEST_ROWS, FEWEST_GROUPS = 30, 12
BANDS: tuple[InterferenceBand, ...] = ("OK", "MINOR", "MAJOR", "HELPS", "INCONCLUSIVE", "NOT-MEASURED")
WORDS = {
    "missing": "the file has no loss for this pair",
    "inert": "alone it is not shown to be better than the base on its own data, so there is nothing to interfere with",
    "too_few_rows": f"fewer than {FEWEST_ROWS} rows",
    "few_groups": f"fewer than {FEWEST_GROUPS} groups of rows",
    "no_loss": "hardly a row has a loss alone that could change",
    "unbounded": "the loss alone is not clear of 0",
    "straddles": "the interval lies on both sides of 20 %",
}


@dataclass(frozen=True)
class Alone:
    """An adapter alone on its own data, beside the base."""

    loss: float
    base: float | None = None
    gain: float | None = None
    interval: Interval | None = None
    inert: bool | None = None
    groups: int | None = None


@dataclass(frozen=True, eq=False)
class RowLosses:
    """Summed losses of a target's rows under every condition."""

    tokens: Float64[np.ndarray, " row"]
    groups: Shaped[np.ndarray, " row"]
    base: Float64[np.ndarray, " row"]
    alone: Float64[np.ndarray, " row"]
    both: Mapping[str, Float64[np.ndarray, "repeat row"]]
    """By what was added."""


def of_given(losses: Losses) -> tuple[dict[str, Alone], list[InterferenceCell]]:
    """Cells of a file of losses."""
    facts = {name: _given_alone(losses, name) for name in losses.adapters}
    cells: list[InterferenceCell] = []
    for target in losses.adapters:
        for added in losses.adapters:
            if target == added:
                continue
            both, alone = losses.both.get((target, added)), losses.alone[target]
            if both is None:
                cells.append(_cell(target, added, None, None, None, None, "missing"))
                continue
            score = (both.loss - alone.loss) / alone.loss
            interval, known = _given_interval(alone, both)
            reason = "inert" if facts[target].inert else "unbounded" if known and interval is None else None
            n = None if both.n is None or alone.n is None else min(both.n, alone.n)
            cells.append(_cell(target, added, score, interval, n, both.loss, reason))
    return facts, cells


def of_rows(
    adapters: Sequence[str], rows: Mapping[str, RowLosses], seed: int
) -> tuple[dict[str, Alone], list[InterferenceCell]]:
    """Cells of rows that were evaluated under every condition."""
    facts: dict[str, Alone] = {}
    cells: list[InterferenceCell] = []
    for target in adapters:
        found, own = rows[target], derive(seed, "interference", target) % 2**32
        facts[target] = _measured_alone(found, own)
        others = [name for name in adapters if name != target]
        reason = _unable(found, facts[target])
        scores = None
        if reason is None or reason == "inert":
            stacked = np.stack([found.both[name] for name in others])
            try:
                scores = paired_scores(found.alone, stacked, found.groups, seed=own)
            except Refusal as refusal:
                reason = refusal.code
        for place, added in enumerate(others):
            loss = float(found.both[added].mean(0).sum() / found.tokens.sum())
            if scores is None:
                cells.append(_cell(target, added, None, None, len(found.alone), loss, reason))
                continue
            repeats = tuple(map(float, scores.repeats[place])) if scores.repeats.shape[1] > 1 else ()
            score, interval = float(scores.score[place]), scores.interval(place)
            cells.append(_cell(target, added, score, interval, len(found.alone), loss, reason, repeats))
    return facts, cells


def worst_of(cells: Iterable[InterferenceCell]) -> WorstPair | None:
    """The pair of the largest harm among those that have a band; None where none harms."""
    harmed = [c for c in cells if c.score is not None and c.score > 0 and c.band != "NOT-MEASURED"]
    if not harmed:
        return None
    worst = max(harmed, key=lambda c: c.score or 0)
    assert worst.score is not None, "asked for above"
    return WorstPair(target=worst.target, added=worst.added, score=worst.score, band=worst.band)


def counted(cells: Iterable[InterferenceCell]) -> dict[InterferenceBand, int]:
    """How many cells have each band."""
    found = [cell.band for cell in cells]
    return {band: found.count(band) for band in BANDS if band in found}


def gaps(cells: Iterable[InterferenceCell]) -> tuple[RefusalRecord, ...]:
    """What was not measured or not decided, cell by cell."""
    return tuple(
        RefusalRecord(
            code=cell.reason or "unknown",
            what=f"{cell.target} with {cell.added}",
            text=WORDS.get(cell.reason or "", cell.reason or ""),
            fix=_fix(cell),
        )
        for cell in cells
        if cell.band in ("NOT-MEASURED", "INCONCLUSIVE")
    )


def _fix(cell: InterferenceCell) -> str | None:
    fixes = {
        "missing": "measure it, or --allow-missing to pass without it",
        "inert": "give data that the adapter was trained for",
        "too_few_rows": "give more rows",
        "few_groups": "give rows of more prompts",
        "no_loss": "give rows that the adapter has not learnt by heart",
        "straddles": "give more rows",
        "unbounded": "give more rows",
    }
    return fixes.get(cell.reason or "")


def _cell(
    target: str,
    added: str,
    score: float | None,
    interval: Interval | None,
    n: int | None,
    loss: float | None,
    reason: str | None,
    repeats: tuple[float, ...] = (),
) -> InterferenceCell:
    if reason == "unbounded":
        band = "INCONCLUSIVE"
    elif reason is not None or score is None:
        band = "NOT-MEASURED"
    else:
        band = band_of(score, interval)
        reason = "straddles" if band == "INCONCLUSIVE" else None
    return InterferenceCell(
        target=target,
        added=added,
        score=score,
        interval=None if interval is None else (interval.low, interval.high),
        n=n,
        loss=loss,
        band=cast(InterferenceBand, band),
        reason=reason,
        repeats=repeats,
    )


def _unable(found: RowLosses, alone: Alone) -> str | None:
    """Why the rows of a target say nothing."""
    if len(found.alone) < FEWEST_ROWS:
        return "too_few_rows"
    if len(np.unique(found.groups)) < FEWEST_GROUPS:
        return "few_groups"
    return "inert" if alone.inert else None


def _measured_alone(found: RowLosses, seed: int) -> Alone:
    tokens, groups = float(found.tokens.sum()), len(np.unique(found.groups))
    loss, base = float(found.alone.sum() / tokens), float(found.base.sum() / tokens)
    if groups < 2:
        return Alone(loss, base, base - loss, groups=groups)
    won, interval = gain(found.base, found.alone, found.tokens, found.groups, seed=seed)
    return Alone(loss, base, won, interval, not interval.low > 0, groups)


def _given_alone(losses: Losses, name: str) -> Alone:
    alone, base = losses.alone[name], losses.base.get(name)
    if base is None:
        return Alone(alone.loss)
    won, interval = base.loss - alone.loss, None
    if alone.sd is not None and alone.n is not None and base.sd is not None and base.n is not None:
        interval = difference_interval((base.loss, base.sd, base.n), (alone.loss, alone.sd, alone.n))
    return Alone(alone.loss, base.loss, won, interval, not (won if interval is None else interval.low) > 0)


def _given_interval(alone: Loss, both: Loss) -> tuple[Interval | None, bool]:
    """The interval, and whether enough was given for one."""
    if alone.sd is None or alone.n is None or both.sd is None or both.n is None or min(alone.n, both.n) < 2:
        return None, False
    return ratio_interval((alone.loss, alone.sd, alone.n), (both.loss, both.sd, both.n)), True
