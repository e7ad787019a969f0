"""What a run was made of: the manifest of a bundle, and the entries of its transcript."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from radiograph.core import ExitCode
from radiograph.evidence._record import Document, Record, Result


class InputRecord(Record):
    """One thing a run read, known by its hashes and never by its name alone."""

    role: str
    ref: str
    """As given, made relative to the working directory; `external:NAME` where that would name a person or a host."""
    kind: str
    sha256: str
    """Of a file's bytes; of a folder's sorted (path, SHA-256) list."""
    tensors_sha256: str | None = None
    notes: tuple[str, ...] = ()
    private: str | None = None
    """Where it, or the run that it comes from, says that prompts of it are private: `publish` stops here."""


class OutputRecord(Record):
    """One file of the bundle."""

    path: str
    sha256: str
    bytes: int


class StepRecord(Record):
    """A timed part of a run."""

    name: str
    status: str
    """`done`, or `not_measured: REASON`."""
    seconds: float
    tokens: int = 0
    run: str | None = None
    """Path of the step's own bundle inside this one."""
    exit_code: int | None = None


class Device(Record):
    """Where the run computed; results are byte-equal only on the same device, versions and thread count."""

    type: str
    threads: int
    machine: str
    """Processor architecture, as `x86_64`; no host name."""


class Manifest(Document):
    """Sealed by `manifest.sha256`, so that a changed manifest shows too."""

    SCHEMA: ClassVar[str] = "radiograph.manifest/1"

    tool_version: str
    verb: str
    method: str
    """The method that was executed, where the verb offers several."""
    status: str
    exit_code: int
    run_id: str
    commit: str | None = None
    """Of the repository around the working directory; whether files were changed since is not looked at."""
    config: dict[str, Any]
    config_origins: dict[str, str]
    """Where each value came from: `command line`, `environment`, `file`, `default`."""
    seed: int
    started: str
    finished: str
    packages: dict[str, str]
    rules: Mapping[str, int] = Field(default_factory=dict)
    """Versions of what the verb's conclusions follow from, as far as it keeps them."""
    wording: str | None = None
    """SHA-256 over the program's files that write reports: only by the same ones can they be written again."""
    device: Device
    inputs: tuple[InputRecord, ...]
    outputs: tuple[OutputRecord, ...]
    steps: tuple[StepRecord, ...] = ()
    evidence_sha256: str
    """Over sorted (path, SHA-256) of all outputs except reports and files that hold clock times."""
    transcript_seq: int = 0
    transcript_head: str | None = None


class ToolCall(Record):
    """One entry of `tool_calls.jsonl`; `hash` is SHA-256(prev || canonical JSON of the rest)."""

    seq: int
    ts: str
    session_id: str
    run_id: str | None
    """Folder name of the bundle that the call left, or None."""
    run_seal: str | None = None
    """The seal of the bundle that the call left, so that a bundle exchanged later shows."""
    caller: str
    """`cli`, `mcp`, or `workflow`."""
    profile: str | None
    tool: str
    args: dict[str, Any]
    args_sha256: str
    result_summary: str
    result_sha256: str
    is_error: bool
    reason: str | None
    cost: dict[str, float]
    prev: str
    hash: str


class Session(Document):
    """`session.json`: what a session of calls was set up with, and where its transcript ended.

    Real references stand here alone; every other file of an investigation knows models by their roles.
    """

    SCHEMA: ClassVar[str] = "radiograph.session/1"

    session_id: str
    tool_version: str
    config: dict[str, Any]
    """Profile, models behind the roles, budgets, device: the first link of the transcript is taken over its hash."""
    opened: str
    closed: str | None = None
    transcript_seq: int = 0
    transcript_head: str | None = None


class Refused(Result):
    """The result of a run that could say nothing."""

    SCHEMA: ClassVar[str] = "radiograph.refused/1"

    code: str
    text: str
    expected: str | None = None
    got: str | None = None
    fix: str | None = None

    @property
    def headline(self) -> str:
        """The reason."""
        return f"not measured: {self.text} [{self.code}]"

    @property
    def exit_code(self) -> ExitCode:
        """Not measured."""
        return ExitCode.NOT_MEASURED
