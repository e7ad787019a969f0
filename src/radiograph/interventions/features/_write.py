"""A write of features: h + Σ Δcodeⱼ·dⱼ at the site that the codec writes, and nothing else of what stands there.

| op | Δcode |
|---|---|
| add | a |
| scale | (a − 1)·code |
| set | a − code |

1. the reconstruction is never spliced in: the error of the dictionary stays, so that a write of nothing changes
   nothing, bit for bit
2. codes are read from what arrives at the codec's site. Where one write stands in a row nothing before it has moved:
   codes of the untouched forward are those of the touched one, and are read once a prompt for all conditions
   (`codes_on`). New tokens are read live (`live`)
3. positions: `all`, those where a feature is active (`active`: some code ≠ 0), or a span of the row
Units: codes in the codec's own unit, d in that of the site. Arithmetic in float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from radiograph.core import Site, UserError
from radiograph.core.codec import Codec
from radiograph.core.shapes import Float, Float64
from radiograph.models import Edit, LanguageModel, capture, current_batch, edit, pad, plan

Op = Literal["add", "scale", "set"]
Where = Literal["all", "active", "span"]
BATCH_TOKENS = 8192


@dataclass(frozen=True, eq=False)
class FeatureWrite:
    """What is done to some features of one codec."""

    codec: Codec
    site: Site
    """Where it is written."""
    numbers: tuple[int, ...]
    """Of the features, in the codec."""
    directions: Float64[np.ndarray, "feature width"]
    """What a code of 1 writes."""
    op: Op
    value: float | tuple[float, ...]
    """In the codec's unit; the same for all, or one of each feature."""
    where: Where = "all"

    def change(self, codes: Float[np.ndarray, "position feature"]) -> Float64[np.ndarray, "position feature"]:
        """Δcode."""
        held, value = np.asarray(codes, np.float64), np.asarray(self.value, np.float64)
        match self.op:
            case "add":
                moved = np.broadcast_to(value, held.shape)
            case "scale":
                moved = (value - 1) * held
            case _:
                moved = value - held
        return np.where(held != 0, moved, 0.0) if self.where == "active" else moved


@dataclass(frozen=True, eq=False)
class Pushed:
    """A write as it meets one row: what is added at each position."""

    site: Site
    directions: Float64[np.ndarray, "feature width"]
    amount: Float64[np.ndarray, "position feature"]

    @property
    def still(self) -> bool:
        """Whether nothing is added anywhere."""
        return not self.amount.any()

    @property
    def lengths(self) -> Float64[np.ndarray, " position"]:
        """Length of what is added, with the sign of the sum of the amounts."""
        return np.linalg.norm(self.amount @ self.directions, axis=1) * np.sign(self.amount.sum(axis=1))

    def along(self, direction: Float64[np.ndarray, " width"]) -> Pushed:
        """The same lengths along another direction, of length 1."""
        return Pushed(self.site, direction[None], self.lengths[:, None])


def pushed(
    write: FeatureWrite, codes: Float[np.ndarray, "position feature"], span: tuple[int, int] | None = None
) -> Pushed:
    """The write on a row with these codes of its features; `span` is where it may act."""
    amount = write.change(codes)
    if span is not None:
        inside = np.zeros((len(amount), 1), dtype=bool)
        inside[slice(*span)] = True
        amount = np.where(inside, amount, 0.0)
    return Pushed(write.site, write.directions, amount)


def codes_on(
    model: LanguageModel,
    codec: Codec,
    numbers: Sequence[int],
    tokens: Sequence[Sequence[int]],
    writes: Sequence[Sequence[Pushed]] | None = None,
) -> list[Float[np.ndarray, "position feature"]]:
    """Codes of some features at every position of token lists, under the writes of each list if there are any."""
    sites = [own_site(model, site) for site in codec.sites]
    out: list[np.ndarray] = [np.empty(0)] * len(tokens)
    for rows in plan([len(t) for t in tokens], BATCH_TOKENS):
        batch = pad(tokens, rows, device=model.device)
        edits = {} if writes is None else edits_of({row: writes[row] for row in rows if writes[row]})
        with edit(model, edits):
            found = capture(model, batch, sites)
        read = torch.cat([found[site] for site in sites], -1)[batch.mask.to(model.device)].float()
        dense = _picked(codec, read, numbers).cpu().numpy()
        for row, part in zip(rows, np.split(dense, np.cumsum([len(tokens[r]) for r in rows])[:-1]), strict=True):
            out[row] = part
    return out


