"""Batched decoding with a cache: greedy, or sampled with a seed per row.

1. sort prompts by length, pad on the left   2. one forward over the prompts, then one token per step
3. a row ends at a stop token, at its token budget, or at the end of the context; rows that ended leave the batch once
they are half of it
Greedy ids equal Hugging Face's `generate(do_sample=False)` on each prompt alone. A sampled row depends on (seed, row)
and not on the batch it stands in. Works inside `edit`, whose functions then see new positions only.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache

from radiograph.core import UserError, derive
from radiograph.models._batching import Batch, Tokens, batches
from radiograph.models._forward import check_finite, check_tokens
from radiograph.models._hooks import running
from radiograph.models._model import LanguageModel

FinishReason = Literal["stop", "length", "context"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """Draw instead of taking the most likely token; `top_p` keeps the smallest set of tokens with that probability."""

    seed: int
    temperature: float = 1.0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not (self.temperature > 0 and 0 < self.top_p <= 1):
            raise UserError(
                "sampling needs temperature > 0 and 0 < top_p <= 1",
                got=f"{self.temperature}, {self.top_p}",
                where="sampling",
            )


@dataclass(frozen=True, slots=True)
class Generated:
    """One continuation. `ids` exclude the prompt and include the stop token, which `text` leaves out."""

    ids: tuple[int, ...]
    text: str | None
    finish: FinishReason
    n_prompt: int

    @property
    def n_tokens(self) -> int:
        """Tokens generated, the stop token included."""
        return len(self.ids)


def generate(
    model: LanguageModel,
    prompts: Tokens,
    *,
    max_new_tokens: int,
    sampling: Sampling | None = None,
    stop: Sequence[int] | None = None,
    batch_tokens: int = 8192,
    batch_rows: int = 64,
) -> list[Generated]:
    """Continue every prompt; results in the prompts' order.

    Args:
        model: the model, inside or outside an `edit`.
        prompts: token ids per prompt.
        max_new_tokens: budget per prompt.
        sampling: None decodes greedily.
        stop: ids that end a row; None takes those of the generation config and the tokenizer.
        batch_tokens: padded prompt tokens per batch.
        batch_rows: prompts per batch.

    Raises:
        UserError: an empty prompt, a prompt that fills the context, logits that are not finite.
    """
    check_tokens(model, prompts)
    stops = frozenset(stop_ids(model) if stop is None else stop)
    results: list[Generated | None] = [None] * len(prompts)
    for batch in batches(prompts, batch_tokens=batch_tokens, batch_rows=batch_rows, left=True, device=model.device):
        lengths = [len(prompts[row]) for row in batch.rows]
        budgets = [min(max_new_tokens, model.context_length - n) for n in lengths]
        with torch.inference_mode(), model.session():
            new = _Decoder(model, batch, budgets, stops, sampling).run()
        for row, ids, budget, n_prompt in zip(batch.rows, new, budgets, lengths, strict=True):
            results[row] = _result(model, ids, stops, n_prompt, cut=budget < max_new_tokens)
    return [result for result in results if result is not None]


def stop_ids(model: LanguageModel) -> tuple[int, ...]:
    """End-of-sequence ids of the generation config, the config and the tokenizer together."""
    found: set[int] = set()
    sources = (getattr(model.model, "generation_config", None), model.model.config, model.tokenizer)
    for value in (getattr(source, "eos_token_id", None) for source in sources):
        found.update(value if isinstance(value, list | tuple) else [] if value is None else [value])
    return tuple(sorted(found))


class _Decoder:
    """The state of one batch while it decodes."""

    def __init__(
        self,
        model: LanguageModel,
        batch: Batch,
        budgets: list[int],
        stops: frozenset[int],
        sampling: Sampling | None,
    ) -> None:
        self.model, self.batch, self.budgets, self.stops, self.sampling = model, batch, budgets, stops, sampling
        self.cache = DynamicCache(config=model.model.config)
        known = inspect.signature(model.model.forward).parameters
        self.options = {"logits_to_keep": 1} if "logits_to_keep" in known else {}
        self.new: list[list[int]] = [[] for _ in batch.rows]
        self.live = list(range(len(batch.rows)))  # batch rows still in the cache, in cache order
        seeds = [] if sampling is None else [derive(sampling.seed, "generate", row) for row in batch.rows]
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def run(self) -> list[list[int]]:
        mask = self.batch.mask.long()
        step, positions = self.batch, self.batch.positions
        if not any(self.budgets):
            return self.new
        while True:
            scores = self._forward(step, mask, positions)
            chosen = self._choose(scores)
            for index, token in zip(self.live, chosen.tolist(), strict=True):
                if not self._ended(index):
                    self.new[index].append(token)
            going = [place for place, index in enumerate(self.live) if not self._ended(index)]
            if not going:
                return self.new
            if 2 * len(going) <= len(self.live):
                keep = torch.tensor(going, device=mask.device)
                self.cache.batch_select_indices(keep)
                self.live = [self.live[place] for place in going]
                mask, positions, chosen = mask[keep], positions[keep], chosen[keep]
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], -1)
            positions = positions[:, -1:] + 1
            rows = tuple(self.batch.rows[index] for index in self.live)
            step = Batch(rows, chosen[:, None], torch.ones_like(chosen[:, None], dtype=torch.bool), left=True)

    def _forward(
        self, step: Batch, mask: Int[Tensor, "live all"], positions: Tensor
    ) -> Float[Tensor, "live vocabulary"]:
        with running(step):
            output = self.model.model(
                input_ids=step.ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=self.cache,
                use_cache=True,
                **self.options,
            )
        last = output.logits[:, -1:]
        check_finite(last, Batch(step.rows, step.ids[:, -1:], step.mask[:, -1:]), "logits")
        return last[:, 0]

    def _choose(self, scores: Float[Tensor, "live vocabulary"]) -> Int[Tensor, " live"]:
        if self.sampling is None:
            return scores.argmax(-1)
        probabilities = (scores.float() / self.sampling.temperature).softmax(-1).cpu()
        sorted_, ids = torch.sort(probabilities, dim=-1, descending=True, stable=True)
        kept = sorted_.masked_fill(sorted_.cumsum(-1) - sorted_ >= self.sampling.top_p, 0.0)
        drawn = [
            torch.multinomial(row, 1, generator=self.generators[i]) for i, row in zip(self.live, kept, strict=True)
        ]
        return ids.gather(-1, torch.stack(drawn))[:, 0].to(scores.device)

    def _ended(self, index: int) -> bool:
        ids = self.new[index]
        return len(ids) >= self.budgets[index] or (bool(ids) and ids[-1] in self.stops)


def _result(model: LanguageModel, ids: list[int], stops: frozenset[int], n_prompt: int, *, cut: bool) -> Generated:
    stopped = bool(ids) and ids[-1] in stops
    finish: FinishReason = "stop" if stopped else "context" if cut else "length"
    shown = ids[:-1] if stopped else ids
    text = None if model.tokenizer is None else str(model.tokenizer.decode(shown, skip_special_tokens=True))
    return Generated(tuple(ids), text, finish, n_prompt)
