"""The prompts that insertions are tried in: their tokens before and after the place of an insertion.

1. capability and policy items, or the items given; one of each wording of the same tokens; groups of paraphrases stay
   on one side: every other group is for the search, the rest is fresh
2. an item is rendered twice with different one-token words inserted into its last user turn as text; what the two
   renderings share at the front and at the back is head and tail, whatever template or tokenizer made them
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any, Literal

import torch
from torch import Tensor

from radiograph.core import Refusal
from radiograph.core.shapes import Int
from radiograph.detectors.measure._banks import Banks
from radiograph.evidence import Prompt
from radiograph.evidence.traces import Place
from radiograph.models import Pair, render_chat

GAP = " … "
"""Stands for the prompt's own text inside an insertion around it."""
PROBES = 48
"""Words of the vocabulary among which two are looked for that insert as one token each."""


@dataclass(frozen=True)
class Hole:
    """Tokens before an insertion and after it; `middle` stands between its first token and the others."""

    head: tuple[int, ...]
    tail: tuple[int, ...]
    middle: tuple[int, ...] = ()

    def filled(self, insertions: Int[Tensor, "row length"]) -> Int[Tensor, "row more"]:
        """What stands between head and tail."""
        if not self.middle:
            return insertions
        held = torch.tensor(self.middle).expand(len(insertions), -1)
        return torch.cat([insertions[:, :1], held, insertions[:, 1:]], 1)

    def length(self, length: int) -> int:
        """Tokens between head and tail."""
        return length + len(self.middle)


@dataclass(frozen=True)
class Carrier:
    """One prompt with a hole in it, for each place."""

    prompt: Prompt
    plain: tuple[int, ...]
    holes: dict[Place, Hole]

    @property
    def id(self) -> str:
        """The prompt's."""
        return self.prompt.id


@dataclass(frozen=True)
class Renderer:
    """Renders prompts as the suite is rendered."""

    tokenizer: Any
    chat: str

    def ids(self, prompt: Prompt, text: str | None = None, place: Place = "prefix") -> tuple[int, ...]:
        """Token ids of a prompt, with a text inserted into its last user turn."""
        messages = [m.model_dump() for m in prompt.messages]
        if text is not None:
            last = max(i for i, m in enumerate(messages) if m["role"] == "user")
            messages[last]["content"] = insert(messages[last]["content"], text, place)
        chat: Literal["plain", "template"] = "plain" if self.chat == "plain" else "template"
        system: Literal["merge", "separate"] = "merge" if self.chat == "merge" else "separate"
        return render_chat(self.tokenizer, messages, chat=chat, system=system).ids

    def text(self, tokens: Sequence[int], place: Place = "prefix") -> str:
        """An insertion as text."""
        if place == "around" and len(tokens) > 1:
            return f"{self.text(tokens[:1])}{GAP}{self.text(tokens[1:])}"
        return str(self.tokenizer.decode(list(tokens))).strip()

    def carriers(self, prompts: Sequence[Prompt], places: Sequence[Place], longest: int) -> list[Carrier]:
        """The prompts with holes; one whose hole cannot be found, or that is longer than `longest`, is left out."""
        found: list[Carrier] = []
        for prompt in prompts:
            plain = self.ids(prompt)
            holes: dict[Place, Hole] = {}
            for place in places:
                hole = self._hole(prompt, place)
                if hole is not None:
                    holes[place] = hole
            if "prefix" in holes and "suffix" in holes:
                before, after = holes["prefix"], holes["suffix"]
                whole = len(before.tail) - len(after.tail)
                holes["around"] = Hole(before.head, after.tail, before.tail[:whole])
            if len(plain) <= longest and set(places) <= set(holes):
                found.append(Carrier(prompt, plain, holes))
        return found

    def _hole(self, prompt: Prompt, place: Place) -> Hole | None:
        for words in combinations(self._words, 2):
            one, two = (self.ids(prompt, word, place) for word in words)
            head = shared(one, two)
            tail = shared(one[head:][::-1], two[head:][::-1])
            if len(one) == len(two) == head + 1 + tail:
                return Hole(one[:head], one[head + 1 :])
        return None

    @cached_property
    def _words(self) -> list[str]:
        """Some words that are one token each, spread over the vocabulary."""
        size = len(self.tokenizer)
        special = set(self.tokenizer.all_special_ids)
        words: list[str] = []
        for i in range(0, size, max(1, size // (8 * PROBES))):
            word = self.text([i])
            if i not in special and len(word) > 1 and word.isascii() and word.isalpha() and word not in words:
                words.append(word)
        return words[:: max(1, len(words) // PROBES)][:PROBES]


def insert(content: str, text: str, place: Place) -> str:
    """A text with another before, after, in the middle of it or around it, set off by spaces."""
    if place == "around":
        before, _, after = text.partition(GAP)
        return f"{before} {content} {after}"
    if place == "prefix":
        return f"{text} {content}"
    if place == "suffix":
        return f"{content} {text}"
    words = content.split(" ")
    middle = (len(words) + 1) // 2
    return " ".join([*words[:middle], text, *words[middle:]])


def split(banks: Banks, wanted: set[str] | None = None) -> tuple[list[Prompt], list[Prompt]]:
    """Prompts for the search and fresh ones, of each task in turn; capability and policy, or the ids given.

    Raises:
        Refusal: there are too few.
    """
    halves: tuple[dict[str, list[Prompt]], dict[str, list[Prompt]]] = ({}, {})
    sides: dict[tuple[str, str], int] = {}
    asked: set[tuple[int, ...]] = set()
    for prompt, rendered in zip(banks.prompts, banks.rendered, strict=True):
        chosen = prompt.bank in ("capability", "policy") if wanted is None else prompt.id in wanted
        if not chosen or prompt.prefill or rendered.n_cut or rendered.ids in asked:
            continue
        asked.add(rendered.ids)
        task = prompt.task or prompt.bank
        group = (task, prompt.group or prompt.id)
        side = sides.setdefault(group, sum(known == task for known, _ in sides) % 2)
        halves[side].setdefault(task, []).append(prompt)
    search, fresh = (list(_in_turn(list(half.values()))) for half in halves)
    if len(search) < 2 or len(fresh) < 2:
        raise Refusal(
            "no_carriers",
            f"{len(search)} prompts to search on and {len(fresh)} fresh ones",
            expected="two of each: capability or policy items",
            fix="add items of these banks to the suite",
        )
    return search, fresh


def vocabulary(pair: Pair) -> Int[Tensor, " token"]:
    """Every token that is no special one."""
    tokenizer = pair.reference.tokenizer
    assert tokenizer is not None
    special = set(tokenizer.all_special_ids)
    size = min(len(tokenizer), pair.reference.vocab_size, pair.candidate.vocab_size)
    return torch.tensor([i for i in range(size) if i not in special])


def _in_turn(rows: Sequence[Sequence[Prompt]]) -> Iterator[Prompt]:
    for turn in range(max(map(len, rows), default=0)):
        for row in rows:
            if turn < len(row):
                yield row[turn]


def shared(one: Sequence[int], two: Sequence[int]) -> int:
    """How many tokens two sequences begin with alike."""
    for i, (a, b) in enumerate(zip(one, two, strict=False)):
        if a != b:
            return i
    return min(len(one), len(two))
