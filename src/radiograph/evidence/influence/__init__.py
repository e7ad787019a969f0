"""Which training rows an output comes from: `radiograph.blame/1`, and what it would cost, `radiograph.blame_plan/1`;
which rows lie along a probe before training: `radiograph.blame_screen/1`.
"""

from radiograph.evidence.influence._blame import (
    UNCHECKED,
    BehaviourRecord,
    Blame,
    BlamedRow,
    BlamePlan,
    BlameValidation,
    GroupRecord,
    Learnt,
    PointRecord,
    ProjectionRecord,
    TargetKind,
)
from radiograph.evidence.influence._screen import (
    STRONG,
    UNTRAINED,
    BlameScreen,
    ScreenedRow,
    ScreenNull,
    ScreenProbe,
    UnscreenedRow,
)

__all__ = [
    "STRONG",
    "UNCHECKED",
    "UNTRAINED",
    "BehaviourRecord",
    "Blame",
    "BlamePlan",
    "BlameScreen",
    "BlameValidation",
    "BlamedRow",
    "GroupRecord",
    "Learnt",
    "PointRecord",
    "ProjectionRecord",
    "ScreenNull",
    "ScreenProbe",
    "ScreenedRow",
    "TargetKind",
    "UnscreenedRow",
]
