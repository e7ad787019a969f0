"""What moving a feature does: signs, effects, controls, doses, side effects, grades."""

from radiograph.numerics.effects._controls import (
    ControlFamily,
    beyond,
    check_placebo,
    control_families,
    nearest_bound,
    strong_causal_score,
)
from radiograph.numerics.effects._doses import MONOTONE, DoseResponse, Shape, dose_response
from radiograph.numerics.effects._effect import (
    BOOTSTRAP_GROUPS,
    FEWEST_GROUPS,
    Cells,
    Effects,
    effects,
    group_means,
)
from radiograph.numerics.effects._grades import (
    VALIDATED_GROUPS,
    CausalGrade,
    CausalVerdict,
    Condition,
    causal_verdict,
)
from radiograph.numerics.effects._selection import (
    NONE_ACCEPTABLE,
    Limits,
    Reason,
    Selection,
    SideEffects,
    drift,
    select,
    side_effects,
)
from radiograph.numerics.effects._signs import VERBS, Pushes, directed, pushes

__all__ = [
    "BOOTSTRAP_GROUPS",
    "FEWEST_GROUPS",
    "MONOTONE",
    "NONE_ACCEPTABLE",
    "VALIDATED_GROUPS",
    "VERBS",
    "CausalGrade",
    "CausalVerdict",
    "Cells",
    "Condition",
    "ControlFamily",
    "DoseResponse",
    "Effects",
    "Limits",
    "Pushes",
    "Reason",
    "Selection",
    "Shape",
    "SideEffects",
    "beyond",
    "causal_verdict",
    "check_placebo",
    "control_families",
    "directed",
    "dose_response",
    "drift",
    "effects",
    "group_means",
    "nearest_bound",
    "pushes",
    "select",
    "side_effects",
    "strong_causal_score",
]
