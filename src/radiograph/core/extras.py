"""Imports that wait: optional packages (one door, one error with the install line), names that need torch, plug-ins.

A plug-in is a module: a file of a folder, whose name is its own, or what another package registers as an entry point.
"""

from __future__ import annotations

import ast
import pkgutil
import sys
from collections.abc import Callable, Sequence
from functools import cache, partial
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from radiograph.core.errors import FormatError, MissingExtra

Given = TypeVar("Given")


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


def deferred(package: str, file: str) -> Callable[[str], Any]:
    """A package's `__getattr__` (PEP 562): each public name is imported from its module when it is first asked for.

    The names are those that the package's own file imports `if TYPE_CHECKING:`, so that there is one list for readers,
    type checkers and the import. What is heavy then costs nothing to those who do not use it.
    """

    def get(name: str) -> Any:
        home = _waiting(file)
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, own = home[name]
        value = getattr(import_module(module), own)
        setattr(sys.modules[package], name, value)
        return value

    return get


@cache
def _waiting(file: str) -> dict[str, tuple[str, str]]:
    """Module and name there of everything that a file imports for type checkers alone."""
    return {
        alias.asname or alias.name: (node.module, alias.name)
        for branch in ast.parse(Path(file).read_bytes()).body
        if isinstance(branch, ast.If) and isinstance(branch.test, ast.Name) and branch.test.id == "TYPE_CHECKING"
        for node in branch.body
        if isinstance(node, ast.ImportFrom) and node.module is not None
        for alias in node.names
    }


@cache
def plugins(folder: str | None, group: str, kind: str, calls: Sequence[str]) -> dict[str, Callable[[], Any]]:
    """Every plug-in of a kind by name, sorted, each to be imported by a call.

    One of another package that cannot be used stops those who ask for it, and nobody else: its call raises FormatError.

    Args:
        folder: the package whose modules are plug-ins, those with an underscore left out; None: we have none ourselves.
        group: where other packages register theirs: name, and module.
        kind: what one is called in an error.
        calls: functions that every one has, as they are called: `draw(parts, seed)`.

    Raises:
        FormatError: another package registers a name that is taken.
    """
    found: dict[str, Callable[[], Any]] = {
        module.name: partial(import_module, f"{folder}.{module.name}")
        for module in (pkgutil.iter_modules(import_module(folder).__path__) if folder else ())
        if not module.name.startswith("_")
    }
    for point in entry_points(group=group):
        if point.name in found:
            raise _unfit(point, kind, "a name that is free", f"{point.name!r} is taken")
        found[point.name] = partial(_joined, point, kind, calls)
    return dict(sorted(found.items()))


def package_of(group: str, name: str) -> str | None:
    """The package that registered a plug-in, with its version; None for one of our own."""
    owners = [point.dist for point in entry_points(group=group, name=name) if point.dist is not None]
    return f"{owners[0].name} {owners[0].version}" if owners else None


def held(value: Given, expected: type | tuple[type, ...], group: str, name: str) -> Given:
    """What a plug-in gave back, if it is of the type that it has to be.

    Raises:
        FormatError: it is of another one.
    """
    if isinstance(value, expected):
        return value
    kinds = expected if isinstance(expected, tuple) else (expected,)
    raise FormatError(
        f"{name!r} of {package_of(group, name) or 'this package'} gave back something else",
        expected=" or ".join(kind.__name__ for kind in kinds),
        got=type(value).__name__,
        where=f"entry point {name} of {group}",
        fix="mend that package, or do without its part",
    )


def _joined(point: EntryPoint, kind: str, calls: Sequence[str]) -> Any:
    """What another package registered, imported and held against how it will be called."""
    expected = f"a module with {' and '.join(calls)}"
    try:
        module = point.load()
    except Exception as error:
        raise _unfit(point, kind, expected, f"{type(error).__name__}: {error}") from error
    for call in calls:
        name, _, given = call.rstrip(")").partition("(")
        own = getattr(module, name, None)
        if not callable(own):
            raise _unfit(point, kind, expected, f"no function {name}")
        try:
            signature(own).bind(*given.split(", "))
        except (TypeError, ValueError) as error:
            raise _unfit(point, kind, expected, f"{name}: {error}") from error
    return module


def _unfit(point: EntryPoint, kind: str, expected: str, got: str) -> FormatError:
    owner = None if point.dist is None else point.dist.name
    return FormatError(
        f"{point.value} cannot be the {kind} {point.name!r}",
        expected=expected,
        got=got,
        where=f"entry point {point.name} = {point.value}" + (f" of the package {owner}" if owner else ""),
        fix=f"mend that package, or remove it: pip uninstall {owner or point.value.partition('.')[0]}",
    )
