"""Which of several explanations of a feature is shown.

Order: the place of the first preferred substring in `typeName`, then higher numeric score (missing last), then longer
text, then text. The choice depends on the set of explanations alone, not on their order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

PREFERRED: Final = ("oai_token-act-pair", "np_acts-logits-general")


@dataclass(frozen=True, slots=True)
class Explanation:
    """One explanation as shown."""

    text: str
    type: str | None
    author: str | None
    score: float | None


def preferred(payloads: Sequence[dict[str, Any]]) -> Explanation | None:
    """The explanation to show, or None where there is none with text."""
    found = [_read(p) for p in payloads if str(p.get("description") or "").strip()]
    return min(found, key=_rank) if found else None


def _read(payload: dict[str, Any]) -> Explanation:
    listed = payload.get("scores")
    scores = [_number(s.get("value")) for s in (listed if isinstance(listed, list) else ()) if isinstance(s, dict)]
    known = [s for s in scores if s is not None]
    return Explanation(
        text=str(payload["description"]).strip(),
        type=_text(payload.get("typeName")),
        author=_text(payload.get("explanationModelName")),
        score=max(known) if known else None,
    )


def _rank(explanation: Explanation) -> tuple[int, float, int, str]:
    kind = explanation.type or ""
    place = next((i for i, name in enumerate(PREFERRED) if name in kind), len(PREFERRED))
    score = -math.inf if explanation.score is None else explanation.score
    return place, -score, -len(explanation.text), explanation.text


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
