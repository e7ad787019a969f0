"""What the changes of two adapters have in common: in weights, and in activations on the target's rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.core import Context, derive
from radiograph.evidence.probes.interference import AdapterOverlap, InterferenceCell, OverlapRank
from radiograph.methods.probe._interference import features
from radiograph.numerics.audit.stability import spearman
from radiograph.numerics.interference import Change, Factors, Overlap, SharedShift, Shift, overlap, shared_shift

if TYPE_CHECKING:
    from radiograph.core import Site
    from radiograph.methods._blame.rows import Data
    from radiograph.methods.probe._interference.options import Config
    from radiograph.models import LanguageModel

TOKENS = 512
FEWEST_PAIRS = 10
MEASURES = ("cosine", "columns", "rows", "conflict")


@dataclass(frozen=True)
class Shared:
    """Descriptions by target and added, and where activations were read."""

    cells: Mapping[tuple[str, str], AdapterOverlap]
    site: str | None
    dictionary: str | None = None


def described(
    config: Config,
    ctx: Context,
    base: LanguageModel,
    adapters: Mapping[str, LanguageModel],
    data: Mapping[str, Data],
    pieces: Mapping[str, Mapping[str, Factors]],
) -> Shared:
    """Every pair, and the table of all matrices."""
    changes = {name: {place: Change.of(one) for place, one in own.items()} for name, own in pieces.items()}
    columns: dict[str, list[Any]] = {}
    weights: dict[frozenset[str], dict[str, Any]] = {}
    with ctx.progress.task("overlaps"):
        for first, second in combinations(adapters, 2):
            one, two = changes[first], changes[second]
            found = {
                place: overlap(one[place], two[place], seed=derive(ctx.seed, "signs", place) % 2**32)
                for place in one
                if place in two
            }
            norms = [float(np.sqrt(sum(c.norm**2 for c in side.values()))) for side in (one, two)]
            weights[frozenset((first, second))] = _summed(list(found.values()), norms)
            _rows(columns, first, second, found)
    if columns:
        ctx.output.table("overlap", columns)
    site = None if config.shift_rows == 0 else base.sites(config.site or f"resid_post.{base.n_layers - 1}")[0]
    shifts = {} if site is None else _shifts(ctx, base, adapters, data, site, config.shift_rows)
    moved, book = {}, None
    if config.dictionary is not None:
        dictionary, place = features.opened(ctx, config.dictionary, base)
        moved = features.shared(ctx, dictionary, place, base, adapters, data)
        book = f"{ctx.label(config.dictionary)} at {place}, {dictionary.size} features"
    cells = {
        (target, added): AdapterOverlap(
            **weights[frozenset((target, added))],
            **_of(shifts.get((target, added))),
            **moved.get((target, added), {}),
        )
        for target in adapters
        for added in adapters
        if target != added
    }
    return Shared(cells, None if site is None else str(site), book)


def ranks(cells: Sequence[InterferenceCell]) -> tuple[OverlapRank, ...]:
    """Spearman's correlations over pairs, where there are enough for one."""
    pairs: dict[frozenset[str], list[InterferenceCell]] = {}
    for cell in cells:
        if cell.score is not None and cell.overlap is not None and cell.band != "NOT-MEASURED":
            pairs.setdefault(frozenset((cell.target, cell.added)), []).append(cell)
    whole = [own for own in pairs.values() if len(own) > 1]
    found: list[OverlapRank] = []
    for measure in MEASURES:
        rows = [(np.mean([c.score or 0.0 for c in own]), getattr(own[0].overlap, measure)) for own in whole]
        known = [(float(score), float(value)) for score, value in rows if value is not None]
        if len(known) < FEWEST_PAIRS:
            continue
        scores, values = (np.array(side) for side in zip(*known, strict=True))
        rho = spearman(scores, values)
        if rho is not None:
            found.append(OverlapRank(measure=measure, rho=rho, pairs=len(known)))
    return tuple(found)


def _summed(found: Sequence[Overlap], norms: Sequence[float]) -> dict[str, Any]:
    """Over the matrices that both change; the cosine is of the whole changes."""
    whole = norms[0] * norms[1]
    large = sum(one.large for one in found)
    return {
        "modules": len(found),
        "cosine": sum(one.product for one in found) / whole if whole > 0 else None,
        **{
            name: _mean([getattr(one, name) for one in found])
            for name in ("columns", "columns_chance", "rows", "rows_chance")
        },
        "conflict": sum(one.conflicts for one in found) / large if large else None,
        "conflict_n": large,
    }


def of_table(table: Any, first: str, second: str, modules: Mapping[str, int | None]) -> dict[str, Any]:
    """The same from the table of all matrices; without the cosine where one changes a matrix that the other does not,
    whose norm no row has.
    """
    pair = {first, second}
    rows = [row for row in table.iter_rows(named=True) if {row["first"], row["second"]} == pair]
    found = [
        Overlap(
            (row["cosine"] or 0.0) * row["norm_first"] * row["norm_second"],
            (row["norm_first"], row["norm_second"]),
            **{name: row[name] for name in _PARTS},
        )
        for row in rows
    ]
    norms = [float(np.sqrt(sum(one.norms[side] ** 2 for one in found))) for side in (0, 1)]
    said = _summed(found, norms)
    if any(modules[name] != len(found) for name in pair):
        del said["cosine"]
    return said


_PARTS = ("columns", "columns_chance", "rows", "rows_chance", "conflicts", "large")


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _rows(columns: dict[str, list[Any]], first: str, second: str, found: Mapping[str, Overlap]) -> None:
    for place, one in found.items():
        row = {
            "first": first,
            "second": second,
            "module": place,
            "norm_first": one.norms[0],
            "norm_second": one.norms[1],
            "cosine": one.cosine,
            "columns": one.columns,
            "columns_chance": one.columns_chance,
            "rows": one.rows,
            "rows_chance": one.rows_chance,
            "conflicts": one.conflicts,
            "large": one.large,
        }
        for name, value in row.items():
            columns.setdefault(name, []).append(value)


def _shifts(
    ctx: Context,
    base: LanguageModel,
    adapters: Mapping[str, LanguageModel],
    data: Mapping[str, Data],
    site: Site,
    count: int,
) -> dict[tuple[str, str], SharedShift]:
    found: dict[tuple[str, str], SharedShift] = {}
    with ctx.progress.task("shifts of activations", total=len(adapters)) as task:
        for target in adapters:
            rows = sorted(data[target].rows, key=lambda row: row.sha256)[:count]
            tokens = [row.ids for row in rows]
            plain = _read(base, tokens, site)
            own = {name: Shift.of(plain, _read(view, tokens, site)) for name, view in adapters.items()}
            found |= {(target, added): shared_shift(own[target], own[added]) for added in adapters if added != target}
            task.advance()
    return found


def _read(model: LanguageModel, tokens: Sequence[Sequence[int]], site: Site) -> np.ndarray:
    """Activations of the first tokens of some rows, in the order of batches."""
    from radiograph.models import stream

    parts: list[np.ndarray] = []
    for batch, values in stream(model, tokens, [site]):
        parts.append(values[site][batch.mask.to(values[site].device)].float().cpu().numpy())
    return np.concatenate(parts)[:TOKENS]


def _of(shift: SharedShift | None) -> dict[str, Any]:
    if shift is None:
        return {}
    return {
        "shift_cosine": shift.cosine,
        "shift_overlap": shift.subspace,
        "shift_chance": shift.chance,
        "shift_tokens": shift.tokens,
    }
