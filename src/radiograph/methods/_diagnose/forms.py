"""Forms that an output can have: JSON by a schema, a pattern, a tool call, a list, or the shape of the right answer.

    json       an object; with a schema, what fits it; of a check with a value, its keys and kinds of values
    regex      every pattern of the prompt's checks, or of the form
    tool_call  {"name", "arguments"}, alone, as {"function": {…}} or in <tool_call> tags; of the tools that are named
    list       two lines or more, each with the same mark (-, *, •) or counted from 1, and nothing else
    shape      of the right answer, any words in the place of its words (the small world)

A prompt's `format` names a form: `json`, `tool_call` and `list` as they are, or one of `--forms FILE`, a JSON object of
{"NAME": {"json_schema": {…}}}, {"regex": "…"}, {"tools": {"TOOL": {schema of arguments}}} or {"list": {"least",
"most"}}. JSON is strict: no NaN, no key twice, nothing around it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import regex

from radiograph.core import FormatError, UserError, nearest
from radiograph.core.limits import PATTERN_CHARACTERS
from radiograph.methods._diagnose.schema import DEADLINE, TYPES, check_schema, fits

if TYPE_CHECKING:
    from radiograph.evidence import Prompt

_WORDS = re.compile(r"\w+(?:\s+\w+)*")
_TAGGED = re.compile(r"\s*<tool_call>(.*)</tool_call>\s*", re.DOTALL)
_MARKED = re.compile(r"\s*(?:([-*\u2022])|(\d+)([.)]))\s+\S.*")
SHAPE = '{"NAME": {"json_schema": {…}} or {"regex": "…"} or {"tools": {…}} or {"list": {…}}}'


@dataclass(frozen=True)
class Form:
    """A form by name, and whether a text has it."""

    name: str
    valid: Callable[[str], bool]


def form_of(prompt: Prompt, forms: Mapping[str, Form]) -> Form | None:
    """The form that a prompt asks for: the one its `format` names, else that of its checks."""
    if prompt.format is not None and prompt.format in forms:
        return forms[prompt.format]
    patterns = [check for check in prompt.expect if check.kind == "regex"]
    for check in prompt.expect:
        if check.kind == "json":
            return Form("json", _json({"type": "object"} if check.value is None else kinds(check.value)))
    if patterns:
        return Form("regex", _patterns([(str(check.value), check.case) for check in patterns]))
    if prompt.task == "format" and (answer := _answer(prompt)) is not None:
        wanted = shape(answer)
        return Form("shape", lambda text: shape(text) == wanted)
    return None


def targets_of(prompt: Prompt) -> list[str]:
    """Right answers that the suite itself gives."""
    found: list[str] = []
    for check in prompt.expect:
        if check.kind == "equals":
            found.append(str(check.value))
        elif check.kind == "one_of":
            found.extend(map(str, check.value))
        elif check.kind == "json" and check.value is not None:
            found.append(json.dumps(check.value))
        elif check.kind == "regex":
            found.extend(check.accepts)
        elif check.kind == "oracle" and (answer := _answer(prompt)) is not None:
            found.append(answer)
    return found


def read_forms(data: bytes | None, name: str) -> dict[str, Form]:
    """The forms that have names: three of their own, and those of a file.

    Raises:
        UserError: no such document, an unknown kind of form, or a schema that is not understood.
    """
    found = {
        "json": Form("json", _json({"type": "object"})),
        "tool_call": Form("tool_call", _tool_call(None)),
        "list": Form("list", _list(2, None)),
    }
    if data is None:
        return found
    try:
        document: Any = strict(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{name} is no JSON", expected=SHAPE, got=str(error)[:200]) from error
    if not isinstance(document, dict):
        raise FormatError(f"{name} holds no forms", expected=SHAPE, got=type(document).__name__)
    for key, value in cast("dict[str, Any]", document).items():
        found[key] = Form(key, _read(value, f"{name}: {key}"))
    return found


def strict(text: str) -> Any:
    """A JSON document; ValueError for NaN, infinities, and a key that stands twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise ValueError("a key stands twice")
        return dict(pairs)

    def no_number(constant: str) -> Any:
        raise ValueError(f"{constant} is no JSON")

    return json.loads(text, object_pairs_hook=once, parse_constant=no_number)


def shape(text: str) -> str:
    """A text with its runs of words left out: one word and several are told apart."""
    return _WORDS.sub(lambda m: "w" if len(m[0].split()) == 1 else "w+", " ".join(text.split()))


