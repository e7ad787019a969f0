"""How good is a dictionary: reconstruction, sparsity, what a model loses when it is spliced in, and what chance gets.

1. rows: validation rows of harvested activations, or texts that run through the models now (content tokens)
2. FVU, L0, dead and dense features and their kin over the whole set, sums in float64; 95 % intervals by bootstrap over
   prompt groups (1,000 draws); FVU by position and by norm
3. beside it, on the same rows: random directions of the same number and L0, and the principal directions of the rows
   at the same L0 (per row the L0 of largest projection), fitted on those rows
4. splice the reconstruction into the model at the kept positions: change of cross-entropy, KL, and the shares that are
   recovered against zero and mean ablation; a crosscoder source by source
5. neighbours of decoder rows; planted directions found (--truth); features shared with another seed (--agree)
6. crosscoder over two models: features written in one of them only, by latent scaling (Minder et al. 2025), never by
   norms, and the same for the reference beside its own copy

Units: FVU is a share of the variance, losses are nats per token. Refuses when: the dictionary was trained on another
model or does not fit the rows; a share where its ablation costs less than 0.05 nats, or against zeros alone. A demand
(--require) that is not met exits 2, one that was not measured 4.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Context, DictionaryRef, ExitCode, FilePath, FolderPath, ModelRef, UserError
from radiograph.evidence import (
    AgreementRecord,
    Densities,
    ExclusivityRecord,
    FvuBand,
    GeometryRecord,
    MeasuredRows,
    Metric,
    RecoveryRecord,
    RefusalRecord,
    Requirement,
    Result,
    SplicedTokens,
)
from radiograph.methods.dictionary._evaluation import requirements
from radiograph.methods.dictionary._evaluation.metrics import KINDS, missing

if TYPE_CHECKING:
    from radiograph.dictionaries import Dictionary
    from radiograph.methods.dictionary._evaluation.measure import Measured
    from radiograph.methods.dictionary._evaluation.rows import Rows, Runs

TOLERANCE = 1e-4


class Config(Base):
    """Which dictionary, and on what it is measured."""

    dictionary: DictionaryRef
    """Dictionary folder, or dictionary:bundled."""
    activations: FolderPath | None = None
    """Harvested activations to reconstruct; without it those of the texts."""
    model: ModelRef | None = None
    """The model that it reads: needed for splicing, and for texts."""
    candidate: tuple[ModelRef, ...] = ()
    """Further models of a crosscoder, in the order of its sources."""
    data: tuple[str, ...] = ()
    """Texts: FILE.jsonl, FILE.txt (a blank line ends a text), or world:DOMAIN[:SPLIT]#N."""
    split: Literal["train", "validation", "all"] | None = None
    """Side of the split that is measured: by default validation where there are activations; texts alone whole."""
    truth: FilePath | None = None
    """Planted directions: safetensors with `directions` [M, d], and `rows` and `active` where codes are known."""
    agree: DictionaryRef | None = None
    """Another dictionary of the same place, say of another seed."""
    require: tuple[str, ...] = ()
    """A demand, as fvu<0.2; unmet exits 2, not measured 4."""
    transfer: bool = False
    """Measure on another model than the one it was trained on; every page says so."""
    max_rows: int = Field(default=100_000, ge=1)
    """Most rows of texts, which are held in memory. Activations are measured whole."""


class DictionaryEvaluation(Result):
    """What a dictionary is worth."""

    SCHEMA: ClassVar[str] = "radiograph.dictionary_evaluation/1"

    label: str
    sha256: str
    kind: str
    activation: str
    sites: tuple[str, ...]
    targets: tuple[str, ...]
    size: int
    width: int
    check: str
    """How the dictionary came here: `native`, or what its import could confirm."""
    transfer: bool
    rows: MeasuredRows | None
    spliced: tuple[SplicedTokens, ...]
    metrics: tuple[Metric, ...]
    densities: Densities | None
    bands: tuple[FvuBand, ...]
    geometry: GeometryRecord
    recovery: RecoveryRecord | None
    agreement: AgreementRecord | None
    exclusivity: tuple[ExclusivityRecord, ...]
    curve: tuple[dict[str, float], ...]
    """Logged steps of its training, where they lie beside it."""
    requirements: tuple[Requirement, ...]
    not_measured: tuple[RefusalRecord, ...]

    def value(self, name: str, source: str | None = None) -> float | None:
        """A metric's number; None if it was not measured."""
        found = self.metric(name, source)
        return None if found is None else found.estimate.value

    def metric(self, name: str, source: str | None = None) -> Metric | None:
        """A metric by name and target."""
        return next((m for m in self.metrics if (m.name, m.source) == (name, source)), None)

    @property
    def headline(self) -> str:
        """The numbers that people compare."""
        parts: list[str] = []
        for name, word in (("fvu", "FVU"), ("l0", "L0"), ("ce_recovered_mean", "CE recovered"), ("mmcs", "MMCS")):
            found = self.metric(name) or next((m for m in self.metrics if m.name == name), None)
            if found is not None:
                at = f" at {found.source}" if found.source else ""
                beside = "" if name == "l0" or found.random is None else f" (random {found.random:.3f})"
                parts.append(f"{word}{at} {found.estimate.value:.{1 if name == 'l0' else 3}f}{beside}")
        if self.rows is not None:
            parts.append(f"n = {self.rows.n} rows of {self.rows.groups} groups")
        moved = "TRANSFERRED to another model: " if self.transfer else ""
        return moved + (", ".join(parts) or f"{self.size} directions, no rows")

    @property
    def exit_code(self) -> ExitCode:
        """2 if a demand is unmet, else 4 if one was not measured."""
        answers = [r.met for r in self.requirements]
        if False in answers:
            return ExitCode.GATE_FAILED
        return ExitCode.NOT_MEASURED if None in answers else ExitCode.PASS


