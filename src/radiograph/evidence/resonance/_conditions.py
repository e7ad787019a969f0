"""What is written into a forward pass, how hard and where, and how text is decoded: the words of an intervention.

A write is `SITE["["unit | i:j | h3"]"]["~"DIRECTION]:op[:dose][@positions]`; `str()` gives that text back in one
canonical form. A condition is an ordered list of writes; the empty one is `none`. A recipe is everything that decides
one text. Parsing and doses in raw numbers need a model: see `interventions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from radiograph.core import UserError
from radiograph.evidence._record import Document, Record, document_sha256

Op = Literal["set", "add", "scale", "ablate", "ablate-mean", "project-out", "cap"]
DoseUnit = Literal["raw", "sd", "quantile", "norm", "follow"]
PositionKind = Literal["all", "prompt", "generated", "from", "last"]
Bos = Literal["auto", "always", "never"]
Pool = Literal["generated", "predicting", "prompt", "last-prompt", "max", "tokens"]
Follow = Literal["own", "reference"]
Sha256 = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]


class Dose(Record):
    """How hard a write pushes: a number and what it counts in."""

    value: float
    """Of `cap`: the upper bound."""
    unit: DoseUnit = "raw"
    low: float | None = None
    """Of `cap`: the lower bound, in the same unit."""
    source: str | None = None
    """Of `follow`: the unit that is read live, `SITE[n]`; the push is `value` minus what it holds, times ‖w_n‖."""

    def __str__(self) -> str:
        if self.unit == "follow":
            return f"follow:{self.source}->{_number(self.value)}"
        high = self._text(self.value)
        return high if self.low is None else f"{self._text(self.low)}..{high}"

    def _text(self, value: float) -> str:
        number = _number(value)
        match self.unit:
            case "sd":
                return f"{number}sd"
            case "quantile":
                return f"q{number}"
            case "norm":
                return f"{number}norm"
            case _:
                return number


class Positions(Record):
    """Which tokens are written: `all prompt generated from=k last`."""

    kind: PositionKind = "all"
    k: int | None = Field(default=None, ge=0)
    """Of `from`: the first step whose input is written; 0 is the last token of the prompt."""

    @model_validator(mode="after")
    def _only_from_counts(self) -> Self:
        if (self.kind == "from") != (self.k is not None):
            raise ValueError("k belongs to `from`, and to it alone")
        return self

    def __str__(self) -> str:
        return self.kind if self.k is None else f"from={self.k}"


class Write(Record):
    """One intervention. `str()` is its text; equal texts are equal writes."""

    site: str
    """An address; a range such as `mlp_hidden.*` stands for one write at each of its sites."""
    unit: int | None = Field(default=None, ge=0)
    units: tuple[int, int] | None = None
    """First unit, and one past the last: each of them is written alike."""
    direction: str | None = None
    """Name of a direction or subspace of the site (of those units of it)."""
    op: Op
    dose: Dose | None = None
    positions: Positions = Positions()

    @property
    def target(self) -> str:
        """The address that is written."""
        part = "" if self.unit is None else f"[{self.unit}]"
        part = part if self.units is None else f"[{self.units[0]}:{self.units[1]}]"
        return f"{self.site}{part}" + ("" if self.direction is None else f"~{self.direction}")

    def __str__(self) -> str:
        dose = "" if self.dose is None else f":{self.dose}"
        return f"{self.target}:{self.op}{dose}@{self.positions}"


class Condition(Record):
    """Ordered writes that act together. The empty one is `none`: the baseline."""

    writes: tuple[Write, ...] = ()

    @property
    def name(self) -> str:
        """The writes in order, or `none`."""
        return "; ".join(map(str, self.writes)) or "none"

    def __str__(self) -> str:
        return self.name


class Decoding(Record):
    """How the next token is chosen, and when a text ends."""

    mode: Literal["greedy", "sample"] = "greedy"
    temperature: float = Field(default=1.0, gt=0)
    top_k: int = Field(default=0, ge=0)
    """Keep the k most likely tokens; 0 keeps all."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Keep the smallest set of tokens with that probability."""
    repetition_penalty: float = Field(default=1.0, gt=0)
    """Divides positive logits of tokens already there, multiplies negative ones (Keskar et al. 2019); 1 is none."""
    no_repeat_ngram: int = Field(default=0, ge=0)
    """No n-gram of this length twice, the prompt counted; 0 is none."""
    stop: tuple[str, ...] = ()
    """Texts that end a row; they are left out of its text."""
    new_tokens: int = Field(default=50, ge=0)
    seed: int = Field(default=0, ge=0, lt=2**63)

    @classmethod
    def asked(cls, options: Mapping[str, Any], *, seed: int) -> Self:
        """From options of a verb: those here, and `samples`.

        Raises:
            UserError: greedy decoding with what only sampling has.
        """
        found = cls(**{name: options[name] for name in cls.model_fields if name != "seed"}, seed=seed)
        if found.mode == "greedy" and (
            options["samples"] > 1 or found.top_k or found.top_p < 1 or found.temperature != 1
        ):
            raise UserError(
                "greedy decoding has one text a prompt and no temperature", fix="say --mode sample", code="bad_value"
            )
        return found


class Card(Record):
    """One write of a recipe's rack."""

    id: str
    site: str
    unit: int | None = Field(default=None, ge=0)
    units: tuple[int, int] | None = None
    direction: str | None = None
    op: Op
    dose: Dose | None = None
    positions: str = "all"
    on: bool = True


class Recipe(Document):
    """Everything that decides one text: one recipe and one seed give one text, everywhere."""

    SCHEMA: ClassVar[str] = "radiograph.recipe/1"

    model: str
    prompt: str
    chat: bool = False
    bos: Bos = "auto"
    statistics: Sha256 | None = None
    """Site statistics that doses in sd, quantiles and norms refer to."""
    decoding: Decoding = Decoding()
    rack: tuple[Card, ...] = Field(default=(), max_length=64)

    @property
    def sha256(self) -> str:
        """SHA-256 of the canonical JSON: the name under which a recipe is kept and shared."""
        return document_sha256(self)


def _number(value: float) -> str:
    """The shortest text that reads back as the same number, without a plus and without `.0`."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
