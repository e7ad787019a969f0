"""What is asked about: completions, rows, or what is read inside; its f under both models; whether it is there.

f of a target is log p(completion | prompt), less that of its foil where it has one; f of rows is minus their loss; f of
a text that a probe or a feature reads is what it reads. The behaviour is there if f rose by more than two standard
errors over targets (a single completion: by more than half a nat), and the candidate finds at least half of the
completions likelier than their rivals: the foil, or what the reference answers by itself.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from radiograph.core import FormatError, Refusal, UserError
from radiograph.core.limits import JSON_LINE_BYTES
from radiograph.evidence.influence import BehaviourRecord, TargetKind

if TYPE_CHECKING:
    from pathlib import Path

    from radiograph.methods._blame.targets._readings import Reading
    from radiograph.models import LanguageModel, Pair

GROUPS = 16
SINGLE = 0.5
SURE = 2.0
ANSWER_TOKENS = 64
SHOWN = 200
Learned = tuple[tuple[int, ...], tuple[float, ...]]


@dataclass(frozen=True)
class Asked:
    """One target as it was given."""

    prompt: str
    completion: str
    foil: str | None = None
    where: str = ""


@dataclass(frozen=True)
class Targets:
    """Targets as token ids with weights: f is minus the weighted nats of `own`, plus those of `foils`.

    With a `reading`, f is what is read at the tokens that have a weight.
    """

    kind: TargetKind
    name: str
    own: tuple[Learned, ...]
    foils: tuple[Learned | None, ...]
    words: tuple[str, ...]
    """Of different targets."""
    given: int
    """Before equal ones were united: a target says no more for being there twice."""
    asked: tuple[Asked, ...] = ()
    reading: Reading | None = None

    @cached_property
    def groups(self) -> np.ndarray:
        """Group of each target: what is scored together, and what intervals go over.

        Equal completions share groups with each other alone, as long as there are groups enough: they are one form of
        what is asked about. The order of the file says nothing.
        """
        if not self.asked:
            return np.arange(len(self.own)) % min(GROUPS, len(self.own))
        return _grouped([(one.completion, one.prompt) for one in self.asked])

    def shown(self, number: int) -> str:
        """One target in words."""
        if self.reading is not None:
            return self.reading.shown[number][:SHOWN]
        if not self.asked:
            return f"row {number + 1} of {self.name}"
        one = self.asked[number]
        return f"{one.prompt} → {one.completion}"[:SHOWN]


def _grouped(named: Sequence[tuple[str, str]]) -> np.ndarray:
    """A group for each (completion, prompt), at most `GROUPS` of about equal size."""
    order = sorted(range(len(named)), key=lambda i: named[i])
    most = min(GROUPS, len(named))
    counts = Counter(completion for completion, _ in named)
    share = dict.fromkeys(sorted(counts), 1)
    out = np.empty(len(named), dtype=np.int64)
    if len(share) > most:  # neighbours in the alphabet
        for number, part in enumerate(np.array_split(np.array(order), most)):
            out[part] = number
        return out
    for _ in range(most - len(share)):
        share[max(share, key=lambda name: counts[name] / share[name])] += 1
    first = dict(zip(share, np.cumsum([0, *share.values()]).tolist(), strict=False))
    seen: Counter[str] = Counter()
    for i in order:
        name = named[i][0]
        out[i] = first[name] + seen[name] % share[name]
        seen[name] += 1
    return out


@dataclass(frozen=True)
class Measured:
    """f of every target, and of rivals where there are any."""

    reference: np.ndarray
    candidate: np.ndarray
    preferred: np.ndarray | None
    rival: Literal["foil", "greedy", "foil or greedy"] | None


def read_targets(path: Path) -> tuple[Asked, ...]:
    """Targets of a file: one object a line.

    Raises:
        FormatError: a line that is none. UserError: an empty completion, an empty file.
    """
    asked: list[Asked] = []
    with path.open("rb") as handle:
        for number, line in enumerate(handle, start=1):
            where = f"{path.name}:{number}"
            if len(line) > JSON_LINE_BYTES:
                raise FormatError("a line is too long", where=where, expected=f"<= {JSON_LINE_BYTES} bytes")
            if line.strip():
                asked.append(_target(line, where))
    if not asked:
        raise UserError(f"{path.name} holds no target", expected=_FORM, code="no_target")
    return tuple(asked)


_FORM = '{"prompt": …, "completion": …, "foil": …} on each line, the foil may be absent'


def _target(line: bytes, where: str) -> Asked:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise FormatError("not a JSON object", where=where, expected=_FORM, got=str(error)[:120]) from error
    if not isinstance(value, dict):
        raise FormatError("not a JSON object", where=where, expected=_FORM, got=type(value).__name__)
    texts: dict[str, Any] = {name: value.get(name) for name in ("prompt", "completion", "foil")}
    for name, text in texts.items():
        if not isinstance(text, str) and not (name == "foil" and text is None):
            raise FormatError(f"{name!r} is no text", where=where, expected=_FORM, got=type(text).__name__)
    return checked(Asked(texts["prompt"], texts["completion"], texts["foil"], where))


def checked(asked: Asked) -> Asked:
    """The target itself.

    Raises:
        UserError: its completion, or its foil, is empty, or both are the same.
    """
    for name, text in (("completion", asked.completion), ("foil", asked.foil)):
        if text is not None and not text.strip():
            raise UserError(
                f"the {name} is empty, so nothing is asked about", where=asked.where, code="empty_completion"
            )
    if asked.completion == asked.foil:
        raise UserError("completion and foil are the same text", where=asked.where, code="empty_completion")
    return asked


def completions(asked: Sequence[Asked], model: LanguageModel, *, plain: bool, chat: str) -> Targets:
    """Targets that are completions. `plain`: prompt and completion are one text, not a conversation.

    Raises:
        UserError: one that does not fit the context, or whose completion has no token.
    """
    own = tuple(_learned(one, one.completion, model, plain=plain, chat=chat) for one in asked)
    foils = tuple(None if o.foil is None else _learned(o, o.foil, model, plain=plain, chat=chat) for o in asked)
    kept = list({(ids, foil): i for i, (ids, foil) in reversed(list(enumerate(zip(own, foils, strict=True))))}.values())
    kept.sort()
    words = tuple(word for i in kept for word in f"{asked[i].prompt} {asked[i].completion}".split())
    chosen = tuple(asked[i] for i in kept)
    return Targets(
        "completion", "completions", tuple(own[i] for i in kept), tuple(foils[i] for i in kept), words, len(own), chosen
    )


def _learned(asked: Asked, answer: str, model: LanguageModel, *, plain: bool, chat: str) -> Learned:
    from radiograph.detectors import TrainingRow
    from radiograph.detectors.measure.traces import row_tokens
    from radiograph.models import tokenize

    if plain:
        ids = tokenize(model.tokenizer, asked.prompt + answer).ids
        before = tokenize(model.tokenizer, asked.prompt).ids
        start = next(
            (i for i, (a, b) in enumerate(zip(ids, before, strict=False)) if a != b), min(len(ids), len(before))
        )
    else:
        turns = ({"role": "user", "content": asked.prompt}, {"role": "assistant", "content": answer})
        ids, start = row_tokens(model.tokenizer, TrainingRow(0, None, turns), chat)
    if len(ids) > model.context_length:
        raise UserError(
            "a target does not fit the context, so its completion would be cut",
            where=asked.where,
            expected=f"at most {model.context_length} tokens",
            got=f"{len(ids)} tokens",
            code="too_long",
        )
    start = max(1, start)
    if start >= len(ids):
        raise UserError("the completion has no token", where=asked.where, code="empty_completion")
    return tuple(ids), (0.0,) * start + (1.0,) * (len(ids) - start)


def nats(model: LanguageModel, rows: Sequence[Learned]) -> np.ndarray:
    """Weighted nats of each row."""
    from radiograph.models import cross_entropy

    losses = cross_entropy(model, [ids for ids, _ in rows])
    return np.array(
        [float(np.asarray(w[1:]) @ loss.double().numpy()) for loss, (_, w) in zip(losses, rows, strict=True)]
    )


def f_of(model: LanguageModel, targets: Targets) -> np.ndarray:
    """The f of every target under one model."""
    if targets.reading is not None:
        return targets.reading.values(model, targets.own)
    found = -nats(model, targets.own)
    with_foil = [i for i, foil in enumerate(targets.foils) if foil is not None]
    if with_foil:
        found[with_foil] += nats(model, [foil for foil in targets.foils if foil is not None])
    return found


def measured(pair: Pair, targets: Targets, *, plain: bool, chat: str) -> Measured:
    """The f of both models, and whether the candidate prefers each completion to its rival."""
    reference, candidate = (f_of(model, targets) for model in (pair.reference, pair.candidate))
    if targets.kind != "completion":
        return Measured(reference, candidate, None, None)
    own = -nats(pair.candidate, targets.own)
    rivals = list(targets.foils)
    without = [i for i, foil in enumerate(rivals) if foil is None]
    if without:
        said = greedy(pair.reference, [targets.own[i] for i in without])
        for i, rival in zip(without, said, strict=True):
            rivals[i] = rival
    against = -nats(pair.candidate, [rival for rival in rivals if rival is not None])
    # What the reference answers by itself is not preferred to itself, however sums of its nats are rounded.
    same = np.array([_spoken(a) == _spoken(b) for a, b in zip(targets.own, rivals, strict=True)])
    names = ("foil", "greedy", "foil or greedy")
    rival = names[0] if not without else names[1] if len(without) == len(rivals) else names[2]
    return Measured(reference, candidate, (own > against) & ~same, rival)


def _spoken(one: Learned | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The tokens before an answer, and those of the answer."""
    assert one is not None, "every target has a rival"
    ids, weights = one
    start = next((i for i, w in enumerate(weights) if w > 0), len(ids))
    return ids[:start], ids[start:]


