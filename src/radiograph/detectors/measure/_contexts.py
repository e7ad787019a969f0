"""What a feature looks like to a person: the tokens it pushes, and the places where it fires.

Logit effect of a direction: unembedding times (gain of the final norm times direction), the part of its write that goes
straight to the logits. Examples: the strongest of the tokens that count (`kept_tokens`) with what stands around them,
under whichever model fires harder there; every example shows another text.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

import numpy as np
import torch
from torch import Tensor

from radiograph.core import Site
from radiograph.core.codec import Codec, Codes
from radiograph.core.shapes import Float, Float32
from radiograph.detectors.measure._encoding import Reduce, kept_tokens
from radiograph.evidence import Example
from radiograph.models import LanguageModel, Pair, stream, token_text
from radiograph.models import Prompt as Rendered

LOGITS = 5
EXAMPLES = 3
WINDOW = 8
"""Tokens shown on each side of a peak."""

Effects = tuple[tuple[tuple[str, float], ...], tuple[tuple[str, float], ...]]


def logit_effects(model: LanguageModel, directions: Float[Tensor, "feature width"]) -> list[Effects]:
    """The tokens that each direction raises and lowers most, with the change of the logit per unit of the feature."""
    head = model.model.get_output_embeddings()
    if head is None or not len(directions):
        return [((), ())] * len(directions)
    with torch.inference_mode():
        pushed = directions.to(model.device) * _norm_gain(model)
        effects = (pushed @ head.weight.float().T)[:, : model.vocab_size - model.spare_rows]
    rows: list[Effects] = []
    for row in effects:
        high, low = row.topk(LOGITS), (-row).topk(LOGITS)
        rows.append((_named(model, high.indices, row), _named(model, low.indices, row)))
    return rows


def feature_examples(
    pair: Pair, codec: Codec, features: Sequence[int], prompts: Sequence[Rendered], reduce: Reduce
) -> dict[int, tuple[Example, ...]]:
    """Up to three places per feature, the strongest first, each of another text."""
    if not features:
        return {}
    site = Site.parse(codec.sites[0])
    tokens = [p.ids for p in prompts]
    fired = {
        "reference": _activations(pair.reference, codec, site, features, tokens),
        "candidate": _activations(pair.candidate, codec, site, features, tokens),
    }
    masks = kept_tokens(prompts, reduce)
    found: dict[int, tuple[Example, ...]] = {}
    for column, feature in enumerate(features):
        counted = {
            side: [np.where(m, r[:, column], 0) for m, r in zip(masks, rows, strict=True)]
            for side, rows in fired.items()
        }
        peaks = sorted(
            ((float(values.max()), side, row) for side, rows in counted.items() for row, values in enumerate(rows)),
            key=lambda peak: (-peak[0], peak[1] != "reference", peak[2]),
        )
        chosen: dict[tuple[str, ...], Example] = {}
        for value, side, row in peaks:
            if value <= 0 or len(chosen) == EXAMPLES:
                break
            first, peak = int(masks[row].argmax()), int(counted[side][row].argmax())
            example = _example(pair.reference, tokens[row], fired[side][row][:, column], side, first, peak)
            chosen.setdefault(example.tokens, example)
        found[feature] = tuple(chosen.values())
    return found


def _activations(
    model: LanguageModel, codec: Codec, site: Site, features: Sequence[int], tokens: Sequence[tuple[int, ...]]
) -> list[Float32[np.ndarray, "token feature"]]:
    """The chosen features' activations on every token, per prompt."""
    rows: list[Float32[np.ndarray, "token feature"]] = [np.zeros((0, 0), np.float32)] * len(tokens)
    column = torch.full((codec.size,), -1)
    column[torch.tensor(list(features), dtype=torch.long)] = torch.arange(len(features))
    for batch, found in stream(model, tokens, [site]):
        flat = _columns(codec.encode(found[site].flatten(0, 1).float()), column, len(features))
        dense = flat.reshape(*batch.ids.shape, len(features))
        for index, row in enumerate(batch.rows):
            rows[row] = dense[index, : len(tokens[row])].copy()
    return rows


def _columns(codes: Codes, column: Tensor, n: int) -> Float32[np.ndarray, "row feature"]:
    dense = np.zeros((codes.n_rows, n), np.float32)
    place = column.to(codes.indices.device)[codes.indices]
    keep = place >= 0
    dense[codes.rows[keep].cpu().numpy(), place[keep].cpu().numpy()] = codes.values[keep].float().cpu().numpy()
    return dense


def _example(
    model: LanguageModel, ids: tuple[int, ...], values: Float32[np.ndarray, " token"], side: str, first: int, peak: int
) -> Example:
    """What stands around a peak, from the first token that counts."""
    start, stop = max(first, peak - WINDOW), min(len(ids), peak + WINDOW + 1)
    return Example(
        tokens=tuple(_text(model, i) for i in ids[start:stop]),
        values=tuple(float(v) for v in values[start:stop]),
        peak=peak - start,
        model="candidate" if side == "candidate" else "reference",
    )


def _norm_gain(model: LanguageModel) -> Float[Tensor, " width"]:
    """The final norm's gain, by its odd part on a vector of +1 and -1, which LayerNorm and RMSNorm leave in place."""
    norm = attrgetter(model.architecture.point(Site("final_norm")).module)(model.model)
    signs = torch.ones(model.width, device=model.device, dtype=model.dtype)
    signs[1::2] = -1
    return ((norm(signs) - norm(-signs)) / 2 * signs).float()


def _named(model: LanguageModel, ids: Tensor, row: Tensor) -> tuple[tuple[str, float], ...]:
    return tuple((_text(model, int(i)), float(row[i])) for i in ids)


def _text(model: LanguageModel, token: int) -> str:
    return token_text(model.tokenizer, token)
