"""The parts of `suite check` that compare factor levels: covariates, wording, near duplicates across cells."""

from __future__ import annotations

from radiograph.core import derive
from radiograph.evidence import Prompt, RefusalRecord, Suite
from radiograph.methods.suite._content import spoken
from radiograph.methods.suite._records import Confound, LeakRecord, NearDuplicates, NearPair
from radiograph.methods.suite._tokens import Tokenised
from radiograph.numerics.design import (
    Labelling,
    covaried,
    near_duplicates,
    wording_leak,
    words,
)

CORE = "core"
_TASK = "bank and task"
_SHOWN = 20


def factor_rows(suite: Suite) -> dict[str, list[Prompt]]:
    """The prompts that have each factor with two levels or more; the core is what they are compared within."""
    asked = [prompt for prompt in suite.prompts if prompt.bank != "neutral"]
    rows = {name: [prompt for prompt in asked if name in prompt.factors] for name in suite.factors if name != CORE}
    return {name: own for name, own in rows.items() if len({prompt.factors[name] for prompt in own}) > 1}


def confounds(suite: Suite, tokens: Tokenised | None, seed: int) -> tuple[Confound, ...]:
    """Every covariate against every factor."""
    found: list[Confound] = []
    for name, prompts in factor_rows(suite).items():
        labelling, within = _labelling(name, prompts)
        rows = covaried(
            [spoken(prompt) for prompt in prompts],
            labelling,
            measured=None if tokens is None else tokens.measured([prompt.id for prompt in prompts]),
            last=None if tokens is None else [tokens.last[prompt.id] for prompt in prompts],
            seed=derive(seed, "confounds", name),
        )
        found += [
            Confound(
                factor=name,
                covariate=row.covariate,
                statistic=row.statistic,
                value=row.value,
                p=row.p,
                n=len(prompts),
                levels=labelling.levels,
                within=within,
                band=row.band,
            )
            for row in rows
        ]
    return tuple(found)


def leaks(suite: Suite, seed: int, markers: frozenset[str] = frozenset()) -> tuple[LeakRecord, ...]:
    """The wording of every factor that is crossed with a core, without the words that are meant to tell it."""
    meant = {word for marker in markers for word in words(marker)}
    found: list[LeakRecord] = []
    for name, prompts in factor_rows(suite).items():
        labelling, within = _labelling(name, prompts)
        if within != CORE:
            continue
        spelled = [[word for word in words(spoken(p)) if word not in meant] for p in prompts]
        leak = wording_leak(spelled, labelling, seed=derive(seed, "wording", name))
        if leak is not None:
            found.append(
                LeakRecord(
                    factor=name,
                    balanced_accuracy=leak.accuracy,
                    chance=leak.chance,
                    null=leak.null,
                    n=leak.n,
                    leaks=leak.leaks,
                    words=leak.words,
                )
            )
    return tuple(found)


def near(suite: Suite) -> NearDuplicates:
    """Prompts of different cells whose texts are nearly the same."""
    prompts = [prompt for prompt in suite.prompts if prompt.bank != "neutral" and prompt.factors]
    pairs = [
        NearPair(first=prompts[i].id, second=prompts[j].id, jaccard=similarity)
        for i, j, similarity in near_duplicates([spoken(prompt) for prompt in prompts])
        if prompts[i].factors != prompts[j].factors
    ]
    return NearDuplicates(pairs=len(pairs), shown=tuple(pairs[:_SHOWN]))


def not_tested(suite: Suite) -> list[RefusalRecord]:
    """What the factors of this suite leave unanswered."""
    out: list[RefusalRecord] = []
    rows = factor_rows(suite)
    if not rows:
        text = "no factor has two levels, so there is nothing to compare"
        out.append(RefusalRecord(code="no_factors", what="balance, confounds, wording", text=text))
    for name, prompts in rows.items():
        labelling, within = _labelling(name, prompts)
        if not labelling.movable:
            text = f"{name} has one level inside every {within}, so nothing can be compared there"
            out.append(RefusalRecord(code="constant_within", what=f"confounds of {name}", text=text))
    apart = [name for name, prompts in rows.items() if _labelling(name, prompts)[1] != CORE]
    if apart:
        text = "the test leaves out one core at a time, and these prompts have no factor `core`"
        out.append(RefusalRecord(code="no_core", what=f"wording leak of {', '.join(apart)}", text=text))
    return out


def _labelling(name: str, prompts: list[Prompt]) -> tuple[Labelling, str]:
    """What is compared within what: the core where all prompts have one, else bank and task."""
    cored = all(CORE in prompt.factors for prompt in prompts)
    strata = [prompt.factors[CORE] if cored else (prompt.bank, prompt.task) for prompt in prompts]
    groups = [prompt.group if prompt.group is not None else ("alone", prompt.id) for prompt in prompts]
    return Labelling([prompt.factors[name] for prompt in prompts], strata, groups), CORE if cored else _TASK
