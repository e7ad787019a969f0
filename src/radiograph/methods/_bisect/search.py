"""Ask, run, remember: the loop around the pure search."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from radiograph.core import Context, UserError, derive
from radiograph.evidence.reportcard.bisection import Bisection, BisectRun, BisectStep
from radiograph.methods._bisect import written
from radiograph.methods._bisect.checkpoints import Checkpoint, read_checkpoints
from radiograph.methods._bisect.evaluation import FOLDER, Evaluation, keep, read_evaluation, run_once
from radiograph.numerics.bisection import Ask, Plan, Seen, least_repeats, next_ask

if TYPE_CHECKING:
    from radiograph.methods._bisect.options import Config

FRAME = 4096
"""Bytes of a log beside what the program wrote."""


@dataclass
class History:
    """What was run so far."""

    config: Config
    evaluation: Evaluation
    checkpoints: list[Checkpoint]
    earlier: dict[tuple[str, str, str, int], tuple[BisectRun, bytes]]
    """Runs of an earlier bundle with their logs, by checkpoint, content, arguments and attempt."""
    seen: dict[int, Seen] = field(default_factory=dict[int, Seen])
    steps: list[BisectStep] = field(default_factory=list[BisectStep])
    runs: list[BisectRun] = field(default_factory=list[BisectRun])
    of: dict[str, list[BisectRun]] = field(default_factory=dict[str, list[BisectRun]])
    """Runs by content."""
    hashes: dict[int, str] = field(default_factory=dict[int, str])


def bisect(config: Config, ctx: Context) -> Bisection:
    """Find the first broken checkpoint.

    Raises:
        UserError: bad input; also when a file, a tool call or a request names the program.
    """
    evaluation = read_evaluation(config, ctx)
    if not ctx.commands and not config.plan_only:
        raise UserError(
            "a program that a file, a tool call or a request names is not run",
            where="--eval" if config.verb is None else "--verb",
            fix="type it on the command line, or type --allow-commands",
            code="no_commands",
        )
    if 1 < config.repeats < (need := least_repeats(config.confidence)):
        raise UserError(
            f"{config.repeats} {'runs' if config.metric is None else 'equal metrics'} can never decide",
            where="--repeats",
            expected=f"1, or {need} and more at --confidence {config.confidence:g}",
        )
    checkpoints = read_checkpoints(config, ctx)
    plan = plan_of(config, len(checkpoints), ctx.seed)
    earlier = {} if config.resume is None else _earlier(ctx.locate(config.resume).resolve(), ctx.limits["log-bytes"])
    history = History(config, evaluation, checkpoints, earlier)
    if not config.plan_only:
        _search(history, plan, ctx)
    return written.bisection(history, plan)


def plan_of(config: Config, n: int, seed: int) -> Plan:
    """The plan of the search; checks are drawn by the seed."""
    generator = np.random.default_rng(derive(seed, "bisect"))
    return Plan(n, config.check, config.scan, tuple(int(i) for i in generator.permutation(n)))


def _search(history: History, plan: Plan, ctx: Context) -> None:
    with ctx.progress.task("looking at checkpoints") as task:
        while (ask := next_ask(plan, history.seen)) is not None:
            task.note(history.checkpoints[ask.index].name)
            if not _look(history, ask, ctx):
                return
            task.advance()


def _look(history: History, ask: Ask, ctx: Context) -> bool:
    """Run one checkpoint until its repeats have decided; False: an error, which ends the search."""
    checkpoint, config = history.checkpoints[ask.index], history.config
    sha256 = history.hashes.get(ask.index)
    if sha256 is None:
        ctx.path(checkpoint.reference, f"checkpoint-{ask.index}")
        sha256 = history.hashes[ask.index] = _content(checkpoint.path)
    rounds = history.seen[ask.index].rounds + 1 if ask.again else 1
    runs = history.of.setdefault(sha256, [])
    same_as = runs[0].checkpoint if runs and runs[0].checkpoint != checkpoint.name else None
    while written.standing(runs, history.evaluation.threshold, config.repeats, config.confidence) is None:
        if len(runs) >= rounds * config.repeats:
            break
        runs.append(_run(history, ctx, checkpoint, sha256, len(runs) + 1))
    step = written.step(checkpoint.name, runs, history.evaluation.threshold, config, ask.phase, rounds, same_as)
    history.steps.append(step)
    if step.outcome == "error":
        return False
    history.seen[ask.index] = Seen(step.outcome, ask.phase, rounds)
    return True


def _run(history: History, ctx: Context, checkpoint: Checkpoint, sha256: str, attempt: int) -> BisectRun:
    number = len(history.runs) + 1
    found = history.earlier.get((checkpoint.name, sha256, history.evaluation.sha256, attempt))
    if found is not None and found[0].outcome != "error":
        run = found[0].model_copy(update={"log": f"{FOLDER}/{number:05}.log"})
        run = written.reread(run, history.evaluation.threshold)
        keep(ctx, run, found[1])
    else:
        known = any(one.metric is not None for one in history.runs)
        run = run_once(history.evaluation, ctx, checkpoint.name, checkpoint.path, sha256, attempt, number, known=known)
    history.runs.append(run)
    return run


def _content(path: Path) -> str:
    """Hash of a file, or of the names and contents of a folder."""
    from radiograph.store import file_sha256, folder_sha256

    return folder_sha256(path) if path.is_dir() else file_sha256(path)


def _earlier(folder: Path, limit: int) -> dict[tuple[str, str, str, int], tuple[BisectRun, bytes]]:
    """The runs that an earlier bundle kept; one whose log was not written yet did not end.

    Raises:
        UserError: no folder, or one with links or with files that no run writes.
    """
    import json

    found: dict[tuple[str, str, str, int], tuple[BisectRun, bytes]] = {}
    if not folder.is_dir():
        raise UserError(f"{folder.name} is no run", where="--resume", code="no_run")
    for path in sorted((folder / FOLDER).glob("*.json")):
        document = _own(path, limit)
        try:
            run = BisectRun.model_validate(json.loads(document))
        except (ValueError, RecursionError):
            continue  # cut by the kill
        log = path.with_suffix(".log")
        if log.is_file():
            found[run.checkpoint, run.sha256, run.argv_sha256, run.attempt] = (run, _own(log, limit))
    return found


def _own(path: Path, limit: int) -> bytes:
    """A file that a run wrote.

    Raises:
        UserError: through a link, or larger than any run writes.
    """
    from radiograph.store.opened import Opened

    with Opened.at(path, links=False) as opened:
        if opened.size > limit + FRAME:
            raise UserError(
                f"{path.name} is larger than what a run writes",
                where=f"--resume: {FOLDER}/{path.name}",
                expected=f"at most {limit + FRAME:,} bytes",
                got=f"{opened.size:,}",
                code="over_limit",
            )
        return opened.read()
