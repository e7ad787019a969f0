"""The next token of every row: penalties, filters, then the largest logit, with noise where it is sampled.

1. repetition penalty over prompt and text (Keskar et al. 2019): positive logits divided, negative multiplied
2. no n-gram twice: the tokens that would complete one are ruled out
3. greedy: the largest; the gap to the second is kept, because it says how small a change would have chosen otherwise
4. sampled: logits / temperature; the k largest; of those the smallest set whose probability reaches p; Gumbel noise
   (`_luck`) over what is left, and the largest
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from radiograph.core.shapes import Float, Int
from radiograph.evidence import Decoding
from radiograph.models.decoding._luck import gumbel, luck_key


class Chooser:
    """Chooses for the rows of one batch; `live` are the numbers of the rows that are asked about."""

    def __init__(
        self,
        decoding: Decoding,
        prompts: Sequence[Sequence[int]],
        samples: Sequence[int],
        vocabulary: int,
        device: torch.device,
    ) -> None:
        self.decoding = decoding
        self._texts = [list(ids) for ids in prompts]
        self._seen: Tensor | None = None
        if decoding.repetition_penalty != 1:
            self._seen = torch.zeros(len(prompts), vocabulary, dtype=torch.bool, device=device)
            for row, ids in enumerate(prompts):
                self._seen[row, torch.tensor(ids, dtype=torch.long, device=device)] = True
        if decoding.mode == "sample":
            keys = {ids: luck_key(decoding.seed, ids) for ids in set(map(tuple, prompts))}
            self._keys = torch.tensor([keys[tuple(ids)] for ids in prompts], device=device)
            self._samples = torch.tensor(list(samples), device=device)

    def choose(
        self, logits: Float[Tensor, "live vocabulary"], live: Sequence[int], step: int
    ) -> tuple[Int[Tensor, " live"], Float[Tensor, " live"]]:
        """Tokens, and the gap between the two best after penalties."""
        scores = self._penalised(logits.float(), live)
        best = scores.topk(min(2, scores.shape[-1]), -1)
        gap = best.values[:, 0] - best.values[:, -1]
        if self.decoding.mode == "greedy":
            return best.indices[:, 0], gap
        return self._drawn(scores, live, step), gap

    def note(self, row: int, token: int) -> None:
        """A token that a row now holds."""
        self._texts[row].append(token)
        if self._seen is not None:
            self._seen[row, token] = True

    def _penalised(self, scores: Float[Tensor, "live vocabulary"], live: Sequence[int]) -> Tensor:
        penalty, n = self.decoding.repetition_penalty, self.decoding.no_repeat_ngram
        if self._seen is not None:
            seen = self._seen[torch.tensor(live, device=scores.device)]
            scores = torch.where(seen, torch.where(scores > 0, scores / penalty, scores * penalty), scores)
        if n:
            scores = scores.clone()
            for place, row in enumerate(live):
                if banned := _completing(self._texts[row], n):
                    scores[place, torch.tensor(sorted(banned), device=scores.device)] = -torch.inf
        return scores

    def _drawn(self, scores: Float[Tensor, "live vocabulary"], live: Sequence[int], step: int) -> Int[Tensor, " live"]:
        rows = torch.tensor(live, device=scores.device)
        keys, samples = self._keys[rows], self._samples[rows]
        scaled = scores.double() / self.decoding.temperature
        k, p = self.decoding.top_k, self.decoding.top_p
        if not k and p == 1:
            return (scaled + gumbel(keys, samples, step, scaled.shape[-1])).argmax(-1)
        if k:
            scaled, ids = scaled.topk(min(k, scaled.shape[-1]), -1)
        else:
            scaled, ids = torch.sort(scaled, dim=-1, descending=True, stable=True)
        if p < 1:
            share = scaled.softmax(-1)
            scaled = scaled.masked_fill(share.cumsum(-1) - share >= p, -torch.inf)
        place = (scaled + gumbel(keys, samples, step, ids)).argmax(-1, keepdim=True)
        return ids.gather(-1, place)[:, 0]


def _completing(ids: Sequence[int], n: int) -> set[int]:
    """Tokens that would make the last n - 1 and themselves an n-gram that stands there already."""
    if len(ids) < n:
        return set()
    last = tuple(ids[len(ids) - n + 1 :])
    return {ids[i + n - 1] for i in range(len(ids) - n + 1) if tuple(ids[i : i + n - 1]) == last}
