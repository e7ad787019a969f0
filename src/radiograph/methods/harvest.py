"""Activations of a model, or of several on the same tokens, as checksummed shards on disk.

1. tokenise the texts as the model is fed; cut longer documents into windows; mark the rows to keep (`--rows`)
2. split by group, duplicates united, so that no text stands on both sides; a subset is drawn by hash, not by place
3. cut shards from the counts of tokens alone, so that shard n is known before a model runs
4. run every model over the windows of a shard, up to the last site; each shard commits by itself, with its SHA-256
5. merge statistics in the order of the shards, so that neither workers nor kills show in a single byte

With `--dictionary` rows are encoded as they come and stored as sparse records beside the shards, or instead of them.
Units: rows are what the site holds, in the type that the model computed in. Refuses when: tokenizers or chat templates
differ (exit 4). Stops when: a value is not finite, or fp16 cannot hold it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import (
    Context,
    DictionaryRef,
    FolderPath,
    Input,
    ModelRef,
    Refusal,
    RunPath,
    Source,
    UserError,
    Workers,
)
from radiograph.core.sizes import ByteSize, Count
from radiograph.methods._harvest._result import HarvestedSource, HarvestResult, recorded_in

if TYPE_CHECKING:
    from radiograph.dictionaries import Dictionary
    from radiograph.harvest import Corpus, Engine, Limits, Plan, Spec
    from radiograph.models import LanguageModel
    from radiograph.store.records import Header
    from radiograph.store.shards import Index

MANY_CUT = 0.2
"""Share of documents longer than a window above which the result says so."""
DataRef = Annotated[str, Input("file")]


class Config(Base):
    """Which models, where, on what, and how it is stored."""

    model: ModelRef
    """The reference: folder, hub id or bundled:NAME, with +ADAPTER."""
    site: tuple[str, ...] = ()
    """Where to read, as resid_post.6, resid_post.{3,6}, resid_post.*; by default what the dictionary reads."""
    candidate: tuple[ModelRef, ...] = ()
    """Further models, on the same tokens; repeatable. MODEL+ADAPTER shares the weights of MODEL."""
    data: tuple[DataRef, ...] = ()
    """FILE.jsonl[.gz], FILE.parquet, FILE.txt, suite:FILE, world:DOMAIN[:SPLIT]#N, hf:NAME[:CONFIG]@REVISION#SPLIT."""
    text_field: str = "text"
    """Column that holds the text."""
    messages_field: str = "messages"
    """Column that holds a conversation."""
    id_field: str | None = None
    """Column that holds the id; by default prompt_id, else id."""
    group_field: str = "group_id"
    """Column of the group, which stays on one side of the split."""
    per: Literal["file", "line"] = "file"
    """In a .txt file a blank line ends a prompt, or every line is one."""
    chat: Literal["template", "plain"] = "template"
    """How conversations become text."""
    max_length: int = Field(default=512, ge=1, le=65_535)
    """Most tokens of a window."""
    window: Literal["on", "off"] = "on"
    """Longer documents go on in the next window, or are truncated."""
    rows: Literal["content", "all", "last", "assistant"] = "content"
    """Which tokens are kept: no specials, all, the last of content, what the assistant says."""
    bos: Literal["skip", "keep"] = "skip"
    """Whether rows of BOS are kept; it is always fed where the tokenizer adds it."""
    drop_norm: float = Field(default=0.0, ge=0)
    """Leave out rows whose norm exceeds this many medians of their shard; 0 keeps all."""
    max_tokens: Count | None = None
    """Most rows kept; whole documents, drawn by hash."""
    max_prompts: Count | None = None
    """Most documents, drawn by hash."""
    validation: float = Field(default=0.1, ge=0, lt=1)
    """Share of the groups that is held out."""
    dtype: Literal["same", "fp32", "bf16", "fp16"] = "same"
    """Type that is stored; same is what the model computed in."""
    batch_tokens: Count = 8192
    """Padded tokens of one forward."""
    shard_size: ByteSize = 256 * 2**20
    """Bytes of a shard."""
    to: FolderPath | None = None
    """Folder for the shards, outside the run; the manifest then knows them by their hash."""
    workers: str = "1"
    """1, N processes here, or ray[:N]."""
    resume: RunPath | None = None
    """A run that was killed (.partial), to go on with."""
    verify: bool = False
    """With --resume: hash the shards that are there."""
    dictionary: DictionaryRef | None = None
    """Encode the rows with this dictionary as they come."""
    records: Literal["only", "too"] = "only"
    """With --dictionary: records instead of shards, or both."""
    pool: Literal["max", "mean", "last", "sum", "count"] | None = None
    """With --dictionary: one value a prompt and feature."""
    keep_text: bool = False
    """Store the texts in prompts.parquet."""


