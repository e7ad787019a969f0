"""Log-probabilities of whole target sequences under conditions that differ from row to row.

1. a question is a prompt with targets and foils; outcome = logsumexp over targets − logsumexp over foils of
   Σ log P(token | prompt, tokens before it), over all sub-tokens; without foils the first term alone
2. targets of one token need the prompt alone; each longer one the prompt and all of its tokens but the last
3. rows (question, condition) are packed by length, whatever the condition; the plan depends on the lengths alone
Units: nats. float64 sums of float32 log-probabilities.
Source: conditional log-probabilities, Brown et al. 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from radiograph.core import UserError
from radiograph.core.shapes import Float64
from radiograph.interventions.features._write import Pushed, edits_of
from radiograph.models import Batch, LanguageModel, edit, forward, pad, plan

BATCH_TOKENS = 4096
LOGITS = 2**25
"""Log-probabilities held at once: 128 MiB in float32."""
Scale = Literal["logprob", "choice"]


@dataclass(frozen=True)
class Question:
    """A prompt, and the continuations that are weighed."""

    ids: tuple[int, ...]
    targets: tuple[tuple[int, ...], ...]
    foils: tuple[tuple[int, ...], ...] = ()

    @property
    def rows(self) -> tuple[tuple[int, ...], ...]:
        """Continuations that have to be read: the empty one, and each longer target but its last token."""
        longer = dict.fromkeys(one[:-1] for one in (*self.targets, *self.foils) if len(one) > 1)
        return ((), *longer)


@dataclass(frozen=True, slots=True)
class Scored:
    """Outcome of one question under one condition."""

    value: float
    targets: tuple[float, ...]
    """Log-probability of each target."""


def question_of(
    tokenizer: Any, ids: Sequence[int], text: str | None, targets: Sequence[str], foils: Sequence[str]
) -> Question:
    """Targets and foils as tokens that continue the prompt.

    One that begins with another says nothing more: its probability is part of the other's, so it is left out.

    Raises:
        UserError: a target without tokens, the same one as target and foil, or one that begins with the other.
    """
    wanted, others = (tuple(_continued(tokenizer, ids, text, one) for one in some) for some in (targets, foils))
    if not wanted or not all((*wanted, *others)):
        raise UserError("a target has no tokens", got=", ".join(map(repr, (*targets, *foils))), code="bad_targets")
    clash = next((b for a in wanted for b in others if _begins(a, b) or _begins(b, a)), None)
    if clash is not None:
        raise UserError(
            "a continuation is target and foil, or begins with one",
            got=str(tokenizer.decode(list(clash))),
            fix="name continuations of which none begins with another",
            code="bad_targets",
        )
    return Question(tuple(ids), _shortest(wanted), _shortest(others))


def _begins(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return one[: len(other)] == other


def _shortest(some: Sequence[tuple[int, ...]]) -> tuple[tuple[int, ...], ...]:
    different = list(dict.fromkeys(some))
    return tuple(one for one in different if not any(_begins(one, other) for other in different if other != one))


def lines_of(questions: Sequence[Question]) -> list[tuple[int, tuple[int, ...]]]:
    """Every row that has to be read: number of the question, and its token ids. Writes are given in this order."""
    return [(q, question.ids + tail) for q, question in enumerate(questions) for tail in question.rows]


def score(
    model: LanguageModel,
    questions: Sequence[Question],
    writes: Sequence[Sequence[Pushed]] | None = None,
    *,
    hooked: bool = True,
    batch_tokens: int = BATCH_TOKENS,
) -> list[Scored]:
    """The outcome of every question; `writes` act on the rows of `lines_of`.

    `hooked=False` leaves the writes out and keeps the batches.

    Raises:
        UserError: a prompt that does not fit the context.
    """
    lines = lines_of(questions)
    _check(model, [ids for _, ids in lines])
    values: list[dict[tuple[int, ...], float]] = [{} for _ in questions]
    limit = max(1, min(batch_tokens, LOGITS // model.vocab_size))
    for chosen in plan([len(ids) for _, ids in lines], limit):
        batch = pad([ids for _, ids in lines], chosen, device=model.device)
        edits = edits_of({row: writes[row] for row in chosen if writes[row]}) if hooked and writes is not None else {}
        with edit(model, edits):
            logits = forward(model, batch)
        rows = [(lines[row][0], lines[row][1][len(questions[lines[row][0]].ids) :]) for row in chosen]
        _read(batch, logits, rows, questions, values)
    return [_outcome(question, own) for question, own in zip(questions, values, strict=True)]


def _read(
    batch: Batch,
    logits: Tensor,
    rows: Sequence[tuple[int, tuple[int, ...]]],
    questions: Sequence[Question],
    values: list[dict[tuple[int, ...], float]],
) -> None:
    """Log-probabilities of the continuations that these rows decide."""
    places: list[int] = []
    wanted: list[tuple[int, tuple[int, ...], list[int]]] = []
    for line, (q, tail) in enumerate(rows):
        question = questions[q]
        start = len(question.ids) - 1
        for one in (*question.targets, *question.foils):
            if one[:-1] == tail or (len(one) == 1 and not tail):
                at = [line * batch.ids.shape[1] + start + k for k in range(len(one))]
                wanted.append((q, one, list(range(len(places), len(places) + len(at)))))
                places += at
    if not wanted:  # prompts whose continuations are all of several tokens decide none by themselves
        return
    needed = sorted(set(places))
    number = {place: n for n, place in enumerate(needed)}
    flat = logits.reshape(-1, logits.shape[-1])[torch.tensor(needed, device=logits.device)].float().log_softmax(-1)
    index = torch.tensor([number[p] for p in places], device=logits.device)
    token = torch.tensor([t for _, one, _ in wanted for t in one], device=logits.device)
    found = flat[index, token].double().cpu().numpy()
    if not np.isfinite(found).all():
        raise UserError("a log-probability is not finite", where=f"prompt {wanted[0][0]}", code="non_finite")
    for q, one, at in wanted:
        values[q][one] = float(found[at].sum())


def _outcome(question: Question, values: dict[tuple[int, ...], float]) -> Scored:
    targets = np.array([values[one] for one in question.targets])
    total = _logsumexp(targets)
    if question.foils:
        total -= _logsumexp(np.array([values[one] for one in question.foils]))
    return Scored(total, tuple(targets.tolist()))


def _logsumexp(values: Float64[np.ndarray, " value"]) -> float:
    top = float(values.max())
    return top + float(np.log(np.exp(values - top).sum()))


def _continued(tokenizer: Any, ids: Sequence[int], text: str | None, target: str) -> tuple[int, ...]:
    """Tokens of a target as they follow the prompt; by itself where the two would melt into one token."""
    if text is not None:
        whole = tuple(tokenizer(text + target)["input_ids"])
        if whole[: len(ids)] == tuple(ids):
            return whole[len(ids) :]
    return tuple(tokenizer(target, add_special_tokens=False)["input_ids"])


def _check(model: LanguageModel, tokens: Sequence[tuple[int, ...]]) -> None:
    longest = max((len(t) for t in tokens), default=0)
    if longest > model.context_length:
        raise UserError(
            "a prompt with its target is longer than the model's context",
            expected=f"at most {model.context_length} tokens",
            got=f"{longest} tokens",
            code="too_long",
        )
