"""From what was counted to what a reader should do about it. Pure, so that `verify` derives the same again.

`unbalanced` (an empty cell, or Cramér's V above .1 between crossed factors) and `confounded` (above .30, p < .05) fail
the suite; everything else is a warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from radiograph.evidence import RefusalRecord
from radiograph.methods.suite._records import (
    Confound,
    CrossRecord,
    Duplicates,
    HeldAnswer,
    Issue,
    LeakRecord,
    NearDuplicates,
    Neutral,
    PromptSet,
    Task,
    Tokens,
)
from radiograph.methods.suite._tokens import MAX_CUT_SHARE
from radiograph.numerics.audit.panel import MIN_TASKS
from radiograph.numerics.design import MAX_V

_NAMED = 5


def problems(crosses: Sequence[CrossRecord], confounds: Sequence[Confound]) -> tuple[Issue, ...]:
    """What makes the suite unsound."""
    return (*_unbalanced(crosses), *(_confound(row) for row in confounds if row.band == "confounded"))


def design_warnings(
    confounds: Sequence[Confound], leaks: Sequence[LeakRecord], near: NearDuplicates
) -> Iterator[Issue]:
    """What to keep in mind when factor levels are compared."""
    yield from (_confound(row) for row in confounds if row.band == "warning")
    for leak in leaks:
        if leak.leaks:
            text = (
                f"words alone tell {leak.factor} apart on cores not seen: balanced accuracy "
                f"{leak.balanced_accuracy:.2f}, chance {leak.chance:.2f}, null {leak.null:.2f}; "
                f"most telling: {named(leak.words)}"
            )
            yield Issue(code="wording", what=leak.factor, text=text)
    if near.pairs:
        pairs = [f"{pair.first} and {pair.second}" for pair in near.shown]
        text = (
            f"{count(near.pairs, 'pair')} of prompts in different cells read almost alike: {named(pairs, near.pairs)}"
        )
        yield Issue(code="near_duplicates", what="cells", text=text)


def content_warnings(duplicates: Sequence[Duplicates], held: Sequence[HeldAnswer]) -> Iterator[Issue]:
    """What is wrong with single prompts."""
    if duplicates:
        same = [" = ".join(d.ids[:3]) for d in duplicates]
        text = f"{count(len(duplicates), 'text')} asked more than once, which counts once: {named(same)}"
        yield Issue(code="duplicates", what="prompts", text=text)
    if held:
        holding = "1 prompt holds" if len(held) == 1 else f"{len(held)} prompts hold"
        text = f"{holding} the answer that the check asks for: {named([h.id for h in held])}"
        yield Issue(code="holds_answer", what="prompts", text=text)


def bank_warnings(tasks: Sequence[Task], sets: Sequence[PromptSet], neutral: Neutral | None) -> Iterator[Issue]:
    """What an audit could not decide with this suite."""
    small = [f"{task.task} ({task.items})" for task in tasks if task.items < task.needed]
    if small:
        text = f"tasks of fewer than {tasks[0].needed} items measure nothing: {named(small)}"
        yield Issue(code="small_task", what="capability", text=text)
    fit = sum(task.items >= task.needed for task in tasks)
    if fit < MIN_TASKS:
        text = (
            f"{count(fit, 'capability task')} large enough, {MIN_TASKS} needed: an audit cannot exclude lost abilities"
        )
        yield Issue(code="panel_too_small", what="capability", text=text)
    if sets and not any(row.items >= row.needed and row.rest for row in sets):
        largest = max(sets, key=lambda row: row.items)
        text = (
            f"no group or factor level of the policy bank has {largest.needed} checked prompts and others beside it "
            f"(largest: {largest.name}, {largest.items}): a narrow change of policy cannot be located"
        )
        yield Issue(code="small_sets", what="policy", text=text)
    if neutral is not None and neutral.prompts < neutral.needed:
        text = f"{count(neutral.prompts, 'neutral prompt')}, {neutral.needed} needed"
        yield Issue(code="small_neutral", what="neutral", text=text)
    if neutral is not None and neutral.overlap:
        text = f"{count(len(neutral.overlap), 'neutral prompt')} asked elsewhere in the suite: {named(neutral.overlap)}"
        yield Issue(code="neutral_overlap", what="neutral", text=text)


def token_warnings(tokens: Tokens | None, asked: int) -> Iterator[Issue]:
    """What does not fit the model."""
    if tokens is None or not tokens.cut:
        return
    refuses = len(tokens.cut) > MAX_CUT_SHARE * asked
    text = f"{count(len(tokens.cut), 'prompt')} longer than {tokens.room} tokens: {named(tokens.cut)}; "
    text += "audit refuses a suite with so many" if refuses else "they are cut from the left of the user turn"
    yield Issue(code="too_long", what="tokens", text=text)


def named(names: Sequence[str], total: int | None = None) -> str:
    """The first names, and how many more there are."""
    more = (len(names) if total is None else total) - len(names[:_NAMED])
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def count(n: int, noun: str) -> str:
    """`1 prompt`, `2 prompts`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def silence(no_model: bool, run: bool = False) -> tuple[RefusalRecord, ...]:
    """What this verb never measures, or not without a model."""
    text = "it needs a model to be run, and this check ran none"
    fix = "for a grid: pass --model MODEL --nll"
    forward = RefusalRecord(code="no_forward_pass", what="mean log-loss by factor", text=text, fix=fix)
    if not no_model:
        return () if run else (forward,)
    text = "lengths in tokens depend on a tokenizer"
    return (forward, RefusalRecord(code="no_model", what="tokens, truncation", text=text, fix="pass --model MODEL"))


def _unbalanced(crosses: Sequence[CrossRecord]) -> Iterator[Issue]:
    for row in crosses:
        if row.nested:
            continue
        if row.empty:
            text = f"{row.empty} of {count(row.cells, 'cell')} of {row.name} empty: {named(row.missing, row.empty)}"
            yield Issue(code="unbalanced", what=row.name, text=text)
        elif row.cramers_v > MAX_V:
            text = (
                f"{row.name}: {row.fewest} to {row.most} prompts a cell, so levels go together "
                f"(Cramér's V {row.cramers_v:.2f}, at most {MAX_V:g})"
            )
            yield Issue(code="unbalanced", what=row.name, text=text)


def _confound(row: Confound) -> Issue:
    sign = "η²" if row.statistic == "eta_squared" else "Cramér's V"
    name = f"{row.factor}~{row.covariate.replace(' ', '_')}"
    text = (
        f"{row.factor} goes with {row.covariate} ({sign} {row.value:.2f}, p {row.p:.3f}, n {row.n}, "
        f"within {row.within}): what differs between its levels may be due to {row.covariate}"
    )
    return Issue(code="confounded" if row.band == "confounded" else "covariate", what=name, text=text)
