"""One comparison of two models: every part is measured once, when first asked for, and remembered.

A part that cannot be measured is remembered as a refusal with its reason; whoever asks again gets the same refusal.
Nothing is replaced by a zero. Bad input (`UserError`: values that are not finite, no usable template) stops the run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

from radiograph.core import Progress, Refusal, Silent, UserError
from radiograph.detectors._measured import Measured, NeutralText, Part
from radiograph.detectors._panel import panel
from radiograph.detectors.measure._answers import measure_behaviour, measure_neutral
from radiograph.detectors.measure._banks import Banks
from radiograph.detectors.measure._checks import Oracle
from radiograph.detectors.measure._weights import measure_weights
from radiograph.evidence import Behaviour, Coverage, Panel, PromptFeatures, WeightsSummary
from radiograph.models import Pair

if TYPE_CHECKING:
    from radiograph.detectors._shifts import FeatureSettings, FeatureShifts
    from radiograph.dictionaries import Dictionary
    from radiograph.explanations import LabelSource

Found = TypeVar("Found")


@dataclass
class Measurement(Measured):
    """What detectors look at. Properties raise `Refusal` when a part cannot be measured."""

    pair: Pair
    banks: Banks
    seed: int = 0
    oracle: Oracle | None = None
    dictionary: Dictionary | None = None
    feature_settings: FeatureSettings | None = None
    progress: Progress = field(default_factory=Silent)
    _parts: dict[str, Any] = field(default_factory=dict)

    @property
    def weights(self) -> WeightsSummary:
        """Every matrix's change."""
        return self._part("weights", lambda: measure_weights(self.pair))

    @property
    def behaviour(self) -> Behaviour:
        """Both models' answers to the suite."""
        return self._part(
            "behaviour",
            lambda: measure_behaviour(self.pair, self.banks, self._calm(), self.oracle, self.seed, self.progress),
        )

    @property
    def neutral(self) -> NeutralText:
        """Both models on the neutral bank."""
        return self._part("neutral", lambda: measure_neutral(self.pair, self.banks))

    def _calm(self) -> NeutralText | None:
        try:
            return self.neutral
        except Refusal:
            return None

    @property
    def panel(self) -> Panel:
        """The capability panel."""
        calm = self._calm()
        losses = None if calm is None else calm.losses
        return self._part("panel", lambda: panel(self.behaviour, losses, self.seed))

    @property
    def features(self) -> FeatureShifts:
        """Dictionary activations of both models on the same tokens."""
        return self._part("features", self._measure_features)

    def _measure_features(self) -> FeatureShifts:
        from radiograph.detectors.measure._features import measure_features

        if self.dictionary is None or self.feature_settings is None:
            raise Refusal("no_dictionary", "no dictionary was given", fix="pass --dictionary")
        difference = self.pair.shape_difference()
        if difference is not None:
            raise Refusal("other_architecture", f"the models have other shapes: {difference}")
        return measure_features(self.pair, self.banks, self.dictionary, self.feature_settings, self.seed, self.progress)

    def explained(self, labels: LabelSource) -> tuple[tuple[PromptFeatures, ...], Coverage]:
        """The leading features of the prompts that shift most, with what is known of them."""
        from radiograph.detectors.measure._evidence import explain_prompts

        shifts, dictionary = self.features, self.dictionary
        assert dictionary is not None
        return self._part("explanations", lambda: explain_prompts(shifts, dictionary, self.pair, self.banks, labels))

    def tokens(self, part: Part) -> int:
        """Tokens that both models read or wrote for a part."""
        calm, asked = (sum(map(len, ids)) for ids in (self.banks.neutral_tokens, self.banks.tokens))
        match part:
            case "neutral":
                return 4 * calm  # once for the losses, once for the divergence
            case "behaviour":
                items = self.behaviour.items
                written = sum(r.total_tokens for item in items for r in item.responses)
                return written + 2 * sum(item.responses[0].total_tokens for item in items)
            case "panel":
                return self.tokens("behaviour") + self.tokens("neutral")
            case "features":
                return 2 * (asked + calm)
            case "weights":
                return 0

    def _part(self, name: str, measure: Callable[[], Found]) -> Found:
        if name not in self._parts:
            try:
                self._parts[name] = measure()
            except UserError:
                raise
            except Refusal as refusal:
                self._parts[name] = refusal
            except Exception as error:  # noqa: BLE001 - whatever failed, the other parts still speak
                self._parts[name] = Refusal("failed", f"{name} failed: {type(error).__name__}: {error}")
        part = self._parts[name]
        if isinstance(part, Refusal):
            raise part
        return cast("Found", part)
