"""Does the candidate's output have the form that was asked for?

Prompts of the suite whose `format` names a form, with a `json` or `regex` check, and the small world's own format task
(`forms`). Right answers that the suite gives must have the form themselves: a row none of whose right answers does says
nothing and is left out, and fewer than 90 % of rows with one that does mean a wrong form, not a wrong model.
"""

from __future__ import annotations

import numpy as np

from radiograph.core import Refusal, UserError, nearest
from radiograph.methods._diagnose.forms import Form, form_of, read_forms, targets_of
from radiograph.methods._diagnose.inputs import Found, Inputs, example, need

LEAST, SOUND = 30, 0.9


def measure(inputs: Inputs) -> Found:
    """Share of valid outputs.

    Raises:
        Refusal: fewer than 30 prompts that ask for a form, or right answers that do not have it.
    """
    forms = _forms(inputs)
    items_of = inputs.items()
    if inputs.config.forms is not None:
        _check_names({p.format for p, _ in items_of if p.format is not None}, forms)
    asked = [(p, i, form) for p, i in items_of if (form := form_of(p, forms)) is not None]
    targets = [targets_of(p) for p, _, _ in asked]
    good = [any(form.valid(t) for t in own) for (_, _, form), own in zip(asked, targets, strict=True)]
    told = sum(map(bool, targets))
    if told and sum(good) < SOUND * told:
        raise Refusal(
            "invalid_targets",
            f"{sum(good)} of {told} right answers of the suite have the form themselves",
            expected=f"{SOUND:.0%}",
            fix="mend the form, or the right answers",
        )
    found = [one for one, own, fine in zip(asked, targets, good, strict=True) if fine or not own]
    need(len(found), LEAST, "prompts that ask for a form")
    sides = [
        np.array([form.valid(i.responses[side].text) for _, i, form in found], dtype=np.float64) for side in (0, 1)
    ]
    items = [i for _, i, _ in found]
    return Found(
        columns={"valid": sides[1], "reference": sides[0]},
        groups=[i.group or i.id for i in items],
        ids=[i.id for i in items],
        data_sha256=inputs.suite_sha256([i.id for i in items]),
        show=lambda row: example(items[row]),
        more={
            "targets": {
                "id": [i.id for _, i, _ in asked],
                "form": [form.name for _, _, form in asked],
                "told": [bool(own) for own in targets],
                "good": good,
            }
        },
    )


def _check_names(names: set[str], forms: dict[str, Form]) -> None:
    strange = sorted(names - set(forms))
    if strange:
        close = nearest(strange[0], list(forms))
        raise UserError(
            f"the suite asks for the form {strange[0]!r}, which --forms does not hold",
            where="--forms",
            expected=", ".join(forms),
            fix=f"did you mean {', '.join(close)}?" if close else "add it",
            code="unknown_form",
        )


def _forms(inputs: Inputs) -> dict[str, Form]:
    reference = inputs.config.forms
    if reference is None:
        return read_forms(None, "")
    opened = inputs.ctx.opened(reference, "forms")
    return read_forms(opened.read(inputs.ctx.limits["losses-bytes"]), opened.name)
