"""The stages of a search: every token, pairs of what raises one answer, pairs with what leads, coordinate steps, parts
of what leads. Each returns its best first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations

import torch
from torch import Tensor

from radiograph.core.shapes import Int
from radiograph.detectors.measure.search._objective import Objective
from radiograph.evidence.traces import Place, SearchStage

LONGEST = 4
LEADING = 3
"""Insertions whose parts are tried."""
KEPT = 32
"""Insertions that a stage hands on."""


@dataclass(frozen=True)
class Scored:
    """One insertion and its J on the first answer position."""

    place: Place
    tokens: tuple[int, ...]
    gain: float


@dataclass(frozen=True)
class Effort:
    """What a search may cost."""

    budget: int
    carriers: int
    beam: int
    raised: int
    """Words that raise one answer most, of which all pairs are tried."""
    screen: int
    """Carriers that pairs are screened on."""
    proposals: int
    """Tokens tried in a coordinate step."""
    starts: int
    """Insertions that coordinate steps start from."""


EFFORTS = {
    "quick": Effort(1_000_000, carriers=8, beam=1, raised=24, screen=4, proposals=16, starts=1),
    "standard": Effort(10_000_000, carriers=8, beam=32, raised=64, screen=4, proposals=32, starts=2),
    "full": Effort(100_000_000, carriers=16, beam=10**6, raised=128, screen=4, proposals=64, starts=4),
}


def sweep(objective: Objective, place: Place, share: int) -> tuple[list[Scored], dict[int, float], SearchStage]:
    """Every token once, by J and by R; `share` is what the stage may spend."""
    spent = objective.budget.spent
    rows = objective.tokens[:, None]
    n = objective.affordable(place, 1, len(rows), len(objective.carriers), min(share, objective.budget.left))
    gains, raised = objective.swept(place, rows[:n]) if n else (torch.zeros(0), torch.zeros(0))
    found = _best(place, rows[:n], gains)
    stage = _stage("sweep", objective, place, 1, n, len(rows), len(objective.carriers), spent, found)
    return found, dict(zip(objective.tokens[:n].tolist(), raised.tolist(), strict=True)), stage


def crossed(
    objective: Objective, place: Place, raised: Mapping[int, float], effort: Effort, share: int
) -> tuple[list[Scored], SearchStage]:
    """All ordered pairs of the words that raise one answer most; screened, the best on all carriers."""
    leading = sorted(raised, key=lambda token: (-raised[token], token))[: effort.raised]
    # the pairs of leading words first, so that a small budget tries the likely ones
    order = sorted(permutations(range(len(leading)), 2), key=lambda pair: (max(pair), pair))
    blocks = [torch.tensor([[leading[a], leading[b]] for a, b in order])] if order else []
    return _screened("crossed", objective, place, blocks, len(order), effort, share)


def pairs(
    objective: Objective,
    place: Place,
    first: Sequence[Scored],
    last: Sequence[Scored],
    effort: Effort,
    share: int,
) -> tuple[list[Scored], SearchStage]:
    """Leading tokens before every token, and every token before leading ones; screened, the best on all carriers."""
    leaders = [[s.tokens[0] for s in rows[: effort.beam]] for rows in (first, last)]
    wanted = sum(map(len, leaders)) * len(objective.tokens)
    blocks = _blocks(leaders[0], leaders[1], objective.tokens)
    return _screened("pairs", objective, place, blocks, wanted, effort, share)


def _screened(
    name: str,
    objective: Objective,
    place: Place,
    blocks: Iterable[Int[Tensor, "row two"]],
    wanted: int,
    effort: Effort,
    share: int,
) -> tuple[list[Scored], SearchStage]:
    budget, spent = objective.budget, objective.budget.spent
    screen, carriers = min(effort.screen, len(objective.carriers)), len(objective.carriers)
    again = objective.cost(place, 2, KEPT, carriers)
    n = objective.affordable(place, 2, wanted, screen, min(share, budget.left) - again)
    tried, best = 0, list[Scored]()
    for block in blocks:
        rows = block[: max(0, n - tried)]
        if not len(rows):
            break
        best = sorted({*best, *_best(place, rows, objective.gains(place, rows, screen))}, key=_order)[:KEPT]
        tried += len(rows)
    if best:
        rows = torch.tensor([s.tokens for s in best])
        best = _best(place, rows, objective.gains(place, rows))
    return best, _stage(name, objective, place, 2, tried, wanted, screen, spent, best)


def coordinates(objective: Objective, start: Scored, effort: Effort, share: int) -> tuple[list[Scored], SearchStage]:
    """Lengthen an insertion token by token up to four, and change one token at a time as the gradient proposes."""
    budget, spent, place = objective.budget, objective.budget.spent, start.place
    until = min(budget.limit, spent + share)
    found: list[Scored] = []
    tried, wanted, current = 0, 0, list(start.tokens)
    for length in range(len(start.tokens) + 1, LONGEST + 1):
        current = [*current, int(objective.tokens[0])]
        gain = float("-inf")
        for step, at in enumerate([length - 1, *range(length)]):
            wanted += effort.proposals
            price = objective.slope_cost(place, length)
            price += objective.cost(place, length, effort.proposals, len(objective.carriers))
            if budget.spent + price > until:
                budget.exhausted = True
                break
            slopes = objective.slopes(place, current)[at]
            chosen = slopes.topk(min(effort.proposals, len(slopes))).indices
            rows = torch.tensor(current).repeat(len(chosen), 1)
            rows[:, at] = objective.tokens[chosen]
            best = _best(place, rows, objective.gains(place, rows))
            tried += len(rows)
            if step == 0 or best[0].gain > gain:
                current, gain = list(best[0].tokens), best[0].gain
                found.append(best[0])
    found.sort(key=_order)
    return found, _stage("coordinates", objective, place, LONGEST, tried, wanted, len(objective.carriers), spent, found)


def parts(
    objective: Objective, places: Sequence[Place], found: Sequence[Scored], share: int
) -> tuple[list[Scored], list[SearchStage]]:
    """What the leading insertions need: every part of them, in both orders where it is a pair, at every place."""
    wanted: dict[int, list[tuple[int, ...]]] = {}
    for scored in sorted({s for s in found if len(s.tokens) > 1}, key=_order)[:LEADING]:
        for length in range(1, len(scored.tokens) + 1):
            for chosen in combinations(scored.tokens, length):
                wanted.setdefault(length, []).extend([chosen, chosen[::-1]] if length == 2 else [chosen])
    best: list[Scored] = []
    stages: list[SearchStage] = []
    until = min(objective.budget.limit, objective.budget.spent + share)
    for place in places:
        for length, rows in wanted.items():
            if place == "around" and length != 2:
                continue
            spent = objective.budget.spent
            tried = torch.tensor(list(dict.fromkeys(rows)))
            carriers = len(objective.carriers)
            n = objective.affordable(place, length, len(tried), carriers, max(0, until - spent))
            own = _best(place, tried[:n], objective.gains(place, tried[:n])) if n else []
            best += own
            stages.append(_stage("parts", objective, place, length, n, len(tried), carriers, spent, own))
    return best, stages


def _blocks(
    first: Sequence[int], last: Sequence[int], tokens: Int[Tensor, " token"]
) -> Iterator[Int[Tensor, "row two"]]:
    """Pairs with a leading first token or a leading last one, one leader of each in turn."""
    for turn in range(max(len(first), len(last))):
        if turn < len(first):
            yield torch.stack([torch.full_like(tokens, first[turn]), tokens], 1)
        if turn < len(last):
            yield torch.stack([tokens, torch.full_like(tokens, last[turn])], 1)


def _best(place: Place, rows: Int[Tensor, "row length"], gains: Tensor) -> list[Scored]:
    order = gains.argsort(descending=True, stable=True)[:KEPT]
    return [Scored(place, tuple(rows[i].tolist()), float(gains[i])) for i in order.tolist()]


def _order(scored: Scored) -> tuple[float, tuple[int, ...]]:
    return -scored.gain, scored.tokens


def _stage(
    name: str,
    objective: Objective,
    place: Place,
    length: int,
    tried: int,
    wanted: int,
    carriers: int,
    spent: int,
    found: Sequence[Scored],
) -> SearchStage:
    if tried < wanted:
        objective.budget.exhausted = True
    return SearchStage(
        name=name,
        place=place,
        length=length,
        tried=tried,
        of=wanted,
        carriers=carriers,
        tokens=objective.budget.spent - spent,
        best=" ".join(map(str, found[0].tokens)) if found else "",
        gain=found[0].gain if found else None,
    )
