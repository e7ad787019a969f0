"""A decomposition of the bundled base whose components are known: detectors of tokens in `embed`, others beside.

Component n of `embed` reads the nth token that was asked for; its importance is 1 there and 0 elsewhere.
"""

from __future__ import annotations

from pathlib import Path

import torch

from radiograph import decompose
from radiograph.decompose.importance import Size, new
from radiograph.models import LanguageModel, load
from radiograph.models.masked import Factors, of_model
from radiograph.organisms import bundled_path


def base() -> LanguageModel:
    return load(str(bundled_path("base")))


def tokens_of(model: LanguageModel, words: list[str]) -> list[int]:
    """Tokens that each word is, with the space before it."""
    found = []
    for word in words:
        (token,) = model.tokenizer(f" {word}", add_special_tokens=False)["input_ids"]
        found.append(token)
    return found


def planted(model: LanguageModel, tokens: list[int]) -> decompose.Decomposition:
    """`embed` reads each of `tokens`; `up.1` and `down.1` have six components each, cut from their singular vectors."""
    target = of_model(model)
    reads = torch.zeros(target.place("embed").inputs, len(tokens))
    reads[tokens, torch.arange(len(tokens))] = 1.0
    factors = {"embed": Factors(reads, target.matrix("embed").T[tokens].clone())}
    for weight in ("up.1", "down.1"):
        u, s, v = torch.linalg.svd(target.matrix(weight), full_matrices=False)
        factors[weight] = Factors(v[:6].T.contiguous(), (u[:, :6] * s[:6]).T.contiguous())
    sizes = {
        w: Size(target.place(w).outputs if w == "embed" else target.place(w).inputs, f.size) for w, f in factors.items()
    }
    judge = new("scalar", {"hidden": 1}, sizes, torch.Generator().manual_seed(0), {})
    for weight in sizes:
        # GELU(10 h) · .15 − .5 is 1 at h = 1 and below 0 at h = 0.
        for name, value in {"in": 10.0, "in_bias": 0.0, "out": 0.15, "out_bias": -0.5}.items():
            judge.tensors[f"{weight}/{name}"].fill_(value)
    return decompose.make(target, factors, judge)


def saved(model: LanguageModel, tokens: list[int], folder: Path) -> Path:
    decompose.save(planted(model, tokens), folder)
    return folder


def write_planted(folder: Path) -> None:
    """A few detectors of frequent words, for whoever wants some decomposition."""
    model = base()
    saved(model, tokens_of(model, ["the", "to", "is"]), folder)
