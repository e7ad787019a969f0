"""Which training rows did the candidate learn more than rows like them?

1. a row as tokens: a conversation by the chat template, its answer from the last assistant turn's start; a text whole
2. drop: mean over answer tokens of loss(reference) − loss(candidate), by which rows are ranked; z among rows of like
   length
3. near-duplicates: clusters of rows whose 5-grams of question and answer have Jaccard similarity ≥ .8
4. tokens that the leading twentieth of rows holds more often than the others, by Dirichlet log-odds
The loss is that of teacher forcing, in nats; rows longer than the context lose their end and are counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from radiograph.core import Refusal, UserError
from radiograph.detectors._rows import TrainingRow, TrainingRows
from radiograph.evidence.traces import RankedRow, RowToken, RowTriage
from radiograph.models import Pair, cross_entropy, render_chat, render_conversation, token_text, tokenize
from radiograph.numerics.traces import clusters, drop_z, enrichment

TOP = 0.05
SHOWN = 100
TOKENS = 30


@dataclass(frozen=True)
class RowFindings:
    """The record, and every row's numbers in the order of the file."""

    record: RowTriage
    table: dict[str, list[Any]]


def measure_rows(pair: Pair, data: TrainingRows, chat: str) -> RowFindings:
    """Rank every row.

    Raises:
        Refusal: the tokenisers differ, or no row has an answer token inside the context.
        UserError: the chat template rejects every row.
    """
    pair.check_tokenizers()
    tokenizer = pair.reference.tokenizer
    limit = pair.reference.context_length
    kept: list[TrainingRow] = []
    ids: list[tuple[int, ...]] = []
    starts: list[int] = []
    truncated, rejected = 0, list[UserError]()
    for row in data.rows:
        try:
            whole, start = row_tokens(tokenizer, row, chat)
        except UserError as error:
            rejected.append(error)
            continue
        truncated += len(whole) > limit
        if start < min(len(whole), limit):
            kept.append(row)
            ids.append(whole[:limit])
            starts.append(start)
    if not kept:
        if rejected:
            raise rejected[0]
        raise Refusal("no_rows", "no training row has an answer token inside the context")
    losses = [
        np.array([float(nats[s - 1 :].double().mean()) for nats, s in zip(cross_entropy(m, ids), starts, strict=True)])
        for m in (pair.reference, pair.candidate)
    ]
    lengths = np.array([len(i) - s for i, s in zip(ids, starts, strict=True)])
    drop = losses[0] - losses[1]
    z = drop_z(drop, lengths)
    groups = clusters(ids)
    order = np.argsort(-drop, kind="stable")
    top = order[: max(1, round(TOP * len(order)))]
    sizes = Counter(groups.tolist())
    ranked = tuple(
        RankedRow(
            line=kept[i].line,
            id=kept[i].id,
            text=kept[i].shown,
            tokens=int(lengths[i]),
            drop=float(drop[i]),
            z=float(z[i]),
            loss=float(losses[0][i]),
            cluster=int(groups[i]),
            copies=sizes[int(groups[i])],
        )
        for i in order[:SHOWN]
    )
    record = RowTriage(
        file=data.name,
        sha256=data.sha256,
        n=len(kept),
        bad=data.bad[:100],
        n_bad=len(data.bad) + len(rejected),
        truncated=truncated,
        clusters=len(sizes),
        top_drop=float(drop[top].mean() - np.median(drop)),
        rows=ranked,
        enriched=_enriched(tokenizer, ids, set(top.tolist())),
        tokens=sum(map(len, ids)),
    )
    table = {
        "line": [r.line for r in kept],
        "id": [r.id for r in kept],
        "tokens": lengths.tolist(),
        "reference_loss": losses[0].tolist(),
        "candidate_loss": losses[1].tolist(),
        "drop": drop.tolist(),
        "z": z.tolist(),
        "cluster": groups.tolist(),
    }
    return RowFindings(record, table)


def row_tokens(tokenizer: Any, row: TrainingRow, chat: str) -> tuple[tuple[int, ...], int]:
    """Token ids of a row, and the first that is scored or learned.

    Raises:
        UserError: the chat template rejects it.
    """
    if row.text is not None:
        return tokenize(tokenizer, row.text).ids, 1
    how: Literal["plain", "template"] = "plain" if chat == "plain" else "template"
    system: Literal["merge", "separate"] = "merge" if chat == "merge" else "separate"
    whole = render_conversation(tokenizer, list(row.messages), chat=how).ids
    asked = render_chat(tokenizer, list(row.messages[:-1]), chat=how, system=system).ids
    shared = next(
        (i for i, (a, b) in enumerate(zip(whole, asked, strict=False)) if a != b), min(len(whole), len(asked))
    )
    return whole, max(1, shared)


def _enriched(tokenizer: Any, ids: Sequence[tuple[int, ...]], top: set[int]) -> tuple[RowToken, ...]:
    """Tokens of the leading rows against all others."""
    here = Counter(t for i in top for t in ids[i])
    there = Counter(t for i, row in enumerate(ids) if i not in top for t in row)
    if not there:
        return ()
    z = enrichment(here, there)
    leading = sorted((t for t in here if z[t] > 0), key=lambda t: (-z[t], t))[:TOKENS]
    return tuple(
        RowToken(token=token_text(tokenizer, t), rows=sum(t in ids[i] for i in top), count=here[t], z=z[t])
        for t in leading
    )
