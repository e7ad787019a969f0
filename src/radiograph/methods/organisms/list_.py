"""Which organisms are there? Their truth only when it is asked for.

1. every model folder in FOLDER, or of the set that ships with the package: name, base, adapter, rows, size
2. with `--truth`: family, class intended and gated, what is planted, the gates; and by class, family and variant how
   many were drawn and how many missed their gate
3. with `--families`: what `organisms build --family` can make

Reads files alone, without torch, and writes no bundle. Exit codes: 0 · 3 no such folder, or a truth file that is none.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

from radiograph.core import Config as Base
from radiograph.core import Context, FolderPath, FormatError
from radiograph.evidence import OrganismTruth, Record, Result

BUNDLE = False


class Config(Base):
    """Where to look, and how much to tell."""

    folder: FolderPath | None = None
    """A folder of `organisms build`. [default: the bundled set]"""
    truth: bool = False
    """Say what each one is."""
    families: bool = False
    """List the families instead."""


class OrganismRow(Record):
    """One model, as anybody may see it; `truth` only where it was asked for and is known."""

    id: str
    base: str | None
    """As an adapter names it; a whole model does not."""
    rank: int | None
    """Of an adapter; None for a whole model."""
    targets: tuple[str, ...]
    rows: int
    size: int
    """Bytes of the folder."""
    truth: OrganismTruth | None = None


class FamilyRow(Record):
    """One family."""

    name: str
    intended: str
    summary: str


class FamilyCount(Record):
    """What became of the draws of one family."""

    intended: str
    family: str
    variant: str
    drawn: int
    failed: int
    """Missed their gate."""


class OrganismList(Result):
    """What was found."""

    SCHEMA: ClassVar[str] = "radiograph.organisms_list/1"

    where: str
    organisms: tuple[OrganismRow, ...] = ()
    families: tuple[FamilyRow, ...] = ()
    counts: tuple[FamilyCount, ...] = ()
    """Where the truth was asked for."""

    @property
    def headline(self) -> str:
        """How many."""
        if self.families:
            return f"{len(self.families)} families"
        return f"{len(self.organisms)} organisms in {self.where}"

    @property
    def lines(self) -> tuple[str, ...]:
        """One an organism, or a family."""
        kinds = tuple(f"{f.name} ({f.intended}): {f.summary}" for f in self.families)
        counts = tuple(
            f"{c.intended}: {c.family}{'' if c.variant == 'plain' else f' {c.variant}'}, {c.drawn - c.failed} of "
            f"{c.drawn} draws passed"
            for c in self.counts
        )
        return kinds + tuple(_line(row) for row in self.organisms) + counts


def run(config: Config, ctx: Context) -> OrganismList:
    """Look at the folders."""
    from radiograph import organisms

    if config.families:
        known = organisms.families().values()
        rows = tuple(FamilyRow(name=f.name, intended=f.intended, summary=f.summary) for f in known)
        return OrganismList(where="radiograph", families=rows)
    folder = organisms.bundled_path("organisms") if config.folder is None else ctx.locate(config.folder)
    rows = tuple(_row(path, config.truth) for path in organisms.model_folders(folder))
    where = "bundled" if config.folder is None else ctx.label(config.folder)
    return OrganismList(where=where, organisms=rows, counts=_counts(rows))


def _counts(rows: tuple[OrganismRow, ...]) -> tuple[FamilyCount, ...]:
    drawn: Counter[tuple[str, str, str]] = Counter()
    failed: Counter[tuple[str, str, str]] = Counter()
    for truth in (row.truth for row in rows if row.truth is not None):
        kind = (truth.class_intended, truth.family, truth.variant)
        drawn[kind] += 1
        failed[kind] += not truth.passed
    return tuple(
        FamilyCount(intended=kind[0], family=kind[1], variant=kind[2], drawn=n, failed=failed[kind])
        for kind, n in sorted(drawn.items())
    )


def _row(folder: Path, telling: bool) -> OrganismRow:
    adapter = folder / "adapter_config.json"
    config = _json(adapter) if adapter.is_file() else {}
    rows = folder / "train.jsonl"
    return OrganismRow(
        id=folder.name,
        base=config.get("base_model_name_or_path"),
        rank=config.get("r"),
        targets=tuple(config.get("target_modules") or ()),
        rows=rows.read_bytes().count(b"\n") if rows.is_file() else 0,
        size=sum(path.stat().st_size for path in folder.iterdir()),
        truth=_truth(folder) if telling else None,
    )


def _truth(folder: Path) -> OrganismTruth | None:
    from radiograph import organisms

    path = organisms.truth_path(folder.parent, folder.name)
    return organisms.read_truth(path) if path.is_file() else None


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FormatError(f"{path.name} is not JSON", where=str(path), got=str(error)) from error


def _line(row: OrganismRow) -> str:
    kind = "whole model" if row.rank is None else f"rank {row.rank} on {row.base}"
    text = f"{row.id}: {kind}, {row.rows} rows, {row.size / 1000:.0f} kB"
    if row.truth is None:
        return text
    planted = ", ".join(f"{key} {value}" for key, value in row.truth.truth.items() if not isinstance(value, dict))
    variant = "" if row.truth.variant == "plain" else f" {row.truth.variant}"
    return f"{text}; {row.truth.family}{variant}, {row.truth.class_gated}" + (f": {planted}" if planted else "")
