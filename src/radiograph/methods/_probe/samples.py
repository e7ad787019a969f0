"""From a contrast and clean text to the samples that a probe is built from: through a model, or out of stores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radiograph.core import Context, Site, UserError
from radiograph.evidence import document_sha256
from radiograph.evidence.probes.probe import ProbeLevel, ProbePool
from radiograph.methods._probe.capture import captured, thinned
from radiograph.methods._probe.contrast import Contrast
from radiograph.methods._probe.tokens import Tokens, cut, of_rows, of_texts
from radiograph.numerics.shifts import block_length
from radiograph.probing import ContrastRow, Samples, check_classes, given_parts, group_numbers, parts_of

CLEAN_TOKENS = 8
"""Of one clean text, at the level of tokens."""
"""Rows that are taken for one group where nothing says which belong together."""
EMBED = "embed"


@dataclass(frozen=True)
class Gathered:
    """Samples, the hash of the clean text, and what a reader must know."""

    samples: Samples
    negatives_sha256: str | None
    stamps: tuple[str, ...]


def through(
    model: Any,
    contrast: Contrast,
    clean: Sequence[Any],
    sites: Sequence[Site],
    level: ProbeLevel,
    pool: ProbePool | None,
    ctx: Context,
) -> Gathered:
    """Texts through a model; the embedding is read as well, for the control."""
    texts, places, first = cut(of_rows(model, contrast.rows), model.context_length)
    plain, _, second = cut(of_texts(model, clean), model.context_length) if clean else ([], None, 0)
    rows = [contrast.rows[i] for i in places.tolist()]
    label = np.array([row.label for row in rows], dtype=bool)
    kinds = {name: i + 1 for i, name in enumerate(dict.fromkeys(text.source for text in plain))}
    source = np.array([kinds[text.source] for text in plain], dtype=np.int64)
    group, parts = grouped(rows, texts, plain, source, ctx.seed)
    check_classes(label, group[: len(rows)])
    if level == "token":
        plain = thinned(plain, CLEAN_TOKENS, ctx.seed)
    everywhere = [*sites, *([] if Site.parse(EMBED) in sites else [Site.parse(EMBED)])]
    with ctx.progress.task("activations", len(texts) + len(plain)) as task:
        found = captured(model, [*texts, *plain], everywhere, level, pool, task)
    near = np.array([row.near_miss for row in rows], dtype=bool)
    whole = level == "sequence"
    owner = np.arange(len(texts) + len(plain)) if whole else found.owner
    is_clean = owner >= len(texts)
    own = np.where(is_clean, 0, owner)
    other = np.where(is_clean, owner - len(texts), 0)
    samples = Samples(
        sites=tuple(map(str, sites)),
        values=tuple(found.rows[str(site)] for site in sites),
        embed=found.rows[EMBED],
        unit=found.owner if whole else np.arange(len(found.owner)),
        positive=label[own] & ~is_clean,
        near_miss=near[own] & ~is_clean,
        clean=is_clean,
        group=group[owner],
        kind=np.where(is_clean, source[other] if plain else 0, 0),
        part=parts[owner],
        text=owner,
        texts=tuple(text.shown for text in [*texts, *plain]),
        level=level,
        pool=pool if whole else None,
    )
    stamps = tuple(f"truncated:{count}" for count in (first + second,) if count)
    hashed = document_sha256([[text.id, text.group, text.ids] for text in plain]) if plain else None
    return Gathered(samples, hashed, stamps)


def grouped(
    rows: Sequence[ContrastRow],
    texts: Sequence[Tokens],
    plain: Sequence[Tokens],
    source: NDArray[np.int64],
    seed: int,
) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Group and part of every labelled text and then of every clean one.

    Groups are as given, a source of clean text apart from the others. Texts that are the same, or nearly the same among
    what is negative, are in one group whichever they come from: no text is fitted on and tested on. Rows that name
    their part, and rows of tokens, keep the groups that they were given, and only clean text joins them.
    """
    names = [f"contrast {row.group}" for row in rows]
    names += [f"clean {number} {text.group}" for number, text in zip(source.tolist(), plain, strict=True)]
    named = any(row.part is not None for row in rows)
    shown = [*([None] * len(rows) if named else (row.shown for row in rows)), *(text.shown for text in plain)]
    clean = {text.ids for text in plain}
    same = [text.ids if text.ids in clean else None for text in (*texts, *plain)]
    group = group_numbers(names, shown, [*(row.label for row in rows), *[False] * len(plain)], same)
    kind = np.array([*(int(row.label) for row in rows), *[2] * len(plain)], dtype=np.int64)
    # Of clean text what it says is hashed, not where it stands in its file.
    keys = [*(row.group for row in rows), *(str(text.ids) for text in plain)]
    part = parts_of(keys, group, kind, seed)
    if named:
        own = given_parts([row.part for row in rows], group[: len(rows)])
        by_group = np.full(int(group.max()) + 1, -1, dtype=np.int8)
        by_group[group[: len(rows)]] = own
        part = np.where(by_group[group] >= 0, by_group[group], part).astype(np.int8)
    return group, part


