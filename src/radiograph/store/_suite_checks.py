"""Reading the `expect` list of a prompt: each kind of check with the value it needs.

A check that every answer would pass, or none, is a mistake: blank texts to look for, a negative tolerance, a pattern
that misses its own samples.
"""

from __future__ import annotations

import json
import math
from typing import Any, get_args

from pydantic import ValidationError

from radiograph.core.limits import PATTERN_CHARACTERS
from radiograph.evidence import Check, CheckKind
from radiograph.store._located import Faults, Place, hint

_TEXTS = ("one_of", "contains_any", "contains_all", "not_contains")
_DEADLINE = 0.05
"""Seconds that a pattern may take on one of its own samples."""


def read_checks(value: Any, place: Place, faults: Faults) -> tuple[Check, ...]:
    """Every check of one prompt; mistakes go to `faults`."""
    if not isinstance(value, list):
        faults.add(place, "expect must be a list of checks, as `[{kind: contains_any, value: [flour]}]`")
        return ()
    checks = (_check(row, (*place, index), faults) for index, row in enumerate(value))
    return tuple(check for check in checks if check is not None)


def _check(row: Any, place: Place, faults: Faults) -> Check | None:
    if not isinstance(row, dict) or "kind" not in row:
        faults.add(place, f"a check is a mapping with a kind, got {row!r}")
        return None
    if row["kind"] not in get_args(CheckKind):
        faults.add((*place, "kind"), f"unknown check {row['kind']!r}{hint(row['kind'], get_args(CheckKind))}")
        return None
    known = tuple(Check.model_fields)
    if any(k not in known for k in row):
        faults.unknown(place, list(row), known, "check")
        return None
    try:
        check = Check.model_validate(row)
    except ValidationError as error:
        for item in error.errors():
            faults.add((*place, *item["loc"]), f"check {row['kind']}: {'.'.join(map(str, item['loc']))}: {item['msg']}")
        return None
    fault = _value_fault(check)
    if fault:
        faults.add(place, f"check {check.kind}: {fault}")
        return None
    return check


def _value_fault(check: Check) -> str | None:
    """What is wrong with the value of a check, or None."""
    value, kind = check.value, check.kind
    if kind in _TEXTS:
        if not isinstance(value, list) or not value or not all(isinstance(v, str) and v.strip() for v in value):
            return "value must be a list of non-empty texts"
    elif kind == "equals" and not (isinstance(value, str) and value.strip()):
        return "value must be a non-empty text"
    elif kind == "number" and not _is_number(value):
        return "value must be a finite number"
    elif kind == "json":
        return _json_fault(value)
    elif kind == "refusal" and not isinstance(value, bool):
        return "value must be true or false"
    elif kind == "max_words" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        return "value must be a positive whole number"
    elif kind == "choice":
        if len(check.options) < 2 or len(set(check.options)) < len(check.options) or check.answer not in check.options:
            return "needs two or more different options, and an answer among them"
    elif kind == "oracle" and value not in (None, "world"):
        return "the only oracle is world"
    return _pattern_fault(check) if kind == "regex" else None


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond every float
        return False


def _json_fault(value: Any) -> str | None:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return "value must be plain JSON: texts, finite numbers, true, false, null, lists, mappings"
    return None


def _pattern_fault(check: Check) -> str | None:
    import regex

    if not isinstance(check.value, str) or len(check.value) > PATTERN_CHARACTERS:
        return f"value must be a pattern of at most {PATTERN_CHARACTERS} characters"
    if not check.accepts or not check.rejects:
        return "a pattern brings samples that it accepts and samples that it rejects"
    try:
        pattern = regex.compile(check.value, 0 if check.case else regex.IGNORECASE)
        missed = [s for s in check.accepts if not pattern.search(s, timeout=_DEADLINE)]
        taken = [s for s in check.rejects if pattern.search(s, timeout=_DEADLINE)]
    except regex.error as error:
        return f"invalid pattern: {error}"
    except TimeoutError:
        return "the pattern needs too long on its own samples"
    if missed or taken:
        return f"the pattern misses {missed!r} and matches {taken!r} of its own samples"
    return None
