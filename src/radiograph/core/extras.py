"""Imports that wait: optional dependencies (one door, one error with the install line) and names that need torch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from radiograph.core.errors import MissingExtra


def require(module: str, extra: str) -> ModuleType:
    """Import an optional package, or say how to install it.

    Raises:
        MissingExtra: the package is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingExtra(
            f"{module.split('.')[0]!r} is not installed",
            fix=f'pip install "radiograph[{extra}]"',
        ) from error


def deferred(package: str, home: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's `__getattr__` (PEP 562): each public name is imported from its module when it is first asked for.

    `home` maps a name to its module inside the package. What needs torch then costs nothing to those who do not use it.
    """

    def get(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{home[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return get
