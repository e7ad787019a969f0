"""Reading the `expect` list of a prompt: each kind of check with the value it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from pydantic import ValidationError

from radiograph.core import nearest
from radiograph.core.limits import PATTERN_CHARACTERS
from radiograph.evidence import Check, CheckKind

if TYPE_CHECKING:
    from radiograph.store._suites import Faults, Place

_TEXTS = ("one_of", "contains_any", "contains_all", "not_contains")


def read_checks(value: Any, place: Place, faults: Faults) -> tuple[Check, ...]:
    """Every check of one prompt; mistakes go to `faults`."""
    if not isinstance(value, list):
        faults.add(place, "expect must be a list of checks")
        return ()
    checks: list[Check] = []
    for index, row in enumerate(value):
        check = _check(row, (*place, index), faults)
        if check is not None:
            checks.append(check)
    return tuple(checks)


def _check(row: Any, place: Place, faults: Faults) -> Check | None:
    if not isinstance(row, dict) or "kind" not in row:
        faults.add(place, "a check is a mapping with a kind")
        return None
    kinds = get_args(CheckKind)
    if row["kind"] not in kinds:
        close = nearest(str(row["kind"]), list(kinds))
        faults.add(place, f"unknown check {row['kind']!r}; " + (f"did you mean {close[0]!r}?" if close else str(kinds)))
        return None
    known = tuple(Check.model_fields)
    if any(k not in known for k in row):
        faults.unknown(place, list(row), known, "check")
        return None
    try:
        check = Check.model_validate(row)
    except ValidationError as error:
        faults.add(place, f"check {row['kind']}: {error.errors()[0]['msg']}")
        return None
    fault = _value_fault(check)
    if fault:
        faults.add(place, f"check {check.kind}: {fault}")
        return None
    return check


def _value_fault(check: Check) -> str | None:
    """What is wrong with the value of a check, or None."""
    value, kind = check.value, check.kind
    if kind in _TEXTS and not (isinstance(value, list) and value and all(isinstance(v, str) for v in value)):
        return "value must be a non-empty list of texts"
    if kind == "equals" and not isinstance(value, str):
        return "value must be a text"
    if kind == "number" and (isinstance(value, bool) or not isinstance(value, int | float)):
        return "value must be a number"
    if kind == "refusal" and not isinstance(value, bool):
        return "value must be true or false"
    if kind == "max_words" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        return "value must be a positive whole number"
    if kind == "choice" and (len(check.options) < 2 or check.answer not in check.options):
        return "needs two or more options and an answer among them"
    if kind == "oracle" and value not in (None, "world"):
        return "the only oracle is world"
    return _pattern_fault(check) if kind == "regex" else None


def _pattern_fault(check: Check) -> str | None:
    import regex

    if not isinstance(check.value, str) or len(check.value) > PATTERN_CHARACTERS:
        return f"value must be a pattern of at most {PATTERN_CHARACTERS} characters"
    if not check.accepts or not check.rejects:
        return "a pattern brings samples that it accepts and samples that it rejects"
    try:
        pattern = regex.compile(check.value, 0 if check.case else regex.IGNORECASE)
        missed = [s for s in check.accepts if not pattern.search(s, timeout=0.05)]
        taken = [s for s in check.rejects if pattern.search(s, timeout=0.05)]
    except regex.error as error:
        return f"invalid pattern: {error}"
    except TimeoutError:
        return "the pattern needs too long on its own samples"
    if missed or taken:
        return f"the pattern misses {missed!r} and matches {taken!r} of its own samples"
    return None
