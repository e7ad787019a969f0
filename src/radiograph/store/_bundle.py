"""The folder a run leaves behind: written as `.partial`, synced, renamed when complete.

1. `BundleWriter` creates `NAME.partial` and refuses to write a name twice or outside the folder.
2. `adopt` takes a folder over from a run that was killed: its files are linked, not moved, so both stay whole until
   the new run is complete; then the killed one goes.
3. `seal` hashes every file, writes `manifest.json` and its sidecar, syncs files and folders, and renames: a killed
   run never looks finished.
4. `finished` opens a run for reading: it must have ended, and what is read must be what it wrote; `complete` reads
   what it measured, of one kind. `Bundle` alone checks nothing.

Clock times live only in the files of `TIMED`; everything else is byte-equal for equal inputs, seed and threads.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from radiograph.core import FormatError, RadiographError, UserError
from radiograph.evidence import Document, Manifest, OutputRecord, pretty_json
from radiograph.store._atomic import PARTIAL, sync
from radiograph.store._hashing import file_sha256, listing_sha256, tree

MANIFEST = "manifest.json"
SIDECAR = "manifest.sha256"
TIMED = frozenset({MANIFEST, SIDECAR, "session.json", "tool_calls.jsonl", "events.jsonl", "research_log.md"})
D = TypeVar("D", bound=Document)
REPORTS = frozenset({"report.md", "report.html"})


class BundleWriter:
    """An open bundle; implements `core.Output`."""

    def __init__(self, root: Path, name: str) -> None:
        self._made_root = not root.exists()
        root.mkdir(parents=True, exist_ok=True)
        self.final = _free(root, name)
        self.path = self.final.with_name(self.final.name + PARTIAL)
        self.path.mkdir()
        self._adopted: list[Path] = []
        self._hashed: dict[tuple[Path, int, int], str] = {}

    def json(self, path: str, value: object) -> None:
        """A JSON document."""
        self.text(path, pretty_json(value))

    def text(self, path: str, text: str) -> None:
        """A UTF-8 text file; line ends are written as given."""
        self.data(path, text.encode())

    def data(self, path: str, data: bytes) -> None:
        """Any file."""
        target = self._inside(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as handle:
            handle.write(data)

    def table(self, name: str, columns: Mapping[str, Sequence[Any]]) -> None:
        """`tables/NAME.parquet`, zstd, one row group, no clock time inside."""
        import polars

        target = self._inside(f"tables/{name}.parquet")
        target.parent.mkdir(parents=True, exist_ok=True)
        polars.DataFrame(dict(columns), strict=True).write_parquet(target, compression="zstd", statistics=True)

    def folder(self, path: str) -> Path:
        """A folder inside the bundle."""
        target = self._inside(path)
        target.mkdir(parents=True, exist_ok=True)
        return target

    def adopt(self, run: Path, name: str | None = None) -> Path:
        """The folder `name` of an unfinished run, taken over into this bundle. The run goes when this one is sealed.

        Without a name nothing is taken over: what is gone on with lies outside both runs.

        Raises:
            UserError: the run is finished, or left no such folder.
        """
        if not run.name.endswith(PARTIAL) or not run.is_dir():
            fix = "it is complete" if (run / MANIFEST).is_file() else None
            raise UserError(
                f"{run.name} is not an unfinished run", expected=f"a folder *{PARTIAL}", fix=fix, code="no_run"
            )
        self._adopted.append(run)
        if name is None:
            return self.path
        if not (run / name).is_dir():
            if any(path.name not in TIMED for path in run.iterdir()):
                fix = "start without --resume"
                raise UserError(f"{run.name} left no {name} to go on with", fix=fix, code="no_run")
            return self.folder(name)  # killed before it did anything
        target = self._inside(name)
        # What a killed writer was at is nobody's: taken over, it would be sealed among the results.
        shutil.copytree(run / name, target, copy_function=_link, ignore=shutil.ignore_patterns(f"*{PARTIAL}"))
        return target

    def outputs(self) -> tuple[OutputRecord, ...]:
        """Every file written so far, hashed; without the manifest."""
        return tuple(
            OutputRecord(path=p.relative_to(self.path).as_posix(), sha256=self._sha256(p), bytes=p.stat().st_size)
            for p in tree(self.path)
            if p.relative_to(self.path).as_posix() not in (MANIFEST, SIDECAR)
        )

    def seal(self, manifest: Manifest) -> str:
        """Write the manifest and its sidecar, sync, rename. Returns the seal: the manifest's SHA-256."""
        self.json(MANIFEST, manifest)
        seal = file_sha256(self.path / MANIFEST)
        self.text(SIDECAR, f"{seal}  {MANIFEST}\n")
        for path in tree(self.path):
            sync(path)
        for folder in sorted((p for p in self.path.rglob("*") if p.is_dir()), reverse=True):
            sync(folder)
        sync(self.path)
        self.path.rename(self.final)
        sync(self.final.parent)
        self.path = self.final
        for run in self._adopted:
            shutil.rmtree(run, ignore_errors=True)
        return seal

    def discard(self) -> None:
        """Remove an unfinished bundle that holds nothing worth keeping, and the folder of runs if it began there."""
        if self.path != self.final:
            shutil.rmtree(self.path, ignore_errors=True)
        if self._made_root:
            with suppress(OSError):  # another run began beside it
                self.final.parent.rmdir()

    def _sha256(self, path: Path) -> str:
        """Hash of a file, once: shards are large, and outputs are listed twice."""
        found = path.stat()
        key = (path, found.st_size, found.st_mtime_ns)
        if key not in self._hashed:
            self._hashed[key] = file_sha256(path)
        return self._hashed[key]

    def _inside(self, path: str) -> Path:
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or not pure.parts:
            raise ValueError(f"bundle path {path!r} must be relative and stay inside the bundle")
        return self.path.joinpath(*pure.parts)


