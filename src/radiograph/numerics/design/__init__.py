"""Is a set of prompts fit to compare with? Balance, confounds, wording, near duplicates. No model, no torch."""

from radiograph.numerics.design.adjust import residuals
from radiograph.numerics.design.checker import Band, Covaried, band, confounded, covaried
from radiograph.numerics.design.confounds import (
    CONFOUNDED,
    MAX_P,
    WARNED,
    Labelling,
    association,
    eta_squared,
)
from radiograph.numerics.design.cross import MAX_V, Cross, cramers_v, cross
from radiograph.numerics.design.texts import (
    COVARIATES,
    NEAR,
    covariates,
    folded,
    near_duplicates,
    words,
)
from radiograph.numerics.design.wording import MARGIN, Leak, wording_leak

__all__ = [
    "CONFOUNDED",
    "COVARIATES",
    "MARGIN",
    "MAX_P",
    "MAX_V",
    "NEAR",
    "WARNED",
    "Band",
    "Covaried",
    "Cross",
    "Labelling",
    "Leak",
    "association",
    "band",
    "confounded",
    "covariates",
    "covaried",
    "cramers_v",
    "cross",
    "eta_squared",
    "folded",
    "near_duplicates",
    "residuals",
    "wording_leak",
    "words",
]
