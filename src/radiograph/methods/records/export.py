"""Activations of chosen features on prompts or texts, as sparse records that other verbs read without the model.

1. `--features` names units, dictionaries or directions; each is encoded as its site is reached, and no layer above the
   deepest site runs
2. prompts are compiled like a criterion (`--prompts`, labelled), or texts are taken as they are (`--text`); prompts are
   fed in batches of like length, a prompt that is too long is cut at its end and counted, BOS is fed and not recorded
3. a row is a token, or a prompt with one value a feature: the largest code, or the last value of a unit. Of a labelled
   span a prompt's row holds the tokens that it touches
4. `--keep` keeps the largest of each row; `--per-site` the features of each source that go with the labels best on the
   discover half, whose split every later study must then keep to
5. entries are sorted by feature; texts, offsets, labels, halves and write directions go with them

Every source of the run reads one batch, so backends and sources see the same tokens. Units: those of each codec.
Refuses when: a dictionary explains less than a tenth of the variance at its site on these texts, or was made for
another model (`dictionary_mismatch`).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from radiograph.core import REFERENCE, Context, FeaturesRef, FilePath, Input, ModelRef, Refusal, Source, UserError
from radiograph.core import Config as Base
from radiograph.core.sizes import Count
from radiograph.evidence import document_sha256
from radiograph.methods.records._export.result import ExportedSource, RecordsExport

if TYPE_CHECKING:
    from radiograph.criteria import Compiled
    from radiograph.methods.records._export.fed import Fed, Marked
    from radiograph.models import LanguageModel
    from radiograph.models.backends import Reader
    from radiograph.sources import Features, Live
    from radiograph.store.records import Records

CHECKED_TOKENS = 2_000
"""Tokens on which a dictionary is measured."""
FEWEST_CHECKED = 200
"""Below so many nothing is said of it."""
WORST_FVU = 0.9
SHARD_BYTES = 32 * 2**20
"""Rows of activations that are in memory at once: their codes may take several times as much."""
PromptsRef = Annotated[str, Input("file")]
DataRef = Annotated[str, Input("file")]


class Config(Base):
    """Which features of a model, on what, and how much of it is kept."""

    model: ModelRef
    """Folder, hub id or bundled:NAME, with +ADAPTER."""
    features: tuple[FeaturesRef, ...] = ()
    """units:SITE, dictionary:REF, direction:FILE and others, with #650,700-720 for some of them; repeatable."""
    prompts: PromptsRef | None = None
    """Labelled prompts: FILE.jsonl, .csv, .parquet, suite:FILE, world:ATTRIBUTE, or a criterion.json."""
    text: tuple[DataRef, ...] = ()
    """Any text: FILE.jsonl, FILE.txt, suite:FILE, world:DOMAIN#N, hf:NAME@REVISION#SPLIT; repeatable."""
    backend: Literal["hf", "transformerlens", "nnsight"] = "hf"
    """What runs the model."""
    layers: str | None = None
    """Layers for --site-template, as 0,4,8 or 1-3 or -1."""
    site_template: str = "resid_post.{layer}"
    """Units to record at each of --layers; also a hook name or a module path."""
    level: Literal["token", "prompt"] = "token"
    """A row a token, or a row a prompt."""
    pool: Literal["max", "last", "mean", "sum"] | None = None
    """At level prompt; by default max for codes and last for units."""
    keep: int | None = Field(default=None, ge=1)
    """Entries kept of each row, the largest in size; by default all that are not zero."""
    per_site: int | None = Field(default=None, ge=1)
    """Features kept of each source, chosen by labels on the discover half alone."""
    batch_tokens: Count = 8192
    """Padded tokens of one forward."""
    max_length: int = Field(default=512, ge=1, le=65_535)
    """Most tokens of a prompt; longer ones are cut and counted."""
    dtype: Literal["same", "fp32", "bf16", "fp16"] = "same"
    """What the model computes in; same is what it was stored in."""
    bos: Literal["skip", "keep"] = "skip"
    """Whether the BOS token is recorded; it is fed either way."""
    prepend_bos: bool = True
    """Whether the tokenizer adds its special tokens."""
    to: Literal["parquet", "jsonl"] = "parquet"
    """A folder for other verbs, or JSON Lines."""
    threshold: float = Field(default=0.5, gt=0, le=1)
    """Scores of prompts from here on are positive."""
    count: int = Field(default=400, ge=2)
    """Rows that --prompts world:ATTRIBUTE draws."""
    near_duplicates: Literal["jaccard", "off"] = "jaccard"
    """Whether prompts that are almost equal are one group."""
    k: int | None = Field(default=None, ge=1)
    """Features that fire on a row, where a dictionary's file does not say."""
    max_features: int | None = Field(default=None, ge=1)
    """Most features of each source, drawn with the seed."""
    labels: FilePath | None = None
    """Labels of features, JSON Lines, over those that come with them."""


