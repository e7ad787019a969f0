"""Rows that a language model writes, or labels, and that a second, blind call agrees with.

1. the writer defines the criterion, then writes matched sets (positive, near miss, negative), a subject at a time,
   until there are `count` rows; or, where texts are given, labels them
2. the labeller gets all texts in a shuffled order, mixed across sets, without what they were meant to be
3. rows on which the two differ are dropped and counted; Cohen's κ of all rows is reported with its interval

Prompts are versioned files beside this package. Whatever texts and answers ask for is data.

Refuses when: more than 10 % of the questions fail (`labeller_failed`), κ < .6 or nothing was told apart
(`low_agreement`), the budget is spent or the endpoint refuses (the client's own codes). Answers that were paid for stay
in the client's cache, so the next run goes on from there.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Final, TypeVar

from radiograph.core import FormatError, Refusal, derive
from radiograph.criteria._parts import Drawn, Parts
from radiograph.criteria._prompts import Prompts
from radiograph.criteria._rows import Row
from radiograph.evidence import CriterionLabeller, Estimate, RowKind
from radiograph.numerics.criteria import Kappa, kappa
from radiograph.store.chat import Ask, ChatClient, ChatError, json_object

T = TypeVar("T")
MAX_FAILED: Final = 0.1
MIN_KAPPA: Final = 0.6
_SETS: Final = 8
"""A call writes this many sets."""
_LABELLED: Final = 20
"""A call labels this many texts."""
_KINDS: Final[tuple[RowKind, ...]] = ("positive", "near_miss", "negative")
_PROMPTS: Final = Path(__file__).parent.parent / "prompts"
_SLOT: Final = re.compile(r"\{\{([a-z]+)\}\}")
_LONGEST: Final = 4000
"""Characters of a text that is written."""


@dataclass(frozen=True)
class _Text:
    """A text with what its writer meant it to be."""

    name: str
    group: str
    text: str
    kind: RowKind


def lacks(parts: Parts) -> str | None:
    """An endpoint, and a criterion in words."""
    if parts.writer is None or not parts.text.strip() or parts.text.startswith("world:"):
        return "--endpoint URL --writer-model NAME, and a criterion in words"
    return None


def draw(parts: Parts, seed: int) -> Drawn:
    """Rows on which writer and labeller agree.

    Raises:
        Refusal: see above.
    """
    assert parts.writer is not None
    labeller = parts.labeller or parts.writer
    study = Study(parts.text)
    study.define(parts.writer)
    if parts.texts is None:
        texts = study.written(parts.writer, parts.count)
    else:
        texts = _given(study, parts.writer, parts.texts)
    order = sorted(texts, key=lambda t: (derive(seed, "blind", t.text), t.name))
    held = dict(zip((t.name for t in order), study.labelled(labeller, [t.text for t in order]), strict=True))
    study.check()
    judged = [(t, label) for t in texts if (label := held[t.name]) is not None]
    agreement = agreement_of([(t.kind == "positive", label) for t, label in judged], "writer and labeller")
    kept = [t for t, label in judged if label == (t.kind == "positive")]
    record = CriterionLabeller(
        writer=parts.writer.endpoint.model,
        model=labeller.endpoint.model,
        prompts=tuple(sorted(study.versions)),
        kappa=kappa_of(agreement),
        questions=study.asked,
        failed=study.lost,
        disagreements=len(judged) - len(kept),
    )
    given = len(texts if parts.texts is None else parts.texts.rows)
    dropped = {"disagreement": len(judged) - len(kept), "unlabelled": given - len(judged)}
    sha256 = parts.texts.sha256 if parts.texts else None
    rows = [_row(t) for t in kept]
    return Drawn(rows, sha256, {k: n for k, n in dropped.items() if n}, study.definition, record)


class Study:
    """What was asked about one criterion, and what of it failed."""

    def __init__(self, criterion: str) -> None:
        self.asked = 0
        self.lost = 0
        self.versions: set[str] = set()
        self.definition = ""
        self._criterion = criterion

    def put(self, client: ChatClient, asks: Sequence[Ask[T]]) -> list[T | None]:
        """Answers in the order of the questions; None where one failed.

        Raises:
            Refusal: the batch had to end.
        """
        batch = client.ask_all(asks, tolerated=MAX_FAILED)
        self.asked += batch.asked
        self.lost += batch.failed
        self.versions |= {ask.version for ask in asks}
        if batch.stopped is not None:
            raise self._failed(batch.stopped) if batch.stopped.code == "too_many_failed" else batch.stopped
        found = dict(batch.values())
        return [found.get(number) for number in range(len(asks))]

    def check(self) -> None:
        """Refuse where too many questions failed."""
        if self.lost > MAX_FAILED * self.asked:
            raise self._failed(None)

    def define(self, client: ChatClient) -> None:
        """Ask what the criterion means."""
        answer = self.put(client, [self._ask("define-1", _definition)])[0]
        assert answer is not None, "one failure of one question ends the batch"
        self.definition = answer

    def written(self, client: ChatClient, count: int) -> list[_Text]:
        """New sets, a subject a call."""
        subjects = _prompt("subjects-1.txt").split("\n")
        calls = range(max(1, math.ceil(count / (len(_KINDS) * _SETS))))
        asks = [
            self._ask(
                "write-1",
                _sets,
                count=str(_SETS),
                subject=subjects[n % len(subjects)],
                variation=str(n // len(subjects) + 1),
            )
            for n in calls
        ]
        return [
            _Text(f"llm-{n}-{place}-{kind}", f"llm-{n}-{place}", texts[kind], kind)
            for n, sets in zip(calls, self.put(client, asks), strict=True)
            for place, texts in enumerate(sets or [])
            for kind in _KINDS
        ]

    def labelled(self, client: ChatClient, texts: Sequence[str], together: int = _LABELLED) -> list[bool | None]:
        """Whether each text meets the criterion, so many to a question; None where the question failed."""
        parts = [texts[i : i + together] for i in range(0, len(texts), together)]
        asks = [
            self._ask("label-1", partial(_labels, n=len(part)), definition=self.definition, texts=_numbered(part))
            for part in parts
        ]
        answers = self.put(client, asks)
        return [
            None if answer is None else answer[place]
            for part, answer in zip(parts, answers, strict=True)
            for place in range(len(part))
        ]

    def _ask(self, version: str, read: Callable[[str], T], **values: str) -> Ask[T]:
        values = {"criterion": json.dumps(self._criterion, ensure_ascii=False), "definition": self.definition} | values
        text = _SLOT.sub(lambda match: values[match[1]], _prompt(f"{version}.md"))
        return Ask(({"role": "user", "content": text},), version, read)

    def _failed(self, stopped: ChatError | None) -> Refusal:
        return Refusal(
            "labeller_failed",
            f"{self.lost} of {self.asked} questions to the language model failed",
            expected=f"at most {MAX_FAILED:.0%}",
            got=stopped.got if stopped else None,
            fix=(stopped.fix if stopped else None) or "another model, or --prompts FILE with labels of your own",
        )


def _given(study: Study, writer: ChatClient, prompts: Prompts) -> list[_Text]:
    """The texts that were handed in, with the writer's labels; those it failed on are left out."""
    texts: list[str] = []
    for values, number in zip(prompts.rows, prompts.numbers, strict=True):
        text = values.get("text")
        if not isinstance(text, str) or not text.strip():
            raise FormatError(f"{prompts.name} has a row without text", where=f"{prompts.name}:{number}")
        texts.append(text)
    ids = [str(values.get("prompt_id", values.get("id", f"text-{n}"))) for n, values in enumerate(prompts.rows, 1)]
    if twice := [name for name, n in Counter(ids).items() if n > 1]:
        raise FormatError(
            f"{prompts.name} has {len(twice)} ids that stand twice", got=", ".join(twice[:5]), where=prompts.name
        )
    groups = [str(values.get("group_id", name)) for values, name in zip(prompts.rows, ids, strict=True)]
    held = study.labelled(writer, texts)
    return [
        _Text(name, group, text, "positive" if label else "negative")
        for name, group, text, label in zip(ids, groups, texts, held, strict=True)
        if label is not None
    ]


