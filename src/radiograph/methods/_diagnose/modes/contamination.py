"""How many items of a benchmark stand in the training rows."""

from __future__ import annotations

import numpy as np

from radiograph.core import Refusal
from radiograph.evidence.reportcard.card import Beside, Example
from radiograph.methods._diagnose.inputs import SHOWN, Found, Inputs, cut, need, text_of
from radiograph.numerics.reportcard import contained

LEAST, HALF = 2, 0.5


def measure(inputs: Inputs) -> Found:
    """Share of items of which half of the n-grams stand in the rows.

    Raises:
        Refusal: no training rows, or no benchmark.
    """
    from radiograph.evidence import document_sha256

    if inputs.config.benchmark is None:
        raise Refusal("no_benchmark", "no benchmark was given", fix="--benchmark ITEMS.jsonl")
    rows = inputs.training
    items = inputs.benchmark
    need(len(items), LEAST, "items of the benchmark")
    texts = [text_of(item) for item in items]
    share = np.array(contained(texts, [text_of(row) for row in rows], inputs.config.ngram))
    order = [int(k) for k in np.argsort(-share, kind="stable")[:SHOWN] if share[k] >= HALF]
    return Found(
        columns={"found": (share >= HALF).astype(np.float64), "containment": share},
        groups=texts,
        ids=[f"line {item.line}" for item in items],
        what=f"1 less the share of items of which half of the {inputs.config.ngram}-grams stand in the training rows",
        data_sha256=document_sha256(texts),
        beside=[Beside(name="mean containment", value=float(share.mean()), n=len(items))],
        examples=[
            Example(
                id=f"line {items[k].line}", prompt=cut(texts[k]), reference="", candidate=f"{share[k]:.0%} contained"
            )
            for k in order
        ],
    )
