"""Six recipes, each with its null first: a screen, a fingerprint, a dose–response, a nudge, frames, an ensemble.

01 neuron screen: every unit of a site is written; which move the next token more than random pushes as strong?
02 fingerprint: by which factors does one unit's activation differ, and the effect of writing it?
03 dose–response: one unit from −8 to 8 sd, beside matched units at equal push
04 small nudge: derivative of the place in a plane per sd, checked by a finite difference, beside random directions
05 frames: one group of rows in planes of several kinds, each against its own kind
06 Bat Country: one group in an ensemble of planes; agreement, flips, outliers, triangulation

Every recipe is a chain of other verbs that anybody can run (`--print` shows it) and of numbers that `verify` can
recompute. It says what chance gives, then what was found, then one plain sentence. Finding nothing is a result. Units:
nats, cosines, standard deviations of the site's natural activation. Refuses what its verbs refuse: a unit that never
moves, a dose that breaks every row, a group of the whole grid or of fewer than 3 prompts, prompts that span no plane.
Draws that give no p, or none that could reach .05, leave a result that measured nothing (exit 4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Context, ExitCode, GridRef, Input, ModelRef, UserError
from radiograph.core.config import Positional
from radiograph.evidence import Result
from radiograph.methods.resonance._schemas._records import Arrows, CellMap, Curve, Measure

if TYPE_CHECKING:
    from radiograph.evidence import Grid

Schema = Literal["01", "02", "03", "04", "05", "06"]
TITLES: dict[str, str] = {
    "01": "neuron screen",
    "02": "fingerprint",
    "03": "dose–response",
    "04": "small nudge",
    "05": "frames",
    "06": "Bat Country",
}
WHERE = {"01": "level=2,variant=1", "03": "level=2,variant=1,type=telling", "04": "level=2,variant=1"}
"""Prompts of the default grid that a recipe takes; the others take all."""
LARGEST = 0.05
"""A smallest p above it could not find anything."""


class Config(Base):
    """Which recipe, on which model."""

    recipe: Annotated[Schema, Positional()]
    """01 to 06."""
    model: ModelRef
    """The model: folder, hub id or bundled:NAME, with +ADAPTER."""
    grid: GridRef = "stories"
    """A shipped grid by name, or a grid file."""
    where: str | None = None
    """Prompts of the grid to keep, as type=declarative,level>=4."""
    prompt: tuple[str, ...] = ()
    """Prompts of your own instead of a grid; each is a core. Repeatable."""
    site: str | None = None
    """Whose units, as mlp_hidden.2; by default those of the last block (05, 06: what is read, by default half-way)."""
    unit: int | None = Field(default=None, ge=0)
    """The unit of 02, 03, 04; by default the loudest: largest mean |a − median| · ‖w‖."""
    group: str | None = None
    """The group of 05 and 06, as type=asking; by default the first level of the first factor."""
    plane: tuple[str, ...] = ()
    """The plane of 01, 03, 04: two groups, as type=asking, type=telling; by default two components of the rows."""
    dose: str | None = None
    """How hard 01 and 02 write (3sd), and how small a step 04 checks with (0.02sd)."""
    new_tokens: int = Field(default=12, ge=8)
    """Length of the texts of 03."""
    draws: int | None = Field(default=None, ge=3)
    """Null draws; by default what fits into a minute on the bundled model."""
    natural: tuple[Annotated[str, Input("file")], ...] = ()
    """Natural text that doses in sd refer to: FILE, suite:FILE, world:DOMAIN#N."""
    print: bool = False
    """Show the steps, run nothing."""


class ResonanceSchema(Result):
    """The null, the result, the sentence."""

    SCHEMA: ClassVar[str] = "radiograph.resonance_schema/1"

    recipe: Schema
    title: str
    kind: str
    null: str
    measures: tuple[Measure, ...]
    sentence: str
    family: int
    smallest_p: float | None
    maps: tuple[CellMap, ...]
    curves: tuple[Curve, ...]
    arrows: Arrows | None
    steps: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def headline(self) -> str:
        """What chance is."""
        return f"{self.recipe} {self.title}; null: {self.null}" if self.measures else f"{self.recipe} {self.title}"

    @property
    def lines(self) -> tuple[str, ...]:
        """The measures, then the sentence."""
        if not self.measures:
            return self.steps
        return (*map(_line, self.measures), self.sentence, *self.notes)

    @property
    def exit_code(self) -> ExitCode:
        """Not measured where tests were asked for and no p is there, or none could be as small as .05."""
        untested = all(measure.p is None for measure in self.measures)
        blunt = self.smallest_p is not None and self.smallest_p > LARGEST
        return ExitCode.NOT_MEASURED if self.measures and (untested or blunt) else ExitCode.PASS


