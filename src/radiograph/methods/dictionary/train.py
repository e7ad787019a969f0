"""Train a sparse dictionary on a model's activations at one site.

1. run the model over the data up to the site; keep rows of content tokens (no BOS, no specials)
2. split by document, so that no text stands on both sides; train TopK on `train` (Gao et al. 2024, arXiv 2406.04093)
3. measure on `validation`: FVU, L0, dead and dense features; splice the reconstruction into the model: CE recovered
   against zero and mean ablation, beside a random dictionary of the same size and sparsity
4. write the dictionary (`dictionary/` in the bundle), bound to the model's hash

Units: FVU is a share of the variance, CE in nats per token. Refuses when: the site is constant, a row is not finite,
the data are too few for a split. A dictionary worse than the mean (FVU >= 1) exits 2.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Context, ModelRef, Refusal, Site
from radiograph.evidence import Estimate, Result

if TYPE_CHECKING:
    from radiograph.dictionaries import Dictionary, Quality
    from radiograph.models import LanguageModel


class Config(Base):
    """Which model, where, on what."""

    model: ModelRef
    """The model: folder, hub id or bundled:NAME."""
    site: str
    """One site, as resid_post.1."""
    data: tuple[str, ...]
    """Texts: FILE.jsonl, FILE.txt (a blank line ends a text), or world:DOMAIN[:SPLIT]#N."""
    preset: str = "minimal"
    """Defaults for what is not given below."""
    size: int | None = Field(default=None, ge=2)
    """Number of features; by default four times the site's width."""
    k: int | None = Field(default=None, ge=1)
    """Features that may fire on a token."""
    tokens: int | None = Field(default=None, ge=1)
    """Rows drawn in training, repeats included."""
    batch: int | None = Field(default=None, ge=1)
    """Rows a step."""
    learning_rate: float | None = Field(default=None, gt=0)
    """Peak learning rate."""
    max_rows: int = Field(default=400_000, ge=1)
    """Most rows kept in memory."""


class DictionaryTraining(Result):
    """What the new dictionary is worth."""

    SCHEMA: ClassVar[str] = "radiograph.dictionary_training/1"

    model: str
    site: str
    size: int
    width: int
    k: int
    sha256: str
    rows: int
    steps: int
    fvu: float
    fvu_random: float
    """Of a random dictionary of the same size and sparsity."""
    l0: float
    dead: int
    dense: int
    ce_recovered_zero: Estimate | None
    ce_recovered_mean: Estimate | None
    delta_ce: float | None
    not_measured: str | None = None
    curve: tuple[dict[str, float], ...]

    @property
    def headline(self) -> str:
        """Size and quality in one line."""
        found = self.ce_recovered_mean
        ce = "" if found is None else f", CE recovered {found.value:.3f} (random {_text(found.null)})"
        return (
            f"{self.size} features at {self.site}: FVU {self.fvu:.3f} (random {self.fvu_random:.3f}), "
            f"L0 {self.l0:.1f}{ce}, {self.dead} dead"
        )


def _text(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3f}"


def run(config: Config, ctx: Context) -> DictionaryTraining:
    """Harvest, train, measure, save."""
    from radiograph import dictionaries
    from radiograph.dictionaries import random_control
    from radiograph.dictionaries.training import preset, train
    from radiograph.harvest import harvest

    model: LanguageModel = ctx.model(config.model, "model")
    site = str(Site.parse(config.site))
    given = {k: getattr(config, k) for k in ("size", "k", "tokens", "batch", "learning_rate")}
    settings = preset(config.preset, seed=ctx.seed, **{k: v for k, v in given.items() if v is not None})
    with ctx.measure("harvest"):
        shards = harvest(model, ctx.texts(config.data), [site], max_rows=config.max_rows, progress=ctx.progress)
    with ctx.measure("train", tokens=settings.tokens):
        trained = train(shards, site, settings, metadata=_metadata(config, ctx, model), progress=ctx.progress)
    with ctx.measure("evaluate"):
        quality = _evaluate(trained.dictionary, model, shards, site)
        control = random_control(trained.dictionary, shards.rows(site, "validation"), ctx.seed)
        chance = _evaluate(control, model, shards, site)
    update = {"quality": quality, "neutral": _neutral(trained.dictionary, model, site)}
    dictionary = replace(trained.dictionary, metadata=trained.dictionary.metadata.model_copy(update=update))
    dictionaries.save(dictionary, ctx.output.folder("dictionary"))
    return DictionaryTraining(
        model=ctx.label(config.model),
        site=site,
        size=dictionary.size,
        width=dictionary.width,
        k=settings.k,
        sha256=dictionary.hash,
        rows=shards.count("train"),
        steps=settings.steps,
        fvu=quality.fvu,
        fvu_random=chance.fvu,
        l0=quality.l0,
        dead=quality.dead,
        dense=quality.dense,
        ce_recovered_zero=_recovered(quality, chance, "ce_recovered_zero"),
        ce_recovered_mean=_recovered(quality, chance, "ce_recovered_mean"),
        delta_ce=quality.delta_ce,
        not_measured=None if quality.ce_recovered_mean is not None else "an ablation costs less than 0.05 nats",
        curve=tuple({"rows": float(r.rows), "fvu": r.fvu, "l0": r.l0, "dead": float(r.dead)} for r in trained.log),
    )


def _metadata(config: Config, ctx: Context, model: LanguageModel) -> Any:
    from radiograph.dictionaries import Metadata, ModelIdentity

    identity = model.identity
    return Metadata(
        model=ModelIdentity(reference=ctx.label(config.model), tensors_sha256=identity.tensors_sha256),
        tokenizer_sha256=identity.tokenizer_sha256,
        bos="skip",
        source="radiograph dictionary train on " + ", ".join(ctx.label(d) for d in config.data),
        check="native",
    )


def _evaluate(dictionary: Dictionary, model: LanguageModel, shards: Any, site: str) -> Quality:
    """Quality on validation rows, with splicing."""
    from radiograph.dictionaries import evaluate
    from radiograph.interventions import splice_losses

    quality = evaluate(dictionary, [shards.rows(site, "validation")])
    held = [w for w in shards.windows if w.split == "validation"]
    losses = splice_losses(model, dictionary, [w.ids for w in held], [w.kept for w in held])
    recovered = {"ce_recovered_zero": losses.recovered_zero, "ce_recovered_mean": losses.recovered_mean}
    measured = {name: value for name, value in recovered.items() if not isinstance(value, Refusal)}
    return quality.model_copy(update={"delta_ce": losses.delta_ce, **measured})


def _neutral(dictionary: Dictionary, model: LanguageModel, site: str) -> Quality:
    """Quality on the standard neutral texts, so that a guard can later measure the same thing."""
    from radiograph.dictionaries import evaluate
    from radiograph.harvest import harvest, read
    from radiograph.organisms import standard_neutral

    shards = harvest(model, read(standard_neutral(model.tokenizer)), [site])
    return evaluate(dictionary, [shards.rows(site)])


def _recovered(quality: Quality, chance: Quality, name: str) -> Estimate | None:
    """The share recovered, with the random dictionary's beside it as null."""
    value = getattr(quality, name)
    return None if value is None else Estimate(value=value, n=quality.n_rows, unit="share", null=getattr(chance, name))
