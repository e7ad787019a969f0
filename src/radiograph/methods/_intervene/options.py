"""The options that `intervene` and `steer contrast` share, and how doses and targets are written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from radiograph.core import Context, FilePath, Input, RunPath, SuiteRef, UserError
from radiograph.methods.explain._endpoint import ChatOptions
from radiograph.numerics.effects import Limits

DOSES = "-2,-1,-0.5,0.5,1,2"
MOST_DOSES = 64


class Options(ChatOptions):
    """What is pushed, how hard, where, and what is measured."""

    prompts: FilePath | None = None
    """Labelled prompts of the criterion, where they come from a file."""
    template: FilePath | None = None
    """Templates that make them, as YAML."""
    split: FilePath | None = None
    """Halves of an earlier run."""
    threshold: float = 0.5
    """Scores from here on are positive."""
    rows: int = Field(default=64, ge=8)
    """Most positives of each half, and as many others."""
    outcome: str = "logprob"
    """logprob or choice (probability) of the targets against the foils, if any; rate (share of continuations that hold
    a target, or, with --endpoint and --chat-model, that meet the criterion as that model judges); feature:SOURCE; or
    probe:FILE."""
    targets: str | None = None
    """Continuations by comma, or a file with one a line; else those of the prompts."""
    foils: str | None = None
    """Continuations that the targets are weighed against, likewise."""
    dose: str = DOSES
    """Doses by comma; of amplify factors, of clamp the value."""
    unit: Literal["sd", "max", "norm", "raw"] = "sd"
    """What a dose counts in: sd or largest of the non-zero codes, mean norm of the site, or the code's own unit."""
    positions: Literal["all", "last", "active", "span"] = "all"
    """Tokens that are written: all, the prompt's last, those where the feature fires, or the labelled span."""
    controls: int = Field(default=20, ge=0)
    """Controls of every family that applies; under 19 there is no p."""
    band: bool = False
    """Run the controls at every dose, not at the chosen one alone."""
    max_kl: float = Field(default=0.1, ge=0)
    """Most nats per token of neutral text."""
    max_ppl: float = Field(default=1.1, ge=1)
    """Most perplexity over that of the untouched model."""
    max_negative: float = Field(default=0.5, ge=0)
    """Most change on negatives and near misses, as a share of the effect."""
    neutral: tuple[Annotated[str, Input("file")], ...] = ()
    """Neutral text: FILE, suite:FILE, world:DOMAIN#N; else what ships for the model's tokenizer."""
    neutral_texts: int = Field(default=32, ge=1)
    """Most neutral texts."""
    new_tokens: int = Field(default=16, ge=1)
    """Tokens of a continuation, for rate and --continue."""
    continue_: int = Field(default=0, ge=0)
    """Positives of confirm that are continued at the graded dose, to see whether what is said degenerates."""
    guard: tuple[SuiteRef, ...] = ()
    """Suites whose answers the graded dose should leave right, repeatable: FILE, or world:SUITE."""
    require: str | None = None
    """A demand, as causal:validated; unmet exits 2, not measured 4."""
    dry_run: bool = False
    """Say what would be run, and stop."""
    resume: RunPath | None = None
    """A run that was killed (.partial), to go on with."""

    @property
    def limits(self) -> Limits:
        """What a dose may cost."""
        return Limits(self.max_kl, self.max_ppl, self.max_negative)


def doses_of(text: str, verb: str) -> tuple[float, ...]:
    """Doses in order, each once; none for verbs that take none.

    Raises:
        UserError: no numbers, or a placebo alone.
    """
    if verb in ("ablate", "patch"):
        return ()
    try:
        found = dict.fromkeys(float(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise UserError(f"not a list of doses: {text!r}", expected=DOSES, where="--dose", code="bad_dose") from error
    neutral = {"steer": 0.0, "amplify": 1.0}.get(verb)
    kept = tuple(sorted(value for value in found if value != neutral))
    if not kept or len(kept) > MOST_DOSES or not all(abs(value) < 1e6 for value in kept):
        raise UserError(
            f"no dose to try in {text!r}",
            expected=f"1 to {MOST_DOSES} numbers, dose {neutral:g} being the placebo" if neutral is not None else DOSES,
            where="--dose",
            code="bad_dose",
        )
    return kept


def continuations(ctx: Context, text: str | None, role: str) -> tuple[str, ...]:
    """Targets or foils as they were given: by comma, or a file with one a line (spaces at the beginning count).

    Raises:
        UserError: nothing in them.
    """
    if text is None:
        return ()
    if Path(text).suffix in (".txt", ".list"):
        parts = ctx.path(text, role).read_text(encoding="utf-8").splitlines()
    else:
        parts = text.split(",")
    found = tuple(dict.fromkeys(part for part in parts if part.strip()))
    if not found:
        raise UserError(f"no {role} in {text!r}", expected="texts by comma, or FILE.txt", code="bad_targets")
    return found


def require_outcome(text: str) -> None:
    """Refuse outcomes that nothing can measure.

    Raises:
        UserError: no such outcome.
    """
    if text not in ("logprob", "choice", "rate") and not text.startswith(("feature:", "probe:")):
        from radiograph.core import nearest

        known = ["logprob", "choice", "rate", "feature:SOURCE", "probe:FILE"]
        close = nearest(text, known)
        raise UserError(
            f"no outcome {text!r}",
            expected=", ".join(known),
            fix=f"did you mean {', '.join(close)}?" if close else None,
            where="--outcome",
            code="bad_value",
        )
