"""The capability panel: has the candidate lost abilities that the reference has? (the *degraded* axis)

1. Per task, both models answer the same items; an item seen several times counts once, right only if right every time.
   The row holds lost (b), gained (c), drop (b − c)/n with Newcombe's paired 95 % interval, the one-sided exact McNemar
   p, Holm-adjusted over tasks, and the one-sided 95 % upper bound of the drop.
2. Perplexity ratio candidate / reference on neutral text, exp(Σ Δnll / Σ tokens), bootstrap over texts.
3. `yes`: a task with p_holm ≤ .05 and drop ≥ .05, or the ratio's one-sided 95 % lower bound above 1.25.
   `no`: in every task the drop's bound ≤ .10, and the ratio's one-sided 95 % upper bound ≤ 1.25.
   `unknown`: everything else, with the number of items a task, and of texts, that would settle it at the rates seen.

4. A loss that a confirmed witness explains is no lost ability, where a planted change is established (`verdict`):
   items where the candidate gives the very answer that it gives on the witness's prompts are left out, and the axis is
   judged on the rest. A task whose rest is smaller than 30 items is not shown to be kept, and counts whole.

Needs two tasks of 30 items, else `unknown` with reason `panel_too_small`. A smaller task is not measured: it proves no
loss, and while it stands in the panel nothing proves that there is none. Without 30 neutral texts the ratio decides
nothing, and there is no `no` either (`perplexity_missing`): a bootstrap over few texts has bounds that miss too often
(measured: one-sided 5 % bounds miss in 25 % of cases at 2 texts, in 11 % at 5, in 6 % from 30 on).
Units: proportions; ratio of perplexities; items; texts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Bool, Float, Int
from radiograph.numerics._finite import finite
from radiograph.numerics.proportions import (
    Interval,
    PairedTable,
    drop_bound,
    holm,
    mcnemar,
    newcombe,
    newcombe_shares,
)
from radiograph.numerics.resampling import bootstrap, weighted_mean

Degraded = Literal["no", "yes", "unknown"]

MIN_TASKS = 2
MIN_ITEMS = 30
MIN_TEXTS = 30
"""Neutral texts below which the bounds of the perplexity ratio are none."""
ALPHA = 0.05
PROVEN_DROP = 0.05
"""A loss smaller than this is not called one, however sure."""
TOLERATED_DROP = 0.10
TOLERATED_RATIO = 1.25
_ENDLESS = 1 << 24
"""More items than this is no advice."""


@dataclass(frozen=True, eq=False)
class TaskOutcomes:
    """Which items of one task each model got right."""

    task: str
    items: Sequence[str]
    reference: Bool[np.ndarray, " item"]
    candidate: Bool[np.ndarray, " item"]


@dataclass(frozen=True, eq=False)
class TextLosses:
    """Summed negative log-likelihood of each neutral text under both models, in nats, and its number of tokens."""

    reference: Float[np.ndarray, " text"]
    candidate: Float[np.ndarray, " text"]
    tokens: Int[np.ndarray, " text"]


@dataclass(frozen=True)
class TaskRow:
    """One task of the panel. A task of fewer than 30 items is not measured: no p, no bound."""

    task: str
    n: int
    lost: int
    gained: int
    drop: float
    interval: Interval
    """Two-sided 95 %, Newcombe's method 10."""
    upper: float | None = None
    """One-sided 95 % bound of the drop."""
    p: float | None = None
    p_holm: float | None = None
    items_to_settle: int | None = None
    """Items at which the rates seen would settle this task; its own n where they already do; None: never."""

    @property
    def measured(self) -> bool:
        """Whether the task is large enough to say anything."""
        return self.p is not None


@dataclass(frozen=True)
class PerplexityRatio:
    """Perplexity of the candidate over that of the reference, on the same text."""

    ratio: float
    interval: Interval
    """Two-sided 95 %, percentile bootstrap over texts."""
    lower: float
    upper: float
    """One-sided 95 % bounds."""
    n: int
    texts_to_settle: int | None
    """Texts at which the spread seen would put the ratio on one side of 1.25; None: on the line."""


