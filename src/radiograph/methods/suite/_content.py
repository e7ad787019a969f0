"""The parts of `suite check` that look at prompts as they are: duplicates, groups, held answers, banks, tasks, sets."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from statistics import median
from typing import Any, get_args

from radiograph.core.limits import REPORT_CHARACTERS
from radiograph.evidence import Bank, Check, Prompt, Suite
from radiograph.methods.suite._records import (
    BankCount,
    CrossRecord,
    Duplicates,
    Groups,
    HeldAnswer,
    Neutral,
    PromptSet,
    Task,
)
from radiograph.numerics.audit.agreement import MIN_SET
from radiograph.numerics.audit.panel import MIN_ITEMS
from radiograph.numerics.design import cross, folded

ADVISED_ITEMS = 100
MIN_NEUTRAL = 64
USUAL = ("core", "type", "level")
_SHOWN = 10
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_DEADLINE = 0.05


def spoken(prompt: Prompt) -> str:
    """Everything that stands in a prompt."""
    return "\n".join(message.content for message in prompt.messages)


def banks(suite: Suite) -> tuple[BankCount, ...]:
    """Prompts a bank."""
    counts = Counter(prompt.bank for prompt in suite.prompts)
    return tuple(BankCount(bank=bank, prompts=counts[bank]) for bank in get_args(Bank) if counts[bank])


def duplicates(suite: Suite) -> tuple[Duplicates, ...]:
    """Prompts of one bank that are the same after folding."""
    same: dict[tuple[str, str], list[str]] = defaultdict(list)
    for prompt in suite.prompts:
        same[prompt.bank, folded(spoken(prompt))].append(prompt.id)
    return tuple(
        Duplicates(ids=tuple(ids), text=text[:REPORT_CHARACTERS]) for (_, text), ids in same.items() if len(ids) > 1
    )


def groups(suite: Suite) -> Groups | None:
    """Sizes of paraphrase groups; None where no prompt has one."""
    sizes = Counter(prompt.group for prompt in suite.prompts if prompt.group is not None)
    if not sizes:
        return None
    return Groups(
        groups=len(sizes),
        smallest=min(sizes.values()),
        median=float(median(sizes.values())),
        largest=max(sizes.values()),
        alone=tuple(str(name) for name, size in sizes.items() if size == 1),
        ungrouped=len(suite.prompts) - sizes.total(),
    )


def neutral(suite: Suite) -> Neutral | None:
    """The neutral bank; None where the suite has none of its own."""
    bank = suite.bank("neutral")
    asked = {folded(prompt.messages[-1].content) for prompt in suite.prompts if prompt.bank != "neutral"}
    overlap = tuple(prompt.id for prompt in bank if folded(prompt.messages[-1].content) in asked)
    return Neutral(prompts=len(bank), needed=MIN_NEUTRAL, overlap=overlap) if bank else None


def tasks(suite: Suite) -> tuple[Task, ...]:
    """Distinct items of every capability task."""
    items: dict[str, set[str]] = defaultdict(set)
    for prompt in suite.bank("capability"):
        items[str(prompt.task)].add(folded(spoken(prompt)))
    return tuple(
        Task(task=task, items=len(found), needed=MIN_ITEMS, advised=ADVISED_ITEMS) for task, found in items.items()
    )


def prompt_sets(suite: Suite) -> tuple[PromptSet, ...]:
    """Groups and factor levels of the policy bank, beside the rest of their task; only prompts with checks count."""
    members: Counter[tuple[str, str]] = Counter()
    whole: Counter[str] = Counter()
    for prompt in suite.bank("policy"):
        if not prompt.expect:
            continue
        bank = f"policy/{prompt.task}" if prompt.task else "policy"
        whole[bank] += 1
        members.update((bank, name) for name in _sets_of(prompt))
    return tuple(
        PromptSet(bank=bank, name=name, items=n, rest=whole[bank] - n, needed=MIN_SET)
        for (bank, name), n in members.items()
    )


def crosses(suite: Suite) -> tuple[CrossRecord, ...]:
    """The cells of core × type × level where those are declared, else of every pair of factors."""
    names = tuple(suite.factors)
    if set(USUAL) <= set(names):
        wanted = [USUAL]
    else:
        wanted = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    found = (cross_of(suite, factors) for factors in wanted)
    return tuple(record for record in found if record is not None)


def cross_of(suite: Suite, factors: tuple[str, ...]) -> CrossRecord | None:
    """The cells of some factors, over the prompts that have all of them."""
    rows = [
        tuple(prompt.factors[name] for name in factors)
        for prompt in suite.prompts
        if prompt.bank != "neutral" and all(name in prompt.factors for name in factors)
    ]
    found = cross(rows)
    if found is None:
        return None
    return CrossRecord(
        factors=factors,
        n=found.n,
        cells=found.cells,
        empty=found.empty,
        fewest=found.fewest,
        most=found.most,
        cramers_v=max(found.v.values()),
        nested=found.nested,
        missing=tuple(_cell(factors, cell) for cell in found.missing(_SHOWN)),
    )


def held_answers(suite: Suite) -> tuple[HeldAnswer, ...]:
    """Prompts in which every text that their checks ask for stands already."""
    found: list[HeldAnswer] = []
    for prompt in suite.prompts:
        text = folded(spoken(prompt))
        held = [h for h in (_held(check, text) for check in prompt.expect) if h is not None]
        if held and all(held):
            found.append(HeldAnswer(id=prompt.id, text=spoken(prompt)[:REPORT_CHARACTERS]))
    return tuple(found)


def _sets_of(prompt: Prompt) -> Iterator[str]:
    if prompt.group is not None:
        yield f"group={prompt.group}"
    yield from (f"{name}={value}" for name, value in prompt.factors.items())


def _cell(factors: tuple[str, ...], cell: Iterable[object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in zip(factors, cell, strict=True))


def _held(check: Check, text: str) -> bool | None:
    """Whether what a check asks for stands in the text; None for checks that ask for no text."""
    given: Any = check.value
    match check.kind:
        case "equals":
            return _whole(folded(given), text)
        case "one_of":
            return any(_whole(folded(value), text) for value in given)
        case "contains_any":
            return any(folded(value) in text for value in given)
        case "contains_all":
            return all(folded(value) in text for value in given)
        case "number":
            return any(abs(float(n) - abs(given)) <= check.tolerance for n in _NUMBER.findall(text))
        case "choice":
            return {option for option in check.options if _whole(folded(option), text)} == {check.answer}
        case "regex":
            return _found(check, text)
        case _:
            return None


def _whole(value: str, text: str) -> bool:
    """As whole words."""
    return re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text) is not None


def _found(check: Check, text: str) -> bool:
    import regex

    try:
        return regex.search(check.value, text, 0 if check.case else regex.IGNORECASE, timeout=_DEADLINE) is not None
    except TimeoutError:
        return False
