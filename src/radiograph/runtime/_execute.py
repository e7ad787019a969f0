"""Run one verb into one bundle.

1. The run id is a hash of (verb, resolved config, seed, version): equal runs have equal ids, and no clock.
2. The verb runs with a context; its result becomes `result.json`, figures and reports are drawn from it alone.
3. Bad input leaves nothing behind. A refusal leaves a complete bundle that says why. An internal error, a full disk, an
   interrupt or a kill leaves a `.partial` folder, which no reader takes for a result.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from radiograph.core import Config, ExitCode, Progress, Refusal, Silent, UserError, Workers, inputs_of
from radiograph.core.limits import Limits
from radiograph.core.work.cluster import dealt
from radiograph.core.work.process import spread
from radiograph.evidence import Device, InputRecord, Manifest, Refused, Result, document_sha256
from radiograph.runtime._catalogue import Verb, find
from radiograph.runtime._context import RunContext, StepResult
from radiograph.runtime._resolve import Resolved, resolve
from radiograph.runtime._roles import Roles
from radiograph.store import BundleWriter, Transcript, Workspace, commit_of, evidence_sha256, now

if TYPE_CHECKING:
    from radiograph.reports import Page

PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "peft", "numpy", "scipy", "polars", "pydantic")
TRANSCRIPT = "tool_calls.jsonl"
Service = Callable[..., Any]


@dataclass(frozen=True)
class Settings:
    """What is not the verb's own: where, how loud, how confined, which seed and device."""

    seed: int = 0
    device: str = "cpu"
    out: Path | None = None
    progress: Progress = field(default_factory=Silent)
    workspace: Workspace = field(default_factory=Workspace.current)
    caller: str = "python"
    offline: bool = True
    services: Mapping[str, Service] = field(default_factory=dict)
    runs: Path | None = None
    """Where bundles go if not into `runs` of the workspace: the folder of a session."""
    roles: Roles | None = None
    """The only models there are, under role names."""
    limits: Limits = field(default_factory=Limits)
    """Raised by a person on a command line, never by a file, a tool call or a request."""
    downloads: bool = False
    """Whether a listed file may be fetched; typed by a person, too."""
    commands: bool = False
    """Whether programs may be run that the configuration names; typed by a person, too."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Environment variables that a workflow read: no configuration is stored with their values."""


@dataclass(frozen=True)
class Outcome:
    """A finished run."""

    result: Any
    exit_code: ExitCode
    path: Path | None
    seal: str | None


def execute(verb: Verb, resolved: Resolved, settings: Settings) -> Outcome:
    """Run a verb; leave its bundle unless it is one that writes none.

    Raises:
        UserError: bad input (exit 3); nothing is left behind.
        Refusal: one that another file would mend (exit 3); nothing is left behind.
    """
    _confine_file_values(resolved, settings.workspace)
    if not verb.leaves_bundle(resolved.config):
        context = _context(verb, settings, output=None, transcript=None)
        result = verb.run(resolved.config, context)
        return Outcome(result, _exit_code(result), None, None)
    root, name = _place(verb, resolved, settings)
    return _into_bundle(verb, resolved, settings, BundleWriter(root, name))


def _into_bundle(verb: Verb, resolved: Resolved, settings: Settings, writer: BundleWriter) -> Outcome:
    config = portable(resolved.config, settings.workspace, settings.secrets)
    run_id = _run_id(verb, config, settings.seed)
    transcript = Transcript(writer.path / TRANSCRIPT, run_id, document_sha256(config))
    context = _context(verb, settings, writer, transcript)
    began = datetime.now(UTC)
    try:
        result: Result = verb.run(resolved.config, context)
    except Refusal as refusal:
        if refusal.exit_code is ExitCode.BAD_INPUT:
            writer.discard()
            raise
        result = Refused(
            code=refusal.code, text=refusal.message, expected=refusal.expected, got=refusal.got, fix=refusal.fix
        )
    except UserError:
        writer.discard()
        raise
    seal = _finish(verb, resolved, settings, context, result, began, run_id)
    return Outcome(result, _exit_code(result), writer.path, seal)


