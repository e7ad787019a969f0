"""Words from a language model behind a chat endpoint that reads marked contexts.

1. per feature: its strongest contexts, one of each part of the others by strength, and silent ones that look alike;
   tokens on which it fires are marked, their strengths given from 1 to 10
2. the answer is JSON: {"explanation", "fires_on", "not_on", "rule", "confidence"}; the prompt is a versioned file
3. a question that fails leaves the feature without words, counted; more than a tenth of them, a spent budget or a
   refusing endpoint end the batch, and what was answered stands
Context text is data: it is quoted as JSON, and nothing in it is followed here. Confidence is the model's own claim.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from radiograph.evidence.explanations import FeatureExplanation
from radiograph.explanations._asking import exchange, lines, marked_text, question, strengths
from radiograph.explanations._described import described
from radiograph.explanations._study import MAX_FAILED, Explained, Study
from radiograph.store.chat import Answer, Ask, Failure, json_object

VERSION = "explain-1"
FAILED, NOT_ASKED = "failed", "not asked"
_LONGEST = 2000


def lacks(study: Study) -> str | None:
    """An endpoint."""
    return None if study.chat is not None else "--endpoint URL --chat-model NAME"


def explain(study: Study) -> Explained:
    """Ask once a feature."""
    assert study.chat is not None
    bases = described(study)
    asked = [n for n, base in enumerate(bases) if base.contexts]
    asks = [Ask(_messages(bases[n]), VERSION, _read) for n in asked]
    with study.progress.task("ask", len(asks)) as task:
        batch = study.chat.ask_all(asks, tolerated=MAX_FAILED, progress=task)
    found = [base.model_copy(update={"why": "it never fires on the texts that explain"}) for base in bases]
    for place, ask, reply in zip(asked, asks, batch.replies, strict=True):
        found[place] = bases[place].model_copy(update=_said(ask, reply))
    notes = (f"{batch.failed} of {batch.asked} questions failed",) if batch.failed else ()
    return Explained(
        study.chat.endpoint.model,
        tuple(found),
        failed=sum(isinstance(reply, Failure) for reply in batch.replies),
        exchange=exchange(study.chat, {VERSION}, batch.stopped),
        notes=notes,
    )


def _messages(base: FeatureExplanation) -> tuple[dict[str, str], ...]:
    largest = max(max(context.values) for context in base.contexts)
    firing: list[dict[str, Any]] = []
    near: list[dict[str, Any]] = []
    for context in base.contexts:
        values = np.array(context.values)
        if context.role == "near_miss":
            near.append({"text": marked_text(context.tokens, [False] * len(values))})
            continue
        strong = strengths(values, largest)
        marks = [[token.strip(), s] for token, s in zip(context.tokens, strong, strict=True) if s]
        firing.append({"text": marked_text(context.tokens, [s > 0 for s in strong]), "marks": marks})
    return question(VERSION, contexts=lines(firing), near=lines(near))


def _said(ask: Ask[dict[str, Any]], reply: Answer[dict[str, Any]] | Failure) -> dict[str, Any]:
    digest = hashlib.sha256(ask.messages[0]["content"].encode()).hexdigest()
    if isinstance(reply, Failure):
        return {"why": FAILED if reply.asked else NOT_ASKED, "prompt_sha256": digest}
    return {**reply.value, "prompt_sha256": digest}


def _read(answer: str) -> dict[str, Any]:
    said = json_object(answer)
    text, rule, confidence = said.get("explanation"), said.get("rule"), said.get("confidence")
    if not isinstance(text, str) or not text.strip():
        raise ValueError('"explanation" must be a text')
    if rule is not None and not isinstance(rule, str):
        raise ValueError('"rule" must be a text or null')
    if confidence is not None and not (
        isinstance(confidence, int | float) and not isinstance(confidence, bool) and 0 <= confidence <= 1
    ):
        raise ValueError('"confidence" must be a number from 0 to 1')
    return {
        "text": text.strip()[:_LONGEST],
        "fires_on": _texts(said, "fires_on"),
        "not_on": _texts(said, "not_on"),
        "rule_said": rule.strip()[:_LONGEST] or None if rule is not None else None,
        "confidence": None if confidence is None else float(confidence),
    }


def _texts(said: dict[str, Any], key: str) -> tuple[str, ...]:
    values = said.get(key) or []
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError(f'"{key}" must be a list of texts')
    return tuple(value.strip()[:_LONGEST] for value in values[:20] if value.strip())
