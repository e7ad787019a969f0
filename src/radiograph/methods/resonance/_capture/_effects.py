"""What conditions did to texts: each row beside the row without writes of the same prompt and sample.

Rows whose logits were not finite, or whose baseline's were not, are not compared. Two texts are identical where their
tokens are. Log-probability: of a row's own tokens, mean over its text, in nats a token.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from statistics import fmean
from typing import Any, Literal

from radiograph.evidence import Record

_PAIRS = 12
_MAPS = 4
Table = Mapping[str, Sequence[Any]]
Metric = Literal["changed", "shift"]


class Effect(Record):
    """One condition, over its rows."""

    condition: str
    dose_value: float | None
    dose_unit: str | None
    dose_raw: float | None
    dose_sd: float | None
    dose_quantile: float | None
    dose_norm: float | None
    """Share of the site's mean L2 norm."""
    rows: int
    compared: int
    """Rows that stand beside a baseline row; under `none` no other."""
    identical: int
    """Of those, rows whose tokens are the baseline's."""
    changed: float | None
    """Share of those whose tokens are not."""
    mean_logprob: float | None
    shift: float | None
    """Mean |change of a row's mean log-probability|."""
    stops: dict[str, int]


class Cell(Record):
    """Rows of one condition at one level of each of two factors."""

    condition: str
    first: str
    second: str
    n: int
    value: float


class CellMap(Record):
    """Where in the grid a condition acts."""

    factors: tuple[str, ...]
    metric: Metric
    cells: tuple[Cell, ...]


class TextPair(Record):
    """A text that moved."""

    condition: str
    prompt_id: str
    prompt: str
    before: str
    after: str


def effects(table: Table) -> tuple[Effect, ...]:
    """Every condition, in order."""
    own: dict[str, list[int]] = {}
    for row, name in enumerate(table["condition"]):
        own.setdefault(name, []).append(row)
    pairs = _compared(table)
    found: list[Effect] = []
    for name, rows in own.items():
        with_base = {row: base for row in rows if (base := pairs.get(row)) is not None}
        same = sum(_same(table, *pair) for pair in with_base.items())
        n = len(with_base)
        shifts = [d for pair in with_base.items() if (d := _shift(table, *pair)) is not None]
        logs = [value for row in rows if (value := table["mean_logprob"][row]) is not None]
        doses = {f"dose_{k}": table[f"dose_{k}"][rows[0]] for k in ("value", "unit", "raw", "sd", "quantile", "norm")}
        found.append(
            Effect(
                condition=name,
                **doses,
                rows=len(rows),
                compared=n,
                identical=same,
                changed=(n - same) / n if n else None,
                mean_logprob=fmean(logs) if logs else None,
                shift=fmean(shifts) if shifts else None,
                stops=dict(sorted(Counter(table["stop"][row] for row in rows).items())),
            )
        )
    return tuple(found)


def cell_map(table: Table, factors: Sequence[str]) -> CellMap | None:
    """The conditions that differ most over the first two factors, in the first metric that tells cells apart.

    None without a factor or a write, and where no metric does.
    """
    if not factors:
        return None
    for metric in ("changed", "shift"):
        found = CellMap(factors=tuple(factors[:2]), metric=metric, cells=tuple(_cells(table, factors[:2], metric)))
        if len({cell.value for cell in found.cells}) > 1:
            break
    else:
        return None
    spread: dict[str, list[float]] = {}
    for cell in found.cells:
        spread.setdefault(cell.condition, []).append(cell.value)
    most = sorted(spread, key=lambda name: min(spread[name]) - max(spread[name]))[:_MAPS]
    return found.model_copy(update={"cells": tuple(cell for cell in found.cells if cell.condition in most)})


def text_pairs(table: Table) -> tuple[TextPair, ...]:
    """Some texts that moved, beside their baselines: one of each condition in turn, no two alike."""
    moved: dict[str, list[TextPair]] = {}
    seen: set[tuple[str, str, str]] = set()
    for row, base in _compared(table).items():
        name, before, after = table["condition"][row], table["text"][base], table["text"][row]
        if before != after and (name, before, after) not in seen:
            seen.add((name, before, after))
            told = {key: table[key][row] for key in ("prompt_id", "prompt")}
            moved.setdefault(name, []).append(TextPair(condition=name, **told, before=before, after=after))
    # Each condition begins at another prompt, so that a dozen pairs do not show one prompt alone.
    turned = [own[k % len(own) :] + own[: k % len(own)] for k, own in enumerate(moved.values())]
    taken = [pair for turn in zip_longest(*turned) for pair in turn if pair is not None]
    return tuple(taken[:_PAIRS])


def _compared(table: Table) -> dict[int, int]:
    """Written rows to their baseline rows."""
    keys = list(zip(table["prompt_id"], table["sample"], strict=True))
    told = [stop != "non-finite" for stop in table["stop"]]
    base = {keys[row]: row for row, name in enumerate(table["condition"]) if name == "none" and told[row]}
    return {
        row: base[keys[row]]
        for row, name in enumerate(table["condition"])
        if name != "none" and told[row] and keys[row] in base
    }


def _cells(table: Table, factors: Sequence[str], metric: Metric) -> Iterator[Cell]:
    groups: dict[tuple[str, str, str], list[float]] = {}
    for row, base in _compared(table).items():
        value = float(not _same(table, row, base)) if metric == "changed" else _shift(table, row, base)
        if value is not None:
            first, second = (str(table[factors[k]][row]) if k < len(factors) else "" for k in (0, 1))
            groups.setdefault((table["condition"][row], first, second), []).append(value)
    for (condition, first, second), values in groups.items():
        yield Cell(condition=condition, first=first, second=second, n=len(values), value=fmean(values))


def _same(table: Table, row: int, base: int) -> bool:
    return list(table["ids"][row]) == list(table["ids"][base])


def _shift(table: Table, row: int, base: int) -> float | None:
    one, other = table["mean_logprob"][row], table["mean_logprob"][base]
    return None if one is None or other is None else abs(one - other)
