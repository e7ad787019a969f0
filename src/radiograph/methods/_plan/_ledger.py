"""Numbers that know where they come from: facts, and formulas that are computed from the text that is printed.

1. A fact has a value, or a range, and an origin: stated by the user, measured, or assumed.
2. A formula is a text over the names of other quantities: + * / ceil max min. It is parsed and evaluated as it stands,
   so what a reader sees is what was computed; nothing falls where an input rises, but for a divisor, so the ends of a
   range come from the ends of its inputs.
3. The origin of a result is that of its weakest input: assumed before measured before stated.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from math import ceil
from typing import Literal

from radiograph.core.sizes import bytes_text, count_text
from radiograph.evidence import Record

Origin = Literal["stated", "measured", "assumed"]
Unit = Literal["bytes", "count", "FLOP", "FLOP/s", "bytes/s", "s", "share", "money"]
Section = Literal["asked", "machine", "storage", "memory", "compute", "time", "cost"]
Range = tuple[float, float]
_FUNCTIONS = {"max": max, "min": min, "ceil": lambda x: float(ceil(x))}


class Quantity(Record):
    """One number, or a range where something in it is not known better."""

    label: str
    section: Section
    value: float | None
    """None where only a range is known."""
    low: float
    high: float
    unit: Unit
    text: str
    """As people read it."""
    formula: str | None
    """Over the names of other quantities; None: a fact."""
    inputs: tuple[str, ...]
    """The names in the formula."""
    origin: Origin
    """Of a result, that of its weakest input."""
    note: str = ""
    """Where a fact comes from."""


class Ledger(dict[str, Quantity]):
    """Quantities by name, in the order in which they were entered."""

    def fact(
        self,
        name: str,
        value: float | Range,
        unit: Unit,
        origin: Origin,
        label: str,
        *,
        section: Section = "asked",
        note: str = "",
    ) -> None:
        """Enter something that is known, or assumed."""
        self._enter(name, value, unit, label, section, None, (), origin, note)

    def derive(self, name: str, formula: str, unit: Unit, label: str, section: Section, *, note: str = "") -> None:
        """Enter the result of a formula over what was entered before."""
        inputs = names(formula)
        origin = _weakest({self[i].origin for i in inputs})
        value = evaluate(formula, {i: (self[i].low, self[i].high) for i in inputs})
        self._enter(name, value, unit, label, section, formula, inputs, origin, note)

    def _enter(
        self,
        name: str,
        value: float | Range,
        unit: Unit,
        label: str,
        section: Section,
        formula: str | None,
        inputs: tuple[str, ...],
        origin: Origin,
        note: str,
    ) -> None:
        low, high = map(float, value if isinstance(value, tuple) else (value, value))
        first, last = written(low, unit), written(high, unit)
        self[name] = Quantity(
            label=label,
            section=section,
            value=low if low == high else None,
            low=low,
            high=high,
            unit=unit,
            text=first if first == last else f"{first} to {last}",
            formula=formula,
            inputs=inputs,
            origin=origin,
            note=note,
        )


def _weakest(origins: set[Origin]) -> Origin:
    return "assumed" if "assumed" in origins else "measured" if "measured" in origins else "stated"


def wrong(quantities: Mapping[str, Quantity]) -> list[str]:
    """Names of results that their formula does not give."""
    return [
        name
        for name, q in quantities.items()
        if q.formula is not None
        and evaluate(q.formula, {i: (quantities[i].low, quantities[i].high) for i in names(q.formula)})
        != (q.low, q.high)
    ]


def names(formula: str) -> tuple[str, ...]:
    """The quantities that a formula reads, in the order of their first mention."""
    found = [n for n in ast.walk(ast.parse(formula, mode="eval")) if isinstance(n, ast.Name) and n.id not in _FUNCTIONS]
    return tuple(dict.fromkeys(n.id for n in sorted(found, key=lambda n: n.col_offset)))


def evaluate(formula: str, values: Mapping[str, Range]) -> Range:
    """Both ends of a formula over ranges of numbers that are not negative."""
    return _value(ast.parse(formula, mode="eval").body, values)


def _value(node: ast.expr, values: Mapping[str, Range]) -> Range:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number), float(number)
        case ast.Name(id=name):
            return values[name]
        case ast.BinOp(left=left, op=op, right=right):
            (a, b), (c, d) = _value(left, values), _value(right, values)
            match op:
                case ast.Add():
                    return a + c, b + d
                case ast.Mult():
                    return a * c, b * d
                case ast.Div():
                    return a / d, b / c
                case _:
                    pass
        case ast.Call(func=ast.Name(id=name), args=arguments) if name in _FUNCTIONS:
            ranges = [_value(argument, values) for argument in arguments]
            low, high = (_FUNCTIONS[name](*side) for side in zip(*ranges, strict=True))
            return low, high
        case _:
            pass
    raise ValueError(f"not a formula: {ast.unparse(node)}")


def written(value: float, unit: Unit) -> str:
    """A number as people read it."""
    match unit:
        case "bytes":
            return bytes_text(value)
        case "bytes/s":
            return f"{bytes_text(value).partition(' (')[0]}/s"
        case "count":
            return f"{value:,.0f}" if value < 10**7 else count_text(value)
        case "money":
            return f"{value:,.2f}" if value < 1000 else f"{value:,.0f}" if value < 10**6 else count_text(value)
        case "s":
            return _duration(value)
        case "share":
            return f"{value:.3g}"
        case "FLOP/s":
            return f"{value / 1e12:.3g} TFLOP/s" if value >= 1e12 else f"{value / 1e9:.3g} GFLOP/s"
        case _:
            return f"{value:.3g} {unit}".replace("e+", "e")


def _duration(seconds: float) -> str:
    for limit, size, name in ((120, 1, "s"), (7200, 60, "min"), (96 * 3600, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.3g} {name}"
    days = seconds / 86_400
    return f"{days:,.0f} days" if days < 1000 else f"{days / 365.25:,.0f} years"
