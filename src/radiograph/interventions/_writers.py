"""A batch in which every row has its own condition: one edit a site, set once, for all rows and steps.

1. at each site the writes of a condition fill layers in their order; a layer holds at most one write of a coordinate in
   any row, so that it acts on all rows at once
2. columns: gather the written entries, compute every op that occurs, select by op and position, scatter back
3. directions and subspaces: z = U a, a new z by op, a + Uᵀ(z′ − z)
4. what is selected out keeps its bits: `where` takes the old value, and never blends
Positions count from each row's own first token; `last` is the newest one, and only in forwards that are sampled from.
Units: arithmetic in float32 (float64 where the model is); results in the model's type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from radiograph.core import Site
from radiograph.core.shapes import Bool, Float
from radiograph.interventions._bound import BoundCondition, BoundWrite
from radiograph.models import Batch, Edit, LanguageModel, current_batch

_FAR = 2**62
_CODES = {"set": 0, "add": 1, "scale": 2, "cap": 3}


def edits_of(
    model: LanguageModel,
    rows: Sequence[int],
    conditions: Sequence[BoundCondition],
    prompt_lengths: Sequence[int],
) -> dict[Site, Edit]:
    """Edits by site, for rows by the numbers that `current_batch` will know them by."""
    layers: dict[Site, list[_Layer]] = {}
    live: dict[Site, Tensor] = {}
    for row, condition, length in zip(rows, conditions, prompt_lengths, strict=True):
        tops: dict[Site, int] = {}
        for write in condition.writes:
            stack = layers.setdefault(write.site, [])
            top = tops.get(write.site, 0)
            while not (top < len(stack) and stack[top].takes(row, write)):
                if top >= len(stack):
                    stack.append(_Layer())
                else:
                    top += 1
            stack[top].add(row, write, length)
            tops[write.site] = top
            if write.source is not None:
                layers.setdefault(write.source[0], [])
    sources = {w.source[0] for c in conditions for w in c.writes if w.source is not None}
    return {
        site: _edit(site, stack, model.site_width(site), live, site in sources)
        for site, stack in sorted(layers.items(), key=lambda item: item[0].depth)
    }


def _edit(site: Site, layers: Sequence[_Layer], width: int, live: dict[Site, Tensor], source: bool) -> Edit:
    blocks = [_Block(layer, width, live) for layer in layers]

    def edit(values: Float[Tensor, "batch position width"]) -> Float[Tensor, "batch position width"]:
        batch = current_batch()
        for block in blocks:
            values = block.apply(values, batch)
        if source:
            live[site] = values
        return values

    return edit


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """Writes that can act at once: of each row either some columns or one basis."""

    writes: dict[int, list[tuple[BoundWrite, int]]] = field(default_factory=dict[int, list[tuple[BoundWrite, int]]])

    def takes(self, row: int, write: BoundWrite) -> bool:
        """Whether a further write of a row can act together with those that are here."""
        return not self.writes.get(row) or (
            write.basis is None
            and all(w.basis is None and (w.stop <= write.start or write.stop <= w.start) for w, _ in self.writes[row])
        )

    def add(self, row: int, write: BoundWrite, prompt_length: int) -> None:
        self.writes.setdefault(row, []).append((write, prompt_length))


class _Block:
    """A layer, compiled for the rows that are still there."""

    def __init__(self, layer: _Layer, width: int, live: Mapping[Site, Tensor]) -> None:
        self.layer, self.width, self.live = layer, width, live
        self._rows: tuple[int, ...] | None = None
        self._columns: _Columns | None = None
        self._bases: _Bases | None = None

    def apply(self, values: Float[Tensor, "batch position width"], batch: Batch) -> Tensor:
        if batch.rows != self._rows:
            self._compile(batch.rows, values)
        if self._columns is not None:
            values = self._columns.apply(values, batch)
        if self._bases is not None:
            values = self._bases.apply(values, batch, self.live)
        return values

    def _compile(self, rows: tuple[int, ...], like: Tensor) -> None:
        here = [(p, w, n) for p, row in enumerate(rows) for w, n in self.layer.writes.get(row, ())]
        columns = [one for one in here if one[1].basis is None]
        bases = [one for one in here if one[1].basis is not None]
        self._rows = rows
        self._columns = _Columns(columns, like) if columns else None
        self._bases = _Bases(bases, self.width, like) if bases else None


class _Where:
    """Positions of some entries, each of one row of the batch."""

    def __init__(self, writes: Sequence[tuple[int, BoundWrite, int]], repeats: Sequence[int], like: Tensor) -> None:
        bounds = np.repeat([_bounds(write, n) for _, write, n in writes], repeats, axis=0)
        self.place = torch.tensor(np.repeat([place for place, _, _ in writes], repeats), device=like.device)
        self.low, self.high = (torch.tensor(bounds[:, i], device=like.device)[:, None] for i in (0, 1))
        self.last = torch.tensor(bounds[:, 2].astype(bool), device=like.device)[:, None]
        self.any_last = bool(self.last.any())

    def mask(self, batch: Batch) -> Bool[Tensor, "entry position"]:
        """True where an entry is written in this forward."""
        at = batch.positions[self.place]
        chosen = (at >= self.low) & (at < self.high) & batch.mask[self.place]
        if self.any_last and batch.final:
            chosen[:, -1:] |= self.last
        return chosen


class _Columns:
    """Entries (row, column), each with its op and numbers."""

    def __init__(self, writes: Sequence[tuple[int, BoundWrite, int]], like: Tensor) -> None:
        sizes = [write.stop - write.start for _, write, _ in writes]
        wide = torch.promote_types(like.dtype, torch.float32)
        self.where = _Where(writes, sizes, like)
        columns = np.concatenate([np.arange(write.start, write.stop) for _, write, _ in writes])
        value = np.concatenate([np.broadcast_to(w.value, (n,)) for (_, w, _), n in zip(writes, sizes, strict=True)])
        low = np.concatenate(
            [np.full(n, -np.inf) if w.low is None else w.low for (_, w, _), n in zip(writes, sizes, strict=True)]
        )
        code = np.repeat([_CODES[write.op] for _, write, _ in writes], sizes)
        self.columns = torch.tensor(columns, device=like.device)
        self.value, self.low = (torch.tensor(v, dtype=wide, device=like.device)[:, None] for v in (value, low))
        self.ops = {c: torch.tensor(code == c, device=like.device)[:, None] for c in sorted(set(code.tolist()))}

    def apply(self, values: Float[Tensor, "batch position width"], batch: Batch) -> Tensor:
        old = values[self.where.place, :, self.columns]
        wide = old.to(self.value.dtype)
        new = wide
        for code, chosen in self.ops.items():
            new = torch.where(chosen, self._changed(code, wide), new)
        out = values.clone()
        out[self.where.place, :, self.columns] = torch.where(self.where.mask(batch), new.to(old.dtype), old)
        return out

    def _changed(self, code: int, old: Tensor) -> Tensor:
        match code:
            case 0:
                return self.value.expand_as(old)
            case 1:
                return old + self.value
            case 2:
                return old * self.value
            case _:
                return old.clamp(self.low, self.value)


class _Bases:
    """Rows, each with a direction or a subspace."""

    def __init__(self, writes: Sequence[tuple[int, BoundWrite, int]], width: int, like: Tensor) -> None:
        bound = [write for _, write, _ in writes]
        rank = max(1 if write.basis is None else len(write.basis) for write in bound)
        wide = torch.promote_types(like.dtype, torch.float32)
        basis, value = np.zeros((len(bound), rank, width)), np.zeros((len(bound), rank))
        for number, write in enumerate(bound):
            assert write.basis is not None, "only such writes come here"
            basis[number, : len(write.basis), write.start : write.stop] = write.basis
            # One number counts for every row of the basis; rows of zeros beyond it push nothing.
            value[number, : None if len(write.value) == 1 else len(write.value)] = write.value
        self.where = _Where(writes, [1] * len(writes), like)
        self.basis, self.value = (torch.tensor(v, dtype=wide, device=like.device) for v in (basis, value))
        low = [-np.inf if write.low is None else float(write.low[0]) for write in bound]
        self.low = torch.tensor(low, dtype=wide, device=like.device)[:, None, None]
        codes = np.array([_code(write) for write in bound])
        self.ops = {
            str(c): torch.tensor(codes == c, device=like.device)[:, None, None] for c in sorted(set(codes.tolist()))
        }
        self.sources = [(number, write.source) for number, write in enumerate(bound) if write.source is not None]

    def apply(self, values: Float[Tensor, "batch position width"], batch: Batch, live: Mapping[Site, Tensor]) -> Tensor:
        old = values[self.where.place]
        wide = old.to(self.basis.dtype)
        z = torch.einsum("etw,emw->etm", wide, self.basis)
        push = torch.zeros_like(z)
        for code, chosen in self.ops.items():
            push = torch.where(chosen, self._push(code, z, live), push)
        new = (wide + torch.einsum("etm,emw->etw", push, self.basis)).to(old.dtype)
        out = values.clone()
        out[self.where.place] = torch.where(self.where.mask(batch)[..., None], new, old)
        return out

    def _push(self, code: str, z: Float[Tensor, "entry position rank"], live: Mapping[Site, Tensor]) -> Tensor:
        value = self.value[:, None]
        match code:
            case "set":
                return value - z
            case "add":
                return value.expand_as(z)
            case "scale":
                return (value - 1) * z
            case "cap":
                return torch.minimum(torch.maximum(z, self.low), value) - z
            case "cap-norm":
                length = z.norm(dim=-1, keepdim=True)
                limit = value[..., :1]
                return torch.where(length > limit, limit / length.clamp(min=1e-30) - 1, torch.zeros_like(length)) * z
            case _:
                push = torch.zeros_like(z)
                for number, (site, unit, norm) in self.sources:
                    held = live[site][self.where.place[number], :, unit].to(z.dtype)
                    push[number, :, 0] = (self.value[number, 0] - held) * norm
                return push


def _code(write: BoundWrite) -> str:
    if write.source is not None:
        return "follow"
    many = write.basis is not None and len(write.basis) > 1
    return "cap-norm" if write.op == "cap" and many else write.op


def _bounds(write: BoundWrite, prompt: int) -> tuple[int, int, int]:
    """First position, one past the last, and whether it is the newest alone."""
    match write.positions.kind:
        case "all":
            return 0, _FAR, 0
        case "prompt":
            return 0, prompt, 0
        case "generated":
            return prompt, _FAR, 0
        case "from":
            return prompt - 1 + (write.positions.k or 0), _FAR, 0
        case _:
            return _FAR, _FAR, 1
