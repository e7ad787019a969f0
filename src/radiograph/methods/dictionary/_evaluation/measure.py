"""One dictionary and what knows nothing beside it, on the same rows and in the same forward passes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from radiograph.core import Context, Refusal
from radiograph.evidence import (
    Densities,
    Estimate,
    ExclusivityRecord,
    FvuBand,
    MeasuredRows,
    Metric,
    RefusalRecord,
    SplicedTokens,
)
from radiograph.methods.dictionary._evaluation.metrics import BOOTSTRAP, row_metrics, splice_metrics

if TYPE_CHECKING:
    import numpy as np

    from radiograph.dictionaries import Dictionary
    from radiograph.dictionaries.measures import Blocks, Survey, Tables
    from radiograph.methods.dictionary._evaluation.rows import Rows, Runs
    from radiograph.numerics.dictionaries.tables import Band


@dataclass
class Measured:
    """What rows say; empty where there are none."""

    rows: MeasuredRows | None = None
    metrics: list[Metric] = field(default_factory=list)
    refused: list[RefusalRecord] = field(default_factory=list)
    densities: Densities | None = None
    bands: tuple[FvuBand, ...] = ()
    exclusivity: tuple[ExclusivityRecord, ...] = ()
    density: np.ndarray | None = None
    """Share of rows on which each feature fires."""
    controls: dict[str, Dictionary] = field(default_factory=dict)
    """`random`, and `linear` where there is one."""

    @property
    def live(self) -> np.ndarray | None:
        """Features that fired; None without rows."""
        return None if self.density is None else self.density > 0


def measured(ctx: Context, dictionary: Dictionary, rows: Rows) -> Measured:
    """Every metric of reconstruction and codes, of the dictionary and of its controls."""
    from radiograph.dictionaries.measures import survey, tabulate
    from radiograph.methods.dictionary._evaluation.exclusive import exclusivities
    from radiograph.numerics.dictionaries.units import draws

    with ctx.measure("survey"):
        seen = survey(dictionary, rows.blocks)
    taken = draws(seen.units, seed=ctx.seed)
    with ctx.measure("reconstruct", tokens=seen.n):
        ours = tabulate(dictionary, rows.blocks, seen, taken)
    with ctx.measure("controls", tokens=seen.n):
        controls, refused = _controls(dictionary, rows.blocks, seen, ours, ctx.seed)
        beside = {name: tabulate(control, rows.blocks, seen, taken) for name, control in controls.items()}
    with ctx.measure("exclusivity", tokens=seen.n):
        exclusivity = exclusivities(dictionary, rows.blocks, seen, taken, ours.density, ctx.seed)
    random = beside["random"]
    return Measured(
        rows=MeasuredRows(origin=rows.origin, split=rows.split, n=seen.n, groups=rows.groups, units=seen.units),
        metrics=row_metrics(ours, random, beside.get("linear")),
        refused=refused,
        densities=Densities(
            n=seen.n,
            histogram=tuple(ours.histogram.tolist()),
            random=tuple(random.histogram.tolist()),
            dead_below=3 / seen.n,
        ),
        bands=_bands(ours),
        exclusivity=exclusivity,
        density=ours.density,
        controls=controls,
    )


def spliced(
    ctx: Context, dictionary: Dictionary, controls: dict[str, Dictionary], runs: Runs
) -> tuple[list[SplicedTokens], list[Metric], list[RefusalRecord]]:
    """Losses of the texts with each target in turn replaced by its reconstruction."""
    import numpy as np

    from radiograph.interventions import splices
    from radiograph.numerics.dictionaries.units import deal, draws

    units, n_units, groups = deal(np.array(runs.groups), 1)
    taken = draws(n_units, seed=ctx.seed)
    records: list[SplicedTokens] = []
    metrics: list[Metric] = []
    refused: list[RefusalRecord] = []
    codecs = {"ours": dictionary, **controls}
    for target in dictionary.targets:
        with ctx.measure(f"splice {target}", tokens=sum(map(len, runs.tokens))):
            losses = splices(runs.models, codecs, runs.tokens, runs.kept, target=target)
        source = target if len(dictionary.targets) > 1 else None
        made, gaps = splice_metrics(losses, units, taken, source)
        metrics += made
        refused += gaps
        ours = losses["ours"]
        records.append(
            SplicedTokens(
                source=target,
                predicted=ours.n_tokens,
                replaced=ours.n_spliced,
                groups=groups,
                exact=ours.ce("exact") - ours.ce("clean"),
            )
        )
    return records, metrics, refused


def _controls(
    dictionary: Dictionary, blocks: Blocks, seen: Survey, ours: Tables, seed: int
) -> tuple[dict[str, Dictionary], list[RefusalRecord]]:
    from radiograph.dictionaries import principal_control, random_control
    from radiograph.methods.dictionary._evaluation.rows import sample

    inputs, targets = sample(blocks)
    own = None if dictionary.target is None else targets
    controls = {"random": random_control(dictionary, inputs, seed, targets=own)}
    try:
        controls["linear"] = principal_control(
            dictionary,
            (block.inputs for block in blocks()),
            mean=seen.mean,
            spread=seen.spread,
            n=seen.n,
            l0=ours.number("l0") or 0.0,
        )
    except Refusal as refusal:
        got = f" ({refusal.got}; needed {refusal.expected})" if refusal.expected else ""
        text = f"{refusal.message}{got}"
        return controls, [RefusalRecord(code=refusal.code, what="principal directions", text=text)]
    return controls, []


def _bands(ours: Tables) -> tuple[FvuBand, ...]:
    named = [("position", ours.by_position), ("norm", ours.by_norm)]
    return tuple(
        _band(source, by, band)
        for by, tables in named
        for source, bands in tables.items()
        for band in bands
        if band.fvu.value is not None
    )


def _band(source: str, by: str, band: Band) -> FvuBand:
    assert band.fvu.value is not None
    low, high = band.fvu.interval or (None, None)
    method = BOOTSTRAP if band.fvu.interval else ""
    estimate = Estimate(
        value=band.fvu.value, low=low, high=high, n=band.n, unit="share of variance", method=method, null=None
    )
    return FvuBand(
        source=source, by="position" if by == "position" else "norm", low=band.low, high=_open(band.high), fvu=estimate
    )


def _open(bound: float) -> float | None:
    return None if bound > 1e30 else bound
