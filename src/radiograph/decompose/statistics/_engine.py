"""One shard of texts through a decomposed model, without gradients.

1. batches are planned over the shard alone, so they depend on it and on nothing else
2. the target runs unmasked; a component fires where its importance exceeds `fires`, on counted tokens
3. counts, sums rounded once a batch, tokens in and probability mass of tokens out, pairs, examples by keyed hash
4. of recorded windows every firing is written as a record

One thread a shard, whoever runs it: a product that is split over threads may round otherwise. Stops at a value that is
not finite, and names weight, document and position.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from radiograph.core import Task, UserError
from radiograph.decompose._decomposition import Decomposition
from radiograph.decompose._files import load
from radiograph.decompose.statistics._records import Recorder
from radiograph.decompose.statistics._shards import part_of, single_thread
from radiograph.decompose.statistics._spec import Spec, Texts
from radiograph.decompose.statistics._sums import BITS, Sums, kept
from radiograph.models import Batch, ModelRef, pad, plan
from radiograph.models import load as load_model
from radiograph.models.masked import Target, of_model
from radiograph.numerics.cofiring import PairCounts, added, as_fixed, joined, keys, likely, smallest, text_keys
from radiograph.numerics.explanations import csr
from radiograph.store.components import ExampleRows

if TYPE_CHECKING:
    from radiograph.core.shapes import Bool, Float32, Int64, UInt64

_LAST = np.uint64(2**64 - 1)
_DENSE = 0.03
"""Share of firings above which a dense product is faster than a sparse one."""
_HELD = 100_000
"""Candidates for examples that wait before all but the smallest keys go."""


@dataclass(frozen=True, eq=False)
class _Seen:
    """One batch: every real position in a line, window by window."""

    importance: Float32[np.ndarray, "position component"]
    h: Float32[np.ndarray, "position component"]
    probabilities: Float32[np.ndarray, "position token"]
    ids: Int64[np.ndarray, " position"]
    counted: Bool[np.ndarray, " position"]
    window: Int64[np.ndarray, " position"]
    place: Int64[np.ndarray, " position"]
    """In its window."""
    starts: Int64[np.ndarray, " row"]
    """First position of each window of the batch."""
    lengths: Int64[np.ndarray, " row"]


class Engine:
    """A model, its decomposition, and what is counted."""

    def __init__(self, target: Target, decomposition: Decomposition, spec: Spec, texts: Texts) -> None:
        """Refuses a decomposition of another model."""
        decomposition.check(target)
        self.target, self.decomposition, self.spec, self.texts = target, decomposition, spec, texts
        assert target.model is not None, "a language model is harvested"
        self.vocabulary = target.model.vocab_size
        self.tokenizer = target.model.tokenizer
        facts = spec.facts
        self.seed, self.batch_tokens = facts["seed"], facts["batch_tokens"]
        self.fires, self.around, self.examples = facts["fires"], facts["around"], facts["examples"]
        self.bounds = texts.bounds(facts["shard_tokens"])
        self._who = text_keys(self.seed, "component", map(str, decomposition.components))
        self._writes = np.concatenate(
            [f.writes.detach().double().norm(dim=1).cpu().numpy() for f in decomposition.factors.values()]
        )

    def shard(self, number: int, task: Task | None = None) -> Sums:
        """Count one shard; its records are written here."""
        first, last = self.bounds[number : number + 2].tolist()
        rows = [self.texts.row(n) for n in range(first, last)]
        sums = Sums.empty(self.decomposition.size, self.vocabulary, self.around)
        pairs = PairCounts(self.decomposition.size)
        waiting: list[ExampleRows] = []
        bound, bounded = np.full(self.decomposition.size, _LAST, np.uint64), 0
        recorder = None if self.spec.records is None else Recorder(self.texts, self.tokenizer)
        with single_thread(), torch.no_grad():
            for chosen in plan([len(row) for row in rows], self.batch_tokens):
                seen = self._seen(pad(rows, chosen, device=self.target.device), first)
                self._count(sums, pairs, seen)
                held = sum(map(len, waiting))
                if held > _HELD + 3 * self.decomposition.size * self.examples:
                    waiting = [kept(waiting, self.examples)]
                    held = len(waiting[0])
                if held > 1.5 * bounded:  # keys alone say what has no room; windows are moved seldom
                    bound, bounded = largest_keys(waiting, self.decomposition.size, self.examples), held
                waiting.append(self._examples(seen, bound))
                if recorder is not None:
                    recorder.add(seen, self.fires)
                if task is not None:
                    task.advance(int(seen.counted.sum()))
        sums.pairs = pairs.counts()
        sums.examples = kept([sums.examples, *waiting], self.examples)
        sums.fed = int(self.texts.lengths[first:last].sum())
        sums.shards = (number,)
        if recorder is not None and self.spec.records is not None:
            recorder.write(self.spec.records, number, first, last, self.spec.sha256)
        return sums

    def _seen(self, batch: Batch, first: int) -> _Seen:
        found = self.decomposition.observe(self.target, batch.ids)
        real = batch.mask
        windows = np.array([first + row for row in batch.rows], np.int64)
        lengths = batch.mask.sum(1).cpu().numpy().astype(np.int64)
        starts = np.cumsum(lengths) - lengths
        place = np.arange(int(lengths.sum())) - np.repeat(starts, lengths)
        seen = _Seen(
            importance=_flat(found.lower, real),
            h=_flat(found.h, real),
            probabilities=found.output.float().softmax(-1)[real].cpu().numpy(),
            ids=batch.ids[real].cpu().numpy(),
            counted=np.concatenate([self.texts.marks(n) for n in windows.tolist()]),
            window=np.repeat(windows, lengths),
            place=place,
            starts=starts,
            lengths=lengths,
        )
        self._check(seen)
        return seen

    def _count(self, sums: Sums, pairs: PairCounts, seen: _Seen) -> None:
        at = np.flatnonzero(seen.counted)
        importance, h = (seen.importance, seen.h) if len(at) == len(seen.ids) else (seen.importance[at], seen.h[at])
        fires = importance > self.fires
        size = np.abs(h).sum(axis=0, dtype=np.float64) * self._writes
        sums.firings += fires.sum(axis=0)
        for name, values in (
            ("importance", importance.sum(axis=0, dtype=np.float64)),
            ("h", h.sum(axis=0, dtype=np.float64)),
            ("size", size),
        ):
            setattr(sums, name, added(getattr(sums, name), as_fixed(values, BITS[name], name), name))
        if len(at):
            np.maximum(sums.largest, (np.abs(h).max(axis=0) * self._writes).astype(np.float32), out=sums.largest)
        tokens, probabilities = seen.ids[at], seen.probabilities[at]
        sums.token_count += np.bincount(tokens, minlength=self.vocabulary)
        mass = as_fixed(probabilities.sum(axis=0, dtype=np.float64), BITS["token_mass"], "token mass")
        sums.token_mass = added(sums.token_mass, mass, "token mass")
        shape = (self.decomposition.size, self.vocabulary)
        met, seen_on = _by_token(tokens, fires)
        token, which = _places(seen_on)
        counts = csr(seen_on[token, which], which, met[token], shape)
        sums.inputs = joined(sums.inputs, counts)
        live = np.flatnonzero(fires.any(axis=0))
        if len(live):
            mass = _product(fires[:, live], probabilities)
            sums.add_mass(live, as_fixed(mass, BITS["mass"], "mass"))
        pairs.add(fires)
        sums.counted += len(at)

    def _examples(self, seen: _Seen, bound: UInt64[np.ndarray, " component"]) -> ExampleRows:
        """The smallest keys of the batch, with their windows; what `bound` has no room for is left out."""
        position, component = _places((seen.importance > self.fires) & seen.counted[:, None])
        names = [f"{self.texts.documents[n]}\x1f{self.texts.parts[n]}" for n in seen.window[seen.starts].tolist()]
        where = np.repeat(text_keys(self.seed, "document", names), seen.lengths)
        key = keys(self._who[component], where[position], seen.place[position])
        room = np.flatnonzero(key <= bound[component])
        position, component, key = position[room], component[room], key[room]
        near = np.flatnonzero(key <= likely(component, self.decomposition.size, self.examples))
        chosen = near[smallest(component[near], key[near], self.examples)]
        if len(chosen) < np.minimum(np.bincount(component), self.examples).sum():  # luck was against a component
            chosen = smallest(component, key, self.examples)
        position, component, key = position[chosen], component[chosen], key[chosen]
        lead = _led(seen)
        ends = np.repeat(seen.starts + seen.lengths, seen.lengths)[position]
        begins = (np.repeat(seen.starts, seen.lengths) + lead)[position]
        left, right = np.minimum(position - begins, self.around), np.minimum(ends - position - 1, self.around)
        at = component, position + self.around * np.repeat(np.arange(len(seen.starts)), seen.lengths)[position]
        return ExampleRows(
            component=component.astype(np.int32),
            key=key,
            window=seen.window[position].astype(np.int32),
            position=seen.place[position].astype(np.int32),
            first=(self.around - left).astype(np.int32),
            size=(left + 1 + right).astype(np.int32),
            importance=_around(seen.importance, seen, lead, self.around)[at],
            h=_around(seen.h, seen, lead, self.around)[at],
        )

    def _check(self, seen: _Seen) -> None:
        """A sum is finite only if every term is, save for overflow: the exact search runs only then."""
        with np.errstate(invalid="ignore", over="ignore"):
            if np.isfinite(seen.importance.sum()) and np.isfinite(seen.h.sum()):
                return
        for what, values in (("activation", seen.h), ("importance", seen.importance)):
            bad = np.argwhere(~np.isfinite(values))
            if len(bad):
                position, component = (int(n) for n in bad[0])
                window = int(seen.window[position])
                raise UserError(
                    f"the {what} of {self.decomposition.components[component]} is not finite",
                    where=f"text {self.texts.documents[window]}, position {seen.place[position]}",
                    got=str(float(values[position, component])),
                    code="not_finite",
                )


def harvest_shard(spec: Spec, number: int) -> int:
    """Count one shard and commit it; returns its counted tokens. All that a worker does, wherever it runs."""
    sums = _opened(spec).shard(number)
    sums.save(part_of(spec.home, number), spec.sha256)
    return sums.counted


@lru_cache(maxsize=1)
def _opened(spec: Spec) -> Engine:
    """The model, loaded once a process."""
    target = of_model(load_model(ModelRef(spec.model), device=spec.device))
    return Engine(target, load(Path(spec.decomposition), spec.device), spec, Texts.open(spec.home))


def _flat(values: dict[str, Tensor], real: Tensor) -> Float32[np.ndarray, "position component"]:
    return torch.cat([v[real].float() for v in values.values()], dim=-1).cpu().numpy()


def largest_keys(parts: list[ExampleRows], components: int, n: int) -> UInt64[np.ndarray, " component"]:
    """Keys above which nothing is kept: the nth smallest one of a component that has so many."""
    owner, key = (np.concatenate([getattr(part, name) for part in parts]) for name in ("component", "key"))
    chosen = smallest(owner, key, n)
    owner, key = owner[chosen], key[chosen]
    found = np.full(components, _LAST, np.uint64)
    last = np.flatnonzero(np.append(owner[1:] != owner[:-1], True)) if len(owner) else np.zeros(0, np.int64)
    full = np.bincount(owner, minlength=components)[owner[last]] >= n
    found[owner[last][full]] = key[last][full]
    return found


def _places(table: np.ndarray) -> tuple[Int64[np.ndarray, " entry"], Int64[np.ndarray, " entry"]]:
    """Row and column of what is not zero: three times as fast as asking for both at once."""
    return np.divmod(np.flatnonzero(table), table.shape[1])


def _by_token(
    tokens: Int64[np.ndarray, " position"], fires: Bool[np.ndarray, "position component"]
) -> tuple[Int64[np.ndarray, " met"], Int64[np.ndarray, "met component"]]:
    """Which tokens there are, and how often each component fires on each."""
    if not len(tokens):
        return np.zeros(0, np.int64), np.zeros((0, fires.shape[1]), np.int64)
    order = np.argsort(tokens, kind="stable")
    met, first = np.unique(tokens[order], return_index=True)
    return met, np.add.reduceat(fires[order], first, axis=0, dtype=np.int64)


def _product(
    fires: Bool[np.ndarray, "position component"], values: Float32[np.ndarray, "position column"]
) -> Float32[np.ndarray, "component column"]:
    """Sum over the positions where each component fires: sparse where few do. Which one depends on the batch alone.

    The dense one is torch's, whose threads are held to one: NumPy's product has threads of its own.
    """
    if np.count_nonzero(fires) > _DENSE * fires.size:
        return (torch.from_numpy(fires).float().T @ torch.from_numpy(values)).numpy()
    position, component = _places(fires)
    shape = (fires.shape[1], fires.shape[0])
    held = csr(np.ones(len(component), np.float32), component, position, shape)
    return held @ values


def _around(
    values: Float32[np.ndarray, "position component"], seen: _Seen, lead: Int64[np.ndarray, " position"], around: int
) -> Float32[np.ndarray, "component start column"]:
    """A view whose entry is what stands around a position, 0 where the window has nothing: entries copy as one run.

    Windows lie `around` places apart, so position p of the nth one has its surroundings at p + n · around.
    """
    row = np.repeat(np.arange(len(seen.starts)), seen.lengths)
    shown = np.flatnonzero(seen.place >= lead)
    wide = np.zeros((values.shape[1], len(values) + around * (len(seen.starts) + 1)), np.float32)
    wide[:, shown + around * (row[shown] + 1)] = values[shown].T
    return np.lib.stride_tricks.sliding_window_view(wide, 2 * around + 1, axis=1)


def _led(seen: _Seen) -> Int64[np.ndarray, " position"]:
    """How many uncounted tokens stand at the head of each position's window: BOS is no context worth showing."""
    lead = np.array(
        [
            int(np.argmax(own)) if (own := seen.counted[s : s + n]).any() else int(n)
            for s, n in zip(seen.starts.tolist(), seen.lengths.tolist(), strict=True)
        ],
        np.int64,
    )
    return np.repeat(lead, seen.lengths)
