"""How good is a dictionary on given text: reconstruction, sparsity, and what the model loses when it is spliced in.

1. run the model over the data; keep rows of content tokens at the dictionary's site
2. FVU, L0, dead and dense features over all rows; the same for a random dictionary of equal size and sparsity
3. splice the reconstruction into the forward pass: change of cross-entropy, and the share recovered against zero and
   mean ablation; refused where an ablation costs less than 0.05 nats

Units: FVU is a share of the variance, CE in nats per token. Refuses when: the dictionary was trained on another model,
or does not fit the site.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Context, DictionaryRef, ModelRef, Refusal
from radiograph.evidence import RefusalRecord, Result

if TYPE_CHECKING:
    from radiograph.dictionaries import Dictionary
    from radiograph.models import LanguageModel


class Config(Base):
    """Which dictionary, on which model and text."""

    dictionary: DictionaryRef
    """Dictionary folder, or dictionary:bundled."""
    model: ModelRef
    """The model whose activations it reads."""
    data: tuple[str, ...]
    """Texts: FILE.jsonl, FILE.txt (a blank line ends a text), or world:DOMAIN[:SPLIT]#N."""
    max_rows: int = Field(default=50_000, ge=1)
    """Most rows measured."""


class DictionaryEvaluation(Result):
    """What a dictionary is worth on some text."""

    SCHEMA: ClassVar[str] = "radiograph.dictionary_evaluation/1"

    sha256: str
    site: str
    size: int
    n_rows: int
    fvu: float
    fvu_random: float
    l0: float
    dead: int
    """Features that fired on no row; the density of such a feature is below 3 / n_rows (95 %)."""
    dense: int
    """Features that fired on more than a tenth of the rows."""
    delta_ce: float
    ce_clean: float
    ce_spliced: float
    ce_recovered_zero: float | None
    ce_recovered_mean: float | None
    ce_recovered_mean_random: float | None
    """Of the random dictionary: what any directions of that number would recover."""
    not_measured: tuple[RefusalRecord, ...] = ()

    @property
    def headline(self) -> str:
        """The numbers that people compare."""
        ce = "" if self.ce_recovered_mean is None else f", CE recovered {self.ce_recovered_mean:.3f}"
        if self.ce_recovered_mean_random is not None:
            ce += f" (random {self.ce_recovered_mean_random:.3f})"
        return f"FVU {self.fvu:.3f} (random {self.fvu_random:.3f}), L0 {self.l0:.1f}{ce}, n = {self.n_rows} tokens"


def run(config: Config, ctx: Context) -> DictionaryEvaluation:
    """Harvest, reconstruct, splice."""
    from radiograph.dictionaries import evaluate, random_control
    from radiograph.harvest import harvest
    from radiograph.interventions import splice_losses

    dictionary: Dictionary = ctx.dictionary(config.dictionary)
    model: LanguageModel = ctx.model(config.model, "model")
    _require_same(dictionary, model)
    with ctx.measure("harvest"):
        texts = ctx.texts(config.data)
        shards = harvest(model, texts, [dictionary.site], max_rows=config.max_rows, progress=ctx.progress)
    rows = shards.rows(dictionary.site)
    with ctx.measure("reconstruct", tokens=len(rows)):
        quality = evaluate(dictionary, [rows])
        control = random_control(dictionary, rows, ctx.seed)
        random = evaluate(control, [rows])
    with ctx.measure("splice", tokens=len(rows)):
        losses = splice_losses(model, dictionary, [w.ids for w in shards.windows], [w.kept for w in shards.windows])
        chance = splice_losses(model, control, [w.ids for w in shards.windows], [w.kept for w in shards.windows])
    recovered = {"zero": losses.recovered_zero, "mean": losses.recovered_mean}
    return DictionaryEvaluation(
        sha256=dictionary.hash,
        site=dictionary.site,
        size=dictionary.size,
        n_rows=quality.n_rows,
        fvu=quality.fvu,
        fvu_random=random.fvu,
        l0=quality.l0,
        dead=quality.dead,
        dense=quality.dense,
        delta_ce=losses.delta_ce,
        ce_clean=losses.clean,
        ce_spliced=losses.spliced,
        ce_recovered_zero=None if isinstance(recovered["zero"], Refusal) else recovered["zero"],
        ce_recovered_mean=None if isinstance(recovered["mean"], Refusal) else recovered["mean"],
        ce_recovered_mean_random=None if isinstance(chance.recovered_mean, Refusal) else chance.recovered_mean,
        not_measured=tuple(
            RefusalRecord(code=value.code, what=f"CE recovered ({name} ablation)", text=value.message)
            for name, value in recovered.items()
            if isinstance(value, Refusal)
        ),
    )


def _require_same(dictionary: Dictionary, model: LanguageModel) -> None:
    stated = dictionary.metadata.model.tensors_sha256 if dictionary.metadata.model else None
    if stated != model.identity.tensors_sha256:
        raise Refusal(
            "dictionary_mismatch",
            "the dictionary was trained on another model",
            expected=f"model {stated or 'unknown'}",
            got=f"model {model.identity.tensors_sha256}",
            fix="give the model that it was trained on, or a dictionary of this one",
            fixable=True,
        )
