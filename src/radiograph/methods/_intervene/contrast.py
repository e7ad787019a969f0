"""Directions between the classes of a study's prompts: fitted on discover, described on confirm, chosen by discover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from radiograph.core import Refusal, Site, UserError, derive
from radiograph.core.shapes import Float64
from radiograph.evidence.interventions import ContrastFacts, Effects
from radiograph.methods._intervene.conclude import FITTED, PROJECTIONS, chosen_site, cosine, length_cosine, vector_facts
from radiograph.methods._intervene.measure import Planned, discovered
from radiograph.methods._intervene.study import Study
from radiograph.methods._intervene.tested import Tested
from radiograph.numerics import contrasts
from radiograph.numerics.contrasts import Cells, Method

if TYPE_CHECKING:
    import polars

Pool = Literal["last", "mean", "span"]


@dataclass(frozen=True, eq=False)
class Fitted:
    """One direction of length 1, and the cells that it was fitted on."""

    facts: ContrastFacts
    site: Site
    unit: Float64[np.ndarray, " width"]
    cells: Cells
    method: Method
    projections: Float64[np.ndarray, " prompt"]
    rows: Float64[np.ndarray, "prompt width"]
    """Of the prompts of discover, what it was fitted on."""


def fitted_at(study: Study, site: Site, method: Method, pool: Pool, *, seed: int) -> Fitted:
    """Fit at one site.

    Raises:
        Refusal: too few groups, or classes that do not differ.
    """
    rows, norm = _activations(study, site, pool)
    halves = {half: study.half(half) for half in ("discover", "confirm")}
    positive = np.array([one.kind == "positive" for one in study.prompts])
    _, group = np.unique([one.group for one in study.prompts], return_inverse=True)
    fit = contrasts.cells_of(*(table[halves["discover"]] for table in (rows, positive, group)))
    found = contrasts.contrast(fit, method)
    length = float(np.linalg.norm(found))
    unit = found / length
    along = rows @ unit
    held = contrasts.cells_of(along[halves["confirm"], None], positive[halves["confirm"]], group[halves["confirm"]])
    area, interval = contrasts.separation(np.ones(1), held)
    lengths = np.array([len(one.ids) for one in study.prompts])[halves["discover"]]
    used = positive[halves["discover"]]
    facts = ContrastFacts(
        name=f"{site}~{study.identity['criterion_id']}",
        site=str(site),
        method=method,
        paired=fit.paired,
        rows=(int(used.sum()), int((~used).sum())),
        auroc=area,
        auroc_interval=None if interval is None else (interval.low, interval.high),
        split_half=contrasts.split_half(fit, method, seed=derive(seed, "halves")),
        norm=length,
        share=length / norm,
        cosine_length=length_cosine(unit, lengths, positive[halves["discover"]], group[halves["discover"]], fit),
        cosine_targets=_targets(study, site, unit),
        bound=None,
        chosen=False,
    )
    return Fitted(facts, site, unit, fit, method, along, rows[halves["discover"]])


def write_projections(folder: Path, study: Study, fits: Sequence[Fitted]) -> None:
    """`projections.parquet`: every prompt along every direction, by which `verify` separates them again."""
    import polars as pl

    parts = [
        pl.DataFrame(
            {
                "name": [fit.facts.name] * len(study.prompts),
                "prompt_id": [one.id for one in study.prompts],
                "group_id": [one.group for one in study.prompts],
                "split": [one.half for one in study.prompts],
                "positive": [one.kind == "positive" for one in study.prompts],
                "projection": fit.projections,
            }
        )
        for fit in fits
    ]
    pl.concat(parts).write_parquet(folder / f"{PROJECTIONS}.parquet", compression="zstd")


def write_fitted(folder: Path, study: Study, fits: Sequence[Fitted]) -> None:
    """`fitted.parquet`: what every direction was fitted on, by which `verify` fits it again."""
    import polars as pl

    places = study.half("discover")
    parts = [
        pl.DataFrame(
            {
                "name": [fit.facts.name] * len(places),
                "group_id": [study.prompts[place].group for place in places],
                "positive": [study.prompts[place].kind == "positive" for place in places],
                "tokens": [len(study.prompts[place].ids) for place in places],
                "values": pl.Series(fit.rows.tolist(), dtype=pl.List(pl.Float64)),
            }
        )
        for fit in fits
    ]
    pl.concat(parts).write_parquet(folder / f"{FITTED}.parquet", compression="zstd")


def tested_of(study: Study, fit: Fitted, seed: int) -> Tested:
    """The direction as a feature that can be moved, with its controls of permuted labels."""
    import torch

    from radiograph.sources import Directions

    codec = Directions(str(fit.site), (fit.facts.name.partition("~")[2],), torch.from_numpy(fit.unit[None]).float())
    return Tested(
        id=fit.facts.name,
        codec=codec,
        site=fit.site,
        numbers=(0,),
        directions=fit.unit[None],
        write=lambda numbers: fit.unit[None][np.zeros(len(numbers), dtype=int)],
        shuffled=contrasts.permuted(fit.cells, fit.method, draws=study.controls, seed=derive(seed, "permuted")),
    )


def discover(
    study: Study, planned: Sequence[Planned], seed: int
) -> tuple[list[polars.DataFrame], list[float | None], int]:
    """Rows of every site on discover, the bound of each at its own dose, and the place of the best site."""
    rows = [discovered(study, one, f"{place:04d}") for place, one in enumerate(planned)]
    bounds, best = chosen_site(rows, seed=seed, limits=study.limits)
    return rows, bounds, best


def write_direction(path: Path, study: Study, fit: Fitted, effects: Effects, rows: Path) -> None:
    """The direction with all that was shown of it."""
    from radiograph.store.directions import DirectionsHeader, write_directions

    header = DirectionsHeader(
        tokenizer_sha256=study.model.identity.tokenizer_sha256, **vector_facts(effects, fit.facts, rows)
    )
    write_directions(path, header, {fit.facts.name.partition("~")[2]: fit.unit.astype(np.float32)})


def _activations(study: Study, site: Site, pool: Pool) -> tuple[Float64[np.ndarray, "prompt width"], float]:
    """One row a prompt, and the mean length of the rows of the site."""
    from radiograph.models import stream

    out = np.zeros((len(study.prompts), study.model.site_width(site)))
    total, n = 0.0, 0
    for batch, found in stream(study.model, [one.ids for one in study.prompts], [site]):
        values = found[site].double().cpu().numpy()
        for line, row in enumerate(batch.rows):
            length = len(study.prompts[row].ids)
            start, stop = {"last": (length - 1, length), "mean": (min(1, length - 1), length)}.get(
                pool, study.prompts[row].span
            )
            out[row] = values[line, start:stop].mean(axis=0)
            total += float(np.linalg.norm(values[line, :length], axis=1).sum())
            n += length
    return out, total / n


def _targets(study: Study, site: Site, unit: Float64[np.ndarray, " width"]) -> float | None:
    """Cosine with the mean unembedding of the targets' first tokens less that of all; None away from the residual."""
    from radiograph.methods._intervene.outcomes import LogProb
    from radiograph.models.tail import Tail

    if not isinstance(study.outcome, LogProb) or len(unit) != study.model.width or site.kind == "final_norm":
        return None
    try:
        tail = Tail.of(study.model)
    except (Refusal, UserError):
        return None
    folded = tail.unembed * tail.gain
    tokens = sorted({target[0] for question in study.outcome.questions for target in question.targets})
    return cosine(unit, folded[tokens].mean(axis=0) - folded.mean(axis=0))
