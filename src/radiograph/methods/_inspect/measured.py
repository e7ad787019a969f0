"""Records and a criterion in, the study out: rows, tables, findings, and the table of all features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from radiograph.methods._inspect.rows import placed_like, pooled_alike, study_rows
from radiograph.methods._inspect.study import associated, columns_of
from radiograph.methods._inspect.tables import Tables, beside

if TYPE_CHECKING:
    from radiograph.criteria import Compiled
    from radiograph.methods._inspect.options import Asked
    from radiograph.methods._inspect.rows import StudyRows
    from radiograph.numerics.association import Findings, Units
    from radiograph.sources import Stored


@dataclass(frozen=True, eq=False)
class Measured:
    """The study on records."""

    asked: Asked
    rows: StudyRows
    tables: Tables
    found: Findings
    columns: dict[str, Any]
    """The table of all features."""
    units: Units

    @property
    def ids(self) -> list[str]:
        """Of all features."""
        return self.columns["feature_id"].to_list()


def measured_on(
    stored: Sequence[Stored],
    compiled: Compiled | None,
    asked: Asked,
    *,
    timed: Callable[[str], AbstractContextManager[Any]] = nullcontext,
    seen: Callable[[StudyRows], None] | None = None,
) -> Measured:
    """The study; `seen` gets the rows while they still know their split.

    Raises:
        Refusal: nothing labels a row, one class, too few units, no eligible feature.
    """
    with timed("rows"):
        alike = [part for one in stored for part in pooled_alike(one, asked)]
        rows, first = study_rows(alike[0], compiled, asked)
        others = [placed_like(one, rows, compiled, asked) for one in alike[1:]]
        tables = beside(list(zip(alike, (first, *others), strict=True)), len(rows))
        if seen is not None:
            seen(rows)
        rows = replace(rows, split=None)
    settings = replace(
        asked.settings,
        preselected=any(one.records.header.preselected for one in stored),
        censored=any(one.records.header.absent == "below" for one in stored),
        surface_labels="surface_labels" in rows.criterion.warnings,
    )
    own = replace(asked, settings=settings, rows=len(rows))
    with timed("study"):
        found, units = associated(rows, tables, own)
    extra = tuple(dict.fromkeys(code for one in stored for code in one.codes))
    return Measured(own, rows, tables, found, columns_of(found, tables, extra), units)
