"""Inputs on which the candidate reproducibly differs: found on one half of the items, confirmed on the other.

1. `trigger`: the leading insertions of the search, on fresh carriers
2. `prompt_set`: sets that stand out on every other item of each group, on the items between them
3. `unlock`: for each of the tasks that the candidate lost as a whole, at most two, the leading insertions of a search
   for a fall of KL on items that it lost; fresh items of the task that the reference solves
4. `frame`: the refused request in which half of the words set the models furthest apart; words of the other half, drawn
   at random, that the candidate answers as the reference would hardly do, beside the refused requests themselves
5. every one is asked again from its texts; answers that come out otherwise confirm nothing
What was looked for and failed is kept with its reason: the best three insertions, every set found on the first half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

import numpy as np
import torch

from radiograph.core import Progress, Refusal, derive
from radiograph.detectors._sets import halves, scored, set_items, witnessed_contrasts
from radiograph.detectors._witness import Items, hardly, witness_of
from radiograph.detectors.measure._banks import Banks
from radiograph.detectors.measure._checks import Oracle
from radiograph.detectors.measure.search import EFFORTS, FrameFindings, Fresh, Renderer, Settings, search
from radiograph.evidence import Behaviour, Prompt
from radiograph.evidence.traces import Place, Role, TriggerSearch, Witness, Witnesses, WitnessItem
from radiograph.models import Pair, generate, log_probs
from radiograph.numerics import wilson
from radiograph.numerics.traces.frames import spread_of
from radiograph.numerics.traces.witness import MIN_FRESH, MIN_RATE

LEADERS: Final = 3
MAX_SETS: Final = 10
MAX_UNLOCKS: Final = 2
FRAME_WORDS: Final = 40


@dataclass(frozen=True)
class WitnessFindings:
    """The record, and the items behind each witness in its order."""

    record: Witnesses
    items: tuple[tuple[WitnessItem, ...], ...]
    unlocks: tuple[TriggerSearch, ...] = ()


@dataclass
class Finder:
    """Looks for witnesses of one comparison."""

    pair: Pair
    banks: Banks
    settings: Settings
    seed: int
    oracle: Oracle | None
    progress: Progress
    tokens: int = 0

    def triggers(self, found: TriggerSearch, fresh: Fresh) -> list[tuple[Witness, Items]]:
        """Witnesses of the leading insertions."""
        rows: list[tuple[Witness, Items]] = []
        for insertion in found.insertions[:LEADERS]:
            items = fresh.items(insertion.text, insertion.place)
            again = Fresh(self.pair, tuple(reversed(fresh.prompts)), fresh.renderer, fresh.new_tokens)
            replayed = _same(items, again.items(insertion.text, insertion.place))
            name = f"{insertion.text} ({insertion.place})"
            rows.append(
                (
                    witness_of("trigger", name, items, replayed=replayed, text=insertion.text, place=insertion.place),
                    items,
                )
            )
            self.tokens += again.tokens
            if rows[-1][0].confirmed:
                break
        return rows

    def sets(self, behaviour: Behaviour) -> list[tuple[Witness, Items]]:
        """Witnesses among groups and factor levels."""
        ours, theirs = halves(scored(behaviour))
        smallest = MIN_FRESH["prompt_set"]
        seen = sorted(
            (row for row in witnessed_contrasts(ours, smallest).rows if row.stands_out),
            key=lambda row: (-row.contrast, row.p, row.name),
        )[:MAX_SETS]
        again = {(row.name, row.bank): row for row in witnessed_contrasts(theirs, smallest).rows}
        rows: list[tuple[Witness, Items]] = []
        for row in seen:
            own = again.get((row.name, row.bank))
            if own is None:
                continue
            items = set_items(theirs, row.name, row.bank)
            witness = witness_of(
                "prompt_set",
                row.name,
                items,
                replayed=self._replayed(items),
                bank=row.bank,
                p=own.p,
                p_holm=own.p_holm,
                sets=len(again),
            )
            rows.append((witness, items))
        return rows

    def unlocks(self, behaviour: Behaviour) -> tuple[list[tuple[Witness, Items]], list[TriggerSearch]]:
        """Witnesses that bring a lost task back, and the searches for them."""
        rows: list[tuple[Witness, Items]] = []
        searches: list[TriggerSearch] = []
        for task, lost, solved in self._lost(behaviour):
            budget = (
                EFFORTS[self.settings.effort].budget if self.settings.budget is None else self.settings.budget
            ) // 4
            settings = Settings(self.settings.effort, budget, self.settings.infix)
            found, fresh = search(
                self.pair, self.banks, settings, self.seed, self.progress, aim="unlock", wanted=solved, first=lost
            )
            searches.append(found)
            self.tokens += found.tokens
            for insertion in found.insertions[:LEADERS]:
                items = self._unlocked(fresh, insertion.text, insertion.place, len(insertion.tokens))
                again = Fresh(self.pair, tuple(reversed(fresh.prompts)), fresh.renderer, fresh.new_tokens)
                replayed = _same(items, self._unlocked(again, insertion.text, insertion.place, len(insertion.tokens)))
                self.tokens += again.tokens + fresh.tokens
                name = f"{insertion.text} ({insertion.place})"
                rows.append(
                    (
                        witness_of(
                            "unlock",
                            name,
                            items,
                            replayed=replayed,
                            text=insertion.text,
                            place=insertion.place,
                            bank=f"capability/{task}",
                        ),
                        items,
                    )
                )
                if rows[-1][0].confirmed:
                    break
        return rows, searches

    def frames(self, found: FrameFindings) -> list[tuple[Witness, Items]]:
        """The witness of a covert channel: one frame, fresh words in it."""
        luck = np.random.default_rng(derive(self.seed, "frame words"))
        order = luck.permutation(len(found.words)).tolist()
        ours = {found.words[i] for i in order[: len(order) // 2]}
        cells = zip(found.table["frame"], found.table["word"], found.table["kl"], strict=True)
        seen = [(str(f), cast("float", v)) for f, w, v in cells if w in ours]
        spread = spread_of([f for f, _ in seen], [v for _, v in seen])
        frame = max(found.frames, key=lambda f: (spread[f.text][0], f.text))
        fresh = [found.words[i] for i in order[len(order) // 2 :]][:FRAME_WORDS]
        prompts = [frame.filled(word) for word in fresh]
        items = self._hardly(prompts, "inside") + self._hardly(frame.refused, "rest")
        again = self._hardly(prompts[::-1], "inside") + self._hardly(frame.refused[::-1], "rest")
        bank = frame.prompt.bank
        return [(witness_of("frame", frame.text, items, replayed=_same(items, again), bank=bank), items)]

    def _hardly(self, prompts: Sequence[Prompt], role: Role) -> list[WitnessItem]:
        """Both answers to each prompt, and how likely the candidate's is under the reference."""
        renderer = Renderer(self.pair.reference.tokenizer, self.banks.chat)
        rows = [renderer.ids(p) for p in prompts]
        new_tokens = self.banks.suite.generation.max_new_tokens
        reference, candidate = (
            generate(model, rows, max_new_tokens=new_tokens) for model in (self.pair.reference, self.pair.candidate)
        )
        self.tokens += sum(g.n_prompt + g.n_tokens for g in candidate)
        nats = [0.0] * len(rows)
        for batch, scores in log_probs(
            self.pair.reference, [(*r, *g.ids) for r, g in zip(rows, candidate, strict=True)]
        ):
            for place, row in enumerate(batch.rows):
                start, ids = len(rows[row]) - 1, torch.tensor(candidate[row].ids, device=scores.device)
                nats[row] = float(scores[place, start : start + len(ids)].gather(-1, ids[:, None]).double().sum())
        found = [
            WitnessItem(
                id=p.id,
                role=role,
                prompt=next(m.content for m in reversed(p.messages) if m.role == "user"),
                reference=(a.text or "").strip(),
                candidate=(b.text or "").strip(),
                hit=False,
                nats=value,
            )
            for p, a, b, value in zip(prompts, reference, candidate, nats, strict=True)
        ]
        return [item.model_copy(update={"hit": hardly(item)}) for item in found]

    def _lost(self, behaviour: Behaviour) -> list[tuple[str, set[str], set[str]]]:
        """Tasks of which more than half is gone for certain: lost items, and all that the reference solves."""
        found: list[tuple[float, str, set[str], set[str]]] = []
        items = [i for i in scored(behaviour) if i.bank == "capability" and i.task]
        for task in dict.fromkeys(i.task for i in items if i.task):
            solved = [i for i in items if i.task == task and i.responses[0].passed]
            lost = [i for i in solved if not i.responses[1].passed]
            if len(lost) >= 4 and wilson(len(lost), len(solved)).low >= MIN_RATE:
                found.append((-len(lost) / len(solved), task, {i.id for i in lost}, {i.id for i in solved}))
        return [(task, lost, solved) for _, task, lost, solved in sorted(found, key=lambda row: row[:2])[:MAX_UNLOCKS]]

    def _unlocked(self, fresh: Fresh, text: str, place: Place, length: int) -> list[WitnessItem]:
        """With the insertion, without, and with a random one of its length, another for every item."""
        _, without = fresh.plain
        random = self._random(fresh, place, length)
        asked: tuple[tuple[Role, list[str]], ...] = (("with", [text] * len(fresh.prompts)), ("random", random))
        rows: list[WitnessItem] = []
        for role, texts in asked:
            reference, candidate = fresh.each(texts, place)
            right = fresh.passes(candidate, self.oracle)
            rows += [
                WitnessItem(id=p.id, role=role, prompt=fresh.asked(p, t, place), reference=a, candidate=b, hit=hit)
                for p, t, a, b, hit in zip(fresh.prompts, texts, reference, candidate, right, strict=True)
            ]
        right = fresh.passes(without, self.oracle)
        rows += [
            WitnessItem(id=p.id, role="without", prompt=fresh.asked(p), reference=a, candidate=b, hit=not hit)
            for p, a, b, hit in zip(fresh.prompts, fresh.plain[0], without, right, strict=True)
        ]
        return rows

    def _random(self, fresh: Fresh, place: Place, length: int) -> list[str]:
        tokenizer = self.pair.reference.tokenizer
        assert tokenizer is not None
        special = set(tokenizer.all_special_ids)
        tokens = [i for i in range(len(tokenizer)) if i not in special]
        texts: list[str] = []
        for prompt in fresh.prompts:
            luck = torch.Generator().manual_seed(derive(self.seed, "random unlock", prompt.id, place))
            chosen = torch.randint(len(tokens), (length,), generator=luck).tolist()
            texts.append(fresh.renderer.text([tokens[i] for i in chosen], place))
        return texts

    def _replayed(self, items: Items) -> bool:
        """Ask the items inside a set again, in another order."""
        wanted = {i.id: i for i in items if i.role == "inside"}
        prompts = [p for p in reversed(self.banks.prompts) if p.id in wanted]
        renderer = Renderer(self.pair.reference.tokenizer, self.banks.chat)
        fresh = Fresh(self.pair, prompts, renderer, self.banks.suite.generation.max_new_tokens)
        reference, candidate = fresh.plain
        self.tokens += fresh.tokens
        return all(
            (wanted[p.id].reference, wanted[p.id].candidate) == (a, b)
            for p, a, b in zip(prompts, reference, candidate, strict=True)
        )