def run(config: Config, ctx: Context) -> HarvestResult:
    """Plan, capture, commit."""
    from radiograph import harvest

    _check(config)
    workers = Workers.parse(config.workers)
    models = _models(config, ctx)
    codec = None if config.dictionary is None else ctx.dictionary(config.dictionary)
    engine = _engine(config, models, codec)
    places = _places(config, ctx)
    texts = ctx.corpus(config.data, fields=_fields(config))
    limits = harvest.Limits(config.max_prompts, config.max_tokens, ctx.seed, config.validation)
    with ctx.measure("tokenise"):
        plan = _plan(config, ctx, models, texts, limits, places.home)
    opening = (
        None if config.dictionary is None else partial(_codec, ctx.dictionary_folder(config.dictionary), ctx.device)
    )
    spec = harvest.spec_of(
        engine,
        plan,
        limits,
        shards=places.shards,
        records=places.records,
        workers=workers,
        device=ctx.device,
        open_codec=opening,
    )
    names = {role: ctx.label(name) for role, name in zip(models, (config.model, *config.candidate), strict=True)}
    with ctx.measure("harvest", tokens=plan.counted.kept):
        done, recorded = harvest.write(
            spec,
            plan,
            engine,
            index=harvest.index_of(engine, spec, names, texts.hashes),
            header=None if codec is None else harvest.header_of(engine, spec, names, private=ctx.private),
            workers=workers,
            before=places.before,
            verify=config.verify,
            progress=ctx.progress,
        )
    return _result(config, names, plan, spec, done, recorded)


def _check(config: Config) -> None:
    for name in ("data",) if config.dictionary else ("site", "data"):
        if not getattr(config, name):
            raise UserError(f"harvest needs --{name}", fix="see `radiograph harvest --help`", code="bad_value")
    if config.pool is not None and config.dictionary is None:
        raise UserError("--pool pools what a dictionary finds", fix="give --dictionary", code="bad_value")


def _models(config: Config, ctx: Context) -> dict[str, LanguageModel]:
    """Every model by its role.

    Raises:
        Refusal: they do not read text alike (`tokenizers_differ`).
    """
    from radiograph.models import same_tokenizer

    models = dict(ctx.models(config.model, config.candidate))
    reference = models["reference"]
    for role, model in models.items():
        difference = same_tokenizer(reference.tokenizer, model.tokenizer)
        ours, theirs = (getattr(m.tokenizer, "chat_template", None) for m in (reference, model))
        if difference is None and ours == theirs:
            continue
        what = str(difference) if difference else "the chat templates differ"
        raise Refusal("tokenizers_differ", f"reference and {role} do not read text alike: {what}")
    return models


@dataclass(frozen=True)
class _Places:
    """Where shards and records go, and what the run that is resumed was asked for."""

    shards: Path | None
    records: Path | None
    before: dict[str, Any] | None

    @property
    def home(self) -> Path:
        home = self.shards or self.records
        assert home is not None, "one of them is written"
        return home


def _places(config: Config, ctx: Context) -> _Places:
    from radiograph.harvest import facts_of

    dense = config.dictionary is None or config.records == "too"
    earlier = None if config.resume is None else ctx.locate(config.resume)
    if config.to is not None:
        outside = ctx.place(config.to)
        if earlier is not None:
            ctx.output.adopt(earlier)
        elif outside.exists() and any(outside.iterdir()):
            fix = "choose another --to, or go on with --resume RUN"
            raise UserError(f"{config.to} is not empty", expected="a new folder", fix=fix)
        shards, records = outside if dense else None, outside / "records"
    else:
        shards = _inside(ctx, earlier, "activations") if dense else None
        records = _inside(ctx, earlier, "records") if config.dictionary is not None else None
    if config.dictionary is None:
        records = None
    home = shards or records
    assert home is not None, "one of them is written"
    return _Places(shards, records, facts_of(home))


def _inside(ctx: Context, earlier: Path | None, name: str) -> Path:
    """A folder of the bundle, taken over from an unfinished run that has one."""
    began = earlier is not None and any((earlier / folder).is_dir() for folder in ("activations", "records"))
    if earlier is None or (began and not (earlier / name).is_dir()):
        return ctx.output.folder(name)
    return ctx.output.adopt(earlier, name)


def _fields(config: Config) -> Any:
    from radiograph.harvest import Fields

    return Fields(
        text=config.text_field,
        messages=config.messages_field,
        id=config.id_field,
        group=config.group_field,
        per=config.per,
    )


def _plan(
    config: Config, ctx: Context, models: dict[str, LanguageModel], texts: Corpus, limits: Limits, home: Path
) -> Plan:
    from radiograph import harvest

    reading = harvest.Reading(
        length=min(config.max_length, *(model.context_length for model in models.values())),
        window=config.window == "on",
        rows=config.rows,
        bos=config.bos,
        chat=config.chat,
    )
    return harvest.plan(
        models["reference"].tokenizer,
        texts,
        reading,
        limits,
        vocabulary=min(model.vocab_size for model in models.values()),
        folder=harvest.plan_folder(home),
        keep_text=config.keep_text,
        progress=ctx.progress,
    )


