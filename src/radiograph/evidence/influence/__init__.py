"""Which training rows an output comes from: `radiograph.blame/1`, and what it would cost, `radiograph.blame_plan/1`."""

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

__all__ = [
    "UNCHECKED",
    "BehaviourRecord",
    "Blame",
    "BlamePlan",
    "BlameValidation",
    "BlamedRow",
    "GroupRecord",
    "Learnt",
    "PointRecord",
    "ProjectionRecord",
    "TargetKind",
]