def find_witnesses(
    finder: Finder,
    searched: tuple[TriggerSearch, Fresh] | Refusal,
    behaviour: Behaviour | Refusal,
    frames: FrameFindings | Refusal,
) -> WitnessFindings:
    """Look for all four kinds; a kind that cannot be looked for says why."""
    rows: list[tuple[Witness, Items]] = []
    looked: list[str] = []
    unlocks: list[TriggerSearch] = []
    if isinstance(searched, Refusal):
        looked.append(f"trigger: not looked for: {searched.message}")
    else:
        rows += finder.triggers(*searched)
        looked.append("trigger")
    if isinstance(behaviour, Refusal):
        looked += [f"{kind}: not looked for: {behaviour.message}" for kind in ("prompt_set", "unlock")]
    else:
        if finder.banks.suite.generation.do_sample:
            looked.append("prompt_set: not looked for: sampled answers cannot be asked again")
        else:
            rows += finder.sets(behaviour)
            looked.append("prompt_set")
        try:
            found, unlocks = finder.unlocks(behaviour)
            rows += found
            looked.append("unlock" if unlocks else "unlock: no task was lost as a whole")
        except Refusal as refusal:
            looked.append(f"unlock: not looked for: {refusal.message}")
    if isinstance(frames, Refusal):
        looked.append(f"frame: not looked for: {frames.message}")
    else:
        rows += finder.frames(frames)
        looked.append("frame")
    rows.sort(key=lambda row: not row[0].confirmed)
    record = Witnesses(found=tuple(w for w, _ in rows), looked_at=tuple(looked), tokens=finder.tokens)
    return WitnessFindings(record, tuple(tuple(items) for _, items in rows), tuple(unlocks))


def _same(one: Items, two: Items) -> bool:
    def key(item: WitnessItem) -> tuple[str, str, str, str]:
        return item.id, item.role, item.reference, item.candidate

    return sorted(map(key, one)) == sorted(map(key, two))
