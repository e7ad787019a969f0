"""From a configuration class to the arguments and options of a command.

A field that names an input (`core.Input`) and has no default is an argument, and so is one that is marked `Positional`,
with a default an optional one; every other is an option with its docstring as help and its default shown. Values are
checked by pydantic, not here, so that every surface gives the same error.
"""

from __future__ import annotations

import types
from typing import Any, Literal, Union, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from radiograph.core import Config, positional
from radiograph.core.config import Bare
from radiograph.core.sizes import Quantity, binary_text, count_text


def parameters(config: type[Config]) -> list[click.Parameter]:
    """One click parameter a field. Options that were not given are left out of the result."""
    placed = positional(config)
    return [_parameter(name, field, name in placed) for name, field in config.model_fields.items()]


def given(values: dict[str, Any]) -> dict[str, Any]:
    """What was typed, without what was not."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items() if v is not None and v != ()}


def _parameter(name: str, field: FieldInfo, placed: bool) -> click.Parameter:
    base, many = _base(field.annotation)
    if placed:
        required, metavar = field.is_required(), name.rstrip("_").upper()
        return click.Argument(
            [name], nargs=-1 if many else 1, required=required, metavar=metavar if required else f"[{metavar}]"
        )
    flag = "--" + name.rstrip("_").replace("_", "-")  # a trailing one keeps a Python keyword apart
    shown = "" if field.is_required() else _shown(field)
    help_text = " ".join((field.description or "").split())
    if field.is_required():
        help_text = f"{help_text}  [required]"
    if shown:
        help_text = f"{help_text}  [default: {shown}]".strip()
    if base is bool:
        return click.Option([f"{flag}/--no-{flag[2:]}", name], default=None, help=help_text)
    if get_origin(base) is Literal:
        choices = [str(c) for c in get_args(base)]
        said = f"{help_text}  ({', '.join(choices)})"
        return click.Option([flag, name], default=None, multiple=many, help=said, metavar="CHOICE")
    bare = next((mark for mark in field.metadata if isinstance(mark, Bare)), None)
    if bare is not None:
        return click.Option([flag, name], default=None, help=help_text, metavar="[TEXT]", flag_value=bare.value)
    quantity = _quantity(field)
    metavar = quantity.kind.upper() if quantity else {int: "N", float: "X"}.get(base, "TEXT")
    return click.Option([flag, name], default=None, multiple=many, help=help_text, metavar=metavar)


def _base(annotation: Any) -> tuple[Any, bool]:
    """The type inside `X | None` and `tuple[X, ...]`, and whether it repeats."""
    if get_origin(annotation) in (Union, types.UnionType):
        inner = [a for a in get_args(annotation) if a is not types.NoneType]
        return _base(inner[0])
    if get_origin(annotation) in (tuple, list):
        return get_args(annotation)[0], True
    return annotation, False


def _quantity(field: FieldInfo) -> Quantity | None:
    """The mark of a field that is written as people write counts and sizes, also inside `X | None`."""
    nested = (mark for inner in get_args(field.annotation) for mark in getattr(inner, "__metadata__", ()))
    return next((mark for mark in (*field.metadata, *nested) if isinstance(mark, Quantity)), None)


def _shown(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    if default is None or default == () or default == "":
        return ""
    if isinstance(default, bool):
        return "on" if default else "off"
    if (quantity := _quantity(field)) is not None:
        return count_text(default) if quantity.kind == "count" else binary_text(default)
    return ", ".join(map(str, default)) if isinstance(default, tuple | list) else str(default)
