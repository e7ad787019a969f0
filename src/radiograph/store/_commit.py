"""Which commit a working directory is at, read from its files: no program is started, nothing is written."""

from __future__ import annotations

import re
from pathlib import Path

_HASH = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def commit_of(folder: Path) -> str | None:
    """The commit that HEAD names in the repository around a folder; None where there is none, or none yet.

    Whether files were changed since is not looked at.
    """
    place = next((p / ".git" for p in (folder, *folder.parents) if (p / ".git").exists()), None)
    if place is None:
        return None
    try:
        if place.is_file():  # a worktree or a submodule
            place = (place.parent / place.read_text(encoding="utf-8").partition("gitdir:")[2].strip()).resolve()
        shared = place / "commondir"
        common = (place / shared.read_text(encoding="utf-8").strip()).resolve() if shared.is_file() else place
        head = (place / "HEAD").read_text(encoding="utf-8").strip()
        return _hash(head) if not head.startswith("ref:") else _of_branch(head.partition(":")[2].strip(), place, common)
    except (OSError, UnicodeDecodeError):
        return None


def _of_branch(name: str, place: Path, common: Path) -> str | None:
    for base in (place, common):
        path = (base / name).resolve()
        if path.is_relative_to(base.resolve()) and path.is_file():
            return _hash(path.read_text(encoding="utf-8").strip())
    packed = common / "packed-refs"
    if packed.is_file():
        for line in packed.read_text(encoding="utf-8").splitlines():
            found, _, ref = line.partition(" ")
            if ref == name:
                return _hash(found)
    return None


def _hash(text: str) -> str | None:
    return text if _HASH.fullmatch(text) else None
