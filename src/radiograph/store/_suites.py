"""Reading suites: `radiograph.suite/1` in YAML or JSON, every mistake reported at once, each with its line.

1. the document and the line of each of its parts (`_located`), within the limits on size, aliases and nesting
2. templates are expanded into prompts (`_suite_templates`)
3. every prompt is checked as written and becomes a frozen record; its checks are read by `_suite_checks`

Nothing is guessed: a value that YAML read as another type than the author meant (`no`, `007`) is a mistake, not text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast, get_args

from pydantic import ValidationError

from radiograph.core import FormatError
from radiograph.core.limits import ID_CHARACTERS, SUITE_PROMPTS
from radiograph.evidence import Bank, Generation, Message, Prompt, Role, Suite, document_sha256
from radiograph.store._located import Faults, Place, hint, load_yaml
from radiograph.store._suite_checks import read_checks
from radiograph.store._suite_templates import expanded

SCHEMA = "radiograph.suite/1"
_TOP = ("schema", "suite_name", "name", "generation", "system_prompt", "factors", "prompts", "expand")
_SHARED = ("id", "bank", "task", "group", "format", "factors", "expect", "system_prompt")
_PROMPT = (*_SHARED, "prompt", "messages", "prefill")
_EXPAND = (*_SHARED, "template", "slots")
_ID = re.compile(rf"[A-Za-z0-9._-]{{1,{ID_CHARACTERS}}}")
_QUOTE = "YAML reads it as something else, so quote it"


def read_suite(path: Path) -> Suite:
    """A suite file.

    Raises:
        FormatError: too large, not YAML, too many aliases. UserError: every mistake with its line.
    """
    document, faults = load_yaml(path)
    return _build(document, faults)


def suite_from_document(document: dict[str, Any], where: str) -> Suite:
    """A suite that is already plain data.

    Raises:
        UserError: every mistake, without lines.
    """
    return _build(document, Faults(where))


def suite_sha256(suite: Suite) -> str:
    """Hash of the expanded suite: two spellings of the same prompts are the same suite."""
    return document_sha256(suite)


def _build(document: Any, faults: Faults) -> Suite:
    if not isinstance(document, dict):
        raise FormatError(f"{faults.name} is not a suite", expected=f"a mapping with schema: {SCHEMA}")
    name = _head(document, faults)
    factors = _factors(document.get("factors", {}), faults)
    generation = _generation(document.get("generation", {}), faults)
    system = _text_or_null(document.get("system_prompt"), ("system_prompt",), "system_prompt", faults)
    rows = list(_rows(document, faults))
    if not rows and not faults.found:
        faults.add((), "the suite has no prompts")
    if len(rows) > SUITE_PROMPTS:
        faults.add(("prompts",), f"{len(rows)} prompts, at most {SUITE_PROMPTS}")
    first: dict[str, Place] = {}
    prompts: list[Prompt] = []
    for place, row in rows[:SUITE_PROMPTS]:
        _identify(place, row.get("id"), first, faults)
        prompt = _prompt(place, row, system, factors, faults)
        if prompt is not None:
            prompts.append(prompt)
    faults.raise_if_any()
    return Suite(suite_name=name, prompts=tuple(prompts), generation=generation, factors=factors)


def _head(document: dict[str, Any], faults: Faults) -> str:
    given = document.get("schema")
    if given is None:
        faults.add(("schema",), f"schema is missing: begin with `schema: {SCHEMA}`")
    elif given != SCHEMA:
        faults.add(("schema",), f"schema must be {SCHEMA}, got {given!r}")
    faults.unknown((), list(document), _TOP, "suite")
    if "suite_name" in document and "name" in document:
        faults.add(("name",), "name stands beside suite_name, which means the same; keep one")
    key = "suite_name" if "suite_name" in document else "name"
    name = document.get(key)
    if name is None:
        faults.add(("suite_name",), "suite_name is missing")
    elif not isinstance(name, str) or not name.strip():
        faults.add((key,), f"{key} must be a non-empty text, got {name!r}")
    return str(name)


def _factors(value: Any, faults: Faults) -> dict[str, Any]:
    if not isinstance(value, dict):
        faults.add(("factors",), "factors must map names to nominal or ordinal")
        return {}
    for key, kind in value.items():
        if not isinstance(key, str):
            faults.add(("factors", str(key)), f"the name of factor {key!r} must be text; {_QUOTE}")
        if kind not in ("nominal", "ordinal"):
            faults.add(("factors", key), f"factor {key!r} must be nominal or ordinal, got {kind!r}")
    return value


def _generation(value: Any, faults: Faults) -> Generation:
    if not isinstance(value, dict):
        faults.add(("generation",), f"generation must be a mapping, got {value!r}")
        return Generation()
    known = list(Generation.model_fields)
    faults.unknown(("generation",), list(value), known, "generation")
    try:
        return Generation.model_validate({key: v for key, v in value.items() if key in known})
    except ValidationError as error:
        for item in error.errors():
            faults.add(("generation", *item["loc"]), f"generation.{_dotted(item)}: {_said(item)}")
        return Generation()


def _rows(document: dict[str, Any], faults: Faults) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Every prompt as written, and every prompt that a template makes."""
    for key, known in (("prompts", _PROMPT), ("expand", _EXPAND)):
        rows = document.get(key, [])
        if not isinstance(rows, list):
            faults.add((key,), f"{key} must be a list")
            continue
        for index, row in enumerate(rows):
            place: Place = (key, index)
            if not isinstance(row, dict):
                faults.add(place, f"{key}[{index}] must be a mapping, got {row!r}")
                continue
            faults.unknown(place, list(row), known, "prompt" if key == "prompts" else "expand")
            made = [row] if key == "prompts" else expanded(row, place, faults)
            yield from ((place, one) for one in made)


