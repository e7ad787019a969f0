"""Prompts with ids, factors, groups and checks: `radiograph.suite/1`, after templates are expanded."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from radiograph.evidence._record import Document, Record

Bank = Literal["probe", "capability", "policy", "neutral"]
Role = Literal["system", "user", "assistant"]
CheckKind = Literal[
    "equals",
    "one_of",
    "contains_any",
    "contains_all",
    "not_contains",
    "regex",
    "number",
    "json",
    "refusal",
    "max_words",
    "choice",
    "oracle",
]
CheckResult = Literal["pass", "fail", "not_scored"]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,80}$")]


class Check(Record):
    """What an answer must satisfy. Case is folded unless `case`."""

    kind: CheckKind
    value: Any = None
    """The text(s), number, bool or word count that the kind compares with; `world` for an oracle."""
    tolerance: Annotated[float, Field(ge=0)] = 0.0
    """`number`: largest distance from the value, both ends included."""
    case: bool = False
    options: tuple[str, ...] = ()
    """`choice`: the answers among which the log-probability decides."""
    answer: str | None = None
    """`choice`: the right option."""
    accepts: tuple[str, ...] = ()
    """`regex`: samples that it must match."""
    rejects: tuple[str, ...] = ()
    """`regex`: samples that it must not match."""


class Message(Record):
    """One turn."""

    role: Role
    content: str


class Prompt(Record):
    """One prompt, its turns spelled out (`prompt` and `system_prompt` become messages)."""

    id: Identifier
    messages: tuple[Message, ...]
    bank: Bank = "probe"
    task: str | None = None
    group: str | None = None
    format: str | None = None
    factors: dict[str, str | int | float] = Field(default_factory=dict)
    expect: tuple[Check, ...] = ()
    prefill: bool = False


class Generation(Record):
    """How answers are drawn."""

    max_new_tokens: Annotated[int, Field(ge=1, le=4096)] = 64
    do_sample: bool = False
    temperature: Annotated[float, Field(gt=0)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    """One answer a seed and prompt where `do_sample`; else there is one."""


class Suite(Document):
    """A validated suite."""

    SCHEMA: ClassVar[str] = "radiograph.suite/1"

    suite_name: str
    prompts: tuple[Prompt, ...]
    generation: Generation = Generation()
    factors: dict[str, Literal["nominal", "ordinal"]] = Field(default_factory=dict)

    def bank(self, *banks: Bank) -> tuple[Prompt, ...]:
        """The prompts of some banks, in order."""
        return tuple(p for p in self.prompts if p.bank in banks)
