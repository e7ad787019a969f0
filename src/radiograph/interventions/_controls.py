"""What a write is compared with: other units pushed as hard, and random directions pushed as hard.

1. matched units: the nearest at the same site in log‖w‖, μ, log σ, firing rate (`numerics.units`), written at
   μ_j + (v − μ_n)‖w_n‖/‖w_j‖, so that the mean push on the residual stream has the same length
2. random directions at `mlp_out` that follow the tested unit live: (v − a_n)‖w_n‖ along a vector drawn from the sphere
   (`haar`), or from the covariance of `mlp_out` (`covariance`), which pushes where this block is used to write
Doses are those of the model, in raw numbers; the tested write is bound first. `add` keeps its length v‖w_n‖.
Refuses: `scale` and `cap`, for which no equal push is defined; a write that is not of one unit of `mlp_hidden`; a unit
that never moves.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from radiograph.core import Site, UserError
from radiograph.core.shapes import Float64
from radiograph.evidence import Condition, Dose, Write
from radiograph.interventions._bound import BoundWrite, Statistics, bind
from radiograph.models import LanguageModel
from radiograph.models.tail import write_vectors
from radiograph.numerics.units import SiteStatistics, matched_units

Cloud = Literal["haar", "covariance"]
PUSHED = ("set", "add", "ablate", "ablate-mean")


@dataclass(frozen=True, slots=True)
class UnitControl:
    """One matched unit, and what is written there."""

    unit: int
    distance: float
    """In standard deviations, over the four numbers that were matched."""
    condition: Condition


@dataclass(frozen=True, slots=True, eq=False)
class DirectionControls:
    """Random directions as conditions, and the vectors that they name (for `bind`)."""

    conditions: tuple[Condition, ...]
    directions: Mapping[str, Float64[np.ndarray, " width"]]


def unit_controls(
    model: LanguageModel,
    write: Write,
    count: int,
    *,
    statistics: Statistics,
    matching: SiteStatistics,
    exclude: Collection[int] = (),
) -> list[UnitControl]:
    """Up to `count` matched units, nearest first, at the same positions; fewer where the site has no more.

    Raises:
        UserError: a write that has no equal push, no statistics of the site, a dead unit.
    """
    bound = _bound(model, write, statistics)
    unit, norms = bound.start, np.linalg.norm(write_vectors(model, bound.site), axis=1)
    chosen = matched_units(
        unit, count, norms=norms, mean=matching.mean, sd=matching.sd, firing=matching.firing, exclude=exclude
    )
    out: list[UnitControl] = []
    for other, distance in zip(chosen.units.tolist(), chosen.distance.tolist(), strict=True):
        dose, op = None, write.op
        if write.op != "ablate-mean":
            ratio = float(norms[unit] / norms[other])
            if write.op == "add":
                value = float(bound.value[0]) * ratio
            else:
                push = float(bound.value[0]) - float(matching.mean[unit])
                op, value = "set", float(matching.mean[other]) + push * ratio
            dose = Dose(value=value)
        own = Write(site=str(bound.site), unit=other, op=op, dose=dose, positions=write.positions)
        out.append(UnitControl(other, distance, Condition(writes=(own,))))
    return out


def direction_controls(
    model: LanguageModel,
    write: Write,
    count: int,
    *,
    statistics: Statistics,
    cloud: Cloud = "haar",
    covariance: Float64[np.ndarray, "width width"] | None = None,
    seed: int = 0,
) -> DirectionControls:
    """Random directions that are pushed as far as the tested unit is, token by token.

    Raises:
        UserError: a write that has no equal push; `covariance` without a covariance of `mlp_out`.
    """
    bound = _bound(model, write, statistics)
    unit, width = bound.start, model.width
    site = Site("mlp_out", bound.site.layer)
    rows = np.random.default_rng([seed, unit, 0 if cloud == "haar" else 1]).standard_normal((count, width))
    if cloud == "covariance":
        if covariance is None or covariance.shape != (width, width):
            raise UserError(
                f"directions like those of {site} need its covariance",
                expected=f"{width} x {width} numbers",
                fix="measure it with --covariance",
                code="no_statistics",
            )
        values, vectors = np.linalg.eigh(covariance)
        rows = (rows * np.sqrt(values.clip(min=0))) @ vectors.T
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    names = [f"{cloud}-{number}" for number in range(count)]
    if write.op == "add":
        norm = float(np.linalg.norm(write_vectors(model, bound.site)[unit]))
        dose = Dose(value=float(bound.value[0]) * norm)
    else:
        dose = Dose(value=float(bound.value[0]), unit="follow", source=f"{bound.site}[{unit}]")
    conditions = tuple(
        Condition(writes=(Write(site=str(site), direction=name, op="add", dose=dose, positions=write.positions),))
        for name in names
    )
    return DirectionControls(conditions, dict(zip(names, rows, strict=True)))


def _bound(model: LanguageModel, write: Write, statistics: Statistics) -> BoundWrite:
    site = Site.parse(write.site) if write.unit is not None and write.direction is None else None
    if site is None or site.kind != "mlp_hidden" or write.op not in PUSHED:
        raise UserError(
            f"no equal push is defined for {write}",
            expected="one unit of mlp_hidden, and one of " + ", ".join(PUSHED),
            code="no_controls",
        )
    return bind(model, [Condition(writes=(write,))], statistics=statistics)[0].writes[0]
