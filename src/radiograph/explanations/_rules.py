"""Learned rules of features, in words, with what they are worth on texts that did not teach them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from radiograph.core.shapes import Float64
from radiograph.evidence.explanations import HeldOut, RuleRecord
from radiograph.explanations.texts._literals import Literal, catalogue, table
from radiograph.explanations.texts._passages import Material
from radiograph.numerics.explanations import Counted, Rules, applied, counted, f1, f1_limits, learn

JOINS: Final = ("", "or", "and", "and not")


@dataclass(frozen=True, eq=False)
class Measured:
    """Rules on some texts."""

    named: Any
    """[feature, token]: where each holds."""
    precision: Float64[np.ndarray, " feature"]
    recall: Float64[np.ndarray, " feature"]
    f1: Float64[np.ndarray, " feature"]
    low: Float64[np.ndarray, " feature"]
    high: Float64[np.ndarray, " feature"]
    fired: NDArray[np.int64]
    n: int
    groups: int

    def held(self, place: int) -> HeldOut:
        """One feature's, as a record."""
        return HeldOut(
            precision=_known(self.precision[place]),
            recall=_known(self.recall[place]),
            f1=_known(self.f1[place]),
            low=_known(self.low[place]),
            high=_known(self.high[place]),
            n=self.n,
            fired=int(self.fired[place]),
            groups=self.groups,
            chance=float(self.fired[place]) / max(1, self.n),
        )


def learned(teach: Material) -> tuple[Rules, tuple[Literal, ...]]:
    """The rule of every feature."""
    literals = catalogue(teach.passages)
    return learn(teach.fires, table(teach.passages, literals)), literals


def measured(rules: Rules, literals: tuple[Literal, ...], on: Material, *, seed: int) -> Measured:
    """What rules are worth on texts."""
    named = applied(rules, table(on.passages, literals))
    return measured_named(named, on, seed=seed)


def measured_named(named: Any, on: Material, *, seed: int) -> Measured:
    """The same where it is known which tokens they name."""
    return measured_counts(counts_of(named, on), len(on.passages.tokens), named, seed=seed)


def counts_of(named: Any, on: Material) -> Counted:
    """Tokens by group: named by the rule and fired, fired, named."""
    group, groups = on.passages.numbered
    fires = on.fires.copy()
    fires.data = np.ones_like(fires.data)
    return counted(fires, named, group[on.passages.text_of], groups)


def measured_counts(found: Counted, n: int, named: Any, *, seed: int) -> Measured:
    """What follows from counts over `n` tokens."""
    hits, fired, said = (part.sum(axis=1) for part in found)
    low, high = f1_limits(found, seed=seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall = hits / said, hits / fired
    groups = found.hits.shape[1]
    return Measured(named, precision, recall, f1(hits, fired, said), low, high, fired.astype(np.int64), n, groups)


def recorded(rules: Rules, literals: tuple[Literal, ...], place: int, check: HeldOut) -> RuleRecord | None:
    """One feature's rule; None where it has none."""
    chosen = [int(n) for n in rules.literals[place] if n >= 0]
    if not chosen:
        return None
    parts = [literals[n] for n in chosen]
    joins = [JOINS[int(j)] for j in rules.joins[place][: len(chosen)]]
    return RuleRecord(
        text=said(parts, joins),
        joins=tuple(joins),  # type: ignore[arg-type]  # `JOINS` holds these alone
        kinds=tuple(part.kind for part in parts),
        values=tuple(part.value for part in parts),
        check=check,
    )


def said(parts: list[Literal], joins: list[str]) -> str:
    """A rule in words; brackets where the joining word changes."""
    text = str(parts[0])
    for number, (part, join) in enumerate(zip(parts[1:], joins[1:], strict=True), 1):
        if number > 1 and joins[number - 1] != join:
            text = f"({text})"
        text = f"{text} {join} {part}"
    return text


def restored(records: list[RuleRecord | None]) -> tuple[Rules, tuple[Literal, ...]]:
    """Rules as numbers again, and the literals that they use."""
    literals = tuple(
        dict.fromkeys(
            Literal(kind, value)
            for r in records
            if r is not None
            for kind, value in zip(r.kinds, r.values, strict=True)
        )
    )
    number = {literal: place for place, literal in enumerate(literals)}
    most = max((len(r.kinds) for r in records if r is not None), default=1)
    chosen = np.full((len(records), most), -1, np.int64)
    joins = np.zeros((len(records), most), np.int64)
    for row, record in enumerate(records):
        if record is not None:
            for place, (kind, value, join) in enumerate(zip(record.kinds, record.values, record.joins, strict=True)):
                chosen[row, place], joins[row, place] = number[Literal(kind, value)], JOINS.index(join)
    return Rules(chosen, joins), literals


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