def _identify(place: Place, name: Any, first: dict[str, Place], faults: Faults) -> None:
    """Ids are unique, and are looked at even where the rest of the prompt is broken."""
    if name is None:
        faults.add(place, "the prompt has no id")
    elif not isinstance(name, str):
        faults.add((*place, "id"), f"id {name!r} must be text; {_QUOTE}")
    elif not _ID.fullmatch(name):
        faults.add((*place, "id"), f"id {name!r} must be 1 to {ID_CHARACTERS} of the characters A-Z a-z 0-9 . _ -")
    elif name in first:
        line = faults.line((*first[name], "id"))
        faults.add((*place, "id"), f"duplicate id {name!r}" + (f", first on line {line}" if line else ""))
    else:
        first[name] = place


def _prompt(
    place: Place, row: dict[str, Any], system: str | None, factors: dict[str, Any], faults: Faults
) -> Prompt | None:
    """The record of one prompt; None once anything in the suite is a mistake, and only mistakes are looked for."""
    bank, prefill = row.get("bank", "probe"), row.get("prefill", False)
    if bank not in get_args(Bank):
        faults.add((*place, "bank"), f"unknown bank {bank!r}{hint(bank, get_args(Bank))}")
    if not isinstance(prefill, bool):
        faults.add((*place, "prefill"), f"prefill must be true or false, got {prefill!r}")
    for key in ("task", "group", "format"):
        _text_or_null(row.get(key), (*place, key), key, faults)
    messages = _messages(place, row, system, bool(prefill), faults)
    given = row.get("factors")
    _check_factors(place, {} if given is None else given, factors, faults)
    expect = read_checks(row.get("expect", []), (*place, "expect"), faults)
    if bank == "capability" and not (row.get("task") and row.get("expect")):
        faults.add(place, f"capability prompt {row.get('id')!r} needs task and expect")
    if faults.found:
        return None
    return Prompt(
        id=row["id"],
        messages=tuple(messages),
        bank=bank,
        task=row.get("task"),
        group=row.get("group"),
        format=row.get("format"),
        factors=given or {},
        expect=expect,
        prefill=prefill,
    )


