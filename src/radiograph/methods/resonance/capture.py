"""Texts and vectors of a model over a grid of prompts, with and without writes, in one mixed batch.

1. read the grid; turn prompts to tokens by one rule for BOS (`--bos`); bind writes and doses to the model
2. rows = prompt × condition × sample, planned before anything runs; the condition `none` is always among them
3. decode every batch once: rows differ in what is written into them and share their luck by prompt and sample
4. pool the activations at `--site` while decoding, after the writes (`--read-before`: before them)
5. `--follow reference` feeds every condition the text of the row without writes: what moves is not by way of the text
6. batches commit one by one; `--resume RUN` redoes missing ones whole and ends with the same bytes

Files: `tables/rows.parquet`, `vectors/`, `conditions.json`; `rows.tsv` with `--tsv`. Units: nats; doses in every unit.
Source: Bird's Spotlight Resonance Method takes vectors per prompt (arXiv 2505.13471); here any site, op and pool.
Refuses when: every row broke (exit 4). Stops when: a prompt does not fit the context, or a write has no meaning.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from radiograph.core import Context, ExitCode, FilePath, FolderPath, Input, ModelRef, UserError
from radiograph.evidence import Bos, Decoding, Follow, Pool, Record, Result
from radiograph.methods._texts.options import TextOptions
from radiograph.methods.resonance._capture import _asked, _effects

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from radiograph.evidence import Grid, Recipe
    from radiograph.interventions import BoundCondition, Prompts, SiteStatistics, Sweep
    from radiograph.models import LanguageModel

GridRef = Annotated[str, Input("file")]
DataRef = Annotated[str, Input("file")]
_RECIPES = (
    *("where", "write", "conditions", "new_tokens", "mode", "temperature", "top_k", "top_p"),
    *("repetition_penalty", "no_repeat_ngram", "stop", "bos", "chat", "truncate"),
)
"""Options that a recipe decides."""


class Config(TextOptions):
    """Which prompts, what is written, what is read, and how text is made."""

    model: ModelRef
    """The model: folder, hub id or bundled:NAME, with +ADAPTER."""
    grid: GridRef | None = None
    """A shipped grid by name, or a grid file."""
    recipe: FilePath | None = None
    """A recipe instead of a grid: its prompt, its rack, its decoding."""
    site: tuple[str, ...] = ()
    """Where to read, as resid_post.6, mlp_hidden.*; none keeps texts alone."""
    write: tuple[str, ...] = ()
    """SITE[unit]~DIRECTION:op:dose@positions; doses by comma; writes that act together joined by `; `."""
    conditions: FilePath | None = None
    """A YAML or JSON list of such writes."""
    directions: FilePath | None = None
    """Safetensors file that holds the directions named after ~."""
    statistics: FolderPath | None = None
    """A run of `neurons scan`: what is natural, for doses in sd, quantiles and norms."""
    natural: tuple[DataRef, ...] = ()
    """Natural text to measure that on instead: FILE, suite:FILE, world:DOMAIN#N."""
    pool: Pool = "generated"
    """Positions that make a vector."""
    read_before: bool = False
    """Read the state before the writes at the same site."""
    new_tokens: int = Field(default=50, ge=0)
    """Most new tokens a row; 0 reads prompts alone."""
    follow: Follow = "own"
    """Each row its own text, or every row the text of the one without writes."""
    divergence: bool = False
    """Measure the mean KL of each row from the one without writes, where both hold the same text."""


class CapturedSite(Record):
    """A site that was read."""

    site: str
    width: int


