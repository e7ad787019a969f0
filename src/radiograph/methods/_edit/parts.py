"""The rank-one parts of a model that can be edited: components of a decomposition, or pieces of an adapter.

A decomposition says which components a plain model's weights have, and its importance says where they fire. An adapter
is a sum of rank-one pieces already: they are the parts of what changed, nothing has to be trained to find them, and
with all of them at 0 the reference is left bit for bit. They are made identified first (`numerics.pieces`); without
examples they are singular directions. A piece has no importance: it fires where |h| exceeds its 99th percentile on text
that does not show the behaviour.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from radiograph.core import Context, FormatError, Refusal, UserError
from radiograph.core.components import Component, in_order
from radiograph.methods._decomposed.fitting import Fitting, fitting
from radiograph.models import ModelRef
from radiograph.models.lowrank import Factors
from radiograph.models.masked import Target, of_model, recorded
from radiograph.numerics.pieces import balanced, contrasted

if TYPE_CHECKING:
    import torch

    from radiograph.decompose import Decomposition
    from radiograph.models import LanguageModel, WeightAddress
    from radiograph.models.delta import LowRank

PIECES: Final = "pieces"
DOCUMENT: Final = "pieces.json"
TENSORS: Final = "pieces.safetensors"
QUANTILE: Final = 0.99
FIRES: Final = 1e-6
"""Importance above which a component of a decomposition fires."""
Tokens = Sequence[Sequence[int]]


@dataclass(frozen=True, eq=False)
class Parts:
    """What may be edited, in which model.

    Attributes:
        model: the model that is edited, adapter on where it has one.
        target: its weights by address.
        factors: parts of each weight, in forward order.
        kind: components of a decomposition, or pieces of the model's adapter.
        sha256: of the parts.
        decomposition: where they come from, of components.
        levels: of pieces, |h| above which one fires; None before any text was read.
        reference: of pieces, the model without the adapter.
        under: of components, the adapter that the model has already: an earlier edit, which stays.
        passed_over: decompositions that could not be read when this one was chosen, each with the reason.
    """

    model: LanguageModel
    target: Target
    factors: Mapping[str, Factors]
    kind: Literal["components", "pieces"]
    sha256: str
    decomposition: Decomposition | None = None
    levels: Mapping[str, torch.Tensor] | None = None
    reference: LanguageModel | None = None
    under: Mapping[str, Factors] | None = None
    passed_over: tuple[str, ...] = ()

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Parts of each weight."""
        return {address: own.size for address, own in self.factors.items()}

    @cached_property
    def all(self) -> tuple[Component, ...]:
        """Every part, in forward order."""
        return tuple(Component(address, n) for address, size in self.sizes.items() for n in range(size))

    def read(self, texts: Sequence[str]) -> tuple[Component, ...]:
        """Addresses, each of which must be one of these parts, and none twice.

        Raises:
            UserError: malformed, not decomposed, beyond the number of parts, or given twice.
        """
        found = [Component.parse(part, self.sizes) for text in texts for part in text.split(",") if part.strip()]
        twice = next((c for n, c in enumerate(found) if c in found[:n]), None)
        if twice is not None:
            raise UserError(f"{twice} is given twice", where="--component", code="duplicate")
        return tuple(sorted(found, key=lambda c: c.order))

    def notes(self) -> list[str]:
        """What was passed over when these were chosen."""
        return [f"passed over, unreadable: {one}" for one in self.passed_over]

    def fires(self, ids: torch.Tensor, of: Sequence[Component]) -> torch.Tensor:
        """Which of some parts fire where: [batch, position, part], in the model as it is."""
        import torch

        weights = in_order(list(dict.fromkeys(c.weight for c in of)))
        if self.decomposition is not None:
            seen = self.decomposition.observe(self.target, ids)
            return torch.stack([seen.lower[c.weight][..., c.index] > FIRES for c in of], dim=-1)
        if self.levels is None:
            raise AssertionError("pieces fire above levels, which are taken from texts first")
        size = self.sizes_of(ids, weights)
        return torch.stack([size[c.weight][..., c.index] > self.levels[c.weight][c.index] for c in of], dim=-1)

    def sizes_of(self, ids: torch.Tensor, weights: Sequence[str]) -> dict[str, torch.Tensor]:
        """The size |h| of parts: [batch, position, part] of each weight."""
        import torch

        with torch.no_grad(), recorded(self.target, weights) as record:
            self.target.run(ids)
            return {w: self.factors[w].activations(record.inputs[w]).abs() for w in weights}