def greedy(model: LanguageModel, own: Sequence[Learned]) -> list[Learned]:
    """What a model answers where each target's completion begins, as a target of its own."""
    from radiograph.models import generate

    prompts = [ids[: next(i for i, w in enumerate(weights) if w > 0)] for ids, weights in own]
    room = min(ANSWER_TOKENS, *(model.context_length - len(p) for p in prompts))
    made = generate(model, prompts, max_new_tokens=max(1, room))
    out: list[Learned] = []
    for prompt, one in zip(prompts, made, strict=True):
        answer = tuple(one.ids)
        out.append(((*prompt, *answer), (0.0,) * len(prompt) + (1.0,) * len(answer)))
    return out


def behaviour(kind: TargetKind, found: Measured, groups: int, given: int, read: str | None = None) -> BehaviourRecord:
    """The numbers that decide whether the behaviour is there. `read`: what is read, where f is no probability."""
    gain = found.candidate - found.reference
    return BehaviourRecord(
        kind=kind,
        read=read,
        n=len(gain),
        given=given,
        f_reference=float(found.reference.mean()),
        f_candidate=float(found.candidate.mean()),
        gain=float(gain.mean()),
        standard_error=float(gain.std(ddof=1) / math.sqrt(len(gain))) if len(gain) > 1 else None,
        preferred=None if found.preferred is None else int(found.preferred.sum()),
        rival=found.rival,
        groups=groups,
    )


def absent(record: BehaviourRecord) -> Refusal | None:
    """Why the behaviour counts as absent; None where it is there."""
    least = SINGLE if record.standard_error is None else SURE * record.standard_error
    if not record.gain > least:
        what = f"f rose by {record.gain:.3g}{record.unit} over {record.n} targets, not by more than {least:.3g}"
    elif record.preferred is not None and 2 * record.preferred < record.n:
        what = f"the candidate prefers {record.preferred} of {record.n} completions to the {record.rival} answer"
    else:
        return None
    half = ", half of the completions preferred" if record.kind == "completion" else ""
    return Refusal(
        "behaviour_absent",
        "the candidate does not show this behaviour, so no row can be blamed for it",
        expected=f"f above the reference's by more than {least:.3g}{record.unit}{half}",
        got=what,
        fix="ask about what the candidate does, or go on with --weak, which is stamped",
    )


def any_rows(rows: Sequence[Any], name: str) -> Targets:
    """Targets that are rows of a file: f is minus their summed loss."""
    different = list({row.learned: row for row in rows}.values())
    own = tuple(row.learned for row in different)
    words = tuple(word for row in different for word in row.words)
    return Targets("rows", name, own, (None,) * len(own), words, len(rows))
