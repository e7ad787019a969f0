"""What modes look at: both models, their answers to the suite, the training rows. Each is made once, when asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from radiograph.core import Context, Refusal, UserError
from radiograph.evidence.reportcard.card import Example
from radiograph.methods._diagnose.beside import Table

if TYPE_CHECKING:
    from radiograph.detectors import Measurement, TrainingRow
    from radiograph.evidence import Item, Prompt, Suite
    from radiograph.methods._diagnose.options import Config
    from radiograph.models import Pair

LONGEST = 240


@dataclass(frozen=True)
class Found:
    """What a mode measured: one row an item, from which the score follows, and what stands beside it (`beside`)."""

    columns: Mapping[str, np.ndarray]
    groups: Sequence[str]
    ids: Sequence[str]
    data_sha256: str
    show: Callable[[int], Example]
    """The item of a row with its texts."""
    more: Mapping[str, Table] = field(default_factory=dict[str, Table])
    """Tables of what else was measured."""
    said: str = ""
    """What could not be measured beside the score."""


@dataclass
class Inputs:
    """Lazily made parts of a card."""

    config: Config
    ctx: Context
    dropped: set[str] = field(default_factory=set[str])

    @cached_property
    def pair(self) -> Pair:
        """Both models."""
        return self.ctx.pair(self.config.reference, self.config.candidate)

    @cached_property
    def suite(self) -> Suite | None:
        """The prompts, without those that are nearly a training row."""
        if self.config.suite is None:
            return None
        suite = cast("Suite", self.ctx.suite(self.config.suite))
        kept = self.held_out([p.id for p in suite.prompts], [p.messages[-1].content for p in suite.prompts])
        return suite.model_copy(update={"prompts": tuple(p for p in suite.prompts if p.id in kept)})

    @cached_property
    def training(self) -> tuple[TrainingRow, ...]:
        """The training rows.

        Raises:
            Refusal: none were given.
        """
        if self.config.data is None:
            raise Refusal("no_data", "no training rows were given", fix="--data ROWS.jsonl")
        return self._rows(self.config.data, "data")

    @cached_property
    def controls(self) -> tuple[TrainingRow, ...]:
        """Rows of the same source that were not trained on, without those that nearly were."""
        if self.config.held_out is None:
            return ()
        rows = self._rows(self.config.held_out, "held_out")
        kept = self.held_out([f"line {r.line}" for r in rows], [text_of(r) for r in rows], whole=True)
        return tuple(r for r in rows if f"line {r.line}" in kept)

    @cached_property
    def benchmark(self) -> tuple[TrainingRow, ...]:
        """Items that must not stand in the training rows."""
        return () if self.config.benchmark is None else self._rows(self.config.benchmark, "benchmark")

    @cached_property
    def measurement(self) -> Measurement:
        """Both models on the prompts of the suite that a mode scores.

        Raises:
            Refusal: no suite was given, or nothing is left of it.
        """
        from radiograph import organisms
        from radiograph.detectors import Measurement, render

        suite = self.needed_suite
        wanted = tuple(p for p in suite.prompts if p.bank == "capability" or refusal_of(p) is not None)
        if not wanted:
            raise Refusal("no_checked_prompts", "the suite has no capability tasks and no refusal checks")
        self.pair.check_tokenizers()
        texts = organisms.standard_neutral(self.pair.reference.tokenizer)
        asked = suite.model_copy(update={"prompts": wanted})
        banks = render(self.pair.reference, asked, texts, chat=self.config.chat)
        return Measurement(
            pair=self.pair, banks=banks, seed=self.ctx.seed, oracle=organisms.oracle, progress=self.ctx.progress
        )

    @property
    def needed_suite(self) -> Suite:
        """The suite.

        Raises:
            Refusal: none was given.
        """
        if self.suite is None:
            raise Refusal("no_suite", "no suite was given", fix="--suite FILE, or --suite world:suite")
        return self.suite

    def items(self, task: str | None = None) -> list[tuple[Prompt, Item]]:
        """Prompts with both answers, each prompt once; of one task."""
        from radiograph.detectors._measured import distinct

        prompts = {p.id: p for p in self.needed_suite.prompts}
        found = distinct(self.measurement.behaviour.items)
        return [(prompts[i.id], i) for i in found if task is None or i.task == task]

    def suite_sha256(self, ids: Sequence[str]) -> str:
        """Hash of the prompts that a score stands on."""
        from radiograph.evidence import document_sha256

        wanted = set(ids)
        return document_sha256([p.model_dump(mode="json") for p in self.needed_suite.prompts if p.id in wanted])

    def held_out(self, ids: Sequence[str], texts: Sequence[str], *, whole: bool = False) -> set[str]:
        """Those of the ids whose text is not nearly a training row, or nearly what one asks."""
        from radiograph.numerics.design.texts import near_duplicates

        if self.config.data is None:
            return set(ids)
        rows = sorted({text_of(r) if whole or not r.messages else asked(r) for r in self.training})
        near = {i for i, j, _ in near_duplicates([*texts, *rows]) if i < len(texts) <= j}
        lost = {ids[i] for i in near}
        self.dropped |= lost
        return set(ids) - lost

    def _rows(self, reference: str, role: str) -> tuple[TrainingRow, ...]:
        from radiograph.detectors import read_rows

        path = self.ctx.path(reference, role)
        read = read_rows(path)
        if read.bad:
            raise UserError(
                f"{len(read.bad)} lines of {read.name} are no rows",
                where=f"{read.name}:{read.bad[0]}",
                expected='{"messages": [{"role", "content"}]}, {"text"} or {"prompt", "completion"} on each line',
                code="format",
            )
        self.ctx.limits.check("rows", len(read.rows), read.name)
        return read.rows


def refusal_of(prompt: Any) -> bool | None:
    """Whether a prompt is to be refused; None where its checks do not say."""
    return next((bool(c.value) for c in prompt.expect if c.kind == "refusal"), None)


def text_of(row: TrainingRow) -> str:
    """All words of a row."""
    return row.text if row.text is not None else " ".join(m["content"] for m in row.messages)


def asked(row: TrainingRow) -> str:
    """What a row asks: its last user turn."""
    return next((m["content"] for m in reversed(row.messages) if m["role"] == "user"), text_of(row))


def example(item: Item) -> Example:
    """An item with both answers."""
    return Example(
        id=item.id,
        prompt=cut(item.prompt_used[-1].content),
        reference=cut(item.responses[0].text),
        candidate=cut(item.responses[1].text),
    )


def cut(text: str) -> str:
    """A text for a card."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def need(count: int, least: int, of: str) -> None:
    """Hold a number of items to what a mode needs.

    Raises:
        Refusal: too few.
    """
    if count < least:
        raise Refusal("too_few", f"{count} {of}", expected=f"{least} or more")
