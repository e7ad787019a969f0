"""Noise for sampling that no neighbour can move: a pure function of seed, prompt, sample, step and token.

1. Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3; SC 2011) turns a counter and
   a key into four 32-bit words
2. key = 64 bits of (seed, token ids of the prompt); counter = (token ÷ 4, step, sample, 0); word = token mod 4
3. u = (word + ½) / 2³²; Gumbel noise −log(−log u) in float64
The token with the largest logit + noise is a draw from the softmax. Rows with the same prompt, sample and seed share
their noise, whatever is written into them: paired conditions differ by the model's logits alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from radiograph.core import derive
from radiograph.core.shapes import Float64, Int

_WORD = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10


def luck_key(seed: int, ids: Sequence[int]) -> int:
    """The key of a prompt: equal seeds and token ids give equal luck."""
    return derive(seed, "luck", *ids)


def philox(
    counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Four 32-bit words, in int64 tensors, of 32-bit counters and keys that broadcast against each other."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        # A product of two 32-bit words wraps in int64, and its bits are still those of the unsigned product.
        first, second = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            ((second >> 32) & _WORD) ^ c1 ^ k0,
            second & _WORD,
            ((first >> 32) & _WORD) ^ c3 ^ k1,
            first & _WORD,
        )
        k0, k1 = (k0 + _WEYL[0]) & _WORD, (k1 + _WEYL[1]) & _WORD
    return c0, c1, c2, c3


def gumbel(
    keys: Int[Tensor, " row"],
    samples: Int[Tensor, " row"],
    step: int,
    tokens: Int[Tensor, "row token"] | int,
) -> Float64[Tensor, "row token"]:
    """Noise of some tokens of each row, or of the first `tokens` of the vocabulary."""
    key = (keys[:, None] & _WORD, (keys[:, None] >> 32) & _WORD)
    sample, zero = samples[:, None], torch.zeros_like(samples[:, None])
    now = torch.full_like(sample, step)
    if isinstance(tokens, int):
        blocks = torch.arange((tokens + 3) // 4, device=keys.device)[None]
        words = torch.stack(philox((blocks, now, sample, zero), key), -1).flatten(1)[:, :tokens]
    else:
        every = torch.stack(philox((tokens >> 2, now, sample, zero), key), -1)
        words = every.gather(-1, (tokens & 3)[..., None])[..., 0]
    return -torch.log(-torch.log((words.double() + 0.5) / 2.0**32))
