"""Which direction tells positives from negatives, does pushing along it steer the model, and at what cost?

1. activations of a criterion's prompts at each --site, pooled (--pool); a direction per site, fitted on discover groups
   alone: difference of class means, whitened, or logistic (`numerics.contrasts`); inside groups where they are paired
2. on confirm: AUROC of the projection; of the fit: cosine of random halves, length, cosine with the direction in which
   prompts grow longer, and with the unembedding of the targets
3. the direction is a feature SITE~NAME, pushed as `intervene` pushes features; site and dose are chosen on discover
4. confirm judges it beside controls of equal length, directions refitted on permuted labels among them
5. steering.safetensors is written only if it is validated: unit direction, doses, site, hashes, grade; with
   --allow-unvalidated steering.unvalidated.safetensors, the failing conditions inside

Source: contrastive activation addition, Rimsky et al. 2024. Units: those of the outcome; doses in sd of the projection.
Refuses when: no targets; too few groups; classes that do not differ. Exit 2: no acceptable dose, or --require not met.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from radiograph.core import Context, ModelRef, UserError
from radiograph.evidence.features import Requirement
from radiograph.evidence.interventions import ContrastFacts, Effects, Steering
from radiograph.methods._intervene import conclude
from radiograph.methods._intervene.options import Options
from radiograph.methods.explain._endpoint import chat_of

if TYPE_CHECKING:
    from radiograph.methods._intervene.contrast import Fitted
    from radiograph.methods._intervene.study import Study
    from radiograph.store.chat import ChatClient


class Config(Options):
    """Where the direction is fitted, how, and what is written."""

    model: ModelRef
    """Folder, hub id or bundled:NAME, with +ADAPTER."""
    criterion: str
    """The concept in words, world:ATTRIBUTE, or a criterion.json."""
    site: tuple[str, ...] = Field(min_length=1)
    """Where, repeatable; ranges as resid_post.0-2. The best on discover is tested."""
    method: Literal["mean_difference", "whitened", "logistic"] = "mean_difference"
    """How the direction is fitted."""
    pool: Literal["last", "mean", "span"] = "last"
    """Tokens of a prompt that speak for it: the last, all but the first, or the labelled span."""
    allow_unvalidated: bool = False
    """Write the direction even if it is not validated, under a name that says so."""


def run(config: Config, ctx: Context) -> Steering:
    """Fit, choose a site, measure, judge, and write what may be written."""
    if config.require is not None and Requirement.parse(config.require).kind != "causal":
        raise UserError("steer contrast measures what is causal", got=config.require, expected="causal:GRADE")
    with chat_of(config, ctx) as chat:
        return _steered(config, ctx, chat)


def _steered(config: Config, ctx: Context, chat: ChatClient | None) -> Steering:
    from radiograph.methods._intervene.contrast import discover, fitted_at, tested_of, write_fitted, write_projections
    from radiograph.methods._intervene.measure import confirmed, costs_of, guarded_of, planned_of
    from radiograph.methods._intervene.prepare import order_of, study_of, targets_of

    model = ctx.model(config.model, "model")
    compiled = ctx.criterion(
        config.criterion,
        prompts=config.prompts,
        template=config.template,
        split=config.split,
        threshold=config.threshold,
        count=8 * config.rows,
    )
    study = study_of(config, ctx, model, compiled, config.model, verb="steer", chat=chat)
    sites = list(dict.fromkeys(site for text in config.site for site in model.sites(text)))
    with ctx.measure("fit"):
        fits = [fitted_at(study, site, config.method, config.pool, seed=ctx.seed) for site in sites]
    planned = planned_of(study, [tested_of(study, fit, ctx.seed) for fit in fits], config, ctx.seed)
    if config.dry_run:
        order = order_of(study, compiled, planned, config=config, codes=(), targets=targets_of(study))
        study.clear()
        return Steering(fitted=_facts(fits, [None] * len(fits), 0), effects=conclude.planned(order), written=None)
    with ctx.measure("discover"):
        found, bounds, best = discover(study, planned, ctx.seed)
    one = planned[best]
    order = order_of(study, compiled, [one], config=config, codes=(), targets=targets_of(study))
    ctx.output.json("order.json", order)
    with ctx.measure("confirm"):
        import polars as pl

        rows = pl.concat([found[best], confirmed(study, one, found[best], f"{best:04d}", ctx.seed)], how="diagonal")
    tables = ctx.output.folder("tables")
    costs = costs_of(study, one, found[best], f"{best:04d}", ctx.seed)
    conclude.write_rows(tables, rows, costs, guarded_of(study, one, found[best], ctx.seed))
    conclude.write_sites(tables, found)
    write_projections(tables, study, fits)
    write_fitted(tables, study, fits)
    study.clear()
    effects, judged = conclude.conclude(tables, order, required=config.require)
    for field, name in conclude.TABLES.items():
        ctx.output.table(name, getattr(judged, field).to_dict(as_series=True))
    written = _write(config, study, fits[best], effects, tables)
    return Steering(fitted=_facts(fits, bounds, best), effects=effects, written=written)


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """Whether grades, numbers, the chosen site and what was written follow from the stored rows."""
    stored = Steering.read(result)
    out = conclude.differences(result["effects"], folder)
    if stored.effects.planned:
        return out + conclude.unlike_vector(stored, folder)
    out += conclude.unlike_projections(stored, folder / "tables")
    out += conclude.unlike_fits(stored, folder)
    out += conclude.unlike_sites(stored, folder / "tables")
    return out + conclude.unlike_vector(stored, folder)


def _facts(fits: list[Fitted], bounds: list[float | None], best: int) -> tuple[ContrastFacts, ...]:
    return tuple(
        fit.facts.model_copy(update={"bound": bound, "chosen": number == best})
        for number, (fit, bound) in enumerate(zip(fits, bounds, strict=True))
    )


def _write(config: Config, study: Study, fit: Fitted, effects: Effects, tables: Path) -> str | None:
    """The direction as a file, if it may be written."""
    from radiograph.methods._intervene.contrast import write_direction

    (own,) = effects.features
    if own.grade != "validated" and not config.allow_unvalidated:
        return None
    name = "steering.safetensors" if own.grade == "validated" else "steering.unvalidated.safetensors"
    write_direction(tables.parent / name, study, fit, effects, tables / f"{conclude.ROWS}.parquet")
    return name