def opened(ctx: Context, model: str, decomposition: str | None) -> Parts:
    """The parts of a model: those that are named, or its adapter's own.

    Raises:
        UserError: a plain model without a decomposition. Refusal: `decomposition_mismatch`.
    """
    base, adapter = sides_of(ctx, model)
    stored = None if decomposition is None else _pieces_folder(ctx, decomposition)
    if adapter is not None and (decomposition is None or stored is not None):
        pair = ctx.pair(base, model)
        parts = adapter_parts(pair.candidate, pair.reference)
        return parts if stored is None else _load(stored, parts)
    if stored is not None:
        raise UserError(
            "these are pieces of an adapter, and the model has none",
            expected="MODEL as REFERENCE+ADAPTER",
            got=ctx.label(model),
            code="decomposition_mismatch",
        )
    under = None
    if adapter is not None:
        pair = ctx.pair(base, model)
        loaded, plain = pair.candidate, of_model(pair.reference)
        under = adapter_parts(pair.candidate, pair.reference).factors
    else:
        loaded = ctx.model(model, "model")
        plain = of_model(loaded)
    chosen = fitting(ctx, plain.sha256) if decomposition is None else Fitting(decomposition)
    found = ctx.decomposition(chosen.reference)
    found.check(plain)
    target = of_model(loaded, adapted=True)
    more: dict[str, Any] = {"decomposition": found, "under": under, "passed_over": chosen.unreadable}
    return Parts(loaded, target, found.factors, "components", found.sha256, **more)


def sides_of(ctx: Context, model: str) -> tuple[str, str | None]:
    """The reference that is edited, and its adapter."""
    parsed = ModelRef.parse(model, base_dir=ctx.place("."))
    return parsed.base, parsed.adapter


def adapter_parts(candidate: LanguageModel, reference: LanguageModel) -> Parts:
    """The pieces of a plain LoRA adapter, as singular directions.

    Raises:
        UserError: an adapter that is no sum of rank-one pieces alone (DoRA, saved modules …).
    """
    from radiograph.models import Pair, changes
    from radiograph.models.delta import LowRank

    target = of_model(candidate, adapted=True)
    factors: dict[str, Factors] = {}
    for change in changes(Pair(reference, candidate)):
        if change.status == "equal":
            continue
        if not isinstance(change.delta, LowRank) or not change.addresses:
            raise UserError(
                f"{change.parameter} changed as a whole, not by rank-one factors",
                expected="a LoRA adapter without biases, saved modules or DoRA",
                fix="decompose the baked model instead, and edit that",
                code="not_low_rank",
            )
        for address in change.addresses:
            factors[address.address] = _factors(change.delta, target, address)
    ordered = {address: factors[address] for address in in_order(factors)}
    made = {a: _from(balanced(f.reads.numpy(), f.writes.numpy())) for a, f in ordered.items()}
    return Parts(candidate, target, made, "pieces", hash_of(made), reference=reference)


def _factors(delta: LowRank, target: Target, address: WeightAddress) -> Factors:
    """Reads and writes of one address of a low-rank change."""
    import torch

    place = target.place(address.address)
    own = delta.at(address)
    b, a = torch.from_numpy(np.asarray(own.b, np.float64)), torch.from_numpy(np.asarray(own.a, np.float64))
    if place.kind != "lookup":
        return Factors(a.T.contiguous(), (b * own.scale).T.contiguous())
    spare = torch.zeros(place.inputs - len(b), b.shape[1], dtype=b.dtype)  # rows that no token reaches
    return Factors(torch.cat([b, spare]), (a * own.scale).contiguous())


