"""What `verify` derives again of a bisection: the whole record, from its runs, their logs and the configuration."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from radiograph.evidence import Manifest
from radiograph.evidence.reportcard.bisection import Bisection, BisectRun, BisectStep
from radiograph.methods._bisect import written
from radiograph.methods._bisect.checkpoints import Checkpoint
from radiograph.methods._bisect.evaluation import FOLDER, Evaluation, read_evaluation, unlike
from radiograph.methods._bisect.options import Config
from radiograph.methods._bisect.search import History, plan_of
from radiograph.numerics.bisection import Ask, Plan, Seen, next_ask
from radiograph.store import Bundle


def problems(result: dict[str, Any], folder: Path) -> list[str]:
    """Differences between the result and what its runs say."""
    found, manifest = Bisection.read(result), Bundle(folder).manifest
    config = Config.model_validate(manifest.config)
    evaluation = read_evaluation(config, None)
    wrong = [*_checkpoints(found, config, manifest), *_runs(found, folder, evaluation)]
    plan = plan_of(config, len(found.checkpoints), manifest.seed)
    names = [Checkpoint(name, name, Path(name)) for name in found.checkpoints]
    history = History(config, evaluation, names, {}, runs=list(found.runs))
    said = None if config.plan_only else _played(found, history, plan)
    if said is not None:
        return [*wrong, said]
    again, stored = (one.model_dump(mode="json") for one in (written.bisection(history, plan), found))
    unlike_keys = [key for key in stored if again[key] != stored[key]]
    return wrong + [f"/{key} is {_short(stored[key])}, the runs say {_short(again[key])}" for key in unlike_keys]


def _played(found: Bisection, history: History, plan: Plan) -> str | None:
    """The search once more with the runs that were kept; what it would have done otherwise."""
    left = list(found.runs)
    for stored in found.steps:
        ask = next_ask(plan, history.seen)
        if ask is None or found.checkpoints[ask.index] != stored.checkpoint:
            return f"the search would not have looked at {stored.checkpoint}"
        said = _look(history, ask, stored, left)
        if said is not None:
            return said
        if history.steps[-1].outcome == "error":
            return f"{left[0].log} was run after the error that ends a search" if left else None
    if next_ask(plan, history.seen) is not None:
        return "the search is not over"
    return f"{left[0].log} is of no step" if left else None


def _look(history: History, ask: Ask, stored: BisectStep, left: list[BisectRun]) -> str | None:
    """One look: the runs that it had, and the step that they give."""
    name, config, threshold = stored.checkpoint, history.config, history.evaluation.threshold
    content = {run.checkpoint: run.sha256 for run in history.runs}
    runs = history.of.setdefault(content.get(name) or content[stored.same_as or ""], [])
    rounds = history.seen[ask.index].rounds + 1 if ask.again else 1
    same_as = runs[0].checkpoint if runs and runs[0].checkpoint != name else None
    while written.standing(runs, threshold, config.repeats, config.confidence) is None:
        if len(runs) >= rounds * config.repeats:
            break
        wanted = (name, len(runs) + 1)
        if not left or (left[0].checkpoint, left[0].attempt) != wanted:
            return f"the next run should be of {name}, attempt {wanted[1]}"
        runs.append(left.pop(0))
    step = written.step(name, runs, threshold, config, ask.phase, rounds, same_as)
    history.steps.append(step)
    if step.outcome != "error":
        history.seen[ask.index] = Seen(step.outcome, ask.phase, rounds)
    return None


def _runs(found: Bisection, folder: Path, evaluation: Evaluation) -> list[str]:
    """Runs that are not those in their files, or that do not follow from how they ended."""
    wrong: list[str] = []
    for number, run in enumerate(found.runs, start=1):
        name, kept = f"{FOLDER}/{number:05}", folder / f"{FOLDER}/{number:05}.json"
        of = f"the run of {run.checkpoint}, attempt {run.attempt},"
        if run.log != f"{name}.log" or not kept.is_file() or not kept.with_suffix(".log").is_file():
            wrong.append(f"{of} has no {name}.json and {name}.log")
        elif json.loads(kept.read_bytes()) != run.model_dump(mode="json"):
            wrong.append(f"{of} is not the one in {name}.json")
        elif run.argv_sha256 != evaluation.sha256:
            wrong.append(f"{of} was of other arguments than the configuration has")
        elif unlike(evaluation, run, kept.with_suffix(".log").read_bytes()):
            wrong.append(f"{of} does not follow from {name}.log")
    return wrong


def _checkpoints(found: Bisection, config: Config, manifest: Manifest) -> list[str]:
    """A history that is not the one that was given."""
    names = found.checkpoints
    if config.folder is None:
        given = [Path(one).name for one in config.checkpoint]
        wrong = [] if [Path(name).name for name in names] == given else ["/checkpoints are not those that were given"]
    else:
        keys = [tuple(map(int, re.findall(r"\d+", Path(name).name))) for name in names]
        in_order = keys == sorted(set(keys))
        wrong = [] if in_order else ["/checkpoints are not in the order of their steps"]
    hashes = {run.checkpoint: run.sha256 for run in found.runs}
    for record in manifest.inputs:
        kind, _, place = record.role.partition("-")
        if kind == "checkpoint" and place.isdigit():
            stated = names[int(place)]
            if stated != record.ref or hashes.get(stated, record.sha256) != record.sha256:
                wrong.append(f"/checkpoints/{place} is {stated}, not what the manifest has: {record.ref}")
    return wrong


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
