"""Prompts × conditions × samples, in batches that mix any of them.

1. the plan comes from the whole list of rows before anything runs: rows of one prompt stay together, prompts by length,
   rows that need a second forward a step apart (see `models.decoding`)
2. one batch: writes become per-row tensors (`_writers`), hooks are set once, every row decodes
3. `follow="reference"`: the rows without writes are decoded first; then every row is fed the tokens of its prompt's and
   sample's, so that what moves is direct and not by way of the text. Each batch runs once more without its writes: what
   is equal bit by bit there has not moved, and takes the value of the first decoding, so that unmoved is exactly 0
4. where memory does not suffice the batch size halves, and what is left is planned anew
Results depend on the plan only as far as float32 sums do: a row's luck, writes and positions are its own.
A row whose logits are not finite keeps its text up to there and ends as `non-finite`; it has no vector.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from radiograph.core import Site, UserError
from radiograph.evidence import Decoding, Follow, document_sha256
from radiograph.interventions._bound import BoundCondition
from radiograph.interventions._writers import edits_of
from radiograph.models import Decoded, LanguageModel, Line, Measures, Pooled, Reads, decode, stop_ids

ENGINE = "radiograph.engine/1"
BATCH_ROWS = 64
BATCH_TOKENS = 2**16
"""Positions of a batch at its end, padding included: what bounds the cache."""


@dataclass(frozen=True, slots=True)
class SweepRow:
    """One row: places in the lists of prompts and conditions, and the sample."""

    number: int
    prompt: int
    condition: int
    sample: int


@dataclass(frozen=True, eq=False)
class Sweep:
    """Everything that decides the rows of a sweep."""

    model: LanguageModel
    prompts: Sequence[tuple[int, ...]]
    conditions: Sequence[BoundCondition]
    """The first without writes is the baseline."""
    decoding: Decoding = field(default_factory=Decoding)
    samples: int = 1
    reads: Reads = field(default_factory=Reads)
    follow: Follow = "own"
    divergence: bool = False
    """Measure KL(baseline ‖ row) at every step where both hold the same tokens."""
    stops: frozenset[int] | None = None
    """Tokens that end a row; None takes the model's own."""

    def __post_init__(self) -> None:
        if self.samples < 1 or not self.prompts or not self.conditions:
            raise UserError("a sweep needs prompts, conditions and at least one sample", code="empty_sweep")
        if self.needs_baseline and self.baseline is None:
            raise UserError("a sweep that follows or compares needs the condition none", code="no_baseline")

    @cached_property
    def rows(self) -> tuple[SweepRow, ...]:
        """All rows, prompt by prompt, condition by condition."""
        every = [
            (p, c, s)
            for p in range(len(self.prompts))
            for c in range(len(self.conditions))
            for s in range(self.samples)
        ]
        return tuple(SweepRow(number, *one) for number, one in enumerate(every))

    @property
    def baseline(self) -> int | None:
        """Place of the condition without writes."""
        return next((place for place, c in enumerate(self.conditions) if not c.writes), None)

    @property
    def needs_baseline(self) -> bool:
        """Whether rows are compared with, or follow, the row without writes."""
        return self.divergence or self.follow == "reference"

    @cached_property
    def ends(self) -> frozenset[int]:
        """Tokens that end a row."""
        return frozenset(stop_ids(self.model) if self.stops is None else self.stops)

    def baseline_of(self, row: SweepRow) -> int:
        """Number of the baseline row of the same prompt and sample."""
        assert self.baseline is not None, "checked at the start"
        return (row.prompt * len(self.conditions) + self.baseline) * self.samples + row.sample

    @cached_property
    def _raw(self) -> list[list[dict[str, Any]]]:
        return [[write.raw() for write in condition.writes] for condition in self.conditions]

    @cached_property
    def _facts(self) -> dict[str, Any]:
        identity = self.model.identity
        return {
            "engine": ENGINE,
            "model": identity.tensors_sha256,
            "adapter": identity.adapter_tensors_sha256,
            "tokenizer": identity.tokenizer_sha256,
            "dtype": str(self.model.dtype),
            "decoding": self.decoding.model_dump(mode="json"),
            "follow": self.follow,
            "reads": [list(map(str, self.reads.sites)), self.reads.pool, self.reads.before],
            "stops": sorted(self.ends),
        }

    def sha256(self, row: SweepRow) -> str:
        """Hash of everything that decides a row; two rows with the same hash are the same row."""
        own = {"ids": list(self.prompts[row.prompt]), "condition": self._raw[row.condition], "sample": row.sample}
        return document_sha256({**self._facts, **own})

    @cached_property
    def job_sha256(self) -> str:
        """Hash over all rows in order, and what is measured of them: what a resumed run compares."""
        return document_sha256({"rows": [self.sha256(row) for row in self.rows], "divergence": self.divergence})


