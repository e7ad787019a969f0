"""Is this prompt suite, or this grid of crossed factors, well formed and balanced?

1. read the suite, or the grid (line format, CSV, YAML, or the name of one that comes with the package); every mistake
   is listed at once with its line and the nearest key that exists (exit 3)
2. content: duplicates after folding case and blanks; paraphrase groups; prompts that hold the answer they ask for
3. banks: capability tasks against what a panel needs (2 tasks of 30 distinct items, 100 advised); policy sets of 20
   checked prompts, the least whose flips can be compared with the rest; 64 neutral prompts that are not asked elsewhere
4. balance: cells of core × type × level where these factors are declared, else of every pair of factors; of a grid core
   × all factors, or their pairs where at most half of the cells are used and every pair is balanced
5. confounds: η² of characters, words, sentences, punctuation and digits by factor, with --model also of tokens and
   Cramér's V of the last token, with --nll also of a grid's mean log-loss; p by 499 permutations of the factor within
   core (else within bank and task), paraphrases that share a level moving together
6. wording: naive Bayes on words without the declared markers, leaving out one core at a time, against labels permuted
   within cores; prompts of different cells that are nearly the same text (Jaccard of character 5-grams above .8)

Unbalanced: an empty cell, or Cramér's V between crossed factors above .1. Confounded: above .30 with p < .05. Above .14
with p < .05, and whatever 2, 3 and 6 find, is a warning: it does not fail the suite. A sound suite is one whose
comparisons mean what they say; whether it asks the right questions, nobody can count.

Units: η² and V in [0, 1]; tokens; nats. Needs no torch: --model reads a tokenizer and no weights; --nll runs the model.
Exit codes: 0 sound · 2 unbalanced or confounded, named · 3 malformed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from radiograph.core import Config as Base
from radiograph.core import Context, ExitCode, ModelRef, Refusal, SuiteRef
from radiograph.evidence import Grid, RefusalRecord, Result, Suite
from radiograph.methods.suite._records import (
    BankCount,
    Confound,
    CrossRecord,
    Duplicates,
    Groups,
    HeldAnswer,
    Issue,
    LeakRecord,
    NearDuplicates,
    Neutral,
    PromptSet,
    Task,
    Tokens,
)

_SHOWN = 8


class Config(Base):
    """Which suite, and for which model."""

    suite: SuiteRef
    """Suite or grid file, world:suite, or a grid that comes with the package."""
    model: ModelRef | None = None
    """Model whose tokenizer gives lengths: folder, hub id or bundled:NAME."""
    chat: Literal["template", "plain"] = "template"
    """With --model: the tokenizer's chat template, or `role: content` lines."""
    system: Literal["separate", "merge"] = "separate"
    """With --model: merge system texts into the first user turn, for templates that reject them."""
    nll: bool = False
    """With --model and a grid: run the model for the mean log-loss of each prompt."""


