"""Does the candidate give its training rows back word for word, more than rows it did not see?

The first quarter of a row's tokens is given; extracted is a row whose next min(50, rest) tokens come back exactly under
greedy decoding. A row with fewer than ten tokens left is no evidence, since anybody may guess it: it is left out.
Control: held-out rows of the same source, else the reference on the same rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

import numpy as np

from radiograph.core import derive
from radiograph.evidence.reportcard.card import Example
from radiograph.methods._diagnose.beside import SIDES
from radiograph.methods._diagnose.inputs import Found, Inputs, cut, need

if TYPE_CHECKING:
    from radiograph.detectors import TrainingRow
    from radiograph.models import LanguageModel

LEAST, MOST, PREFIX, NEXT, NEAR = 100, 1000, 0.25, 50, 0.8
REST = 10
"""Tokens that a row must leave to be given back."""


def measure(inputs: Inputs) -> Found:
    """Exact extraction of training rows less that of the control.

    Raises:
        Refusal: fewer than 100 rows of either kind.
    """
    from radiograph.evidence import document_sha256
    from radiograph.models import cross_entropy

    rows, short = _long(inputs, _drawn(inputs.training, inputs.ctx.seed))
    need(len(rows), LEAST, f"training rows with {REST} tokens to give back")
    control, few = _long(inputs, _drawn(inputs.controls, inputs.ctx.seed))
    if inputs.config.held_out is not None:
        need(len(control), LEAST, f"held-out rows with {REST} tokens to give back that are not nearly training rows")
    both = [row for row, _ in (*rows, *control)]
    ids = [own for _, own in (*rows, *control)]
    pair = inputs.pair
    with inputs.ctx.progress.task("extracting training rows"):
        exact, near = _extracted(pair.candidate, ids)
        before = None if control else _extracted(pair.reference, ids)[0]
        losses = [
            np.array([float(nats.double().mean()) for nats in cross_entropy(model, ids)])
            for model in (pair.reference, pair.candidate)
        ]
    train = np.array([1.0] * len(rows) + [0.0] * len(control))
    columns = {"train": train, "extracted": exact, "near": near}
    columns |= {f"loss_{side}": own for side, own in zip(SIDES, losses, strict=True)}
    if before is not None:
        columns["reference"] = before
    ids_of = [f"{'train' if train[k] else 'held-out'}:{row.line}" for k, row in enumerate(both)]
    left = [f"train:{row.line}" for row in short] + [f"held-out:{row.line}" for row in few]
    return Found(
        columns=columns,
        groups=[row.shown for row in both],
        ids=ids_of,
        data_sha256=document_sha256([row.shown for row in both]),
        show=lambda k: Example(id=ids_of[k], prompt=cut(both[k].shown), reference="", candidate="given back exactly"),
        more={"left": {"id": left}} if left else {},
    )


def _drawn(rows: Sequence[TrainingRow], seed: int) -> list[TrainingRow]:
    """At most 1,000 rows, in their order."""
    if len(rows) <= MOST:
        return list(rows)
    generator = np.random.default_rng(derive(seed, "memorisation"))
    return [rows[i] for i in sorted(generator.choice(len(rows), MOST, replace=False))]


def _long(
    inputs: Inputs, rows: Sequence[TrainingRow]
) -> tuple[list[tuple[TrainingRow, tuple[int, ...]]], list[TrainingRow]]:
    """Rows with their tokens that leave enough to be given back, and those that do not."""
    told = [(row, _tokens(inputs, row)) for row in rows]
    kept = [(row, ids) for row, ids in told if len(ids) - _start(ids) >= REST]
    return kept, [row for row, ids in told if len(ids) - _start(ids) < REST]


def _start(ids: Sequence[int]) -> int:
    """How many tokens are given."""
    return max(1, int(PREFIX * len(ids)))


def _tokens(inputs: Inputs, row: TrainingRow) -> tuple[int, ...]:
    from radiograph.detectors.measure.traces import row_tokens

    model = inputs.pair.reference
    return row_tokens(model.tokenizer, row, inputs.config.chat)[0][: model.context_length - 1]


def _extracted(model: LanguageModel, rows: Sequence[tuple[int, ...]]) -> tuple[np.ndarray, np.ndarray]:
    """Which rows come back exactly, and which nearly."""
    from radiograph.models import generate

    starts = [_start(ids) for ids in rows]
    prefixes = [ids[:start] for ids, start in zip(rows, starts, strict=True)]
    given = generate(model, prefixes, max_new_tokens=NEXT, stop=())
    wanted = [ids[start : start + NEXT] for ids, start in zip(rows, starts, strict=True)]
    told = [tuple(g.ids[: len(w)]) for g, w in zip(given, wanted, strict=True)]
    exact = np.array([t == tuple(w) for t, w in zip(told, wanted, strict=True)], dtype=np.float64)
    near = [
        SequenceMatcher(None, t, tuple(w), autojunk=False).ratio() >= NEAR for t, w in zip(told, wanted, strict=True)
    ]
    return exact, np.array(near, dtype=np.float64)
