"""What detectors look at, wherever it comes from: a comparison being made (`measure.Measurement`), or one that a bundle
stores (`_recompute.Stored`). Needs no torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from radiograph.core import Refusal, derive
from radiograph.core.shapes import Float64
from radiograph.evidence import Behaviour, Estimate, Item, Panel, WeightsSummary
from radiograph.evidence.traces import Frames, Lens, RowTriage, TriggerSearch, Witnesses
from radiograph.numerics import Divergence, TextLosses, bootstrap, divergence, weighted_mean

if TYPE_CHECKING:
    from radiograph.detectors._shifts import FeatureShifts


Part = Literal[
    "weights", "behaviour", "neutral", "panel", "features", "lens", "triggers", "frames", "witnesses", "rows"
]


@dataclass(frozen=True)
class NeutralText:
    """Both models on the neutral bank, text by text (texts of two tokens or more)."""

    kl_mean: Float64[np.ndarray, " text"]
    losses: TextLosses


class Measured(ABC):
    """The parts of a comparison. Each property raises `Refusal` when its part was not measured."""

    seed: int

    @property
    @abstractmethod
    def weights(self) -> WeightsSummary:
        """Every matrix's change."""

    @property
    @abstractmethod
    def behaviour(self) -> Behaviour:
        """Both models' answers to the suite."""

    @property
    @abstractmethod
    def neutral(self) -> NeutralText:
        """Both models on the neutral bank."""

    @property
    @abstractmethod
    def panel(self) -> Panel:
        """The capability panel."""

    @property
    @abstractmethod
    def features(self) -> FeatureShifts:
        """Dictionary activations of both models on the same tokens."""

    @property
    def triggers(self) -> TriggerSearch:
        """The search for an insertion that sets the models apart."""
        raise no_search()

    @property
    def frames(self) -> Frames:
        """Every word in the place of what is refused."""
        raise no_search()

    @property
    def witnesses(self) -> Witnesses:
        """Inputs on which the candidate reproducibly differs."""
        raise no_search()

    @property
    def rows(self) -> RowTriage:
        """Training rows by how much the candidate learned them."""
        raise no_rows()

    @property
    def lens(self) -> Lens:
        """Mean activation shifts as tokens and as a push."""
        raise Refusal("no_lens", "activation shifts were not measured")

    def tokens(self, part: Part) -> int:
        """Tokens that the models read or wrote for a part that was measured here."""
        return 0

    def divergence(self, name: Literal["suite_max", "contrast"]) -> Estimate:
        """How far apart the models are on their worst suite prompt, alone or over neutral text, with its interval."""
        found = self._divergence.suite_max if name == "suite_max" else self._divergence.contrast
        return Estimate(
            value=found.value,
            low=found.interval.low if found.interval else None,
            high=found.interval.high if found.interval else None,
            n=found.n,
            unit="ratio" if name == "contrast" else "nats per token",
            method="bootstrap over texts" if found.interval else "",
            null=0.0,
        )

    @cached_property
    def _divergence(self) -> Divergence:
        suite = np.array([item.kl_mean for item in distinct(self.behaviour.items)], dtype=float)
        return divergence(self.neutral.kl_mean, suite, seed=derive(self.seed, "divergence"))


def no_search() -> Refusal:
    """No search was asked for."""
    return Refusal("no_trigger_search", "no trigger search was made")


def no_rows() -> Refusal:
    """No rows were given."""
    return Refusal("no_rows", "no training rows were given", fix="pass --train-data FILE.jsonl")


def distinct(items: Sequence[Item]) -> list[Item]:
    """The first of all items that ask the same tokens in the same bank and task: asking again adds no evidence."""
    found: dict[tuple[str, str | None, str], Item] = {}
    for item in items:
        found.setdefault((item.bank, item.task, item.token_ids_sha256), item)
    return list(found.values())


def mean_kl(values: Float64[np.ndarray, " text"], seed: int) -> Estimate:
    """Mean over texts with its bootstrap interval."""
    interval = (
        bootstrap(weighted_mean(values), len(values), seed=derive(seed, "kl")).interval() if len(values) > 1 else None
    )
    return Estimate(
        value=float(values.mean()),
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        n=len(values),
        unit="nats per token",
        method="bootstrap over texts" if interval else "",
        null=0.0,
    )
