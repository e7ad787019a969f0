"""One run of the evaluation of a checkpoint: what was asked to run, what it means, and where it is kept."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from radiograph.core import Context, Refusal, UserError, finite_number
from radiograph.core.work.process import Ended, command
from radiograph.evidence import document_sha256
from radiograph.evidence.reportcard.bisection import BisectRun
from radiograph.numerics.bisection import Threshold, read_threshold

if TYPE_CHECKING:
    from radiograph.methods._bisect.options import Config

PLACE, SKIP, FOLDER = "{ckpt}", 125, "runs"
NEVER = ("bisect", "run", "serve", "mcp")
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*([smh])")
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_STEP = Literal["good", "broken", "skip", "error"]


@dataclass(frozen=True)
class Evaluation:
    """What runs, and how its end is read."""

    argv: tuple[str, ...]
    """With {ckpt} in its place."""
    prefix: tuple[str, ...]
    """What stands before it: of a verb, this program."""
    codes: dict[int, _STEP]
    """What exit codes mean; any other is an error."""
    metric: str | None
    threshold: Threshold | None
    seconds: float
    words: str
    """What is broken."""

    @property
    def sha256(self) -> str:
        """Of everything that decides what a run means."""
        codes = sorted((code, word) for code, word in self.codes.items())
        return document_sha256([list(self.argv), self.metric, codes])


def read_evaluation(config: Config, ctx: Context | None) -> Evaluation:
    """The evaluation that the options ask for; without a context nothing is looked up, and nothing can be run.

    Raises:
        UserError: not exactly one of --eval and --verb, no {ckpt}, no such verb, or options that do not fit together.
    """
    if (config.eval_ is None) == (config.verb is None):
        raise UserError("how is a checkpoint evaluated?", expected="one of --eval and --verb", code="no_evaluation")
    if (config.metric is None) != (config.broken_if is None):
        raise UserError("--metric and --broken-if go together", expected="both, or neither")
    flag = "--eval" if config.verb is None else "--verb"
    text = config.eval_ if config.verb is None else config.verb
    try:
        argv = tuple(shlex.split(text or ""))
    except ValueError as error:
        raise UserError(f"cannot split {flag}", got=str(error), where=flag) from error
    if not any(PLACE in part for part in argv):
        raise UserError(
            f"{flag} does not say where the checkpoint goes", expected=f"{PLACE} among its words", code="no_place"
        )
    threshold = None if config.broken_if is None else read_threshold(config.broken_if)
    said = f"{config.metric} {config.broken_if}" if threshold else ""
    if config.verb is not None:
        codes: dict[int, _STEP] = {0: "good", 2: "broken", 4: "skip"}
        words = argv if ctx is None else _words(argv, ctx)
        prefix = (sys.executable, "-m", "radiograph", *words, "--json", "--quiet")
        argv = tuple(argv)
    else:
        codes, prefix = _codes(config.broken_exit), ()
    said = said or "exit " + ", ".join(str(c) for c, word in codes.items() if word == "broken")
    if threshold is not None:
        codes = {0: "good", SKIP: "skip"} if config.verb is None else {0: "good", 2: "good", 4: "skip"}
    return Evaluation(argv, prefix, codes, config.metric, threshold, _seconds(config.timeout), said)


def run_once(
    evaluation: Evaluation,
    ctx: Context,
    name: str,
    path: Path,
    sha256: str,
    attempt: int,
    number: int,
    *,
    known: bool,
) -> BisectRun:
    """Run it on one checkpoint, keep what it wrote, say what it means.

    Raises:
        UserError: the program is missing, or its metric is no number. A metric that was there before (`known`) and is
            missing now is an error of this run: what ran until here is kept.
    """
    argv = evaluation.prefix or evaluation.argv
    place = str(path) if name.startswith("external:") else name
    argv = tuple(part.replace(PLACE, place) for part in argv)
    folder = ctx.locate(".")
    limit = ctx.limits["log-bytes"]
    with ctx.measure(f"run {number}: {name}"):
        try:
            ended = command(argv, seconds=evaluation.seconds, folder=folder, limit=limit // 2)
        except OSError as error:
            raise UserError(
                f"cannot run {argv[0]!r}",
                got=error.strerror or str(error),
                where="--eval",
                fix="check its name, and that it may be run",
                code="no_program",
            ) from error
    try:
        outcome, metric, reason = _meaning(evaluation, ended, name)
    except UserError as error:
        if not known:
            raise
        outcome, metric, reason = "error", None, error.message
    log = f"{FOLDER}/{number:05}.log"
    run = BisectRun(
        checkpoint=name,
        sha256=sha256,
        argv_sha256=evaluation.sha256,
        attempt=attempt,
        outcome=outcome,
        exit_code=ended.code,
        metric=metric,
        log=log,
        reason=reason,
    )
    keep(ctx, run, b"== stdout\n" + ended.out + b"\n== stderr\n" + ended.err)
    return run


def unlike(evaluation: Evaluation, run: BisectRun, log: bytes) -> bool:
    """Whether a run that was kept does not follow from how it ended and what it wrote."""
    head, middle = b"== stdout\n", b"\n== stderr\n"
    if not log.startswith(head) or middle not in log:
        return True
    if log.count(middle) > 1:
        return False  # where one ends and the other begins cannot be told
    out, _, err = log.removeprefix(head).partition(middle)
    try:
        said = _meaning(evaluation, Ended(run.exit_code, out, err, cut=False), run.checkpoint)
    except UserError as error:
        said = "error", None, error.message
    return said != (run.outcome, run.metric, run.reason)


def keep(ctx: Context, run: BisectRun, text: bytes) -> None:
    """Write one run into the bundle: its log first, so that a run that stands has one."""
    ctx.output.data(run.log, text)
    ctx.output.json(run.log.removesuffix(".log") + ".json", run)


def _words(argv: Sequence[str], ctx: Context) -> tuple[str, ...]:
    """The words of a verb, checked before anything runs.

    Raises:
        UserError: no such verb. Refusal: one that does not evaluate a checkpoint, as bisect itself, under any name.
    """
    if argv[0] == "radiograph":
        argv = argv[1:]
    verb = ctx.service("verb")(argv)
    if verb.key in NEVER or verb.serves:
        raise Refusal("no_evaluation", f"{verb.name} does not evaluate a checkpoint", fixable=True)
    return tuple(argv)


def _codes(text: str) -> dict[int, _STEP]:
    try:
        broken = [int(part) for part in text.split(",")]
    except ValueError:
        broken = []
    if not broken or any(not 1 <= c <= 124 for c in broken):
        raise UserError(
            f"cannot read {text!r}", where="--broken-exit", expected="exit codes from 1 to 124, with commas"
        )
    return {0: "good", **dict.fromkeys(broken, cast(_STEP, "broken")), SKIP: "skip"}


def _seconds(text: str) -> float:
    match = _TIME.fullmatch(text.strip())
    value = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if value <= 0:
        raise UserError(f"cannot read {text!r}", where="--timeout", expected="a time above 0, as 90s, 30m or 1h")
    return value


def _meaning(evaluation: Evaluation, ended: Ended, name: str) -> tuple[_STEP, float | None, str]:
    if ended.code is None:
        return "error", None, f"not done within {evaluation.seconds:g} s"
    outcome = evaluation.codes.get(ended.code, "error")
    if outcome == "error":
        said = ended.err.decode(errors="replace").strip().rpartition("\n")[2][:200]
        code = f"signal {-ended.code}" if ended.code < 0 else f"exit code {ended.code}"
        return outcome, None, f"{code}: {said}" if said else code
    if evaluation.threshold is None or outcome == "skip":
        return outcome, None, ""
    assert evaluation.metric is not None, "a threshold comes with a metric"
    metric = _metric(ended.out, evaluation.metric, name)
    return ("broken" if evaluation.threshold.broken(metric) else "good"), metric, ""


def _metric(out: bytes, key: str, name: str) -> float:
    """The number under a dotted key of the last JSON line, or of all of stdout where that is one document."""
    document = _document(out)
    value: Any = document
    for part in key.split("."):
        if isinstance(value, list) and part.isdigit() and int(part) < len(cast("list[Any]", value)):
            value = cast("list[Any]", value)[int(part)]
        elif isinstance(value, dict) and part in value:
            value = cast("dict[str, Any]", value)[part]
        else:
            keys = list(cast("dict[str, Any]", value)) if isinstance(value, dict) else []
            raise UserError(
                f"the evaluation of {name} printed no {key}",
                where=f"stdout, at {part!r}",
                expected="a JSON object with this key as the last line",
                got="keys " + ", ".join(keys[:12]) if keys else type(value).__name__,
                code="no_metric",
            )
    number = finite_number(value)
    if number is None:
        raise UserError(
            f"the evaluation of {name} printed a {key} that is no finite number", got=repr(value)[:80], code="no_metric"
        )
    return number


def _document(out: bytes) -> Any:
    text = out.decode(errors="replace").strip()
    for candidate in (text.rpartition("\n")[2], text):
        try:
            found: Any = json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            return cast(Any, found)
    return None
