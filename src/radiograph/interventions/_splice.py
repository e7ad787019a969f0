"""What it costs a model to run on a codec's reconstruction instead of its own activations.

1. clean cross-entropy   2. the same with x̂ = decode(encode(x)) at the kept positions of the codec's site, all other
positions untouched   3. the same with zeros there, and with the site's mean over the kept positions
4. ΔCE = spliced − clean; recovered = (ablated − spliced) / (ablated − clean), for zero *and* mean ablation
Units: nats per predicted token, means over every token but the first of each row. Hooks are gone afterwards.
Refuses recovered shares where an ablation costs less than 0.05 nats: a ratio of two noises is no measurement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from radiograph.core import Refusal, Site, UserError
from radiograph.core.codec import Codec
from radiograph.models import Edit, LanguageModel, Tokens, cross_entropy, current_batch, stream
from radiograph.numerics.moments import Moments
from radiograph.numerics.reconstruction import recovered


@dataclass(frozen=True, slots=True)
class SpliceLosses:
    """Mean cross-entropies, nats per predicted token."""

    n_tokens: int
    """Predicted tokens."""
    n_spliced: int
    """Positions replaced."""
    clean: float
    spliced: float
    zero: float
    mean: float

    @property
    def delta_ce(self) -> float:
        """Spliced minus clean; 0 for a perfect codec."""
        return self.spliced - self.clean

    @property
    def recovered_zero(self) -> float | Refusal:
        """1: as good as clean. 0: as bad as zeros. A Refusal where zeros cost too little."""
        return recovered(self.clean, self.spliced, self.zero)

    @property
    def recovered_mean(self) -> float | Refusal:
        """1: as good as clean. 0: as bad as the mean. A Refusal where the mean costs too little."""
        return recovered(self.clean, self.spliced, self.mean)


def splice_losses(
    model: LanguageModel,
    codec: Codec,
    tokens: Tokens,
    kept: Sequence[Sequence[bool]] | None = None,
    *,
    batch_tokens: int = 2048,
) -> SpliceLosses:
    """Cross-entropies of `tokens` with the codec spliced in at kept positions (all of them by default).

    Raises:
        UserError: the codec's site is not in the model or has another width; `kept` does not fit `tokens`; no token
            is predicted or no position kept.
    """
    site = _site(model, codec)
    masks = _masks(tokens, kept)
    n_spliced = sum(int(mask.sum()) for mask in masks)
    n_tokens = sum(len(row) - 1 for row in tokens)
    if not n_spliced or not n_tokens:
        raise UserError("nothing to splice", got=f"{n_spliced} kept positions, {n_tokens} predicted tokens")
    mean = _mean(model, site, tokens, masks, batch_tokens)

    def loss(change: Callable[[Tensor], Tensor] | None) -> float:
        edits = None if change is None else {site: at_kept(masks, change)}
        rows = cross_entropy(model, tokens, edits=edits, batch_tokens=batch_tokens)
        return float(torch.cat(rows).double().mean())

    return SpliceLosses(
        n_tokens=n_tokens,
        n_spliced=n_spliced,
        clean=loss(None),
        spliced=loss(reconstruction(codec)),
        zero=loss(torch.zeros_like),
        mean=loss(lambda rows: mean.to(rows).expand_as(rows)),
    )


def reconstruction(codec: Codec) -> Callable[[Float[Tensor, "row width"]], Float[Tensor, "row width"]]:
    """The change that splices a codec in: x becomes decode(encode(x)), in the type of x."""

    def change(rows: Float[Tensor, "row width"]) -> Float[Tensor, "row width"]:
        return codec.decode(codec.encode(rows)).to(rows)

    return change


def at_kept(masks: Sequence[Tensor], change: Callable[[Tensor], Tensor]) -> Edit:
    """An edit that replaces the kept positions of each of the caller's rows, and nothing else."""

    def edit(values: Float[Tensor, "batch position width"]) -> Float[Tensor, "batch position width"]:
        chosen = torch.zeros(values.shape[:2], dtype=torch.bool)
        for line, row in enumerate(current_batch().rows):
            chosen[line, : len(masks[row])] = masks[row]
        chosen = chosen.to(values.device)
        out = values.clone()
        out[chosen] = change(values[chosen])
        return out

    return edit


def _mean(
    model: LanguageModel, site: Site, tokens: Tokens, masks: Sequence[Tensor], batch_tokens: int
) -> Float[Tensor, " width"]:
    moments = Moments(model.site_width(site))
    for batch, found in stream(model, tokens, [site], batch_tokens=batch_tokens):
        values = found[site].float().cpu()
        for line, row in enumerate(batch.rows):
            moments.add(values[line, : len(masks[row])][masks[row]].numpy())
    return torch.from_numpy(moments.mean)


def _site(model: LanguageModel, codec: Codec) -> Site:
    if len(codec.sites) != 1:
        raise UserError("a codec of one site can be spliced", got=", ".join(codec.sites))
    (site,) = model.sites(codec.sites[0])
    width = model.site_width(site)
    if width != codec.width:
        raise UserError(
            f"the codec does not fit {site} of {model.ref}",
            expected=f"width {width}",
            got=f"width {codec.width}",
            code="dictionary_mismatch",
        )
    return site


def _masks(tokens: Tokens, kept: Sequence[Sequence[bool]] | None) -> list[Tensor]:
    if kept is None:
        return [torch.ones(len(row), dtype=torch.bool) for row in tokens]
    lengths = [len(row) for row in tokens]
    if [len(row) for row in kept] != lengths:
        raise UserError("kept positions do not fit the tokens", expected="one mark per token")
    return [torch.tensor(row, dtype=torch.bool) for row in kept]
