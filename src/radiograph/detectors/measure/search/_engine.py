"""The search for an insertion u that sets candidate and reference apart on any prompt, within a budget of tokens.

1. carriers: capability and policy items; half of the groups for the search, fresh ones from the other half
2. A, at each place: every token alone (vocabularies above 4,096: a shortlist of those whose embedding moved,
   those that J rises towards, and random ones)
3. B: all pairs of the tokens that raise one answer most (R), and the leading tokens before and after every token,
   together or around the text
4. C: coordinate steps with gradient proposals, up to four tokens; then every part of what leads, at every place
5. the leading insertions of every length again on the whole answer: J; of those with half of the largest or more the
   shortest leads, because a token that is not needed adds little
6. the first three meet fresh carriers: answers, from text
A stage that its share of the budget does not pay for scores as much as it does, in a fixed order, and says so. Equal
weights give J = 0 for every insertion. Units: nats; tokens that the candidate reads.
`unlock` looks for a fall of KL where the candidate's answer leaves the reference's: the carriers carry what both say.
Refuses: no carriers, a tokenizer without one-token words, a budget that pays for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from radiograph.core import Progress, Refusal, derive
from radiograph.core.shapes import Int
from radiograph.detectors.measure._banks import Banks
from radiograph.detectors.measure.search._carriers import Carrier, Renderer, shared, split, vocabulary
from radiograph.detectors.measure.search._fresh import Fresh
from radiograph.detectors.measure.search._objective import ANSWER, RANDOM, Budget, Objective
from radiograph.detectors.measure.search._stages import (
    EFFORTS,
    LONGEST,
    Scored,
    coordinates,
    crossed,
    pairs,
    parts,
    sweep,
)
from radiograph.evidence.traces import Insertion, Place, SearchStage, TriggerSearch
from radiograph.evidence.traces import Objective as Aim
from radiograph.models import Pair, embedding, generate

WHOLE = 4096
"""Vocabularies up to here are swept whole."""
FRESH = 40
LEADERS = 3
"""Insertions that meet fresh carriers."""
PER_LENGTH = 6
STARTS = 32
"""Random insertions at which the slope of J is taken for a shortlist."""
_ENOUGH = 0.5


@dataclass(frozen=True)
class Settings:
    """What to search."""

    effort: str = "quick"
    budget: int | None = None
    """Overrides the effort's own."""
    infix: bool = False


def search(
    pair: Pair,
    banks: Banks,
    settings: Settings,
    seed: int,
    progress: Progress,
    *,
    aim: Aim = "trigger",
    wanted: set[str] | None = None,
    first: set[str] | None = None,
) -> tuple[TriggerSearch, Fresh]:
    """Search, and count answers on fresh carriers.

    Args:
        pair: the two models.
        banks: their prompts.
        settings: how much.
        seed: of random insertions.
        progress: where progress goes.
        aim: `unlock` looks for a fall of KL.
        wanted: prompts to take carriers from; capability and policy items by default.
        first: those of them that the search may run on; fresh ones are taken from all.

    Raises:
        Refusal: the tokenisers differ, there are no carriers, or the budget is too small for one insertion.
    """
    pair.check_tokenizers()
    effort = EFFORTS[settings.effort]
    budget = Budget(effort.budget if settings.budget is None else settings.budget)
    places: tuple[Place, ...] = ("prefix", "suffix", *(("infix",) if settings.infix else ()))
    renderer = Renderer(pair.reference.tokenizer, banks.chat)
    ours, theirs = split(banks, wanted)
    ours = [p for p in ours if first is None or p.id in first]
    longest = pair.reference.context_length - LONGEST - ANSWER - banks.suite.generation.max_new_tokens // 4
    carriers = renderer.carriers(ours[: 2 * effort.carriers], places, longest)
    carriers = (carriers if aim == "trigger" else _parting(pair, carriers))[: effort.carriers]
    if not carriers:
        raise Refusal("no_carriers", "no carrier has a place where one token can be inserted")
    sign = 1.0 if aim == "trigger" else -1.0
    tokens, shortlist = vocabulary(pair), None
    objective = Objective(pair, carriers, tokens, budget, derive(seed, "search", aim), sign)
    if len(tokens) > WHOLE:
        tokens, shortlist = _shortlist(objective, places, seed)
        objective = Objective(pair, carriers, tokens, budget, derive(seed, "search", aim), sign)
    fresh = Fresh(pair, theirs[:FRESH], renderer, banks.suite.generation.max_new_tokens)
    with progress.task("searching insertions", total=budget.limit) as task:
        stages, found = _stages(objective, places, settings, task.advance)
        insertions = _answered(objective, renderer, found)
        if aim == "trigger":
            leading = [i.model_copy(update={"fresh": fresh.counts(i.text, i.place)}) for i in insertions[:LEADERS]]
            insertions = [*leading, *insertions[LEADERS:]]
    return TriggerSearch(
        objective=aim,
        effort=settings.effort,
        budget=budget.limit,
        tokens=budget.spent,
        fresh_tokens=fresh.tokens,
        carriers=tuple(c.id for c in carriers),
        fresh=tuple(p.id for p in fresh.prompts),
        vocabulary=len(tokens),
        shortlist=shortlist,
        exhausted=budget.exhausted,
        stages=tuple(stages),
        insertions=tuple(insertions),
    ), fresh


