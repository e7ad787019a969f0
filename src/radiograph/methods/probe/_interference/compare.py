"""From a configuration to the evidence: losses, cells, tables, result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from radiograph.core import Context, Refusal, UserError, visible
from radiograph.evidence.probes.interference import Interference, InterferenceAdapter
from radiograph.methods.probe._interference import judge, losses

if TYPE_CHECKING:
    from radiograph.methods.probe._interference.options import Config


def compare(config: Config, ctx: Context) -> Interference:
    """Read or measure, and judge.

    Raises:
        UserError: both or neither of the two ways were asked for.
    """
    measured = bool(config.base or config.adapter or config.eval_)
    if config.losses is not None and measured:
        raise UserError(
            "losses from a file, and adapters to measure",
            expected="LOSSES, or --base with --adapter and --eval",
            fix="leave one out",
            code="bad_value",
        )
    if config.losses is not None:
        return _given(config, config.losses, ctx)
    if not measured:
        raise UserError(
            "nothing to compare",
            expected="LOSSES, or --base MODEL --adapter NAME=PATH … --eval NAME=FILE …",
            code="bad_value",
        )
    from radiograph.methods.probe._interference import measured as by_now

    return by_now.measured(config, ctx)


def _given(config: Config, reference: str, ctx: Context) -> Interference:
    read = losses.read_losses(ctx, reference)
    ctx.output.table("losses", _columns(read))
    return of_losses(read, ctx.label(reference), config.allow_missing)


def of_losses(read: losses.Losses, source: str, allow_missing: bool) -> Interference:
    """The record of a file of losses."""
    facts, cells = judge.of_given(read)
    bare = [c for c in cells if c.score is not None and c.interval is None and c.reason is None]
    notes: list[str] = []
    if bare and len(bare) < len(cells):
        notes.append(f"{len(bare)} pairs have no interval: there the point decides")
    single = [c for c in bare if c.n == 1]
    if single:
        notes.append(f"{len(single)} pairs stand on a single row (n = 1), of which no spread is known")
    return Interference(
        mode="losses",
        source=source,
        combine="given",
        unit="as given",
        adapters=tuple(
            InterferenceAdapter(
                name=name,
                loss=alone.loss,
                base_loss=alone.base,
                gain=alone.gain,
                gain_interval=None if alone.interval is None else (alone.interval.low, alone.interval.high),
                inert=alone.inert,
                rows=read.alone[name].n,
            )
            for name, alone in facts.items()
        ),
        cells=tuple(cells),
        worst_pair=judge.worst_of(cells),
        bands=judge.counted(cells),
        allow_missing=allow_missing,
        stamps=("no_interval",) if bare else (),
        notes=tuple(notes),
        not_measured=judge.gaps(cells),
    )


def _columns(read: losses.Losses) -> dict[str, list[Any]]:
    """Every loss of the file; `added` is the target itself for an adapter alone, and empty for the base."""
    lines = [(t, t, v, "alone") for t, v in read.alone.items()]
    lines += [(t, a, v, "both") for (t, a), v in read.both.items()]
    lines += [(t, "", v, "base") for t, v in read.base.items()]
    return {
        "target": [t for t, *_ in lines],
        "added": [a for _, a, *_ in lines],
        "condition": [c for *_, c in lines],
        "loss": [v.loss for _, _, v, _ in lines],
        "sd": [v.sd for _, _, v, _ in lines],
        "n": [v.n for _, _, v, _ in lines],
    }


def soup(result: Interference) -> dict[str, Any]:
    """The keys of soup-cli: every cell, an adapter with itself included; HELPS is OK there.

    Raises:
        Refusal: a pair without a band.
    """
    open_ = [cell for cell in result.cells if cell.band in ("NOT-MEASURED", "INCONCLUSIVE")]
    if open_:
        first = open_[0]
        raise Refusal(
            "pairs_without_band",
            f"{len(open_)} pairs have no band, and the keys of soup-cli cannot say so",
            got=f"{visible(first.target, 60)} with {visible(first.added, 60)}: {first.band}, {first.reason}",
        )
    cells: list[dict[str, Any]] = []
    for adapter in result.adapters:
        own = {cell.added: cell for cell in result.cells if cell.target == adapter.name}
        for other in result.adapters:
            cell = own.get(other.name)
            cells.append(
                {
                    "adapter_a": adapter.name,
                    "adapter_b": other.name,
                    "score": 0.0 if cell is None else cell.score,
                    "verdict": "OK" if cell is None or cell.band == "HELPS" else cell.band,
                }
            )
    worst = result.worst_pair
    return {
        "adapters": [adapter.name for adapter in result.adapters],
        "cells": cells,
        "worst_pair": None if worst is None else [worst.target, worst.added],
        "worst_score": 0.0 if worst is None else worst.score,
    }
