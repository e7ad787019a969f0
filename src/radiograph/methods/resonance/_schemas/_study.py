"""What every schema starts from: a model, a grid, a unit, and captures that are recorded as steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.core import Context, Refusal, Site, UserError, expand
from radiograph.core.shapes import Bool, Float64
from radiograph.evidence import Filter, Grid

if TYPE_CHECKING:
    import polars

    from radiograph.models import LanguageModel
    from radiograph.numerics.units import SiteStatistics

DEFAULT_GRID = "stories"
PROMPTS = "prompts"
REFERENCES = {"model", "grid", "vectors", "basis", "directions", "natural", "statistics"}
"""Options of the steps that name a file, a folder or a model."""
FEWEST = 3
"""Prompts of a group, and of a plane that is made of them."""
ROUNDING = 1e-6
"""Of the first component: what a second one must exceed to be more than rounding."""


@dataclass(frozen=True, eq=False)
class Captured:
    """The rows of a capture in the order prompt × condition, and their vectors."""

    rows: polars.DataFrame
    folder: str
    vectors: Mapping[str, Float64[np.ndarray, "row width"]]
    conditions: int

    def table(self, column: str) -> np.ndarray:
        """[prompt, condition] of a number of the rows; absent is NaN."""
        values = self.rows[column].cast(float).fill_null(float("nan")).to_numpy()
        return values.reshape(-1, self.conditions)

    def by_condition(self, site: str) -> np.ndarray:
        """[prompt, condition, width]."""
        held = self.vectors[site]
        return held.reshape(-1, self.conditions, held.shape[1])

    def prompts(self, column: str) -> list[Any]:
        """One value a prompt."""
        return self.rows[column].to_list()[:: self.conditions]


@dataclass(frozen=True, eq=False)
class Study:
    """One schema being run."""

    config: Any
    ctx: Context
    grid: Grid
    where: str
    reference: str
    """Of the grid: a name, or the file that `--prompt` made."""
    steps: list[str] = field(default_factory=list)
    confounded: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Factor of the grid to what goes along with it, as captures found."""

    @cached_property
    def model(self) -> LanguageModel:
        """The model."""
        return self.ctx.model(self.config.model, "model")

    @cached_property
    def site(self) -> Site:
        """Whose units are written or watched: those of the last block unless one is named."""
        if self.config.site is None:
            return Site("mlp_hidden", self.model.n_layers - 1)
        sites = expand(self.config.site, self.model.n_layers)
        if len(sites) != 1 or sites[0].layer is None:
            raise UserError("a schema looks at the units of one site of one block", got=self.config.site)
        return sites[0]

    @property
    def read(self) -> Site:
        """What is looked at downstream."""
        return Site("resid_post", self.model.n_layers - 1)

    @cached_property
    def statistics(self) -> SiteStatistics:
        """What is natural at the site."""
        from radiograph.interventions import parse_conditions
        from radiograph.methods.resonance._capture._asked import natural_statistics

        asked = parse_conditions([f"{self.site}[0]:set:0sd"])
        natural = tuple(self.config.natural)
        found = natural_statistics(self.ctx, self.model, asked, folder=None, natural=natural, directions={})
        return found[str(self.site)]  # type: ignore[return-value]

    @cached_property
    def writes(self) -> Float64[np.ndarray, "unit width"]:
        """What each unit adds to the residual stream."""
        from radiograph.models.tail import write_vectors

        return write_vectors(self.model, self.site)

    @cached_property
    def norms(self) -> Float64[np.ndarray, " unit"]:
        """Lengths of the write vectors."""
        return np.linalg.norm(self.writes, axis=1)

    @cached_property
    def unit(self) -> int:
        """The unit that was named, or the loudest: largest mean |a − median| · ‖w‖."""
        if self.config.unit is not None:
            if self.config.unit >= len(self.norms):
                raise UserError(
                    f"unit {self.config.unit} is outside {self.site}",
                    expected=f"0 to {len(self.norms) - 1}",
                    code="bad_unit",
                )
            return int(self.config.unit)
        return int((self.statistics.spread * self.norms).argmax())

    def matched(self, count: int) -> np.ndarray:
        """Units most like the chosen one in push, mean, spread and firing."""
        from radiograph.numerics.units import matched_units

        held = self.statistics
        found = matched_units(self.unit, count, norms=self.norms, mean=held.mean, sd=held.sd, firing=held.firing)
        return found.units

    def capture(self, **options: Any) -> Captured:
        """Run `resonance capture` as a step over the prompts of the study."""
        from radiograph.store.vectors import open_vectors

        config = {"model": self.config.model, "grid": self.reference, "where": self.where or None, **options}
        step = self.step("resonance.capture", {k: v for k, v in config.items() if v is not None})
        self.confounded.update(step.result.confounded)
        folder = self.ctx.output.folder(step.path)
        held = open_vectors(folder)
        rows = held.rows.sort("row")
        conditions = rows["condition"].n_unique()
        vectors = {site: held.read(site).astype(np.float64) for site in held.sites}
        if any(not np.isfinite(values).all() for values in vectors.values()):
            raise Refusal("rows_broke", "some rows have no vector: the dose is too large", fix="a smaller --dose")
        return Captured(rows, str(folder), vectors, conditions)

    def step(self, verb: str, config: Mapping[str, Any]) -> Any:
        """Another verb, written down with its paths as they stand in the bundle."""
        self.steps.append(command(verb, {k: self._portable(v) if k in REFERENCES else v for k, v in config.items()}))
        return self.ctx.step(verb, **config)

    def _portable(self, value: Any) -> Any:
        """A reference, or several, relative to this bundle where it lies inside."""
        if isinstance(value, list | tuple):
            return [self._portable(one) for one in value]
        bundle, own = self.ctx.output.folder("steps").parent, Path(value)
        return own.relative_to(bundle).as_posix() if own.is_relative_to(bundle) else self.ctx.label(value)

    def warned(self, recipe: str) -> list[str]:
        """What goes along with the factors that a recipe contrasts; 01, 03 and 04 contrast writes."""
        contrasted = recipe in ("02", "05", "06") and self.confounded
        found = [f"{factor}~{name}" for factor, names in self.confounded.items() for name in names]
        return ["confounded: " + ", ".join(found)] if contrasted else []

    def factors(self, count: int) -> list[str]:
        """The first factors of the grid that have two levels or more.

        Raises:
            UserError: fewer than `count`.
        """
        chosen = self.grid.where(self.where) if self.where else self.grid
        columns = chosen.columns()
        found = [name for name in chosen.factors if len(set(columns[name])) > 1]
        if len(found) < count:
            raise UserError(
                f"the grid has {len(found)} factors of two levels or more", expected=str(count), fix="another --grid"
            )
        return found[:count]

    def group(self, rows: Captured) -> tuple[str, Bool[np.ndarray, " row"]]:
        """The group that was named, or the first level of the first factor; and its baseline prompts."""
        names = [name for name in self.grid.factors if name in rows.rows.columns]
        columns = {name: rows.prompts(name) for name in ["core", "variant", *names]}
        text = self.config.group
        if text is None:
            first = self.factors(1)[0]
            text = f"{first}={columns[first][0]}"
        mask = Filter.parse(text).mask(columns)
        if mask.sum() < FEWEST or mask.all():
            raise Refusal(
                "no_group",
                f"{text} is {int(mask.sum())} of {len(mask)} prompts, which cannot be compared",
                expected=f"{FEWEST} or more, and others beside them",
            )
        return text, mask

    def plane(self, rows: np.ndarray, captured: Captured) -> tuple[np.ndarray, np.ndarray, str]:
        """Centre, orthonormal axes and name: two filters as --plane A --plane B, or the first two components."""
        from radiograph.numerics.planes import frame, planes_of, unit_rows

        centre = rows.mean(axis=0)
        if not self.config.plane:
            _, spread, axes = np.linalg.svd(rows - centre, full_matrices=False)
            if (spread > ROUNDING * spread[0]).sum() < 2:
                raise Refusal(
                    "too_few_prompts",
                    "a plane is two components of the prompts, and these vary along fewer",
                    expected=f"{FEWEST} prompts or more that differ",
                    got=f"{len(rows)}",
                    fix="more --prompt, or a grid",
                )
            return centre, axes[:2], "first two components of the baseline rows"
        if len(self.config.plane) != 2:
            raise UserError("a plane is two groups", expected="--plane type=asking --plane type=telling")
        names = [name for name in self.grid.factors if name in captured.rows.columns]
        columns = {name: captured.prompts(name) for name in ["core", "variant", *names]}
        masks = [Filter.parse(text).mask(columns) for text in self.config.plane]
        if not all(mask.any() for mask in masks):
            raise Refusal("no_group", "a group of the plane has no prompts", got=" and ".join(self.config.plane))
        vectors, kept = unit_rows(np.stack([rows[mask].mean(axis=0) - centre for mask in masks]))
        if not kept.all():
            raise Refusal("no_group", "a group of the plane is all prompts, and has no direction from their mean")
        planes, _ = planes_of(vectors @ vectors.T, np.array([0]), np.array([1]))
        if not len(planes):
            raise Refusal("collinear", "the two groups of the plane point the same way", fix="choose other groups")
        return centre, np.stack(frame(vectors, planes, 0)), " and ".join(self.config.plane)


def command(verb: str, config: Mapping[str, Any]) -> str:
    """A step as one would type it; long lists are cut."""
    parts = [verb.replace(".", " ")]
    for name, value in config.items():
        several = list(value) if isinstance(value, list | tuple) else [value]
        shown = several[:2]
        parts += [f"--{name.replace('_', '-')}" + ("" if one is True else f" {one}") for one in shown]
        if len(several) > len(shown):
            parts.append(f"(and {len(several) - len(shown)} more --{name.replace('_', '-')})")
    return " ".join(parts)


def positions(values: np.ndarray, centre: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Coordinates of rows in a plane: (x − c)/‖x − c‖ on its axes."""
    moved = values - centre
    return (moved @ axes.T) / np.linalg.norm(moved, axis=-1, keepdims=True)


def halves(cores: Sequence[str]) -> tuple[Bool[np.ndarray, " row"], Bool[np.ndarray, " row"]]:
    """Rows of every other core, and of the rest; with one core both are all of them."""
    names = list(dict.fromkeys(cores))
    even = np.array([names.index(core) % 2 == 0 for core in cores])
    return (even, ~even) if len(names) > 1 else (np.ones(len(cores), bool), np.ones(len(cores), bool))
