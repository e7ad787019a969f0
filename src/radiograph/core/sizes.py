"""Counts and sizes as people write them, and numbers as documents hold them.

    counts   500 · 20k · 1.5M · 1B · 1T                        k M B T are 10^3 10^6 10^9 10^12
    bytes    4096 · 64kB · 1.5GB · 2TB · 256MiB · 64GiB        k M G T P are powers of 1000, Ki … Pi of 1024

A number must come out whole and above zero. `64GBs`, `-1` and `0` are refused with the forms that are accepted.
`Count` and `ByteSize` are field types for a configuration: a number or such a text, wherever it comes from.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BeforeValidator, WithJsonSchema

from radiograph.core.errors import UserError

COUNTS = {"": 1, "k": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
BYTES = (
    {"": 1, "B": 1}
    | {f"{p}B": 1000**i for i, p in enumerate("kMGTP", start=1)}
    | {f"{p}iB": 1024**i for i, p in enumerate("KMGTP", start=1)}
)
COUNT_FORMS = "a whole number above 0, as 500, 20k, 1.5M, 1B or 1T"
BYTE_FORMS = "bytes above 0, as 4096, 64kB, 1.5GB, 2TB, 256MiB or 64GiB"
_NUMBER = re.compile(r"(\d+(?:[_,]\d{3})*(?:\.\d+)?)\s*([A-Za-z]*)")
Kind = Literal["count", "bytes"]


@dataclass(frozen=True, slots=True)
class Quantity:
    """Marks a field that is written as people do; a command line shows its default so."""

    kind: Kind


def finite_number(value: object) -> float | None:
    """A value of a document as a float; None if it is no number, not finite, or a whole number beyond every float."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        return None
    return float(value)


def read_count(text: str | int) -> int:
    """A count.

    Raises:
        UserError: not one of the forms.
    """
    return _read(text, COUNTS, COUNT_FORMS)


def read_bytes(text: str | int) -> int:
    """A number of bytes.

    Raises:
        UserError: not one of the forms.
    """
    return _read(text, BYTES, BYTE_FORMS)


def count_text(value: float) -> str:
    """`1.5M`, with at most four digits."""
    return _written(value, [(f"{size}", factor) for size, factor in COUNTS.items()], "")


def bytes_text(value: float) -> str:
    """`262.2 TB (238.4 TiB)`: both families, since either may be meant by the reader's own tools."""
    decimal = _written(value, [(n, f) for n, f in BYTES.items() if n and "i" not in n], " ")
    return decimal if value < 1000 else f"{decimal} ({binary_text(value)})"


def binary_text(value: float) -> str:
    """`256 MiB`."""
    return _written(value, [("B", 1), *((n, f) for n, f in BYTES.items() if "i" in n)], " ")


def exact_text(value: int, kind: Kind) -> str:
    """The shortest form of one number and unit that is read back as the same value: `1500k`, `256MiB`."""
    units = COUNTS if kind == "count" else {"": 1} | {name: size for name, size in BYTES.items() if "i" in name}
    unit, size = max(((u, f) for u, f in units.items() if value % f == 0), key=lambda pair: pair[1])
    return f"{value // size}{unit}"


def _read(text: str | int, units: dict[str, int], forms: str) -> int:
    match = _NUMBER.fullmatch(str(text).strip()) if not isinstance(text, bool) else None
    if match is not None and match[2] in units:
        value = Decimal(re.sub("[_,]", "", match[1])) * units[match[2]]
        if value > 0 and value == value.to_integral_value():
            return int(value)
    raise UserError(f"cannot read {text!r}", expected=forms, code="bad_value")


def _written(value: float, units: list[tuple[str, int]], gap: str) -> str:
    unit, factor = next(((u, f) for u, f in reversed(units) if value >= f), units[0])
    number = value / factor
    text = f"{number:.4g}" if number < 1000 else f"{number:,.0f}"
    return f"{text}{gap}{unit}".rstrip()


def _validated(kind: Kind) -> BeforeValidator:
    def read(value: object) -> object:
        if not isinstance(value, str | int):
            return value
        try:
            return read_count(value) if kind == "count" else read_bytes(value)
        except UserError as error:
            raise ValueError(f"{error.message}: {error.expected}") from error

    return BeforeValidator(read)


def _schema(forms: str) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string"}], "description": forms})


Count = Annotated[int, Quantity("count"), _validated("count"), _schema(COUNT_FORMS)]
"""A whole number above 0, as `20k` or 20000."""
ByteSize = Annotated[int, Quantity("bytes"), _validated("bytes"), _schema(BYTE_FORMS)]
"""Bytes above 0, as `256MiB` or 268435456."""
