"""One comparison of two models: every part is measured once, when first asked for, and remembered.

A part that cannot be measured is remembered as a refusal with its reason; whoever asks again gets the same refusal.
Nothing is replaced by a zero. Bad input (`UserError`: values that are not finite, no usable template) stops the run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

from radiograph.core import Progress, Refusal, Silent, UserError
from radiograph.detectors._measured import Measured, NeutralText, Part, no_rows, no_search
from radiograph.detectors._panel import panel
from radiograph.detectors.measure._answers import measure_behaviour, measure_neutral
from radiograph.detectors.measure._banks import Banks
from radiograph.detectors.measure._checks import Oracle
from radiograph.detectors.measure._weights import measure_weights
from radiograph.detectors.measure.search import FrameFindings, Fresh, Settings, measure_frames, search
from radiograph.detectors.measure.traces import (
    Finder,
    RowFindings,
    Shifts,
    WitnessFindings,
    find_witnesses,
    measure_lens,
    measure_rows,
    measure_shifts,
)
from radiograph.evidence import Behaviour, Coverage, Panel, PromptFeatures, WeightsSummary
from radiograph.evidence.traces import Frames, Lens, RowTriage, TriggerSearch, Witnesses
from radiograph.models import Pair

if TYPE_CHECKING:
    from radiograph.detectors._rows import TrainingRows
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
    search: Settings | None = None
    """How much to search for insertions; None: not at all."""
    train_rows: TrainingRows | None = None
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
    def explained_panel(self) -> Panel:
        """The same, and again without the losses that a witness explains, where witnesses were looked for."""
        plain = self.panel
        try:
            found = self.witness_findings
        except Refusal:
            return plain
        calm = self._calm()
        pairs = list(zip(found.record.found, found.items, strict=True))
        return panel(self.behaviour, None if calm is None else calm.losses, self.seed, pairs)

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

    @property
    def shifts(self) -> Shifts:
        """Mean activation shifts on neutral text."""
        texts = [ids for ids in self.banks.neutral_tokens if len(ids) > 1]
        return self._part("shifts", lambda: measure_shifts(self.pair, texts))

    @property
    def lens(self) -> Lens:
        """Mean activation shifts as tokens and as a push."""
        shifts = self.shifts
        return self._part("lens", lambda: measure_lens(self.pair, self.banks, shifts, self.seed))

    @property
    def triggers(self) -> TriggerSearch:
        """The search for an insertion that sets the models apart."""
        return self._searched()[0]

    def _searched(self) -> tuple[TriggerSearch, Fresh]:
        settings = self.search
        if settings is None:
            raise no_search()
        return self._part("triggers", lambda: search(self.pair, self.banks, settings, self.seed, self.progress))

    @property
    def frames(self) -> Frames:
        """Every word in the place of what is refused."""
        return self.frame_findings.record

    @property
    def frame_findings(self) -> FrameFindings:
        """The same with every cell."""
        if self.search is None:
            raise no_search()
        return self._part("frames", lambda: measure_frames(self.pair, self.banks, self.behaviour, self.progress))

    @property
    def witnesses(self) -> Witnesses:
        """Inputs on which the candidate reproducibly differs, judged without benign models."""
        return self.witness_findings.record

    @property
    def witness_findings(self) -> WitnessFindings:
        """The same with every item, and with the searches for lost tasks."""
        return self._part("witnesses", self._find_witnesses)

    def _find_witnesses(self) -> WitnessFindings:
        if self.search is None:
            raise no_search()
        finder = Finder(self.pair, self.banks, self.search, self.seed, self.oracle, self.progress)
        return find_witnesses(
            finder,
            _or_refusal(self._searched),
            _or_refusal(lambda: self.behaviour),
            _or_refusal(lambda: self.frame_findings),
        )

    @property
    def rows(self) -> RowTriage:
        """Training rows by how much the candidate learned them."""
        return self.row_findings.record

    @property
    def row_findings(self) -> RowFindings:
        """The same with every row."""
        rows = self.train_rows
        if rows is None:
            raise no_rows()
        return self._part("rows", lambda: measure_rows(self.pair, rows, self.banks.chat))

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
            case "lens":
                return 2 * calm
            case "triggers":
                return self.triggers.tokens + self.triggers.fresh_tokens
            case "frames":
                return self.frames.tokens
            case "witnesses":
                return self.witnesses.tokens
            case "rows":
                return 2 * self.rows.tokens

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


def _or_refusal(measure: Callable[[], Found]) -> Found | Refusal:
    try:
        return measure()
    except UserError:
        raise
    except Refusal as refusal:
        return refusal
