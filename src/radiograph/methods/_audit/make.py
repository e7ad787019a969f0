"""Benign models where there are none: adapters trained on rows that the user trusts.

They lie in a cache, named by a hash of all that decides them (reference, rows, rendering, seed, number), so that a
killed run goes on and a second calibration trains nothing. What each was trained with is in `tables/made.parquet`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from radiograph.core import Context, UserError
from radiograph.core.work.process import spread
from radiograph.evidence import document_sha256
from radiograph.methods._audit.benign import Benign
from radiograph.organisms import RECIPE

if TYPE_CHECKING:
    from radiograph.models import LanguageModel
    from radiograph.organisms import AdapterRecipe, LearnedRow

FAMILY = "made"


class Asked(Protocol):
    """What this needs of the configuration."""

    @property
    def reference(self) -> str: ...
    @property
    def make(self) -> int: ...
    @property
    def data(self) -> str | None: ...
    @property
    def chat(self) -> str: ...
    @property
    def workers(self) -> int: ...


@dataclass(frozen=True)
class Job:
    """One adapter; can be sent to another process."""

    reference: str
    rows: tuple[LearnedRow, ...]
    recipe: AdapterRecipe
    folder: Path
    device: str
    offline: bool


def make(asked: Asked, ctx: Context) -> list[Benign]:
    """Train what is not there yet; every adapter in order.

    Raises:
        UserError: rows without a number of models, the reverse, or rows from which nothing can be learned.
    """
    if (asked.make > 0) != (asked.data is not None):
        missing = "--data FILE" if asked.make else "--make N"
        raise UserError(
            "--make N and --data FILE belong together", expected="both or neither", fix=f"add {missing}", code="usage"
        )
    if asked.data is None:
        return []
    from radiograph import organisms

    model = ctx.model(asked.reference, "reference")
    identity = model.identity
    name, sha256, rows = _rows(asked, asked.data, model, ctx)
    key = document_sha256([identity.tensors_sha256, identity.tokenizer_sha256, sha256, asked.chat, ctx.seed])[:16]
    home = ctx.place(f".radiograph/calibrate/made/{key}")
    home.mkdir(parents=True, exist_ok=True)
    recipes = [organisms.draw_recipe(model, rows, ctx.seed, number) for number in range(asked.make)]
    folders = [home / f"made-{number:03d}" for number in range(asked.make)]
    jobs = [
        Job(asked.reference, rows, recipe, folder, ctx.device, ctx.offline)
        for recipe, folder in zip(recipes, folders, strict=True)
        if not (folder / RECIPE).is_file()
    ]
    if jobs:
        steps = sum(job.recipe.steps for job in jobs)
        minutes = steps * organisms.seconds_a_step(model, rows, recipes[0]) / min(asked.workers, len(jobs)) / 60
        ctx.progress.say(
            f"{len(jobs)} adapters on {len(rows):,} rows of {name}: {steps:,} steps, about {max(minutes, 0.1):.1f} min"
        )
    del model
    with ctx.progress.task("training benign adapters", total=len(folders)) as task:
        task.advance(len(folders) - len(jobs))
        for _ in spread(make_one, jobs, asked.workers):
            task.advance()
    ctx.output.table("made", _table(folders))
    return [Benign(f.name, f"{asked.reference}+{f}", FAMILY, "adapter") for f in folders]


def make_one(job: Job) -> None:
    """Train one adapter on a reference loaded for it alone."""
    from radiograph import models, organisms

    model = models.load(job.reference, device=job.device, offline=job.offline, resolve=organisms.bundled_path)
    organisms.make_adapter(model, job.rows, job.recipe, job.folder)


def _rows(asked: Asked, data: str, model: LanguageModel, ctx: Context) -> tuple[str, str, tuple[LearnedRow, ...]]:
    """Name and hash of the file, and its rows as token ids."""
    from radiograph.detectors import read_rows
    from radiograph.detectors.measure.traces import row_tokens

    read = read_rows(ctx.path(data, "data"))
    made: list[LearnedRow] = []
    rejected: list[UserError] = []
    for row in read.rows:
        try:
            ids, start = row_tokens(model.tokenizer, row, asked.chat)
        except UserError as error:
            rejected.append(error)
            continue
        if start < len(ids):
            made.append((ids, start))
    if not made and rejected:
        raise rejected[0]
    if not made:
        raise UserError(f"no row of {read.name} has a token to learn", where="--data", code="no_rows")
    if read.bad or rejected:
        ctx.progress.say(f"{read.name}: {len(read.bad) + len(rejected)} lines are no training rows and left out")
    return read.name, read.sha256, tuple(made)


def _table(folders: list[Path]) -> dict[str, list[Any]]:
    recipes = [json.loads((f / RECIPE).read_text(encoding="utf-8")) for f in folders]
    table: dict[str, list[Any]] = {"id": [f.name for f in folders]}
    for name in recipes[0]:
        values = [recipe[name] for recipe in recipes]
        table[name] = [" ".join(v) if isinstance(v, list) else v for v in values]
    return table
