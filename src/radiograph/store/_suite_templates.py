"""The `expand` list of a suite: templates and slots become prompts before anything is checked or hashed.

Every template is filled with every combination of the slots' values, in the order written. `{NAME}` is a slot, `{i}`
the number of the prompt within its entry, `{{` and `}}` are braces; nothing else of Python's formatting is understood.
`id`, `group`, `format` and the values of `factors` may hold slots too; a factor that is a slot alone keeps its number.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from string import Formatter
from typing import Any

from radiograph.core.limits import SUITE_PROMPTS
from radiograph.store._located import Faults, Place, hint

COUNTER = "i"
_FILLED = ("id", "group", "format")


def expanded(row: dict[str, Any], place: Place, faults: Faults) -> Iterator[dict[str, Any]]:
    """The prompts of one entry, as if they had been written out; none where the entry has a mistake of its own."""
    templates, slots = _templates(row, place, faults), _slots(row, place, faults)
    if templates is None or slots is None:
        return
    count = len(templates) * math.prod(len(values) for values in slots.values())
    if count > SUITE_PROMPTS:
        faults.add(place, f"this entry makes {count} prompts, at most {SUITE_PROMPTS}")
        return
    shape = {key: value for key, value in row.items() if key not in ("template", "slots")}
    combinations = itertools.product(templates, *slots.values())
    for number, (template, *values) in enumerate(combinations):
        names = {**dict(zip(slots, values, strict=True)), COUNTER: number}
        try:
            yield {**shape, **_filled(shape, names), "prompt": fill(template, names)}
        except ValueError as error:
            faults.add((*place, "template"), str(error))
            return


def fill(template: str, names: Mapping[str, Any]) -> str:
    """Put values into a text.

    Raises:
        ValueError: a name that is no slot, or a brace that stands alone.
    """
    parts: list[str] = []
    try:
        pieces = list(Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"{template!r}: {error}; write {{{{ and }}}} for braces") from error
    for literal, name, form, conversion in pieces:
        parts.append(literal)
        if name is None:
            continue
        if form or conversion or (name not in names and _base(name) in names):
            raise ValueError(f"{template!r}: a slot is its name in braces, as {{{COUNTER}}}, and nothing more")
        if name not in names:
            raise ValueError(f"{template!r} names a slot {name!r} that is not there{hint(name, list(names))}")
        parts.append(str(names[name]))
    return "".join(parts)


def _filled(shape: dict[str, Any], names: Mapping[str, Any]) -> dict[str, Any]:
    """What besides the prompt takes slots."""
    texts = {key: fill(shape[key], names) for key in _FILLED if isinstance(shape.get(key), str)}
    factors = shape.get("factors")
    if not isinstance(factors, dict):
        return texts
    return {**texts, "factors": {key: _factor(value, names) for key, value in factors.items()}}


def _factor(value: Any, names: Mapping[str, Any]) -> Any:
    if not isinstance(value, str):
        return value
    alone = value[1:-1] if value.startswith("{") and value.endswith("}") else None
    return names[alone] if alone is not None and alone in names else fill(value, names)


def _templates(row: dict[str, Any], place: Place, faults: Faults) -> list[str] | None:
    given = row.get("template")
    templates = [given] if isinstance(given, str) else given
    if not isinstance(templates, list) or not templates or not all(isinstance(t, str) for t in templates):
        faults.add((*place, "template"), "expand needs a template: a text, or a list of texts")
        return None
    return templates


def _slots(row: dict[str, Any], place: Place, faults: Faults) -> dict[str, list[Any]] | None:
    slots = row.get("slots", {})
    if not isinstance(slots, dict) or any(not isinstance(v, list) or not v for v in slots.values()):
        faults.add((*place, "slots"), "slots must map names to lists of values")
        return None
    before = len(faults.found)
    used = {name for text in _texts(row) for name in _names(text)}
    for name, values in slots.items():
        if not isinstance(name, str) or not name.isidentifier() or name == COUNTER:
            faults.add((*place, "slots", name), f"slot {name!r} must be a word other than {COUNTER!r}, the counter")
        elif name not in used:
            faults.add((*place, "slots", name), f"slot {name!r} is used nowhere, so its values make equal prompts")
        for index, value in enumerate(values):
            if isinstance(value, bool) or not isinstance(value, str | int | float):
                text = (
                    f"slot {name!r}: {value!r} is neither text nor number; YAML reads yes, no, on, off as truth values"
                )
                faults.add((*place, "slots", name, index), f"{text}, so quote them")
    return slots if len(faults.found) == before else None


def _texts(row: dict[str, Any]) -> list[str]:
    template, factors = row.get("template"), row.get("factors")
    texts = [row.get(key) for key in _FILLED]
    texts += template if isinstance(template, list) else [template]
    texts += factors.values() if isinstance(factors, dict) else []
    return [text for text in texts if isinstance(text, str)]


def _names(text: str) -> list[str]:
    try:
        return [_base(name) for _, name, _, _ in Formatter().parse(text) if name]
    except ValueError:  # said where the template is filled
        return []


def _base(name: str) -> str:
    """The slot inside `{town.upper}` or `{town[0]}`, which Python's formatting would look into."""
    return name.partition(".")[0].partition("[")[0]
