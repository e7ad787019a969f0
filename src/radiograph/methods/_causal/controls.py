"""Every line beside its controls: where both were measured, and nowhere else."""

from __future__ import annotations

import numpy as np

from radiograph.core.shapes import Float64, Int64
from radiograph.methods._causal.rows import Part, Rows
from radiograph.numerics.effects import FEWEST_GROUPS, ControlFamily, Effects, control_families, group_means


def families_of(rows: Rows, part: Part, graded: Part, found: Effects) -> list[tuple[ControlFamily, ...]]:
    """The families of every line; `part` and `graded`: rows of controls and of effects that grade it."""
    many, cells = len(rows.controls), _cells(rows, graded)
    order = np.argsort(cells, kind="stable")
    mine, at = np.unique(np.stack([part.control, _cells(rows, part)]), axis=1, return_index=True)
    first, last = (np.searchsorted(cells[order], mine[1], side) for side in ("left", "right"))
    shared = np.isin(_cells(rows, part), cells)
    # The effect where each control was measured, row by row.
    taken = order[_ranges(first, last)]
    control, group = np.repeat(mine[0], last - first), np.repeat(part.group[at], last - first)
    beside = group_means(graded.directed[taken], control, group, many).estimate
    kept = part.of(shared)
    estimate = group_means(kept.directed, kept.control, kept.group, many).estimate
    pairs = np.unique(np.stack([kept.control, kept.group]), axis=1)
    enough = np.bincount(pairs[0], minlength=many) >= FEWEST_GROUPS
    out: list[tuple[ControlFamily, ...]] = [()] * rows.size
    family = rows.controls["family"].to_numpy().astype(str)
    # Controls stand in the order of their lines.
    starts = np.searchsorted(rows.controls["line"].to_numpy(), np.arange(rows.size + 1))
    for line in np.flatnonzero((np.diff(starts) > 0) & ~np.isnan(found.estimate)).tolist():
        own = np.arange(starts[line], starts[line + 1])
        held = {str(name): own[(family[own] == name) & enough[own]] for name in np.unique(family[own])}
        values, others = ({name: table[places] for name, places in held.items()} for table in (estimate, beside))
        out[line] = control_families(float(found.estimate[line]), values, others)
    return out


def _cells(rows: Rows, part: Part) -> Int64[np.ndarray, " row"]:
    """One number for each line, condition and group."""
    groups = 2 + max((int(p.group.max(initial=-1)) for p in (rows.effects, rows.controlled)), default=-1)
    return (part.line * max(1, len(rows.conditions)) + part.condition) * groups + part.group + 1


def _ranges(first: Int64[np.ndarray, " range"], last: Int64[np.ndarray, " range"]) -> Int64[np.ndarray, " place"]:
    """Every place of every range, one range after the other."""
    size = last - first
    return np.arange(size.sum()) + np.repeat(first - (np.cumsum(size) - size), size)


def by_family(family: np.ndarray, values: Float64[np.ndarray, " control"]) -> dict[str, np.ndarray]:
    """Values of each family."""
    return {str(name): values[family == name] for name in np.unique(family)}
