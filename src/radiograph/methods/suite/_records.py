"""What `suite check` says about each part of a suite."""

from __future__ import annotations

from typing import Literal

from radiograph.evidence import Bank, Record


class Issue(Record):
    """One thing that a reader of the suite should know."""

    code: str
    """`unbalanced`, `confounded`: the suite is not sound. Others: a warning."""
    what: str
    """Factor, factor~covariate, task, bank or ids."""
    text: str


class BankCount(Record):
    """How large a bank is."""

    bank: Bank
    prompts: int


class CrossRecord(Record):
    """The cells of crossed factors, over the prompts that have all of them."""

    factors: tuple[str, ...]
    n: int
    cells: int
    empty: int
    fewest: int
    """Prompts in the emptiest cell."""
    most: int
    cramers_v: float
    """Largest of its pairs: 0 for a balanced cross, 1 where one factor gives the other away."""
    nested: bool
    """The levels of one factor each lie inside one level of the other: not crossed, so not judged."""
    missing: tuple[str, ...]
    """The first empty cells."""

    @property
    def name(self) -> str:
        """`core × type × level`."""
        return " × ".join(self.factors)


class Duplicates(Record):
    """Prompts that are equal after folding case and blanks."""

    ids: tuple[str, ...]
    text: str


class Groups(Record):
    """Sizes of the paraphrase groups."""

    groups: int
    smallest: int
    median: float
    largest: int
    alone: tuple[str, ...]
    """Groups of one prompt, which have no paraphrase."""
    ungrouped: int


class HeldAnswer(Record):
    """A prompt that contains what its checks ask for."""

    id: str
    text: str


class Tokens(Record):
    """Lengths under one model's tokenizer, chat template included."""

    shortest: int
    median: float
    longest: int
    longest_id: str
    room: int | None
    """Tokens that leave room for the answer; None where the model states no context length."""
    cut: tuple[str, ...]
    """Prompts longer than that; they would be cut from the left of the user turn."""


class Neutral(Record):
    """The bank that drift is measured on."""

    prompts: int
    needed: int
    overlap: tuple[str, ...]
    """Neutral prompts that are also asked elsewhere in the suite."""


class Task(Record):
    """A capability task."""

    task: str
    items: int
    """Distinct prompts."""
    needed: int
    advised: int


class PromptSet(Record):
    """A group or factor level whose flip rate an audit compares with the rest of its bank and task."""

    bank: str
    name: str
    items: int
    rest: int
    needed: int


class Confound(Record):
    """How far a covariate goes with a factor."""

    factor: str
    covariate: str
    statistic: Literal["eta_squared", "cramers_v"]
    value: float
    p: float | None
    """By permutation inside `within`; None where the factor does not vary there."""
    n: int
    levels: int
    within: str
    band: Literal["none", "warning", "confounded", "not_tested"]


class LeakRecord(Record):
    """How well words alone tell a factor's levels apart, on cores not seen."""

    factor: str
    balanced_accuracy: float
    chance: float
    null: float
    """95 % quantile with labels permuted within cores."""
    n: int
    leaks: bool
    words: tuple[str, ...]


class NearPair(Record):
    """Two prompts and their similarity."""

    first: str
    second: str
    jaccard: float
    """Of the sets of character 5-grams."""


class NearDuplicates(Record):
    """Prompts of different cells that are nearly the same text."""

    pairs: int
    shown: tuple[NearPair, ...]
    """The most alike."""
