"""From contrast data to a calibrated linear probe: chosen, fitted, calibrated and measured on groups that never meet.

1. labelled texts (--contrast) and clean text as it will be read later (--negatives) run through the model; read are
   tokens, or whole texts pooled (--level, --pool), at every --site
2. groups are split: fit 60, calibrate 20, test 20 %. Site, method and strength by k-fold inside fit, the earliest in
   one standard error of the best
3. direction: mean_difference μ₊−μ₋ · lda S_w⁻¹(μ₊−μ₋) · whitened S_0⁻¹(μ₊−μ₋) · logistic (`numerics.probes`)
4. threshold: rank ⌈(m+1)(1−f)⌉ of the m negatives of calibrate, f = --fpr
5. on test: FPR, TPR, AUROC, against near misses too, with intervals over groups
6. controls: labels permuted with the search repeated, random directions, words and length of the text, the embedding
7. `calibrated` only if AUROC > .7, above both nulls, the FPR at most 1 %, 20 groups a class, each by its interval

Source: MacDiarmid et al. 2024; Marks and Tegmark 2023; conformal threshold, Vovk et al. 2005; Ledoit and Wolf 2004.
Units: scores are projections of rows of length √d on a unit direction. The probe is NAME.safetensors with its card
NAME.json; a failed build writes them too. Refuses when: one class, fewer than 20 groups a class, too few negatives.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Context, ModelRef, Site, UserError, nearest, visible
from radiograph.evidence.probes.probe import (
    ProbeBuild,
    ProbeKind,
    ProbeLevel,
    ProbeModel,
    ProbeNormalise,
    ProbePool,
)

if TYPE_CHECKING:
    from radiograph.methods._probe.samples import Gathered
    from radiograph.probing import About, Built, Settings

METHODS = ("mean_difference", "logistic", "lda", "whitened")
CLEAN = "world:mixture#8000"
BINS = 40
RULES = {"build": 2}
LIMITS = ("tokens", "width")


class Config(Base):
    """What is contrasted, where it is read, and how the probe is made."""

    model: ModelRef
    """Folder, hub id or bundled:NAME, with +ADAPTER."""
    contrast: str
    """FILE.jsonl, builtin:defection|truth|harm, world:ATTRIBUTE, suite:FILE#FACTOR, or stores:POS,NEG."""
    site: tuple[str, ...] = ("resid_post.*",)
    """Where, repeatable; ranges as resid_post.0-2. All are tried."""
    level: ProbeLevel = "token"
    """Read tokens (those of the spans, else all of content), or whole texts (sequence)."""
    pool: ProbePool = "mean"
    """Of whole texts: the mean row, the largest score, or the last token."""
    method: tuple[str, ...] = ("mean_difference",)
    """mean_difference, logistic, lda, whitened, repeatable; or fixed:FILE, a direction that is only calibrated."""
    normalise: ProbeNormalise = "rms"
    """rms: every row at length √d, so that scale moves no score; none: as they are."""
    negatives: tuple[str, ...] = ("auto",)
    """Clean text as in deployment, repeatable: FILE, world:DOMAIN#N, builtin:prompts#N, a store, none, auto."""
    fpr: float = Field(default=0.002, gt=0, lt=1)
    """False positive rate that the threshold is set to."""
    folds: int = Field(default=5, ge=2, le=50)
    """Folds of the search."""
    controls: int = Field(default=200, ge=20)
    """Permutations of the labels, and random directions; logistic permutes 50 times."""
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]{1,128}$")
    """What the probe and its files are called; by default its kind."""
    kind: ProbeKind | None = None
    """defection, truth, harm or custom; by default what the contrast is."""