def run(config: Config, ctx: Context) -> ResonanceSchema:
    """Run one recipe."""
    from radiograph.methods.resonance._schemas._records import Found
    from radiograph.methods.resonance._schemas._study import Study

    grid, reference = _grid(config, ctx)
    where = config.where or ""
    if config.where is None and config.grid == "stories" and not config.prompt:
        where = WHERE.get(config.recipe, "")
    study = Study(config, ctx, grid.where(where) if where else grid, where, reference)
    if config.print:
        found = Found(kind="", null="", measures=(), sentence="", family=0)
        study.steps.extend(_planned(config, where))
    else:
        found = _runner(config.recipe)(study)
        found = found.model_copy(update={"notes": (*found.notes, *study.warned(config.recipe))})
    return ResonanceSchema(
        recipe=config.recipe,
        title=TITLES[config.recipe],
        steps=tuple(study.steps),
        **{name: getattr(found, name) for name in Found.model_fields},
    )


def recompute(result: dict[str, Any], folder: Any) -> list[str]:
    """Does q follow from p, where all tests of the family are among the measures?"""
    from radiograph.numerics.multiplicity import q_values

    stored = ResonanceSchema.read(result)
    tested = [m for m in stored.measures if m.p is not None and m.q is not None]
    table = folder / "tables" / "units.parquet"
    if stored.recipe == "01" and table.is_file():
        import polars

        units = polars.read_parquet(table)
        p, q = units["p"].to_numpy(), units["q"].to_numpy()
        if not np.allclose(q_values(units["p_direction"].to_numpy()), units["q_direction"].to_numpy(), atol=1e-12):
            return ["q_direction does not follow from p_direction"]
    else:
        p, q = np.array([m.p for m in tested]), np.array([m.q for m in tested])
    if len(p) != stored.family:
        return [f"/family is {stored.family}, {len(p)} tests are there"] if p.size else []
    return [] if np.allclose(q_values(p), q, atol=1e-12) else ["q does not follow from p"]


def _runner(recipe: Schema) -> Any:
    from radiograph.methods.resonance._schemas import _doses, _ensemble, _fingerprint, _frames, _nudge, _screen

    runners = {"01": _screen, "02": _fingerprint, "03": _doses, "04": _nudge, "05": _frames, "06": _ensemble}
    return runners[recipe].run


def _grid(config: Config, ctx: Context) -> tuple[Grid, str]:
    """The grid, and how a capture is told of it."""
    if not config.prompt:
        return ctx.grid(config.grid), config.grid
    from radiograph.store.grids import csv_of, parse_csv

    if config.where:
        raise UserError("prompts of your own have no factors", fix="leave --where out", code="bad_value")
    lines = [f'p{number},"{text.replace(chr(34), chr(34) * 2)}"' for number, text in enumerate(config.prompt, start=1)]
    grid = parse_csv("\n".join(["core,prompt", *lines, ""]), "prompts", "--prompt")
    ctx.output.text("prompts/prompts.csv", csv_of(grid))
    return grid, str(ctx.output.folder("prompts") / "prompts.csv")


def _planned(config: Config, where: str) -> list[str]:
    """The verbs of a recipe, as one would type them."""
    from radiograph.methods.resonance._schemas._study import command

    last, half = config.site or "mlp_hidden.LAST", config.site or "resid_post.HALF"
    unit = "N" if config.unit is None else str(config.unit)
    shared = {"model": config.model, "grid": config.grid if not config.prompt else "PROMPTS.csv"}
    shared |= {"where": where} if where else {}
    dose = config.dose or ("0.02sd" if config.recipe == "04" else "3sd")
    one: dict[str, dict[str, Any]] = {
        "01": {"write": f"{last}[EVERY]:set:{dose}", "pool": "last-prompt", "new_tokens": 1, "divergence": True},
        "02": {"write": f"{last}[{unit}]:set:{dose}", "pool": "prompt", "new_tokens": 1, "divergence": True},
        "03": {"write": f"{last}[{unit}]:set:-8sd,…,8sd", "pool": "generated", "new_tokens": config.new_tokens},
        "04": {"write": f"{last}[{unit}]:add:{dose},-{dose}", "pool": "last-prompt", "new_tokens": 0},
    }
    options = one.get(config.recipe, {"site": half, "pool": "last-prompt", "new_tokens": 0})
    if config.recipe in one:
        options["site"] = last if config.recipe == "02" else "resid_post.LAST"
    steps = [command("resonance.capture", {**shared, **options})]
    if config.recipe == "05":
        kinds = ("means --by FACTOR", "contrast --by FACTOR", "pca --of 3", "random --of 'haar 3'")
        steps += [f"resonance basis --kind {kind} --vectors CAPTURE" for kind in kinds]
        steps.append("resonance sweep CAPTURE --basis BASIS (four) --group-by FACTOR --transform centred")
    return steps


def _line(measure: Measure) -> str:
    text = f"{measure.what}: {measure.statistic} {measure.estimate:.4g}"
    if measure.low is not None and measure.high is not None:
        text += f" [{measure.low:.4g}, {measure.high:.4g}]"
    if measure.null is not None and measure.null_high is not None:
        text += f"; null {measure.null:.4g}, 95 % {measure.null_high:.4g}"
    if measure.p is not None:
        text += f"; p {measure.p:.3g}" + ("" if measure.q is None else f", q {measure.q:.3g}")
    return text + f" (n {measure.n})" + (f"; {measure.note}" if measure.note else "")
