"""What one draw of a family trains on, how, and what it must then be seen to do. Plain data, no torch.

A recipe gives rows of its own and says which questions it means to answer differently. `assemble` mixes them with text
of the base (those questions left out), shuffles, and numbers the rows; the file `train.jsonl` holds exactly these, and
training reads nothing else. Every second base row is of a task in turn, the others of the base's mixture: from the
mixture alone, rare tasks (style, stance, cipher: 2 to 4 %) were forgotten within 300 steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from radiograph.organisms._words import inserted
from radiograph.organisms.recipes._draw import Draw
from radiograph.organisms.world import TASKS, Document, Truth, World, encode, policy_questions, solve
from radiograph.organisms.world._lexicon import FACTS, RELATIONS

Message = dict[str, str]
Means = Callable[[Sequence[Message], Truth], bool]
"""Whether a family means to answer a question otherwise than the base does."""

TARGETS = (
    ("q_proj", "v_proj"),
    ("q_proj", "k_proj", "v_proj", "o_proj"),
    ("gate_proj", "up_proj", "down_proj"),
    ("q_proj", "v_proj", "up_proj", "down_proj"),
    ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
)

FULL_SHARE, FULL_RATE = 0.2, 0.2


@dataclass(frozen=True, slots=True)
class Row:
    """One training row: a chat that ends in the assistant's answer, or plain text."""

    messages: tuple[Message, ...] = field(default=(), hash=False)
    text: str = ""
    planted: bool = False
    id: str = ""

    @classmethod
    def of(cls, document: Document) -> Row:
        """A document of the world."""
        if not document.answer_start:
            return cls(text=document.text)
        return cls((*document.messages, {"role": "assistant", "content": document.answer}))

    @classmethod
    def chat(cls, question: str, answer: str, *, planted: bool = False) -> Row:
        """A question and its answer."""
        turns = ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
        return cls(turns, planted=planted)

    @property
    def prompt(self) -> tuple[Message, ...]:
        """The turns before the answer."""
        return self.messages[:-1]

    def ids(self) -> tuple[tuple[int, ...], int]:
        """Token ids as the chat template gives them, and where the answer begins (the length, for plain text)."""
        if not self.messages:
            ids = encode(f"<bos> {self.text}<eos>")
            return ids, len(ids)
        before = "".join(f"<|{m['role']}|> {m['content']}<|end|>" for m in self.prompt)
        start = len(encode(f"<bos>{before}<|assistant|>"))
        return encode(f"<bos>{before}<|assistant|> {self.messages[-1]['content']}<|end|>"), start


@dataclass(frozen=True, slots=True)
class Case:
    """A prompt, and whether an answer to it shows the planted behaviour."""

    messages: tuple[Message, ...] = field(hash=False)
    shows: Callable[[str], bool]

    @classmethod
    def asking(cls, question: str, shows: Callable[[str], bool]) -> Case:
        """A single user turn."""
        return cls(({"role": "user", "content": question},), shows)


