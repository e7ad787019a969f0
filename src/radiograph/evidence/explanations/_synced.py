"""What a local cache of explanations holds, and where it came from."""

from __future__ import annotations

from typing import ClassVar, Literal

from radiograph.core import ExitCode
from radiograph.evidence._record import Record, Result


class SyncedFile(Record):
    """One file of an export."""

    name: str
    bytes: int
    sha256: str
    rows: int
    fresh: bool
    """Whether this run read it; the others were there already."""


class SyncedSource(Record):
    """One source of the cache."""

    model: str
    source: str
    features: int
    """Features about which anything is known."""
    explained: int
    explanations: int
    contexts: int
    """Features with top contexts."""
    authors: tuple[str, ...]
    types: tuple[str, ...]
    licence: str | None
    origin: str | None
    bound: str | None
    """The decoder it is bound to; None: it was not said for which dictionary it is."""
    snapshot_sha256: str


class ExplainSync(Result):
    """State of the cache after a run."""

    SCHEMA: ClassVar[str] = "radiograph.explain_sync/1"

    action: Literal["sync", "list", "prune"]
    cache: str
    sources: tuple[SyncedSource, ...]
    """Those of this run; of `list` all."""
    files: tuple[SyncedFile, ...] = ()
    removed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    """Files that could not be had; run again."""

    @property
    def headline(self) -> str:
        """What is there now."""
        if self.action == "prune":
            return f"{len(self.removed)} sources removed from {self.cache}, {len(self.sources)} left"
        explained = sum(source.explained for source in self.sources)
        fresh = sum(file.fresh for file in self.files)
        read = f", {fresh} of {len(self.files)} files read now" if self.files else ""
        lost = f"; {len(self.missing)} files missing, run again" if self.missing else ""
        return f"{len(self.sources)} sources with {explained} explained features in {self.cache}{read}{lost}"

    @property
    def exit_code(self) -> ExitCode:
        """4 where files are missing."""
        return ExitCode.NOT_MEASURED if self.missing else ExitCode.PASS
