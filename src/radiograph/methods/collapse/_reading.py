"""What a model that nothing was written into says of texts: how surprised it is, and whether they stay with the prompt.

1. NLL a token of the text given its prompt, in nats, from one forward pass over both, in batches; equal rows once
2. band: (NLL − median)/MAD over healthy text. Healthy: natural documents, the first third (at most a usual prompt) as
   prompt and what follows as text, cut to as many tokens as the texts may have. Under 20 such documents: no band
3. relevance: cosine of the mean half-depth `resid_post` over prompt and over text, first position left out, minus the
   mean of that text's cosines with the other prompts
Units: nats a token; MADs; cosines. A text of no token, or that the context does not hold, has none of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.core import Context, Site, UserError
from radiograph.core.shapes import Float64

if TYPE_CHECKING:
    from radiograph.methods.collapse._judged import TextRow
    from radiograph.models import LanguageModel

FEWEST = 20
"""Healthy documents below which there is no band."""
HEALTHY = 400
"""Healthy documents that are read."""
SHORTEST = 8
_Pair = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Said:
    """Of one text; None where it was not measured."""

    nll: float | None = None
    band: float | None = None
    relevance: float | None = None


@dataclass(frozen=True, slots=True)
class Band:
    """NLL a token of healthy text."""

    median: float
    mad: float
    n: int

    def of(self, nll: float) -> float:
        """In MADs from the median: below in loops, above in salad."""
        return (nll - self.median) / self.mad


@dataclass(frozen=True, eq=False)
class Reader:
    """A model that reads texts."""

    model: LanguageModel
    band: Band | None = None
    own: bool = False
    """The rows hold this model's tokens; else their texts are split anew."""

    def read(self, rows: Sequence[TextRow]) -> list[Said]:
        """NLL, band and relevance of each text under its prompt."""
        pairs = [self._pair(row) for row in rows]
        known = self._measured(pairs)
        prompts = {pair[0]: mean for pair, (_, _, mean) in known.items()}
        place = {prompt: number for number, prompt in enumerate(prompts)}
        across = np.stack(list(prompts.values())) if prompts else np.zeros((0, 1))
        said: dict[_Pair, Said] = {}
        for pair, (nll, text, _) in known.items():
            cosines: Float64[np.ndarray, " prompt"] = across @ text
            own = float(cosines[place[pair[0]]])
            others = (float(cosines.sum()) - own) / (len(prompts) - 1) if len(prompts) > 1 else None
            band = None if self.band is None else self.band.of(nll)
            said[pair] = Said(nll, band, None if others is None else own - others)
        return [said.get(pair, Said()) for pair in pairs]

    def nll(self, pairs: Sequence[_Pair]) -> list[float]:
        """NLL a token of each text that can be read."""
        return [nll for nll, _, _ in self._measured(pairs).values()]

    def _pair(self, row: TextRow) -> _Pair:
        from radiograph.models import prompt_ids

        if self.own and row.prompt_ids is not None and row.ids is not None:
            return row.prompt_ids, row.ids
        tokenizer = self.model.tokenizer
        assert tokenizer is not None, "checked where the model is asked for"
        return prompt_ids(tokenizer, row.prompt), tuple(tokenizer(row.text, add_special_tokens=False)["input_ids"])

    def _measured(self, pairs: Sequence[_Pair]) -> dict[_Pair, tuple[float, np.ndarray, np.ndarray]]:
        """NLL and the directions of both means, over the text and over the prompt: of each different pair."""
        from radiograph.models import batches, forward, reading

        longest = self.model.context_length
        every = list(dict.fromkeys(p for p in pairs if p[0] and p[1] and len(p[0]) + len(p[1]) <= longest))
        site = Site("resid_post", self.model.n_layers // 2)
        out: dict[_Pair, tuple[float, np.ndarray, np.ndarray]] = {}
        for batch in batches([a + b for a, b in every], device=self.model.device):
            with reading(self.model, [site]) as found:
                logits = forward(self.model, batch)
                states = found[site]
            nats = _nats(logits, batch.ids)
            for line, row in enumerate(batch.rows):
                start, end = len(every[row][0]), sum(map(len, every[row]))
                own = states[line].double().cpu().numpy()
                first = min(1, start - 1)
                out[every[row]] = (
                    float(nats[line, start - 1 : end - 1].mean()),
                    _unit(own[start:end].mean(0)),
                    _unit(own[first:start].mean(0)),
                )
        return {pair: out[pair] for pair in every}


def own_reader(model: LanguageModel, natural: Iterable[Any] | None, prompts: Sequence[int], new_tokens: int) -> Reader:
    """The reader of rows that the model itself has written; `prompts` are the lengths of theirs."""
    return _banded(Reader(model, own=True), natural, prompts, new_tokens)


def judge_reader(
    ctx: Context, reference: str, natural: Sequence[str], prompts: Sequence[int], new_tokens: int
) -> Reader:
    """The reader of `--judge`: any model, with its own tokenizer.

    Raises:
        UserError: a model without a tokenizer.
    """
    from radiograph.organisms import natural_sources

    model: LanguageModel = ctx.model(reference, "judge")
    if model.tokenizer is None:
        raise UserError("a judge needs a tokenizer", where=reference)
    sources = natural_sources(model.tokenizer, natural)
    return _banded(Reader(model), ctx.corpus(sources, role="natural") if sources else None, prompts, new_tokens)


def _banded(reader: Reader, natural: Iterable[Any] | None, prompts: Sequence[int], new_tokens: int) -> Reader:
    """With the band of healthy text, where there is enough of it."""
    from itertools import islice

    from radiograph.models import tokenize

    usual = max(1, int(np.median(prompts))) if len(prompts) else 1
    pairs: list[_Pair] = []
    for text in islice(natural or (), HEALTHY):
        ids = text.tokens or tokenize(reader.model.tokenizer, text.text).ids
        start = max(1, min(usual, len(ids) // 3))
        if len(ids) >= start + SHORTEST:
            pairs.append((tuple(ids[:start]), tuple(ids[start : start + new_tokens])))
    values = np.array(reader.nll(pairs))
    if len(values) < FEWEST:
        return reader
    median = float(np.median(values))
    mad = float(np.median(np.abs(values - median)))
    return replace(reader, band=Band(median, mad, len(values))) if mad > 0 else reader


def _nats(logits: Any, ids: Any) -> np.ndarray:
    """Loss of every token but the first."""
    import torch

    values = logits[:, :-1].float().transpose(1, 2)
    return torch.nn.functional.cross_entropy(values, ids[:, 1:].to(values.device), reduction="none").cpu().numpy()


def _unit(vector: np.ndarray) -> np.ndarray:
    norm = float(np.linalg.norm(vector))
    return vector / norm if norm else vector
