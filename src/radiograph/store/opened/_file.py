"""A file that is opened once, read and hashed through that descriptor.

1. the name is followed once; with `links=False` every component is opened relative to the one before it, and a link in
   any of them is refused, so that no check can be outrun   2. bytes are read at offsets of the descriptor: swapping the
   file afterwards changes nothing   3. the hash is that of the descriptor's bytes

Refuses what is no regular file.
"""

from __future__ import annotations

import hashlib
import os
import stat
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import IO, BinaryIO
from weakref import finalize

from radiograph.core import FormatError, UserError, visible

BLOCK = 2**20


class Opened:
    """An open file. It is closed as a context, by `close`, or when nobody holds it any more."""

    def __init__(self, handle: IO[bytes] | int, name: str) -> None:
        """Take over an open file or a descriptor; `name` is what errors and evidence call it.

        Raises:
            UserError: no regular file.
        """
        self.name = name
        if isinstance(handle, int):
            self._descriptor = handle
        else:
            self._descriptor = os.dup(handle.fileno())
            handle.close()
        self._close = finalize(self, os.close, self._descriptor)
        found = os.fstat(self._descriptor)
        self.size = found.st_size
        if not stat.S_ISREG(found.st_mode):
            self.close()
            raise UserError(f"{visible(name)!r} is not a file", code="not_found")

    @classmethod
    def at(cls, path: Path, name: str | None = None, *, links: bool = True) -> Opened:
        """Open a path; `links=False` refuses a link in any component.

        Raises:
            UserError: nothing there, no file, not readable, or a link where none is allowed.
        """
        shown = name or path.name
        try:
            return cls(os.open(path, os.O_RDONLY) if links else descriptor_without_links(path, shown), shown)
        except OSError as error:
            raise UserError(
                f"{visible(shown)!r} cannot be opened", got=error.strerror, fix="check the path", code="not_found"
            ) from error

    @property
    def handle(self) -> BinaryIO:
        """A file object on the same descriptor, for libraries that want one; closing it closes nothing."""
        return os.fdopen(self._descriptor, "rb", closefd=False)

    @property
    def suffix(self) -> str:
        """Of the name, in lower case."""
        return Path(self.name).suffix.lower()

    @cached_property
    def sha256(self) -> str:
        """Hash of the bytes."""
        digest = hashlib.sha256()
        buffer = bytearray(BLOCK)
        view, at = memoryview(buffer), 0
        while count := os.preadv(self._descriptor, [buffer], at):
            digest.update(view[:count])
            at += count
        return digest.hexdigest()

    @property
    def again(self) -> Path:
        """A path to the open file itself, for libraries that want one."""
        return Path(f"/dev/fd/{self._descriptor}")

    def read(self, limit: int | None = None) -> bytes:
        """All bytes.

        Raises:
            FormatError: more than `limit`.
        """
        if limit is not None and self.size > limit:
            raise FormatError(
                f"{visible(self.name)} is too large", expected=f"at most {limit:,} bytes", got=f"{self.size:,}"
            )
        return self.part(0, self.size)

    def part(self, at: int, count: int) -> bytes:
        """`count` bytes from an offset.

        Raises:
            FormatError: the file ends before.
        """
        data = bytearray(count)
        self.into(data, at)
        return bytes(data)

    def into(self, buffer: bytearray | memoryview, at: int) -> None:
        """Fill a buffer from an offset.

        Raises:
            FormatError: the file ends before.
        """
        view = memoryview(buffer).cast("B")
        done = 0
        while done < len(view):
            count = os.preadv(self._descriptor, [view[done:]], at + done)
            if count == 0:
                raise FormatError(
                    f"{visible(self.name)} ends too early",
                    expected=f"{at + len(view):,} bytes",
                    got=f"{at + done:,}",
                    where=self.name,
                )
            done += count

    def close(self) -> None:
        """Close it."""
        self._close()

    def __enter__(self) -> Opened:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def refuse_links(path: Path, shown: str) -> None:
    """Refuse a path with a link in any component.

    Raises:
        UserError: `link_refused`, with the component.
    """
    for part in (*reversed(path.parents), path):
        if part.is_symlink():
            raise _linked(shown, part)


def descriptor_without_links(path: Path, shown: str) -> int:
    """Open a path for reading, component by component, none of them a link.

    Raises:
        UserError: `link_refused`. OSError: nothing there.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100 (`resolve` follows the links that are looked for)
    folder = os.open(path.anchor, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for number, name in enumerate(path.parts[1:], start=2):
            last = number == len(path.parts)
            here = Path(*path.parts[:number])
            if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                raise _linked(shown, here)
            # The kernel refuses a link that was put there since.
            flags = os.O_RDONLY | os.O_NOFOLLOW | (0 if last else os.O_DIRECTORY)
            inner = os.open(name, flags, dir_fd=folder)
            os.close(folder)
            folder = inner
    except BaseException:
        os.close(folder)
        raise
    return folder


def _linked(shown: str, part: Path) -> UserError:
    return UserError(
        f"{visible(shown)!r} leads through a link",
        where=visible(part.name),
        expected="no link in any component",
        fix="name the place itself, or leave out --no-links",
        code="link_refused",
    )
