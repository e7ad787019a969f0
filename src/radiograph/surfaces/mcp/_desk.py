"""Answers calls of tools, whatever carries them here. Knows no SDK, so that every surface for agents can stand on it.

1. a tool is a verb of the profile (named as in the catalogue, its configuration the schema) or one of the session's own
2. a verb runs as on the command line, but confined to the workspace, into the session's `runs`, with the models of the
   investigation if there is one
3. an error is an answer: code, what was expected, what came, what to do
4. nothing leaves that names a model behind a role, or the place of the workspace
5. the call is in the transcript, flushed, before its answer leaves; a cancelled one too
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from radiograph import __version__
from radiograph.core import Config, RadiographError, UserError, visible
from radiograph.core.limits import REPORT_CHARACTERS
from radiograph.evidence import canonical_json
from radiograph.runtime import RUNS, RunContext, execute, resolve
from radiograph.store import Workspace
from radiograph.surfaces.mcp import _answers as answers
from radiograph.surfaces.mcp._investigation import Investigation
from radiograph.surfaces.mcp._profiles import offered
from radiograph.surfaces.mcp._session import Entry, Session
from radiograph.surfaces.mcp._tools import Tool, own_tools, verb_tool
from radiograph.surfaces.mcp._watch import Cancelled, OutOfTime, Watch

C = TypeVar("C", bound=Config)


@dataclass(frozen=True)
class Reply:
    """An answer as plain data."""

    content: dict[str, Any]
    is_error: bool = False


@dataclass
class _Call:
    """A call under way: what will be written down about it."""

    tool: str
    arguments: dict[str, Any]
    watch: Watch
    began: float = field(default_factory=time.monotonic)
    run: str | None = None
    seal: str | None = None


class Desk:
    """One server's tools and sessions."""

    def __init__(self, context: RunContext, profile: str, investigation: Investigation) -> None:
        self.profile = profile
        self.verbs = offered(profile)
        self.workspace = Workspace(context.workspace.base, confined=True)
        self.roles = investigation.roles(self.workspace)
        self.investigation = investigation
        self._settings = replace(context.settings, workspace=self.workspace, caller="mcp", out=None, roles=self.roles)
        self._config = {
            "profile": profile,
            "device": context.device,
            "offline": context.offline,
            **investigation.model_dump(mode="json"),
        }
        self._sessions: dict[str, Session] = {}
        self._tools: dict[str, Tool] = {}

    @property
    def tools(self) -> dict[str, Tool]:
        """Every tool by name: the session's own, then the verbs."""
        if not self._tools:
            roles = self.roles.models if self.roles is not None else {}
            self._tools = own_tools() | {name: verb_tool(name, verb, list(roles)) for name, verb in self.verbs.items()}
        return self._tools

    def slow(self, tool: str) -> bool:
        """Whether a call waits its turn: verbs run one after another, and a session closes after those before it."""
        return tool in self.verbs or tool == "session_close"

    def call(self, tool: str, arguments: dict[str, Any], watch: Watch) -> Reply:
        """Answer one call of a known tool.

        Raises:
            Cancelled: nobody waits for the answer any more; the transcript says so.
        """
        try:
            _require_json(arguments)
            if tool == "health":
                _read(answers.Health, arguments)
                return Reply(self._health().model_dump(mode="json"))
            if tool == "session_open":
                return self._open(_read(answers.SessionOpen, arguments), arguments)
            identity = arguments.get("session_id")
            session = self._session(identity if isinstance(identity, str) else "")
            return self._in_session(session, _Call(tool, arguments, watch))
        except Exception as error:  # noqa: BLE001 - an error is an answer; the process must go on
            return self._problem(error)

    def hide(self, text: str) -> str:
        """The text without the names behind roles and without the way to the workspace."""
        text = self.roles.hide(text) if self.roles is not None else text
        for place, name in ((f"{self.workspace.base}/", ""), (str(self.workspace.base), "."), (str(Path.home()), "~")):
            text = text.replace(place, name) if len(place) > 1 else text
        return text

    def _in_session(self, session: Session, call: _Call) -> Reply:
        counts = False
        try:
            if call.tool in self.verbs:
                self._afford(session, call)
                counts = True
                reply = Reply(self._verb(session, call).model_dump(mode="json"))
            else:
                reply = Reply(self._own(session, call))
        except Cancelled:
            self._write(session, call, Reply({"code": "cancelled"}, True), "cancelled", counts)
            raise
        except OutOfTime:
            reply = self._problem(_exhausted("seconds", self.investigation.budgets.seconds))
        except Exception as error:  # noqa: BLE001 - as above, and it belongs into the transcript
            reply = self._problem(error)
        summary = reply.content.get("code") if reply.is_error else reply.content.get("headline", "")
        sent = self._write(session, call, reply, str(summary), counts)
        if call.tool == "session_close" and not reply.is_error:
            seq, head, seal = session.close()
            return Reply({**sent, "seq": seq, "head": head, "seal": seal})
        return Reply(sent, reply.is_error)

    def _write(self, session: Session, call: _Call, reply: Reply, summary: str, counts: bool) -> dict[str, Any]:
        reason = call.arguments.get("reason")
        entry = Entry(
            tool=call.tool,
            args={k: v for k, v in call.arguments.items() if k not in ("session_id", "reason")},
            summary=visible(summary, REPORT_CHARACTERS),
            seconds=time.monotonic() - call.began,
            counts=counts,
            is_error=reply.is_error,
            reason=reason if isinstance(reason, str) else None,
            run=call.run,
            seal=call.seal,
        )
        return session.record_call(entry, reply.content, self.profile)

    def _verb(self, session: Session, call: _Call) -> answers.VerbAnswer:
        verb = self.verbs[call.tool]
        fields = set(verb.config.model_fields)
        shared = {k: v for k, v in call.arguments.items() if k in answers.VerbCall.model_fields and k not in fields}
        common = _read(answers.VerbCall, {"session_id": session.record.session_id, **shared})
        own = {k: v for k, v in call.arguments.items() if k not in shared}
        call.watch.look()
        resolved = resolve(verb, own, environment=False, origin="tool call")
        settings = replace(self._settings, seed=common.seed, progress=call.watch, runs=session.runs)
        outcome = execute(verb, resolved, settings)
        if outcome.path is not None:
            call.run, call.seal = outcome.path.name, outcome.seal
        document = outcome.result.model_dump(mode="json")
        verdict = document.get("verdict")
        return answers.VerbAnswer(
            verb=verb.name,
            exit_code=int(outcome.exit_code),
            headline=visible(self.hide(outcome.result.headline), REPORT_CHARACTERS),
            verdict=verdict if isinstance(verdict, str) else None,
            bundle=self.workspace.label(outcome.path) if outcome.path is not None else None,
            seal=outcome.seal,
            result=self.roles.hidden(document) if self.roles is not None else document,
        )

    def _own(self, session: Session, call: _Call) -> dict[str, Any]:
        if call.tool == "budget":
            _read(answers.Budget, call.arguments)
            with session.hold():
                spent = dict(session.spent)
            limits = self.investigation.budgets.model_dump()
            spending = answers.BudgetAnswer(spent={k: spent.get(k, 0.0) for k in limits}, limits=limits)
            return spending.model_dump(mode="json")
        if call.tool == "result_read":
            with session.hold():
                self._require_left(session, "bytes")
            part, cursor = session.read_on(_read(answers.ResultRead, call.arguments).cursor)
            return answers.Part(part=part, truncated=cursor is not None, cursor=cursor).model_dump(mode="json")
        _read(answers.SessionClose, call.arguments)
        return {"session_id": session.record.session_id, "folder": self.workspace.label(session.path)}

    def _open(self, given: answers.SessionOpen, arguments: dict[str, Any]) -> Reply:
        session = Session.create(self.workspace.base / RUNS, self._config)
        self._sessions[session.record.session_id] = session
        opened = answers.Opened(
            session_id=session.record.session_id,
            folder=self.workspace.label(session.path),
            profile=self.profile,
            models=tuple(self.investigation.models),
            budgets=self.investigation.budgets.model_dump(),
        ).model_dump(mode="json")
        call = _Call("session_open", arguments, Watch())
        return Reply(self._write(session, call, Reply(opened), given.title, counts=False))

    def _session(self, identity: str) -> Session:
        if identity not in self._sessions:
            self._sessions[identity] = Session.find(self.workspace.base / RUNS, identity, self._config)
        return self._sessions[identity]

    def _health(self) -> answers.HealthAnswer:
        return answers.HealthAnswer(
            status="ok",
            version=__version__,
            profile=self.profile,
            kind="investigation" if self.roles is not None else "workbench",
            models=tuple(self.investigation.models),
            tools=tuple(self.tools),
        )

    def _afford(self, session: Session, call: _Call) -> None:
        """Refuse a call if a budget has nothing left; its time ends where the session's does."""
        with session.hold():
            for name in ("calls", "seconds", "bytes"):
                self._require_left(session, name)
            seconds = self.investigation.budgets.seconds
            call.watch.limit(None if seconds is None else seconds - session.spent["seconds"])

    def _require_left(self, session: Session, name: str) -> None:
        limit = getattr(self.investigation.budgets, name)
        if limit is not None and session.spent[name] >= limit:
            raise _exhausted(name, limit)

    def _problem(self, error: Exception) -> Reply:
        problem = answers.Problem.of(error).model_dump(mode="json")
        shown = {k: visible(self.hide(v), REPORT_CHARACTERS) if isinstance(v, str) else v for k, v in problem.items()}
        return Reply(shown, is_error=True)


def _read(model: type[C], arguments: dict[str, Any]) -> C:
    try:
        return model.model_validate(arguments)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(p) for p in first["loc"])
        raise UserError(
            f"{place}: {first['msg']}", expected=", ".join(model.model_fields), where=place, code="bad_value"
        ) from error


def _require_json(arguments: dict[str, Any]) -> None:
    """Refuse what cannot stand in a transcript: numbers that are not finite, broken surrogates, endless nesting."""
    try:
        canonical_json(arguments)
    except (ValueError, RecursionError) as error:
        raise UserError("the arguments are not plain JSON", got=type(error).__name__, code="bad_value") from error


def _exhausted(name: str, limit: float | None) -> RadiographError:
    return UserError(
        f"the session's budget of {name} is spent",
        got=f"{limit:g} {name}",
        fix="session_close, budget and result_read still answer",
        code="budget_exhausted",
    )
