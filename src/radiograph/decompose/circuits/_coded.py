"""A prompt as dictionaries see it: features in the place of components, so that the same regimes run on them.

1. the model runs unmasked; each codec encodes what its site holds. A feature is alive where its code is not 0
2. under masks m: y' = decode(m · encode(x)) + m_Δ (y − decode(encode(x))), x and y as they are in that run. What a
   codec does not reconstruct plays Δ: with masks 1 and Δ 1 the result is y itself, bit for bit
3. features of all codecs lie side by side, [position, feature], in the order of the sites. A node is named as in graphs
   of other programs: LAYER_FEATURE_POSITION

A code is on or off: importance of a feature is 1 where it is alive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from radiograph.core import Site, UserError
from radiograph.core.codec import Codec, Codes
from radiograph.core.shapes import Bool, Float, Int
from radiograph.decompose.circuits._prompt import check_ids, is_several
from radiograph.models import Edit, LanguageModel, edit
from radiograph.models.masked import Target
from radiograph.numerics.sparse import dense


@dataclass(frozen=True, eq=False)
class Coded:
    """One prompt. Build it with `of`."""

    target: Target
    codecs: Mapping[int, Codec]
    """By layer; each reads one site and writes one."""
    ids: Int[Tensor, " position"]
    logits: Float[Tensor, "position vocabulary"]
    """Of the target."""
    activations: Float[Tensor, "position component"]
    """Codes of the unmasked run."""

    @classmethod
    def of(cls, target: Target, codecs: Mapping[int, Codec], ids: Sequence[int]) -> Coded:
        """Run the model on a prompt and encode it.

        Raises:
            UserError: no tokens, too many, or ids outside the vocabulary; a value that is not finite.
        """
        check_ids(target, ids)
        row = torch.tensor(list(ids), device=target.device)
        seen: dict[int, Tensor] = {}

        def keep(layer: int, x: Tensor, y: Tensor) -> Tensor:
            seen[layer] = dense(codecs[layer].encode(x.flatten(0, 1)))
            return y

        with torch.no_grad(), edit(_model(target), _edits(codecs, keep)):
            logits = target.run(row[None])[0]
        ordered = dict(sorted(codecs.items()))
        codes = torch.cat([seen[layer] for layer in ordered], -1)
        if not bool(torch.isfinite(codes).all()):
            place, feature = (int(i) for i in (~torch.isfinite(codes)).nonzero()[0])
            raise UserError(f"feature {feature} is not finite", where=f"position {place}", code="non_finite")
        return cls(target, ordered, row, logits, codes)

    @property
    def length(self) -> int:
        """Positions."""
        return len(self.ids)

    @property
    def sizes(self) -> dict[str, int]:
        """Features of each codec."""
        return {str(layer): codec.size for layer, codec in self.codecs.items()}

    @property
    def alive(self) -> Bool[Tensor, "position component"]:
        """Where a code is not 0."""
        return self.activations != 0

    @property
    def importance(self) -> Float[Tensor, "position component"]:
        """1 where alive."""
        return self.alive.to(self.activations.dtype)

    @property
    def raw(self) -> Float[Tensor, "position component"]:
        """The same."""
        return self.importance

    def run(
        self, m: Float[Tensor, "row position component"], delta: Float[Tensor, "row position weight"] | float | None
    ) -> Float[Tensor, "row position vocabulary"]:
        """Logits under masks, a row each; Δ's masks by codec, one number for all, or None: no Δ."""
        parts = dict(zip(self.codecs, m.split([c.size for c in self.codecs.values()], -1), strict=True))
        number = {layer: n for n, layer in enumerate(self.codecs)}

        def replace(layer: int, x: Tensor, y: Tensor) -> Tensor:
            own = delta[..., number[layer]] if isinstance(delta, Tensor) else delta
            return _masked(self.codecs[layer], x, y, parts[layer], own)

        with edit(_model(self.target), _edits(self.codecs, replace)):
            return self.target.run(self.ids.expand(len(m), -1))

    def weight_of(self) -> Int[Tensor, " component"]:
        """Number of each feature's codec."""
        sizes = torch.tensor(list(self.sizes.values()), device=self.ids.device)
        return torch.repeat_interleave(torch.arange(len(sizes), device=self.ids.device), sizes)

    def nodes(self, chosen: Bool[Tensor, "position component"]) -> list[str]:
        """Chosen features as nodes, position by position."""
        names = [(layer, n) for layer, codec in self.codecs.items() for n in range(codec.size)]
        return [f"{names[c][0]}_{names[c][1]}_{p}" for p, c in chosen.nonzero().tolist()]

    def place(self, node: str) -> tuple[int, int]:
        """Position and number of a node.

        Raises:
            UserError: malformed, of a layer without a dictionary, or outside dictionary or prompt.
        """
        parts = node.split("_")
        expected = f"LAYER_FEATURE_POSITION, of layers {', '.join(map(str, self.codecs))}"
        if len(parts) != 3 or not all(part.isdecimal() for part in parts):
            raise UserError(f"{node!r} is no feature of a graph", expected=expected, code="unknown_node")
        layer, feature, position = map(int, parts)
        if layer not in self.codecs or feature >= self.codecs[layer].size or position >= self.length:
            limits = f"; {self.length} positions"
            if layer in self.codecs:
                limits += f", {self.codecs[layer].size} features"
            raise UserError(f"{node} is in no dictionary here", expected=expected + limits, code="unknown_node")
        before = sum(codec.size for other, codec in self.codecs.items() if other < layer)
        return position, before + feature

    def chosen(self, nodes: Iterable[str], *, where: str) -> Bool[Tensor, "position component"]:
        """Nodes by name, all of which must be alive here.

        Raises:
            UserError: malformed, outside the prompt or the dictionaries, or not alive.
        """
        found = torch.zeros_like(self.alive)
        dead: list[str] = []
        for node in nodes:
            place = self.place(node)
            found[place] = True
            if not bool(self.alive[place]):
                dead.append(node)
        if dead:
            raise UserError(
                f"{is_several(dead)} not alive on this prompt: the code there is 0",
                where=where,
                expected=f"among the {int(self.alive.sum())} alive features",
                fix="give the dictionaries and the model that the graph was made with",
                code="not_alive",
            )
        return found