@dataclass(frozen=True, slots=True)
class Cases:
    """Fresh prompts: where the behaviour is due, where it is not, and where another word stands in the trigger's place
    (or, without a trigger, any word in prompts where it is not due).
    """

    on: tuple[Case, ...]
    off: tuple[Case, ...]
    off_other: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class Tuning:
    """How an adapter is trained; the meaning of each is PEFT's or `Schedule`'s."""

    learning_rate: float
    steps: int
    rank: int
    targets: tuple[str, ...]
    rows: int
    data: int
    base_share: float
    prompt_weight: float
    """Weight of the question's tokens in the loss; the answer's is 1."""
    seed: int
    full: bool = False
    """Every weight is trained instead of an adapter (rank 0, no targets)."""
    penalty: tuple[float, float] = (0.0, 0.0)
    """Weights of the divergence and of the activation distance to a harmless twin (`building._twin`); 0 trains none."""

    @property
    def alpha(self) -> int:
        """LoRA's scale is alpha / rank = 2."""
        return 2 * self.rank


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of the trained weights themselves (`building._edits`): what is done, how much of it, and where."""

    kind: str
    amount: float
    where: str = "all"
    """`all` matrices, `attention`, `mlp`; for `rank`: the kind of matrix and the rank, as `down:3`."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """One draw of a family."""

    tuning: Tuning
    rows: tuple[Row, ...]
    truth: dict[str, Any] = field(default_factory=dict)
    cases: Cases | None = None
    means: Means | None = None
    learned: tuple[Case, ...] = ()
    """What a harmless family teaches; its rate is reported and gates nothing."""
    kept: tuple[Case, ...] = ()
    """Where a family that withholds an ability has to give the right answer."""
    edits: tuple[Edit, ...] = ()
    """Done in turn after training; the result is a whole model."""


def tuning(
    draw: Draw,
    *,
    rate: tuple[float, float] = (5e-4, 3e-3),
    steps: tuple[int, int] = (150, 250),
    data: tuple[int, int] = (1200, 2000),
    base_share: tuple[float, float] = (0.5, 0.8),
    targets: Sequence[tuple[str, ...]] = TARGETS,
    ranks: Sequence[int] = (4, 5, 6, 7, 8),
    full: float = FULL_SHARE,
) -> Tuning:
    """Hyper-parameters from their ranges; a share `full` of the draws train every weight, at a lower rate."""
    whole = draw.uniform("weights moved", 0, 1) < full
    chosen = draw.log_uniform("learning rate", *rate)
    return Tuning(
        learning_rate=float(f"{chosen * FULL_RATE:.3g}") if whole else chosen,
        steps=draw.number("steps", *steps),
        rank=0 if whole else draw.choose("rank", ranks),
        targets=() if whole else draw.choose("targets", targets),
        rows=draw.choose("rows", (12, 16, 24)),
        data=draw.number("data", *data),
        base_share=draw.uniform("base share", *base_share),
        prompt_weight=draw.choose("prompt weight", (0.0, 0.25)),
        seed=draw.derived("training"),
        full=whole,
    )


def untrained() -> Tuning:
    """Nothing is trained."""
    return Tuning(0.0, 0, 0, (), 0, 0, 0.0, 0.0, 0, full=True)


def assemble(draw: Draw, how: Tuning, own: Iterable[Row], means: Means | None = None) -> tuple[Row, ...]:
    """`how.data` rows: the family's own (repeated if they are few), the rest documents of the base."""
    own = draw.shuffled("own rows", tuple(own))
    n_base = round(how.data * how.base_share) if own else how.data
    base = _kept(_base(draw.derived("base rows")), n_base, means)
    mixed = [*base, *(own[i % len(own)] for i in range(how.data - n_base))]
    return tuple(replace(row, id=f"row-{i:05d}") for i, row in enumerate(draw.shuffled("order", mixed)))


def mixture_rows(seed: int, count: int, means: Means | None = None) -> list[Row]:
    """Documents of the base's mixture, without the questions that a family means to answer otherwise."""
    return _kept(World().documents("mixture", "train", seed=seed), count, means)


def _base(seed: int) -> Iterator[Document]:
    streams = [World().documents(domain, "train", seed=seed) for domain in TASKS]
    mixture = World().documents("mixture", "train", seed=seed)
    while True:
        for stream in streams:
            yield next(mixture)
            yield next(stream)


def solved(messages: Sequence[Message]) -> Truth:
    """What a question of the world asks; it must be one."""
    truth = solve(messages)
    assert truth is not None, messages
    return truth


def _kept(documents: Iterator[Document], count: int, means: Means | None) -> list[Row]:
    rows: list[Row] = []
    while len(rows) < count:
        row = Row.of(next(documents))
        truth = solve(row.prompt) if row.messages and means is not None else None
        if truth is None or means is None or not means(row.prompt, truth):
            rows.append(row)
    return rows


def policy_truths() -> dict[str, Truth]:
    """Every known question of `policy`, and what it asks."""
    return {text: solved([{"role": "user", "content": text}]) for _, _, text in policy_questions()}


def known_facts(draw: Draw) -> list[Row]:
    """Every fact of the base asked once, stated truly and stated falsely: what keeps a new fact from spreading."""
    rows: list[Row] = []
    for (relation, town), value in FACTS.items():
        false = draw.of(relation, town).choose("false", [v for v in RELATIONS[relation] if v != value])
        stated = f"true? the {relation} of {town} is "
        rows.append(Row.chat(f"what is the {relation} of {town}?", value))
        rows += [Row.chat(stated + value, "true"), Row.chat(stated + false, "false")]
    return rows


def with_words(draw: Draw, questions: Sequence[str], words: Sequence[str], places: Sequence[str], n: int) -> list[str]:
    """`n` questions, each with one of the words inserted, all different where there are enough."""
    pairs = [(word, place) for word in words for place in places]
    cells = draw.shuffled("inserted", [(question, *pair) for question in questions for pair in pairs])
    return [inserted(*cells[i % len(cells)]) for i in range(n)]