class Bundle:
    """A finished bundle, for reading."""

    def __init__(self, path: Path) -> None:
        if path.name.endswith(PARTIAL):
            raise UserError(
                f"{path.name} is an unfinished run", expected="a complete bundle", fix="run it again", code="incomplete"
            )
        if not (path / MANIFEST).is_file():
            raise FormatError(f"{path.name} is not a bundle", expected=f"a folder with {MANIFEST}")
        self.path = path

    @property
    def manifest(self) -> Manifest:
        """The manifest, validated."""
        return Manifest.read(self.document(MANIFEST), MANIFEST)

    def document(self, path: str) -> dict[str, Any]:
        """A JSON document of the bundle."""
        try:
            document = json.loads((self.path / path).read_bytes())
        except (OSError, ValueError) as error:
            raise FormatError(f"cannot read {path} of {self.path.name}", got=str(error)) from error
        if not isinstance(document, dict):
            raise FormatError(f"{path} of {self.path.name} is not a JSON object")
        return document

    @property
    def result(self) -> dict[str, Any]:
        """The verb's evidence."""
        return self.document("result.json")


def complete(folder: Path, kind: type[D], *, what: str, made_by: str) -> tuple[D, str]:
    """What a finished run measured, and its seal; refused unless the run is complete and of this kind.

    A folder may arrive in pieces: it is complete when it has lost `.partial` and its sealed manifest is there.

    Raises:
        UserError: unfinished, or nothing there. FormatError: another kind of run, or no longer what it wrote.
    """
    if not folder.is_dir():
        raise UserError(f"no run at {folder.name!r}", expected=f"a run of `{made_by}`", code="not_found")
    bundle = finished(folder)
    document = bundle.result
    if str(document.get("schema")).rpartition("/")[0] != kind.SCHEMA.rpartition("/")[0]:
        raise FormatError(
            f"{folder.name} {what}",
            expected=kind.SCHEMA,
            got=str(document.get("schema")),
            fix=f"give a run of `{made_by}`",
        )
    return kind.read(document, "result.json"), file_sha256(folder / MANIFEST)


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run, ended or not."""
    return folder.name.endswith(PARTIAL) or (folder / MANIFEST).is_file()


def finished(folder: Path, *read: str) -> Bundle:
    """A run that ended, of which `result.json` and what else is read of it are what it wrote.

    Args:
        folder: of the run.
        read: files of it, or folders: all files that the manifest lists in them.

    Raises:
        UserError: no run, or unfinished (`incomplete`). FormatError: no run, or something was changed (`altered`).
    """
    if folder.name.endswith(PARTIAL):
        raise UserError(f"{folder.name} is not complete: an unfinished run", fix="run it again", code="incomplete")
    bundle = Bundle(folder)
    if not (folder / SIDECAR).is_file():
        raise UserError(
            f"{folder.name} is not complete: it is not sealed", expected=SIDECAR, fix="run it again", code="incomplete"
        )
    manifest = file_sha256(folder / MANIFEST)
    if (folder / SIDECAR).read_text(errors="replace").split()[:1] != [manifest]:
        raise _altered(folder, MANIFEST, f"a seal of {manifest[:16]}", "another one")
    listed = {output.path: output.sha256 for output in bundle.manifest.outputs}
    for name in dict.fromkeys(("result.json", *read)):
        inside = [path for path in listed if path == name or path.startswith(f"{name}/")]
        if not inside:
            raise _altered(folder, name, "a file that its manifest lists", None)
        for path in inside:
            found = file_sha256(folder / path) if (folder / path).is_file() else None
            if found != listed[path]:
                raise _altered(folder, path, f"hash {listed[path][:16]}", found and f"hash {found[:16]}")
    return bundle


def _altered(folder: Path, name: str, expected: str, got: str | None) -> FormatError:
    return FormatError(
        f"{name} of {folder.name} was changed: it is not what the run wrote",
        where=name,
        expected=expected,
        got=got or "no such file",
        fix="radiograph verify says what changed; run it again",
        code="altered",
    )


def untouched(path: Path) -> None:
    """Refuse a run, or what lies in one, as `finished` does; of files of no run nothing is said."""
    own = path if path.name.endswith(PARTIAL) else None
    run = own or next((p for p in (path, *path.parents) if (p / SIDECAR).is_file()), None)
    if run is not None:
        finished(run, *(() if run == path else (path.relative_to(run).as_posix(),)))


def derived(check: Callable[[], list[str]]) -> list[str]:
    """What a verb's `recompute` finds; files that no run of it writes are a finding, and no failure of `verify`."""
    import polars

    wrong = (LookupError, ValueError, TypeError, AttributeError, ArithmeticError, AssertionError, OSError)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of means over tables that were emptied
            return check()
    except RadiographError:
        raise
    except (*wrong, polars.exceptions.PolarsError) as error:
        text = str(error).partition("\n")[0][:200]
        return [f"cannot be derived again from what is stored: {type(error).__name__}: {text}"]


def evidence_sha256(outputs: Sequence[OutputRecord]) -> str:
    """The hash that a report can print without a circle: over all outputs but reports and files with clock times."""
    skip = TIMED | REPORTS
    return listing_sha256([(o.path, o.sha256) for o in outputs if PurePosixPath(o.path).name not in skip])


def now() -> str:
    """UTC time for names and manifests."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")


def _free(root: Path, name: str) -> Path:
    """`root/name`, or with `-2`, `-3` … where that is taken, so that a second run never touches the first."""
    number = 1
    while True:
        path = root / (name if number == 1 else f"{name}-{number}")
        if not path.exists() and not path.with_name(path.name + PARTIAL).exists():
            return path
        number += 1


def _link(source: str, target: str) -> None:
    """A second name for a file that nobody writes to again; a copy where the disk knows no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
