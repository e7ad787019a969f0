"""Does the candidate's output have the form that was asked for?

Prompts of the suite with a `json` or `regex` check, and the small world's own format task: there the form is that of
the right answer, any words in the place of its words.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import numpy as np

from radiograph.evidence.reportcard.card import Beside
from radiograph.methods._diagnose.inputs import SHOWN, Found, Inputs, example, need

if TYPE_CHECKING:
    from radiograph.evidence import Prompt

LEAST = 30
_WORDS = re.compile(r"\w+(?:\s+\w+)*")


def measure(inputs: Inputs) -> Found:
    """Share of valid outputs.

    Raises:
        Refusal: fewer than 30 prompts that ask for a form.
    """
    found = [(p, i, form) for p, i in inputs.items() if (form := form_of(p)) is not None]
    need(len(found), LEAST, "prompts that ask for a form")
    sides = [
        np.array([valid(p, form, i.responses[side].text) for p, i, form in found], dtype=np.float64) for side in (0, 1)
    ]
    items = [i for _, i, _ in found]
    broken = [i for i, good in zip(items, sides[1], strict=True) if not good]
    return Found(
        columns={"valid": sides[1], "reference": sides[0]},
        groups=[i.group or i.id for i in items],
        ids=[i.id for i in items],
        what="outputs of the candidate that have the form asked for",
        data_sha256=inputs.suite_sha256([i.id for i in items]),
        beside=[Beside(name="valid outputs of the reference", value=float(sides[0].mean()), n=len(items))],
        examples=[example(i) for i in broken[:SHOWN]],
    )


def form_of(prompt: Prompt) -> str | None:
    """`json`, `regex`, or the shape of the small world's answer."""
    from radiograph.organisms.world import solve

    for check in prompt.expect:
        if check.kind in ("json", "regex"):
            return check.kind
    if prompt.task != "format" or not any(c.kind == "oracle" for c in prompt.expect):
        return None
    truth = solve([{"role": m.role, "content": m.content} for m in prompt.messages])
    return None if truth is None else "shape:" + shape(truth.answer)


def shape(text: str) -> str:
    """A text with its runs of words left out: one word and several are told apart."""
    return _WORDS.sub(lambda m: "w" if len(m[0].split()) == 1 else "w+", " ".join(text.split()))


def valid(prompt: Prompt, form: str, answer: str) -> bool:
    """Whether an answer has the form."""
    from radiograph.detectors.measure import evaluate

    if form == "json":
        try:
            json.loads(answer)
        except (ValueError, RecursionError):
            return False
        return True
    if form == "regex":
        checks = [c for c in prompt.expect if c.kind == "regex"]
        return all(evaluate(c, answer, prompt.messages) == "pass" for c in checks)
    return shape(answer) == form.removeprefix("shape:")