def run(config: Config, ctx: Context) -> ProbeBuild:
    """Gather rows, build, write."""
    from radiograph.probing import build
    from radiograph.store.probes import card_bytes, probe_bytes

    settings = _settings(config, ctx)
    with ctx.measure("activations"):
        gathered, about = _gathered(config, ctx)
    with ctx.measure("build"), ctx.progress.task("build", 2) as task:
        built = build(gathered.samples, settings, about, lambda _: task.advance(1))
    card = built.card
    ctx.output.data(f"{card.name}.safetensors", probe_bytes(card, built.tensors))
    ctx.output.data(f"{card.name}.json", card_bytes(card))
    _tables(ctx, built)
    return ProbeBuild(
        card=card,
        candidates=built.candidates,
        file=f"{card.name}.safetensors",
        histogram=_histogram(built.tensors["test_scores"]),
        threshold=float(built.tensors["threshold"]),
    )


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """Whether AUROC, rates, status and the file follow from the stored scores and nulls."""
    from radiograph.store import derived

    return derived(lambda: _unlike(ProbeBuild.read(result), folder))


def _unlike(stored: ProbeBuild, folder: Path) -> list[str]:
    """What the file and the tables do not give, and a choice that is not that of the card."""
    from radiograph.methods._probe.recompute import unlike_build
    from radiograph.store.opened import Opened
    from radiograph.store.probes import read_probe

    card = stored.card
    said = unlike_build(stored, folder)
    with Opened.at(folder / stored.file) as file:
        test = read_probe(file).tensors["test_scores"]
    if stored.histogram != _histogram(test):
        said.append("the histogram does not follow from the stored scores")
    chosen = [(one.site, one.method, one.strength) for one in stored.candidates if one.chosen]
    tried = len({one.site for one in stored.candidates}), len({one.method for one in stored.candidates})
    if chosen != [(card.site, card.method, card.strength)] or tried != (card.tried.sites, card.tried.methods):
        said.append("the candidates are not those of the card, or another one was chosen")
    return said


def _settings(config: Config, ctx: Context) -> Settings:
    from radiograph.probing import Settings

    own: dict[str, Any] = {
        "normalise": config.normalise,
        "fpr": config.fpr,
        "folds": config.folds,
        "draws": config.controls,
        "seed": ctx.seed,
    }
    fixed = [name for name in config.method if name.startswith("fixed:")]
    if fixed:
        if len(config.method) > 1:
            raise UserError("a fixed direction stands alone", where="--method", got=", ".join(config.method))
        return Settings(fixed=_direction(fixed[0].removeprefix("fixed:"), ctx), **own)
    for name in config.method:
        if name not in METHODS:
            raise UserError(
                f"unknown method {visible(name, 40)!r}",
                expected=", ".join((*METHODS, "fixed:FILE")),
                fix=", ".join(nearest(name, list(METHODS))) or None,
                where="--method",
                code="unknown_method",
            )
    methods: Any = tuple(dict.fromkeys(config.method))
    return Settings(methods=methods, **own)


def _direction(path: str, ctx: Context) -> Any:
    from radiograph.store.probes import read_foreign

    with ctx.opened(path, "direction") as file:
        return read_foreign(file).w


def _gathered(config: Config, ctx: Context) -> tuple[Gathered, About]:
    from radiograph.methods._probe.contrast import clean_texts, contrast_of
    from radiograph.methods._probe.samples import through
    from radiograph.probing import About

    if config.contrast.startswith("stores:"):
        return _of_stores(config, ctx)
    model = ctx.model(config.model, "model")
    contrast = contrast_of(config.contrast, ctx, model)
    sites = list(dict.fromkeys(site for text in config.site for site in model.sites(text)))
    sources = _clean_sources(config, model)
    clean = clean_texts(sources, ctx)
    gathered = through(model, contrast, clean, sites, config.level, config.pool, ctx)
    kind = config.kind or contrast.kind
    about = About(
        name=config.name or kind,
        kind=kind,
        model=ProbeModel(
            ref=ctx.label(config.model),
            sha256=model.identity.tensors_sha256,
            tokenizer_sha256=model.identity.tokenizer_sha256,
        ),
        contrast=contrast.name,
        contrast_sha256=contrast.sha256,
        negatives=", ".join(map(ctx.label, sources)) or None,
        negatives_sha256=gathered.negatives_sha256,
        stamps=(*contrast.stamps, *gathered.stamps),
    )
    return gathered, about


