"""Neutral texts and the world's grader, in the shapes that audits take."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

from radiograph.evidence import CheckResult, Message
from radiograph.organisms.world import World

NEUTRAL = 128
NATURAL = "world:mixture#400"
"""Natural text of the small world: what doses refer to where nothing else is given."""


def oracle(messages: Sequence[Message], answer: str) -> CheckResult:
    """Grade an answer from the prompt's own text; `not_scored` for a prompt that is no question of the world."""
    return cast("CheckResult", _world().grade([{"role": m.role, "content": m.content} for m in messages], answer))


def reads_world(tokenizer: Any) -> bool:
    """Whether a tokenizer is that of the small world: it gives the world's own ids to the world's own text."""
    text = _world().neutral(1)[0]
    if tokenizer is None:
        return False
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"]) == _world().encode(text)


def natural_sources(tokenizer: Any, given: Sequence[str]) -> tuple[str, ...]:
    """Where natural text comes from: what is given, else the world's own for its tokenizer, else nowhere."""
    return tuple(given) or ((NATURAL,) if reads_world(tokenizer) else ())


def standard_neutral(tokenizer: Any) -> list[str]:
    """The neutral texts that a dictionary's guard is measured on: the world's for its own models, else English."""
    return neutral_texts("world" if reads_world(tokenizer) else "english")


def neutral_texts(language: Literal["world", "english"]) -> list[str]:
    """Plain texts that ask nothing: of the small world, or everyday English sentences."""
    if language == "world":
        return _world().neutral(NEUTRAL)
    path = Path(__file__).parent / "bundled" / "neutral_english.txt"
    return path.read_text(encoding="utf-8").splitlines()


@cache
def _world() -> World:
    return World()
