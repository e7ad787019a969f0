"""What is imported: a folder or one file of somebody else, looked at through a door that keeps count.

1. a path is listed once, names relative to it; a link is followed only inside the same folder or hub cache entry
2. detection peeks at names and keys; readers open documents and tensor files, each with an account (`Ledger`) that is
   closed when the reader is done, and with the SHA-256 of the file
3. documents are JSON or safe YAML within a size limit; tensor files as in `_open`. No code runs
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

from radiograph.core import FormatError, UserError
from radiograph.core.limits import DICTIONARY_CONFIG_BYTES
from radiograph.dictionaries.formats._ledger import Ledger
from radiograph.dictionaries.formats._open import SUFFIXES, open_tensors
from radiograph.store import file_sha256, load_yaml

TRAIL = 8
FILES = 20_000


@dataclass(eq=False)
class Source:
    """One import. Names are POSIX paths relative to `root`."""

    root: Path
    names: tuple[str, ...]
    trail: tuple[str, ...]
    """Names of the folders that lead here, the nearest last: where a format hides a layer, a width or a k."""
    bound: Path
    """Where links may lead."""
    ledgers: list[Ledger] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    unreadable: dict[str, UserError] = field(default_factory=dict)
    """Files that detection looked at in vain: what to say if no format fits."""
    _peeked: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, *, trail: tuple[str, ...] | None = None) -> Source:
        """A folder with everything below it, or one file.

        Raises:
            UserError: nothing there, or too many files.
        """
        if not path.exists():
            raise UserError(f"nothing at {path.name!r}", expected="a folder or file of a dictionary", code="not_found")
        path = path.absolute()
        root = path if path.is_dir() else path.parent
        bound = _bound(root)
        found = (p for p in root.rglob("*") if p.is_file()) if path.is_dir() else iter([path])
        names: list[str] = []
        for item in found:
            names.append(item.relative_to(root).as_posix())
            if len(names) > FILES:
                raise UserError(f"more than {FILES:,} files in {root.name!r}", fix="name the folder of the dictionary")
        return cls(root, tuple(sorted(names)), trail or root.parts[-TRAIL:], bound)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def match(self, pattern: str) -> list[str]:
        """Names that fit a shell pattern; `*` also crosses folders."""
        return [name for name in self.names if fnmatchcase(name, pattern)]

    @property
    def tensor_files(self) -> list[str]:
        """Names of files that hold tensors."""
        return [name for name in self.names if name.lower().endswith(SUFFIXES)]

    @cached_property
    def path_text(self) -> str:
        """The trail as one text, to look for a layer or a width in."""
        return "/".join(self.trail)

    def keys(self, name: str) -> frozenset[str]:
        """Tensor names of a tensor file or top-level keys of a document, for detection; empty if it is not there or
        cannot be read.
        """
        return frozenset(self.peek(name))

    def peek(self, name: str) -> Mapping[str, Any]:
        """A file without account, for detection; empty if it is not there, cannot be read, or is no mapping."""
        if name not in self.names:
            return {}
        if name not in self._peeked:
            try:
                self._peeked[name] = self._read(name, DICTIONARY_CONFIG_BYTES)
            except UserError as error:
                self.unreadable[name] = error
                self._peeked[name] = {}
        return self._peeked[name]

    def document(self, name: str, *, limit: int = DICTIONARY_CONFIG_BYTES) -> Ledger:
        """A JSON or YAML mapping, opened with an account.

        Raises:
            FormatError: missing, larger than `limit` bytes, not readable, not a mapping.
        """
        return self._account(name, self._read(name, limit))

    def tensors(self, name: str) -> Ledger:
        """A tensor file, opened with an account.

        Raises:
            FormatError: missing, or see `open_tensors`.
        """
        self._path(name)
        peeked = self._peeked.get(name)
        return self._account(name, peeked or self._read(name, 0))

    def path(self, name: str) -> Path:
        """The real path of a name, inside the bound; counted as used.

        Raises:
            FormatError: not there, or a link that leads outside.
        """
        self.used.add(name)
        return self._path(name)

    def close(self) -> None:
        """Close every account.

        Raises:
            FormatError: a tensor or key that nobody took.
        """
        for ledger in self.ledgers:
            ledger.close()

    def settle(self, seen: set[str]) -> tuple[dict[str, str], int]:
        """The SHA-256 of the documents and of the tensor files opened since they were in `seen`, and how many names
        they hold; `seen` then holds them all.
        """
        tensors = [n for n in self._opened if n.lower().endswith(SUFFIXES)]
        fresh = [n for n in tensors if n not in seen] or tensors[-1:]
        names = sorted({*fresh, *(n for n in self.used if not n.lower().endswith(SUFFIXES))})
        seen |= self.used
        count = sum(len(ledger.names) for ledger in self.ledgers if ledger.where in names)
        return {name: file_sha256(self._path(name)) for name in names}, count

    @property
    def _opened(self) -> list[str]:
        return list(dict.fromkeys([ledger.where for ledger in self.ledgers]))

    def _account(self, name: str, items: Mapping[str, Any]) -> Ledger:
        ledger = Ledger(items, name)
        self.ledgers.append(ledger)
        self.used.add(name)
        return ledger

    def _read(self, name: str, limit: int) -> Mapping[str, Any]:
        path = self._path(name)
        if name.lower().endswith(SUFFIXES):
            return open_tensors(path)
        if path.stat().st_size > limit:
            raise FormatError(f"{name} is larger than {limit:,} bytes", where=name)
        value = load_yaml(path)[0] if name.lower().endswith((".yaml", ".yml")) else _json(path, name)
        if not isinstance(value, dict):
            raise FormatError(f"{name} is not a mapping", where=name, got=type(value).__name__)
        return {str(key): item for key, item in value.items()}

    def _path(self, name: str) -> Path:
        if name not in self.names:
            raise FormatError(f"{name!r} is missing", where=self.root.name, got=", ".join(self.names[:12]) or "nothing")
        path = self.root / name
        if not path.resolve().is_relative_to(self.bound):
            raise FormatError(f"{name!r} is a link to a place outside", where=name, code="path_outside_source")
        return path


def _bound(root: Path) -> Path:
    """The folder itself; inside a hub cache its repository, whose snapshots are links to blobs."""
    for folder in (root, *root.parents):
        if folder.parent.name == "snapshots" and (folder.parent.parent / "blobs").is_dir():
            return folder.parent.parent.resolve()
    return root.resolve()


def _json(path: Path, name: str) -> Any:
    def refuse(constant: str) -> None:
        raise FormatError(f"{name} is not valid JSON", got=f"{constant}, which is no JSON number", where=name)

    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise FormatError(f"{name} is not JSON", where=name, got=str(error)) from error
    except RecursionError as error:
        raise FormatError(f"{name} is nested too deep", where=name) from error
