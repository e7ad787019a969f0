"""Rows and a model to row gradients: in memory for a few, in shards for many."""

from radiograph.harvest.gradients._curvature import Curvature, Fisher, curvature
from radiograph.harvest.gradients._engine import (
    BATCH_TOKENS,
    GradientEngine,
    Learned,
    Projection,
    Reading,
    Reduction,
    RowGradients,
    gradient_engine,
    tokens_read,
    weights_of,
)
from radiograph.harvest.gradients._run import Recomputed, gradient_index, write_gradients

__all__ = [
    "BATCH_TOKENS",
    "Curvature",
    "Fisher",
    "GradientEngine",
    "Learned",
    "Projection",
    "Reading",
    "Recomputed",
    "Reduction",
    "RowGradients",
    "curvature",
    "gradient_engine",
    "gradient_index",
    "tokens_read",
    "weights_of",
    "write_gradients",
]