def run(config: Config, ctx: Context) -> DictionaryEvaluation:
    """Gather rows, measure, splice, compare."""
    from radiograph.methods.dictionary._evaluation.directions import agreement, geometry, recovery
    from radiograph.methods.dictionary._evaluation.measure import Measured, measured, spliced

    wanted = requirements.parse(config.require, list(KINDS))
    dictionary: Dictionary = ctx.dictionary(config.dictionary)
    _check(config)
    rows, runs = _gather(config, ctx, dictionary)
    found = Measured() if rows is None else measured(ctx, dictionary, rows)
    metrics, refused = list(found.metrics), list(found.refused)
    records: list[SplicedTokens] = []
    if runs is not None:
        records, more, gaps = spliced(ctx, dictionary, found.controls, runs)
        metrics += more
        refused += gaps
    truth, shared = None, None
    if config.truth is not None:
        truth, more, gaps = recovery(dictionary, ctx.path(config.truth, "truth"), found.live, ctx.seed)
        metrics += more
        refused += gaps
    if config.agree is not None:
        shared, more = agreement(dictionary, ctx.dictionary(config.agree, "agree"), ctx.seed)
        metrics += more
    nearby, more = geometry(dictionary, ctx.seed)
    metrics += more
    refused += _absent(config, {m.name for m in metrics} | {r.what.partition("@")[0] for r in refused})
    _tables(ctx, dictionary, found)
    return DictionaryEvaluation(
        label=ctx.label(config.dictionary),
        sha256=dictionary.hash,
        kind=dictionary.kind,
        activation=dictionary.activation.name,
        sites=dictionary.sites,
        targets=dictionary.targets,
        size=dictionary.size,
        width=dictionary.width,
        check=dictionary.metadata.check,
        transfer=config.transfer,
        rows=found.rows,
        spliced=tuple(records),
        metrics=tuple(metrics),
        densities=found.densities,
        bands=found.bands,
        geometry=nearby,
        recovery=truth,
        agreement=shared,
        exclusivity=found.exclusivity,
        curve=_curve(ctx, config.dictionary),
        requirements=requirements.answered(wanted, {(m.name, m.source): m.estimate.value for m in metrics}),
        not_measured=tuple(refused),
    )


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """Whether the answers to the demands follow from the metrics."""
    del folder
    return requirements.recheck(result)


def _absent(config: Config, known: set[str]) -> list[RefusalRecord]:
    """What nobody asked for, but a reader will look for."""
    gaps: list[RefusalRecord] = []
    for groups, given, code, text, fix in (
        (
            ("reconstruction", "codes"),
            config.activations or config.model,
            "no_rows",
            "no rows were given",
            "--activations A",
        ),
        (("splice",), config.model, "no_model", "splicing needs the model and text", "--model M --data TEXTS"),
    ):
        if not given:
            names = [name for name, kind in KINDS.items() if kind.group in groups and name not in known]
            gaps += missing(names, code, text, fix)
    return gaps


def _tables(ctx: Context, dictionary: Dictionary, found: Measured) -> None:
    columns: dict[str, list[Any]] = {"feature": list(range(dictionary.size)), "norm": dictionary.norms.tolist()}
    if found.density is not None:
        columns["density"] = found.density.tolist()
    ctx.output.table("features", columns)


def _curve(ctx: Context, reference: str) -> tuple[dict[str, float], ...]:
    """Logged steps of the run that made the dictionary, if it lies in that run's bundle."""
    run = ctx.dictionary_folder(reference).parent / "result.json"
    if not run.is_file():
        return ()
    document = json.loads(ctx.path(str(run), "training").read_bytes())
    if not str(document.get("schema", "")).startswith("radiograph.dictionary_training/"):
        return ()
    return tuple({k: float(v) for k, v in point.items() if v is not None} for point in document.get("curve", ()))


def _check(config: Config) -> None:
    if (config.model is None) != (not config.data):
        got = "--data without --model" if config.model is None else "--model without --data"
        raise UserError("splicing needs a model and text", got=got, fix="give both")
    if not (config.activations or config.model or config.truth or config.agree):
        raise UserError(
            "nothing to measure on",
            expected="--activations, --model with --data, --truth or --agree",
            fix="radiograph dictionary evaluate DICTIONARY --model MODEL --data TEXTS",
        )


def _gather(config: Config, ctx: Context, dictionary: Dictionary) -> tuple[Rows | None, Runs | None]:
    from radiograph.methods.dictionary._evaluation.rows import from_texts, load_models, planned
    from radiograph.methods.dictionary._evaluation.stored import from_activations

    rows, index = None, None
    if config.activations is not None:
        path = ctx.path(config.activations, "activations")
        rows, index = from_activations(path, dictionary, config.split or "validation", transfer=config.transfer)
    if config.model is None:
        return rows, None
    models = load_models(ctx, dictionary, config.model, config.candidate, config.transfer)
    texts = ctx.texts(config.data)
    if rows is not None and index is not None:
        side = {"validation": index.validation, "salt": index.split_salt}
        return rows, planned(models, texts, config.max_rows, rows.split, **side)
    with ctx.measure("harvest"):
        return from_texts(ctx, dictionary, models, texts, config.max_rows, config.split or "all")