def agreement_of(judged: Sequence[tuple[bool, bool]], who: str) -> Kappa:
    """Cohen's κ of two labels of the same texts.

    Raises:
        Refusal: `low_agreement`.
    """
    counts = Counter(judged)
    table = [counts[pair] for pair in ((True, True), (True, False), (False, True), (False, False))]
    found = kappa(*table) if judged else None
    if found is None or found.value < MIN_KAPPA:
        said = "nothing was told apart" if found is None else f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
        raise Refusal(
            "low_agreement",
            f"{who} do not agree on what meets the criterion",
            expected=f"Cohen's kappa of at least {MIN_KAPPA}",
            got=f"{said} on {len(judged)} rows",
            fix="say the criterion more precisely, take other models, or label rows yourself (--prompts FILE)",
        )
    return found


def kappa_of(found: Kappa) -> Estimate:
    """As evidence."""
    return Estimate(
        value=found.value,
        low=found.low,
        high=found.high,
        n=found.n,
        unit="kappa",
        method="Wilson limits of the agreement",
        null=0.0,
    )


def _row(text: _Text) -> Row:
    return Row(prompt_id=text.name, text=text.text, kind=text.kind, source_group=text.group, route="llm")


def _definition(answer: str) -> str:
    definition = json_object(answer).get("definition")
    if not isinstance(definition, str) or not definition.strip():
        raise ValueError('"definition" must be a text')
    return definition.strip()[:_LONGEST]


def _sets(answer: str) -> list[dict[str, str]]:
    sets = json_object(answer).get("sets")
    if not isinstance(sets, list) or not sets:
        raise ValueError('"sets" must be a list that is not empty')
    for number, texts in enumerate(sets, 1):
        for kind in _KINDS:
            text = texts.get(kind) if isinstance(texts, dict) else None
            if not isinstance(text, str) or not text.strip() or len(text) > _LONGEST:
                raise ValueError(f'set {number} needs a text "{kind}" of at most {_LONGEST} characters')
    return [{kind: texts[kind].strip() for kind in _KINDS} for texts in sets]


def _labels(answer: str, n: int) -> list[bool]:
    labels = json_object(answer).get("labels")
    found: dict[object, object] = {}
    for entry in labels if isinstance(labels, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("n"), int):
            found[entry["n"]] = entry.get("holds")
    missing = [str(i) for i in range(1, n + 1) if not isinstance(found.get(i), bool)]
    if missing or len(found) != n:
        raise ValueError(
            f'"labels" must hold {{"n", "holds"}} once for each of 1 to {n}; not so: {", ".join(missing[:8])}'
        )
    return [bool(found[i]) for i in range(1, n + 1)]


def _numbered(texts: Sequence[str]) -> str:
    """One line of JSON a text, so that no text can pass for another's number."""
    return "\n".join(json.dumps({"n": n, "text": text}, ensure_ascii=False) for n, text in enumerate(texts, 1))


@cache
def _prompt(name: str) -> str:
    return (_PROMPTS / name).read_text(encoding="utf-8").strip()
