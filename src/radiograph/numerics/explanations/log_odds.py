"""Terms that stand where a feature fires more often than elsewhere: log-odds with an informative Dirichlet prior.

    δ = ln (yᵢ + αᵢ)/(nᵢ + α₀ − yᵢ − αᵢ) − ln (yⱼ + αⱼ)/(nⱼ + α₀ − yⱼ − αⱼ)        z = δ / √(1/(yᵢ + α) + 1/(yⱼ + α))

y counts a term where the feature fires (i) and elsewhere (j), n are the totals, α = α₀ · share of the term in all text,
so that a term without evidence has δ near 0 (Monroe, Colaresi and Quinn 2008, eqs. 16, 20, 22). z is a standard normal
deviate where a term has nothing to do with the feature. Terms that never stand where the feature fires are left out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from radiograph.core.shapes import Float64, Int64
from radiograph.numerics.explanations.sparse import Sparse, marked, ones, owners

PRIOR = 500.0
"""α₀: how many tokens of background the prior is worth."""


class Contrast(NamedTuple):
    """A line a pair of feature and term, by feature, largest z first."""

    feature: Int64[np.ndarray, " pair"]
    term: Int64[np.ndarray, " pair"]
    z: Float64[np.ndarray, " pair"]
    times: Int64[np.ndarray, " pair"]
    """How often the term stands where the feature fires."""


def contrast(fires: Sparse, terms: Int64[np.ndarray, " token"], *, prior: float = PRIOR, least: int = 5) -> Contrast:
    """Every term that stands at `least` times or more where a feature fires.

    Args:
        fires: [feature, token], an entry where the feature fires.
        terms: number of the term at each token, -1 for none.
        prior: α₀.
        least: rarer terms are left out.
    """
    has = terms >= 0
    rows = np.flatnonzero(has)
    size = int(terms.max(initial=-1)) + 1
    own: Sparse = (ones(fires) @ marked(rows, terms[rows], (len(terms), size))).tocsr()
    own.sort_indices()
    feature = owners(own)
    keep = own.data >= least
    feature, term, y = feature[keep], own.indices[keep].astype(np.int64), own.data[keep]
    total = np.bincount(terms[has], minlength=size).astype(np.float64)
    inside = np.asarray(own.sum(axis=1)).reshape(-1)
    share = total / max(total.sum(), 1)
    alpha = prior * share[term]
    n, m = inside[feature], total.sum() - inside[feature]
    other = total[term] - y
    delta = _log_odds(y + alpha, n + prior) - _log_odds(other + alpha, m + prior)
    z = delta / np.sqrt(1 / (y + alpha) + 1 / (other + alpha))
    order = np.lexsort((term, -z, feature))
    return Contrast(feature[order].astype(np.int64), term[order], z[order], y[order].astype(np.int64))


def _log_odds(part: Float64[np.ndarray, " pair"], whole: Float64[np.ndarray, " pair"]) -> Float64[np.ndarray, " pair"]:
    # A term that is all there is of one side has no odds; half a token keeps them finite.
    return np.log(part) - np.log(np.maximum(whole - part, 0.5))
