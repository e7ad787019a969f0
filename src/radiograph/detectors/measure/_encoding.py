"""Both models' activations at a dictionary's site, as pooled features: one pass, several codecs, bounded memory.

For each batch of identical token ids: capture the site in the reference and in the candidate, encode both, and add the
kept tokens' activations to their prompts (mean over kept tokens). Equal models give differences of exactly 0.
`skip_first` keeps every token but the first; `content` keeps the tokens of message contents and plain text, without
special and template tokens. A prompt that would keep nothing keeps all of its tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from radiograph.core import Site
from radiograph.core.codec import Codec, Codes
from radiograph.core.shapes import Bool, Float, Float64, Int
from radiograph.detectors._shifts import Reduce
from radiograph.models import Batch, LanguageModel, Pair, stream
from radiograph.models import Prompt as Rendered


@dataclass
class Pooled:
    """One codec's activations over prompts, summed so far or (after `finish`) averaged."""

    reference: Float64[np.ndarray, "prompt feature"]
    candidate: Float64[np.ndarray, "prompt feature"]
    n_tokens: Int[np.ndarray, " prompt"]
    sums: Float64[np.ndarray, " feature"]
    """Sum of the reference's token activations."""
    squares: Float64[np.ndarray, " feature"]
    active: Float64[np.ndarray, " feature"]
    """Reference tokens on which each feature fires."""
    missed: Float64[np.ndarray, " prompt"]
    """Squared norm of the activation shift that the codec does not carry."""
    shift: Float64[np.ndarray, " prompt"]
    """Squared norm of the activation shift."""

    @classmethod
    def empty(cls, prompts: int, features: int) -> Pooled:
        """All zero."""
        wide, tall = np.zeros((prompts, features)), np.zeros(features)
        rows = np.zeros(prompts)
        return cls(wide, wide.copy(), np.zeros(prompts, np.int64), tall, tall.copy(), tall.copy(), rows, rows.copy())

    def finish(self) -> Pooled:
        """Sums over tokens become means."""
        counts = self.n_tokens[:, None]
        self.reference /= counts
        self.candidate /= counts
        return self


def kept_tokens(prompts: Sequence[Rendered], reduce: Reduce) -> list[Bool[np.ndarray, " token"]]:
    """Mask of the tokens that count, per prompt."""
    masks: list[Bool[np.ndarray, " token"]] = []
    for prompt in prompts:
        if reduce == "content":
            mask = np.array([kind == "content" for kind in prompt.kinds])
        else:
            mask = np.arange(len(prompt.ids)) > 0
        masks.append(mask if mask.any() else np.ones(len(prompt.ids), bool))
    return masks


def encode_pair(pair: Pair, codecs: Sequence[Codec], prompts: Sequence[Rendered], reduce: Reduce) -> list[Pooled]:
    """Pooled features of every codec over the prompts; all codecs read the same site."""
    site = Site.parse(codecs[0].sites[0])
    masks = kept_tokens(prompts, reduce)
    pools = [Pooled.empty(len(prompts), codec.size) for codec in codecs]
    tokens = [prompt.ids for prompt in prompts]
    runs = zip(stream(pair.reference, tokens, [site]), stream(pair.candidate, tokens, [site]), strict=True)
    for (batch, ours), (_, theirs) in runs:
        keep, owner = _kept(batch, masks)
        reference, candidate = ours[site][keep].float(), theirs[site][keep].float()
        for codec, pool in zip(codecs, pools, strict=True):
            _add(pool, codec, reference, candidate, owner)
    return [pool.finish() for pool in pools]


def _kept(batch: Batch, masks: Sequence[Bool[np.ndarray, " token"]]) -> tuple[Bool[Tensor, "batch position"], Tensor]:
    """The batch's kept positions, and the prompt that each kept row belongs to, in the order of boolean indexing."""
    keep = torch.zeros_like(batch.mask)
    for index, row in enumerate(batch.rows):
        keep[index, : len(masks[row])] = torch.from_numpy(masks[row]).to(keep.device)
    owner = torch.tensor(batch.rows)[:, None].expand(keep.shape)[keep.cpu()]
    return keep, owner


def _add(pool: Pooled, codec: Codec, reference: Tensor, candidate: Tensor, owner: Tensor) -> None:
    ours, theirs = codec.encode(reference), codec.encode(candidate)
    prompts = owner.numpy()
    _accumulate(pool.reference, ours, prompts)
    _accumulate(pool.candidate, theirs, prompts)
    np.add.at(pool.n_tokens, prompts, 1)
    index, value = ours.indices.cpu().numpy(), ours.values.double().cpu().numpy()
    pool.sums += np.bincount(index, value, codec.size)
    pool.squares += np.bincount(index, value * value, codec.size)
    pool.active += np.bincount(index, minlength=codec.size)
    shift = (candidate - reference).double()
    carried = (codec.decode(theirs, candidate) - codec.decode(ours, reference)).double()
    rows = len(pool.shift)
    pool.shift += np.bincount(prompts, shift.square().sum(-1).cpu().numpy(), rows)
    pool.missed += np.bincount(prompts, (shift - carried).square().sum(-1).cpu().numpy(), rows)


def _accumulate(total: Float64[np.ndarray, "prompt feature"], codes: Codes, prompts: Int[np.ndarray, " row"]) -> None:
    rows, features = total.shape
    flat = prompts[codes.rows.cpu().numpy()] * features + codes.indices.cpu().numpy()
    total += np.bincount(flat, codes.values.double().cpu().numpy(), rows * features).reshape(rows, features)


def site_rows(
    model: LanguageModel, prompts: Sequence[Rendered], site: Site, reduce: Reduce, limit: int
) -> Float[Tensor, "row width"]:
    """The first `limit` kept activation rows of a site, in prompt order."""
    masks = kept_tokens(prompts, reduce)
    counts = np.cumsum([mask.sum() for mask in masks])
    enough = int(np.searchsorted(counts, limit)) + 1
    rows: dict[int, Tensor] = {}
    for batch, found in stream(model, [p.ids for p in prompts[:enough]], [site]):
        for index, row in enumerate(batch.rows):
            mask = torch.from_numpy(masks[row])
            rows[row] = found[site][index, : len(mask)][mask.to(found[site].device)].float()
    return torch.cat([rows[row] for row in sorted(rows)])[:limit]
