"""Suites that a push should leave alone: answers untouched and under the graded condition, checked one by one.

Only prompts whose checks can be scored from an answer count; greedy answers, as the suite's own budget allows. A row a
feature and prompt says whether either answer passes; the drop of the share that pass has Newcombe's interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from radiograph.evidence.interventions import GuardRow
from radiograph.numerics.proportions import PairedTable, newcombe

if TYPE_CHECKING:
    import polars

    from radiograph.evidence import Prompt, Suite
    from radiograph.models import LanguageModel

TABLE: Final = "guards"
_TEXTS: Final = ("feature_id", "verb", "dose_unit", "suite", "prompt_id")
COLUMNS: Final = (*_TEXTS, "dose", "untouched", "touched")


@dataclass(eq=False)
class Guard:
    """One suite for one model."""

    name: str
    prompts: tuple[Prompt, ...]
    tokens: tuple[tuple[int, ...], ...]
    new: int
    _untouched: list[bool | None] | None = None

    @classmethod
    def of(cls, model: LanguageModel, suite: Suite) -> Guard:
        """The prompts of a suite that expect something.

        Raises:
            UserError: no tokenizer, or too many prompts that the context does not hold.
        """
        from radiograph.detectors.measure import render

        asked = suite.model_copy(update={"prompts": tuple(one for one in suite.prompts if one.expect)})
        plain = getattr(model.tokenizer, "chat_template", None) is None
        banks = render(model, asked, (), chat="plain" if plain else "template")
        return cls(suite.suite_name, asked.prompts, tuple(map(tuple, banks.tokens)), suite.generation.max_new_tokens)

    def answers(self, model: LanguageModel, writes: Any, *, carry: bool) -> list[bool | None]:
        """Whether each answer passes; None: it cannot be scored."""
        from radiograph.detectors.measure import evaluate
        from radiograph.interventions.features import continued
        from radiograph.organisms import oracle

        made = continued(model, self.tokens, writes, new=self.new, carry=carry)
        out: list[bool | None] = []
        for prompt, answer in zip(self.prompts, made, strict=True):
            said = [evaluate(check, (answer.text or "").strip(), prompt.messages, oracle) for check in prompt.expect]
            out.append(None if "not_scored" in said else "fail" not in said)
        return out

    def rows(self, model: LanguageModel, writes: Any, facts: Mapping[str, Any], *, carry: bool) -> list[dict[str, Any]]:
        """A row for each prompt that can be scored; `facts` are the feature and its condition."""
        if self._untouched is None:
            self._untouched = self.answers(model, None, carry=carry)
        touched = self.answers(model, writes, carry=carry)
        return [
            {**facts, "suite": self.name, "prompt_id": prompt.id, "untouched": before, "touched": after}
            for prompt, before, after in zip(self.prompts, self._untouched, touched, strict=True)
            if before is not None and after is not None
        ]


def guard_table(rows: Sequence[Mapping[str, Any]]) -> polars.DataFrame:
    """Rows as a table, in an order that only what they hold decides."""
    import polars as pl

    kinds: dict[str, Any] = dict.fromkeys(_TEXTS, pl.String) | {"dose": pl.Float64}
    kinds |= {"untouched": pl.Boolean, "touched": pl.Boolean}
    table = pl.DataFrame({name: pl.Series(name, [row[name] for row in rows], kinds[name]) for name in COLUMNS})
    return table.sort(*COLUMNS, nulls_last=False)


def guarded(table: polars.DataFrame, feature: str) -> tuple[GuardRow, ...]:
    """What a feature does to each suite, by name."""
    own = table.filter(table["feature_id"] == feature)
    out: list[GuardRow] = []
    for (name,), part in sorted(own.partition_by("suite", as_dict=True).items()):
        pair = PairedTable.of(np.asarray(part["untouched"], bool), np.asarray(part["touched"], bool))
        low, high = newcombe(pair)
        row = GuardRow(
            suite=str(name),
            n=pair.n,
            untouched=(pair.both_right + pair.lost) / pair.n,
            lost=pair.lost,
            gained=pair.gained,
            drop=pair.drop,
            interval=(low, high),
        )
        out.append(row)
    return tuple(out)
