"""How far activations move on neutral text, relative to their own size, at the first, middle and last block.

sqrt(Σ‖x_candidate − x_reference‖²)/sqrt(Σ‖x_reference‖²) over all tokens of the neutral bank at resid_post. 0 for equal
models. It says what kind of change a fine-tune is (`support`), not whether it is suspicious.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from radiograph.core import Refusal, Site
from radiograph.models import Pair, stream


def measure_drift(pair: Pair, texts: Sequence[tuple[int, ...]]) -> dict[str, float]:
    """Drift by name: `drift_first`, `drift_middle`, `drift_last`.

    Raises:
        Refusal: other shapes, other tokenizers, or no neutral text.
    """
    pair.check_tokenizers()
    difference = pair.shape_difference()
    if difference is not None:
        raise Refusal("other_architecture", f"the models have other shapes: {difference}")
    if not texts:
        raise Refusal("no_neutral_bank", "there is no neutral text", fix="pass --neutral FILE, one text a line")
    last = pair.reference.n_layers - 1
    places = {"drift_first": 0, "drift_middle": last // 2, "drift_last": last}
    sites = {name: Site.parse(f"resid_post.{layer}") for name, layer in places.items()}
    distinct = list(dict.fromkeys(sites.values()))
    moved = dict.fromkeys(distinct, 0.0)
    size = dict.fromkeys(distinct, 0.0)
    for (batch, ours), (_, theirs) in zip(
        stream(pair.reference, texts, distinct), stream(pair.candidate, texts, distinct), strict=True
    ):
        for site in distinct:
            before, after = ours[site][batch.mask].double(), theirs[site][batch.mask].double()
            moved[site] += float(torch.sum((after - before) ** 2))
            size[site] += float(torch.sum(before**2))
    return {name: (moved[site] / size[site]) ** 0.5 if size[site] > 0 else 0.0 for name, site in sites.items()}
