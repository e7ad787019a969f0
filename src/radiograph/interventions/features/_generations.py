"""What a model goes on to say while features are moved.

A write stands at its positions of the prompt; with `carry`, new tokens get what the last position got, which is
right for a push and for nothing that depends on the code of a token. Greedy decoding; arithmetic in float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from radiograph.core import Site
from radiograph.core.shapes import Float
from radiograph.interventions.features._write import Pushed
from radiograph.models import Edit, Generated, LanguageModel, current_batch, edit, generate


def continued(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    writes: Sequence[Sequence[Pushed]] | None,
    *,
    new: int,
    carry: bool = False,
) -> list[Generated]:
    """Up to `new` tokens after each prompt; `writes` act on the prompts, in their order.

    Raises:
        UserError: a prompt that fills the context.
    """
    by_site: dict[Site, dict[int, list[Pushed]]] = {}
    for row, own in enumerate(writes or ()):
        for one in own:
            if not one.still:
                by_site.setdefault(one.site, {}).setdefault(row, []).append(one)
    edits = {site: _by_position(own, carry) for site, own in sorted(by_site.items(), key=lambda item: item[0].depth)}
    with edit(model, edits):
        return generate(model, [list(ids) for ids in prompts], max_new_tokens=new)


def _by_position(rows: Mapping[int, Sequence[Pushed]], carry: bool) -> Edit:
    """An edit that knows its places by their positions, whatever part of a row passes."""
    added = {row: sum(one.amount @ one.directions for one in own) for row, own in rows.items()}

    def edit(values: Float[Tensor, "batch position width"]) -> Float[Tensor, "batch position width"]:
        batch, out = current_batch(), values.clone()
        for place, row in enumerate(batch.rows):
            if row not in added:
                continue
            at = torch.nonzero(batch.mask[place])[:, 0]
            position, own = batch.positions[place, at].cpu().numpy(), np.asarray(added[row])
            kept = (position < len(own)) | carry
            moved = np.where(kept[:, None], own[np.minimum(position, len(own) - 1)], 0.0)
            extra = torch.from_numpy(moved).to(values.device, torch.float32)
            old = values[place, at]
            out[place, at] = torch.where((extra != 0).any(-1, keepdim=True), (old.float() + extra).to(old.dtype), old)
        return out

    return edit
