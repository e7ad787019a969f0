"""Measure the modes that were asked for, score them, put the card together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.core import Context, Refusal, UserError, derive
from radiograph.evidence import RefusalRecord
from radiograph.evidence.reportcard.card import WORST, Band, ModeScore, ReportCard
from radiograph.methods._diagnose import beside, supplied
from radiograph.methods._diagnose.inputs import Found, Inputs
from radiograph.methods._diagnose.modes import (
    citation,
    contamination,
    forgetting,
    format,
    memorisation,
    mode_collapse,
    refusal,
)
from radiograph.numerics.reportcard import MODES, Mode, band_of, score

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from radiograph.methods._diagnose.options import Config

MEASURES: dict[Mode, Callable[[Inputs], Found]] = {
    "forgetting": forgetting.measure,
    "refusal": refusal.measure,
    "format": format.measure,
    "mode_collapse": mode_collapse.measure,
    "memorisation": memorisation.measure,
    "contamination": contamination.measure,
    "citation": citation.measure,
}
HOW: dict[Mode, str] = {
    "memorisation": "--data ROWS.jsonl, and --held-out for a control",
    "contamination": "--data ROWS.jsonl and --benchmark ITEMS.jsonl",
}
DROPPED = "dropped"
"""Table of the items that are nearly a training row."""
ON_SUITE: tuple[Mode, ...] = ("forgetting", "refusal", "format", "mode_collapse", "citation")


def diagnose(config: Config, ctx: Context) -> ReportCard:
    """The card.

    Raises:
        Refusal: nothing to measure on.
        UserError: a file that is not what it should be.
    """
    given = supplied.read_evidence(config, ctx)
    attached = supplied.read_attached(config, ctx)
    asked = requested(config)
    if not asked and not given.modes and not attached:
        raise Refusal(
            "no_input",
            "nothing was given to measure on",
            expected="--suite, or --data with --benchmark or alone",
            fix="--suite world:suite for a model of the small world, else a suite of your own",
        )
    badge = None if config.badge is None else supplied.badge_place(config.badge, ctx)
    inputs = Inputs(config, ctx)
    modes = tuple(_mode(mode, mode in asked, inputs, given) for mode in MODES)
    measured: list[Band] = [m.band for m in modes if m.status == "measured" and m.band is not None]
    if inputs.dropped:
        ctx.output.table(DROPPED, {"id": sorted(inputs.dropped)})
    overall: Band | None = None
    for band in WORST:
        overall = band if band in measured else overall
    card = ReportCard(
        reference=ctx.label(config.reference),
        candidate=ctx.label(config.candidate),
        overall=overall,
        measured=len(measured),
        modes=modes,
        dropped=len(inputs.dropped),
        attached=attached,
        extras=given.extras,
        allow_not_measured=config.allow_not_measured,
        seed=ctx.seed,
        notes=notes(config, asked, given),
    )
    if badge is not None:
        supplied.write_badge(card, badge)
    return card


def requested(config: Config) -> tuple[Mode, ...]:
    """The modes asked for, else those whose data were given."""
    if config.modes:
        return tuple(dict.fromkeys(config.modes))
    on: set[Mode] = set(ON_SUITE) if config.suite is not None else set()
    if config.data is not None:
        on.add("memorisation")
        if config.benchmark is not None:
            on.add("contamination")
    return tuple(mode for mode in MODES if mode in on)


def _mode(mode: Mode, asked: bool, inputs: Inputs, given: supplied.Supplied) -> ModeScore:
    if not asked:
        return unasked(mode, given)
    try:
        with inputs.ctx.measure(mode):
            found = MEASURES[mode](inputs)
            return _scored(mode, found, inputs.ctx, inputs.config.model_dump(mode="json"))
    except UserError:
        raise
    except Refusal as reason:
        text = f"{reason.message}; needs {reason.expected}" if reason.expected else reason.message
        return _not_measured(mode, True, reason.code, text, reason.fix)
    except Exception as error:  # noqa: BLE001 - a mode that raises must not silence the others
        return _not_measured(mode, True, "failed", f"{type(error).__name__}: {error}")


def unasked(mode: Mode, given: supplied.Supplied) -> ModeScore:
    """A mode that was not asked for: as it was supplied, or not measured."""
    how = HOW.get(mode, "--suite FILE with prompts for it")
    return given.modes.get(mode) or _not_measured(mode, False, "not_requested", "not asked for", how)


def _scored(mode: Mode, found: Found, ctx: Context, config: Mapping[str, Any]) -> ModeScore:
    columns = {name: np.asarray(values, dtype=np.float64) for name, values in found.columns.items()}
    scored = score(mode, columns, np.asarray(found.groups), derive(ctx.seed, mode) % 2**32)
    own: dict[str, Any] = {"id": list(found.ids), "group": list(found.groups)}
    rows = {"": own | {name: values.tolist() for name, values in columns.items()}, **found.more}
    for name, table in rows.items():
        ctx.output.table(f"{mode}_{name}" if name else mode, table)
    places = {one: place for place, one in enumerate(found.ids)}
    return ModeScore(
        mode=mode,
        requested=True,
        status="measured",
        band=band_of(scored.low, scored.high),
        score=scored.value,
        low=scored.low,
        high=scored.high,
        n=len(found.ids),
        groups=scored.groups,
        data_sha256=found.data_sha256,
        what=beside.what(mode, rows, config) + found.said,
        beside=tuple(beside.beside(mode, rows, config, ctx.seed)),
        examples=tuple(found.show(places[one]) for one in beside.examples(mode, rows)),
    )


def _not_measured(mode: Mode, asked: bool, code: str, text: str, fix: str | None = None) -> ModeScore:
    gap = RefusalRecord(code=code, what=mode, text=text, fix=fix)
    return ModeScore(mode=mode, requested=asked, status="not_measured", refusal=gap)


def notes(config: Config, asked: Sequence[Mode], given: supplied.Supplied) -> tuple[str, ...]:
    """What a reader of the card has to know of what was given."""
    said: list[str] = []
    both = [mode for mode in asked if mode in given.modes]
    if both:
        said.append(f"supplied scores of {', '.join(both)} are not shown: these were asked for here")
    if config.suite is not None and config.data is None:
        said.append("no training rows were given: nothing says that the suite is held out")
    return tuple(said)
