"""Texts with planted features, and a judge that takes explanations at their word."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from radiograph.explanations import Material, Passages
from radiograph.numerics.explanations import csr
from radiograph.store.records import Header, RecordsModel

WORDS = [f"w{n}" for n in range(30)] + ["km", "five", "seven", "red", "not", "Anna", "."]
PLANTED = ("km", "after five or seven", "red and not after not", "noise")
HEADER = Header(
    model=RecordsModel(ref="m"), tokenizer_sha256=None, sites=("resid_post.1",), dictionary_sha256="d" * 64, features=0
)


def material(texts: int = 120, length: int = 24, seed: int = 0) -> Material:
    """`PLANTED` features over random texts, two texts a group."""
    rng = np.random.default_rng(seed)
    weight = np.where(np.array(WORDS) == "not", 5.0, 1.0)
    tokens = rng.choice(len(WORDS), texts * length, p=weight / weight.sum())
    word = np.array(WORDS)[tokens]
    before = np.concatenate([[""], word[:-1]])
    before[np.arange(texts) * length] = ""
    where = [
        word == "km",
        np.isin(before, ["five", "seven"]),
        (word == "red") & (before != "not"),
        rng.random(len(tokens)) < 0.04,
    ]
    row = np.concatenate([np.full(int(own.sum()), n) for n, own in enumerate(where)])
    column = np.concatenate([np.flatnonzero(own) for own in where])
    value = rng.uniform(1, 2, len(row))
    passages = Passages(
        tuple(f" {w}" for w in WORDS),
        tokens.astype(np.int64),
        np.arange(texts, dtype=np.int64) * length,
        tuple(f"p{n:03d}" for n in range(texts)),
        tuple(f"g{n // 2:03d}" for n in range(texts)),
    )
    fires = csr(value, row, column, (len(where), len(tokens)))
    return Material(passages, fires, np.arange(len(where)), tuple(f"f#{n}" for n in range(len(where))))


def judge(payload: dict[str, Any], number: int) -> str:
    """Says that a text fires where a word of the explanation in quotation marks stands in it (or is marked)."""
    del number
    content = payload["messages"][0]["content"]
    said = json.loads(content.split("explanation:\n", 1)[1].split("\n", 1)[0])
    words = re.findall(r"“([^”]+)”", said)
    if "JSON list" in content:
        tokens = json.loads(content.split("JSON list:\n", 1)[1].split("\n", 1)[0])
        return json.dumps({"values": [10 if token.strip() in words else 0 for token in tokens]})
    lines = [json.loads(line) for line in content.splitlines() if line.startswith('{"n": ') and '"text"' in line]
    labels = [{"n": line["n"], "fires": _holds(line["text"], words)} for line in lines]
    return json.dumps({"labels": labels})


def _holds(text: str, words: list[str]) -> bool:
    marked = re.findall(r"⟪([^⟫]*)⟫", text)
    found = " ".join(marked).split() if marked else text.split()
    return any(word in found for word in words)