def run(config: Config, ctx: Context) -> RecordsExport:
    """Open the sources, run the model, sort, describe."""
    from radiograph.models.backends import reader
    from radiograph.store.foreign import write_jsonl

    _check(config)
    compiled = None if config.prompts is None else _compiled(config, ctx)
    given = _sources(config, ctx)
    model: LanguageModel = _typed(ctx.model(config.model, "model"), config.dtype)
    parts = [(live, features) for live in given for features in live.open(model)]
    fed = _fed(config, ctx, model, compiled)
    made = _marked(config, ctx, model, fed)
    read = reader(config.backend, model)
    with ctx.measure("check"):
        quality = [_quality(model, features, made, read) for _, features in parts]
    with ctx.measure("capture", tokens=made.plan.counted.kept):
        captured = _captured(config, ctx, model, [f for _, f in parts], made, read)
    with ctx.measure("sort"):
        records = _sorted(config, ctx, captured, fed, made, [f for _, f in parts], compiled, model)
    shutil.rmtree(captured.folder)
    sha256 = document_sha256(records.header)
    if config.to == "jsonl":
        sha256 = write_jsonl(records, records.folder.parent / "records.jsonl")
    result = _result(config, ctx, parts, quality, records, made, compiled, sha256)
    if config.to == "jsonl":
        shutil.rmtree(records.folder)
    return result


def _check(config: Config) -> None:
    if not config.features and config.layers is None:
        raise UserError(
            "records export needs --features",
            expected="units:SITE, dictionary:REF, direction:FILE, … or --layers",
            code="bad_value",
        )
    if (config.prompts is None) == (not config.text):
        raise UserError("records export needs --prompts or --text, one of them", code="bad_value")
    if config.per_site is not None and config.prompts is None:
        raise UserError("--per-site chooses by labels", fix="give labelled --prompts", code="bad_value")
    if config.per_site is not None and config.keep is not None:
        raise UserError(
            "--keep before --per-site would hide what the choice is made of", fix="give one of them", code="bad_value"
        )
    if config.pool is not None and config.level == "token":
        raise UserError("--pool makes a row a prompt", fix="add --level prompt", code="bad_value")
    if config.layers is not None and "{layer}" not in config.site_template:
        raise UserError(
            "--site-template has no place for the layer", expected="as resid_post.{layer}", code="bad_value"
        )


def _compiled(config: Config, ctx: Context) -> Compiled:
    """The rows of the prompts, in groups and halves, and their compilation on disk."""
    from radiograph import criteria

    assert config.prompts is not None
    named = config.prompts.startswith("world:") or config.prompts.endswith("criterion.json")
    compiled: Compiled = ctx.criterion(
        config.prompts if named else ctx.label(config.prompts),
        prompts=None if named else config.prompts,
        threshold=config.threshold,
        count=config.count,
        near_duplicates=config.near_duplicates,
        surface=False,
    )
    criteria.write_compiled(compiled, ctx.output.folder("criterion"))
    return compiled


def _sources(config: Config, ctx: Context) -> list[Live]:
    """Every source, live ones alone."""
    from radiograph.sources import Live, Options

    wanted = list(config.features)
    if config.layers is not None:
        wanted += [f"units:{site}" for site in _template(config.layers, config.site_template)]
    options = Options(k=config.k, max_features=config.max_features, labels=config.labels)
    out: list[Live] = []
    for number, text in enumerate(wanted):
        role = "features" if len(wanted) == 1 else f"features.{number}"
        found = ctx.features(text, role, options)
        if not isinstance(found, Live):
            raise UserError(
                f"{text!r} is {found.kind}, not features that a model can be run through",
                expected="units:SITE, dictionary:REF, direction:FILE, …",
                code="not_live",
            )
        out.append(found)
    return out


