"""Does the candidate cite the documents that it should? F1 of cited ids (`[7]`, `[1, 2]`) against gold ids."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from radiograph.methods._diagnose.inputs import Found, Inputs, example, need

if TYPE_CHECKING:
    from radiograph.evidence import Prompt

LEAST = 30
_CITED = re.compile(r"\[\s*([^\[\]]+?)\s*\]")


def measure(inputs: Inputs) -> Found:
    """Mean F1 over the prompts of task `cite`.

    Raises:
        Refusal: fewer than 30 prompts with gold ids.
    """
    found = [(p, i, gold) for p, i in inputs.items("cite") if (gold := gold_of(p))]
    need(len(found), LEAST, "prompts with documents and gold ids")
    sides = [np.array([f1(cited(i.responses[s].text), gold) for _, i, gold in found]) for s in (0, 1)]
    foreign = np.array([len(cited(i.responses[1].text) - _known(p)) for p, i, _ in found], dtype=np.float64)
    items = [i for _, i, _ in found]
    return Found(
        columns={"f1": sides[1], "reference": sides[0], "foreign": foreign},
        groups=[i.group or i.id for i in items],
        ids=[i.id for i in items],
        data_sha256=inputs.suite_sha256([i.id for i in items]),
        show=lambda row: example(items[row]),
    )


def gold_of(prompt: Prompt) -> set[str]:
    """The ids that a right answer cites."""
    from radiograph.organisms.world import solve

    gold: set[str] = set()
    for check in prompt.expect:
        if check.kind in ("contains_all", "equals"):
            values = check.value if isinstance(check.value, list) else [check.value]
            gold |= {one for value in values for one in cited(str(value))}
        if check.kind == "oracle":
            truth = solve([{"role": m.role, "content": m.content} for m in prompt.messages])
            gold |= set() if truth is None else cited(truth.answer)
    return gold


def cited(text: str) -> set[str]:
    """Ids between brackets: without blanks, so that a remark in brackets is none."""
    parts = [one.strip() for inside in _CITED.findall(text) for one in re.split(r"[,;]", inside)]
    return {one for one in parts if one and len(one.split()) == 1}


def f1(given: set[str], gold: set[str]) -> float:
    """2·|both| / (|given| + |gold|)."""
    return 2 * len(given & gold) / (len(given) + len(gold))


def _known(prompt: Prompt) -> set[str]:
    """Whatever could be an id in the prompt."""
    text = " ".join(m.content for m in prompt.messages)
    return cited(text) | set(re.findall(r"\w+", text))
