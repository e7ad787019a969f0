"""The nonlinearity of a dictionary: pre-activations to sparse codes. One file per activation, found by its name.

A file defines `Activation`, a frozen dataclass whose fields are the constants stored in a dictionary's JSON and whose
`PARAMETERS` names the per-feature tensors it needs beside encoder and bias. Adding a file adds an activation.
"""

from __future__ import annotations

import json
import pkgutil
from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module

from pydantic import TypeAdapter, ValidationError

from radiograph.core import FormatError, UserError, nearest
from radiograph.dictionaries.activations._base import Activation


def names() -> list[str]:
    """Every activation that has a file here."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def activation(name: str, constants: Mapping[str, object] | None = None) -> Activation:
    """The activation of a name, with its constants.

    Raises:
        UserError: no file of that name.
        FormatError: a constant is missing, unknown or of another type.
    """
    if name not in names():
        close = nearest(name, names()) or names()
        raise UserError(f"unknown activation {name!r}", expected=", ".join(names()), fix=f"did you mean {close[0]}?")
    kind: type[Activation] = import_module(f"{__name__}.{name}").Activation
    given = dict(constants or {})
    known = {f.name for f in fields(kind)}
    if given.keys() != known:
        raise FormatError(f"constants of activation {name}", expected=str(sorted(known)), got=str(sorted(given)))
    try:
        return TypeAdapter(kind).validate_json(json.dumps(given), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise FormatError(
            f"constants of activation {name}", where=".".join(map(str, first["loc"])), expected=first["msg"]
        ) from error


__all__ = ["Activation", "activation", "names"]
