"""How fast one site answers a push at another: forward-mode derivatives through the network, hooks and all.

1. dual numbers: at the written site every position becomes a + ε·t, the tangent t given   2. one ordinary forward of
the backbone   3. at the site that is read the derivative stands beside the value; the last real token of each row
Attention runs by its plain formula, because fused kernels have no forward derivative. Costs about two forwards.
Refuses: an operation without forward derivative.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from radiograph.core import Refusal, Site
from radiograph.core.shapes import Float64
from radiograph.models._batching import Batch, Tokens, batches
from radiograph.models._hooks import hooked, running
from radiograph.models._model import LanguageModel


def responses(
    model: LanguageModel, tokens: Tokens, written: Site, tangents: Float64[np.ndarray, "push width"], read: Site
) -> tuple[Float64[np.ndarray, "row out"], Float64[np.ndarray, "push row out"]]:
    """Values at the last token of every row, and their derivative along each push, which acts at every position.

    Raises:
        Refusal: the network has an operation without forward derivative.
    """
    width = model.site_width(read)
    values = np.zeros((len(tokens), width))
    slopes = np.zeros((len(tangents), len(tokens), width))
    for batch in batches(tokens, device=model.device):
        rows = list(batch.rows)
        for place, tangent in enumerate(tangents):
            held = torch.as_tensor(tangent, dtype=model.dtype, device=model.device)
            try:
                own, slope = _dual(model, batch, written, held, read)
            except (NotImplementedError, RuntimeError) as error:
                raise Refusal(
                    "no_forward_derivative",
                    "this network has an operation without forward derivative",
                    got=str(error).splitlines()[0][:200],
                    fix="measure small doses instead: resonance schema 03",
                ) from error
            values[rows], slopes[place, rows] = own, slope
    return values, slopes


def _dual(
    model: LanguageModel, batch: Batch, written: Site, tangent: torch.Tensor, read: Site
) -> tuple[np.ndarray, np.ndarray]:
    backbone = model.model.get_submodule(model.architecture.family.backbone)
    last: Sequence[int] = (batch.mask.long().sum(-1) - 1).tolist()
    at = (torch.arange(len(last)), torch.tensor(last))

    def push(values: torch.Tensor) -> torch.Tensor:
        return forward_ad.make_dual(values.clone(), tangent.expand_as(values).contiguous())

    with (
        torch.no_grad(),
        sdpa_kernel(SDPBackend.MATH),
        model.session(),
        running(batch),
        forward_ad.dual_level(),
        hooked(model, [read], {written: push}) as found,
    ):
        backbone(**batch.inputs(), use_cache=False)
        value, slope = forward_ad.unpack_dual(found[read])
        slope = torch.zeros_like(value) if slope is None else slope
        return value[at].double().cpu().numpy(), slope[at].double().cpu().numpy()
