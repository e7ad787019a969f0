"""From rows to the few entries that count, one chunk of pre-activations at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from radiograph.core.shapes import Float, Int
from radiograph.dictionaries.training._losses import Objective
from radiograph.dictionaries.training._step._buffers import Buffers
from radiograph.dictionaries.training._step._rules import Local, candidates
from radiograph.dictionaries.training._weights import Weights
from radiograph.numerics.sparse import BatchTop, Places, fresh, linear, top_k

# Just below 32 MiB, at which the C library would give every chunk fresh pages from the system.
BUFFER_BYTES: Final = {"cpu": 31 * 2**20, "cuda": 512 * 2**20}
DENSE_SHARE: Final = 1 / 16
GUESS: Final = 0.9


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """Entries of some rows, by row and then by feature."""

    rows: Int[Tensor, " entry"]
    features: Int[Tensor, " entry"]
    pre: Float[Tensor, " entry"]
    """π of each; below 0 only where a kernel window reaches there, or where topk finds too few above 0."""

    def __len__(self) -> int:
        return len(self.features)

    def local(self, features: Local) -> dict[str, Tensor]:
        """Per-feature tensors, one value per entry."""
        return {name: tensor[self.features] for name, tensor in features.items()}


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Neighbouring rows of the batch: `entries`, or where these are too many the whole table `pre`."""

    rows: slice
    entries: Entries | None = None
    pre: Float[Tensor, "row feature"] | None = None
    silent: Entries | None = None
    """The largest dead features of each row."""


def chunks(
    centred: Float[Tensor, "row width"],
    weights: Weights,
    objective: Objective,
    features: Local,
    silent: tuple[Int[Tensor, " dead"], int] | None,
    buffers: Buffers,
) -> Iterator[Chunk]:
    """The batch in order. `silent`: the dead features, and how many of them each row asks for."""
    if objective.activation == "batchtopk":
        yield from _batch_top(centred, weights, objective, features, silent, buffers)
        return
    for part, scores in _scores(centred, weights, features, buffers):
        found = None if silent is None else _silent(scores, silent, features)
        if objective.activation == "topk":
            yield Chunk(part, _top(scores, objective.k, features), silent=found)
        else:
            yield _sparse_or_dense(part, scores, objective, features)


def _scores(
    centred: Float[Tensor, "row width"], weights: Weights, features: Local, buffers: Buffers
) -> Iterator[tuple[slice, Float[Tensor, "part feature"]]]:
    """π·s of one chunk after another; the next chunk may overwrite it."""
    size = len(weights.encoder)
    budget = BUFFER_BYTES.get(centred.device.type, BUFFER_BYTES["cpu"])
    # Without a buffer the chunk before is still held while the next one is made.
    budget = budget // 2 if fresh(centred) else budget
    chunk = max(1, min(len(centred), budget // (size * centred.element_size())))
    buffer = None if fresh(centred) else buffers.take("scores", (chunk, size), centred)
    for start in range(0, len(centred), chunk):
        rows = centred[start : start + chunk]
        out = None if buffer is None else buffer[: len(rows)]
        scores = linear(rows, weights.encoder, weights.encoder_bias, out)
        if "scale" in features:
            scores.mul_(features["scale"])
        yield slice(start, start + len(rows)), scores


def _top(scores: Float[Tensor, "row feature"], k: int, features: Local) -> Entries:
    found, columns = top_k(scores, k)
    rows = torch.arange(len(scores), device=scores.device).repeat_interleave(k)
    return _entries(rows, columns.flatten(), found.flatten(), features)


def _silent(scores: Float[Tensor, "row feature"], silent: tuple[Tensor, int], features: Local) -> Entries:
    dead, k = silent
    found, columns = top_k(scores.index_select(1, dead), k)
    rows = torch.arange(len(scores), device=scores.device).repeat_interleave(k)
    return _entries(rows, dead[columns.flatten()], found.flatten(), features)


def _entries(rows: Tensor, columns: Tensor, scores: Tensor, features: Local) -> Entries:
    pre = scores / features["scale"][columns] if "scale" in features else scores
    return Entries(rows, columns.int(), pre)


def _sparse_or_dense(part: slice, scores: Float[Tensor, "row feature"], objective: Objective, features: Local) -> Chunk:
    rows, size = scores.shape
    place = candidates(scores, objective, features).flatten().nonzero().squeeze(1)
    if len(place) > DENSE_SHARE * rows * size:
        return Chunk(part, pre=scores.div_(features["scale"]) if "scale" in features else scores)
    return Chunk(part, _entries(place // size, place % size, scores.flatten()[place], features))


def _batch_top(
    centred: Float[Tensor, "row width"],
    weights: Weights,
    objective: Objective,
    features: Local,
    silent: tuple[Tensor, int] | None,
    buffers: Buffers,
) -> Iterator[Chunk]:
    """Candidates of all chunks, one selection, then the chunks again with what they keep of it."""
    chosen: Places | None = None
    for guess in (GUESS * buffers.bound, 0.0):
        top = BatchTop(objective.k * len(centred), guess)
        parts: list[slice] = []
        dead: list[Entries | None] = []
        for part, scores in _scores(centred, weights, features, buffers):
            top.add(scores)
            parts.append(part)
            dead.append(None if silent is None else _silent(scores, silent, features))
        chosen = top.finish()
        if chosen is not None:
            break
    assert chosen is not None
    size = len(weights.encoder)
    buffers.bound = float(chosen.score.min()) if len(chosen) else 0.0
    rows = chosen.place // size
    ends = torch.searchsorted(rows, torch.tensor([part.stop for part in parts], device=rows.device)).tolist()
    for part, start, end, found in zip(parts, [0, *ends], ends, dead, strict=False):
        kept = chosen[start:end]
        yield Chunk(part, _entries(rows[start:end] - part.start, kept.place % size, kept.score, features), silent=found)
