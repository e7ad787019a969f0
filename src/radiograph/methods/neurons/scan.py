"""What does every unit do on natural text: how strongly, how often, where, and what does it write?

1. one pass over texts, or over the prompts of a grid (continued greedily by `--new-tokens`), reads all units of all
   sites; the first position of each text is left out
2. per unit: n, μ, σ, extremes, quantiles, skew, kurtosis, firing rate (a > 0 behind a rectifier, else |a| >
   `--threshold`); moments in float64, quantiles from integer log-bins, within 2 %
3. ‖w‖ of its column of `down`; contribution = mean |a − median| · ‖w‖; tokens whose logits W_U(γ⊙w̃) raises and lowers
   most; the contexts of its largest values
4. with a grid, η² of its mean over each prompt by every factor, beside what chance gives
5. *lonely*: lowest firing rate, then lowest contribution; *loud*: highest contribution

Leaves site statistics under `statistics/`, which doses in sd, quantiles and norms refer to. A ranking describes; it
tests nothing. Source of the bins: DDSketch (Masson, Rim and Lee 2019). Units: those of the activations.
Stops when: an activation is not finite.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Context, GridRef, Input, ModelRef, UserError, Workers
from radiograph.core.sizes import Count
from radiograph.evidence import Record, Result, UnitCell, UnitRow

if TYPE_CHECKING:
    from radiograph.evidence import Grid
    from radiograph.harvest.statistics import Measured, Rows
    from radiograph.methods.neurons._scan.measured import Scanned
    from radiograph.models import LanguageModel


class Config(Base):
    """Which units, on what."""

    model: ModelRef
    """Folder, hub id or bundled:NAME, with +ADAPTER."""
    text: tuple[Annotated[str, Input("file")], ...] = ()
    """FILE.jsonl[.gz], FILE.parquet, FILE.txt, suite:FILE, world:DOMAIN#N, hf:NAME[:CONFIG]@REVISION#SPLIT."""
    grid: GridRef | None = None
    """A grid instead: the name of a shipped one, or a file."""
    site: tuple[str, ...] = ("mlp_hidden.*",)
    """Where, as mlp_hidden.3, mlp_hidden.*, resid_post.{1,2}."""
    new_tokens: int = Field(default=0, ge=0)
    """Continue every text greedily by this many tokens, which are measured too."""
    threshold: float = Field(default=0.1, gt=0)
    """|a| above which a unit fires, where no rectifier stands before it."""
    covariance: bool = False
    """Keep the covariance of every site: width² numbers each. Doses along directions need it."""
    rank: Literal["mean", "sd"] | None = None
    """A further list by lowest signed mean, or lowest standard deviation."""
    top: int = Field(default=20, ge=1)
    """Units in each list."""
    max_tokens: Count | None = None
    """Most tokens measured; whole texts, drawn by hash."""
    max_length: int = Field(default=512, ge=2)
    """Most tokens of a window."""
    workers: str = "1"
    """1, N processes here, or ray[:N]; the bytes are the same."""


class ScannedSite(Record):
    """One site."""

    site: str
    width: int
    n: int
    """Tokens."""
    norm: float
    """Mean L2 norm of the activations."""
    rectified: bool
    silent: int
    """Units that never fired."""
    constant: int
    """Units with σ = 0: a dose in sd has no meaning for them."""


class FactorUnits(Record):
    """A factor of the grid, and the units that it accounts for most."""

    factor: str
    levels: int
    prompts: int
    chance: float
    """Mean η² of a factor that means nothing: (levels − 1)/(prompts − 1)."""
    median: float
    """Over units."""
    units: tuple[str, ...]
    eta_squared: tuple[float, ...]


class NeuronScan(Result):
    """All units of some sites."""

    SCHEMA: ClassVar[str] = "radiograph.neuron_scan/1"

    model: str
    n_texts: int
    n_tokens: int
    new_tokens: int
    sites: tuple[ScannedSite, ...]
    lonely: tuple[UnitRow, ...]
    loud: tuple[UnitRow, ...]
    rank: str | None
    ranked: tuple[UnitRow, ...]
    cloud: tuple[UnitCell, ...]
    """All units, those that stand close together as one."""
    factors: tuple[FactorUnits, ...]
    data_sha256: str
    statistics_sha256: str
    """Of the arrays under `statistics/`."""
    notes: tuple[str, ...]

    @property
    def headline(self) -> str:
        """How many units, and which is the loudest and the loneliest."""
        units = sum(site.width for site in self.sites)
        return (
            f"{units:,} units on {self.n_tokens:,} tokens: loudest {self.loud[0].unit} "
            f"(contribution {self.loud[0].contribution:.3g}), loneliest {self.lonely[0].unit} "
            f"(fires on {self.lonely[0].firing:.1%})"
        )


