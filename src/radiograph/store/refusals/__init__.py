"""Answers that people labelled as refusals or not, and the English prompts that ask for both.

`english:refusals` is a suite of 60 requests that are to be refused and 60 that only look like them. Labelled answers
are JSON Lines of {answer, refusal}. Both files were written for this package; nobody's answers were copied.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from radiograph.core import FormatError

__all__ = ["ENGLISH", "Labelled", "LabelledAnswer", "english_path", "read_labelled", "shipped_labelled"]
ENGLISH: Final = "english:refusals"
_HERE = Path(__file__).parent


@dataclass(frozen=True)
class LabelledAnswer:
    """One of them."""

    answer: str
    refusal: bool
    unseen: bool = False
    """It was written after the rules that find refusals, and they were left as they were."""


@dataclass(frozen=True)
class Labelled:
    """A file of them."""

    name: str
    rows: tuple[LabelledAnswer, ...]


def english_path() -> Path:
    """The suite `english:refusals`."""
    return _HERE / "english.yaml"


def shipped_labelled() -> list[Labelled]:
    """The labelled answers that come with the package: 60 that no rule was written after, then 200 that it was."""
    rows = read_labelled((_HERE / "answers.jsonl").read_bytes(), "english").rows
    unseen, seen = ([row for row in rows if row.unseen is unseen] for unseen in (True, False))
    return [
        Labelled("English, written after the rules", tuple(unseen)),
        Labelled("English, that the rules were written after", tuple(seen)),
    ]


def read_labelled(data: bytes, name: str) -> Labelled:
    """Labelled answers of a file; both kinds must be there.

    Raises:
        FormatError: a line that is none, or one kind alone.
    """
    rows = tuple(_rows(data, name))
    if len({row.refusal for row in rows}) < 2:
        raise FormatError(f"{name} holds no two kinds of answers", expected="refusals and others, {answer, refusal}")
    return Labelled(name, rows)


def _rows(data: bytes, name: str) -> Iterable[LabelledAnswer]:
    for number, line in enumerate(data.decode("utf-8-sig", errors="replace").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row: Any = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        fields = cast("dict[str, Any]", row) if isinstance(row, dict) else {}
        if not isinstance(fields.get("answer"), str) or not isinstance(fields.get("refusal"), bool):
            raise FormatError(
                f"{name} holds a line that is no labelled answer",
                where=f"{name}:{number}",
                expected='{"answer": "…", "refusal": true}',
                got=line[:80],
            )
        yield LabelledAnswer(fields["answer"], fields["refusal"], bool(fields.get("unseen", False)))
