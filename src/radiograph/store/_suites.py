"""Reading suites: `radiograph.suite/1` in YAML or JSON, every mistake reported at once, each with its line.

1. size, alias and safety limits before anything is built (safe loader, no tags)
2. the node tree is kept beside the data, so that a mistake deep inside a prompt still has its line
3. templates are expanded into prompts, then every prompt is checked and becomes a frozen record
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from radiograph.core import FormatError, UserError, nearest
from radiograph.core.limits import SUITE_BYTES, SUITE_PROMPTS, YAML_ALIASES
from radiograph.evidence import Bank, Generation, Message, Prompt, Suite, document_sha256
from radiograph.store._suite_checks import read_checks

SCHEMA = "radiograph.suite/1"
_TOP = ("schema", "suite_name", "name", "generation", "system_prompt", "factors", "prompts", "expand")
_PROMPT = (
    "id",
    "prompt",
    "messages",
    "bank",
    "task",
    "group",
    "format",
    "factors",
    "expect",
    "system_prompt",
    "prefill",
)
_EXPAND = (*_PROMPT, "template", "slots")
Place = tuple[str | int, ...]


@dataclass
class Faults:
    """Collects mistakes; a place is a path of keys and indices into the document."""

    name: str
    lines: dict[Place, int] = field(default_factory=dict)
    found: list[tuple[int, str]] = field(default_factory=list)

    def add(self, place: Place, text: str) -> None:
        """Record one mistake at the nearest known line."""
        line = next((self.lines[place[:n]] for n in range(len(place), -1, -1) if place[:n] in self.lines), 0)
        self.found.append((line, text))

    def unknown(self, place: Place, keys: Iterator[str] | list[str], known: tuple[str, ...], what: str) -> None:
        """Record every key that is not known, with the nearest one that is."""
        for key in keys:
            if key not in known:
                close = nearest(str(key), list(known))
                hint = f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"
                self.add((*place, key), f"unknown {what} key {key!r}{hint}")

    def raise_if_any(self) -> None:
        """Raise one error that lists everything."""
        if not self.found:
            return
        shown = [f"{self.name}:{line}: {text}" for line, text in sorted(self.found)[:20]]
        more = len(self.found) - len(shown)
        raise UserError(
            f"{len(self.found)} mistake{'s' if len(self.found) > 1 else ''} in the suite",
            where="\n    ".join([*shown, *([f"and {more} more"] if more else [])]),
            fix="mend them and run `radiograph suite check` again",
            code="bad_suite",
        )


def read_suite(path: Path) -> Suite:
    """A suite file.

    Raises:
        FormatError: too large, not YAML, too many aliases. UserError: every mistake with its line.
    """
    document, lines = load_yaml(path)
    return _build(document, Faults(path.name, lines))


def suite_from_document(document: dict[str, Any], where: str) -> Suite:
    """A suite that is already plain data."""
    return _build(document, Faults(where))


def suite_sha256(suite: Suite) -> str:
    """Hash of the expanded suite: two spellings of the same prompts are the same suite."""
    return document_sha256(suite)


def load_yaml(path: Path) -> tuple[Any, dict[Place, int]]:
    """Plain data and the line of every key and item. Safe: no tags, bounded size and aliases.

    Raises:
        FormatError: not readable within the limits.
    """
    import yaml

    if path.stat().st_size > SUITE_BYTES:
        raise FormatError(f"{path.name} is larger than {SUITE_BYTES // 2**20} MiB", where=path.name)
    loader_type: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    data = path.read_bytes()
    try:
        aliases = sum(isinstance(e, yaml.AliasEvent) for e in yaml.parse(data, Loader=loader_type))
        if aliases > YAML_ALIASES:
            raise FormatError(f"{path.name} has {aliases} aliases", expected=f"at most {YAML_ALIASES}")
        loader = loader_type(data)
        node = loader.get_single_node()
        document = None if node is None else loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 0
        problem = getattr(error, "problem", None) or str(error)
        raise FormatError(f"{path.name} is not valid YAML", where=f"{path.name}:{line}", got=str(problem)) from error
    lines: dict[Place, int] = {}
    if node is not None:
        _mark(node, (), lines)
    return document, lines


def _mark(node: Any, place: Place, lines: dict[Place, int]) -> None:
    import yaml

    lines.setdefault(place, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*place, key.value)
            lines[inner] = key.start_mark.line + 1
            _mark(value, inner, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _mark(value, (*place, index), lines)


def _build(document: Any, faults: Faults) -> Suite:
    if not isinstance(document, dict):
        raise FormatError(f"{faults.name} is not a suite", expected=f"a mapping with schema: {SCHEMA}")
    if document.get("schema") != SCHEMA:
        faults.add(("schema",), f"schema must be {SCHEMA}, got {document.get('schema')!r}")
    faults.unknown((), list(document), _TOP, "suite")
    name = document.get("suite_name", document.get("name"))
    if not isinstance(name, str) or not name.strip():
        faults.add(("suite_name",), "suite_name is missing")
    factors = _factors(document.get("factors", {}), faults)
    generation = _generation(document.get("generation", {}), faults)
    rows = list(_rows(document, faults))
    if not rows and not faults.found:
        faults.add((), "the suite has no prompts")
    if len(rows) > SUITE_PROMPTS:
        faults.add(("prompts",), f"{len(rows)} prompts, at most {SUITE_PROMPTS}")
    seen: dict[str, Place] = {}
    prompts: list[Prompt] = []
    for place, row in rows[:SUITE_PROMPTS]:
        prompt = _prompt(place, row, document.get("system_prompt"), factors, faults)
        if prompt is None:
            continue
        if prompt.id in seen:
            faults.add((*place, "id"), f"duplicate id {prompt.id!r}")
        seen[prompt.id] = place
        prompts.append(prompt)
    faults.raise_if_any()
    return Suite(suite_name=str(name), prompts=tuple(prompts), generation=generation, factors=factors)


def _factors(value: Any, faults: Faults) -> dict[str, Any]:
    if not isinstance(value, dict):
        faults.add(("factors",), "factors must map names to nominal or ordinal")
        return {}
    for key, kind in value.items():
        if kind not in ("nominal", "ordinal"):
            faults.add(("factors", key), f"factor {key!r} must be nominal or ordinal, got {kind!r}")
    return {k: v for k, v in value.items() if v in ("nominal", "ordinal")}


def _generation(value: Any, faults: Faults) -> Generation:
    try:
        return Generation.model_validate(value if isinstance(value, dict) else {"": value})
    except ValidationError as error:
        for item in error.errors():
            place: Place = ("generation", *item["loc"])
            faults.add(place, f"generation.{'.'.join(map(str, item['loc']))}: {item['msg']}")
        return Generation()


def _rows(document: dict[str, Any], faults: Faults) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Every prompt as written, and every prompt that a template makes."""
    for key in ("prompts", "expand"):
        rows = document.get(key, [])
        if not isinstance(rows, list):
            faults.add((key,), f"{key} must be a list")
            continue
        for index, row in enumerate(rows):
            if not isinstance(row, dict):
                faults.add((key, index), f"{key}[{index}] must be a mapping")
            elif key == "prompts":
                faults.unknown((key, index), list(row), _PROMPT, "prompt")
                yield (key, index), row
            else:
                faults.unknown((key, index), list(row), _EXPAND, "expand")
                yield from (((key, index), made) for made in _expanded(row, (key, index), faults))