def _finish(
    verb: Verb,
    resolved: Resolved,
    settings: Settings,
    context: RunContext,
    result: Result,
    began: datetime,
    run_id: str,
) -> str:
    from radiograph import reports

    writer = context.output
    document, headline = result.model_dump(mode="json"), result.headline
    if settings.roles is not None:
        document = settings.roles.hidden(document)
        headline = type(result).read(document, "result.json").headline  # as whoever reads the bundle finds it
    writer.json("result.json", document)
    for name, svg in reports.figures(document).items():
        writer.data(f"figures/{name}.svg", svg)
    evidence = evidence_sha256(writer.outputs())
    inputs = tuple(context.inputs.values())
    code = int(_exit_code(result))
    page = written_page(writer.path, verb, document, headline, code, evidence, run_id, inputs)
    writer.text("report.md", page.markdown)
    writer.text("report.html", page.html)
    transcript = context.transcript
    assert transcript is not None
    manifest = Manifest(
        tool_version=tool_version(),
        verb=verb.key,
        method=str(getattr(result, "method", verb.key)),
        status="refused" if isinstance(result, Refused) else "done",
        exit_code=code,
        run_id=run_id,
        commit=commit_of(settings.workspace.base),
        config=portable(resolved.config, settings.workspace, settings.secrets),
        config_origins=resolved.origins,
        seed=settings.seed,
        started=began.isoformat(timespec="seconds"),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        packages={name: _version(name) for name in PACKAGES} | {"python": platform.python_version()},
        rules=verb.rules,
        wording=reports.wording(),
        device=Device(type=settings.device, threads=_threads(), machine=platform.machine()),
        inputs=inputs,
        outputs=writer.outputs(),
        steps=tuple(context.steps),
        evidence_sha256=evidence,
        transcript_seq=transcript.seq,
        transcript_head=transcript.head if transcript.seq else None,
    )
    with settings.progress.task("sealing"):
        return writer.seal(manifest)


def written_page(
    folder: Path,
    verb: Verb,
    document: dict[str, Any],
    headline: str,
    exit_code: int,
    evidence: str,
    run_id: str,
    inputs: Sequence[InputRecord],
) -> Page:
    """The report of a result, with the figures that lie in the folder: equal ones give equal bytes."""
    from radiograph import reports

    return reports.page(
        document,
        headline=headline,
        exit_code=exit_code,
        verb=verb.name,
        summary=verb.summary,
        evidence_sha256=evidence,
        run_id=run_id,
        inputs=[r.model_dump(mode="json") for r in inputs],
        figures={p.stem: p.read_text() for p in sorted((folder / "figures").glob("*.svg"))},
    )


def _context(verb: Verb, settings: Settings, output: BundleWriter | None, transcript: Transcript | None) -> RunContext:
    def run_step(name: str, config: Mapping[str, Any], parent: RunContext, number: int) -> StepResult:
        step = find(name)
        folder = parent.output.folder("steps")
        writer = BundleWriter(folder, f"{number}-{step.key}")
        inherited = replace(settings, workspace=parent.workspace, secrets=parent.secrets)
        outcome = _into_bundle(step, resolve(step, config, environment=False), inherited, writer)
        assert outcome.path is not None
        path = outcome.path.relative_to(parent.output.path).as_posix()
        return StepResult(outcome.result, path, outcome.exit_code)

    return RunContext(
        seed=settings.seed,
        device=settings.device,
        progress=settings.progress,
        workspace=settings.workspace,
        output=output,  # type: ignore[arg-type]  # verbs without a bundle never touch it
        transcript=transcript,
        caller=settings.caller,
        run_step=run_step,
        run_steps=_spread,
        settings=settings,
        services=settings.services,
        offline=settings.offline,
        limits=settings.limits,
        downloads=settings.downloads,
        commands=settings.commands,
        roles=settings.roles,
        secrets=settings.secrets,
    )


@dataclass(frozen=True)
class StepOrder:
    """A step of a workflow; can be sent to another process."""

    name: str
    verb: str
    config: dict[str, Any]
    folder: Path
    bundle: str
    settings: Settings


