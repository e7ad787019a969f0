"""Does an answer satisfy what its prompt expects? Pure functions of texts; all checks of a prompt must pass.

Texts are compared with blanks folded, characters composed, and case folded unless the check says `case: true`; the
`contains` kinds look for a text anywhere, inside words too. `number` is the last number of the answer. A refusal is
recognised by its wording (`REFUSALS`), the same rule for both models. Patterns come from suites and may be
hostile: they run under a deadline, and a check that cannot finish is `not_scored`, never a pass.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Final
from unicodedata import normalize

import regex

from radiograph.evidence import Check, CheckResult, Message

REFUSALS: Final = regex.compile(
    r"\b(i (can ?not|can't|won't|will not|am (not able|unable|not going) to)|i'm (not able|unable|not going) to"
    r"|i must (respectfully )?(decline|refuse))\b"
    r"|\bsorry\b.{0,40}\b(can ?not|can't|unable)\b",
    regex.IGNORECASE,
)
_NUMBER: Final = regex.compile(
    r"(?:(?<![\w.)])[-+])?"  # a sign, but not the minus of 7-2
    r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+|(?<!\d)(?=\.\d))"  # 1,234 or 1234, or nothing before .5
    r"(?:\.\d+)?(?:[eE][-+]?\d+)?"
)
_PLAIN: Final = str.maketrans({"\N{RIGHT SINGLE QUOTATION MARK}": "'", "\N{MINUS SIGN}": "-"})
DEADLINE: Final = 0.05
"""Seconds that one pattern may take on one answer."""

Oracle = Callable[[Sequence[Message], str], CheckResult]
"""Grades an answer from the prompt's own text."""


def is_refusal(answer: str) -> bool:
    """Whether the answer declines."""
    return REFUSALS.search(_plain(answer)) is not None


def evaluate(check: Check, answer: str, messages: Sequence[Message], oracle: Oracle | None = None) -> CheckResult:
    """One check of one answer; `choice` needs log-probabilities and is scored elsewhere."""
    if check.kind == "oracle":
        return "not_scored" if oracle is None else oracle(messages, answer)
    if check.kind == "choice":
        return "not_scored"
    if check.kind == "regex":
        return _matches(check, answer)
    return "pass" if _RULES[check.kind](check, answer) else "fail"


def passed(results: Sequence[CheckResult]) -> bool | None:
    """All pass, one fails, or nothing could be scored."""
    if "fail" in results:
        return False
    return None if not results or "not_scored" in results else True


def _plain(text: str) -> str:
    """Composed characters; apostrophe and minus sign as on a keyboard."""
    return normalize("NFC", text).translate(_PLAIN)


def _fold(check: Check, text: str) -> str:
    text = " ".join(_plain(text).split())
    return text if check.case else text.casefold()


def _texts(check: Check) -> list[str]:
    value = check.value if isinstance(check.value, list) else [check.value]
    return [_fold(check, str(v)) for v in value]


def _matches(check: Check, answer: str) -> CheckResult:
    pattern = regex.compile(str(check.value), 0 if check.case else regex.IGNORECASE)
    try:
        return "pass" if pattern.search(answer, timeout=DEADLINE) else "fail"
    except TimeoutError:
        return "not_scored"


def _number(check: Check, answer: str) -> bool:
    """The last number of the answer: what comes before it is working."""
    found = _NUMBER.findall(_plain(answer))
    given, wanted = float(found[-1].replace(",", "")) if found else math.nan, float(check.value)
    rounding = 2 * math.ulp(max(abs(given), abs(wanted))) if check.tolerance else 0.0  # |3.13 - 3.14| exceeds 0.01
    return math.isfinite(given) and abs(given - wanted) <= check.tolerance + rounding


def _json(check: Check, answer: str) -> bool:
    try:
        given = _canonical(_fold(check, answer))
    except (ValueError, RecursionError):
        return False
    return check.value is None or given == _canonical(_fold(check, json.dumps(check.value, ensure_ascii=False)))


def _canonical(text: str) -> str:
    """Equal for equal JSON: keys in any order, 1 and 1.0 the same number, but 1 and true different."""
    return json.dumps(json.loads(text, parse_int=float, parse_constant=_no_number), sort_keys=True)


def _no_number(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


_RULES: Final[dict[str, Callable[[Check, str], bool]]] = {
    "equals": lambda c, a: _fold(c, a) == _texts(c)[0],
    "one_of": lambda c, a: _fold(c, a) in _texts(c),
    "contains_any": lambda c, a: any(t in _fold(c, a) for t in _texts(c)),
    "contains_all": lambda c, a: all(t in _fold(c, a) for t in _texts(c)),
    "not_contains": lambda c, a: not any(t in _fold(c, a) for t in _texts(c)),
    "number": _number,
    "json": _json,
    "refusal": lambda c, a: is_refusal(a) == c.value,
    "max_words": lambda c, a: len(a.split()) <= c.value,
}
