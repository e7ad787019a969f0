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

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

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
    UserError,
    Workers,
)
from radiograph.core.sizes import ByteSize, Count
from radiograph.evidence import Record, Result

if TYPE_CHECKING:
    from radiograph.harvest import Corpus, Engine, Plan, Spec
    from radiograph.models import LanguageModel
    from radiograph.store.shards import Index

MANY_CUT = 0.2
"""Share of documents longer than a window above which the result says so."""
DataRef = Annotated[str, Input("file")]


class Config(Base):
    """Which models, where, on what, and how it is stored."""

    model: ModelRef
    """The reference: folder, hub id or bundled:NAME, with +ADAPTER."""
    site: tuple[str, ...] = ()
    """Where to read, as resid_post.6, resid_post.{3,6}, resid_post.*; repeatable."""
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


class HarvestedSource(Record):
    """One site of one model."""

    source: str
    width: int
    dtype: str
    variance: float | None
    """Mean of ‖x − mean‖² over rows."""
    mean_norm: float | None
    """Length of the mean row."""
    largest_norm: float | None


class HarvestResult(Result):
    """What was stored."""

    SCHEMA: ClassVar[str] = "radiograph.harvest/1"

    models: dict[str, str]
    """Role to reference."""
    sources: tuple[HarvestedSource, ...]
    rows: int
    """Of every source."""
    rows_dropped: int
    """Left out by --drop-norm."""
    validation_rows: int
    tokens_fed: int
    documents: int
    documents_left_out: int
    """Not in the subset."""
    documents_empty: int
    """Without a token to keep."""
    documents_cut: int
    """Longer than a window."""
    windows: int
    shards: int
    bytes: int
    """Of the shards."""
    index_sha256: str
    """Of the index, which holds the SHA-256 of every shard."""
    config_sha256: str
    """Of everything that decides a byte."""
    notes: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """Rows, sources, shards."""
        many = f"{len(self.sources)} sources" if len(self.sources) > 1 else "".join(s.source for s in self.sources)
        plural = "s" if self.shards != 1 else ""
        return f"{self.rows:,} rows of {many} in {self.shards} shard{plural}, {self.bytes / 1e6:,.1f} MB"

    @property
    def lines(self) -> tuple[str, ...]:
        """What a reader should not overlook."""
        return self.notes


def run(config: Config, ctx: Context) -> HarvestResult:
    """Plan, capture, commit."""
    from radiograph import harvest

    _check(config)
    workers = Workers.parse(config.workers)
    models = _models(config, ctx)
    folder, before = _folder(config, ctx)
    texts = ctx.corpus(config.data, fields=_fields(config))
    with ctx.measure("tokenise"):
        plan = _plan(config, ctx, models, texts, folder)
    spec, engine = _spec(config, ctx, models, plan, workers, folder)
    index = _index(config, ctx, models, spec, engine, texts)
    with ctx.measure("harvest", tokens=plan.counted.kept):
        done = harvest.write(
            spec, plan, index, engine, workers=workers, before=before, verify=config.verify, progress=ctx.progress
        )
    return _result(config, ctx, models, plan, done)


def _check(config: Config) -> None:
    for name in ("site", "data"):
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


def _folder(config: Config, ctx: Context) -> tuple[Path, dict[str, Any] | None]:
    """Where the shards go, and what the run that is resumed was asked for."""
    from radiograph.harvest import facts_of

    if config.to is None:
        if config.resume is None:
            return ctx.output.folder("activations"), None
        folder = ctx.output.adopt(ctx.locate(config.resume), "activations")
        return folder, facts_of(folder)
    folder = ctx.place(config.to)
    if config.resume is None and folder.exists() and any(folder.iterdir()):
        raise UserError(
            f"{config.to} is not empty", expected="a new folder", fix="choose another --to, or --resume RUN"
        )
    if config.resume is not None:
        ctx.output.adopt(ctx.locate(config.resume))
    return folder, facts_of(folder)


def _fields(config: Config) -> Any:
    from radiograph.harvest import Fields

    return Fields(
        text=config.text_field,
        messages=config.messages_field,
        id=config.id_field,
        group=config.group_field,
        per=config.per,
    )


def _plan(config: Config, ctx: Context, models: dict[str, LanguageModel], texts: Corpus, folder: Path) -> Plan:
    from radiograph import harvest

    reference = models["reference"]
    reading = harvest.Reading(
        length=min(config.max_length, *(model.context_length for model in models.values())),
        window=config.window == "on",
        rows=config.rows,
        bos=config.bos,
        chat=config.chat,
    )
    limits = harvest.Limits(config.max_prompts, config.max_tokens, ctx.seed, config.validation)
    return harvest.plan(
        reference.tokenizer,
        texts,
        reading,
        limits,
        vocabulary=min(model.vocab_size for model in models.values()),
        folder=harvest.plan_folder(folder),
        keep_text=config.keep_text,
        progress=ctx.progress,
    )


def _spec(
    config: Config, ctx: Context, models: dict[str, LanguageModel], plan: Plan, workers: Workers, folder: Path
) -> tuple[Spec, Engine]:
    from radiograph import harvest

    recipe = harvest.Recipe(
        sources=harvest.expand_sources(models, config.site),
        dtype=config.dtype,
        batch_tokens=config.batch_tokens,
        shard_bytes=config.shard_size,
        drop_norm=config.drop_norm,
    )
    limits = harvest.Limits(config.max_prompts, config.max_tokens, ctx.seed, config.validation)
    engine = harvest.Engine(models, recipe)
    return harvest.spec_of(engine, plan, limits, workers, folder, ctx.device), engine


def _index(
    config: Config, ctx: Context, models: dict[str, LanguageModel], spec: Spec, engine: Engine, texts: Corpus
) -> Index:
    from radiograph import harvest

    names = dict(zip(models, (config.model, *config.candidate), strict=True))
    return harvest.index_of(engine, spec, {role: ctx.label(name) for role, name in names.items()}, texts.hashes)


def _result(config: Config, ctx: Context, models: dict[str, LanguageModel], plan: Plan, done: Index) -> HarvestResult:
    counted = plan.counted
    rows = sum(commit.rows for commit in done.commits)
    notes: list[str] = []
    if counted.cut > MANY_CUT * counted.documents:
        how = "went on in further windows" if config.window == "on" else "were truncated"
        notes.append(f"{counted.cut / counted.documents:.0%} of the documents are longer than a window and {how}")
    if counted.empty:
        notes.append(f"{counted.empty} texts held no token to keep")
    if counted.kept > rows:
        notes.append(f"{counted.kept - rows} rows were left out for their norm")
    names = dict(zip(models, (config.model, *config.candidate), strict=True))
    return HarvestResult(
        models={role: ctx.label(name) for role, name in names.items()},
        sources=tuple(HarvestedSource.model_validate(source.model_dump()) for source in done.sources),
        rows=rows,
        rows_dropped=counted.kept - rows,
        validation_rows=sum(commit.validation_rows for commit in done.commits),
        tokens_fed=counted.tokens,
        documents=counted.documents,
        documents_left_out=counted.left_out,
        documents_empty=counted.empty,
        documents_cut=counted.cut,
        windows=len(plan),
        shards=done.shards,
        bytes=sum(commit.bytes for commit in done.commits),
        index_sha256=done.sha256,
        config_sha256=done.config_sha256,
        notes=tuple(notes),
    )


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """Do the index and its shards say what the result says?"""
    from radiograph.store.shards import open_activations

    stored = HarvestResult.read(result)
    place = folder / "activations"
    if not place.is_dir():
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