def _spread(
    name: str, configs: Sequence[Mapping[str, Any]], parent: RunContext, first: int, workers: Workers
) -> Iterator[tuple[int, str, int, float]]:
    """Place, path, exit code and seconds of every step, as they end."""
    held = replace(parent.settings, workspace=parent.workspace, secrets=parent.secrets, progress=Silent())
    key, folder = find(name).key, parent.output.folder("steps")
    orders = [
        StepOrder(f"{number}-{key}", key, dict(config), folder, f"{number}-{key}", held)
        for number, config in enumerate(configs, start=first)
    ]
    made = dealt(_timed, orders, workers) if workers.ray else spread(_timed, orders, workers.count)
    for place, (code, seconds) in made:
        yield place, (folder / orders[place].bundle).relative_to(parent.output.path).as_posix(), code, seconds


def _timed(order: StepOrder) -> tuple[int, float]:
    began = perf_counter()
    return run_step_order(order)[1], perf_counter() - began


def run_step_order(order: StepOrder) -> tuple[str, int]:
    """Run a step into its own bundle; returns its headline and exit code.

    Raises:
        UserError: bad input; nothing of the step is left.
    """
    verb = find(order.verb)
    resolved = resolve(verb, order.config, environment=False)
    outcome = _into_bundle(verb, resolved, order.settings, BundleWriter(order.folder, order.bundle))
    return outcome.result.headline, int(outcome.exit_code)


SHORTEST_SECRET = 4


def portable(config: Config, workspace: Workspace, secrets: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The configuration as plain data, every path in it relative and no secret in it: what a manifest may hold."""
    values = config.model_dump(mode="json")
    for name in inputs_of(type(config)):
        value = values[name]
        if isinstance(value, str):
            values[name] = workspace.portable(value)
        elif isinstance(value, list):
            values[name] = [workspace.portable(v) for v in value]
    known = {value: name for name, value in (secrets or {}).items() if len(value) >= SHORTEST_SECRET}
    return _without(values, known) if known else values


def _without(value: Any, secrets: Mapping[str, str]) -> Any:
    """Secrets by the names of their variables."""
    if isinstance(value, dict):
        return {k: _without(v, secrets) for k, v in value.items()}
    if isinstance(value, list):
        return [_without(v, secrets) for v in value]
    if isinstance(value, str):
        for secret, name in secrets.items():
            value = value.replace(secret, f"env:{name}")
    return value


def _confine_file_values(resolved: Resolved, workspace: Workspace) -> None:
    """What a person types may point anywhere; what a configuration file names must lie inside the workspace."""
    inside = replace(workspace, confined=True)
    for name in inputs_of(type(resolved.config)):
        value = getattr(resolved.config, name)
        if resolved.origins.get(name) == "file" and value is not None:
            for reference in [value] if isinstance(value, str) else value:
                inside.confine(reference)


def _place(verb: Verb, resolved: Resolved, settings: Settings) -> tuple[Path, str]:
    asked = settings.out or _own_place(verb, resolved, settings)
    if asked is None:
        run_id = _run_id(verb, portable(resolved.config, settings.workspace), settings.seed)
        return settings.runs or settings.workspace.base / "runs", f"{verb.key}-{now()}-{run_id}"
    out = settings.workspace.resolve(str(asked), must_exist=False)
    if out.exists():
        raise UserError(
            f"{asked} exists already", expected="a new folder", fix="choose another --out, or remove it first"
        )
    return out.parent, out.name


def _own_place(verb: Verb, resolved: Resolved, settings: Settings) -> Path | None:
    """The folder that a verb's own `place(config, services, workspace)` asks for: a file said so, so it is confined."""
    hook = getattr(verb.module, "place", None)
    if hook is None:
        return None
    asked = hook(resolved.config, settings.services, settings.workspace)
    return None if asked is None else replace(settings.workspace, confined=True).resolve(asked, must_exist=False)


def tool_version() -> str:
    """Version of radiograph."""
    return _version("radiograph")


def _run_id(verb: Verb, config: dict[str, Any], seed: int) -> str:
    return document_sha256([verb.key, config, seed, tool_version()])[:10]


def _exit_code(result: object) -> ExitCode:
    return result.exit_code if isinstance(result, Result) else ExitCode.PASS


@cache
def _version(package: str) -> str:
    with suppress(PackageNotFoundError):
        return version(package)
    return "absent"


def _threads() -> int:
    import sys

    torch = sys.modules.get("torch")
    return torch.get_num_threads() if torch is not None else os.cpu_count() or 1
