"""What was published, or would be: files, card, and what a scan found that must not leave the machine."""

from __future__ import annotations

from typing import ClassVar, Final, Literal

from radiograph.core import ExitCode
from radiograph.evidence._manifest import OutputRecord
from radiograph.evidence._record import Record, Result

LeakKind = Literal["path", "key", "private", "unvalidated"]
LEAKS: Final[dict[LeakKind, str]] = {
    "path": "an absolute path: it names a person, a host, or how a machine is laid out",
    "key": "looks like a key, token or password",
    "private": "prompts that are marked private",
    "unvalidated": "vectors that steer and were not validated",
}
"""What each kind of finding means."""


class Leak(Record):
    """One thing that must not be published."""

    kind: LeakKind
    file: str
    place: str
    """Line, column, or tensor."""
    shown: str
    """Enough to find it; of a key its first four characters."""


class Publication(Result):
    """`result.json` of `publish`."""

    SCHEMA: ClassVar[str] = "radiograph.publication/1"

    run: str
    verb: str
    seal: str
    repo: str | None
    type: Literal["dataset", "model"]
    private: bool
    revision: str | None
    title: str
    dry_run: bool
    files: tuple[OutputRecord, ...]
    """As they lie in the repository."""
    bytes: int
    leaks: tuple[Leak, ...]
    leaks_left_out: int = 0
    accepted: tuple[str, ...] = ()
    """Findings that somebody looked at and let pass, as FILE:KIND."""
    unseen: tuple[str, ...] = ()
    """Inputs of a run of an earlier version, which did not look whether they are marked private."""
    url: str | None = None
    """Of the commit."""
    commit: str | None = None

    @property
    def headline(self) -> str:
        """What went where, or why nothing did."""
        if self.leaks:
            first = self.leaks[0]
            more = len(self.leaks) + self.leaks_left_out - 1
            rest = f" and {more} more" if more else ""
            return f"not published: {LEAKS[first.kind]} in {first.file} ({first.place}){rest}"
        what = f"{len(self.files)} files, {self.bytes:,} bytes"
        if self.url is not None:
            return f"published {what} to {self.repo}"
        return f"{what} may be published{f' to {self.repo}' if self.repo else ''}; nothing was sent"

    @property
    def lines(self) -> tuple[str, ...]:
        """What nobody looked at."""
        if not self.unseen:
            return ()
        some = ", ".join(self.unseen[:5]) + (f" and {len(self.unseen) - 5} more" if len(self.unseen) > 5 else "")
        return (f"not searched for prompts marked private by the version that read them: {some}",)

    @property
    def exit_code(self) -> ExitCode:
        """The scan is a gate."""
        return ExitCode.GATE_FAILED if self.leaks else ExitCode.PASS


__all__ = ["LEAKS", "Leak", "LeakKind", "Publication"]
