"""Prompts that must not be published say so: `private: true` (yes, 1), in whatever object of their line it stands."""

from __future__ import annotations

from typing import Any, Final

YES: Final = frozenset({"true", "yes", "1", "1.0"})
"""In lower case."""


def says_private(value: Any) -> bool:
    """Whether a parsed value, or one inside of it, is marked private."""
    if isinstance(value, dict):
        return any(
            (str(key).casefold() == "private" and str(held).strip().casefold() in YES) or says_private(held)
            for key, held in value.items()
        )
    return isinstance(value, list) and any(map(says_private, value))
