"""A point on the straight path of the weights from the reference to the candidate.

Gradients at the end of training say little of what training did: rows that were learned by heart have almost none left.
At REF + a(CAND − REF) they have. An adapter's part of the path is that of its factors which begin at zero (B; A of an
embedding) and of whole copies of modules; those that begin at random stay. Weights come back bit for bit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from radiograph.core import Refusal
from radiograph.models._model import LanguageModel, Pair

_FROM_ZERO = re.compile(r"\.(?:lora_B|lora_embedding_A)\.")
_STAY = re.compile(r"\.(?:lora_A|lora_embedding_B)\.")
_COPY = re.compile(r"\.modules_to_save\.[^.]+")


@contextmanager
def on_path(pair: Pair, share: float) -> Iterator[LanguageModel]:
    """The candidate with the weights of that point, 0 the reference's and 1 its own, while the context is open.

    Raises:
        Refusal: `path_unknown`, where it does not show how a tensor began.
    """
    if share == 1.0:
        yield pair.candidate
        return
    with torch.no_grad(), pair.candidate.lock:
        moved = _ends(pair)
        kept = [(own, own.detach().clone()) for own, _ in moved]
        try:
            for own, start in moved:
                own.copy_(own * share if start is None else start.to(own) + (own - start.to(own)) * share)
            with torch.enable_grad():
                yield pair.candidate
        finally:
            for own, before in kept:
                own.copy_(before)


def _ends(pair: Pair) -> list[tuple[nn.Parameter, torch.Tensor | None]]:
    """Parameters that move, and where they began; None is zero."""
    if pair.candidate.adapter_on:
        return _of_adapter(pair.candidate)
    ours, theirs = pair.candidate.parameters(), pair.reference.parameters()
    out: list[tuple[nn.Parameter, torch.Tensor | None]] = []
    for name, own in ours.items():
        start = theirs.get(name)
        if start is None or start.shape != own.shape:
            raise _unknown(name, "another shape in the reference, or absent there")
        out.append((own, start))
    return out


def _of_adapter(model: LanguageModel) -> list[tuple[nn.Parameter, torch.Tensor | None]]:
    named = dict(model.model.named_parameters())
    base = {id(p) for p in model.parameters().values()}
    mine = re.compile(rf"\.{re.escape(str(model.adapter_name))}(?:\.|$)")
    out: list[tuple[nn.Parameter, torch.Tensor | None]] = []
    for name, own in named.items():
        if id(own) in base or not mine.search(name) or _STAY.search(name):
            continue
        if _FROM_ZERO.search(name):
            out.append((own, None))
        elif _COPY.search(name) and (start := named.get(_COPY.sub(".original_module", name))) is not None:
            out.append((own, start))
        else:
            raise _unknown(name, "not a factor that begins at zero, nor a copy of a module")
    return out


def _unknown(name: str, why: str) -> Refusal:
    return Refusal(
        "path_unknown",
        "the way from the reference to the candidate is not known, so gradients can be taken at its end alone",
        expected="LoRA factors, copies of modules, or weights of the reference's shapes",
        got=f"{name}: {why}",
        fix="--at 1",
    )