def run(config: Config, ctx: Context) -> NeuronScan:
    """Measure, write, rank."""
    from radiograph.harvest.statistics import Scan, measure_shared
    from radiograph.methods.neurons._scan.cloud import cloud
    from radiograph.methods.neurons._scan.measured import Words, scanned, unit_rows
    from radiograph.methods.neurons._scan.ranks import WHY, Rank, ranked

    if bool(config.text) == (config.grid is not None):
        raise UserError(
            "a scan reads texts or a grid", expected="--text FILE or --grid GRID, one of them", code="bad_config"
        )
    workers = Workers.parse(config.workers)
    model: LanguageModel = ctx.model(config.model, "model")
    grid: Grid | None = None if config.grid is None else ctx.grid(config.grid, role="grid")
    with ctx.measure("tokenise"):
        rows = _rows(config, ctx, model, grid)
    sites = tuple(dict.fromkeys(site for text in config.site for site in model.sites(text)))
    scan = Scan(sites, config.threshold, config.covariance, by_text=grid is not None)
    with ctx.measure("scan", tokens=sum(map(len, rows.tokens))):
        measured = measure_shared(model, rows, scan, workers, progress=ctx.progress)
    found = scanned(model, measured)
    words = Words(model, rows)
    _tables(ctx, found)
    sha256 = _statistics(ctx, model, rows, found)

    def listed(rank: Rank) -> tuple[UnitRow, ...]:
        return tuple(
            row for place, unit in ranked(found, rank, config.top) for row in unit_rows(found[place], [unit], words)
        )

    notes = [words.why] if words.why else []
    return NeuronScan(
        model=ctx.label(config.model),
        n_texts=len(rows.names),
        n_tokens=found[0].statistics.n,
        new_tokens=config.new_tokens,
        sites=tuple(map(_site, found)),
        lonely=listed("lonely"),
        loud=listed("loud"),
        rank=config.rank,
        ranked=() if config.rank is None else listed(config.rank),
        cloud=cloud(found),
        factors=() if grid is None else _factors(ctx, grid, measured, found, config.top),
        data_sha256=rows.sha256,
        statistics_sha256=sha256,
        notes=(*notes, *([] if config.rank is None else [WHY[config.rank]])),
    )


def recompute(result: dict[str, Any], folder: Any) -> list[str]:
    """Do the lists follow from the table, and is the hash that of the statistics?"""
    import polars

    from radiograph.store import file_sha256

    stored = NeuronScan.read(result)
    table = polars.read_parquet(folder / "tables" / "units.parquet").with_row_index("order")
    wrong: list[str] = []
    for name, keys, falling in (("lonely", ["firing", "contribution"], False), ("loud", ["contribution"], True)):
        rows = table.sort([*keys, "order"], descending=[*[falling] * len(keys), False]).head(len(getattr(stored, name)))
        expected = [f"{site}[{unit}]" for site, unit in rows.select("site", "unit").iter_rows()]
        if expected != [row.unit for row in getattr(stored, name)]:
            wrong.append(f"{name}: the table gives {expected[:3]} first")
    if file_sha256(folder / "statistics" / "statistics.safetensors") != stored.statistics_sha256:
        wrong.append("statistics_sha256 is not that of statistics/statistics.safetensors")
    return wrong


