"""The search for the first broken checkpoint as a pure function of what was seen: what to look at next, and the answer.

Checkpoints are 0 … n−1, oldest first. Each that was looked at is `good`, `broken`, `skip` (it cannot say) or `flaky`
(its repeats did not agree).

1. the oldest, then the newest; where one cannot say, its neighbour inwards. Oldest broken: FIRST_IS_BROKEN. Newest
   good: ALL_OK
2. halves between last good and first broken: the middle, or the untested checkpoint nearest to it (ties: older)
3. only those that cannot say are left between: the flaky ones are repeated, oldest first, up to `ROUNDS` rounds each;
   then the answer is the interval, INCONCLUSIVE
4. checks of BROKEN_AT: both neighbours of the boundary and `check` untested ones a side, in the order of `Plan.order`;
   of ALL_OK: twice as many from anywhere. A good one after a broken one: NOT_MONOTONE, and nothing more is looked at
5. `scan`: every checkpoint, oldest first, and the same answers

Without skips ⌈log₂(n − 1)⌉ + 2 looks before checks. Missing evidence is never ALL_OK: a newest checkpoint that cannot
say leaves INCONCLUSIVE. The function holds no state, so a search is resumed and verified by calling it again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["good", "broken", "skip", "flaky"]
Phase = Literal["search", "check", "scan"]
Outcome = Literal["BROKEN_AT", "ALL_OK", "FIRST_IS_BROKEN", "INCONCLUSIVE", "NOT_MONOTONE"]
ROUNDS = 3
"""Rounds of repeats that a flaky checkpoint is given where the answer hangs on it."""


@dataclass(frozen=True)
class Plan:
    """How many checkpoints, and what is looked at beyond the search."""

    n: int
    check: int = 2
    scan: bool = False
    order: Sequence[int] = ()
    """A permutation of the checkpoints: the order in which checks are drawn."""


@dataclass(frozen=True)
class Seen:
    """What one checkpoint said, when it was looked at, and in how many rounds of repeats."""

    verdict: Verdict
    phase: Phase = "search"
    rounds: int = 1


@dataclass(frozen=True)
class Ask:
    """The checkpoint to look at next. `again`: one more round of a flaky one."""

    index: int
    phase: Phase
    again: bool = False


@dataclass(frozen=True)
class Conclusion:
    """What follows from everything seen."""

    outcome: Outcome
    last_good: int | None
    first_broken: int | None
    checked: tuple[int, ...]
    """Looked at only to see whether good and broken are in order."""
    contradictions: tuple[int, ...]
    """Good ones after the oldest broken one."""


def next_ask(plan: Plan, seen: Mapping[int, Seen]) -> Ask | None:
    """What to look at next; None when the search is over."""
    if plan.scan:
        untested = next((i for i in range(plan.n) if i not in seen), None)
        if untested is not None:
            return Ask(untested, "scan")
        return _again(seen, *_interval(seen), plan.n, "scan")
    if _contradictions(seen):
        return None
    searched = {i: s for i, s in seen.items() if s.phase == "search"}
    asked = _search(plan.n, searched)
    if asked is not None:
        return asked
    waiting = [i for i in _checks(plan, searched) if i not in seen]
    return Ask(waiting[0], "check") if waiting else None


def conclude(plan: Plan, seen: Mapping[int, Seen]) -> Conclusion:
    """The answer of a search that is over."""
    wrong = _contradictions(seen)
    searched = {i: s for i, s in seen.items() if s.phase != "check"}
    last_good, first_broken = _interval(searched)
    checked = tuple(sorted(set(seen) - set(searched)))
    outcome: Outcome
    if wrong:
        outcome = "NOT_MONOTONE"
    elif first_broken == 0:
        outcome = "FIRST_IS_BROKEN"
    elif first_broken is None:
        outcome = "ALL_OK" if last_good == plan.n - 1 else "INCONCLUSIVE"
    elif last_good is None or first_broken - last_good > 1:
        outcome = "INCONCLUSIVE"
    else:
        outcome = "BROKEN_AT"
    return Conclusion(outcome, last_good, first_broken, checked, wrong)


def least(n: int) -> int:
    """Looks of a search without skips, before checks: both ends and the halves between."""
    return min(n, 2 + (n - 2).bit_length())


def _interval(seen: Mapping[int, Seen]) -> tuple[int | None, int | None]:
    """Last good before the oldest broken, and the oldest broken."""
    broken = min((i for i, s in seen.items() if s.verdict == "broken"), default=None)
    good = [i for i, s in seen.items() if s.verdict == "good" and (broken is None or i < broken)]
    return max(good, default=None), broken


def _contradictions(seen: Mapping[int, Seen]) -> tuple[int, ...]:
    _, broken = _interval(seen)
    return () if broken is None else tuple(sorted(i for i, s in seen.items() if s.verdict == "good" and i > broken))


def _search(n: int, seen: Mapping[int, Seen]) -> Ask | None:
    low, high = _interval(seen)
    if low is None:
        end = n if high is None else high
        oldest = next((i for i in range(end) if i not in seen), None)
        return Ask(oldest, "search") if oldest is not None else _again(seen, None, high, n, "search")
    if high is None:
        if low == n - 1:
            return None
        newest = next((i for i in range(n - 1, low, -1) if i not in seen), None)
        return Ask(newest, "search") if newest is not None else _again(seen, low, None, n, "search")
    middle = (low + high) // 2
    inside = [i for i in range(low + 1, high) if i not in seen]
    if inside:
        return Ask(min(inside, key=lambda i: (abs(i - middle), i)), "search")
    return _again(seen, low, high, n, "search")


def _again(seen: Mapping[int, Seen], low: int | None, high: int | None, n: int, phase: Phase) -> Ask | None:
    """The oldest flaky one strictly between, if it has rounds left."""
    for i in range(0 if low is None else low + 1, n if high is None else high):
        if i in seen and seen[i].verdict == "flaky" and seen[i].rounds < ROUNDS:
            return Ask(i, phase, again=True)
    return None


def _checks(plan: Plan, searched: Mapping[int, Seen]) -> list[int]:
    """Which to look at after the search: it follows from the search alone, so it does not change underway."""
    low, high = _interval(searched)
    free = [i for i in plan.order if i not in searched]
    if plan.check == 0 or low is None:
        return []
    if high is None:
        return free[: 2 * plan.check] if low == plan.n - 1 else []
    if high - low > 1:
        return []
    beside = [i for i in (low - 1, high + 1) if 0 <= i < plan.n and i not in searched]
    older = [i for i in free if i < low and i not in beside][: plan.check]
    newer = [i for i in free if i > high and i not in beside][: plan.check]
    return [*beside, *older, *newer]
