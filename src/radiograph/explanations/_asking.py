"""Questions to a chat endpoint: prompts by version, texts as data, answers that are read strictly."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from radiograph.core.shapes import Float64
from radiograph.evidence.explanations import Exchange

if TYPE_CHECKING:
    from radiograph.store.chat import ChatClient, ChatError

OPEN, CLOSE = "⟪", "⟫"
SCALE: Final = 10
_SLOT: Final = re.compile(r"\{\{([a-z]+)\}\}")
_PROMPTS: Final = Path(__file__).parent / "prompts"


def question(version: str, **values: str) -> tuple[dict[str, str], ...]:
    """The messages of a prompt with its slots filled; what fills a slot is not searched for slots."""
    return ({"role": "user", "content": _SLOT.sub(lambda match: values[match[1]], prompt(f"{version}.md"))},)


@cache
def prompt(name: str) -> str:
    """A prompt of this package."""
    return (_PROMPTS / name).read_text(encoding="utf-8").strip()


def as_data(text: str) -> str:
    """A text as JSON, so that none can end its own quotation."""
    return json.dumps(text, ensure_ascii=False)


def marked_text(tokens: Sequence[str], marks: Sequence[bool]) -> str:
    """The text with marks around some of its tokens; neighbours share one pair, marks of its own are softened."""
    out: list[str] = []
    inside = False
    for token, mark in zip(tokens, marks, strict=True):
        if mark != inside:
            out.append(OPEN if mark else CLOSE)
        inside = mark
        out.append(token.replace(OPEN, "<<").replace(CLOSE, ">>"))
    return ("".join(out) + (CLOSE if inside else "")).strip()


def strengths(values: Float64[np.ndarray, " token"], largest: float) -> list[int]:
    """Values as whole numbers from 0 to 10, at least 1 where the feature fires."""
    if largest <= 0:
        return [0] * len(values)
    return [0 if v <= 0 else max(1, min(SCALE, round(SCALE * float(v) / largest))) for v in values]


def lines(objects: Sequence[dict[str, Any]]) -> str:
    """One JSON object a line."""
    return "\n".join(json.dumps(one, ensure_ascii=False) for one in objects) or "(none)"


def exchange(client: ChatClient, prompts: set[str], stopped: ChatError | None) -> Exchange:
    """What was asked so far."""
    usage = client.usage
    return Exchange(
        model=client.endpoint.model,
        prompts=tuple(sorted(prompts)),
        calls=usage.calls,
        cached=usage.cached,
        failed=usage.failed,
        repaired=usage.repaired,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cost=usage.cost,
        stopped=None if stopped is None else f"{stopped.code}: {stopped.message}",
    )