@dataclass(frozen=True)
class PanelResult:
    """The degraded axis with everything it rests on."""

    axis: Degraded
    reason: str | None
    """`panel_too_small` or `perplexity_missing` where the axis is unknown."""
    text: str
    tasks: tuple[TaskRow, ...]
    perplexity: PerplexityRatio | None
    items_to_settle: int | None
    """Items a task that would settle an unknown axis at the rates seen."""


def capability_panel(tasks: Sequence[TaskOutcomes], losses: TextLosses | None, *, seed: int) -> PanelResult:
    """Judge the degraded axis.

    Raises:
        UserError: a task named twice or without items, outcomes of unequal length, losses not finite.
    """
    names = [task.task for task in tasks]
    if len(set(names)) < len(names):
        raise UserError("a task appears twice in the panel", got=", ".join(names))
    rows = task_rows({task.task: paired_table(task) for task in tasks})
    ratio = None if losses is None or len(losses.tokens) < 2 else perplexity_ratio(losses, seed=seed)
    return degraded_axis(rows, ratio)


def paired_table(outcomes: TaskOutcomes) -> PairedTable:
    """The 2 × 2 table over distinct items."""
    if not len(outcomes.items) == len(outcomes.reference) == len(outcomes.candidate) > 0:
        raise UserError(
            "a task needs one outcome of each model per item",
            where=outcomes.task,
            got=f"{len(outcomes.items)} items, {len(outcomes.reference)} and {len(outcomes.candidate)} outcomes",
        )
    names, which = np.unique(np.asarray(outcomes.items), return_inverse=True)
    reference, candidate = np.ones(len(names), dtype=bool), np.ones(len(names), dtype=bool)
    np.logical_and.at(reference, which, outcomes.reference)
    np.logical_and.at(candidate, which, outcomes.candidate)
    return PairedTable.of(reference, candidate)


def task_rows(tables: dict[str, PairedTable]) -> tuple[TaskRow, ...]:
    """Statistics of every task, Holm's correction over the measured ones."""
    rows = [_row(task, table, len(tables)) for task, table in tables.items()]
    adjusted = iter(holm([row.p for row in rows if row.p is not None]))
    return tuple(row if row.p is None else replace(row, p_holm=next(adjusted)) for row in rows)


def besides(outcomes: TaskOutcomes, explained: Bool[np.ndarray, " item"]) -> TaskOutcomes | None:
    """A task without the items that a witness explains; None where nothing is explained, or too little would be left.

    Only items that the reference gets right and the candidate wrong can be explained.
    """
    left = ~(explained & outcomes.reference & ~outcomes.candidate)
    if left.all() or len({name for name, kept in zip(outcomes.items, left, strict=True) if kept}) < MIN_ITEMS:
        return None
    return TaskOutcomes(
        outcomes.task,
        [name for name, kept in zip(outcomes.items, left, strict=True) if kept],
        outcomes.reference[left],
        outcomes.candidate[left],
    )


def perplexity_ratio(losses: TextLosses, *, seed: int) -> PerplexityRatio:
    """exp(Σ (nll_cand − nll_ref) / Σ tokens), resampled over texts.

    Raises:
        Refusal: fewer than two texts.
        UserError: a loss is not finite, or a text has no tokens.
    """
    if (losses.tokens < 1).any():
        raise UserError("a neutral text has no tokens", where=f"text {int(np.argmin(losses.tokens))}")
    tokens = losses.tokens.astype(np.float64)
    rise = finite(losses.candidate, "candidate loss") - finite(losses.reference, "reference loss")
    resampled = bootstrap(weighted_mean(rise / tokens, tokens), len(tokens), seed=seed)
    lower, upper = (_exp(x) for x in resampled.interval(1 - 2 * ALPHA))
    low, high = (_exp(x) for x in resampled.interval(0.95))
    gap = abs(resampled.estimate - math.log(TOLERATED_RATIO))
    needed: int | None = max(resampled.n, MIN_TEXTS)
    if lower <= TOLERATED_RATIO < upper:
        spread = NormalDist().inv_cdf(1 - ALPHA) * float(resampled.samples.std())
        needed = math.ceil(resampled.n * (spread / gap) ** 2) if gap > 0 else None
        needed = None if needed is None or needed > _ENDLESS else max(needed, resampled.n + 1, MIN_TEXTS)
    return PerplexityRatio(_exp(resampled.estimate), Interval(low, high), lower, upper, resampled.n, needed)


