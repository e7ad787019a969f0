"""Whole forwards over token lists: streamed activations, logits, log-probabilities and losses.

Each function plans batches (see `_batching`), runs them in plan order under inference mode, and stops at the first
value that is not finite, naming row, position, site and index.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from radiograph.core import Site, UserError
from radiograph.core.shapes import Float
from radiograph.models._batching import Batch, Tokens, batches
from radiograph.models._hooks import Activations, Edit, capture, edit, running
from radiograph.models._model import LanguageModel


def stream(
    model: LanguageModel, tokens: Tokens, sites: Sequence[Site], *, batch_tokens: int = 8192
) -> Iterator[tuple[Batch, Activations]]:
    """Activations at `sites`, batch by batch; `batch.rows` and `batch.mask` say whose they are and which are real.

    Raises:
        UserError: a token id outside the vocabulary, a row longer than the context, a value that is not finite.
    """
    check_tokens(model, tokens)
    for batch in batches(tokens, batch_tokens=batch_tokens, device=model.device):
        found = capture(model, batch, sites)
        for site, values in found.items():
            check_finite(values, batch, str(site))
        yield batch, found


def logits(
    model: LanguageModel, tokens: Tokens, *, edits: Mapping[Site, Edit] | None = None, batch_tokens: int = 2048
) -> Iterator[tuple[Batch, Float[Tensor, "batch position vocabulary"]]]:
    """Next-token logits, batch by batch, optionally under edits."""
    check_tokens(model, tokens)
    for batch in batches(tokens, batch_tokens=batch_tokens, device=model.device):
        with edit(model, edits) if edits else nullcontext():
            values = forward(model, batch)
        check_finite(values, batch, "logits")
        yield batch, values


def log_probs(
    model: LanguageModel, tokens: Tokens, *, edits: Mapping[Site, Edit] | None = None, batch_tokens: int = 2048
) -> Iterator[tuple[Batch, Float[Tensor, "batch position vocabulary"]]]:
    """Next-token log-probabilities in nats, float32."""
    for batch, values in logits(model, tokens, edits=edits, batch_tokens=batch_tokens):
        yield batch, values.float().log_softmax(-1)


def cross_entropy(
    model: LanguageModel, tokens: Tokens, *, edits: Mapping[Site, Edit] | None = None, batch_tokens: int = 2048
) -> list[Float[Tensor, " target"]]:
    """Loss of every token but the first, in nats: per row, in the caller's order, on the CPU."""
    losses: list[Tensor] = [torch.empty(0)] * len(tokens)
    for batch, values in logits(model, tokens, edits=edits, batch_tokens=batch_tokens):
        targets = batch.ids[:, 1:]
        nats = torch.nn.functional.cross_entropy(
            values[:, :-1].float().transpose(1, 2), targets, reduction="none"
        ).cpu()
        for index, row in enumerate(batch.rows):
            losses[row] = nats[index, : len(tokens[row]) - 1]
    return losses


def forward(model: LanguageModel, batch: Batch) -> Float[Tensor, "batch position vocabulary"]:
    """Logits of one batch, under inference mode and without a cache. Padding positions hold arbitrary values."""
    batch = batch.to(model.device)
    with torch.inference_mode(), model.session() as network, running(batch):
        return network(**batch.inputs(), use_cache=False).logits


def check_tokens(model: LanguageModel, tokens: Tokens) -> None:
    """Refuse ids that the model has no row for, and rows it has no positions for."""
    longest, vocabulary = model.context_length, model.vocab_size
    for row, ids in enumerate(tokens):
        if len(ids) > longest:
            raise UserError(
                f"row {row} is longer than the model's context",
                expected=f"at most {longest} tokens",
                got=f"{len(ids)} tokens",
                code="too_long",
            )
        if ids and not 0 <= min(ids) <= max(ids) < vocabulary:
            bad = next(i for i in ids if not 0 <= i < vocabulary)
            raise UserError(f"row {row}: token id {bad} is outside the vocabulary", expected=f"0 to {vocabulary - 1}")


def check_finite(values: Float[Tensor, "batch position width"], batch: Batch, site: str) -> None:
    """Stop at the first NaN or infinity among real tokens."""
    # A sum is finite only if every term is, save for overflow: the exact search runs only then.
    if bool(torch.isfinite(values.sum(dtype=torch.float32))):
        return
    bad = (~torch.isfinite(values)) & batch.mask.to(values.device)[..., None]
    if bool(bad.any()):
        index, position, unit = (int(i) for i in bad.nonzero()[0])
        raise UserError(
            f"{site} is not finite",
            where=f"row {batch.rows[index]}, position {position}, index {unit}",
            got=str(float(values[index, position, unit])),
            code="non_finite",
        )
