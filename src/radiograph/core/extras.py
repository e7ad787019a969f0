"""Optional dependencies: one door, one error with the install line."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

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
