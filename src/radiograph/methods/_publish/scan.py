"""What in a bundle must not be published: absolute paths, keys, private prompts, vectors that were not validated.

1. every file is read as bytes, a piece at a time; of Parquet files the texts of all columns, which stand compressed
   in them; of vectors the header
2. `path`: this machine's home and working folder, and whatever begins like a folder of a person or a system
3. `key`: the shapes of common keys and tokens, assigned passwords, and the values of this process's own variables
   whose names say that they are secret
4. `private`: a field or a column `private` that says yes (`store.lines.marked`), and inputs of the run, or of a step of
   it, that said so when they were read
5. `unvalidated`: a file of directions that names failing conditions or a grade other than `validated`
A key is shown by its first four characters alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from radiograph.core import FormatError
from radiograph.evidence.publication import Leak, LeakKind
from radiograph.store import MANIFEST, SIDECAR
from radiograph.store.lines import FIELD, given_in, marked

PIECE, OVERLAP = 1 << 22, 4096
MOST_A_FILE = 20
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
_PATH = re.compile(
    rb"(?<![\w./~-])(?:file://)?/(?:home|Users|root|tmp|var|opt|mnt|media|Volumes|private|scratch|srv|etc|usr)/[\w.@+-]+"
    rb"|(?<![\w])[A-Za-z]:(?:\\\\?|/)(?:Users|Documents and Settings|Windows|Program Files)[\\/][\w .@+-]+"
)
_KEY = re.compile(
    rb"\bhf_[A-Za-z0-9]{30,}|\bsk-[A-Za-z0-9_-]{20,}|\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_[A-Za-z0-9_]{30,}"
    rb"|\bAKIA[0-9A-Z]{16}\b|\bxox[abprs]-[A-Za-z0-9-]{10,}|\bAIza[A-Za-z0-9_-]{35}|\bnpm_[A-Za-z0-9]{36}"
    rb"|-----BEGIN [A-Z ]*PRIVATE KEY-----|\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\."
    rb"|(?i:\bbearer\s+[a-z0-9._~+/-]{20,})"
    rb"|(?i:\b(?:api[_-]?key|secret|passwd|password|(?:access|auth)[_-]?token)\b[\"']?\s*[:=]\s*[\"']?[^\s\"']{12,})"
)


def scan(folder: Path) -> list[Leak]:
    """Everything found, file by file; of a file at most twenty."""
    secrets = _secrets()
    found: list[Leak] = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if name == SIDECAR:
            continue
        own = [*_in_bytes(path, name, secrets)]
        if path.suffix == ".parquet":
            own += _in_table(path, name, secrets)
        if name != MANIFEST and not any(leak.kind == "private" for leak in own) and (place := marked(path)):
            own.append(Leak(kind="private", file=name, place=place, shown="marked private"))
        if path.suffix == ".safetensors":
            own += _of_vectors(path, name)
        found += list(dict.fromkeys(own))[:MOST_A_FILE]
    return found


def given(folder: Path) -> tuple[list[Leak], list[str]]:
    """Inputs of the runs in a folder that are marked private, and those at whose marks nobody looked."""
    leaks: list[Leak] = []
    unseen: set[str] = set()
    for manifest in sorted(folder.rglob(MANIFEST)):
        name = manifest.relative_to(folder).as_posix()
        for one in given_in(manifest):
            shown = f"{one.get('role')} {one.get('ref')}"
            if one.get("private"):
                leaks.append(
                    Leak(kind="private", file=name, place=f"input {shown}"[:160], shown=str(one["private"])[:80])
                )
            elif "private" not in one and one.get("kind") in ("file", "folder"):
                unseen.add(shown)
    return leaks, sorted(unseen)


def _secrets() -> dict[bytes, str]:
    """Values of this process's variables that are secret by their names, and where it runs."""
    found = {v.encode(): f"the value of {k}" for k, v in os.environ.items() if _SECRET.search(k) and len(v) >= 12}
    return {value: what for value, what in found.items() if b"/" not in value}


def _places() -> tuple[bytes, ...]:
    homes = {str(Path.home()), str(Path.cwd())}
    return tuple(home.encode() for home in sorted(homes) if home.count("/") > 1)


def _in_bytes(path: Path, name: str, secrets: Mapping[bytes, str]) -> Iterator[Leak]:
    line, start, before = 1, 0, b""
    seen: set[tuple[str, int]] = set()
    with path.open("rb") as handle:
        while piece := handle.read(PIECE):
            data = before + piece
            for kind, at, shown in _matches(data, secrets, private=name != MANIFEST):
                # What lies where two pieces overlap is met twice.
                if (kind, start + at) not in seen:
                    seen.add((kind, start + at))
                    number = line + data.count(b"\n", 0, at)
                    yield Leak(kind=kind, file=name, place=f"line {number}", shown=shown)
            before = data[-OVERLAP:]
            gone = len(data) - len(before)
            line, start = line + data.count(b"\n", 0, gone), start + gone


def _matches(data: bytes, secrets: Mapping[bytes, str], *, private: bool) -> Iterator[tuple[LeakKind, int, str]]:
    for match in _PATH.finditer(data):
        yield "path", match.start(), _text(match[0], 80)
    for place in _places():
        at = data.find(place)
        if at >= 0:
            yield "path", at, "the working or home folder of this process"
    for match in _KEY.finditer(data):
        yield "key", match.start(), f"{_text(match[0], 4)}…"
    for value, what in secrets.items():
        at = data.find(value)
        if at >= 0:
            yield "key", at, what
    if private:
        for match in FIELD.finditer(data):
            yield "private", match.start(), _text(match[0], 40)


def _in_table(path: Path, name: str, secrets: Mapping[bytes, str]) -> Iterator[Leak]:
    """Texts of every column of text, also in lists."""
    import polars as pl

    try:
        frame = pl.scan_parquet(path)
        schema = frame.collect_schema()
    except (pl.exceptions.PolarsError, OSError):
        return
    for column, kind in schema.items():
        inner = kind.inner if isinstance(kind, pl.List) else kind
        if inner != pl.String:
            continue
        values = frame.select(column).unique().collect()[column].drop_nulls()
        texts = values.explode().drop_nulls() if isinstance(kind, pl.List) else values
        for start in range(0, len(texts), 100_000):
            data = "\n".join(texts[start : start + 100_000].to_list()).encode("utf-8", "replace")
            for leak, _, shown in _matches(data, secrets, private=True):
                yield Leak(kind=leak, file=name, place=f"column {column}", shown=shown)


def _of_vectors(path: Path, name: str) -> Iterator[Leak]:
    from radiograph.store.directions import read_directions_header

    try:
        header = read_directions_header(path)
    except FormatError:
        return
    # No grade: write directions of features, with which nobody claims to steer.
    if header.failing or header.grade not in (None, "validated") or ".unvalidated." in path.name:
        why = ", ".join(header.failing) or f"grade {header.grade}"
        yield Leak(kind="unvalidated", file=name, place=", ".join(header.tensors)[:80], shown=why[:160])


def _text(data: bytes, limit: int) -> str:
    return data.decode("utf-8", "replace")[:limit]
