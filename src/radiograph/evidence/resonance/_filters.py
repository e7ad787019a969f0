"""Rows chosen by their factors: `type=declarative,level>=4,core!=kettle`.

All parts must hold. Text compares without case, numbers as numbers; `< <= > >=` are for numbers. A row that lacks a
factor is unequal to everything. A column holds numbers or text, never both.
Refuses a factor that is not there, and a value that no row has: a filter that silently matches nothing hides a typo.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import StringConstraints

from radiograph.core import UserError, nearest, visible
from radiograph.evidence._record import Record

if TYPE_CHECKING:
    import numpy as np  # help reads this module, and must not wait for it

_PART = re.compile(r"\s*([^\W\d][\w.-]*)\s*(!=|>=|<=|=|>|<)\s*(.*?)\s*")
_SHOWN = 12
Comparison = Literal["=", "!=", ">=", "<=", ">", "<"]


class Clause(Record):
    """One part of a filter."""

    factor: str
    op: Comparison
    value: Annotated[str, StringConstraints(min_length=1)]

    def __str__(self) -> str:
        return f"{self.factor}{self.op}{self.value}"


class Filter(Record):
    """Parts that must all hold; the empty one keeps every row."""

    clauses: tuple[Clause, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a filter.

        Raises:
            UserError: a part is not `FACTOR op VALUE`.
        """
        clauses: list[Clause] = []
        for part in text.split(",") if text.strip() else ():
            found = _PART.fullmatch(part)
            if found is None or not found[3]:
                raise UserError(
                    f"{visible(part.strip())!r} is not a filter",
                    where=visible(text),
                    expected="parts such as type=declarative,level>=4,core!=kettle",
                    got=visible(part),
                    code="bad_filter",
                )
            clauses.append(Clause(factor=found[1], op=found[2], value=found[3]))  # type: ignore[arg-type]
        return cls(clauses=tuple(clauses))

    def __str__(self) -> str:
        return ",".join(map(str, self.clauses))

    def mask(self, columns: Mapping[str, Sequence[Any]]) -> np.ndarray:
        """Which rows hold; a value of None is a factor that the row lacks.

        Raises:
            UserError: an unknown factor or value (the known ones are named), or an order of texts.
        """
        import numpy as np

        rows = len(next(iter(columns.values()))) if columns else 0
        kept = np.ones(rows, dtype=np.bool_)
        for clause in self.clauses:
            kept &= _mask(clause, columns)
        return kept


def _mask(clause: Clause, columns: Mapping[str, Sequence[Any]]) -> np.ndarray:
    import numpy as np

    if clause.factor not in columns:
        close = nearest(clause.factor, list(columns), n=1)
        raise UserError(
            f"no factor {visible(clause.factor)!r}",
            where=visible(str(clause)),
            expected=f"one of {', '.join(map(visible, columns))}",
            fix=f"did you mean {close[0]}?" if close else None,
            code="unknown_factor",
        )
    column = list(columns[clause.factor])
    held = [value for value in column if value is not None]
    if held and all(isinstance(value, int | float) for value in held):
        return _numbers(clause, column, held)
    if clause.op not in ("=", "!="):
        raise UserError(
            f"{clause.factor} holds texts, which have no order",
            where=visible(str(clause)),
            expected=f"{clause.factor}= or {clause.factor}!= and one of {_listed(held)}",
            code="bad_filter",
        )
    wanted = clause.value.casefold()
    same = np.array([value is not None and str(value).casefold() == wanted for value in column], dtype=np.bool_)
    if not same.any():
        raise _unknown(clause, held)
    return same if clause.op == "=" else ~same


def _numbers(clause: Clause, column: list[Any], held: list[Any]) -> np.ndarray:
    import numpy as np

    try:
        wanted = float(clause.value)
    except ValueError:
        raise _unknown(clause, held) from None
    values = np.array([np.nan if value is None else float(value) for value in column])
    match clause.op:
        case ">=":
            return values >= wanted
        case "<=":
            return values <= wanted
        case ">":
            return values > wanted
        case "<":
            return values < wanted
        case _:
            same = values == wanted
            if not same.any():
                raise _unknown(clause, held)
            return same if clause.op == "=" else ~same


def _unknown(clause: Clause, held: list[Any]) -> UserError:
    close = nearest(clause.value, sorted({str(value) for value in held}), n=1)
    return UserError(
        f"no row has {visible(clause.factor)} {visible(clause.value)!r}",
        where=visible(str(clause)),
        expected=f"one of {_listed(held)}",
        fix=f"did you mean {visible(close[0])}?" if close else None,
        code="unknown_value",
    )


def _listed(held: list[Any]) -> str:
    levels = list(dict.fromkeys(held))
    if all(isinstance(level, int | float) for level in levels):
        levels.sort()
    more = f" and {len(levels) - _SHOWN} more" if len(levels) > _SHOWN else ""
    return ", ".join(visible(str(level), 40) for level in levels[:_SHOWN]) + more