def _check_factors(place: Place, given: Any, declared: dict[str, Any], faults: Faults) -> None:
    if not isinstance(given, dict):
        faults.add((*place, "factors"), f"factors must be a mapping, got {given!r}")
        return
    for key, value in given.items():
        here = (*place, "factors", str(key))
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if key not in declared:
            missing = hint(key, list(declared)) if declared else "; declare it at the top: `factors: {NAME: nominal}`"
            faults.add(here, f"factor {key!r} is not declared{missing}")
        elif isinstance(value, float) and not math.isfinite(value):
            faults.add(here, f"factor {key!r} must be finite, got {value!r}")
        elif declared[key] == "ordinal" and not number:
            faults.add(here, f"ordinal factor {key!r} needs a number, got {value!r}")
        elif not number and not (isinstance(value, str) and value.strip()):
            faults.add(here, f"factor {key!r} needs a text or a number, got {value!r}; {_QUOTE}")


def _messages(place: Place, row: dict[str, Any], system: str | None, prefill: bool, faults: Faults) -> list[Message]:
    text, turns = row.get("prompt"), row.get("messages")
    if (text is None) == (turns is None):
        faults.add(place, f"prompt {row.get('id')!r} needs exactly one of prompt and messages")
        return []
    if text is not None:
        if not isinstance(text, str) or not text.strip():
            faults.add((*place, "prompt"), f"prompt must be a non-empty text, got {text!r}")
            return []
        turns = [{"role": "user", "content": text}]
    if not isinstance(turns, list) or not turns:
        faults.add((*place, "messages"), "messages must be a list of {role: …, content: …}")
        return []
    found = [_message(turn, (*place, "messages", index), faults) for index, turn in enumerate(turns)]
    messages = [message for message in found if message is not None]
    own = _text_or_null(row.get("system_prompt"), (*place, "system_prompt"), "system_prompt", faults)
    if any(m.role == "system" for m in messages):
        if own is not None:
            faults.add((*place, "system_prompt"), "system_prompt stands beside a system message; keep one")
    else:
        own = own if "system_prompt" in row else system
        messages = [*([Message(role="system", content=own)] if own else []), *messages]
    _check_end(place, messages, prefill, faults)
    return messages


def _message(turn: Any, place: Place, faults: Faults) -> Message | None:
    if not isinstance(turn, dict):
        faults.add(place, f"a message is a mapping of role and content, got {turn!r}")
        return None
    faults.unknown(place, list(turn), ("role", "content"), "message")
    role, content = cast("Role", turn.get("role")), turn.get("content")
    if role not in get_args(Role):
        faults.add((*place, "role"), f"unknown role {role!r}{hint(role, get_args(Role))}")
        return None
    if not isinstance(content, str) or not content.strip():
        faults.add((*place, "content"), f"content must be a non-empty text, got {content!r}")
        return None
    return Message(role=role, content=content)


def _check_end(place: Place, messages: list[Message], prefill: bool, faults: Faults) -> None:
    roles = [m.role for m in messages]
    if roles and roles[-1] != ("assistant" if prefill else "user"):
        wanted = "assistant, whose text is continued (prefill: true)" if prefill else "user, or set prefill: true"
        faults.add((*place, "messages"), f"messages end in {roles[-1]}, they must end in {wanted}")
    elif roles and "user" not in roles:
        faults.add((*place, "messages"), "messages hold no user turn")


def _text_or_null(value: Any, place: Place, key: str, faults: Faults) -> str | None:
    if value is None or (isinstance(value, str) and value.strip()):
        return value
    faults.add(
        place, f"{key} must be a non-empty text, got {value!r}" + ("" if isinstance(value, str) else f"; {_QUOTE}")
    )
    return None


def _dotted(item: Any) -> str:
    return ".".join(map(str, item["loc"]))


def _said(item: Any) -> str:
    return f"{item['msg'][:1].lower()}{item['msg'][1:]}, got {item['input']!r}"