@dataclass(frozen=True, slots=True, eq=False)
class SweptRow:
    """What came of one row."""

    row: SweepRow
    n_prompt: int
    ids: tuple[int, ...]
    """New tokens, a stop token included."""
    stop: str
    """`stop`, `length`, `context`, `non-finite`."""
    text: str | None
    mean_logprob: float | None
    entropy: float | None
    min_gap: float | None
    """Of greedy rows that chose by themselves: the smallest gap between the two best logits."""
    divergence: tuple[float, ...] = ()
    """KL(baseline ‖ row) a step, while both hold the same tokens."""
    pooled: dict[Site, Pooled] = field(default_factory=dict[Site, Pooled])
    vector_note: str | None = None
    """Why there is no vector."""


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """A baseline row that others follow."""

    ids: tuple[int, ...]
    ending: str
    pooled: Mapping[Site, Pooled]


References = Mapping[int, Reference]
"""By number of the baseline row."""


def plan(
    sweep: Sweep, batch_rows: int = BATCH_ROWS, batch_tokens: int = BATCH_TOKENS, rows: Sequence[int] | None = None
) -> list[tuple[int, ...]]:
    """Row numbers per batch: of all rows, or of those that are left."""
    chosen = [sweep.rows[n] for n in (range(len(sweep.rows)) if rows is None else rows)]
    twice = [c.twice(sweep.model.n_layers) for c in sweep.conditions]
    groups: dict[tuple[bool, int, int], list[int]] = {}
    for row in chosen:
        key = (twice[row.condition], len(sweep.prompts[row.prompt]), row.prompt)
        groups.setdefault(key, []).append(row.number)
    batches: list[tuple[int, ...]] = []
    current: list[int] = []
    kind: bool | None = None
    for (second, length, _), numbers in sorted(groups.items()):
        most = max(1, min(batch_rows, batch_tokens // (length + sweep.decoding.new_tokens)))
        if current and (second != kind or len(current) + len(numbers) > most):
            batches.append(tuple(current))
            current = []
        kind = second
        # More rows than a batch holds are cut into equal parts: equal shapes, equal sums.
        parts = -(-len(numbers) // most)
        size = -(-len(numbers) // parts)
        for start in range(0, len(numbers), size):
            current += numbers[start : start + size]
            if parts > 1:
                batches.append(tuple(current))
                current = []
    return [*batches, tuple(current)] if current else batches


def references(sweep: Sweep, batch_rows: int = BATCH_ROWS) -> References:
    """Every baseline row, decoded by itself: what `follow="reference"` feeds."""
    own = [row.number for row in sweep.rows if row.condition == sweep.baseline]
    found: dict[int, Reference] = {}
    for batch in plan(sweep, batch_rows, rows=own):
        for number, done in zip(batch, _decoded(sweep, batch, {}, sweep.reads, Measures()), strict=True):
            found[number] = Reference(tuple(done.ids), done.ending, done.pooled)
    return found


def run_batch(sweep: Sweep, batch: Sequence[int], given: References | None = None) -> list[SweptRow]:
    """Decode the rows of one batch; `given` is what `references` found, where the sweep follows it."""
    measures = Measures(scores=True, divergence=sweep.divergence)
    decoded = _decoded(sweep, batch, given or {}, sweep.reads, measures)
    if given and sweep.reads.sites:
        idle = _decoded(sweep, batch, given, sweep.reads, Measures(divergence=sweep.divergence), idle=True)
        for number, done, still in zip(batch, decoded, idle, strict=True):
            first = given[sweep.baseline_of(sweep.rows[number])].pooled
            done.pooled = {site: _settled(p, still.pooled[site], first[site]) for site, p in done.pooled.items()}
    return [_swept(sweep, sweep.rows[n], done, given or {}) for n, done in zip(batch, decoded, strict=True)]


def run(sweep: Sweep, *, batch_rows: int = BATCH_ROWS) -> Iterator[list[SweptRow]]:
    """Every row, batch by batch; the batch size halves where memory does not suffice."""
    given = references(sweep, batch_rows) if sweep.follow == "reference" else None
    left = plan(sweep, batch_rows)
    while left:
        try:
            done = run_batch(sweep, left[0], given)
        except (RuntimeError, MemoryError) as error:
            batch_rows = halved(error, batch_rows, left[0])
            left = plan(sweep, batch_rows, rows=sorted(n for batch in left for n in batch))
            continue
        yield done
        left = left[1:]


def sweep_rows(sweep: Sweep, *, batch_rows: int = BATCH_ROWS) -> list[SweptRow]:
    """Every row, in order."""
    return sorted((row for batch in run(sweep, batch_rows=batch_rows) for row in batch), key=lambda r: r.row.number)


def halved(error: Exception, batch_rows: int, batch: Sequence[int]) -> int:
    """Half the batch size after memory ran out; other errors, and a batch of one row, go on."""
    out = isinstance(error, torch.cuda.OutOfMemoryError | MemoryError) or "allocate memory" in str(error)
    if not out or len(batch) == 1:
        raise error
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return max(1, min(batch_rows, len(batch)) // 2)


def _decoded(
    sweep: Sweep,
    batch: Sequence[int],
    given: References,
    reads: Reads,
    measures: Measures,
    *,
    idle: bool = False,
) -> list[Decoded]:
    """The rows of a batch; `idle` leaves every write out and keeps everything else."""
    rows = [sweep.rows[number] for number in batch]
    numbers = list(batch)
    if measures.divergence:
        # A baseline that runs elsewhere runs along, unseen: its logits are needed at every step.
        numbers += sorted({sweep.baseline_of(row) for row in rows} - set(numbers))
    place = {number: at for at, number in enumerate(numbers)}
    lines = []
    for number in numbers:
        row = sweep.rows[number]
        base = sweep.baseline_of(row) if sweep.needs_baseline else number
        forced = given[base].ids if given else None
        twin = place[base] if measures.divergence and base != number else None
        lines.append(Line(sweep.prompts[row.prompt], row.sample, forced, twin))
    conditions = [sweep.conditions[sweep.rows[number].condition] for number in numbers]
    edits = {} if idle else edits_of(sweep.model, numbers, conditions, [len(line.ids) for line in lines])
    decoded = decode(
        sweep.model,
        lines,
        sweep.decoding,
        rows=numbers,
        stops=sweep.ends,
        writes=edits,
        twice=not idle and any(c.twice(sweep.model.n_layers) for c in conditions),
        reads=reads,
        measures=measures,
        tolerant=True,
    )
    return decoded[: len(batch)]


def _swept(sweep: Sweep, row: SweepRow, done: Decoded, given: References) -> SweptRow:
    stop = done.ending
    if given and stop != "non-finite":
        stop = given[sweep.baseline_of(row)].ending
    n = len(done.logprob)
    note = _missing(sweep.reads, done, stop)
    greedy = sweep.decoding.mode == "greedy" and not given
    return SweptRow(
        row=row,
        n_prompt=len(sweep.prompts[row.prompt]),
        ids=tuple(done.ids),
        stop=stop,
        text=done.text,
        mean_logprob=sum(done.logprob) / n if n else None,
        entropy=sum(done.entropy) / n if n else None,
        min_gap=min(done.gap) if n and greedy else None,
        divergence=tuple(done.divergence),
        pooled={} if note else done.pooled,
        vector_note=note,
    )


def _missing(reads: Reads, done: Decoded, stop: str) -> str | None:
    if not reads.sites:
        return None
    if stop == "non-finite":
        return "logits are not finite"
    pooled = list(done.pooled.values())
    if not pooled[0].n:
        return "no new token"
    finite = all(bool(torch.isfinite(one.value).all()) for one in pooled)
    return None if finite else "activations are not finite"


def _settled(own: Pooled, idle: Pooled, first: Pooled) -> Pooled:
    """A pool in which what equals its idle twin, bit by bit, has the value of the first decoding.

    The same row at another place of a batch differs in its last bits; here that is no movement.
    """
    if own.n != first.n:
        return own
    tokens = own.tokens
    if tokens is not None and idle.tokens is not None and first.tokens is not None:
        tokens = torch.where(tokens == idle.tokens, first.tokens, tokens)
    value = torch.where(own.value == idle.value, first.value, own.value)
    return Pooled(own.n, value, torch.where(own.square == idle.square, first.square, own.square), tokens)
