"""The only network route of an import: files of one hub repository at one revision, and only when asked for.

    OWNER/NAME[/PATH]@REVISION        PATH a folder or file inside the repository

1. the revision is resolved to its commit, which is what is recorded   2. only tensor files and documents below PATH are
fetched, into the hub cache   3. the licence that the repository states comes along
Refuses (exit 3): no revision, a network that is down or switched off, nothing there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from radiograph.core import Progress, Silent, UserError
from radiograph.core.limits import DICTIONARY_BYTES
from radiograph.dictionaries.formats._import import Origin
from radiograph.dictionaries.formats._open import SUFFIXES
from radiograph.dictionaries.formats._source import Source

DOCUMENTS: Final = (".json", ".yaml", ".yml")
_PART = r"[A-Za-z0-9][\w.-]*"
_ADDRESS = re.compile(rf"(?P<id>{_PART}/{_PART})(?:/(?P<path>[^@\0]+?))?/?(?:@(?P<revision>[\w./-]+))?")


@dataclass(frozen=True, slots=True)
class Address:
    """A place on the hub."""

    repository: str
    path: str
    revision: str

    def __str__(self) -> str:
        return f"{'/'.join(p for p in (self.repository, self.path) if p)}@{self.revision}"

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `OWNER/NAME[/PATH]@REVISION`.

        Raises:
            UserError: another form, a path that leaves the repository, or no revision.
        """
        match = _ADDRESS.fullmatch(text.strip())
        if match is None or ".." in (match["path"] or "").split("/"):
            raise UserError(f"hub address {text!r}", expected="OWNER/NAME[/PATH]@REVISION", code="bad_hub_address")
        if match["revision"] is None:
            raise UserError(
                f"{text!r} names no revision",
                expected="OWNER/NAME[/PATH]@REVISION",
                fix="pin one: a commit, a tag or a branch (its commit is recorded)",
                code="revision_missing",
            )
        return cls(match["id"], match["path"] or "", match["revision"])


def looks_like_hub(text: str) -> bool:
    """Whether a text that is no path here reads like a hub address."""
    match = _ADDRESS.fullmatch(text.strip())
    return match is not None and not text.startswith((".", "/", "~"))


def fetch(address: Address, *, progress: Progress | None = None) -> tuple[Source, Origin]:
    """The files of an address, from the hub or its cache, and where they came from.

    Raises:
        UserError: `hub_unreachable`, `not_found`, or more bytes than may be fetched.
    """
    from huggingface_hub import HfApi, constants, snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        if constants.HF_HUB_OFFLINE:
            raise _unreachable(address, "HF_HUB_OFFLINE is set")
        info = HfApi().model_info(address.repository, revision=address.revision, files_metadata=True)
        wanted = _wanted(address, info.siblings or [])
        with (progress or Silent()).task(f"fetching {address}"):
            folder = snapshot_download(
                address.repository, revision=info.sha, allow_patterns=[_literal(n) for n in wanted]
            )
    except (LocalEntryNotFoundError, HFValidationError, OSError, *_network_errors()) as error:
        raise _unreachable(
            address, str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        ) from error
    place = Path(folder) / address.path
    trail = (*address.repository.split("/"), *(p for p in address.path.split("/") if p))
    if address.path in wanted:
        trail = trail[:-1]
    licence = getattr(info.card_data, "license", None) if info.card_data else None
    return Source.open(place, trail=trail), Origin(
        str(address), info.sha, licence if isinstance(licence, str) else None
    )


def cached(text: str) -> tuple[Source, Origin]:
    """The files of `OWNER/NAME[/PATH][@REVISION]` that lie in the hub cache already; nothing is asked of the network.

    Raises:
        UserError: `not_cached`, they do not lie there.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    match = _ADDRESS.fullmatch(text.strip())
    if match is None or ".." in (match["path"] or "").split("/"):
        raise UserError(f"hub address {text!r}", expected="OWNER/NAME[/PATH][@REVISION]", code="bad_hub_address")
    path, got = match["path"] or "", f"a snapshot without {match['path']}"
    folder: Path | None = None
    try:
        folder = Path(snapshot_download(match["id"], revision=match["revision"], local_files_only=True))
    except (LocalEntryNotFoundError, OSError) as error:
        got = (str(error).strip().splitlines() or ["no snapshot"])[0][:200]
    if folder is None or not (folder / path).exists():
        raise UserError(
            f"{text} does not lie in the hub cache, and nothing is fetched unless you say so",
            got=got,
            fix="add @REVISION and pass --online, or download it and name the folder",
            code="not_cached",
        )
    trail = (*match["id"].split("/"), *(part for part in path.split("/") if part))
    if (folder / path).is_file():
        trail = trail[:-1]
    return Source.open(folder / path, trail=trail), Origin(text.partition("@")[0], folder.name)


def _wanted(address: Address, siblings: list[Any]) -> list[str]:
    below = address.path.rstrip("/") + "/" if address.path else ""
    found = {
        s.rfilename: int(s.size or 0)
        for s in siblings
        if (s.rfilename.startswith(below) or s.rfilename == address.path)
        and s.rfilename.lower().endswith((*SUFFIXES, *DOCUMENTS))
    }
    if not found:
        near = sorted({s.rfilename.split("/")[0] for s in siblings})[:12]
        raise UserError(
            f"nothing to import at {address}", got=", ".join(near) or "an empty repository", code="not_found"
        )
    if sum(found.values()) > DICTIONARY_BYTES:
        raise UserError(
            f"{address} holds {sum(found.values()):,} bytes",
            expected=f"at most {DICTIONARY_BYTES:,}",
            fix="name a folder inside: OWNER/NAME/PATH@REVISION",
        )
    return sorted(found)


def _literal(name: str) -> str:
    """A file name as a pattern that fits it alone."""
    return re.sub(r"([\[*?])", r"[\1]", name)


def _unreachable(address: Address, why: str) -> UserError:
    return UserError(
        f"{address} could not be fetched",
        got=why,
        fix="check address, revision and network, or download it and name the folder",
        code="hub_unreachable",
    )


def _network_errors() -> tuple[type[Exception], ...]:
    from huggingface_hub.errors import HfHubHTTPError, HTTPError

    return (HfHubHTTPError, HTTPError)
