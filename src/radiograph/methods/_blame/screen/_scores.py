"""What a probe reads of both answers to every prompt, and the same along random directions.

1. random directions: normal, with the covariance of what the reference's own answers are made of (the null of
   `probe build`), scaled so that these answers vary along them as much as along the probe: a direction that is loud
   for any text wins nothing by it
2. rows in blocks that hold whole prompts; in a block every different conversation runs through the model once, and
   one product reads all directions, so that memory holds a block, never a file
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from radiograph.core import Site, derive
from radiograph.core.shapes import Float, Float64, Int64
from radiograph.methods._blame.screen._answers import Paired, Pairs
from radiograph.methods._blame.screen._conclude import stands_out

if TYPE_CHECKING:
    from torch import Tensor

    from radiograph.core.progress import Progress
    from radiograph.methods._blame.targets import Learned, OfProbe
    from radiograph.models import LanguageModel

BATCH_TOKENS = 8192
DRAWS = 200
BLOCK = 4096
SAMPLE = 4096
"""Tokens of the reference's answers that give the covariance, about."""


@dataclass(frozen=True, eq=False)
class Scores:
    """Of every row what the probe reads of both answers, and the size of its score along random directions."""

    answer: Float64[np.ndarray, " row"]
    reference: Float64[np.ndarray, " row"]
    null: Float64[np.ndarray, " row"]
    different: np.ndarray
    """The first of equal rows."""
    mean: Float64[np.ndarray, " draw"]
    """Of the scores of different rows along each direction."""
    spread: Float64[np.ndarray, " draw"]
    strong: Int64[np.ndarray, " draw"]
    """How many of them stand out."""


@dataclass(frozen=True, eq=False)
class Reader:
    """A model, where its activations are read, and how."""

    model: LanguageModel
    site: Site
    value: OfProbe
    batch_tokens: int = BATCH_TOKENS

    def along(
        self, texts: Sequence[Learned], directions: Float64[np.ndarray, "width direction"]
    ) -> Float64[np.ndarray, "text direction"]:
        """Values of texts along directions."""
        import torch

        from radiograph.harvest.gradients import tokens_read
        from radiograph.models import stream

        own = torch.from_numpy(directions.astype(np.float32))
        out = np.empty((len(texts), directions.shape[1]))
        for batch, found in stream(self.model, [ids for ids, _ in texts], [self.site], batch_tokens=self.batch_tokens):
            read = self._read(tokens_read(batch, texts)).to(self.model.device)
            out[list(batch.rows)] = self.value.along(found[self.site].float(), read, own).double().cpu().numpy()
        return out

    def rows(self, texts: Sequence[Learned]) -> Float64[np.ndarray, "own width"]:
        """What is multiplied with directions."""
        from radiograph.harvest.gradients import tokens_read
        from radiograph.models import stream

        parts: list[np.ndarray] = []
        for batch, found in stream(self.model, [ids for ids, _ in texts], [self.site], batch_tokens=self.batch_tokens):
            read = self._read(tokens_read(batch, texts)).to(self.model.device)
            parts.append(self.value.rows(found[self.site].float(), read).double().cpu().numpy())
        return np.concatenate(parts)

    def _read(self, marks: Float[Tensor, "row token"]) -> Float[Tensor, "row token"]:
        """Of a probe that reads the last token, that of each answer alone."""
        if self.value.pool != "last":
            return marks
        return marks * (marks.flip(1).cumsum(1).flip(1) == 1)


def directions_of(
    reader: Reader, pairs: Pairs, seed: int, draws: int = DRAWS
) -> Float64[np.ndarray, "width direction"]:
    """The probe's direction, then random ones."""
    from radiograph.numerics.probes import covariance

    probe = reader.value.w.double().numpy()
    own = covariance(reader.rows(_sample(pairs)))
    rng = np.random.default_rng(derive(seed, "screen directions"))
    drawn = np.linalg.cholesky(own) @ rng.standard_normal((len(probe), draws))
    loud = np.sqrt(np.einsum("ij,ij->j", drawn, own @ drawn))
    drawn *= np.sqrt(probe @ own @ probe) / loud
    return np.column_stack([probe, drawn])


def _sample(pairs: Pairs) -> list[Learned]:
    """Answers of the reference, evenly over the prompts; the order of the file says nothing."""
    own = list({pair.prompt: pair.reference for pair in pairs.rows}.values())
    tokens = sum(sum(marks) for _, marks in own)
    wanted = max(1, min(len(own), round(len(own) * SAMPLE / max(tokens, 1))))
    return [own[i] for i in np.linspace(0, len(own) - 1, wanted).round().astype(int).tolist()]


def scores(
    reader: Reader, pairs: Pairs, directions: Float64[np.ndarray, "width direction"], progress: Progress
) -> Scores:
    """Every row, a block at a time."""
    count, draws = len(pairs.rows), directions.shape[1] - 1
    answer, reference, null = np.empty(count), np.empty(count), np.empty(count)
    different = np.empty(count, dtype=bool)
    total, squares, strong = np.zeros(draws), np.zeros(draws), np.zeros(draws, dtype=np.int64)
    with progress.task("answers read", count) as task:
        for place in _blocks(pairs.rows):
            block = pairs.rows[place]
            texts = list(dict.fromkeys(text for pair in block for text in (pair.own, pair.reference)))
            number = {text: i for i, text in enumerate(texts)}
            own = np.array([number[pair.own] for pair in block])
            said = np.array([number[pair.reference] for pair in block])
            values = reader.along(texts, directions)
            random = values[own, 1:] - values[said, 1:]
            answer[place], reference[place] = values[own, 0], values[said, 0]
            null[place] = np.sqrt(np.square(random).mean(1))
            first = np.zeros(len(block), dtype=bool)
            first[np.unique(own, return_index=True)[1]] = True
            different[place] = first
            total += random[first].sum(0)
            squares += np.square(random[first]).sum(0)
            strong += stands_out(random[first], null[place][first][:, None]).sum(0)
            task.advance(len(block))
    n = int(different.sum())
    mean = total / n
    spread = np.sqrt(np.maximum(squares / n - np.square(mean), 0.0))
    return Scores(answer, reference, null, different, mean, spread, strong)


def _blocks(rows: Sequence[Paired]) -> Iterator[slice]:
    """At least `BLOCK` rows each but for the last, whole prompts."""
    start = 0
    for stop in range(1, len(rows) + 1):
        ends = stop == len(rows) or (stop - start >= BLOCK and rows[stop].prompt != rows[stop - 1].prompt)
        if ends:
            yield slice(start, stop)
            start = stop
