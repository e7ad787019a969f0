"""Runs a verb as a surface would, and writes the file that the plug-in's verbs read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from radiograph.runtime import Outcome, Settings, execute, find, resolve
from radiograph.store import Workspace
from radiograph.surfaces._services import services

PERSON, HOST = "zelda-q", "zeldas-host"


def go(verb: str, *, out: str | None = None, seed: int = 0, confined: bool = False, **config: Any) -> Outcome:
    settings = Settings(
        seed=seed, out=Path(out) if out else None, workspace=Workspace.current(confined), services=services()
    )
    found = find(verb)
    return execute(found, resolve(found, config, environment=False), settings)


def numbers(path: Path, *values: object) -> Path:
    path.write_text("".join(f"{v}\n" for v in values))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def leaks(folder: Path, *paths: Path) -> list[str]:
    """Files that name one of the paths, or the person and the host of the `somebody` fixture."""
    names = [*map(str, paths), PERSON, HOST]
    return [f"{name}: {n}" for name, data in contents(folder).items() for n in names if n in data.decode("latin-1")]
