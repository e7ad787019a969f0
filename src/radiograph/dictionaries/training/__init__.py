"""Training: config, start, step, schedule and loop, one file each."""

from radiograph.dictionaries.training._config import PRESETS, TrainingConfig, preset
from radiograph.dictionaries.training._rows import Rows, Split
from radiograph.dictionaries.training._train import LogRow, Trained, WorseThanMean, train

__all__ = ["PRESETS", "LogRow", "Rows", "Split", "Trained", "TrainingConfig", "WorseThanMean", "preset", "train"]
