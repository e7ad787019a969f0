"""All covariates of a set of prompts against one factor, and what goes with a factor that it is not about.

Covariates of the text itself are those of `texts`; tokens, mean log-loss and the last token come from a model and are
given. η² for numbers, Cramér's V for the last token, p by permutation inside strata: see `confounds`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from radiograph.numerics.design.confounds import CONFOUNDED, MAX_P, WARNED, Labelling, association, eta_squared
from radiograph.numerics.design.texts import COVARIATES, covariates

Band = Literal["none", "warning", "confounded", "not_tested"]
LAST = "last token"


@dataclass(frozen=True)
class Covaried:
    """How far one covariate goes with one factor."""

    covariate: str
    statistic: Literal["eta_squared", "cramers_v"]
    value: float
    p: float | None

    @property
    def band(self) -> Band:
        """What a reader should make of it."""
        return band(self.value, self.p)


def band(value: float, p: float | None) -> Band:
    """The thresholds of the confound checker."""
    if p is None:
        return "not_tested"
    if p >= MAX_P or value <= WARNED:
        return "none"
    return "confounded" if value > CONFOUNDED else "warning"


def covaried(
    texts: Sequence[str],
    labelling: Labelling,
    *,
    measured: Mapping[str, Sequence[float]] | None = None,
    last: Sequence[str] | None = None,
    seed: int,
) -> list[Covaried]:
    """Every covariate of these texts against one factor; `measured` and `last` are what a model added.

    Raises:
        UserError: a value is not finite.
    """
    extra: Mapping[str, Sequence[float]] = {} if measured is None else measured
    columns = [covariates(texts), *(np.asarray(own, dtype=np.float64)[:, None] for own in extra.values())]
    tested = eta_squared(np.concatenate(columns, axis=1), labelling, seed=seed)
    names = [*map(str, COVARIATES), *extra]
    rows = [Covaried(name, "eta_squared", *found) for name, found in zip(names, tested, strict=True)]
    if last is not None:
        rows.append(Covaried(LAST, "cramers_v", *association(last, labelling, seed=seed)))
    return rows


def confounded(
    texts: Sequence[str],
    cores: Sequence[Hashable],
    factors: Mapping[str, Sequence[Hashable]],
    *,
    measured: Mapping[str, Sequence[float]] | None = None,
    last: Sequence[str] | None = None,
    seed: int,
) -> dict[str, tuple[str, ...]]:
    """Factor to `factor~covariate` of all that a reader should know of (η² or V above .14 with p < .05).

    A factor of one level has no entry; a row whose level is None lacks the factor.
    """
    out: dict[str, tuple[str, ...]] = {}
    for name, column in factors.items():
        rows = [i for i, level in enumerate(column) if level is not None]
        if len({column[i] for i in rows}) < 2:
            continue
        labelling = Labelling([column[i] for i in rows], [cores[i] for i in rows], [("alone", i) for i in rows])
        found = covaried(
            [texts[i] for i in rows],
            labelling,
            measured={k: [v[i] for i in rows] for k, v in (measured or {}).items()},
            last=None if last is None else [last[i] for i in rows],
            seed=seed,
        )
        named = [f"{name}~{c.covariate.replace(' ', '_')}" for c in found if c.band in ("warning", "confounded")]
        out[name] = tuple(named)
    return out
