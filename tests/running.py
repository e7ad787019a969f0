"""Runs a verb as a surface would, and writes the file that the plug-in's verbs read."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from radiograph.runtime import Outcome, Settings, execute, find, resolve
from radiograph.store import Workspace
from radiograph.surfaces._services import services

PERSON, HOST = "zelda-q", "zeldas-host"


def go(verb: str, *, out: str | None = None, seed: int = 0, confined: bool = False, **config: Any) -> Outcome:
    return perform(verb, config, out=out, seed=seed, confined=confined)


def perform(
    verb: str, config: dict[str, Any], *, out: str | None = None, seed: int = 0, confined: bool = False
) -> Outcome:
    found = find(verb)
    resolved = resolve(found, config, environment=False)
    settings = Settings(
        seed=seed,
        out=Path(out) if out else None,
        workspace=Workspace.current(confined),
        services=services(),
        commands=not confined and found.may_command(resolved.origins),
    )
    return execute(found, resolved, settings)


def numbers(path: Path, *values: object) -> Path:
    path.write_text("".join(f"{v}\n" for v in values))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def impersonate(patch: pytest.MonkeyPatch, homes: Path) -> Path:
    """The home of a person whose name, and whose host's name, must not be found in what a run leaves."""
    home = homes / PERSON
    home.mkdir()
    patch.setenv("HOME", str(home))
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        patch.setenv(variable, PERSON)
    patch.setattr(socket, "gethostname", lambda: HOST)
    return home


def leaks(folder: Path, *paths: Path) -> list[str]:
    """Files that name one of the paths, or the person and the host of the `somebody` fixture."""
    names = [*map(str, paths), PERSON, HOST]
    return [f"{name}: {n}" for name, data in contents(folder).items() for n in names if n in data.decode("latin-1")]
