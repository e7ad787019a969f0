"""Files that are whole or absent: written beside their place, hashed on the way, synced, renamed, the folder synced.

Every write goes to a name of its own, so processes that write the same file never write into each other's: the last
rename wins, and all of them write the same bytes. A killed writer leaves a `.partial`, which nobody reads.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from radiograph.core import RadiographError

if TYPE_CHECKING:
    import polars

PARTIAL = ".partial"


def write_whole(path: Path, parts: Iterable[bytes | memoryview], size: int) -> str:
    """Write a file of `size` bytes from its parts; returns its SHA-256.

    Raises:
        RadiographError: the disk refuses; names file, error, and the bytes that are needed and free.
    """
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}{PARTIAL}")
    digest = hashlib.sha256()
    try:
        with partial.open("xb") as handle:
            for part in parts:
                digest.update(part)
                handle.write(part)
            handle.flush()
            os.fsync(handle.fileno())
        partial.rename(path)
        sync(path.parent)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        free = f"{shutil.disk_usage(path.parent).free:,} are free" if path.parent.is_dir() else "its folder is gone"
        raise RadiographError(
            f"cannot write {path.name} into {path.parent}: {error.strerror} (errno {error.errno}); it needs {size:,} "
            f"bytes and {free}. What was committed stays: free space and resume the run"
        ) from error
    return digest.hexdigest()


def write_table(path: Path, table: polars.DataFrame, *, row_group: int | None = None) -> tuple[int, str]:
    """Write Parquet, zstd; returns size and SHA-256.

    Raises:
        RadiographError: the disk refuses.
    """
    # Through memory: what the table's own writer says of a full disk has neither the error's number nor the size.
    buffer = BytesIO()
    table.write_parquet(buffer, compression="zstd", statistics=True, row_group_size=row_group)
    with buffer.getbuffer() as data:
        return len(data), write_whole(path, (data,), len(data))


def sync(path: Path) -> None:
    """A file's bytes, or a folder's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
