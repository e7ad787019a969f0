"""SHA-256 of files and folders, streamed."""

from __future__ import annotations

import hashlib
from pathlib import Path


def file_sha256(path: Path) -> str:
    """Hash of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def tree(folder: Path) -> list[Path]:
    """Every regular file below a folder, sorted by its POSIX path. A link to a file counts as that file; linked folders
    are not entered.
    """
    return sorted((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.relative_to(folder).as_posix())


def folder_sha256(folder: Path) -> str:
    """Hash over the sorted (relative path, SHA-256) lines of a folder's files."""
    return listing_sha256([(p.relative_to(folder).as_posix(), file_sha256(p)) for p in tree(folder)])


def listing_sha256(listing: list[tuple[str, str]]) -> str:
    """Hash over sorted (path, SHA-256) pairs, one line each."""
    digest = hashlib.sha256()
    for path, sha in sorted(listing):
        digest.update(f"{path}\x00{sha}\n".encode())
    return digest.hexdigest()