def of_stores(stores: Sequence[Any], clean: Any, ctx: Context, level: ProbeLevel, pool: ProbePool | None) -> Gathered:
    """Stores of positives and of negatives, and one of clean text; their rows are held in memory.

    Raises:
        UserError: stores of other widths or sites.
    """
    everything = [*stores, *([] if clean is None else [clean])]
    for one in everything[1:]:
        if one.width != stores[0].width or (one.site or stores[0].site) != (stores[0].site or one.site):
            raise UserError(
                "the stores are not of one site",
                expected=f"width {stores[0].width} at {stores[0].site}",
                got=f"width {one.width} at {one.site} in {one.name}",
            )
    assumed = any("prompt" not in one.columns for one in everything)
    held = [np.concatenate(list(one.chunks())).astype(np.float32) for one in everything]
    names = [name for number, one in enumerate(everything) for name in _groups(one, number, held[number])]
    _, number = np.unique(np.array(names), return_inverse=True)
    values = np.concatenate(held)
    which = np.repeat(np.arange(len(everything)), [one.rows for one in everything])
    kind = np.where(which == 0, 1, np.where(which == 1, 0, 2))
    unit = np.arange(len(values))
    if level == "sequence":
        unit = np.cumsum(np.diff(number * 3 + which, prepend=-1) != 0) - 1
        if pool != "max":
            values, kind, number, unit = _pooled(values, kind, number, unit, pool or "mean")
    at = np.unique(unit, return_index=True)[1]
    parts = parts_of([str(i) for i in number[at]], number[at], kind[at], ctx.seed)
    samples = Samples(
        sites=(stores[0].site or "unknown",),
        values=(values,),
        embed=None,
        unit=unit.astype(np.int64),
        positive=kind[at] == 1,
        near_miss=np.zeros(len(at), dtype=bool),
        clean=kind[at] == 2,
        kind=(kind[at] == 2).astype(np.int64),
        group=number[at].astype(np.int64),
        part=parts,
        text=np.zeros(len(at), dtype=np.int64),
        texts=(None,),
        level=level,
        pool=pool if level == "sequence" else None,
    )
    return Gathered(samples, None if clean is None else clean.sha256, ("clusters_assumed",) if assumed else ())


def _groups(store: Any, number: int, values: NDArray[np.float32]) -> list[str]:
    own = store.columns.get("group", store.columns.get("prompt"))
    if own is None:
        length = block_length(values)
        return [f"store {number} block {i // length}" for i in range(store.rows)]
    return [f"prompt {name}" for name in own.tolist()]


def _pooled(
    values: NDArray[np.float32],
    kind: NDArray[np.int64],
    number: NDArray[np.int64],
    unit: NDArray[np.int64],
    pool: ProbePool,
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    starts = np.flatnonzero(np.diff(unit, prepend=-1))
    ends = np.append(starts[1:], len(unit))
    if pool == "last":
        rows = values[ends - 1]
    else:
        rows = (np.add.reduceat(values, starts, axis=0) / (ends - starts)[:, None]).astype(np.float32)
    return rows, kind[starts], number[starts], np.arange(len(starts))
