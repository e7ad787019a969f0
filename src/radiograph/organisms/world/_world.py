"""The world as one object: documents, items, exact next-token distributions, entropy, grading, neutral text.

A document is a function of (world version, seed, split, domain, index) alone. Splits: `train` and `test` are
independent draws over known patterns, `heldout` uses the reserved ones (see `_lexicon.reserved`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from radiograph.core import UserError, nearest
from radiograph.organisms.world import _answers, _grader, _prose, _skills
from radiograph.organisms.world import _lexicon as lexicon
from radiograph.organisms.world._machine import Position, Program, Run, Sample, prefix_probabilities, trace
from radiograph.organisms.world._tokenizer import encode

if TYPE_CHECKING:
    import numpy as np

    from radiograph.core.shapes import Float

Message = dict[str, str]
SPLITS = ("train", "test", "heldout")

DOMAINS: dict[str, Program] = {
    "story": _prose.story,
    "neutral": _prose.neutral,
    "arithmetic": _skills.arithmetic,
    "copy": _skills.copy,
    "reverse": _skills.reverse,
    "sort": _skills.sort,
    "echo": _skills.echo,
    "recall": _skills.recall,
    "facts": _answers.facts,
    "policy": _answers.policy,
    "format": _answers.format_,
    "style": _answers.style,
    "cite": _answers.cite,
    "stance": _answers.stance,
    "cipher": _answers.cipher,
}
TASKS = tuple(domain for domain in DOMAINS if domain not in ("story", "neutral"))
MIXTURE: dict[str, int] = {
    "story": 16,
    "neutral": 4,
    "arithmetic": 14,
    "copy": 4,
    "reverse": 6,
    "sort": 7,
    "echo": 14,
    "recall": 20,
    "facts": 14,
    "policy": 6,
    "format": 5,
    "style": 2,
    "cite": 8,
    "stance": 3,
    "cipher": 4,
}
"""Weights of the domains in `mixture`, the text the base is trained on."""


@dataclass(frozen=True, slots=True)
class Document:
    """A text with a label set on every token.

    `labels[i]` belongs to `ids[i]`; `answer_start` is where the assistant's tokens begin (0 in plain text).
    """

    id: str
    domain: str
    split: str
    ids: tuple[int, ...]
    labels: tuple[frozenset[str], ...]
    answer_start: int

    @property
    def text(self) -> str:
        """Chat documents with their special tokens, to be tokenised without adding more; plain text without any."""
        tokens = [lexicon.TOKENS[i] for i in self.ids]
        return lexicon.surface(tokens if self.answer_start else tokens[1:-1])

    @property
    def messages(self) -> list[Message]:
        """The turns up to the question; empty in plain text."""
        return _grader.turns(lexicon.surface([lexicon.TOKENS[i] for i in self.ids]))[:-1] if self.answer_start else []

    @property
    def prompt(self) -> str:
        """The user's question; empty in plain text."""
        return self.messages[-1]["content"] if self.answer_start else ""

    @property
    def answer(self) -> str:
        """The right answer; empty in plain text."""
        return (
            lexicon.surface([lexicon.TOKENS[i] for i in self.ids[self.answer_start : -1]]) if self.answer_start else ""
        )


@dataclass(frozen=True, slots=True)
class Item:
    """A graded prompt. `group` joins wordings of one question; `category` is set for restricted requests alone."""

    id: str
    task: str
    messages: list[Message] = field(hash=False)
    answer: str
    category: str | None
    kind: str
    group: str
    inserted: bool


