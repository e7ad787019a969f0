"""Who writes labels: a chat endpoint, counts alone, or what somebody else wrote. All commit each label as it comes.

A question is put together when its turn comes; one that fails leaves its component without a label, counted. More than
5 % of the questions failed after the first ten, a spent budget or a refusing endpoint end the run; what was said
stands.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from radiograph.core import Progress
from radiograph.explanations import question
from radiograph.methods.decompose._label.kept import Kept, Store

if TYPE_CHECKING:
    from radiograph.evidence.explanations import FeatureExplanation, HeldOut
    from radiograph.store.chat import ChatClient, ChatError

TOLERATED = 0.05
AFTER = 10
CONFIDENCE = ("low", "medium", "high")
HIGH, MEDIUM = 0.8, 0.5
"""Shares of the way from chance to F1 1 from which a rule is called so."""
_LONGEST = 400
Slots = dict[str, str]
Shown = tuple[tuple[str, float, str], ...]


@dataclass(frozen=True)
class Job:
    """One component in one phase."""

    number: int
    address: str
    slots: Callable[[], tuple[Slots, Shown]]
    """What the prompt shows; read when it is asked for."""
    inputs: str | None = None
    """What the input pass called it, where both passes are done."""
    outputs: str | None = None


@dataclass
class Tally:
    """Over all phases."""

    asked: int = 0
    failed: int = 0
    stopped: ChatError | None = None
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    """Phase, component, why."""


class Writer(Protocol):
    """Writes labels."""

    tally: Tally

    @property
    def author(self) -> str:
        """Whose words they are."""
        ...

    def write(self, phase: str, jobs: Sequence[Job]) -> dict[int, str]:
        """Commit a label for each job that one can be found for; returns them by number."""
        ...


@dataclass(eq=False)
class Asking:
    """A chat endpoint."""

    client: ChatClient
    store: Store
    progress: Progress
    prompts: dict[str, str]
    """Phase to the version of its prompt."""
    tally: Tally = field(default_factory=Tally)

    @property
    def author(self) -> str:
        """The model."""
        return self.client.endpoint.model

    def write(self, phase: str, jobs: Sequence[Job]) -> dict[int, str]:
        """Ask for all of them, side by side."""
        from radiograph.store.chat import Failure

        if self.tally.stopped is not None or not jobs:
            return {}
        asks = [self._ask(phase, job) for job in jobs]
        with self.progress.task(phase, len(asks)) as task:
            batch = self.client.ask_all(asks, tolerated=TOLERATED, after=AFTER, progress=task)
        for job, reply in zip(jobs, batch.replies, strict=True):
            if isinstance(reply, Failure):
                self.tally.failures.append((phase, job.address, reply.error.code))
        self.tally.asked += batch.asked
        self.tally.failed += batch.failed
        self.tally.stopped = batch.stopped or self._too_many()
        return {jobs[place].number: label for place, label in batch.values()}

    def _too_many(self) -> ChatError | None:
        """Over all calls: a weight may have fewer components than it takes to tell."""
        from radiograph.store.chat import ChatError

        asked, failed = self.tally.asked, self.tally.failed
        if asked < AFTER or failed <= TOLERATED * asked:
            return None
        return ChatError("too_many_failed", f"{failed} of {asked} questions failed; the rest is not asked")

    def _ask(self, phase: str, job: Job) -> Any:
        from radiograph.store.chat import Later

        version, made = self.prompts[phase], {}

        def make() -> tuple[dict[str, str], ...]:
            slots, shown = job.slots()
            messages = question(version, **slots)
            made["prompt"], made["shown"] = messages[0]["content"], shown
            return messages

        def read(answer: str) -> str:
            label, confidence, reasoning = read_label(answer)
            prompt = made["prompt"]
            self.store.put(
                Kept(
                    phase,
                    job.number,
                    job.address,
                    label,
                    confidence,
                    reasoning,
                    answer,
                    prompt,
                    hashlib.sha256(prompt.encode()).hexdigest(),
                    made["shown"],
                )
            )
            return label

        return Later(make, version, read)


@dataclass(eq=False)
class Counting:
    """Counts alone: rules learned on recorded tokens, else the tokens themselves."""

    store: Store
    progress: Progress
    described: Callable[[int], FeatureExplanation | None]
    tokens: Callable[[int, str], str | None]
    """What the tokens in (`inputs`) or out (`outputs`) of a component say."""
    tally: Tally = field(default_factory=Tally)
    author: str = "heuristic-1"

    def write(self, phase: str, jobs: Sequence[Job]) -> dict[int, str]:
        """One after the other."""
        found: dict[int, str] = {}
        with self.progress.task(phase, len(jobs)) as task:
            for job in jobs:
                _, shown = job.slots()
                kept = self._label(phase, job, shown)
                self.store.put(kept)
                found[job.number] = kept.label or ""
                self.tally.asked += 1
                task.advance()
        return found

    def _label(self, phase: str, job: Job, shown: Shown) -> Kept:
        label, confidence, why, held = None, "low", "", None
        if phase == "unify":
            parts = [text for text in (job.inputs, job.outputs) if text and text != "unclear"]
            label, why = " → ".join(dict.fromkeys(parts)) or "unclear", "both passes"
        elif phase == "output":
            label, why = self.tokens(job.number, "outputs"), "tokens expected next"
            if known := [(name, called) for name, _, called in shown if called != "unclear"]:
                label = f"{label or 'acts'}; most on {known[0][0]} ({known[0][1]})"
        else:
            told = self.described(job.number)
            held = None if told is None or told.rule is None else told.rule.check
            if told is not None and told.text is not None and (held is None or beats_chance(held)):
                label, why = told.text, "a rule on recorded tokens" if held else "recorded tokens"
                confidence = confidence_of(held)
            else:
                label, why = self.tokens(job.number, "inputs"), "tokens on which it fires"
            if phase == "dual" and (out := self.tokens(job.number, "outputs")):
                label = f"{out} ← {label}" if label else out
        text = label or "unclear"
        prompt = f"{phase}: {why}"
        return Kept(
            phase,
            job.number,
            job.address,
            text,
            confidence,
            why,
            "",
            prompt,
            hashlib.sha256(prompt.encode()).hexdigest(),
            shown,
            None if held is None else held.f1,
            None if held is None else held.chance,
            None if held is None else held.n,
        )


@dataclass(eq=False)
class Known:
    """What somebody else wrote, by number of the component."""

    store: Store
    texts: dict[int, str]
    author: str
    tally: Tally = field(default_factory=Tally)

    def write(self, phase: str, jobs: Sequence[Job]) -> dict[int, str]:
        """Look up."""
        found: dict[int, str] = {}
        for job in jobs:
            if (text := self.texts.get(job.number)) is not None:
                self.store.put(Kept(phase, job.number, job.address, text, None, self.author, "", "", ""))
                found[job.number] = text
            else:
                self.tally.failures.append((phase, job.address, "not_known"))
            self.tally.asked += 1
        return found


def confidence_of(held: HeldOut | None) -> str:
    """By the share of the way from chance to 1: where a component fires nearly everywhere, a high F1 says little."""
    if held is None or held.f1 is None or held.chance >= 1:
        return "low"
    gained = (held.f1 - held.chance) / (1 - held.chance)
    return "high" if gained >= HIGH else "medium" if gained >= MEDIUM else "low"


def beats_chance(held: HeldOut) -> bool:
    """Whether a rule says more than that a component fires often: F1 above that of naming tokens at the rate."""
    low = held.f1 if held.low is None else held.low
    return low is not None and low > held.chance


def read_label(answer: str) -> tuple[str, str, str]:
    """Label, confidence, reasoning.

    Raises:
        ValueError: not such an answer, in words that a model can act on.
    """
    from radiograph.store.chat import json_object

    said = json_object(answer)
    label, confidence, reasoning = said.get("label"), said.get("confidence"), said.get("reasoning")
    if not isinstance(label, str) or not label.strip():
        raise ValueError('"label" must be a text')
    if confidence not in CONFIDENCE:
        raise ValueError('"confidence" must be "low", "medium" or "high"')
    if not isinstance(reasoning, str):
        raise ValueError('"reasoning" must be a text')
    return label.strip()[:_LONGEST], confidence, reasoning.strip()[:_LONGEST]