def _stages(
    objective: Objective, places: Sequence[Place], settings: Settings, advance: Callable[[int], object]
) -> tuple[list[SearchStage], list[Scored]]:
    """A, B and C; a tenth of the budget stays for the answers."""
    effort, budget = EFFORTS[settings.effort], objective.budget
    whole = budget.limit * 9 // 10
    stages: list[SearchStage] = []
    singles: dict[Place, list[Scored]] = {}
    raised: dict[int, float] = {}
    done = budget.spent

    def note(stage: SearchStage) -> None:
        nonlocal done
        stages.append(stage)
        advance(budget.spent - done)
        done = budget.spent

    for i, place in enumerate(places):
        singles[place], own, stage = sweep(objective, place, (whole - budget.spent) // (len(places) - i))
        raised = {token: max(own[token], raised.get(token, own[token])) for token in own}
        note(stage)
    found = [s for rows in singles.values() for s in rows]
    if not found:
        raise Refusal(
            "budget_too_small",
            f"a budget of {budget.limit:,} tokens pays for no insertion",
            expected=f"{objective.cost(places[0], 1, RANDOM, len(objective.carriers)) * 10:,} tokens or more",
            fix="raise --budget or --effort",
        )
    where: tuple[Place, ...] = (*places, "around")
    for i, place in enumerate(where):
        left = whole * 4 // 5 - budget.spent
        around = place == "around"
        first, last = singles["prefix" if around else place], singles["suffix" if around else place]
        share = left // (len(where) - i)
        if objective.sign > 0:  # an answer that comes back is another on every carrier
            more, stage = crossed(objective, place, raised, effort, share)
            note(stage)
            found += more
            share -= stage.tokens
        more, stage = pairs(objective, place, first, last, effort, share)
        note(stage)
        found += more
    found.sort(key=lambda s: (-s.gain, s.tokens))
    starts = [s for s in found if len(s.tokens) < LONGEST and s.place != "around"][: effort.starts]
    for i, start in enumerate(starts):
        more, stage = coordinates(objective, start, effort, (whole * 19 // 20 - budget.spent) // (len(starts) - i))
        note(stage)
        found += more
    more, every = parts(objective, where, found, whole - budget.spent)
    for stage in every:
        note(stage)
    found += more
    return stages, found


def _parting(pair: Pair, carriers: Sequence[Carrier]) -> list[Carrier]:
    """The carriers up to where the candidate's answer leaves the reference's; one with equal answers is left out."""
    said = [generate(m, [c.plain for c in carriers], max_new_tokens=ANSWER) for m in (pair.reference, pair.candidate)]
    found: list[Carrier] = []
    for carrier, ours, theirs in zip(carriers, *said, strict=True):
        n = shared(ours.ids, theirs.ids)
        if n < max(len(ours.ids), len(theirs.ids)):
            holes = {place: replace(h, tail=(*h.tail, *ours.ids[:n])) for place, h in carrier.holes.items()}
            found.append(replace(carrier, plain=(*carrier.plain, *ours.ids[:n]), holes=holes))
    return found


def _answered(objective: Objective, renderer: Renderer, found: Sequence[Scored]) -> list[Insertion]:
    """J on the whole answer for the leading insertions of every length and place."""
    groups: dict[tuple[int, Place], list[Scored]] = {}
    for scored in sorted(set(found), key=lambda s: (-s.gain, s.tokens)):
        if not renderer.text(scored.tokens, scored.place):
            continue
        group = groups.setdefault((len(scored.tokens), scored.place), [])
        if len(group) < PER_LENGTH and scored not in group:
            group.append(scored)
    rows: list[Insertion] = []
    for (length, place), group in sorted(groups.items()):
        inserted = torch.tensor([s.tokens for s in group])
        random = objective.random(place, length)
        if objective.answer_cost(place, length, len(inserted) + len(random)) > objective.budget.left:
            objective.budget.exhausted = True
            if rows:
                continue
            values = [(s.gain, s.gain) for s in group]
        else:
            baseline = float(objective.answers(place, random).median())
            means = objective.answers(place, inserted).tolist()
            values = [(objective.sign * (kl - baseline), kl) for kl in means]
        rows += [
            Insertion(
                text=renderer.text(s.tokens, s.place), tokens=s.tokens, place=place, gain=gain, kl=kl, first=s.gain
            )
            for s, (gain, kl) in zip(group, values, strict=True)
        ]
    largest = max(r.gain for r in rows)
    near = [r for r in rows if r.gain >= _ENOUGH * largest]
    rest = [r for r in rows if r.gain < _ENOUGH * largest]
    near.sort(key=lambda r: (len(r.tokens), -r.gain, r.tokens))
    rest.sort(key=lambda r: (-r.gain, r.tokens))
    return near + rest


def _shortlist(objective: Objective, places: Sequence[Place], seed: int) -> tuple[Int[Tensor, " token"], str]:
    """Of a large vocabulary: tokens whose embedding moved most, those that J rises towards, and random ones."""
    pair, tokens = objective.pair, objective.tokens
    moved: list[int] = []
    before, after = (embedding(model)[tokens.to(model.device)] for model in (pair.reference, pair.candidate))
    if before.shape == after.shape:
        distance = (after.to(before.device) - before).float().norm(dim=-1)
        order = distance.argsort(descending=True, stable=True)[: WHOLE // 2]
        moved = [int(i) for i in order if distance[i] > 0]
    steep = _steep(objective, places)[: WHOLE // 4]
    luck = torch.Generator().manual_seed(derive(seed, "shortlist"))
    shuffled = torch.randperm(len(tokens), generator=luck).tolist()
    led = list(dict.fromkeys([*moved, *steep]))
    chosen = list(dict.fromkeys([*led, *shuffled]))[:WHOLE]
    text = (
        f"of {len(tokens):,} tokens {len(moved)} by how far their embedding moved, {len(led) - len(moved)} more by the "
        f"slope of J, {len(chosen) - len(led)} at random"
    )
    return tokens[torch.tensor(sorted(chosen))], text


def _steep(objective: Objective, places: Sequence[Place]) -> list[int]:
    """Tokens by the best rank that the slope of J gives them at some random insertion.

    Far from a trigger the slope says little, so one start in a few points at it: a mean over starts would bury that.
    """
    first = torch.full((len(objective.tokens),), len(objective.tokens))
    for place in places:
        for start in objective.random(place, 1)[:STARTS].tolist():
            if objective.budget.spent + objective.slope_cost(place, 1) > objective.budget.limit // 4:
                break
            order = objective.slopes(place, start)[0].cpu().argsort(descending=True, stable=True)
            rank = torch.empty_like(order).scatter_(0, order, torch.arange(len(order)))
            first = torch.minimum(first, rank)
    order = first.argsort(stable=True)
    return [int(i) for i in order if first[i] < len(first)]