def _expanded(row: dict[str, Any], place: Place, faults: Faults) -> Iterator[dict[str, Any]]:
    templates, slots = row.get("template"), row.get("slots", {})
    templates = [templates] if isinstance(templates, str) else templates
    if not isinstance(templates, list) or not templates:
        faults.add((*place, "template"), "expand needs a template or a list of templates")
        return
    if not isinstance(slots, dict) or any(not isinstance(v, list) or not v for v in slots.values()):
        faults.add((*place, "slots"), "slots must map names to non-empty lists")
        return
    rest = {k: v for k, v in row.items() if k not in ("template", "slots", "id")}
    number = 0
    for template in templates:
        for values in itertools.product(*slots.values()):
            names = dict(zip(slots, values, strict=True)) | {"i": number}
            try:
                yield {**rest, "id": str(row.get("id", "")).format(**names), "prompt": str(template).format(**names)}
            except (KeyError, IndexError, ValueError) as error:
                faults.add((*place, "template"), f"template names a slot that is not there: {error}")
                return
            number += 1


def _prompt(place: Place, row: dict[str, Any], system: Any, factors: dict[str, Any], faults: Faults) -> Prompt | None:
    before = len(faults.found)
    bank = row.get("bank", "probe")
    if bank not in get_args(Bank):
        faults.add((*place, "bank"), f"unknown bank {bank!r}; known: {', '.join(get_args(Bank))}")
    messages = _messages(place, row, system, faults)
    given = row.get("factors", {}) or {}
    if isinstance(given, dict):
        _check_factors(place, given, factors, faults)
    else:
        faults.add((*place, "factors"), "factors must be a mapping")
    expect = read_checks(row.get("expect", []), (*place, "expect"), faults)
    if bank == "capability" and (not row.get("task") or not expect):
        faults.add(place, f"capability prompt {row.get('id')!r} needs task and expect")
    try:
        prompt = Prompt(
            id=row.get("id", ""),
            messages=tuple(messages),
            bank=bank if bank in get_args(Bank) else "probe",
            task=row.get("task"),
            group=row.get("group"),
            format=row.get("format"),
            factors=given if isinstance(given, dict) else {},
            expect=expect,
            prefill=bool(row.get("prefill", False)),
        )
    except ValidationError as error:
        for item in error.errors():
            faults.add((*place, *item["loc"][:1]), f"{'.'.join(map(str, item['loc']))}: {item['msg']}")
        return None
    return prompt if len(faults.found) == before else None


