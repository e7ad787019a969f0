"""Are the candidate's samples as varied as the reference's?

D of a prompt: mean distance between its samples, 1 − Jaccard of their sets of token 3-grams; a sample shorter than that
is one gram. Samples of both models are drawn at temperature 1 under one seed. Prompts of equal tokens are one; prompts
of one group are drawn together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from radiograph.core import Refusal, derive
from radiograph.evidence.reportcard.card import Example
from radiograph.methods._diagnose.beside import SIDES, distance
from radiograph.methods._diagnose.inputs import Found, Inputs, cut, need

if TYPE_CHECKING:
    from radiograph.models import Generated

LEAST, MOST, TOKENS, FLOOR = 20, 64, 24, 0.05


def measure(inputs: Inputs) -> Found:
    """Ratio of the mean diversities, on plain beginnings of neutral texts or on the prompts of the suite.

    Raises:
        Refusal: fewer than 20 prompts, or a reference whose samples are all alike.
    """
    from radiograph.evidence import document_sha256
    from radiograph.models import Sampling, generate

    inputs.pair.check_tokenizers()
    texts, prompts, groups = _prompts(inputs)
    need(len(prompts), LEAST, "different prompts")
    many = [ids for ids in prompts for _ in range(inputs.config.samples)]
    drawn: list[list[list[Generated]]] = []
    with inputs.ctx.progress.task("sampling", total=2) as task:
        for model in (inputs.pair.reference, inputs.pair.candidate):
            sampling = Sampling(derive(inputs.ctx.seed, "mode_collapse") % 2**32)
            flat = generate(model, many, max_new_tokens=TOKENS, sampling=sampling)
            drawn.append([flat[i : i + inputs.config.samples] for i in range(0, len(flat), inputs.config.samples)])
            task.advance()
    sides = [np.array([distance([g.ids for g in own]) for own in side]) for side in drawn]
    if sides[0].mean() <= FLOOR:
        raise Refusal("no_variety", f"the reference's own samples are alike: D = {sides[0].mean():.3f}")
    flat = [
        (str(k), side, g.ids) for side, own in zip(SIDES, drawn, strict=True) for k, of in enumerate(own) for g in of
    ]
    return Found(
        columns={"reference": sides[0], "candidate": sides[1]},
        groups=groups,
        ids=[str(i) for i in range(len(prompts))],
        data_sha256=document_sha256(texts),
        show=lambda k: Example(
            id=str(k),
            prompt=cut(texts[k]),
            reference=cut(" | ".join((g.text or "").strip() for g in drawn[0][k])),
            candidate=cut(" | ".join((g.text or "").strip() for g in drawn[1][k])),
        ),
        more={
            "samples": {
                "prompt": [p for p, _, _ in flat],
                "side": [s for _, s, _ in flat],
                "ids": [list(i) for _, _, i in flat],
            }
        },
    )


def _prompts(inputs: Inputs) -> tuple[list[str], list[tuple[int, ...]], list[str]]:
    """Texts, token ids and groups: beginnings of the suite's neutral bank, else its prompts; each prompt once."""
    from radiograph.models import render_chat, tokenize

    tokenizer = inputs.pair.reference.tokenizer
    prompts = inputs.needed_suite.prompts
    neutral: dict[tuple[int, ...], tuple[str, str]] = {}
    for p in prompts:
        if p.bank == "neutral" and len(neutral) < MOST:
            ids = tokenize(tokenizer, p.messages[-1].content).ids
            neutral.setdefault(ids[: max(2, len(ids) // 3)], (p.messages[-1].content, p.group or p.id))
    found = neutral
    if len(neutral) < LEAST:
        found = {}
        for p in prompts:
            if len(found) < MOST:
                ids = render_chat(tokenizer, [m.model_dump() for m in p.messages], chat=inputs.config.chat).ids
                found.setdefault(ids, (p.messages[-1].content, p.group or p.id))
    return [text for text, _ in found.values()], list(found), [group for _, group in found.values()]
