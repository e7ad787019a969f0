"""How many items of a benchmark stand in the training rows; and whether the candidate knows their order.

Items of fewer words than an n-gram, or without a word, say nothing and are left out. With `--ordered` the items stand
as the benchmark was published: shards of consecutive ones are read in that order and in others (Oren et al. 2023), by
both models. The order decides nothing here; a small p of the candidate alone means that it saw the file.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from radiograph.core import Refusal, derive
from radiograph.evidence.reportcard.card import Example
from radiograph.methods._diagnose.beside import HALF, SIDES, Table
from radiograph.methods._diagnose.inputs import Found, Inputs, cut, need, text_of
from radiograph.numerics.reportcard import FEWEST, ORDER_SHARDS, contained

SHARDS, ORDERS, ITEMS = 32, 16, 3
"""Shards at most, other orders of each, items in one at least."""


def measure(inputs: Inputs) -> Found:
    """Share of items of which half of the n-grams stand in the rows.

    Raises:
        Refusal: no training rows, no benchmark, or too few items with an n-gram.
    """
    from radiograph.evidence import document_sha256

    if inputs.config.benchmark is None:
        raise Refusal("no_benchmark", "no benchmark was given", fix="--benchmark ITEMS.jsonl")
    rows = inputs.training
    size = inputs.config.ngram
    told = contained([text_of(item) for item in inputs.benchmark], [text_of(row) for row in rows], size)
    kept = [(item, one) for item, one in zip(inputs.benchmark, told, strict=True) if one is not None]
    need(len(kept), FEWEST, f"items of the benchmark with {size} words")
    items, texts = [item for item, _ in kept], [text_of(item) for item, _ in kept]
    share = np.array([one for _, one in kept])
    left = [f"line {item.line}" for item, one in zip(inputs.benchmark, told, strict=True) if one is None]
    more: dict[str, Table] = {"left": {"id": left}} if left else {}
    said = ""
    if inputs.config.ordered:
        try:
            more["order"] = _order(inputs, [text_of(item) for item in inputs.benchmark])
        except Refusal as refusal:
            said = f"; the order was not tested: {refusal.message}"
    return Found(
        columns={"found": (share >= HALF).astype(np.float64), "containment": share},
        groups=texts,
        ids=[f"line {item.line}" for item in items],
        data_sha256=document_sha256(texts),
        show=lambda row: Example(
            id=f"line {items[row].line}", prompt=cut(texts[row]), reference="", candidate=f"{share[row]:.0%} contained"
        ),
        more=more,
        said=said,
    )


def _order(inputs: Inputs, texts: list[str]) -> Table:
    """Summed nats of every shard, in its own order and in others, under both models."""
    from radiograph.models import cross_entropy

    inputs.pair.check_tokenizers()
    sequences = _sequences(inputs, texts)
    found: dict[str, list[Any]] = {"side": [], "nats": []}
    with inputs.ctx.progress.task("orders of the benchmark", total=2) as task:
        for side, model in zip(SIDES, (inputs.pair.reference, inputs.pair.candidate), strict=True):
            nats = np.array([float(one.double().sum()) for one in cross_entropy(model, sequences)])
            by_shard = nats.reshape(-1, 1 + ORDERS)
            found["side"] += [side] * len(by_shard)
            found["nats"] += by_shard.tolist()
            task.advance()
    return found


def _sequences(inputs: Inputs, texts: list[str]) -> list[tuple[int, ...]]:
    """Every shard in its own order, then in the others; shards of which three items fit the context.

    Raises:
        Refusal: too few of them.
    """
    from radiograph.models import tokenize

    model = inputs.pair.reference
    tokens = [tokenize(model.tokenizer, text + "\n").ids for text in texts]
    count = min(SHARDS, len(tokens) // ITEMS)
    if count < ORDER_SHARDS:
        raise Refusal("few_shards", f"{len(tokens)} items make {count} shards", expected=f"{ORDER_SHARDS} or more")
    generator = np.random.default_rng(derive(inputs.ctx.seed, "order"))
    found: list[tuple[int, ...]] = []
    for own in np.array_split(np.arange(len(tokens)), count):
        sizes = np.cumsum([len(tokens[i]) for i in own])
        fitting = own[: int((sizes < model.context_length).sum())]
        if len(fitting) < ITEMS:
            continue
        orders = [fitting, *(generator.permutation(fitting) for _ in range(ORDERS))]
        found += [tuple(t for i in order for t in tokens[i]) for order in orders]
    if len(found) < ORDER_SHARDS * (1 + ORDERS):
        raise Refusal("few_shards", f"three items fit the context in {len(found) // (1 + ORDERS)} shards alone")
    return found
