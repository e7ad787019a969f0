"""Where each value of a configuration comes from: command line > environment > file > default.

A file is YAML, TOML or JSON with the verb's own keys. `${NAME}` and `${NAME:-default}` in its texts are taken from the
environment; a name that is not set and has no default is an error with its key. Environment variables are
`RADIOGRAPH_<VERB>_<KEY>` in capitals (`RADIOGRAPH_AUDIT_ALPHA`).
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from radiograph.core import Config, FormatError, UserError, nearest
from radiograph.core.limits import DOCUMENT_VALUES, WORKFLOW_BYTES
from radiograph.runtime._catalogue import Verb

_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")


@dataclass(frozen=True)
class Resolved:
    """A validated configuration and the origin of every value."""

    config: Config
    origins: dict[str, str]


def resolve(
    verb: Verb,
    given: Mapping[str, Any],
    file: Path | None = None,
    *,
    environment: bool = True,
    origin: str = "command line",
) -> Resolved:
    """Merge the sources and validate. `origin` is what to call the place that `given` comes from.

    Raises:
        UserError: an unknown key (nearest named), a value of the wrong kind, a required one missing.
    """
    fields = verb.config.model_fields
    layers: list[tuple[str, Mapping[str, Any]]] = []
    if file is not None:
        layers.append(("file", expand_environment(read_mapping(file), str(file.name))))
    if environment:
        layers.append(("environment", _environment(verb, list(fields))))
    layers.append((origin, given))
    values: dict[str, Any] = {}
    origins = dict.fromkeys(fields, "default")
    for source, layer in layers:
        for key, value in layer.items():
            name = key.replace("-", "_")
            name = f"{name}_" if f"{name}_" in fields else name
            if name not in fields:
                close = nearest(name, list(fields))
                raise UserError(
                    f"{verb.name}: unknown option {key!r}",
                    where=source,
                    expected="one of " + ", ".join(fields),
                    fix=f"did you mean {', '.join(close)}?" if close else f"see `radiograph {verb.name} --help`",
                    code="unknown_option",
                )
            values[name] = value
            origins[name] = source
    try:
        return Resolved(verb.config.model_validate(values), origins)
    except ValidationError as error:
        raise _invalid(verb, error, origins) from error


def read_mapping(path: Path) -> dict[str, Any]:
    """A YAML, TOML or JSON file whose top level is a mapping.

    Raises:
        FormatError: too large, not readable as its suffix says, or not a mapping.
    """
    if path.stat().st_size > WORKFLOW_BYTES:
        raise FormatError(f"{path.name} is larger than {WORKFLOW_BYTES} bytes")
    text = path.read_bytes()
    try:
        if path.suffix == ".toml":
            document: Any = tomllib.loads(text.decode())
        elif path.suffix == ".json":
            document = json.loads(text)
        else:
            import yaml

            document = yaml.safe_load(text)
    except Exception as error:  # three parsers, three families of errors, one meaning
        raise FormatError(f"cannot read {path.name}", got=str(error).replace("\n", " ")) from error
    if not isinstance(document, dict):
        raise FormatError(f"{path.name} must be a mapping of keys to values", got=type(document).__name__)
    _bound(document, path.name)
    return document


def _bound(document: Any, name: str) -> None:
    """YAML aliases can make a small file into an endless document; count before anybody walks it."""
    count, waiting = 0, [document]
    while waiting:
        value = waiting.pop()
        count += 1
        if count > DOCUMENT_VALUES:
            raise FormatError(f"{name} unfolds to more than {DOCUMENT_VALUES} values", fix="write it without aliases")
        waiting.extend(value.values() if isinstance(value, dict) else value if isinstance(value, list) else ())


def expand_environment(value: Any, where: str) -> Any:
    """Replace `${NAME}` and `${NAME:-default}` in every text of a document.

    Raises:
        UserError: a variable that is not set and has no default.
    """
    if isinstance(value, dict):
        return {k: expand_environment(v, f"{where}: {k}") for k, v in value.items()}
    if isinstance(value, list):
        return [expand_environment(v, f"{where}[{i}]") for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value

    def one(match: re.Match[str]) -> str:
        found = os.environ.get(match["name"], match["default"])
        if found is None:
            raise UserError(
                f"${{{match['name']}}} is not set",
                where=where,
                fix=f"set it, or write ${{{match['name']}:-default}}",
                code="undefined_variable",
            )
        return found

    return _VARIABLE.sub(one, value)


def _environment(verb: Verb, fields: list[str]) -> dict[str, str]:
    prefix = f"RADIOGRAPH_{verb.tool.upper()}_"
    found = {f: os.environ.get(prefix + f.upper()) for f in fields}
    return {k: v for k, v in found.items() if v is not None}


def _invalid(verb: Verb, error: ValidationError, origins: dict[str, str]) -> UserError:
    lines: list[str] = []
    for item in error.errors()[:5]:
        name = str(item["loc"][0]) if item["loc"] else ""
        given = "" if item["type"] == "missing" else f", got {item['input']!r}"
        lines.append(f"{name or verb.name}: {item['msg']}{given} ({origins.get(name, 'given')})")
    more = len(error.errors()) - len(lines)
    if more > 0:
        lines.append(f"and {more} more")
    return UserError(
        f"{verb.name}: {lines[0]}",
        got="; ".join(lines[1:]) or None,
        fix=f"see `radiograph {verb.name} --help`",
        code="bad_value",
    )
