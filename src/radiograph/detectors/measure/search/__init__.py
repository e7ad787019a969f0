"""The search for an insertion that sets two models apart."""

from radiograph.detectors.measure.search._carriers import Carrier, Renderer, insert, split
from radiograph.detectors.measure.search._engine import Settings, search
from radiograph.detectors.measure.search._frames import Frame, FrameFindings, measure_frames
from radiograph.detectors.measure.search._fresh import Fresh
from radiograph.detectors.measure.search._objective import Budget, Objective
from radiograph.detectors.measure.search._stages import EFFORTS

__all__ = [
    "EFFORTS",
    "Budget",
    "Carrier",
    "Frame",
    "FrameFindings",
    "Fresh",
    "Objective",
    "Renderer",
    "Settings",
    "insert",
    "measure_frames",
    "search",
    "split",
]
