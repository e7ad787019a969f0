"""Sources as `inspect` opens them, and the criterion compiled by every route that is named."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from radiograph.core import Context, UserError
from radiograph.evidence.features import Claim, InspectionSource, SearchHit

if TYPE_CHECKING:
    import polars

    from radiograph.criteria import Compiled
    from radiograph.methods._inspect.options import Options
    from radiograph.methods._inspect.rows import Placed
    from radiograph.sources import Dumped, Given, Stored

CLAIMS = 50
"""Listed in the result; the table holds all."""
HITS = 50


def opened(config: Options, ctx: Context) -> list[Given]:
    """Every source, under a role of its own.

    Raises:
        UserError: no such source, nothing there, no records of MODEL.
    """
    from radiograph.sources import Options

    options = Options(
        model=ctx.label(config.model),
        duplicates=config.duplicates,
        k=config.k,
        labels=config.labels,
        max_features=config.max_features,
        search=config.criterion,
        url=config.neuronpedia_url,
        key_env=config.key_env,
        refresh=config.refresh,
        memory=config.memory,
        n_layers=_layers(config.model, ctx),
    )
    roles = ["features", *(f"features{n}" for n in range(2, len(config.features) + 1))]
    return [ctx.features(source, role, options) for source, role in zip(config.features, roles, strict=True)]


def _layers(model: str, ctx: Context) -> int | None:
    """Blocks of MODEL, as its config.json says, where it lies here; None where it is no more than a name."""
    from radiograph.organisms import bundled_path

    place = model.partition("+")[0]
    try:
        folder = bundled_path(place) if place.startswith("bundled:") else ctx.place(place)
        config = json.loads((folder / "config.json").read_bytes())
        config = config.get("text_config", config)
        return int(config.get("num_hidden_layers") or config["n_layer"])
    except (UserError, OSError, ValueError, KeyError, AttributeError, TypeError):
        return None


def compiled(config: Options, ctx: Context) -> Compiled:
    """The criterion by every route that is named.

    Raises:
        Refusal: no route can be taken, an endpoint fails.
    """
    from radiograph.store.chat import ChatSettings, Endpoint

    writer = labeller = None
    if config.endpoint is not None and config.writer_model is not None:
        writer = Endpoint.at(config.endpoint, config.writer_model, config.endpoint_key_env)
        if config.labeller_model is not None:
            labeller = Endpoint.at(config.endpoint, config.labeller_model, config.endpoint_key_env)
    with ctx.measure("criterion"):
        return ctx.criterion(
            config.criterion,
            prompts=config.prompts,
            template=config.template,
            texts=config.text,
            split=config.split,
            threshold=config.threshold,
            count=config.count,
            near_duplicates=config.near_duplicates,
            surface=config.surface == "on",
            continuous=config.score == "continuous",
            writer=writer,
            labeller=labeller,
            chat=ChatSettings(seed=ctx.seed, max_calls=config.max_calls),
        )


def recorded_source(
    source: Stored, placed: Placed, features: int, *, missing: int, inside: str | None
) -> InspectionSource:
    """A source of records as the result names it; `missing` rows of the criterion have no record, `inside` is its
    folder in this bundle.
    """
    header = source.records.header
    return InspectionSource(
        source=source.name,
        kind="records",
        features=features,
        rows=int((placed.place >= 0).sum()),
        unlabelled=placed.unlabelled,
        missing=missing,
        pool=placed.pool,
        model=header.model.ref,
        absent=header.absent,
        sites=header.sites[:64],
        records=inside,
        sha256=header.features_sha256,
        citation=source.citation,
    )


def dumped_source(source: Dumped) -> InspectionSource:
    """A dump as the result names it."""
    dump = source.dump
    sites = dump.table["site"].drop_nulls().unique().sort().to_list()
    return InspectionSource(
        source=source.name,
        kind="dump",
        features=len(dump.table),
        model=dump.model,
        sites=tuple(sites[:64]),
        sha256=dump.sha256,
        citation=source.citation,
    )


def claims(dumps: list[Dumped]) -> tuple[tuple[Claim, ...], int, dict[str, list[str | None]]]:
    """What sources say of features by themselves: the first of them, how many more, and all as a table."""
    columns: dict[str, list[str | None]] = {name: [] for name in ("feature_id", "source", "label", "claim")}
    for dumped in dumps:
        for row in dumped.table.iter_rows(named=True):
            claim = row["claimed_effects"] or row["extra"]
            if claim is None and row["label"] is None:
                continue
            values = (row["feature_id"], row["source"] or dumped.name, row["label"], claim)
            for own, value in zip(columns.values(), values, strict=True):
                own.append(value)
    listed = zip(*(own[:CLAIMS] for own in columns.values()), strict=True)
    found = tuple(
        Claim(feature=str(feature), source=str(source), label=label, text=text)
        for feature, source, label, text in listed
    )
    return found, max(0, len(columns["feature_id"]) - CLAIMS), columns


def search(text: str, tables: list[polars.DataFrame]) -> tuple[SearchHit, ...]:
    """Features whose labels hold the words, those with most of them first; equal ones by id."""
    words = set(text.casefold().split())
    hits: list[SearchHit] = []
    for table in tables:
        known = table.drop_nulls("label")
        for feature, label in zip(known["feature_id"].to_list(), known["label"].to_list(), strict=True):
            held = sum(word in label.casefold() for word in words)
            if held:
                hits.append(SearchHit(feature=feature, label=label, words=held))
    return tuple(sorted(hits, key=lambda hit: (-hit.words, hit.feature))[:HITS])
