"""A grid: prompts whose factors are crossed, `radiograph.grid/1`.

A record is one prompt: its core (what it is about), its level of each factor, and which of several texts of that cell
it is. `id` is opaque: factors are read from `factors`, never from a name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from radiograph.evidence._record import Document, Record, document_sha256
from radiograph.evidence.resonance._filters import Filter

Level = str | int | float
RESERVED = ("id", "core", "variant", "text", "prompt", "proposition", "line", "split")
"""Names that no factor may have."""


class GridFactor(Record):
    """How a factor's levels are ordered, and which words make them."""

    kind: Literal["nominal", "ordinal"] = "nominal"
    markers: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Level to the words that are meant to tell it: no leak."""


class GridCore(Record):
    """What some prompts are about."""

    id: str
    label: str
    """The name as it was written."""
    proposition: str | None = None
    """The plain statement."""


class GridNote(Record):
    """A line of a text file that was read and not used, and why."""

    line: int
    text: str


class GridRecord(Record):
    """One prompt."""

    id: str
    core: str
    variant: Annotated[int, Field(ge=1)] = 1
    text: str
    proposition: str | None = None
    line: int | None = None
    """Of the file; None where the prompt was made."""
    split: str | None = None
    factors: dict[str, Level]

    @property
    def cell(self) -> tuple[str, tuple[tuple[str, Level], ...]]:
        """What its variants share."""
        return self.core, tuple(self.factors.items())


class Grid(Document):
    """Prompts in order."""

    SCHEMA: ClassVar[str] = "radiograph.grid/1"

    name: str
    factors: dict[str, GridFactor]
    cores: tuple[GridCore, ...]
    records: Annotated[tuple[GridRecord, ...], Field(min_length=1)]
    notes: tuple[GridNote, ...] = ()

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        known = {core.id for core in self.cores}
        for record in self.records:
            if record.core not in known or not set(record.factors) <= set(self.factors):
                raise ValueError(f"prompt {record.id} has a core or factor that the grid does not list")
        if len({record.id for record in self.records}) != len(self.records):
            raise ValueError("ids stand twice")
        return self

    @classmethod
    def cross(
        cls,
        name: str,
        *,
        factors: Mapping[str, Any],
        cores: Mapping[str, Any],
        frames: Mapping[str, Any],
        design: Mapping[str, Any] | None = None,
    ) -> Self:
        """Every core in every frame, or a balanced part of them; the arguments are those of the YAML file.

        Raises:
            UserError: every mistake, by its key.
        """
        from radiograph.evidence.resonance._cross import crossed

        return crossed(cls, name, factors, cores, frames, design)

    def columns(self) -> dict[str, list[Any]]:
        """`core`, `variant`, `split` and each factor as a list over records; None where a record lacks it."""
        out: dict[str, list[Any]] = {
            "core": [record.core for record in self.records],
            "variant": [record.variant for record in self.records],
        }
        if any(record.split is not None for record in self.records):
            out["split"] = [record.split for record in self.records]
        return out | {name: [record.factors.get(name) for record in self.records] for name in self.factors}

    def where(self, chosen: Filter | str) -> Self:
        """The records that a filter keeps.

        Raises:
            UserError: an unknown factor or value, or no record left.
        """
        from radiograph.core import UserError

        rows = Filter.parse(chosen) if isinstance(chosen, str) else chosen
        records = [r for r, kept in zip(self.records, rows.mask(self.columns()), strict=True) if kept]
        if not records:
            raise UserError(f"no prompt of {self.name} has {rows}", fix="loosen the filter", code="no_prompts")
        return self._of(records)

    @property
    def texts(self) -> list[str]:
        """The prompts in order."""
        return [record.text for record in self.records]

    @property
    def markers(self) -> frozenset[str]:
        """Every word that is meant to tell a level."""
        return frozenset(w for f in self.factors.values() for words in f.markers.values() for w in words)

    @property
    def sha256(self) -> str:
        """Hash of what is asked: the same for every spelling of the same records."""
        parts = [record.model_dump(mode="json", exclude={"line"}) for record in self.records]
        return document_sha256(parts)

    def _of(self, records: Iterable[GridRecord]) -> Self:
        kept = tuple(records)
        used = {record.core for record in kept}
        return self.model_copy(update={"records": kept, "cores": tuple(c for c in self.cores if c.id in used)})


def record_id(core: str, factors: Mapping[str, Level], variant: int) -> str:
    """`core/type/level#variant`."""
    return "/".join([core, *map(str, factors.values())]) + f"#{variant}"
