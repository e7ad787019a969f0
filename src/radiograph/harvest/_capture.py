"""One shard's rows from the models of a spec.

1. the shard's windows, sorted by length and filled into batches (`models.plan`)   2. every model runs each batch in
turn and stops after the last site that is read   3. kept rows go to their place in stream order, so neither the batch
plan nor the number of sites moves a row; on a GPU by copies into pinned memory that the next forward does not wait for
4. with a codec, each batch's rows are encoded as they come   5. rows of outlying norm are left out, if asked

Everything depends on the shard's windows alone: the median that outliers are measured by is that of the shard.
Stops at a value that is not finite, and at one that fp16 cannot hold, with prompt, position, source and index.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from radiograph.core import Site, Source, Task, UserError
from radiograph.core.codec import Codec, Codes
from radiograph.core.shapes import Bool, Float
from radiograph.harvest._plan import Plan
from radiograph.harvest._spec import FP16_LARGEST, Recipe
from radiograph.models import Activations, Batch, LanguageModel, batches, capture
from radiograph.store.shards import Buffers

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
CODES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16", torch.float64: "F64"}
"""What safetensors calls them."""
HELD = 4
"""Shards in memory: one being filled, one handed over, and two with the writer."""


@dataclass(frozen=True, eq=False)
class Captured:
    """Rows of consecutive windows. Row r of every source belongs to the same token."""

    rows: dict[str, Float[Tensor, "row width"]]
    """Source to rows; empty where records alone are wanted."""
    token: NDArray[np.uint32]
    prompt: NDArray[np.uint32]
    """Number of the window."""
    position: NDArray[np.uint16]
    """Position in the window."""
    place: NDArray[np.int64]
    """Place of the token among all that the plan keeps."""
    codes: Codes | None
    dropped: int
    """Rows left out because of their norm."""


@dataclass(eq=False)
class Engine:
    """Models in memory, ready to make any shard."""

    models: Mapping[str, LanguageModel]
    """By role."""
    recipe: Recipe
    codec: Codec | None = None
    reader: Callable[[LanguageModel, Batch, Sequence[Site]], Activations] = capture
    """Runs a batch and returns what stands at the sites."""
    sources: tuple[Source, ...] = field(init=False)
    buffers: Buffers = field(default_factory=Buffers, init=False, repr=False)
    """Memory of shards that were written, for those to come: else it grows in pieces between what a forward frees."""

    def __post_init__(self) -> None:
        self.sources = tuple(Source.parse(text) for text in self.recipe.sources)

    def width(self, source: Source) -> int:
        """Width of a source's rows."""
        return self.models[source.role].site_width(source.site)

    def dtype(self, source: Source) -> torch.dtype:
        """What the rows of a source are stored in."""
        own = self.models[source.role].dtype
        return own if self.recipe.dtype == "same" else DTYPES[self.recipe.dtype]

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of a shard: every source, token, prompt and position."""
        return sum(self.width(s) * self.dtype(s).itemsize for s in self.sources) + 10

    def capture(self, plan: Plan, first: int, last: int, task: Task | None = None) -> Captured:
        """The rows of windows `first` to `last`, the latter left out; `task` is told of rows as they come.

        Raises:
            UserError: a value that is not finite, or that the type of the shard cannot hold.
        """
        return _Shard(self, plan, first, last).run(task)


class _Shard:
    """The state of one capture."""

    def __init__(self, engine: Engine, plan: Plan, first: int, last: int) -> None:
        self.engine, self.plan, self.first = engine, plan, first
        starts, lengths = plan.starts[first:last], plan.lengths[first:last]
        self.tokens = [plan.tokens[s : s + n].tolist() for s, n in zip(starts, lengths, strict=True)]
        self.kept = [
            torch.from_numpy(np.flatnonzero(plan.kept[s : s + n])) for s, n in zip(starts, lengths, strict=True)
        ]
        self.counts = plan.rows[first:last]
        self.ends = np.cumsum(self.counts)
        self.total = int(self.ends[-1])
        self.by_role: dict[str, list[Source]] = {}
        for source in engine.sources:
            self.by_role.setdefault(source.role, []).append(source)
        self.pinned = any(m.device.type == "cuda" for m in engine.models.values())
        self.rows = {
            str(s): self._empty(engine.width(s), engine.dtype(s)) for s in engine.sources if engine.recipe.dense
        }
        self.norms = torch.zeros(len(engine.sources), self.total) if engine.recipe.drop_norm else None
        self.parts: list[tuple[Tensor, Codes]] = []

    def run(self, task: Task | None) -> Captured:
        for batch in batches(self.tokens, batch_tokens=self.engine.recipe.batch_tokens):
            self._take(batch)
            if task is not None:
                task.advance(int(self.counts[list(batch.rows)].sum()))
        if self.pinned:
            torch.cuda.synchronize()
            for source in filter(self._late, self.engine.sources):
                self._check(self.rows[str(source)], torch.arange(self.total), source)
        chosen = self._ordinary()
        codes = None if self.engine.codec is None else _ordered(self.parts, self.total, self.engine.codec.size)
        token, prompt, position = self._columns()
        place = int(self.plan.rows[: self.first].sum()) + np.arange(self.total)
        rows = self.rows
        if chosen is not None:
            mask = chosen.numpy()
            rows = {name: values[chosen] for name, values in rows.items()}
            codes = None if codes is None else _of_rows(codes, chosen)
            token, prompt, position, place = token[mask], prompt[mask], position[mask], place[mask]
        return Captured(rows, token, prompt, position, place, codes, self.total - len(token))

    def _empty(self, width: int, dtype: torch.dtype) -> Tensor:
        if self.pinned:
            return torch.empty(self.total, width, dtype=dtype, pin_memory=True)
        row = width * dtype.itemsize
        size = max(self.total * row, self.engine.recipe.shard_bytes // self.engine.row_bytes * row)
        memory = self.engine.buffers.take(size, HELD * len(self.engine.sources))
        return torch.from_numpy(memory[: self.total * row]).view(dtype).view(self.total, width)

    def _take(self, batch: Batch) -> None:
        """Run one batch through every model and put its rows in their places."""
        lines = [
            (line, int(self.ends[row] - self.counts[row]), int(self.ends[row])) for line, row in enumerate(batch.rows)
        ]
        width = batch.ids.shape[1]
        flat = torch.cat([line * width + self.kept[row] for line, row in enumerate(batch.rows)])
        places = torch.cat([torch.arange(a, b) for _, a, b in lines])
        encoded: dict[str, Tensor] = {}
        wanted = set() if self.engine.codec is None else {str(Source.parse(s)) for s in self.engine.codec.sites}
        for role, sources in self.by_role.items():
            model = self.engine.models[role]
            found = self.engine.reader(model, batch, [source.site for source in sources])
            for source in sources:
                rows = found[source.site].flatten(0, 1).index_select(0, flat.to(model.device))
                if not self._late(source):
                    self._check(rows, places, source)
                self._store(rows, source, lines)
                if self.norms is not None:
                    self.norms[self.engine.sources.index(source), places] = rows.float().norm(dim=1).cpu()
                if str(source) in wanted:
                    encoded[str(source)] = rows
        if self.engine.codec is not None:
            joined = [encoded[str(Source.parse(s))] for s in self.engine.codec.sites]
            with torch.inference_mode():
                self.parts.append((places, self.engine.codec.encode(torch.cat(joined, dim=1).float())))

    def _store(self, rows: Tensor, source: Source, lines: Sequence[tuple[int, int, int]]) -> None:
        target = self.rows.get(str(source))
        if target is None:
            return
        start = 0
        for _, a, b in lines:
            target[a:b].copy_(rows[start : start + b - a], non_blocking=self.pinned)
            start += b - a

    def _late(self, source: Source) -> bool:
        """Whether rows are checked when all have arrived: a look at them on the way would wait for every batch."""
        return self.pinned and self.engine.recipe.dense and self.engine.recipe.dtype == "same"

    def _check(self, rows: Tensor, places: Tensor, source: Source) -> None:
        largest = self.engine.dtype(source) == torch.float16
        # A sum is finite only if every term is, save for overflow: the exact search runs only then.
        if bool(torch.isfinite(rows.sum(dtype=torch.float32))) and not (
            largest and float(rows.abs().max()) > FP16_LARGEST
        ):
            return
        bad = ~torch.isfinite(rows)
        code = "non_finite" if bool(bad.any()) else "fp16_overflow"
        if code == "fp16_overflow":
            bad = rows.abs() > FP16_LARGEST if largest else bad
        if not bool(bad.any()):
            return
        line, unit = (int(i) for i in bad.nonzero()[0])
        place = int(places[line])
        owner = int(np.searchsorted(self.ends, place, side="right"))
        position = int(self.kept[owner][place - int(self.ends[owner] - self.counts[owner])])
        prompt = self.plan.prompts.row(self.first + owner, named=True)["prompt_id"]
        raise UserError(
            f"{source} is not finite" if code == "non_finite" else f"{source} does not fit into fp16",
            where=f"prompt {prompt}, position {position}, index {unit}",
            got=str(float(rows[line, unit])),
            fix=None if code == "non_finite" else "store it as --dtype same or bf16",
            code=code,
        )

    def _ordinary(self) -> Bool[Tensor, " row"] | None:
        """Rows within the allowed multiple of the median norm at every source; None where all are."""
        if self.norms is None:
            return None
        bound = self.norms.median(dim=1, keepdim=True).values * self.engine.recipe.drop_norm
        chosen = (self.norms <= bound).all(0)
        return None if bool(chosen.all()) else chosen

    def _columns(self) -> tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint16]]:
        owner = np.repeat(np.arange(len(self.counts), dtype=np.uint32), self.counts)
        position = np.concatenate([kept.numpy() for kept in self.kept]).astype(np.uint16)
        token = np.concatenate(
            [np.array(ids, np.uint32)[kept.numpy()] for ids, kept in zip(self.tokens, self.kept, strict=True)]
        )
        return token, owner + np.uint32(self.first), position


def _ordered(parts: Sequence[tuple[Tensor, Codes]], rows: int, size: int) -> Codes:
    """Codes of all batches in the order of rows; features stay ascending within each."""
    owner = torch.cat([places[codes.rows] for places, codes in parts])
    order = owner.argsort(stable=True)
    counts = torch.bincount(owner, minlength=rows)
    return Codes(
        indices=torch.cat([codes.indices for _, codes in parts])[order],
        values=torch.cat([codes.values for _, codes in parts])[order],
        offsets=torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
        size=size,
    )


def _of_rows(codes: Codes, chosen: Tensor) -> Codes:
    """The codes of some rows."""
    held = chosen[codes.rows]
    counts = codes.active[chosen]
    return Codes(
        codes.indices[held], codes.values[held], torch.cat([counts.new_zeros(1), counts.cumsum(0)]), codes.size
    )


def expand_sources(models: Mapping[str, LanguageModel], sites: Sequence[str | Site]) -> tuple[str, ...]:
    """Every site of every model, as sources; models in their order, sites in forward order.

    Raises:
        UserError: an unknown site, one outside a model, or a single unit.
    """
    found: dict[str, None] = {}
    for role, model in models.items():
        own: dict[Site, None] = {}
        for site in map(str, sites):
            if site.endswith("]"):
                raise UserError(
                    f"{site!r} is one unit",
                    expected="a site: harvest stores whole vectors",
                    fix=f"use {site.partition('[')[0]}",
                    code="unknown_site",
                )
            own |= dict.fromkeys(model.sites(site))
        found |= {str(Source(site, role)): None for site in sorted(own, key=lambda s: (*s.depth, s.head or -1))}
    return tuple(found)
