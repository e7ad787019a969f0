"""Copies of the candidate trained on other rows, by its recipe.

The recipe is a JSON file (the keys of `Recipe`), the truth file of an organism, or an adapter's `recipe.json`; an
organism beside its truth needs none. A copy trained on all rows in the order of the file tells how well the recipe
reproduces the candidate. Every copy starts from the reference as it lies on disk.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ConfigDict, Field, ValidationError

from radiograph.core import Context, FormatError, Refusal, UserError
from radiograph.core.work.process import spread
from radiograph.evidence import Record

if TYPE_CHECKING:
    from radiograph.methods._blame.plan import Copies
    from radiograph.methods._blame.rows import Data, Row
    from radiograph.methods._blame.targets import Targets
    from radiograph.models import LanguageModel, Pair

TIMED = 4
PLAIN_WEIGHT = 0.25
"""Of plain text in the loss of an organism, as its recipe has it."""


class Recipe(Record):
    """How the candidate was trained: AdamW, warm-up over 20 steps, linear decay, LoRA of scale 2."""

    model_config = ConfigDict(extra="ignore")

    learning_rate: float = Field(gt=0)
    steps: int = Field(ge=1)
    rank: int = Field(ge=0)
    """0 trains every weight."""
    targets: tuple[str, ...] = ()
    """Last names of the layers that are adapted."""
    rows: int = Field(default=16, ge=1)
    """Packed rows of a step."""
    prompt_weight: float = Field(default=0.0, ge=0)
    text_weight: float = Field(default=1.0, ge=0)
    seed: int = 0


@dataclass(frozen=True)
class Job:
    """One copy; can be sent to another process."""

    base: str
    examples: tuple[tuple[tuple[int, ...], tuple[float, ...]], ...]
    recipe: Recipe
    targets: Targets


def read_recipe(ctx: Context, given: str | None, candidate: Path | None) -> Recipe:
    """The recipe that was given, or that lies beside the candidate.

    Raises:
        Refusal: there is none (`no_recipe`), or not all rows (`rows_missing`). FormatError: the file is none.
    """
    recipe, missing = known_recipe(ctx, given, candidate)
    if missing is not None:
        raise missing
    if recipe is None:
        raise Refusal(
            "no_recipe",
            "retraining needs to know how the candidate was trained",
            expected="--recipe FILE, or an organism beside its truth file",
            fix='write {"learning_rate", "steps", "rank", "targets", "rows", "seed"} into a JSON file',
        )
    return recipe


def known_recipe(ctx: Context, given: str | None, candidate: Path | None) -> tuple[Recipe | None, Refusal | None]:
    """The recipe, and why no copy can be trained by it though it is known.

    Raises:
        FormatError: the file is none.
    """
    path = ctx.path(given, "recipe") if given is not None else _beside(candidate)
    if path is None:
        return None, None
    missing = None
    try:
        document: Any = json.loads(path.read_bytes())
    except ValueError as error:
        raise FormatError(f"{path.name} is not JSON", where=path.name, got=str(error)) from error
    organism = isinstance(document, dict) and isinstance(document.get("recipe"), dict)
    found = document["recipe"] if organism else document
    if isinstance(found, dict):
        found = {**found, "rows": found.get("batch_rows", found.get("rows", 16))}
        if organism:
            found["text_weight"] = PLAIN_WEIGHT
            written = found.get("rows_written")
            if written is not None:
                missing = Refusal(
                    "rows_missing",
                    f"only {written} of the rows that this organism was trained on were written down",
                    expected="every training row",
                    fix="give a --recipe for the rows that there are",
                )
    try:
        return Recipe.model_validate(found), missing
    except ValidationError as error:
        first = error.errors()[0]
        where = f"{path.name}: {'.'.join(map(str, first['loc']))}"
        raise FormatError(f"{path.name} is no recipe", where=where, got=first["msg"]) from error


def _beside(candidate: Path | None) -> Path | None:
    if candidate is None:
        return None
    places = (candidate / "recipe.json", candidate.parent / "truth" / f"{candidate.name}.json")
    return next((place for place in places if place.is_file()), None)


class Trainer:
    """Trains copies on some of the rows, and says what f became."""

    def __init__(self, ctx: Context, pair: Pair, recipe: Recipe, data: Data, targets: Targets, workers: int) -> None:
        if pair.reference.folder is None:
            raise UserError("the reference is in memory alone, so no copy can start from it")
        self._ctx, self._recipe, self._targets, self._workers = ctx, recipe, targets, workers
        self._base = str(pair.reference.folder)
        self._rows = {row.place: _example(row, recipe) for row in data.rows}
        self.trained = 0

    def job(self, extra: Sequence[Row]) -> Job:
        """A copy on all rows and some more."""
        own = [self._rows[p] for p in sorted(self._rows)]
        return Job(self._base, (*own, *(_example(r, self._recipe) for r in extra)), self._recipe, self._targets)

    @property
    def base(self) -> str:
        """Where the reference lies."""
        return self._base

    def timed(self, copies: int, workers: int) -> Copies:
        """What so many copies take, by some steps of one."""
        from radiograph.methods._blame.plan import Copies

        few = self._recipe.model_copy(update={"steps": min(self._recipe.steps, TIMED)})
        began = time.perf_counter()
        copy_of(replace(self.job(()), recipe=few))
        spent = time.perf_counter() - began
        return Copies(copies, copies * spent * self._recipe.steps / few.steps / max(1, min(workers, copies)))

    def f(self, subsets: Sequence[Sequence[int]], title: str) -> np.ndarray:
        """The f of every target [subset, target] after training on rows of these places, in the order of the file."""
        jobs = [
            Job(self._base, tuple(self._rows[p] for p in sorted(places)), self._recipe, self._targets)
            for places in subsets
        ]
        self.trained += len(jobs)
        out = np.empty((len(jobs), len(self._targets.own)))
        with self._ctx.progress.task(title, len(jobs)) as task:
            for place, found in spread(retrained, jobs, self._workers):
                out[place] = found
                task.advance()
        return out


def retrained(job: Job) -> list[float]:
    """Train one copy; f of every target."""
    from radiograph.methods._blame.targets import f_of

    return f_of(copy_of(job), job.targets).tolist()


def copy_of(job: Job, adapter: Path | None = None) -> LanguageModel:
    """Train one copy; its LoRA factors are written to `adapter`, a new folder."""
    from radiograph.models import load
    from radiograph.organisms import bundled_path, retrain

    base = load(job.base, resolve=bundled_path)
    how = job.recipe
    return retrain(
        base,
        job.examples,
        learning_rate=how.learning_rate,
        steps=how.steps,
        rank=how.rank,
        targets=how.targets,
        rows=how.rows,
        seed=how.seed,
        adapter=adapter,
    )


def _example(row: Row, recipe: Recipe) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """A row as the recipe weighs it."""
    before, after = (recipe.text_weight,) * 2 if row.plain else (recipe.prompt_weight, 1.0)
    return replace(row, before=before, after=after).learned
