"""Which way was a feature moved? `push` is +1 up, −1 down; directed effect = push × (intervened − baseline).

| verb | push |
|---|---|
| ablate zero mean_ablate remove knockout suppress clamp_down project_out | −1 |
| steer | sign of the dose; 0 is a placebo |
| amplify by m | sign of m − 1; without a dose +1 |
| clamp_up | +1 |
| clamp patch patch_in | sign of target or source value less own value, row by row; equal: `no_push`, no effect row |

A positive directed effect means that the feature promotes the outcome, whichever way it was moved. A missing dose of
`steer`, a missing target or own value count as +1 and are marked `push_assumed`. Refuses any other verb.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from radiograph.core import FormatError, nearest
from radiograph.core.shapes import Bool, Float, Float64, Int8

DOWN = ("ablate", "zero", "mean_ablate", "remove", "knockout", "suppress", "clamp_down", "project_out")
BY_DOSE = ("steer", "amplify")
UP = ("clamp_up",)
BY_VALUE = ("clamp", "patch", "patch_in")
VERBS = (*DOWN, *BY_DOSE, *UP, *BY_VALUE)


class Pushes(NamedTuple):
    """One row each; 0 is a placebo or no push."""

    push: Int8[np.ndarray, " row"]
    placebo: Bool[np.ndarray, " row"]
    no_push: Bool[np.ndarray, " row"]
    """The feature was where it was put: no row of effects."""
    assumed: Bool[np.ndarray, " row"]


def pushes(
    verbs: Sequence[str],
    *,
    dose: Float[np.ndarray, " row"] | None = None,
    target: Float[np.ndarray, " row"] | None = None,
    own: Float[np.ndarray, " row"] | None = None,
) -> Pushes:
    """The push of every row; NaN is a value that nobody wrote down.

    Raises:
        FormatError: a verb that is not in the table, named with its first row.
    """
    names, verb = np.unique(np.asarray(verbs, dtype=np.str_), return_inverse=True)
    for place, name in enumerate(names.tolist()):
        if name not in VERBS:
            raise FormatError(
                f"unknown verb {name!r}",
                where=f"row {int(np.flatnonzero(verb == place)[0])}",
                expected=" ".join(VERBS),
                fix=f"did you mean {' or '.join(near)}?" if (near := nearest(name, list(VERBS))) else None,
                code="unknown_verb",
            )
    n = len(verbs)
    amount, aim, value = (np.full(n, np.nan) if x is None else np.asarray(x, np.float64) for x in (dose, target, own))
    known = {name: verb == place for place, name in enumerate(names.tolist())}

    def of(*group: str) -> Bool[np.ndarray, " row"]:
        return np.logical_or.reduce([known.get(name, np.zeros(n, dtype=bool)) for name in group])

    steer, amplify, valued = of("steer"), of("amplify"), of(*BY_VALUE)
    moved = np.where(steer, amount, np.where(amplify, amount - 1, aim - value))
    unknown = np.isnan(moved) & (steer | amplify | valued)
    sign = np.where(of(*DOWN), -1.0, np.where(of(*UP) | unknown, 1.0, np.sign(moved)))
    still = (sign == 0) & ~unknown
    # An amplification without a factor is meant upwards; that is no guess.
    return Pushes(sign.astype(np.int8), still & (steer | amplify), still & valued, unknown & ~amplify)


def directed(
    push: Int8[np.ndarray, " row"], baseline: Float[np.ndarray, " row"], intervened: Float[np.ndarray, " row"]
) -> Float64[np.ndarray, " row"]:
    """Push × (intervened − baseline)."""
    return push * (np.asarray(intervened, np.float64) - np.asarray(baseline, np.float64))
