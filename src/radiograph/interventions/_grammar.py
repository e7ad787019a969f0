"""The text of a write, read: `SITE["["unit | i:j | h3"]"]["~"DIRECTION]:op[:dose][@positions]`.

1. `; ` joins writes that act together; a list of doses at one of them makes one condition a dose
2. a dose is `3`, `3sd`, `q0.99`, `0.5norm`, `follow:SITE[n]->v`, or for `cap` a range `lo..hi` of one unit
3. positions are `all` (the default), `prompt`, `generated`, `from=k`, `last`
Refuses what has no meaning: `scale:2sd` (a factor has no unit), `add:q0.9` (a push is no quantile), `project-out` of a
unit (say `ablate`), a push in norms or one that follows without a direction.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NoReturn, get_args

from radiograph.core import Site, UserError, canonical, nearest
from radiograph.evidence import Condition, Dose, Op, PositionKind, Positions, Write

OPS: tuple[str, ...] = get_args(Op)
_POSITIONS: tuple[str, ...] = get_args(PositionKind)
_WRITE = re.compile(
    r"(?P<site>[A-Za-z_][\w.*{},-]*)(?:\[(?P<part>[^\[\]]*)\])?(?:~(?P<direction>[^\s:@~]+))?"
    r":(?P<op>[a-z-]+)(?::(?P<doses>[^@]*))?(?:@(?P<positions>[^@]*))?"
)
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_DOSE = re.compile(rf"(?P<raw>{_NUMBER})(?P<unit>sd|norm)?|q(?P<quantile>{_NUMBER})")
_FOLLOW = re.compile(rf"follow:(?P<site>[\w.]+)\[(?P<unit>\d+)\]->(?P<value>{_NUMBER})")
_NEEDS = {"set", "add", "scale", "cap"}
_LEGAL = {
    "set": ("raw", "sd", "quantile"),
    "cap": ("raw", "sd", "quantile"),
    "add": ("raw", "sd", "norm", "follow"),
    "scale": ("raw",),
}
_SPELLED = {"raw": "3", "sd": "3sd", "quantile": "q0.99", "norm": "0.5norm", "follow": "follow:SITE[n]->3"}
_FORM = "SITE[unit]~DIRECTION:op:dose@positions, as in mlp_hidden.11[373]:set:3sd@all"


def parse_write(text: str) -> list[Write]:
    """One write for each dose; `none` among the doses is left out, because every sweep has it.

    Raises:
        UserError: text that is no write, with what is legal there.
    """
    match = _WRITE.fullmatch(text.strip())
    if match is None:
        raise UserError(f"not a write: {text!r}", expected=_FORM, code="bad_write")
    op = match["op"]
    if op not in OPS:
        close = nearest(op, list(OPS))
        fix = f"did you mean {', '.join(close)}?" if close else None
        raise UserError(f"unknown op {op!r} in {text!r}", expected=", ".join(OPS), fix=fix, code="bad_write")
    site = _site(match["site"])
    unit, units, site = _part(match["part"], site, text)
    direction = match["direction"]
    if op == "project-out" and direction is None:
        raise UserError(f"a unit is not projected out: {text!r}", fix=f"say {site}…:ablate", code="bad_write")
    positions = parse_positions(match["positions"], text)
    doses = _doses(match["doses"], op, direction, text)
    parts = {"site": site, "unit": unit, "units": units, "direction": direction, "positions": positions}
    return [Write.model_validate({**parts, "op": op, "dose": dose}) for dose in doses]


def parse_conditions(texts: Sequence[str]) -> list[Condition]:
    """The conditions that some texts name, `none` first, each once.

    Raises:
        UserError: text that is no write; two lists of doses in one condition.
    """
    found = dict.fromkeys([Condition()])
    for text in texts:
        if text.strip() == "none":
            continue
        parts = [parse_write(part) for part in text.split(";") if part.strip()]
        lists = [part for part in parts if len(part) != 1]
        if len(lists) > 1 or not parts:
            expected = "one list of doses in a condition" if lists else _FORM
            raise UserError(f"not a condition: {text!r}", expected=expected, code="bad_write")
        for number in range(len(lists[0]) if lists else 1):
            found[Condition(writes=tuple(p[number] if len(p) != 1 else p[0] for p in parts))] = None
    return list(found)


def _site(text: str) -> str:
    address = canonical(text)
    if not any(mark in address for mark in "*{-"):
        return str(Site.parse(address))
    Site.parse(f"{address.split('.')[0]}.0")  # its kind; the layers are the model's to know
    return address


def _part(part: str | None, site: str, text: str) -> tuple[int | None, tuple[int, int] | None, str]:
    """Unit, range of units, and the site (with its head)."""
    if part is None:
        return None, None, site
    if re.fullmatch(r"\d+", part):
        return int(part), None, site
    if span := re.fullmatch(r"(\d+):(\d+)", part):
        low, high = int(span[1]), int(span[2])
        if low < high:
            return None, (low, high), site
    if re.fullmatch(r"h\d+", part):
        return None, None, str(Site.parse(f"{site}.{part}"))
    raise UserError(
        f"[{part}] is no part of a site in {text!r}",
        expected="[373], [0:64] with 0 < 64, or a head [h3]",
        code="bad_write",
    )


def parse_positions(text: str | None, write: str) -> Positions:
    """`all` (also for None), `prompt`, `generated`, `from=k`, `last`.

    Raises:
        UserError: anything else; `write` says where.
    """
    if text is None or text in set(_POSITIONS) - {"from"}:
        return Positions.model_validate({"kind": text or "all"})
    match = re.fullmatch(r"from=(\d+)", text)
    if match is None:
        raise UserError(
            f"unknown positions {text!r} in {write!r}",
            expected="all, prompt, generated, from=k with k >= 0, last",
            code="bad_write",
        )
    return Positions(kind="from", k=int(match[1]))


def _doses(text: str | None, op: str, direction: str | None, write: str) -> list[Dose | None]:
    if op not in _NEEDS:
        if text is not None:
            raise UserError(f"{op} takes no dose: {write!r}", got=text, code="bad_write")
        return [None]
    if not text:
        raise UserError(f"{op} needs a dose: {write!r}", expected=_legal(op), code="bad_write")
    doses = [_dose(part.strip(), op, write) for part in text.split(",") if part.strip() != "none"]
    if not doses:
        raise UserError(f"no dose but none in {write!r}", expected=_legal(op), code="bad_write")
    for dose in doses:
        if dose.unit not in _LEGAL[op] or (dose.unit in ("norm", "follow") and direction is None):
            also = ", along a ~DIRECTION" if dose.unit in ("norm", "follow") and op == "add" else ""
            raise UserError(f"{op} has no dose like {dose}", expected=_legal(op) + also, where=write, code="bad_write")
    return list(doses)


def _dose(text: str, op: str, write: str) -> Dose:
    if match := _FOLLOW.fullmatch(text):
        source = f"{Site.parse(match['site'])}[{match['unit']}]"
        return Dose(value=_finite(match["value"], write), unit="follow", source=source)
    if op == "cap":
        low, dots, high = text.partition("..")
        if not dots:
            raise UserError(
                f"cap needs a range, not {text!r}", expected="lo..hi, or ..hi", where=write, code="bad_write"
            )
        upper = _single(high, write)
        if not low:
            return upper
        lower = _single(low, write)
        if lower.unit != upper.unit or lower.value > upper.value:
            raise UserError(
                f"cap from {low} to {high}", expected="lo <= hi, in one unit", where=write, code="bad_write"
            )
        return Dose(value=upper.value, unit=upper.unit, low=lower.value)
    return _single(text, write)


def _single(text: str, write: str) -> Dose:
    match = _DOSE.fullmatch(text)
    if match is None:
        _refuse(text, write)
    if match["quantile"] is not None:
        value = _finite(match["quantile"], write)
        if not 0 <= value <= 1:
            raise UserError(f"{text} is no quantile", expected="q0 to q1", where=write, code="bad_write")
        return Dose(value=value, unit="quantile")
    return Dose.model_validate({"value": _finite(match["raw"], write), "unit": match["unit"] or "raw"})


def _finite(text: str, write: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise UserError(
            f"{text} is larger than any number", expected="a dose below 1e308", where=write, code="bad_write"
        )
    return value


def _refuse(text: str, write: str) -> NoReturn:
    raise UserError(f"not a dose: {text!r}", expected=", ".join(_SPELLED.values()), where=write, code="bad_write")


def _legal(op: str) -> str:
    return f"{op} takes " + ", ".join(_SPELLED[unit] for unit in _LEGAL[op])