def _model(target: Target) -> LanguageModel:
    assert target.model is not None, "it reads tokens"
    return target.model


def _edits(codecs: Mapping[int, Codec], replace: Callable[[int, Tensor, Tensor], Tensor]) -> dict[Site, Edit]:
    """Edits that hand every codec what its site holds and what it is to write; a site is written before it is read."""
    held: dict[int, Tensor] = {}
    writes: dict[Site, list[Edit]] = {}
    reads: dict[Site, list[Edit]] = {}

    def writer(layer: int, same: bool) -> Edit:
        return lambda y: replace(layer, y if same else held[layer], y)

    def reader(layer: int) -> Edit:
        def read(x: Tensor) -> Tensor:
            held[layer] = x
            return x

        return read

    for layer, codec in codecs.items():
        (source,), (goal,) = (Site.parse(s) for s in codec.sites), (Site.parse(s) for s in codec.targets)
        writes.setdefault(goal, []).append(writer(layer, source == goal))
        if source != goal:
            reads.setdefault(source, []).append(reader(layer))
    return {site: _chained([*writes.get(site, ()), *reads.get(site, ())]) for site in {**writes, **reads}}


def _chained(several: Sequence[Edit]) -> Edit:
    def change(values: Tensor) -> Tensor:
        for one in several:
            values = one(values)
        return values

    return change


def _masked(
    codec: Codec,
    x: Float[Tensor, "row position read"],
    y: Float[Tensor, "row position written"],
    m: Float[Tensor, "row position feature"],
    delta: Float[Tensor, "row position"] | float | None,
) -> Float[Tensor, "row position written"]:
    rows, codes = x.flatten(0, 1), codec.encode(x.flatten(0, 1))
    kept = codes.values * m.flatten(0, 1)[codes.rows, codes.indices].to(codes.values)
    new = codec.decode(Codes(codes.indices, kept, codes.offsets, codes.size), rows)
    if delta is not None:
        whole, own = codec.decode(codes, rows), y.flatten(0, 1).to(new)
        if isinstance(delta, Tensor):
            new = new + delta.flatten()[:, None].to(new) * (own - whole)
        else:
            # In this order what is not masked leaves the target's own bytes: new − whole is 0.
            new = own + (new - whole) + (delta - 1.0) * (own - whole)
    return new.view_as(y).to(y.dtype)
