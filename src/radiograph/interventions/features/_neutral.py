"""What a condition costs on neutral text: KL(untouched ‖ touched) and the likelihood of what the text says next.

The untouched forward of each text is made once; conditions follow in batches. Units: nats per token but the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from radiograph.core.shapes import Float64
from radiograph.interventions.features._outcomes import BATCH_TOKENS, LOGITS
from radiograph.interventions.features._write import Pushed, edits_of
from radiograph.models import LanguageModel, edit, forward, pad


@dataclass(frozen=True, eq=False)
class Cost:
    """Of one condition, token by token."""

    kl: Float64[np.ndarray, " token"]
    baseline_nll: Float64[np.ndarray, " token"]
    nll: Float64[np.ndarray, " token"]


def neutral_costs(
    model: LanguageModel,
    tokens: Sequence[Sequence[int]],
    writes: Sequence[Sequence[Sequence[Pushed]]],
) -> list[Cost]:
    """The cost of every condition; `writes[c][t]` is what condition c does to text t."""
    kl, base, nll = ([[] for _ in writes] for _ in range(3))
    for text, ids in enumerate(tokens):
        many = max(1, min(BATCH_TOKENS, LOGITS // model.vocab_size) // len(ids))
        clean = forward(model, pad([ids], device=model.device))[:, :-1].float().log_softmax(-1)
        following = torch.tensor(list(ids[1:]), device=model.device)[None, :, None]
        own = -clean.gather(-1, following)[0, :, 0].double().cpu().numpy()
        for start in range(0, len(writes), many):
            chosen = range(start, min(start + many, len(writes)))
            batch = pad([ids] * len(chosen), device=model.device)
            acting = {place: writes[c][text] for place, c in enumerate(chosen) if writes[c][text]}
            with edit(model, edits_of(acting)):
                changed = forward(model, batch)[:, :-1].float().log_softmax(-1)
            divergence = (clean.exp() * (clean - changed)).sum(-1).clamp(min=0).double().cpu().numpy()
            said = -changed.gather(-1, following.expand(len(chosen), -1, -1))[..., 0].double().cpu().numpy()
            for place, c in enumerate(chosen):
                still = all(one.still for one in writes[c][text])
                kl[c].append(np.zeros(len(own)) if still else divergence[place])
                nll[c].append(own if still else said[place])
                base[c].append(own)
    return [Cost(*(np.concatenate(part) for part in parts)) for parts in zip(kl, base, nll, strict=True)]
