"""The loop: state and step of a run, its end, its log, its checkpoints."""

from radiograph.dictionaries.training.loop._checkpoint import Checkpoints
from radiograph.dictionaries.training.loop._log import LogRow, columns
from radiograph.dictionaries.training.loop._train import (
    Caution,
    TooFewRows,
    Trained,
    WorseThanMean,
    train,
    train_rank,
    validation_rows,
)

__all__ = [
    "Caution",
    "Checkpoints",
    "LogRow",
    "TooFewRows",
    "Trained",
    "WorseThanMean",
    "columns",
    "train",
    "train_rank",
    "validation_rows",
]