def _rows(config: Config, ctx: Context, model: LanguageModel, grid: Grid | None) -> Rows:
    from radiograph.harvest.statistics import rows_of_texts, rows_of_tokens
    from radiograph.models import generate, prompt_ids

    if grid is None and not config.new_tokens:
        return rows_of_texts(
            model.tokenizer,
            ctx.texts(config.text),
            length=min(config.max_length, model.context_length),
            vocabulary=model.vocab_size,
            max_tokens=config.max_tokens,
        )
    if model.tokenizer is None:
        raise UserError(f"{config.model} has no tokenizer", fix="a scan needs text to become tokens")
    if config.max_tokens is not None:
        raise UserError("--max-tokens draws texts that are measured as they are", fix="leave it out", code="bad_config")
    named = (
        [(text.id, text.text) for text in ctx.texts(config.text)]
        if grid is None
        else [(record.id, record.text) for record in grid.records]
    )
    prompts = [list(prompt_ids(model.tokenizer, text)) for _, text in named]
    room = model.context_length - config.new_tokens
    for (name, _), prompt in zip(named, prompts, strict=True):
        if len(prompt) > room:
            raise UserError(
                f"prompt {name} and {config.new_tokens} new tokens do not fit the model's context",
                expected=f"at most {room} prompt tokens",
                got=str(len(prompt)),
                fix="fewer --new-tokens, or shorter prompts",
                code="too_long",
            )
    made = generate(model, prompts, max_new_tokens=config.new_tokens) if config.new_tokens else []
    ends = [list(one.ids if one.finish != "stop" else one.ids[:-1]) for one in made] or [[]] * len(prompts)
    return rows_of_tokens(
        [prompt + end for prompt, end in zip(prompts, ends, strict=True)], [name for name, _ in named]
    )


def _tables(ctx: Context, found: list[Scanned]) -> None:
    columns = [one.columns() for one in found]
    ctx.output.table("units", {name: [v for c in columns for v in c[name]] for name in columns[0]})
    places: dict[str, list[Any]] = {name: [] for name in ("site", "unit", "rank", "value", "row", "position")}
    for one in found:
        for unit, row in enumerate(one.contexts.text.tolist()):
            for rank, text in enumerate(row):
                if text >= 0:
                    places["site"].append(str(one.site))
                    places["unit"].append(unit)
                    places["rank"].append(rank)
                    places["value"].append(float(one.contexts.value[unit, rank]))
                    places["row"].append(text)
                    places["position"].append(int(one.contexts.position[unit, rank]))
    ctx.output.table("contexts", places)


def _statistics(ctx: Context, model: LanguageModel, rows: Rows, found: list[Scanned]) -> str:
    from radiograph.store.statistics import write_statistics

    header = write_statistics(
        ctx.output.folder("statistics"),
        {str(one.site): one.statistics for one in found},
        model_sha256=model.identity.tensors_sha256,
        tokenizer_sha256=model.identity.tokenizer_sha256,
        data_sha256=rows.sha256,
    )
    return header.arrays_sha256


def _site(found: Scanned) -> ScannedSite:
    s = found.statistics
    return ScannedSite(
        site=str(found.site),
        width=s.width,
        n=s.n,
        norm=s.norm,
        rectified=s.threshold is None,
        silent=int((s.fired == 0).sum()),
        constant=int((s.sd == 0).sum()),
    )


def _factors(ctx: Context, grid: Grid, measured: Measured, found: list[Scanned], top: int) -> tuple[FactorUnits, ...]:
    """η² of every unit by every factor: the table, and the first of each."""
    import numpy as np

    from radiograph.numerics.units import eta_squared

    means = np.concatenate([measured.means(str(one.site)) for one in found], axis=1)
    names = [f"{one.site}[{unit}]" for one in found for unit in range(one.statistics.width)]
    whole = np.isfinite(means).all(1)
    columns: dict[str, list[Any]] = {"unit": names}
    out: list[FactorUnits] = []
    for factor in ("core", *grid.factors):
        labels = grid.columns()[factor]
        kept = whole & np.array([label is not None for label in labels])
        own = [label for label, keep in zip(labels, kept, strict=True) if keep]
        if not 1 < len(set(own)) < len(own):
            continue
        share, chance = eta_squared(means[kept], own)
        columns[factor] = share.tolist()
        order = np.argsort(-share, kind="stable")[:top]
        out.append(
            FactorUnits(
                factor=factor,
                levels=len(set(own)),
                prompts=len(own),
                chance=chance,
                median=float(np.median(share)),
                units=tuple(names[i] for i in order),
                eta_squared=tuple(float(share[i]) for i in order),
            )
        )
    ctx.output.table("factors", columns)
    return tuple(out)
