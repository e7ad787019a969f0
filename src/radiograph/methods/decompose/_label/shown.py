"""What a prompt shows of a component: tokens with their ratios, texts with marks. Everything as JSON, as data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from radiograph.core import derive
from radiograph.explanations import as_data, lines, marked_text
from radiograph.store.components import ComponentStatistics, Evidence, Examples, TokenCounts

ROWS = 12
TOGETHER = 8
KINDS = {
    "embed": "of the token embedding",
    "q": "of what queries read",
    "k": "of what keys read",
    "v": "of what values read",
    "o": "of what attention writes",
    "gate": "of what the gate of the MLP reads",
    "up": "of what the MLP reads",
    "down": "of what the MLP writes",
    "unembed": "of the unembedding",
}


def explains(seed: int, document: str) -> bool:
    """Whether a document may be shown to whoever writes labels; the others are kept to score them on."""
    return derive(seed, "reserved", document) % 2 == 0


def inputs(given: ComponentStatistics, counts: TokenCounts) -> str:
    """Tokens on which it fires: the commonest, then those of the largest PMI."""
    common = np.lexsort((np.arange(len(counts.count)), -counts.count))
    common = common[counts.count[common] > 0][:ROWS]
    own = list(dict.fromkeys([*common.tolist(), *counts.top[:ROWS].tolist()]))
    return lines([_row(given, counts, n, recall=True) for n in own])


def outputs(given: ComponentStatistics, counts: TokenCounts) -> str:
    """Tokens that are expected next: those of the largest PMI, then the likeliest."""
    likely = np.lexsort((np.arange(len(counts.count)), -counts.count))[:ROWS]
    own = list(dict.fromkeys([*counts.top[:ROWS].tolist(), *likely.tolist()]))
    return lines([_row(given, counts, n, recall=False) for n in own])


def examples(given: ComponentStatistics, found: Examples, seed: int, most: int, *, shift: int = 0) -> str:
    """Texts with marks where it fires, or `shift` tokens later; none of a document that is kept for scoring."""
    out: list[dict[str, Any]] = []
    for n in range(len(found)):
        if len(out) == most:
            break
        if explains(seed, found.documents[n]):
            fires = np.zeros(len(found.fires[n]), bool)
            fires[shift:] = found.fires[n][: len(fires) - shift]
            out.append({"text": marked_text(given.pieces(found.tokens[n]), fires.tolist())})
    return lines(out)


def together(given: ComponentStatistics, number: int) -> str:
    """What fires with it: ratios alone, no names."""
    other, count, ratios = given.cofire_ratios(number)
    at = np.lexsort((other, -ratios.jaccard))[:TOGETHER]
    rows = [
        {
            "component": given.addresses[int(other[n])],
            "jaccard": round(float(ratios.jaccard[n]), 3),
            "pmi": round(float(ratios.pmi[n]), 2),
            "n": int(count[n]),
        }
        for n in at.tolist()
    ]
    return lines(rows)


def related(rows: Sequence[tuple[str, float, str]]) -> str:
    """Edges with what the other end is called."""
    return lines([{"at": name, "strength": round(strength, 3), "called": label} for name, strength, label in rows])


def common(given: ComponentStatistics, evidence: Evidence, about: str) -> dict[str, str]:
    """Slots that every prompt has."""
    kind = evidence.row["weight"].removeprefix("identity.").partition(".")
    layer = f" in block {int(kind[2]) + 1}" if kind[2].isdigit() else ""
    del given
    return {
        "data": f"The texts: {as_data(about)}.",
        "component": as_data(evidence.address),
        "weight": f"a part {KINDS.get(kind[0], 'of a matrix')}{layer}",
        "density": f"{evidence.row['density']:.2%}",
    }


def _row(given: ComponentStatistics, counts: TokenCounts, n: int, *, recall: bool) -> dict[str, Any]:
    found = counts.ratios
    row: dict[str, Any] = {
        "token": given.vocabulary[int(counts.tokens[n])],
        "precision": round(float(found.precision[n]), 3),
    }
    if recall:
        row["recall"] = round(float(found.recall[n]), 3)
    return row | {"pmi": round(float(found.pmi[n]), 2), "n": round(float(counts.count[n]), 1)}