class SuiteCheck(Result):
    """What is right and wrong with a suite."""

    SCHEMA: ClassVar[str] = "radiograph.suite_check/1"

    suite_name: str
    suite: str
    sha256: str
    """Of the expanded suite: two spellings of the same prompts are the same suite."""
    prompts: int
    kind: Literal["suite", "grid"] = "suite"
    notes: tuple[Issue, ...] = ()
    """Lines of a grid that were read and not used."""
    problems: tuple[Issue, ...] = ()
    """What makes the suite unsound."""
    warnings: tuple[Issue, ...] = ()
    banks: tuple[BankCount, ...]
    crosses: tuple[CrossRecord, ...]
    confounds: tuple[Confound, ...]
    wording: tuple[LeakRecord, ...]
    near_duplicates: NearDuplicates
    duplicates: tuple[Duplicates, ...]
    groups: Groups | None
    holds_answer: tuple[HeldAnswer, ...]
    tasks: tuple[Task, ...]
    policy_sets: tuple[PromptSet, ...]
    neutral: Neutral | None
    tokens: Tokens | None
    not_measured: tuple[RefusalRecord, ...]

    @property
    def headline(self) -> str:
        """Sound or not, and why not."""
        from radiograph.methods.suite._judge import named

        found = [f"{code} ({named(names)})" for code, names in self._named.items()]
        warned = f"; {len(self.warnings)} warning{'s' if len(self.warnings) > 1 else ''}" if self.warnings else ""
        return f"{self.suite_name}: {self.prompts} prompts, {' and '.join(found) or 'sound'}{warned}"

    @property
    def lines(self) -> tuple[str, ...]:
        """Every problem and warning, then what the suite holds."""
        return (
            *(f"{issue.code}: {issue.text}" for issue in self.problems),
            *(f"warning: {issue.text}" for issue in self.warnings),
            *(f"line {issue.what}: {issue.text}" for issue in self.notes),
            *self._contents,
            *(f"not measured: {r.what}: {r.text}" + (f" ({r.fix})" if r.fix else "") for r in self.not_measured),
        )

    @property
    def exit_code(self) -> ExitCode:
        """0 sound, 2 unbalanced or confounded."""
        return ExitCode.GATE_FAILED if self.problems else ExitCode.PASS

    @property
    def _contents(self) -> list[str]:
        out = ["banks: " + ", ".join(f"{b.prompts} {b.bank}" for b in self.banks)] if self.kind == "suite" else []
        if self.groups is not None:
            sizes = _range(self.groups.smallest, self.groups.largest)
            out.append(f"groups: {self.groups.groups}, prompts in each: {sizes}; in none: {self.groups.ungrouped}")
        if self.tasks:
            out.append("tasks: " + ", ".join(f"{t.task} ({t.items} of {t.advised} items advised)" for t in self.tasks))
        if self.neutral is None and self.kind == "suite":
            out.append("neutral: none in the suite; audit then takes --neutral FILE or sentences of its own")
        if self.tokens is not None:
            room = "unknown" if self.tokens.room is None else self.tokens.room
            out.append(f"tokens: {self.tokens.shortest} to {self.tokens.longest} a prompt, room for {room}")
        for row in [c for c in self.crosses if not c.nested][:_SHOWN]:
            filled = f"{row.cells - row.empty} of {row.cells} cells filled"
            out.append(f"{row.name}: {filled}, prompts in each: {_range(row.fewest, row.most)}")
        return out

    @property
    def _named(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for issue in self.problems:
            found.setdefault(issue.code, []).append(issue.what)
        return found


def run(config: Config, ctx: Context) -> SuiteCheck:
    """Read, count, judge."""
    from radiograph.methods.suite import _content, _design, _grid
    from radiograph.methods.suite._judge import silence
    from radiograph.store import suite_sha256

    grid: Grid | None = ctx.grid(config.suite, "suite") if _grid.is_grid(config.suite, ctx) else None
    suite: Suite = ctx.suite(config.suite) if grid is None else _grid.as_suite(grid)
    missing = [*silence(config.model is None, config.nll), *_design.not_tested(suite)]
    tokens = None
    if config.model is not None:
        try:
            tokens = _tokenised(config, ctx, suite, grid is not None)
        except Refusal as refusal:
            missing.append(
                RefusalRecord(code=refusal.code, what="tokens, truncation", text=refusal.message, fix=refusal.fix)
            )
    return _judged(
        SuiteCheck(
            suite_name=suite.suite_name,
            suite=ctx.label(config.suite),
            sha256=suite_sha256(suite) if grid is None else grid.sha256,
            kind="suite" if grid is None else "grid",
            notes=() if grid is None else tuple(_noted(note.line, note.text) for note in grid.notes),
            prompts=len(suite.prompts),
            banks=_content.banks(suite),
            crosses=_content.crosses(suite) if grid is None else _grid.crosses(suite),
            confounds=_design.confounds(suite, tokens, ctx.seed),
            wording=_design.leaks(suite, ctx.seed, frozenset() if grid is None else grid.markers),
            near_duplicates=_design.near(suite),
            duplicates=_content.duplicates(suite),
            groups=_content.groups(suite),
            holds_answer=_content.held_answers(suite),
            tasks=_content.tasks(suite),
            policy_sets=_content.prompt_sets(suite),
            neutral=_content.neutral(suite),
            tokens=None if tokens is None else tokens.summary,
            not_measured=tuple(missing),
        )
    )


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """Do bands, problems and warnings follow from the numbers?"""
    from radiograph.numerics.design import band

    del folder
    stored = SuiteCheck.read(result)
    again = _judged(stored)
    wrong = [
        f"/confounds: {c.factor}~{c.covariate} is stored as {c.band}, its numbers give {band(c.value, c.p)}"
        for c in stored.confounds
        if c.band != band(c.value, c.p)
    ]
    parts = [name for name in ("problems", "warnings") if getattr(stored, name) != getattr(again, name)]
    return wrong + [f"/{name} do not follow from what was counted" for name in parts]


def _judged(found: SuiteCheck) -> SuiteCheck:
    from radiograph.methods.suite import _judge

    asked = sum(bank.prompts for bank in found.banks if bank.bank != "neutral")
    warnings = (
        *_judge.design_warnings(found.confounds, found.wording, found.near_duplicates),
        *_judge.content_warnings(found.duplicates, found.holds_answer),
        *(_judge.bank_warnings(found.tasks, found.policy_sets, found.neutral) if found.kind == "suite" else ()),
        *_judge.token_warnings(found.tokens, asked),
    )
    return found.model_copy(update={"problems": _judge.problems(found.crosses, found.confounds), "warnings": warnings})


def _tokenised(config: Config, ctx: Context, suite: Suite, grid: bool) -> Any:
    from radiograph.methods.suite import _tokens

    model = ctx.stored(str(config.model), "model")
    if not grid:
        return _tokens.tokenise(model.folder, model.config, suite, chat=config.chat, system=config.system)
    found = _tokens.tokenise_plain(model.folder, model.config, suite)
    return _tokens.with_losses(found, ctx.model(str(config.model), "model"), suite) if config.nll else found


def _noted(line: int, text: str) -> Issue:
    return Issue(code="note", what=str(line), text=text)


def _range(low: int, high: int) -> str:
    return str(low) if low == high else f"{low} to {high}"