def _check_factors(place: Place, given: dict[str, Any], declared: dict[str, Any], faults: Faults) -> None:
    for key, value in given.items():
        if key not in declared:
            close = nearest(str(key), list(declared))
            hint = f"; did you mean {close[0]!r}?" if close else ""
            faults.add((*place, "factors", key), f"factor {key!r} is not declared{hint}")
        elif declared[key] == "ordinal" and (isinstance(value, bool) or not isinstance(value, int | float)):
            faults.add((*place, "factors", key), f"ordinal factor {key!r} needs a number, got {value!r}")


def _messages(place: Place, row: dict[str, Any], system: Any, faults: Faults) -> list[Message]:
    text, turns = row.get("prompt"), row.get("messages")
    if (text is None) == (turns is None):
        faults.add(place, f"prompt {row.get('id')!r} needs exactly one of prompt and messages")
        return []
    if text is not None:
        if not isinstance(text, str) or not text.strip():
            faults.add((*place, "prompt"), "prompt must be a non-empty text")
            return []
        turns = [{"role": "user", "content": text}]
    messages: list[Message] = []
    try:
        messages = [Message.model_validate(t) for t in turns or []]
    except (ValidationError, TypeError) as error:
        faults.add((*place, "messages"), f"messages need role (system, user, assistant) and content: {_first(error)}")
        return []
    has_system = any(m.role == "system" for m in messages)
    if has_system and row.get("system_prompt"):
        faults.add((*place, "system_prompt"), "system_prompt stands beside a system message; keep one")
    own = row.get("system_prompt", system)
    if own and not has_system:
        messages.insert(0, Message(role="system", content=str(own)))
    last = messages[-1].role if messages else None
    if last != ("assistant" if row.get("prefill") else "user"):
        faults.add((*place, "messages"), "messages must end in user (or in assistant with prefill: true)")
    return messages


def _first(error: Exception) -> str:
    return str(error.errors()[0]["msg"]) if isinstance(error, ValidationError) else str(error)
