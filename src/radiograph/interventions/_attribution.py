"""Why a write of a last-block unit says what it says: direct logit attribution, against the model's own tail.

1. read a, the activation, and x, the residual after the last block, where each row predicts its next token
2. exact: logits(x + c·w) − logits(x), c = v − a, in float64 (`models.tail`)   3. first order and its R²
   (`numerics.units`)   4. tokens that W_U(γ⊙w̃) raises and lowers   5. the saturation token of either sign, which every
   large dose must repeat
Where a norm follows the block the write passes it first: only exact changes, from two forwards. In any other block the
later ones read the write: no formula, which the record says by name, and measured changes instead.
Units: logits (nats up to a constant a row).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from radiograph.core import Site, UserError
from radiograph.core.shapes import Float64
from radiograph.evidence import MovedToken, UnitAttribution
from radiograph.models import Edit, LanguageModel, batches, capture, logits, token_text
from radiograph.models.tail import Tail, follows_norm, write_vectors
from radiograph.numerics.units import explained, first_order, saturated

TOP = 10


def attribute(
    model: LanguageModel,
    tokens: Sequence[Sequence[int]],
    site: Site | str,
    unit: int,
    value: float,
    *,
    top: int = TOP,
) -> UnitAttribution:
    """What setting a unit to `value` does to the logits of the token after each of some token lists.

    Raises:
        UserError: a site that is no `mlp_hidden`, a unit outside it, a value that is not finite.
    """
    site = Site.parse(site) if isinstance(site, str) else site
    width = model.site_width(site)
    if site.kind != "mlp_hidden" or not 0 <= unit < width or not np.isfinite(value):
        raise UserError(
            f"{site}[{unit}] = {value} cannot be attributed",
            expected=f"a unit from 0 to {width - 1} of an mlp_hidden, and a finite value",
            code="bad_unit",
        )
    names = _Names(model, top)
    last = site.layer == model.n_layers - 1
    if last and not follows_norm(model):
        return _by_formula(model, tokens, site, unit, value, names)
    changed = _measured(model, tokens, site, unit, value)
    raised, lowered = names.both(changed)
    refusal = (
        f"a norm follows the block of {site}: what the unit writes is rescaled with everything else there, so only the "
        "exact change is given"
        if last
        else f"{site} is not in the last block ({model.n_layers - 1}): later blocks read what it writes, so no direct "
        "attribution of it is the whole; the change is measured instead"
    )
    return UnitAttribution(
        unit=f"{site}[{unit}]",
        value=value,
        n=len(tokens),
        route="exact" if last else "measured",
        refusal=refusal,
        raised=raised,
        lowered=lowered,
    )


def _by_formula(
    model: LanguageModel, tokens: Sequence[Sequence[int]], site: Site, unit: int, value: float, names: _Names
) -> UnitAttribution:
    tail, write = Tail.of(model), write_vectors(model, site)[unit]
    tilde = tail.tilde(write)
    activation, rows = last_block(model, tokens, site, unit)
    exact, linear = changes(tail, rows, value - activation, write)
    raised, lowered = names.both(exact.mean(0))
    direct = tail.direct(write[None])[0]
    up, down = (
        saturated(tilde, sign, tail.gain, tail.bias, tail.unembed, tail.offset) if np.linalg.norm(tilde) else None
        for sign in (1.0, -1.0)
    )
    direct_raised, direct_lowered = names.both(direct, centre=False)
    return UnitAttribution(
        unit=f"{site}[{unit}]",
        value=value,
        n=len(tokens),
        route="formula",
        direct_raised=direct_raised,
        direct_lowered=direct_lowered,
        raised=raised,
        lowered=lowered,
        r_squared=explained(exact, linear),
        saturation_up=names.lead(up),
        saturation_down=names.lead(down),
    )


def last_block(
    model: LanguageModel, tokens: Sequence[Sequence[int]], site: Site, unit: int
) -> tuple[Float64[np.ndarray, " row"], Float64[np.ndarray, "row width"]]:
    """The unit's activation and the residual after its block, at the last position of each list."""
    out = Site("resid_post", site.layer)
    activation, rows = np.empty(len(tokens)), np.empty((len(tokens), model.width))
    for batch in batches(tokens, device=model.device):
        found = capture(model, batch, [site, out])
        for line, row in enumerate(batch.rows):
            at = len(tokens[row]) - 1
            activation[row] = float(found[site][line, at, unit])
            rows[row] = found[out][line, at].double().cpu().numpy()
    return activation, rows


def changes(
    tail: Tail,
    rows: Float64[np.ndarray, "row width"],
    change: Float64[np.ndarray, " row"],
    write: Float64[np.ndarray, " width"],
) -> tuple[Float64[np.ndarray, "row vocabulary"], Float64[np.ndarray, "row vocabulary"]]:
    """Exact and first-order changes of logits where each residual row moves by c·w; a cap of logits is in the first."""
    normalised, scale = tail.normalised(rows)
    exact = tail.logits(rows + change[:, None] * write) - tail.logits(rows)
    linear = first_order(normalised, scale, tail.tilde(write), change, tail.gain, tail.unembed)
    if tail.cap is not None:
        straight = tail.straight(rows)
        linear = linear / np.cosh(straight / tail.cap) ** 2
    return exact, linear


def _measured(
    model: LanguageModel, tokens: Sequence[Sequence[int]], site: Site, unit: int, value: float
) -> Float64[np.ndarray, " vocabulary"]:
    """Mean change of logits over rows, from two forwards of each."""

    def write(held: Tensor) -> Tensor:
        new = held.clone()
        new[..., unit] = value
        return new

    total = np.zeros(model.vocab_size)
    edits: dict[Site, Edit] = {site: write}
    for sign, how in ((1.0, edits), (-1.0, None)):
        for batch, found in logits(model, tokens, edits=how):
            at = torch.tensor([len(tokens[row]) - 1 for row in batch.rows], device=found.device)
            total += sign * found[torch.arange(len(at), device=found.device), at].double().sum(0).cpu().numpy()
    return total / len(tokens)


class _Names:
    """Names the tokens at both ends of a row of logits; rows beyond the tokenizer are left out."""

    def __init__(self, model: LanguageModel, top: int) -> None:
        self.tokenizer, self.top = model.tokenizer, top
        self.size = model.vocab_size - model.spare_rows

    def both(
        self, values: Float64[np.ndarray, " vocabulary"], *, centre: bool = True
    ) -> tuple[tuple[MovedToken, ...], tuple[MovedToken, ...]]:
        own = values[: self.size] - (values[: self.size].mean() if centre else 0.0)
        order = np.argsort(-own, kind="stable")
        return self._named(order[: self.top], own), self._named(order[::-1][: self.top], own)

    def lead(self, values: Float64[np.ndarray, " vocabulary"] | None) -> MovedToken | None:
        """The largest, and how far it leads the next."""
        if values is None:
            return None
        own = values[: self.size]
        first, second = np.argsort(-own, kind="stable")[:2]
        return MovedToken(token_id=int(first), token=self._text(int(first)), change=float(own[first] - own[second]))

    def _named(self, ids: np.ndarray, values: np.ndarray) -> tuple[MovedToken, ...]:
        return tuple(MovedToken(token_id=int(i), token=self._text(int(i)), change=float(values[i])) for i in ids)

    def _text(self, token: int) -> str:
        return str(token) if self.tokenizer is None else token_text(self.tokenizer, token)