def _clean_sources(config: Config, model: Any) -> tuple[str, ...]:
    from radiograph import organisms

    if config.negatives == ("auto",):
        return (CLEAN,) if organisms.reads_world(model.tokenizer) else ()
    return () if config.negatives == ("none",) else config.negatives


def _of_stores(config: Config, ctx: Context) -> tuple[Gathered, About]:
    from dataclasses import replace

    from radiograph.evidence import document_sha256
    from radiograph.methods._probe.samples import of_stores
    from radiograph.probing import About

    names = config.contrast.removeprefix("stores:").split(",")
    if len(names) != 2:
        raise UserError("two stores", expected="stores:POSITIVES,NEGATIVES", got=visible(config.contrast, 80))
    stores = [ctx.activations(name, role) for name, role in zip(names, ("positives", "others"), strict=True)]
    given = [name for name in config.negatives if name not in ("auto", "none")]
    if len(given) > 1:
        raise UserError("one store of clean text", where="--negatives", got=", ".join(given))
    clean = ctx.activations(given[0], "negatives") if given else None
    known = next((store.model_sha256 for store in stores if store.model_sha256), None)
    identity = ctx.stored(config.model, "model").identity
    if known is not None and known != identity.tensors_sha256:
        raise UserError(
            "the stores are of another model", expected=identity.tensors_sha256, got=known, code="other_model"
        )
    gathered = of_stores(stores, clean, ctx, config.level, config.pool)
    if gathered.samples.sites == ("unknown",):
        if len(config.site) != 1 or "*" in config.site[0]:
            raise UserError("the stores do not say which site they are of", expected="--site SITE")
        own = (str(Site.parse(config.site[0])),)
        gathered = replace(gathered, samples=gathered.samples.named(own))
    kind = config.kind or "custom"
    about = About(
        name=config.name or kind,
        kind=kind,
        model=ProbeModel(
            ref=ctx.label(config.model),
            sha256=identity.tensors_sha256,
            tokenizer_sha256=identity.tokenizer_sha256,
        ),
        contrast=",".join(store.name for store in stores),
        contrast_sha256=document_sha256([store.sha256 for store in stores]),
        negatives=None if clean is None else clean.name,
        negatives_sha256=gathered.negatives_sha256,
        stamps=gathered.stamps + (() if known else ("origin_declared",)),
    )
    return gathered, about


def _tables(ctx: Context, built: Built) -> None:
    test = built.tensors["test_scores"]
    kind, group = test[:, 1].astype(int).tolist(), test[:, 2].astype(int).tolist()
    ctx.output.table("test_scores", {"score": test[:, 0].tolist(), "kind": kind, "group": group})
    ctx.output.table("nulls", {name: values.tolist() for name, values in _even(built.nulls).items()})


def _even(nulls: dict[str, Any]) -> dict[str, Any]:
    """Columns of one length; what was drawn less often ends in NaN."""
    longest = max(len(values) for values in nulls.values())
    return {name: np.append(values, np.full(longest - len(values), np.nan)) for name, values in nulls.items()}


def _histogram(test: Any) -> tuple[tuple[float, float, int, int, int], ...]:
    edges = np.linspace(float(test[:, 0].min()), float(test[:, 0].max()), BINS + 1)
    kinds: tuple[tuple[Literal[0, 1, 2, 3], ...], ...] = ((1,), (0, 2), (3,))
    counts = [np.histogram(test[np.isin(test[:, 1], kind), 0], edges)[0] for kind in kinds]
    return tuple(
        (float(edges[i]), float(edges[i + 1]), int(counts[0][i]), int(counts[1][i]), int(counts[2][i]))
        for i in range(BINS)
    )