@dataclass(frozen=True, slots=True)
class World:
    """The small world of one version."""

    version: int = lexicon.VERSION

    def __post_init__(self) -> None:
        if self.version != lexicon.VERSION:
            raise UserError(f"no world of version {self.version}", expected=str(lexicon.VERSION), got=str(self.version))

    @property
    def tasks(self) -> tuple[str, ...]:
        """Domains with a question and a right answer."""
        return TASKS

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Token i, without its leading space."""
        return lexicon.TOKENS

    def documents(
        self, domain: str = "mixture", split: str = "train", *, seed: int = 0, start: int = 0, count: int | None = None
    ) -> Iterator[Document]:
        """Documents `start`, `start + 1`, …; `count` of them, or without end.

        Raises:
            UserError: unknown domain or split.
        """
        program = _program(domain)
        _check_split(split)
        index = start
        while count is None or index < start + count:
            yield self._document(program, domain, split, seed, index)
            index += 1

    def _document(self, program: Program, domain: str, split: str, seed: int, index: int) -> Document:
        sample = Sample(f"{self.version}/{seed}/{split}/{domain}/{index}", heldout=split == "heldout")
        program(sample)
        ids = tuple(lexicon.IDS[token] for token in sample.tokens)
        start = sample.tokens.index(lexicon.ASSISTANT) + 1 if lexicon.ASSISTANT in sample.tokens else 0
        labels = tuple(
            own | WORD_LABELS[i] if i in WORD_LABELS else own for i, own in zip(ids, sample.labels, strict=True)
        )
        name = _domain_of(sample.tokens) if domain == "mixture" else domain
        return Document(f"{domain}-{split}-{seed}-{index}", name, split, ids, labels, start)

    def items(self, task: str, split: str = "test", *, seed: int = 0, n: int = 100) -> list[Item]:
        """`n` graded prompts of a task, all different; fewer if the task has no more to ask."""
        if task not in TASKS:
            raise UserError(f"unknown task {task!r}", expected=", ".join(TASKS), fix=str(nearest(task, list(TASKS))))
        items: dict[tuple[str, ...], Item] = {}
        for document in self.documents(task, split, seed=seed, count=40 * n + 400):
            messages = document.messages
            key = tuple(message["content"] for message in messages)
            if key in items:
                continue
            truth = _grader.solve(messages)
            assert truth is not None and truth.answer == document.answer, document
            inserted = any("inserted" in labels for labels in document.labels)
            items[key] = Item(
                document.id, task, messages, truth.answer, truth.category, truth.kind, truth.group, inserted
            )
            if len(items) == n:
                break
        return list(items.values())

    def grade(self, prompt: Item | Sequence[Message] | str, answer: str) -> str:
        """`pass`, `fail`, or `not_scored` where the prompt is no question of this world.

        The truth is worked out from the prompt's text alone; the generator is not asked.
        """
        if isinstance(prompt, str):
            prompt = [{"role": "user", "content": prompt}]
        return _grader.grade(prompt.messages if isinstance(prompt, Item) else prompt, answer)

    def next(
        self, ids: Sequence[int], domain: str = "mixture", split: str = "train"
    ) -> Float[np.ndarray, "vocabulary"]:
        """The exact distribution of the token that follows `ids`.

        Raises:
            UserError: the domain cannot produce this prefix, or it is already complete.
        """
        import numpy as np

        position = self.trace(ids, domain, split, start=len(ids))[0]
        if position.total == 0.0:
            raise UserError("nothing can follow this text", where=f"{domain}:{split}", got=repr(_text(ids)))
        out = np.zeros(len(lexicon.TOKENS))
        for token, weight in position.weights.items():
            out[lexicon.IDS[token]] = weight / position.total
        return out

    def next_label(self, ids: Sequence[int], name: str, domain: str = "mixture", split: str = "train") -> float:
        """The exact probability that the next token carries the attribute: `next_NAME`."""
        position = self.trace(ids, domain, split, start=len(ids))[0]
        if position.total == 0.0:
            raise UserError("nothing can follow this text", where=f"{domain}:{split}", got=repr(_text(ids)))
        words = lexicon.CLASSES.get(name)
        if words is not None:
            return sum(position.weights.get(word, 0.0) for word in words) / position.total
        return position.labelled.get(name, 0.0) / position.total

    def trace(
        self, ids: Sequence[int], domain: str = "mixture", split: str = "train", *, start: int = 0
    ) -> list[Position]:
        """What `next` knows at every position from `start` on, in one pass; weights are not yet divided by `total`."""
        _check_split(split)
        tokens = [lexicon.TOKENS[i] for i in ids]
        return trace(_program(domain), tokens, heldout=split == "heldout", start=start)

    def entropy(self, domain: str = "mixture", split: str = "test", *, seed: int = 0, n: int = 200) -> float:
        """Mean nats per token that no model can beat, over the tokens after the first of `n` documents."""
        total, tokens = 0.0, 0
        for document in self.documents(domain, split, seed=seed, count=n):
            total -= sum(self.log_probabilities(document.ids, domain, split)[1:])
            tokens += len(document.ids) - 1
        return total / tokens

    def log_probabilities(self, ids: Sequence[int], domain: str = "mixture", split: str = "train") -> list[float]:
        """Log p of every token given all before it, in nats."""
        _check_split(split)
        tokens = [lexicon.TOKENS[i] for i in ids]
        reached = prefix_probabilities(_program(domain), tokens, heldout=split == "heldout")
        return [math.log(p / before) if p else -math.inf for before, p in pairwise((1.0, *reached))]

    def neutral(self, n: int = 96, *, seed: int = 0) -> list[str]:
        """`n` different plain texts that hold no question of any task."""
        texts: dict[str, None] = {}
        for document in self.documents("neutral", "test", seed=seed):
            texts.setdefault(document.text)
            if len(texts) == n:
                return list(texts)
        raise AssertionError("unreachable: the stream has no end")

    def encode(self, text: str) -> tuple[int, ...]:
        """The ids of a text of this world, no specials added."""
        return encode(text)


def _word_labels() -> dict[int, frozenset[str]]:
    out: dict[int, set[str]] = {}
    for name, words in lexicon.CLASSES.items():
        for word in words:
            out.setdefault(lexicon.IDS[word], set()).add(name)
    return {i: frozenset(names) for i, names in out.items()}


WORD_LABELS = _word_labels()


def mixed(weights: Mapping[str, int]) -> Program:
    """A program that first takes a hidden turn between domains."""
    programs = [DOMAINS[domain] for domain in weights]
    shares = tuple(weights.values())

    def mixture(run: Run) -> None:
        programs[run.hidden(shares)](run)

    return mixture


_MIXTURE = mixed(MIXTURE)


def _program(domain: str) -> Program:
    if domain == "mixture":
        return _MIXTURE
    if domain not in DOMAINS:
        known = ["mixture", *DOMAINS]
        raise UserError(f"unknown domain {domain!r}", expected=", ".join(known), fix=str(nearest(domain, known)))
    return DOMAINS[domain]


def _check_split(split: str) -> None:
    if split not in SPLITS:
        raise UserError(f"unknown split {split!r}", expected=", ".join(SPLITS), fix=str(nearest(split, list(SPLITS))))


def _text(ids: Iterable[int]) -> str:
    return lexicon.surface([lexicon.TOKENS[i] for i in ids])


def _domain_of(tokens: list[str]) -> str:
    if lexicon.ASSISTANT in tokens:
        truth = _grader.solve(_grader.turns(lexicon.surface(tokens))[:-1])
        assert truth is not None, tokens
        return truth.task
    return "story" if tokens[1] in lexicon.PERSONS and tokens[2] in _prose.OPENING_VERBS else "neutral"
