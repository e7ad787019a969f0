"""A planned number with everything that a reader needs to doubt it."""

from __future__ import annotations

from typing import Literal

from radiograph.core.sizes import bytes_text, count_text
from radiograph.evidence import Record

Origin = Literal["stated", "measured", "assumed"]
Unit = Literal["bytes", "count", "FLOP", "hours", "currency"]
Range = tuple[float, float]


class Quantity(Record):
    """One number, or a range where a rate in it is assumed."""

    label: str
    section: Literal["storage", "memory", "compute", "time", "cost"]
    value: float | None
    """None where only a range is known."""
    low: float
    high: float
    unit: Unit
    text: str
    formula: str
    inputs: dict[str, float | str]
    origin: Origin
    """That of the weakest input."""


def quantity(
    label: str,
    section: Literal["storage", "memory", "compute", "time", "cost"],
    value: float | Range,
    unit: Unit,
    formula: str,
    inputs: dict[str, float | str],
    origin: Origin = "stated",
) -> Quantity:
    """A quantity of one value or of a range."""
    low, high = value if isinstance(value, tuple) else (value, value)
    single = None if low != high else float(low)
    text = written(low, unit) if single is not None else f"{written(low, unit)} to {written(high, unit)}"
    return Quantity(
        label=label,
        section=section,
        value=single,
        low=float(low),
        high=float(high),
        unit=unit,
        text=text,
        formula=formula,
        inputs=inputs,
        origin=origin,
    )


def written(value: float, unit: Unit) -> str:
    """A number as people read it."""
    match unit:
        case "bytes":
            return bytes_text(value)
        case "count":
            return f"{value:,.0f}" if value < 10**7 else count_text(value)
        case "FLOP":
            return f"{value:.3g} FLOP"
        case "currency":
            return f"{value:,.2f}" if value < 100 else f"{value:,.0f}"
        case _:
            return _hours(value)


def _hours(value: float) -> str:
    seconds = value * 3600
    if seconds < 120:
        return f"{seconds:.3g} s"
    if seconds < 7200:
        return f"{seconds / 60:.3g} min"
    if value < 96:
        return f"{value:.3g} h"
    days = value / 24
    return f"{days:,.0f} days" if days < 1000 else f"{days / 365.25:,.0f} years"


def weakest(*origins: Origin) -> Origin:
    """The origin of what several inputs make together."""
    if "assumed" in origins:
        return "assumed"
    return "measured" if "measured" in origins else "stated"


def spread(*values: float | Range) -> tuple[Range, ...]:
    """Every value as a range."""
    return tuple(v if isinstance(v, tuple) else (v, v) for v in values)
