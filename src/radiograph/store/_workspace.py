"""Which paths may be read, and how a path is written down.

Paths typed on a command line may point anywhere. Paths named by a config file, a tool call or a web request are
confined: after resolving links they must lie inside the workspace (`RADIOGRAPH_BASE_DIR`, else the working directory),
and are checked once more on the opened file. A refusal never says whether the forbidden path exists.
"""

from __future__ import annotations

import getpass
import os
import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from radiograph.core import UserError, nearest, visible
from radiograph.core.config import sides
from radiograph.store.opened import descriptor_without_links, refuse_links

_SUITE = "suite:"
_FEATURES = re.compile(
    r"(?P<kind>(?:records|jsonl|direction|dictionary|saelens):|scope:[\w-]+/)(?!bundled(?:#|$))"
    r"(?P<file>[^#]+)(?P<rest>#[\d, -]+)?"
)
_STORE = re.compile(r"(?P<kind>store:|model:)?(?P<file>[^#]+)(?P<rest>#[\w./,-]+)?")
_NAMED = re.compile(r"(?P<name>[^=]+=)(?P<file>.+)", re.DOTALL)
_CACHE = re.compile(r"cache:(?P<file>.+)(?P<rest>#[^/]+/.+)")


@dataclass(frozen=True)
class Workspace:
    """A base folder, and whether paths must stay inside it."""

    base: Path
    confined: bool = False
    open_run: Path | None = None
    """The bundle that is being written; what it holds counts as inside, wherever it lies."""
    links: bool = True
    """Whether a path that is read may lead through links; False refuses one in any component."""

    @classmethod
    def current(cls, confined: bool = False) -> Workspace:
        """The workspace of this process."""
        return cls(Path(os.environ.get("RADIOGRAPH_BASE_DIR") or Path.cwd()).resolve(), confined)

    def resolve(self, text: str, *, must_exist: bool = True) -> Path:
        """The real path of a text.

        Raises:
            UserError: outside the workspace (`path_outside_workspace`), a NUL in the name, or nothing there.
        """
        if "\x00" in text:
            raise self._outside(text)
        path = Path(text)
        given = path if path.is_absolute() else self.base / path
        real = given.resolve()
        if self.confined and not self._holds(real):
            raise self._outside(text)
        if not self.links:
            refuse_links(given, text)
        if must_exist and not real.exists():
            near = _neighbours(real)
            raise UserError(
                f"nothing at {visible(text)!r}",
                where=self.label(real.parent),
                fix=f"did you mean {', '.join(near)}?" if near else "check the path",
                code="not_found",
            )
        return real

    def open(self, text: str) -> BinaryIO:
        """Open a file for reading; if confined, check where the opened file really is, so that a link swapped after
        the first look is caught. Where no link is allowed, every component is opened without following one.
        """
        real = self.resolve(text)
        if not real.is_file():
            raise UserError(f"{visible(text)!r} is not a file", code="not_found")
        if not self.links:
            return os.fdopen(descriptor_without_links(self.base / text, text), "rb")
        handle = real.open("rb")
        if self.confined:
            after = real.resolve()
            opened = os.fstat(handle.fileno())
            named = after.stat() if after.exists() else None
            same = named is not None and (named.st_ino, named.st_dev) == (opened.st_ino, opened.st_dev)
            if not same or not self._holds(after):
                handle.close()
                raise self._outside(text)
        return handle

    def confine(self, reference: str) -> None:
        """Refuse a model reference that names a place outside, whether or not there is anything.

        Each side of `BASE+ADAPTER` is looked at, and the whole, since a folder may have a plus in its name; of
        `cache:FILE#MODEL/SOURCE`, `suite:FILE`, sources of features and `store:FILE#SOURCE` the file; of `NAME=PATH`
        both the whole and the path.

        Raises:
            UserError: `path_outside_workspace`.
        """
        if not self.confined:
            return
        inner = _CACHE.fullmatch(reference) or _FEATURES.fullmatch(reference)
        named = inner["file"] if inner else re.sub(r"^(?:suite|store|model):", "", reference)
        pair = _NAMED.fullmatch(named)
        for text in {named, *named.split("+"), *(pair["file"].split("+") if pair else ())}:
            home_or_nul = text.startswith("~") or "\x00" in text
            if home_or_nul or not self._holds((self.base / text).resolve()):
                raise self._outside(reference)

    def label(self, path: Path) -> str:
        """How a path is written into a bundle: relative to the base; `run:PATH` inside the run that is being written;
        `external:NAME` where the way there would name a person or a host.
        """
        unfinished = next((p for p in path.parents if p.name.endswith(".partial")), None)
        if unfinished is not None:
            return f"run:{path.relative_to(unfinished).as_posix()}"
        relative = Path(os.path.relpath(path, self.base))
        if not _personal().isdisjoint(relative.parts):
            return f"external:{path.name}"
        return relative.as_posix()

    def portable(self, reference: str) -> str:
        """A model, dictionary or file reference without absolute paths: `bundled:` names and hub ids stay as they are,
        existing paths become labels, each part of `base+adapter` by itself, and the file of `cache:FILE#…`,
        `suite:FILE`, sources of features, `store:FILE#SOURCE` and `NAME=PATH`.
        """
        if reference.startswith(_SUITE):
            return f"{_SUITE}{self.portable(reference.removeprefix(_SUITE))}"
        if cache := _CACHE.fullmatch(reference):
            return f"cache:{self.portable(cache['file'])}{cache['rest']}"
        if source := _FEATURES.fullmatch(reference):
            return f"{source['kind']}{self.portable(source['file'])}{source['rest'] or ''}"
        store = _STORE.fullmatch(reference)
        if store and (store["kind"] or (store["rest"] and not self._is_path(reference))):
            return f"{store['kind'] or ''}{self.portable(store['file'])}{store['rest'] or ''}"
        pair = _NAMED.fullmatch(reference)
        if pair and not self._is_path(reference) and self._is_path(pair["file"]):
            return f"{pair['name']}{self.portable(pair['file'])}"
        parts = (part for part in sides(reference, self._is_path) if part is not None)
        return "+".join(self.label((self.base / p).resolve()) if self._is_path(p) else p for p in parts)

    def _holds(self, real: Path) -> bool:
        return real.is_relative_to(self.base) or (self.open_run is not None and real.is_relative_to(self.open_run))

    def _is_path(self, text: str) -> bool:
        return bool(text) and "\x00" not in text and (self.base / text).exists()

    def _outside(self, text: str) -> UserError:
        return UserError(
            f"path {visible(text)!r} is outside the workspace",
            expected="a path inside the working directory, links followed",
            fix="move the file into the workspace, or set RADIOGRAPH_BASE_DIR",
            code="path_outside_workspace",
        )


def _personal() -> frozenset[str]:
    names = {socket.gethostname(), Path.home().name}
    with suppress(KeyError, OSError):
        names.add(getpass.getuser())
    return frozenset(n for n in names if n)


def _neighbours(path: Path) -> list[str]:
    if not path.parent.is_dir():
        return []
    return nearest(path.name, [p.name for p in path.parent.iterdir()])
