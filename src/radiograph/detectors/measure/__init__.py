"""What detectors look at: each part of a comparison, measured once."""

from radiograph.detectors.measure._banks import Banks, render
from radiograph.detectors.measure._checks import Oracle, evaluate, is_refusal
from radiograph.detectors.measure._encoding import Pooled, encode_pair, kept_tokens, site_rows
from radiograph.detectors.measure._evidence import explain_prompts, score_record, silent_score
from radiograph.detectors.measure._features import FeatureMeasurement, FeatureSettings
from radiograph.detectors.measure._measurement import Measurement

__all__ = [
    "Banks",
    "FeatureMeasurement",
    "FeatureSettings",
    "Measurement",
    "Oracle",
    "Pooled",
    "encode_pair",
    "evaluate",
    "explain_prompts",
    "is_refusal",
    "kept_tokens",
    "render",
    "score_record",
    "silent_score",
    "site_rows",
]
