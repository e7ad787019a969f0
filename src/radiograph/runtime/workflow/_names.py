"""Names in a workflow's texts: `{name}` and `${name}` are replaced, `{{` is a brace.

A value that is nothing but `"{top}"` keeps its type. Values of environment variables are remembered, so that no
manifest has to hold them.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from radiograph.core import UserError, nearest

if TYPE_CHECKING:
    from radiograph.runtime.workflow._file import Workflow

_NAME = re.compile(r"\{\{|\}\}|\$?\{([A-Za-z_][\w.\-]*)\}")


def substitute(value: Any, scope: dict[str, Any], where: str) -> Any:
    """Replace names in every text of a value.

    Raises:
        UserError: an undefined name; the nearest are named.
    """
    if isinstance(value, dict):
        return {k: substitute(v, scope, f"{where}.{k}") for k, v in value.items()}
    if isinstance(value, list):
        return [substitute(v, scope, f"{where}[{i}]") for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value
    whole = _NAME.fullmatch(value)
    if whole and whole[1]:
        return _lookup(whole[1], scope, where)

    def one(match: re.Match[str]) -> str:
        if match[0] in ("{{", "}}"):
            return match[0][0]
        return str(_lookup(match[1], scope, where))

    return _NAME.sub(one, value)


def named(value: Any) -> set[str]:
    """Every name that the texts of a value hold."""
    if isinstance(value, dict):
        return {name for v in value.values() for name in named(v)}
    if isinstance(value, list):
        return {name for v in value for name in named(v)}
    return {m[1] for m in _NAME.finditer(value) if m[1]} if isinstance(value, str) else set()


def scope_of(workflow: Workflow, file: str, folder: str, variables: dict[str, Any]) -> dict[str, Any]:
    """What names mean before a step has run.

    Raises:
        UserError: a variable that the file does not have, or an environment variable that is not set.
    """
    unknown = set(variables) - set(workflow.vars)
    if unknown:
        raise UserError(
            f"--var {sorted(unknown)[0]} is not a variable of {file}", expected="one of " + ", ".join(workflow.vars)
        )
    scope: dict[str, Any] = {"config_dir": folder}
    scope |= environment(workflow, file)
    for key, value in {**workflow.vars, **variables}.items():
        if value is not None:  # a variable without a value has to be given
            scope[key] = substitute(value, scope, f"vars.{key}")
    return scope


def environment(workflow: Workflow, file: str) -> dict[str, str]:
    """The environment variables that the file lists.

    Raises:
        UserError: one is not set.
    """
    for name in workflow.env:
        if name not in os.environ:
            raise UserError(f"environment variable {name} is not set", where=f"{file}: env")
    return {name: os.environ[name] for name in workflow.env}


def _lookup(name: str, scope: dict[str, Any], where: str) -> Any:
    if name not in scope:
        close = nearest(name, list(scope))
        raise UserError(
            f"{{{name}}} is not defined",
            where=where,
            expected="one of " + ", ".join(scope),
            fix=f"did you mean {', '.join(close)}?" if close else "add it under vars, or pass --var NAME=VALUE",
            code="undefined_variable",
        )
    return scope[name]
