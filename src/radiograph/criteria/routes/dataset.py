"""Rows of a file that carry labels, scores, or labelled spans.

1. `label` (true, false, 1, 0), else `criterion_score` in 0 to 1 against the threshold, else `kind`; `spans` label parts
   of the text instead, each of which becomes a row
2. `kind` tells near misses from other negatives, and must not contradict the label; nor must the score
3. a prompt without `group_id` is a group of its own, a prompt without id is called after its line

Refuses what cannot be read (the first five places, and a count), one class alone, two texts under one id.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from radiograph.core import UserError
from radiograph.criteria._parts import Drawn, Parts
from radiograph.criteria._prompts import Prompts
from radiograph.criteria._rows import Row, agreed, checked_score, labelled
from radiograph.store.lines import Mistakes

_TRUTH = {"true": True, "false": False, "1": True, "0": False}


def lacks(parts: Parts) -> str | None:
    """Labelled prompts."""
    return None if parts.prompts is not None else "--prompts FILE with labels, scores or spans"


def draw(parts: Parts, seed: int) -> Drawn:
    """The rows of the file, in its order.

    Raises:
        UserError: the threshold is no share, or one class alone. FormatError: rows that cannot be read.
    """
    assert parts.prompts is not None
    if not 0 < parts.threshold <= 1:
        raise UserError("the threshold of scores lies above 0, up to 1", got=str(parts.threshold), where="--threshold")
    prompts = parts.prompts
    reader = _Reader(prompts, parts)
    rows = [
        row for values, number in zip(prompts.rows, prompts.numbers, strict=True) for row in reader.read(values, number)
    ]
    reader.mistakes.raise_if_any()
    positive = sum(row.positive for row in rows)
    if positive in (0, len(rows)):
        spans = any(row.span for row in rows)
        raise UserError(
            f"all {len(rows)} labels of {prompts.name} are {'positive' if positive else 'negative'}",
            expected="rows of both classes",
            where=prompts.name,
            fix="label other spans false" if spans else "add rows of the other class, or move --threshold",
            code="one_class",
        )
    return Drawn(rows, prompts.sha256)


class _Reader:
    """One file; collects its mistakes."""

    def __init__(self, prompts: Prompts, parts: Parts) -> None:
        self.mistakes = Mistakes(prompts.name)
        self._threshold = parts.threshold
        self._texts = prompts.texts
        self._seen: dict[str, tuple[object, int]] = {}
        self._place = 0

    def read(self, values: Mapping[str, Any], number: int) -> list[Row]:
        """The rows of one prompt; a mistake is recorded once."""
        self._place += 1
        try:
            return self._rows(values, number or self._place, number)
        except ValueError as error:
            self.mistakes.add(number, str(error))
            return []

    def _rows(self, values: Mapping[str, Any], place: int, number: int) -> list[Row]:
        prompt = _name(values, "prompt_id", _name(values, "id", f"row-{place}"))
        text = values.get("text")
        if text is not None and (not isinstance(text, str) or not text.strip()):
            raise ValueError(f"text must be a text that is not empty, got {text!r}")
        messages = _messages(values.get("messages"))
        shown = text if text is not None or not messages else messages[-1]["content"]
        if shown is None:
            raise ValueError("no text")
        self._once(prompt, (shown, messages), number)
        score = self._score(values)
        row = Row(
            prompt_id=prompt,
            text=shown,
            kind="negative",
            source_group=_name(values, "group_id", prompt),
            score=score,
            messages=tuple(messages),
            targets=_words(values, "targets"),
            foils=_words(values, "foils"),
            factors=_factors(values.get("factors")),
            route="dataset",
        )
        kind = values.get("kind")
        if values.get("spans") is not None:
            return [replace(row, span=span, kind=agreed(label, kind)) for span, label in _spans(values, text)]
        return [replace(row, kind=agreed(self._label(values, score), kind))]

    def _once(self, prompt: str, content: tuple[object, object], number: int) -> None:
        first = self._seen.setdefault(prompt, (content, number))
        if first[0] != content:
            raise ValueError(f"prompt id {prompt!r} names another text on line {first[1]}")

    def _score(self, values: Mapping[str, Any]) -> float | None:
        value = values.get("criterion_score")
        if value is None:
            return None
        if self._texts:
            value = _float(value)
        return checked_score(value)

    def _label(self, values: Mapping[str, Any], score: float | None) -> bool | None:
        value = values.get("label")
        return labelled(None if value is None else _truth(value), score, self._threshold)


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value in (0, 1):
        return bool(value)
    if isinstance(value, str) and value.strip().casefold() in _TRUTH:
        return _TRUTH[value.strip().casefold()]
    raise ValueError(f"label must be true or false (1 or 0), got {value!r}")


def _spans(values: Mapping[str, Any], text: object) -> list[tuple[tuple[int, int], bool]]:
    given = values["spans"]
    if not isinstance(text, str):
        raise ValueError("spans need the text that they are parts of")
    if not isinstance(given, list) or not given:
        raise ValueError("spans must be a list of [start, end, label]")
    out: list[tuple[tuple[int, int], bool]] = []
    for span in given:
        fits = isinstance(span, list | tuple) and len(span) == 3 and all(type(i) is int for i in span[:2])
        if not fits or not 0 <= span[0] < span[1] <= len(text):
            raise ValueError(
                f"a span is [start, end, label] inside the {len(text)} characters of the text, got {span!r}"
            )
        out.append(((span[0], span[1]), _truth(span[2])))
    return out


def _name(values: Mapping[str, Any], key: str, default: str) -> str:
    value = values.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise ValueError(f"{key} must be a text, got {value!r}")
    return str(value)


def _words(values: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = values.get(key)
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) and word for word in value):
        raise ValueError(f"{key} must be a list of texts, got {value!r}")
    return tuple(value)


def _messages(value: Any) -> tuple[dict[str, str], ...]:
    if value is None:
        return ()
    fits = isinstance(value, list | tuple) and value
    if not fits or not all(
        isinstance(m, dict) and isinstance(m.get("role"), str) and isinstance(m.get("content"), str) for m in value
    ):
        raise ValueError("messages must be a list of {role, content}")
    return tuple({"role": m["role"], "content": m["content"]} for m in value)


def _factors(value: Any) -> dict[str, str | int | float]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"factors must be an object, got {value!r}")
    found = {str(k): v for k, v in value.items() if v is not None}
    for name, level in found.items():
        if not isinstance(level, str | int | float) or (isinstance(level, float) and not math.isfinite(level)):
            raise ValueError(f"the level of factor {name!r} must be a text or a finite number, got {level!r}")
    return found


def _float(value: Any) -> Any:
    try:
        return float(value)
    except (TypeError, ValueError):
        return value