def _engine(config: Config, models: dict[str, LanguageModel], codec: Dictionary | None) -> Engine:
    """The models with what is read from them: the sites asked for, and those that the dictionary reads.

    Raises:
        Refusal: `dictionary_mismatch`.
    """
    from radiograph import harvest

    sources = dict.fromkeys(harvest.expand_sources(models, config.site))
    dense = codec is None or config.records == "too"
    if codec is not None:
        _require_same(codec, models)
        read = [str(Source.parse(site)) for site in codec.sites]
        if more := [] if dense else [source for source in sources if source not in read]:
            raise UserError(
                f"the dictionary does not read {more[0]}, so nothing of it would be stored",
                fix="leave --site out, or store shards as well with --records too",
                code="bad_value",
            )
        sources |= dict.fromkeys(read)
    recipe = harvest.Recipe(
        sources=tuple(sources),
        dtype=config.dtype,
        batch_tokens=config.batch_tokens,
        shard_bytes=config.shard_size,
        drop_norm=config.drop_norm,
        pool=config.pool,
        dense=dense,
    )
    return harvest.Engine(models, recipe, codec)


def _require_same(dictionary: Dictionary, models: dict[str, LanguageModel]) -> None:
    meta = dictionary.metadata
    roles = ("reference", *(f"candidate{n + 1 if n else ''}" for n in range(len(meta.candidates))))
    stated = dict(zip(roles, (meta.model, *meta.candidates), strict=True))
    for source, width in zip(map(Source.parse, dictionary.sites), dictionary.widths, strict=True):
        model, own = models.get(source.role), stated.get(source.role)
        expected = f"model {own.tensors_sha256 if own else 'unknown'}, {source} of width {width}"
        if model is None:
            got = f"no {source.role}"
        else:
            (site,) = model.sites(str(source.site))
            got = f"model {model.identity.tensors_sha256}, {source} of width {model.site_width(site)}"
        if expected != got:
            raise Refusal(
                "dictionary_mismatch",
                "the dictionary reads another model, or another place of it",
                expected=expected,
                got=got,
                fix="give the model that it was trained on, or a dictionary of this one",
            )


def _codec(folder: Path, device: str) -> Dictionary:
    """The dictionary, for a worker."""
    from radiograph import dictionaries

    return dictionaries.load(folder).to(device)


def _result(
    config: Config, names: dict[str, str], plan: Plan, spec: Spec, done: Index | None, recorded: Header | None
) -> HarvestResult:
    counted = plan.counted
    commits = done.commits if done else ()
    rows = sum(commit.rows for commit in commits) if done else counted.kept
    return HarvestResult(
        models=names,
        sources=tuple(HarvestedSource.model_validate(s.model_dump()) for s in done.sources) if done else (),
        rows=rows,
        rows_dropped=counted.kept - rows,
        validation_rows=sum(commit.validation_rows for commit in commits),
        tokens_fed=counted.tokens,
        documents=counted.documents,
        documents_left_out=counted.left_out,
        documents_empty=counted.empty,
        documents_cut=counted.cut,
        windows=len(plan),
        shards=len(commits),
        bytes=sum(commit.bytes for commit in commits),
        index_sha256=done.sha256 if done else None,
        config_sha256=spec.sha256,
        records=None if recorded is None else recorded_in(recorded),
        notes=_notes(config, plan, rows),
    )


def _notes(config: Config, plan: Plan, rows: int) -> tuple[str, ...]:
    counted = plan.counted
    notes: list[str] = []
    if counted.cut > MANY_CUT * counted.documents:
        how = "went on in further windows" if config.window == "on" else "were truncated"
        notes.append(f"{counted.cut / counted.documents:.0%} of the documents are longer than a window and {how}")
    if counted.empty:
        notes.append(f"{counted.empty} texts held no token to keep")
    if counted.kept > rows:
        notes.append(f"{counted.kept - rows} rows were left out for their norm")
    return tuple(notes)


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """Do the index and its shards say what the result says?"""
    from radiograph.store.shards import open_activations

    stored = HarvestResult.read(result)
    place = folder / "activations"
    if not place.is_dir() or stored.index_sha256 is None:
        return []
    index = open_activations(place).index
    found = {
        "index_sha256": index.sha256,
        "rows": sum(commit.rows for commit in index.commits),
        "bytes": sum((place / f"{c.number:05d}.safetensors").stat().st_size for c in index.commits),
    }
    return [
        f"{name} is {getattr(stored, name)}, the shards give {value}"
        for name, value in found.items()
        if getattr(stored, name) != value
    ]
