"""What was said of features, by whom, and how well it says where they fire."""

from radiograph.evidence.explanations._explained import (
    Exchange,
    ExplainFeatures,
    FeatureExplanation,
    Gram,
    HeldOut,
    Part,
    Pushed,
    RoundTripRecord,
    RuleRecord,
    ShownContext,
    TokenShare,
    TokenStatistics,
)
from radiograph.evidence.explanations._scored import (
    SCORERS,
    ExplainScore,
    FeatureScore,
    JudgeRecord,
    Limits,
    Proxies,
    ScorerSummary,
)
from radiograph.evidence.explanations._synced import ExplainSync, SyncedFile, SyncedSource

__all__ = [
    "SCORERS",
    "Exchange",
    "ExplainFeatures",
    "ExplainScore",
    "ExplainSync",
    "FeatureExplanation",
    "FeatureScore",
    "Gram",
    "HeldOut",
    "JudgeRecord",
    "Limits",
    "Part",
    "Proxies",
    "Pushed",
    "RoundTripRecord",
    "RuleRecord",
    "ScorerSummary",
    "ShownContext",
    "SyncedFile",
    "SyncedSource",
    "TokenShare",
    "TokenStatistics",
]
