"""Which rows, in which groups, and what was written into them.

1. `where` keeps rows; a basis is fitted on baseline rows unless interventions are allowed.
2. A group is the values of the factors of `group_by`, joined by `/`; `condition` is one of them; nothing: one group.
3. What may be exchanged: prompts of one core, equal in each factor that is not tested, each with all its rows. Rows of
   a prompt (conditions, samples) share what the prompt is, so that its label moves once. A tested condition or sample
   is exchanged inside its prompt, a condition inside its sample too, since conditions share their luck.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.core import Refusal, UserError, nearest
from radiograph.evidence.resonance import Filter

if TYPE_CHECKING:
    from radiograph.numerics.planes import Exchange, Labels
    from radiograph.store.planes import VectorRows


@dataclass(frozen=True, eq=False)
class Grouped:
    """Rows, a group name for each, and what may be exchanged."""

    rows: VectorRows
    by: tuple[str, ...]
    names: list[str]
    cores: list[Hashable]

    @property
    def groups(self) -> tuple[str, ...]:
        """Group names, in the order of the rows."""
        return tuple(dict.fromkeys(self.names))

    def labels(self) -> Labels:
        """The groups, exchanged where they mean nothing."""
        return self.relabelled(self.names, self.by)

    def relabelled(self, names: Sequence[Hashable], tested: Collection[str]) -> Labels:
        """Other names of the rows, which the values of these factors decide."""
        from radiograph.numerics.planes import Exchange, Labels

        known = filterable(self.rows)
        prompts: list[Hashable] = list(zip(self.cores, self.rows.columns["id"], strict=True))
        inner = {name for name, held in known.items() if len(set(zip(prompts, held, strict=True))) > len(set(prompts))}
        # The rows of a prompt keep their places: a label goes to the same condition and sample of another prompt.
        places = [n for n in known if n in inner or (n in ("condition", "sample") and n not in tested)]
        exchanges: list[Exchange] = []
        if not inner & set(tested) or set(tested) & known.keys() - inner:
            kept = [n for n in known if n not in (*places, *tested, "condition", "sample", "variant")]
            exchanges.append(Exchange(prompts, _joined(known, kept), _joined(known, places)))
        if "sample" in inner & set(tested):
            units = list(zip(prompts, known["sample"], strict=True))
            exchanges.append(Exchange(units, prompts, _joined(known, sorted(inner - {"sample"}))))
        if (inner & set(tested)) - {"sample"}:
            strata = zip(prompts, _joined(known, sorted(inner - set(tested) | inner & {"sample"})), strict=True)
            exchanges.append(Exchange(range(len(names)), list(strata)))
        return Labels(names, exchanges=tuple(exchanges))


def _joined(columns: Mapping[str, Sequence[Any]], names: Sequence[str]) -> list[Hashable]:
    """The values of some columns, row by row."""
    count = len(next(iter(columns.values())))
    return list(zip(*(columns[name] for name in names), strict=True)) if names else [()] * count


def filterable(rows: VectorRows) -> dict[str, Sequence[Any]]:
    """Columns that a filter may name."""
    known = ("core", "condition", "variant", "sample", *rows.factors)
    return {name: rows.columns[name] for name in known if name in rows.columns}


def kept(rows: VectorRows, where: str) -> VectorRows:
    """Rows that a filter keeps.

    Raises:
        UserError: an unknown factor or value. Refusal: nothing is left.
    """
    if not where:
        return rows
    chosen = rows.chosen(Filter.parse(where).mask(filterable(rows)))
    if not len(chosen.values):
        raise Refusal("no_rows", f"no row is left where {where}", got=f"{len(rows.values)} rows", fix="loosen --where")
    return chosen


def grouped(rows: VectorRows, group_by: Sequence[str]) -> Grouped:
    """Rows in their groups.

    Raises:
        UserError: a factor that is not there.
    """
    known = filterable(rows)
    for name in group_by:
        if name not in known:
            close = nearest(name, list(known), n=1)
            raise UserError(
                f"no factor {name!r} to group by",
                expected=f"one of {', '.join(known)}",
                fix=f"did you mean {close[0]}?" if close else None,
                code="unknown_factor",
            )
    count = len(rows.values)
    labels = list(zip(*(known[name] for name in group_by), strict=True)) if group_by else [("all",)] * count
    cores: list[Hashable] = list(known.get("core", range(count)))
    return Grouped(rows, tuple(group_by), ["/".join(map(str, label)) for label in labels], cores)


def adjusted(rows: Grouped, column: str) -> Grouped:
    """Vectors without what goes with a covariate: one slope a coordinate, fitted on deviations from the core's mean.

    Raises:
        UserError: no such column, or one without numbers or without spread inside any core.
    """
    held = rows.rows.columns.get(column)
    if held is None or not all(isinstance(value, int | float) for value in held):
        numbers = [n for n, c in rows.rows.columns.items() if c and all(isinstance(v, int | float) for v in c)]
        raise UserError("no column of numbers to adjust for", expected=", ".join(numbers), got=column)
    from radiograph.numerics.design import residuals

    left = residuals(rows.rows.values, list(map(float, held)), rows.cores)
    if np.array_equal(left, rows.rows.values):
        raise UserError("the covariate does not vary inside any core", expected="a column that does", got=column)
    return replace(rows, rows=replace(rows.rows, values=left))


def without(vectors: np.ndarray, units: Sequence[int]) -> np.ndarray:
    """The vectors with these coordinates at zero."""
    if not units:
        return vectors
    out = vectors.copy()
    out[..., list(units)] = 0
    return out