def contrasting(parts: Parts, on: Callable[[], Any], off: Callable[[], Any]) -> Parts:
    """The same pieces turned so that the first are used by `on` inputs and idle on `off` ones.

    `on` and `off` yield (ids [batch, position], mask [batch, position]).
    """
    moments = [second_moments(parts, batches()) for batches in (on, off)]
    made = {
        a: _from(contrasted(f.reads.double().numpy(), f.writes.double().numpy(), moments[0][a], moments[1][a]))
        for a, f in parts.factors.items()
    }
    turned = replace(parts, factors=made, sha256=hash_of(made), levels=None)
    return replace(turned, levels=levels(turned, off()))


def second_moments(parts: Parts, batches: Any) -> dict[str, np.ndarray]:
    """Mean of h hᵀ over positions, of every weight."""
    import torch

    sums = {a: torch.zeros(f.size, f.size, dtype=torch.float64) for a, f in parts.factors.items()}
    n = 0
    for ids, mask in batches:
        with torch.no_grad(), recorded(parts.target, list(parts.factors)) as record:
            parts.target.run(ids)
            for a, f in parts.factors.items():
                h = f.activations(record.inputs[a])[mask].double()
                sums[a] += h.T @ h
        n += int(mask.sum())
    return {a: (total / max(n, 1)).numpy() for a, total in sums.items()}


def levels(parts: Parts, batches: Any) -> dict[str, torch.Tensor]:
    """The 99th percentile of |h| of every piece on some texts."""
    import torch

    seen: dict[str, list[torch.Tensor]] = {a: [] for a in parts.factors}
    for ids, mask in batches:
        for a, h in parts.sizes_of(ids, list(parts.factors)).items():
            seen[a].append(h[mask])
    return {a: torch.quantile(torch.cat(own).float(), QUANTILE, dim=0) for a, own in seen.items()}


def save(parts: Parts, folder: Path) -> None:
    """Write turned pieces, for `load`."""
    from safetensors.torch import save_file

    assert parts.levels is not None and parts.reference is not None, "pieces that were turned"
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"V/{a}": f.reads.contiguous() for a, f in parts.factors.items()}
    tensors |= {f"U/{a}": f.writes.contiguous() for a, f in parts.factors.items()}
    tensors |= {f"level/{a}": level.contiguous() for a, level in parts.levels.items()}
    save_file(tensors, folder / TENSORS, metadata={"format": "pt"})
    document = {
        "schema": "radiograph.pieces/1",
        "model": parts.model.identity.tensors_sha256,
        "sha256": parts.sha256,
    }
    (folder / DOCUMENT).write_text(json.dumps(document, indent=1) + "\n")


def _pieces_folder(ctx: Context, reference: str) -> Path | None:
    if reference.startswith("decomposition:"):
        return None
    place = ctx.locate(reference)
    found = next((p for p in (place / PIECES, place) if (p / DOCUMENT).is_file()), None)
    return None if found is None else ctx.path(str(found), "pieces")


def _load(folder: Path, parts: Parts) -> Parts:

    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        document = json.loads((folder / DOCUMENT).read_text())
        tensors = load_file(folder / TENSORS)
        factors = {a: Factors(tensors[f"V/{a}"], tensors[f"U/{a}"]) for a in parts.factors}
        found = {a: tensors[f"level/{a}"] for a in parts.factors}
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise FormatError("these are no pieces of this adapter", where=str(folder), got=str(error)[:200]) from error
    own = parts.model.identity.tensors_sha256
    if document.get("model") != own:
        raise Refusal(
            "decomposition_mismatch",
            "these pieces are of another model",
            expected=str(document.get("model")),
            got=own,
            fix="search that model, or give the one that was searched",
            fixable=True,
        )
    if hash_of(factors) != document.get("sha256"):
        raise FormatError("pieces are not what their hash says", where=str(folder))
    return replace(parts, factors=factors, levels=found, sha256=str(document["sha256"]))


def hash_of(factors: Mapping[str, Factors]) -> str:
    """Of all factors, by address."""
    digest = hashlib.sha256(b"radiograph.pieces/1")
    for address, own in factors.items():
        digest.update(address.encode())
        for tensor in (own.reads, own.writes):
            digest.update(str(tuple(tensor.shape)).encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _from(pieces: Any) -> Factors:

    import torch

    return Factors(torch.from_numpy(pieces.reads).float(), torch.from_numpy(pieces.writes).float())
