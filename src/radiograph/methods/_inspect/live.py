"""Features that MODEL is run through: recorded by a step, read by their write directions, intervened on by a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from radiograph.core import Context, Refusal, Site, UserError
from radiograph.core.shapes import Float
from radiograph.evidence import RefusalRecord, Refused
from radiograph.evidence.features import Moved
from radiograph.methods._inspect.cards import NOTHING, Extras, similar

if TYPE_CHECKING:
    from pathlib import Path

    from radiograph.criteria import Compiled
    from radiograph.methods._inspect.options import Options
    from radiograph.methods._inspect.tables import Table, Tables
    from radiograph.models import LanguageModel
    from radiograph.numerics.association import Findings
    from radiograph.sources import Given, Live, Stored
    from radiograph.store.interventions import Interventions

TOKENS: Final = 8
DEFAULT: Final = 5
"""Candidates that are intervened on where nobody says how many."""
RESIDUAL: Final = frozenset({"embed", "resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out"})
"""Sites whose rows are, or are added to, the residual stream."""
LAST: Final = ("units:", "direction:")
"""Sources of which a prompt has the last value, where nobody says; of the others it has the largest code."""
DIRECTIONS: Final = "directions.safetensors"


def recorded(config: Options, ctx: Context, given: Sequence[Given], compiled: Compiled) -> list[Given]:
    """Live sources measured on the criterion's rows, a step and a folder of records for those that are pooled alike;
    the others as they are.

    Raises:
        Refusal: what the step refuses.
    """
    from radiograph.sources import Live

    pairs = list(zip(config.features, given, strict=True))
    alike: dict[bool, list[tuple[str, Live]]] = {}
    for text, one in pairs:
        if isinstance(one, Live):
            alike.setdefault(text.startswith(LAST), []).append((text, one))
    made = [_measured(config, ctx, own, compiled) for own in alike.values()]
    return [*made, *(one for _, one in pairs if one.kind != "live")]


def _measured(config: Options, ctx: Context, live: Sequence[tuple[str, Live]], compiled: Compiled) -> Stored:
    """One step: units are pooled while the model runs, codes are kept token by token for the cards."""
    from radiograph.sources import Stored
    from radiograph.store.records import open_records

    tokens = compiled.criterion.level == "token" or not any(text.startswith("units:") for text, _ in live)
    criterion = ctx.output.folder("criterion") / "criterion.json"
    asked: dict[str, Any] = {"k": config.k, "max_features": config.max_features, "labels": config.labels}
    if not tokens and config.pool is not None:
        asked["pool"] = config.pool
    step = ctx.step(
        "records.export",
        model=config.model,
        features=[text for text, _ in live],
        prompts=str(criterion),
        level="token" if tokens else "prompt",
        **{name: value for name, value in asked.items() if value is not None},
    )
    if isinstance(step.result, Refused):
        said = step.result
        raise Refusal(said.code, said.text, expected=said.expected, got=said.got, fix=said.fix)
    root: Path = ctx.output.folder("criterion").parent
    cited = dict.fromkeys(one.citation for _, one in live if one.citation is not None)
    return Stored(
        name=" + ".join(one.name for _, one in live),
        records=open_records(root / step.path),
        codes=tuple(step.result.codes),
        citation="; ".join(cited) or None,
        notes=step.result.notes,
    )


def intervened(
    config: Options,
    ctx: Context,
    found: Findings,
    ids: Sequence[str],
    given: Sequence[Given],
    compiled: Compiled | None,
) -> tuple[Interventions | RefusalRecord | None, tuple[str, ...]]:
    """The best candidates of discover moved by a step, where MODEL runs and rows have targets, and what it said.

    None: nobody asks.
    """
    from radiograph.store.interventions import read_interventions

    live = [text for text, one in zip(config.features, given, strict=True) if one.kind == "live"]
    targets = compiled is not None and any(row.targets for row in compiled.rows)
    asked = config.causal if config.causal is not None else DEFAULT if live and targets else 0
    if not asked:
        return None, ()
    if not live:
        return (
            RefusalRecord(
                code="no_model",
                text="records alone cannot be intervened on",
                what="causal evidence",
                fix="name features that MODEL can be run through, or give --interventions FILE",
            ),
            (),
        )
    step = ctx.step(
        "intervene",
        model=config.model,
        features=live,
        only=[ids[number] for number in found.candidates.feature[:asked].tolist()],
        criterion=str(ctx.output.folder("criterion") / "criterion.json"),
    )
    if isinstance(step.result, Refused):
        said = step.result
        return RefusalRecord(code=said.code, text=said.text, what="causal evidence", fix=said.fix), ()
    root: Path = ctx.output.folder("criterion").parent
    return read_interventions(root / step.path / "tables" / "interventions.parquet"), step.result.notes


def extras(config: Options, ctx: Context, tables: Tables, numbers: Sequence[int]) -> Extras:
    """Features that write alike, where directions are stored; tokens raised and lowered, where the model ran here."""
    from radiograph.store.directions import open_directions

    raised: dict[int, tuple[Moved, ...]] = {}
    lowered: dict[int, tuple[Moved, ...]] = {}
    near: dict[int, tuple[tuple[int, float], ...]] = {}
    inside = ctx.output.folder("criterion").parent
    for part in tables.parts:
        folder = part.source.records.folder
        own = [n for n in numbers if part.first <= n < part.first + part.size]
        if not own or not (folder / DIRECTIONS).is_file():
            continue
        header, tensors = open_directions(folder / DIRECTIONS)
        rows = _rows(part, header.tensors)
        for site, matrix in tensors.items():
            mine = [n for n in own if rows[n - part.first] is not None and rows[n - part.first][0] == site]
            places = np.array([rows[n - part.first][1] for n in mine], dtype=np.int64)
            number = {row[1]: n + part.first for n, row in enumerate(rows) if row is not None and row[0] == site}
            for n, found in _alike(mine, places, matrix).items():
                near[n] = tuple((number[i], value) for i, value in found if i in number)
            if mine and folder.is_relative_to(inside):
                up, down = _tokens(ctx.model(config.model, "model"), Site.parse(site), matrix[places])
                raised |= dict(zip(mine, up, strict=True))
                lowered |= dict(zip(mine, down, strict=True))
    return Extras(raised, lowered, near) if near or raised else NOTHING


def _rows(part: Table, tensors: Any) -> list[Any]:
    """Tensor and row of the write direction of each feature of a source; None where it has none."""
    place = {name: (site, row) for site, held in tensors.items() for row, name in enumerate(held.names)}
    ids = part.source.records.features["feature_id"].to_list()
    return [place.get(ids[number]) for number in part.chosen.tolist()]


def _alike(
    numbers: Sequence[int], places: np.ndarray, matrix: Float[np.ndarray, "feature width"]
) -> dict[int, tuple[tuple[int, float], ...]]:
    if len(matrix) < 2 or not len(places):
        return {}
    found = similar(places.tolist(), matrix, 0)
    return {n: found[place] for n, place in zip(numbers, places.tolist(), strict=True)}


def _tokens(
    model: LanguageModel, site: Site, writes: Float[np.ndarray, "feature width"]
) -> tuple[list[tuple[Moved, ...]], list[tuple[Moved, ...]]]:
    """Tokens whose logits some write directions raise and lower most, the gain of the final norm folded in; none where
    the way to the logits is not known.
    """
    from radiograph.models import token_text
    from radiograph.models.tail import WRITERS, Tail, write_vectors

    nothing: list[tuple[Moved, ...]] = [()] * len(writes)
    try:
        tail = Tail.of(model)
        into = None if site.kind in RESIDUAL else write_vectors(model, site)
    except (Refusal, UserError):
        return nothing, nothing
    assert into is None or site.kind in WRITERS
    rows = writes.astype(np.float64) if into is None else writes.astype(np.float64) @ into
    logits = tail.direct(rows)[:, : len(tail.unembed) - model.spare_rows]
    up: list[tuple[Moved, ...]] = []
    down: list[tuple[Moved, ...]] = []
    for row in logits:
        order = np.argsort(-row, kind="stable")
        for out, chosen in ((up, order[:TOKENS]), (down, order[::-1][:TOKENS])):
            texts = [str(int(i)) if model.tokenizer is None else token_text(model.tokenizer, int(i)) for i in chosen]
            out.append(tuple(Moved(token=t, change=float(row[i])) for t, i in zip(texts, chosen, strict=True)))
    return up, down