def kinds(value: Any) -> dict[str, Any]:
    """A schema of everything with the keys of a value and its kinds of values."""
    if isinstance(value, dict):
        own = cast("dict[str, Any]", value)
        inner = {name: kinds(one) for name, one in own.items()}
        return {"type": "object", "properties": inner, "required": list(own), "additionalProperties": False}
    if isinstance(value, list):
        forms = [kinds(one) for one in cast("list[Any]", value)]
        return {"type": "array"} | ({"items": {"anyOf": forms}} if forms else {})
    return {"type": next(name for name, test in TYPES.items() if test(value) and name != "integer")}


def _answer(prompt: Prompt) -> str | None:
    from radiograph.organisms.world import solve

    if not any(check.kind == "oracle" for check in prompt.expect):
        return None
    truth = solve([{"role": m.role, "content": m.content} for m in prompt.messages])
    return None if truth is None else truth.answer


def _read(value: Any, where: str) -> Callable[[str], bool]:
    given = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    if len(given) != 1 or next(iter(given)) not in _KINDS:
        close = nearest(str(next(iter(given), "")), list(_KINDS))
        fix = f"did you mean {', '.join(close)}?" if close else None
        raise UserError(f"{where} is no form", where=where, expected=SHAPE, fix=fix, code="bad_form")
    kind, told = next(iter(given.items()))
    return _KINDS[kind](told, f"{where}.{kind}")


def _of_schema(told: Any, where: str) -> Callable[[str], bool]:
    check_schema(told, where)
    return _json(told)


def _of_pattern(told: Any, where: str) -> Callable[[str], bool]:
    try:
        if not isinstance(told, str) or len(told) > PATTERN_CHARACTERS:
            raise UserError(f"{where} is no pattern", where=where, expected=f"at most {PATTERN_CHARACTERS} characters")
        regex.compile(told)
    except regex.error as error:
        raise UserError(f"{where} is no pattern", where=where, got=str(error)) from error
    return _patterns([(told, True)])


def _of_tools(told: Any, where: str) -> Callable[[str], bool]:
    if not isinstance(told, dict) or not told:
        raise UserError(f"{where} names no tools", where=where, expected='{"TOOL": {schema of its arguments}}')
    for name, arguments in cast("dict[str, Any]", told).items():
        check_schema(arguments, f"{where}.{name}")
    return _tool_call(cast("dict[str, Any]", told))


def _of_list(told: Any, where: str) -> Callable[[str], bool]:
    limits: dict[str, Any] = cast("dict[str, Any]", told) if isinstance(told, dict) else {"": None}
    if any(k not in ("least", "most") or isinstance(v, bool) or not isinstance(v, int) for k, v in limits.items()):
        raise UserError(f"{where} is no list form", where=where, expected='{"least": 2, "most": 5}')
    return _list(int(limits.get("least", 2)), limits.get("most"))


_KINDS = {"json_schema": _of_schema, "regex": _of_pattern, "tools": _of_tools, "list": _of_list}


def _json(schema: Any) -> Callable[[str], bool]:
    def valid(text: str) -> bool:
        try:
            return fits(strict(text), schema)
        except (ValueError, RecursionError):
            return False

    return valid


def _patterns(patterns: list[tuple[str, bool]]) -> Callable[[str], bool]:
    compiled = [regex.compile(text, 0 if case else regex.IGNORECASE) for text, case in patterns]

    def valid(text: str) -> bool:
        try:
            return all(one.search(text, timeout=DEADLINE) for one in compiled)
        except TimeoutError:
            return False

    return valid


def _tool_call(tools: Mapping[str, Any] | None) -> Callable[[str], bool]:
    def valid(text: str) -> bool:
        tagged = _TAGGED.fullmatch(text)
        try:
            value: Any = strict(tagged[1] if tagged else text)
            call = value.get("function", value) if isinstance(value, dict) else None
            if not isinstance(call, dict):
                return False
            said = cast("dict[str, Any]", call)
            name, arguments = said.get("name"), said.get("arguments", said.get("parameters"))
            arguments = strict(arguments) if isinstance(arguments, str) else arguments
        except (ValueError, RecursionError):
            return False
        if not isinstance(name, str) or not name or not isinstance(arguments, dict):
            return False
        return tools is None or (name in tools and fits(arguments, tools[name]))

    return valid


def _list(least: int, most: int | None) -> Callable[[str], bool]:
    def valid(text: str) -> bool:
        lines = [line for line in text.splitlines() if line.strip()]
        marks = [_MARKED.fullmatch(line) for line in lines]
        if not least <= len(lines) <= (len(lines) if most is None else most) or None in marks:
            return False
        found = [mark for mark in marks if mark is not None]
        if found[0][1] is not None:
            return len({mark[1] for mark in found}) == 1
        counted = [int(mark[2]) if mark[2] else 0 for mark in found]
        return counted == list(range(1, len(found) + 1)) and len({mark[3] for mark in found}) == 1

    return valid