class Capture(Result):
    """What was captured."""

    SCHEMA: ClassVar[str] = "radiograph.resonance_capture/1"

    model: str
    grid: str | None
    grid_sha256: str | None
    recipe_sha256: str | None
    prompts: int
    conditions: tuple[str, ...]
    samples: int
    rows: int
    sites: tuple[CapturedSite, ...]
    pool: Pool
    follow: Follow
    decoding: Decoding
    bos: Bos
    bos_token: str | None
    """The token at the beginning of the first prompt, if it is the BOS."""
    new_tokens: int
    """Tokens made, over all rows."""
    stops: dict[str, int]
    """Rows by what ended them."""
    without_vector: dict[str, int]
    """Rows without a vector, by reason."""
    truncated: int
    confounded: dict[str, tuple[str, ...]]
    """Factor to what else differs between its levels, as type~tokens."""
    effects: tuple[_effects.Effect, ...]
    """Every condition beside the rows without writes."""
    cells: _effects.CellMap | None
    pairs: tuple[_effects.TextPair, ...]
    """Some texts that moved."""
    statistics_sha256: str | None
    job_sha256: str
    index_sha256: str

    @property
    def headline(self) -> str:
        """How many rows, of what, and what became of their texts."""
        written, broken = len(self.conditions) - 1, self.stops.get("non-finite", 0)
        said = f"{self.rows} rows: {_n(self.prompts, 'prompt')}, {_n(written, 'condition')} with writes and one without"
        if self.samples > 1:
            said += f", {self.samples} samples of each"
        compared = sum(effect.compared for effect in self.effects)
        if self.follow == "reference":
            said += "; every row was fed the text of the one without writes"
        elif compared and self.new_tokens:
            moved = compared - sum(effect.identical for effect in self.effects)
            said += f"; {moved} of {compared} texts differ from the one without writes"
        said += f"; {_n(len(self.sites), 'site')} read" if self.sites else "; texts alone, no site read"
        return said + (f"; {_n(broken, 'row')} broke (logits not finite)" if broken else "")

    @property
    def exit_code(self) -> ExitCode:
        """Not measured where no row is left."""
        return ExitCode.NOT_MEASURED if self.stops.get("non-finite") == self.rows else ExitCode.PASS


def run(config: Config, ctx: Context) -> Capture:
    """Read, bind, decode, write."""
    from radiograph import interventions

    _check(config)
    model: LanguageModel = ctx.model(config.model, "model")
    if model.tokenizer is None:
        raise UserError("a capture needs a tokenizer", where=config.model)
    recipe = None if config.recipe is None else _asked.read_recipe(ctx, config.recipe)
    grid = None if config.grid is None else _grid(config, ctx)
    conditions, statistics = _conditions(config, ctx, model, recipe)
    if recipe is None:
        assert grid is not None, "one of the two is given"
        decoding = Decoding.asked(config.model_dump(), seed=ctx.seed)
        prompts = interventions.grid_prompts(
            model, grid, bos=config.bos, chat=config.chat, new_tokens=config.new_tokens, truncate=config.truncate
        )
    else:
        decoding, prompts = recipe.decoding, interventions.recipe_prompts(model, recipe)
    sweep = _sweep(config, model, prompts, decoding, conditions)
    with ctx.measure("decode"):
        folder = _folder(config, ctx)
        writer = interventions.sweep_into(sweep, folder, batch_rows=config.batch_rows, progress=ctx.progress)
    table = interventions.rows_table(sweep, writer, prompts.columns)
    digest = interventions.statistics_sha256(statistics) if statistics else None
    _write(config, ctx, sweep, table, digest)
    index = writer.finish(
        sites={str(site): model.site_width(site) for site in sweep.reads.sites},
        pool=config.pool,
        facts={
            "model": model.identity.tensors_sha256,
            "bos": config.bos if recipe is None else recipe.bos,
            "follow": config.follow,
            "read_before": config.read_before,
            "job": sweep.job_sha256,
        },
    )
    return Capture(
        model=ctx.label(config.model),
        grid=None if grid is None else grid.name,
        grid_sha256=None if grid is None else grid.sha256,
        recipe_sha256=None if recipe is None else recipe.sha256,
        statistics_sha256=digest,
        index_sha256=index,
        truncated=prompts.truncated,
        confounded={} if grid is None else _asked.confounds(model, grid, prompts, ctx.seed),
        bos=config.bos if recipe is None else recipe.bos,
        effects=_effects.effects(table),
        cells=None if grid is None else _effects.cell_map(table, list(grid.factors)),
        pairs=_effects.text_pairs(table),
        **_counts(sweep, table),
    )


def _n(count: int, word: str) -> str:
    return f"{count or 'no'} {word}{'' if count == 1 else 's'}"


def _counts(sweep: Sweep, table: dict[str, Any]) -> dict[str, Any]:
    """What the sweep says of itself."""
    tokenizer, first = sweep.model.tokenizer, sweep.prompts[0][0]
    assert tokenizer is not None, "refused above"
    return {
        "prompts": len(sweep.prompts),
        "conditions": tuple(condition.name for condition in sweep.conditions),
        "samples": sweep.samples,
        "rows": len(sweep.rows),
        "sites": tuple(CapturedSite(site=str(s), width=sweep.model.site_width(s)) for s in sweep.reads.sites),
        "pool": sweep.reads.pool,
        "follow": sweep.follow,
        "decoding": sweep.decoding,
        "bos_token": str(tokenizer.bos_token) if first == tokenizer.bos_token_id else None,
        "new_tokens": int(sum(table["n_new"])),
        "stops": dict(sorted(Counter(table["stop"]).items())),
        "without_vector": dict(sorted(Counter(note for note in table["vector_note"] if note).items())),
        "job_sha256": sweep.job_sha256,
    }


