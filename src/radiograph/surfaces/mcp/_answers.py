"""What the tools take and give: the one source of their schemas."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict

from radiograph.core import Config, RadiographError, UserError
from radiograph.evidence import Record


class Answer(Record):
    """What a tool gives; a client is told what its fields mean."""

    # Elsewhere nobody reads these texts at run time, and finding them parses the source of every record.
    model_config = ConfigDict(use_attribute_docstrings=True)


class InSession(Config):
    """What every tool inside a session takes."""

    session_id: str
    """From `session_open`."""
    reason: str | None = None
    """Why you call this now; kept in the transcript."""


class VerbCall(InSession):
    """What every verb takes beside its own configuration."""

    seed: int = 0
    """Every random choice derives from it."""


class Health(Config):
    """What this server is and offers."""


class SessionOpen(Config):
    """Open a session: a folder with a tamper-evident transcript of every call. All other tools need its id."""

    title: str = ""
    """For the person who reads the transcript."""
    reason: str | None = None
    """Why you open it; kept in the transcript."""


class SessionClose(InSession):
    """Close a session: its transcript ends here, and what it ended with is sealed."""


class Budget(InSession):
    """What the session has spent and may spend."""


class ResultRead(InSession):
    """Read on in a result that was cut: the parts, joined, are the JSON of the whole answer."""

    cursor: str
    """From the answer that was cut, or from the last part."""


class HealthAnswer(Answer):
    """What this server is."""

    status: str
    version: str
    profile: str
    kind: str
    """`investigation`: the models are roles. `workbench`: plain references."""
    models: tuple[str, ...]
    tools: tuple[str, ...]


class Opened(Answer):
    """A new session."""

    session_id: str
    folder: str
    profile: str
    models: tuple[str, ...]
    budgets: dict[str, float | None]


class Closed(Answer):
    """A closed session. Keep `seal`: `radiograph verify FOLDER --seal SEAL` catches what was rewritten whole."""

    session_id: str
    folder: str
    seq: int
    head: str
    seal: str


class BudgetAnswer(Answer):
    """Spending and limits."""

    spent: dict[str, float]
    limits: dict[str, float | None]


class Part(Answer):
    """A part of the JSON of an answer."""

    part: str
    truncated: bool
    cursor: str | None = None


class VerbAnswer(Answer):
    """What a verb found, and where its bundle lies."""

    verb: str
    exit_code: int
    """0 pass · 2 the gate failed · 4 not measured or inconclusive."""
    headline: str
    verdict: str | None = None
    bundle: str | None = None
    """Relative to the workspace."""
    seal: str | None = None
    result: dict[str, Any] | None = None
    """The verb's `result.json`; null in an answer that was cut."""
    truncated: bool = False
    part: str | None = None
    """The first part of the JSON of this answer, where it was cut; `result_read` with the cursor gives the next."""
    cursor: str | None = None


class Problem(Answer):
    """Why a call could not be answered."""

    code: str
    message: str
    exit_code: int
    expected: str | None = None
    got: str | None = None
    where: str | None = None
    fix: str | None = None

    @classmethod
    def of(cls, error: Exception) -> Problem:
        """From an error, its own fields where it has them."""
        if not isinstance(error, RadiographError):
            return cls(
                code="internal",
                message=f"internal error: {type(error).__name__}: {error}",
                exit_code=int(RadiographError.exit_code),
                fix="report it",
            )
        fields = {name: getattr(error, name, None) for name in ("expected", "got", "where", "fix")}
        return cls(
            code=getattr(error, "code", UserError.code),
            message=getattr(error, "message", str(error)),
            exit_code=int(error.exit_code),
            **fields,
        )
