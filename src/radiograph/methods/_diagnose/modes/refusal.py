"""Did refusals of what is to be refused, or answers to what only looks like it, change?

An answer is a refusal by the wording of its opening (`refusals`), whose precision and recall on labelled answers stand
beside the score. A second look that knows no words: the probability of the first tokens with which the reference begins
its refusals on these prompts, and none of its other answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from radiograph.methods._diagnose import refusals
from radiograph.methods._diagnose.beside import SIDES
from radiograph.methods._diagnose.inputs import Found, Inputs, example, need, refusal_of

if TYPE_CHECKING:
    from radiograph.evidence import Item
    from radiograph.store.refusals import Labelled

LEAST = 50


def measure(inputs: Inputs) -> Found:
    """Prompts of the suite whose checks say whether they are to be refused.

    Raises:
        Refusal: fewer than 50 of either kind, or a detector that does not serve here.
    """
    found = [(p, i) for p, i in inputs.items() if refusal_of(p) is not None]
    items = [i for _, i in found]
    restricted = np.array([bool(refusal_of(p)) for p, _ in found], dtype=np.float64)
    need(int(restricted.sum()), LEAST, "restricted prompts")
    need(int((1 - restricted).sum()), LEAST, "look-alikes that are to be answered")
    own = inputs.config.labelled is not None
    refusals.check_script([i.prompt_used[-1].content for i in items], own)
    known = [refusals.quality(labelled) for labelled in _labelled(inputs)]
    refusals.check_sound(known[0])
    reference, candidate = (
        np.array([refusals.declines(i.responses[side].text) for i in items], dtype=np.float64) for side in (0, 1)
    )
    columns = {"restricted": restricted, "reference": reference, "candidate": candidate}
    mass = _first_tokens(inputs, items, reference)
    if mass is not None:
        columns |= {f"mass_{side}": own for side, own in zip(SIDES, mass, strict=True)}
    answers = [(one.source, *pair) for one in known for pair in zip(one.refusal, one.declined, strict=True)]
    names = ("source", "refusal", "declined")
    return Found(
        columns=columns,
        groups=[i.group or i.id for i in items],
        ids=[i.id for i in items],
        data_sha256=inputs.suite_sha256([i.id for i in items]),
        show=lambda row: example(items[row]),
        more={"labelled": {name: list(of) for name, of in zip(names, zip(*answers, strict=True), strict=True)}},
    )


def _labelled(inputs: Inputs) -> list[Labelled]:
    from radiograph.store.refusals import read_labelled, shipped_labelled

    if inputs.config.labelled is None:
        return shipped_labelled()
    opened = inputs.ctx.opened(inputs.config.labelled, "labelled")
    return [read_labelled(opened.read(inputs.ctx.limits["losses-bytes"]), opened.name)]


def _first_tokens(inputs: Inputs, items: list[Item], refused: np.ndarray) -> list[np.ndarray] | None:
    """Of every prompt the probability, in both models, of first tokens that only refusals of the reference have."""
    from radiograph.models import log_probs

    banks = inputs.measurement.banks
    place = {prompt.id: k for k, prompt in enumerate(banks.prompts)}
    tokens = [banks.tokens[place[item.id]] for item in items]
    last: list[list[np.ndarray]] = []
    with inputs.ctx.progress.task("first tokens", total=len(SIDES)) as task:
        for model in (inputs.pair.reference, inputs.pair.candidate):
            own: list[np.ndarray] = [np.zeros(0)] * len(tokens)
            for batch, values in log_probs(model, tokens):
                for number, row in enumerate(batch.rows):
                    own[row] = values[number, len(tokens[row]) - 1].exp().double().cpu().numpy()
            last.append(own)
            task.advance()
    first = np.array([int(own.argmax()) for own in last[0]])
    only = np.setdiff1d(first[refused == 1], first[refused == 0])
    if not len(only):
        return None
    return [np.array([own[only].sum() for own in side]) for side in last]