def _conditions(
    config: Config, ctx: Context, model: LanguageModel, recipe: Recipe | None
) -> tuple[list[BoundCondition], Mapping[str, SiteStatistics]]:
    """Every condition in the model's own numbers, and what is natural there."""
    from radiograph import interventions

    texts = [*config.write, *([] if config.conditions is None else _asked.read_conditions(ctx, config.conditions))]
    asked = interventions.parse_conditions(texts)
    if recipe is not None:
        asked = list(dict.fromkeys([*asked, interventions.rack_condition(recipe.rack)]))
    directions = {} if config.directions is None else _directions(config.directions, ctx)
    statistics = _asked.natural_statistics(
        ctx, model, asked, folder=config.statistics, natural=config.natural, directions=directions
    )
    if recipe is not None:
        interventions.require_statistics(recipe, statistics)
    return interventions.bind(model, asked, statistics=statistics, directions=directions), statistics


def _folder(config: Config, ctx: Context) -> Path:
    if config.resume is None:
        return ctx.output.folder("vectors")
    return ctx.output.adopt(ctx.locate(config.resume), "vectors")


def _check(config: Config) -> None:
    if (config.grid is None) == (config.recipe is None):
        raise UserError("a capture needs --grid or --recipe, and not both", code="bad_value")
    own = [name for name in _RECIPES if getattr(config, name) != Config.model_fields[name].default]
    if config.recipe is not None and own:
        raise UserError(
            "a recipe brings its own prompt, writes and decoding",
            got=", ".join(f"--{name.replace('_', '-')}" for name in own),
            fix="leave them out, or change the recipe",
            code="bad_value",
        )
    if config.tsv and config.samples > 1:
        raise UserError("rows.tsv has one text a prompt and dose", fix="leave --tsv or --samples out", code="bad_value")


def _grid(config: Config, ctx: Context) -> Grid:
    assert config.grid is not None, "asked for only where it is given"
    grid: Grid = ctx.grid(config.grid, role="grid")
    return grid if config.where is None else grid.where(config.where)


def _directions(reference: str, ctx: Context) -> dict[str, Any]:
    from radiograph.store.vectors import read_directions

    return read_directions(ctx.path(reference, "directions"))


def _sweep(config: Config, model: LanguageModel, prompts: Prompts, decoding: Decoding, conditions: Any) -> Sweep:
    from radiograph.interventions import Sweep
    from radiograph.models import Reads

    sites = tuple(dict.fromkeys(site for text in config.site for site in model.sites(text)))
    return Sweep(
        model,
        prompts.ids,
        conditions,
        decoding,
        samples=config.samples,
        reads=Reads(sites, config.pool, config.read_before),
        follow=config.follow,
        divergence=config.divergence,
    )


def _write(config: Config, ctx: Context, sweep: Sweep, table: dict[str, Any], statistics: str | None) -> None:
    """Rows, conditions and, if asked, the TSV."""
    from radiograph.interventions import conditions_document

    ctx.output.table("rows", table)
    ctx.output.json("conditions.json", {"statistics": statistics, "conditions": conditions_document(sweep)})
    if config.tsv:
        from radiograph.store.collapse import study_tsv

        ctx.output.text("rows.tsv", study_tsv(table))


def recompute(result: dict[str, Any], folder: Any) -> list[str]:
    """Do the rows and the index say what the result says?"""
    from radiograph.store import file_sha256
    from radiograph.store.vectors import FOLDER, open_vectors

    stored = Capture.read(result)
    rows = open_vectors(folder).rows
    found = {
        "index_sha256": file_sha256(folder / FOLDER / "index.json"),
        "rows": len(rows),
        "new_tokens": int(rows["n_new"].sum()),
        "stops": dict(sorted(Counter(rows["stop"].to_list()).items())),
        "effects": _effects.effects(rows.to_dict(as_series=False)),
    }
    return [
        f"{name} is {getattr(stored, name)}, the files give {value}"
        for name, value in found.items()
        if getattr(stored, name) != value
    ]