def rows_on(
    model: LanguageModel,
    site: Site,
    tokens: Sequence[Sequence[int]],
    writes: Sequence[Sequence[Pushed]] | None = None,
) -> list[Float[np.ndarray, "position width"]]:
    """Rows of a site at every position of token lists, under the writes of each list if there are any."""
    out: list[np.ndarray] = [np.empty(0)] * len(tokens)
    for rows in plan([len(t) for t in tokens], BATCH_TOKENS):
        batch = pad(tokens, rows, device=model.device)
        edits = {} if writes is None else edits_of({row: writes[row] for row in rows if writes[row]})
        with edit(model, edits):
            found = capture(model, batch, [site])[site][batch.mask.to(model.device)].float().cpu().numpy()
        for row, part in zip(rows, np.split(found, np.cumsum([len(tokens[r]) for r in rows])[:-1]), strict=True):
            out[row] = part
    return out


def edits_of(rows: Mapping[int, Sequence[Pushed]]) -> dict[Site, Edit]:
    """Edits by site; rows by the numbers that `current_batch` knows them by. Later positions than a write's stay."""
    by_site: dict[Site, dict[int, list[Pushed]]] = {}
    for row, writes in rows.items():
        for one in writes:
            by_site.setdefault(one.site, {}).setdefault(row, []).append(one)
    return {site: _edit(own) for site, own in sorted(by_site.items(), key=lambda item: item[0].depth)}


def live(write: FeatureWrite, spans: Mapping[int, tuple[int, int] | None]) -> Edit:
    """An edit that reads codes as they arrive, for some rows, also of new tokens; the slow way of `pushed`.

    Raises:
        UserError: a codec that reads elsewhere than it writes.
    """
    if [str(Site.parse(s.rpartition("/")[2])) for s in write.codec.sites] != [str(write.site)]:
        raise UserError(
            f"codes of {', '.join(write.codec.sites)} cannot be read while {write.site} is written",
            expected="a dictionary that writes where it reads",
            code="bad_write",
        )

    def edit(values: Float[Tensor, "batch position width"]) -> Float[Tensor, "batch position width"]:
        batch, out = current_batch(), values.clone()
        for place, row in enumerate(batch.rows):
            if row not in spans:
                continue
            at = torch.nonzero(batch.mask[place])[:, 0]
            codes = _picked(write.codec, values[place, at].float(), write.numbers).cpu().numpy()
            amount, span = write.change(codes), spans[row]
            if span is not None:
                positions = batch.positions[place, at].cpu().numpy()
                amount = np.where(((positions >= span[0]) & (positions < span[1]))[:, None], amount, 0.0)
            added = torch.from_numpy(amount @ write.directions).to(values.device, torch.float32)
            moved = (added != 0).any(-1)
            new = (values[place, at].float() + added).to(values.dtype)
            out[place, at] = torch.where(moved[:, None], new, values[place, at])
        return out

    return edit


def _edit(rows: Mapping[int, Sequence[Pushed]]) -> Edit:
    held: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}

    def edit(values: Float[Tensor, "batch position width"]) -> Float[Tensor, "batch position width"]:
        batch = current_batch()
        if batch.rows not in held:
            held.clear()
            held[batch.rows] = _added(rows, batch.rows, values)
        places, added = held[batch.rows]
        old = values[places]
        new = (old.float() + added).to(old.dtype)
        out = values.clone()
        # What is not moved keeps its bits.
        out[places] = torch.where((added != 0).any(-1, keepdim=True), new, old)
        return out

    return edit


def _added(rows: Mapping[int, Sequence[Pushed]], numbers: Sequence[int], like: Tensor) -> tuple[Tensor, Tensor]:
    """Places of the rows that are written, and what is added there."""
    places = [place for place, row in enumerate(numbers) if row in rows]
    width = like.shape[1]
    added = like.new_zeros(len(places), width, like.shape[2], dtype=torch.float32)
    for number, place in enumerate(places):
        for one in rows[numbers[place]]:
            moved = torch.from_numpy((one.amount @ one.directions)[:width]).to(added)
            added[number, : len(moved)] += moved
    return torch.tensor(places, dtype=torch.long, device=like.device), added


def _picked(codec: Codec, rows: Float[Tensor, "row width"], numbers: Sequence[int]) -> Float[Tensor, "row feature"]:
    codes = codec.encode(rows)
    out = codes.values.new_zeros(codes.n_rows, len(numbers))
    owner = codes.rows
    for column, number in enumerate(numbers):
        mine = codes.indices == number
        out[owner[mine], column] = codes.values[mine]
    return out


def own_site(model: LanguageModel, address: str) -> Site:
    (site,) = model.sites(address.rpartition("/")[2])
    return site
