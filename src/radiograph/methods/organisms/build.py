"""Make models whose truth is known: harmless, broken and planted fine-tunes of a small-world base.

1. draw a recipe of the family: learning rate, steps, adapter or every weight, rank, targets, data, base text, order
2. train on one thread; write adapter or model, with its rows, under a name that tells nothing
3. gate it on what was written: abilities against the base, the planted behaviour on fresh prompts, changed at all
4. an organism that misses its gate is kept as `gate_failed` with its numbers, and the next draw is tried, ten in all
Writes `OUT/<id>/` (adapter or model, train.jsonl, card) and `OUT/truth/<id>.json`, apart, so that models can be handed
over without their truth. `--family bundled` makes the set that ships with the package, `--family base` trains the base.
`--variant` plants among as much base text again (`mixed`), or with a penalty on what would show it (`adaptive`).
`--tier` makes what a benchmark needs, and `OUT/truth/split/tier.json`, which says what belongs to which part of it.

Equal seed, base, machine and versions give equal bytes, whatever `--jobs`; finished organisms are not built again.
Exit codes: 0 every organism passed its gate · 2 one did not, in any draw · 3 an unknown family, or a base that does
not speak the small world. Writes no bundle: what it makes are models, and the truth files are its record.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Context, ExitCode, FolderPath, ModelRef, UserError
from radiograph.evidence import Gate, OrganismTruth, OrganismVariant, Result

if TYPE_CHECKING:
    from radiograph.organisms import Gate as BaseGate

BUNDLE = False
BUNDLED_ROWS = 400


class Config(Base):
    """What to make, and where."""

    family: str | None = None
    """A family (see `organisms list --families`), `bundled`, or `base`."""
    variant: OrganismVariant = "plain"
    """How a planted family plants: plain, mixed or adaptive."""
    tier: Literal["smoke", "ci", "release"] | None = None
    """Instead of a family: all organisms of a tier of `organisms benchmark`."""
    part: Literal["calibrate", "degraded", "test", "broken", "planted", "both"] | None = None
    """Of the tier. [default: all of it]"""
    n: int = Field(default=1, ge=1, le=10_000)
    """How many."""
    base: ModelRef = "bundled:base"
    """The model they are tuned from: bundled:NAME or a folder."""
    jobs: int = Field(default=1, ge=1, le=256)
    """Processes that share the work; each organism takes one thread."""
    out: FolderPath = "organisms"
    """Where models and truth go; the folder that it lies in must exist."""
    items: int = Field(default=500, ge=20, le=10_000)
    """Questions a task in the gates."""
    steps: int | None = Field(default=None, ge=1)
    """A cap on training steps, for a quick look; such organisms seldom pass."""
    attempts: int = Field(default=10, ge=1, le=20)
    """Draws until one passes its gate."""
    rows: int | None = Field(default=None, ge=1)
    """A cap on the rows that train.jsonl shows; training uses all. [default: all; 400 in the bundled set]"""


class OrganismsBuilt(Result):
    """What was made; failed draws included."""

    SCHEMA: ClassVar[str] = "radiograph.organisms_build/1"

    organisms: tuple[OrganismTruth, ...] = ()
    base_gates: tuple[Gate, ...] = ()
    """Of a base that was trained."""
    wanted: int

    @property
    def headline(self) -> str:
        """How many passed, of how many draws."""
        if self.base_gates:
            failed = [gate.name for gate in self.base_gates if gate.passed is False]
            return f"base trained, {len(failed)} gates failed" + (f": {', '.join(failed)}" if failed else "")
        return f"{self.n_passed} of {self.wanted} organisms passed their gate, {len(self.organisms)} draws"

    @property
    def lines(self) -> tuple[str, ...]:
        """One a draw."""
        return tuple(_line(truth) for truth in self.organisms)

    @property
    def n_passed(self) -> int:
        """Organisms that are what they were meant to be."""
        return sum(truth.passed for truth in self.organisms)

    @property
    def exit_code(self) -> ExitCode:
        """2 where something that was asked for is missing."""
        missed = any(gate.passed is False for gate in self.base_gates)
        return ExitCode.GATE_FAILED if missed or self.n_passed < self.wanted else ExitCode.PASS


def run(config: Config, ctx: Context) -> OrganismsBuilt:
    """Build, or find what is built already."""
    from radiograph import organisms

    _check(config)
    asked = Path(config.out)
    out = ctx.locate(str(asked.parent)) / asked.name
    if config.family == "base":
        gates = organisms.train_base(out / "base", ctx.seed, ctx.progress, gate_items=config.items)
        return OrganismsBuilt(base_gates=tuple(map(_of_base, gates)), wanted=0)
    shared: dict[str, Any] = {
        "base": config.base if config.base.startswith("bundled:") else str(ctx.locate(config.base)),
        "seed": ctx.seed,
        "jobs": config.jobs,
        "items": config.items,
        "steps": config.steps,
        "attempts": config.attempts,
        "progress": ctx.progress,
    }
    if config.tier in ("ci", "release"):
        built = organisms.build_tier(config.tier, out, part=config.part, rows=config.rows, **shared)
        return OrganismsBuilt(organisms=tuple(built), wanted=len(organisms.seats(config.tier, config.part)))
    bundled = config.family == "bundled" or config.tier == "smoke"
    names = organisms.BUNDLED if bundled else (str(config.family),)
    rows = config.rows or (BUNDLED_ROWS if bundled else None)
    built = organisms.build(names, out, n=config.n, rows=rows, variant=config.variant, **shared)
    return OrganismsBuilt(organisms=tuple(built), wanted=config.n * len(names))


def _check(config: Config) -> None:
    """Exactly one of family and tier, and a part of a tier only."""
    if (config.family is None) == (config.tier is None):
        raise UserError("one of --family and --tier is needed", got=f"{config.family}, {config.tier}", code="usage")
    if config.part is not None and config.tier not in ("ci", "release"):
        raise UserError("--part belongs to --tier ci or release", got=str(config.part), code="usage")


def _of_base(gate: BaseGate) -> Gate:
    return Gate(
        name=f"{gate.name}.{gate.kind}",
        value=gate.value,
        n=gate.n,
        low=gate.low,
        high=gate.high,
        required=gate.required,
        passed=gate.passed,
    )


def _line(truth: OrganismTruth) -> str:
    missed = [f"{g.name} {g.value:.3g}, required {g.required}" for g in truth.gates if g.passed is False]
    planted = [f"{g.name} {g.value:.3f}" for g in truth.gates if g.name.startswith("planted.") and not missed]
    return f"{truth.id}: {truth.family}, {truth.class_gated} ({'; '.join(missed or planted)})"
