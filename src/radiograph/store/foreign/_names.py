"""Foreign ids: their order, and the error where none fits."""

from __future__ import annotations

import re
from typing import Any

from radiograph.core import UserError, nearest, visible

_NUMBER = re.compile(r"([0-9]+)")


def natural(name: str) -> tuple[Any, ...]:
    """A key that sorts numbers inside ids by value: f2 before f10."""
    # Split at numbers: every second part is one, so that texts are compared with texts.
    return (*(int(part) if place % 2 else part for place, part in enumerate(_NUMBER.split(name))), name)


def no_such_model(name: str, model: str, known: list[str]) -> UserError:
    """No record is of the model; names those that there are."""
    close = nearest(model, known)
    return UserError(
        f"{name} holds no records of {visible(model, 80)!r}",
        expected="one of " + ", ".join(visible(known_one, 80) for known_one in known[:20]),
        fix=f"did you mean {', '.join(close)}?" if close else None,
        code="unknown_model",
    )
