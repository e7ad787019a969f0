"""What a schema says: measures with their nulls, and a map of cells."""

from __future__ import annotations

import numpy as np

from radiograph.evidence import Record

WORDING = "levels differ in their words as well, the same ones in every core: the suite check of the grid names them"


class Measure(Record):
    """One number beside what chance gives."""

    what: str
    statistic: str
    n: int
    estimate: float
    low: float | None = None
    """95 % over cores."""
    high: float | None = None
    null: float | None = None
    """Median of the null."""
    null_high: float | None = None
    """95 % of the null."""
    p: float | None = None
    q: float | None = None
    note: str = ""


class CellMap(Record):
    """A number by the levels of two factors."""

    title: str
    unit: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]


class Curve(Record):
    """One number along an axis, between the median and the 95 % of its null."""

    title: str
    across: str
    up: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    null: tuple[float, ...]
    null_high: tuple[float, ...]


class Arrows(Record):
    """Where rows stand in a plane, and where a push takes them."""

    title: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    dx: tuple[float, ...]
    dy: tuple[float, ...]
    mean: tuple[float, float]
    null_high: float
    """95 % of the length of the mean arrow by chance."""


class Found(Record):
    """What one schema found."""

    kind: str
    """`correlational` or `causal`."""
    null: str
    """What chance is here, in a sentence."""
    measures: tuple[Measure, ...]
    sentence: str
    family: int
    """Tests that q corrects over."""
    smallest_p: float | None = None
    maps: tuple[CellMap, ...] = ()
    curves: tuple[Curve, ...] = ()
    arrows: Arrows | None = None
    notes: tuple[str, ...] = ()


def against(what: str, statistic: str, n: int, own: float, null: np.ndarray) -> Measure:
    """A number beside draws of its null; large is surprising."""
    return Measure(
        what=what,
        statistic=statistic,
        n=n,
        estimate=own,
        null=float(np.median(null)),
        null_high=float(np.quantile(null, 0.95)),
        p=(1 + int((null >= own - 1e-12).sum())) / (1 + len(null)),
    )