def _template(layers: str, template: str) -> list[str]:
    """Sites of some layers: `0,4,8`, `1-3`, `-1`; negative ones count from the end."""
    import re

    out: list[str] = []
    for part in layers.split(","):
        match = re.fullmatch(r"\s*(?:(-\d+)|(\d+)(?:-(\d+))?)\s*", part)
        if match is None or (match[3] and int(match[3]) < int(match[2])):
            raise UserError(f"--layers {layers}", expected="as 0,4,8 or 1-3 or -1", got=part, code="bad_value")
        first = int(match[1] or match[2])
        last = int(match[3]) if match[3] else first
        out += [template.replace("{layer}", str(layer)) for layer in range(first, last + 1)]
    return list(dict.fromkeys(out))


def _typed(model: LanguageModel, dtype: str) -> LanguageModel:
    if dtype != "same":
        import torch

        _ = model.identity  # of the weights as they were stored
        torch.nn.Module.to(model.model, {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[dtype])
    return model


def _fed(config: Config, ctx: Context, model: LanguageModel, compiled: Compiled | None) -> Fed:
    from radiograph.methods.records._export.fed import Fed, of_rows

    if model.tokenizer is None:
        raise UserError("the model has no tokenizer", fix="records need text to become tokens", code="no_tokenizer")
    if compiled is None:
        return Fed(model.tokenizer, ctx.corpus(config.text), specials=config.prepend_bos)
    return of_rows(compiled.rows, model.tokenizer, level=config.level, specials=config.prepend_bos)


def _marked(config: Config, ctx: Context, model: LanguageModel, fed: Fed) -> Marked:
    from radiograph import harvest
    from radiograph.methods.records._export.fed import marked

    length = min(config.max_length, model.context_length)
    reading = harvest.Reading(length=length, window=False, rows="content", bos=config.bos)
    with ctx.measure("tokenise"):
        plan = harvest.plan(
            model.tokenizer,
            fed,
            reading,
            harvest.Limits(seed=ctx.seed, validation=0.0),
            vocabulary=model.vocab_size,
            progress=ctx.progress,
        )
        return marked(fed, plan, level=config.level)


def _quality(model: LanguageModel, features: Features, made: Marked, read: Reader) -> tuple[float, int] | None:
    """FVU of a dictionary on the first tokens, and how many there were; None for anything else, or too few of them.

    Raises:
        Refusal: `dictionary_mismatch`.
    """
    from radiograph import harvest
    from radiograph.dictionaries import evaluate
    from radiograph.harvest import Engine, Recipe

    if features.dictionary_sha256 is None:
        return None
    codec = features.codec
    sources = tuple(dict.fromkeys((*codec.sites, *codec.targets)))
    wanted = harvest.expand_sources({REFERENCE: model}, sources)
    last = int((made.plan.rows.cumsum() < CHECKED_TOKENS).sum()) + 1
    found = Engine({REFERENCE: model}, Recipe(wanted), reader=read).capture(made.plan, 0, min(last, len(made.plan)))
    number = len(found.token)
    if number < FEWEST_CHECKED:
        return None
    import torch

    joined = [torch.cat([found.rows[str(Source.parse(s))] for s in side], 1) for side in (codec.sites, codec.targets)]
    fvu = evaluate(codec, [(joined[0].float(), joined[1].float())]).fvu
    if fvu > WORST_FVU:
        raise Refusal(
            "dictionary_mismatch",
            f"the dictionary at {features.site} does not explain these activations",
            expected=f"FVU at most {WORST_FVU:g}",
            got=f"FVU {fvu:.3f} on {number} tokens",
            fix="check model, site and scale: dictionary import --model tells them apart",
            fixable=True,
        )
    return fvu, number


def _captured(
    config: Config, ctx: Context, model: LanguageModel, parts: list[Features], made: Marked, read: Reader
) -> Records:
    """Every part, encoded as it came, in the order of rows."""
    from radiograph import harvest
    from radiograph.sources import joined
    from radiograph.store.records import open_records

    names = [name for part in parts for name in part.codec.sites]
    codec = joined(parts, {name: model.site_width(Source.parse(name).site) for name in names})
    recipe = harvest.Recipe(
        sources=tuple(str(Source.parse(site)) for site in codec.sites),
        batch_tokens=config.batch_tokens,
        shard_bytes=SHARD_BYTES,
        pool=_pool(config, parts),
        dense=False,
        keep=config.keep,
    )
    engine = harvest.Engine({REFERENCE: model}, recipe, codec, read)
    folder: Path = ctx.output.folder("captured")
    harvest.plan_folder(folder)
    limits = harvest.Limits(seed=ctx.seed, validation=0.0)
    spec = harvest.spec_of(engine, made.plan, limits, shards=None, records=folder, device=ctx.device)
    label = {REFERENCE: ctx.label(config.model)}
    harvest.write(
        spec,
        made.plan,
        engine,
        index=harvest.index_of(engine, spec, label, {}),
        header=harvest.header_of(engine, spec, label),
        progress=ctx.progress,
    )
    return open_records(folder)


def _pool(config: Config, parts: list[Features]) -> Literal["max", "last", "mean", "sum"] | None:
    if config.level == "token":
        return None
    if config.pool is None and len({part.pool for part in parts}) > 1:
        raise UserError(
            "codes of a dictionary and units are pooled over tokens in two ways",
            expected="max of codes, last of units",
            fix="say which by --pool, record them apart, or record tokens: --level token",
            where="--pool",
            code="mixed_pool",
        )
    return config.pool or parts[0].pool


def _sorted(
    config: Config,
    ctx: Context,
    captured: Records,
    fed: Fed,
    made: Marked,
    parts: list[Features],
    compiled: Compiled | None,
    model: LanguageModel,
) -> Records:
    from radiograph.methods.records._export.written import per_site, write_sorted
    from radiograph.store.records import open_records

    chosen = None
    if config.per_site is not None:
        assert compiled is not None
        chosen = per_site(captured, parts, fed, made, config.per_site, ctx.seed)
    folder = ctx.output.folder("records")
    write_sorted(
        folder,
        captured,
        fed,
        made,
        parts,
        chosen=chosen,
        selected=None if chosen is None or compiled is None else compiled.split.sha256,
        private=ctx.private,
        model_sha256=model.identity.tensors_sha256,
    )
    return open_records(folder)


def _result(
    config: Config,
    ctx: Context,
    parts: list[tuple[Live, Features]],
    quality: list[tuple[float, int] | None],
    records: Records,
    made: Marked,
    compiled: Compiled | None,
    sha256: str,
) -> RecordsExport:
    header, counted = records.header, made.plan.counted
    stored = set(records.features["feature_id"].to_list())
    sources = tuple(
        ExportedSource(
            source=live.name,
            site=part.site,
            features=sum(name in stored for name in part.ids),
            of=part.codec.size,
            dictionary_sha256=part.dictionary_sha256,
            fvu=None if found is None else found[0],
            fvu_tokens=None if found is None else found[1],
            citation=live.citation,
        )
        for (live, part), found in zip(parts, quality, strict=True)
    )
    assert header.absent != "missing"
    return RecordsExport(
        model=ctx.label(config.model),
        backend=config.backend,
        sources=sources,
        criterion=None if compiled is None else compiled.criterion.id,
        level=header.level,
        pool=header.pool,
        absent=header.absent,
        kept_per_row=header.kept_per_row,
        selected=header.selected,
        rows=header.rows,
        prompts=len(made.plan),
        features=header.features,
        entries=header.entries,
        active=header.entries / header.rows if header.rows else 0.0,
        tokens=counted.tokens,
        truncated=counted.cut,
        lost=made.lost,
        bos=config.bos,
        to=config.to,
        sha256=sha256,
        codes=tuple(sorted({code for live, _ in parts for code in live.codes})),
        notes=_notes(config, made, sources),
    )


def _notes(config: Config, made: Marked, sources: tuple[ExportedSource, ...]) -> tuple[str, ...]:
    counted = made.plan.counted
    notes: list[str] = []
    if counted.cut:
        notes.append(f"{counted.cut} of {counted.documents} prompts are longer than {made.plan.reading.length} tokens")
    if made.lost:
        notes.append(f"{made.lost} labelled spans lie behind the cut, or between tokens, and have no row")
    unmeasured = [source.source for source in sources if source.dictionary_sha256 and source.fvu is None]
    if unmeasured:
        notes.append(f"{', '.join(unmeasured)}: too few tokens to say whether the dictionary fits")
    if config.keep is not None:
        notes.append("entries left out by --keep are not known to be zero: findings on these records carry censored")
    return tuple(notes)


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """Do the records say what the result says?"""
    from radiograph.store import file_sha256
    from radiograph.store.records import open_records

    stored = RecordsExport.read(result)
    if stored.to == "jsonl":
        found: dict[str, Any] = {"sha256": file_sha256(folder / "records.jsonl")}
    else:
        header = open_records(folder / "records", verify=True).header
        names = ("rows", "features", "entries", "absent", "kept_per_row", "selected", "level", "pool")
        found = {name: getattr(header, name) for name in names} | {"sha256": document_sha256(header)}
    return [
        f"{name} is {getattr(stored, name)}, the records give {value}"
        for name, value in found.items()
        if getattr(stored, name) != value
    ]