def _exp(nats: float) -> float:
    """A wrecked model's ratio is as large as a number can be, and no error."""
    return math.exp(min(nats, 700.0))


def degraded_axis(rows: Sequence[TaskRow], ratio: PerplexityRatio | None) -> PanelResult:
    """The rule of the axis, from stored rows alone."""
    measured = [row for row in rows if row.measured]
    lost = [row for row in measured if _shows_loss(row.drop, row.p_holm)]

    def result(axis: Degraded, text: str, reason: str | None = None) -> PanelResult:
        return PanelResult(axis, reason, text, tuple(rows), ratio, _items_to_settle(rows) if reason else None)

    if len(measured) < MIN_TASKS:
        return result("unknown", f"{len(measured)} tasks of ≥ {MIN_ITEMS} items, {MIN_TASKS} needed", "panel_too_small")
    if lost:
        return result("yes", "lost: " + ", ".join(f"{row.task} (−{row.drop:.3f})" for row in lost))
    trusted = ratio if ratio is not None and ratio.n >= MIN_TEXTS else None
    if trusted is not None and trusted.lower > TOLERATED_RATIO:
        return result("yes", f"perplexity ratio {trusted.ratio:.3f}, above {trusted.lower:.3f}")
    unsure = [row.task for row in rows if row.upper is None or row.upper > TOLERATED_DROP]
    if unsure:
        return result("unknown", "a loss of .10 is not excluded in " + ", ".join(unsure), "panel_too_small")
    if trusted is None:
        few = f"perplexity on {ratio.n} neutral texts bounds nothing, {MIN_TEXTS} needed" if ratio else ""
        return result("unknown", few or "perplexity on neutral text was not measured", "perplexity_missing")
    if trusted.upper > TOLERATED_RATIO:
        return result("unknown", f"perplexity ratio up to {trusted.upper:.3f} is not excluded", "panel_too_small")
    return result("no", "no task lost more than .10, perplexity ratio within 1.25")


def _row(task: str, table: PairedTable, tasks: int) -> TaskRow:
    row = TaskRow(
        task, table.n, table.lost, table.gained, table.drop, newcombe(table), items_to_settle=_settling(table, tasks)
    )
    if table.n < MIN_ITEMS:
        return row
    return replace(row, upper=drop_bound(table), p=mcnemar(table.lost, table.gained))


def _shows_loss(drop: float, p: float | None) -> bool:
    return p is not None and p <= ALPHA and drop >= PROVEN_DROP


def _items_to_settle(rows: Sequence[TaskRow]) -> int | None:
    """The most that a task still open needs; None where no number of items helps, or none is missing."""
    needed = [row.items_to_settle for row in rows if row.upper is None or row.upper > TOLERATED_DROP]
    if len(rows) < MIN_TASKS:
        needed.append(MIN_ITEMS)
    known = [n for n in needed if n is not None]
    return max(known) if known and len(known) == len(needed) else None


def _settling(table: PairedTable, tasks: int) -> int | None:
    """Smallest n at which these rates exclude a drop of .10, or show one of .05 corrected for `tasks` tests."""
    from scipy.special import betainc  # pyright: ignore[reportUnknownVariableType, reportMissingTypeStubs]

    def settled(n: int) -> bool:
        scale = n / table.n
        right, lost, gained, wrong = (scale * x for x in (table.both_right, table.lost, table.gained, table.both_wrong))
        if newcombe_shares(right, lost, gained, wrong, 1 - 2 * ALPHA).high <= TOLERATED_DROP:
            return True
        # P(Bin(b + c, ½) ≥ b) = I_½(b, c + 1), which also takes real b and c.
        p = float(betainc(lost, gained + 1, 0.5)) if lost > 0 else 1.0
        return _shows_loss(table.drop, min(1.0, tasks * p))

    return _first(settled, max(table.n, MIN_ITEMS))


def _first(holds: Callable[[int], bool], start: int) -> int | None:
    """First n ≥ start where a condition that stays true holds: doubling, then bisection."""
    if holds(start):
        return start
    low, high = start, 2 * start
    while not holds(high):
        low, high = high, 2 * high
        if high > _ENDLESS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
