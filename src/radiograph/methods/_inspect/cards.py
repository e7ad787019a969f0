"""Cards: what a reader wants to see of the best features. Nothing here chooses, grades or tests.

1. histogram, and firing by kind, over the rows of the study
2. the strongest rows, one of each tenth of the values, near misses that fire and that do not; tokens with their values
   where tokens were recorded, the whole text where only it is known. Text is read for these rows alone
3. features that fire on the same record rows (φ); features whose write directions lie close
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from radiograph.core import derive
from radiograph.core.shapes import Float, Int64
from radiograph.evidence.features import Bar, Card, Class, Context, Explained, Histogram, Moved, Neighbour
from radiograph.methods._inspect.rows import KINDS, StudyRows
from radiograph.numerics import nearest_rows
from radiograph.numerics.firing import coactivation, histogram, phi, shown_rows

if TYPE_CHECKING:
    import polars

    from radiograph.methods._inspect.tables import Table, Tables
    from radiograph.numerics.association import Columns

TOP, NEAR = 5, 3
BEFORE, AFTER = 14, 6
"""Tokens around the strongest one."""
CHARACTERS = 360
"""Of a text whose tokens are not known."""
NEIGHBOURS = 5
LEAST_PHI, LEAST_COSINE = 0.1, 0.15
_ROLES: Final = ("top", "decile", "near_miss_fires", "near_miss_silent")


@dataclass(frozen=True)
class Extras:
    """What is known of features beside their activations, by feature number."""

    raised: Mapping[int, tuple[Moved, ...]]
    lowered: Mapping[int, tuple[Moved, ...]]
    similar: Mapping[int, tuple[tuple[int, float], ...]]


NOTHING: Final = Extras({}, {}, {})


def cards(
    numbers: Sequence[int],
    rows: StudyRows,
    tables: Tables,
    names: Sequence[str],
    extras: Extras,
    memory: int,
    seed: int,
) -> tuple[Card, ...]:
    """A card for each of some features, in the order given."""
    if not numbers:
        return ()
    made: dict[int, Card] = {}
    near = _together(numbers, tables, memory)
    for part in tables.parts:
        own = np.array(sorted(n for n in numbers if part.first <= n < part.first + part.size), dtype=np.int64)
        if not len(own):
            continue
        stored = part.of(own, memory)
        table = part.source.records.features[part.chosen[own - part.first].tolist()]
        drawn = [_Drawn(number, rows, part.pooled(stored).of(np.array([i])), seed) for i, number in enumerate(own)]
        contexts = _contexts(part, rows, stored, drawn)
        for one, facts, shown in zip(drawn, table.iter_rows(named=True), contexts, strict=True):
            number = one.number
            label = facts["label"]
            made[number] = Card(
                feature=facts["feature_id"],
                number=number,
                site=facts["site"],
                dictionary_sha256=facts["dictionary_sha256"],
                source=part.source.name,
                classes=one.classes,
                histogram=one.histogram,
                contexts=shown,
                raised=extras.raised.get(number, ()),
                lowered=extras.lowered.get(number, ()),
                coactive=_named(near.get(number, ()), names),
                similar=_named(extras.similar.get(number, ()), names),
                explanation=None if label is None else Explained(text=label, source=part.source.name),
            )
    return tuple(made[number] for number in numbers)


def similar(
    numbers: Sequence[int], directions: Float[np.ndarray, "feature width"], first: int
) -> dict[int, tuple[tuple[int, float], ...]]:
    """Features of one matrix of write directions that lie closest to some of them, by cosine."""
    queries = np.array(numbers, dtype=np.int64) - first
    found = nearest_rows(directions, queries, k=NEIGHBOURS, least=LEAST_COSINE)
    return {
        number: tuple((int(i) + first, float(c)) for i, c in zip(near.index, near.cosine, strict=True))
        for number, near in zip(numbers, found, strict=True)
    }


class _Drawn:
    """One feature over the rows of the study, and the rows that its card shows."""

    def __init__(self, number: int, rows: StudyRows, column: Columns, seed: int) -> None:
        self.number, self.column = int(number), column
        on = column.value != 0
        row, value = column.unit[on], column.value[on]
        kind = rows.kind[row].astype(np.int64)
        measured = np.bincount(rows.kind, minlength=3)
        if column.absent == "missing":
            measured = np.bincount(rows.kind[column.unit], minlength=3)
        active = np.bincount(kind, minlength=3)
        sums = np.bincount(kind, value, minlength=3)
        self.classes = tuple(
            Class(
                kind=name,
                rows=int(measured[i]),
                active=int(active[i]),
                mean_active=float(sums[i] / active[i]) if active[i] else None,
            )
            for i, name in enumerate(KINDS)
            if measured[i]
        )
        bars = histogram(value, kind, 3)
        self.histogram = Histogram(
            bars=tuple(
                Bar(low=float(low), high=float(high), counts=(int(own[0]), int(own[1]), int(own[2])))
                for low, high, own in zip(bars.edges[:-1], bars.edges[1:], bars.counts, strict=True)
            ),
            zeros=(int((measured - active)[0]), int((measured - active)[1]), int((measured - active)[2])),
            logarithmic=bars.logarithmic,
        )
        own = derive(seed, "near misses shown", self.number)
        shown = shown_rows(row, value, rows.near_miss, top=TOP, near=NEAR, seed=own)
        self.shown: list[tuple[str, int, int | None]] = [
            *(("top", r, None) for r in shown.top.tolist()),
            *(("decile", r, tenth) for tenth, r in shown.tenths),
            *(("near_miss_fires", r, None) for r in shown.near_fires.tolist()),
            *(("near_miss_silent", r, None) for r in shown.near_silent.tolist()),
        ]
        wanted = [r for _, r, _ in self.shown]
        self.value = dict(zip(wanted, _At(row, value).of(np.array(wanted, dtype=np.int64)), strict=True))
        """Of the rows that are shown."""


def _contexts(part: Table, rows: StudyRows, stored: Columns, drawn: Sequence[_Drawn]) -> Iterator[tuple[Context, ...]]:
    """Contexts of every feature of a source; one reading of the texts for all."""
    wanted = sorted({rows.names[row] for one in drawn for _, row, _ in one.shown})
    texts = _Texts(part, wanted)
    for i, one in enumerate(drawn):
        entries = slice(stored.offsets[i], stored.offsets[i + 1])
        at = _At(stored.unit[entries], stored.value[entries])
        found: list[Context] = []
        for role, row, tenth in one.shown:
            around = texts.around(rows.names[row], row, at)
            found.append(
                Context(
                    role=_role(role),
                    prompt_id=rows.names[row],
                    kind=KINDS[rows.kind[row]],
                    half="discover" if rows.discover[row] else "confirm",
                    value=one.value[row],
                    decile=tenth,
                    tokens=around.tokens,
                    values=around.values,
                    peak=around.peak,
                    before=around.before,
                    after=around.after,
                )
            )
        yield tuple(found)


@dataclass(frozen=True)
class _Around:
    """What stands about a place."""

    tokens: tuple[str, ...] = ()
    values: tuple[float, ...] = ()
    peak: int | None = None
    before: bool = False
    after: bool = False


@dataclass(frozen=True, eq=False)
class _At:
    """Values of one feature by record row, ascending."""

    row: Int64[np.ndarray, " entry"]
    value: Float[np.ndarray, " entry"]

    def of(self, rows: np.ndarray) -> list[float]:
        """Those of some rows; 0 where there is none."""
        if not len(self.row):
            return [0.0] * len(rows)
        place = np.minimum(np.searchsorted(self.row, rows), len(self.row) - 1)
        return np.where(self.row[place] == rows, self.value[place], 0.0).tolist()


class _Texts:
    """Texts of some prompts of a source, token by token where tokens and offsets are known."""

    def __init__(self, part: Table, prompts: Sequence[str]) -> None:
        import polars as pl

        self._of: dict[str, polars.DataFrame] = {}
        self._place = part.placed.place
        rows = part.source.records.rows
        there = rows.collect_schema().names()
        self._known = "text" in there
        if not self._known or not prompts:
            return
        columns = [name for name in ("row", "token", "prompt_id", "text", "offsets") if name in there]
        found = rows.select(columns).filter(pl.col("prompt_id").is_in(prompts)).collect().sort("token", "row")
        for (prompt,), own in found.partition_by("prompt_id", as_dict=True, maintain_order=True).items():
            self._of[str(prompt)] = own

    def around(self, prompt: str, row: int, values: _At) -> _Around:
        """Tokens about the strongest one of the row; the whole text if there are no tokens."""
        own = self._of.get(prompt)
        text = None if own is None else next((t for t in own["text"].to_list() if t is not None), None)
        if own is None or text is None:
            return _Around()
        pieces = _pieces(own, str(text))
        if pieces is None:
            short = len(text) > CHARACTERS
            return _Around((text[:CHARACTERS],), after=short)
        numbers = own["row"].to_numpy()
        level = values.of(numbers)
        mine = self._place[numbers] == row
        size = np.where(mine, np.abs(level), -1.0)
        # Where all is silent the last of its tokens stands for the row: what was read ends there.
        peak = int(np.argmax(size)) if size.max() > 0 else int(np.flatnonzero(mine)[-1])
        low, high = max(0, peak - BEFORE), min(len(pieces), peak + AFTER + 1)
        return _Around(
            tuple(pieces[low:high]),
            tuple(level[low:high]),
            peak - low if size.max() > 0 or mine.sum() == 1 else None,
            low > 0,
            high < len(pieces),
        )


def _pieces(own: polars.DataFrame, text: str) -> list[str] | None:
    """The text cut where tokens begin; None where offsets are not known."""
    if "offsets" not in own.columns or (own["token"] < 0).any():
        return None
    spans = own["offsets"].to_list()
    if any(span is None or len(span) != 2 for span in spans):
        return None
    starts = [0, *(int(span[0]) for span in spans[1:]), max(len(text), int(spans[-1][1]))]
    if any(b < a for a, b in pairwise(starts)):
        return [text[int(span[0]) : int(span[1])] for span in spans]
    return [text[a:b] for a, b in pairwise(starts)]


def _together(numbers: Sequence[int], tables: Tables, memory: int) -> dict[int, tuple[tuple[int, float], ...]]:
    """The features that fire most on the same record rows as each of some, inside its source."""
    out: dict[int, tuple[tuple[int, float], ...]] = {}
    for part in tables.parts:
        own = np.array(sorted(n for n in numbers if part.first <= n < part.first + part.size), dtype=np.int64)
        if not len(own) or part.absent == "missing":
            continue
        kept = part.placed.place >= 0
        stored = part.of(own, memory)
        on = stored.value != 0
        fires = stored.unit[on], stored.feature[on]
        found = coactivation(_places(part, kept, memory), fires, (part.size, len(kept), len(own)))
        values = phi(found, own - part.first, int(kept.sum()))
        values[own - part.first, np.arange(len(own))] = -1.0  # itself
        for column, number in enumerate(own.tolist()):
            best = np.argsort(-values[:, column], kind="stable")[:NEIGHBOURS]
            out[number] = tuple(
                (int(i) + part.first, float(values[i, column])) for i in best if values[i, column] >= LEAST_PHI
            )
    return out


def _places(
    part: Table, kept: np.ndarray, memory: int
) -> Iterator[tuple[Int64[np.ndarray, " feature"], Int64[np.ndarray, " offset"], Int64[np.ndarray, " entry"]]]:
    """Features, and the rows of the study on which each is not zero."""
    every = bool(kept.all())
    for rows, numbers in part.ranges(memory):
        on = rows.value != 0 if every else (rows.value != 0) & kept[rows.unit]
        if on.all():
            yield numbers - part.first, rows.offsets, rows.unit
        else:
            yield numbers - part.first, np.concatenate([[0], np.cumsum(on)])[rows.offsets], rows.unit[on]


def _named(found: Sequence[tuple[int, float]], names: Sequence[str]) -> tuple[Neighbour, ...]:
    return tuple(Neighbour(feature=names[i], value=value) for i, value in found)


def _role(text: str) -> Literal["top", "decile", "near_miss_fires", "near_miss_silent"]:
    for role in _ROLES:
        if role == text:
            return role
    raise AssertionError(text)
