"""What `verify` derives again from the tables; the keys of soup-cli."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from radiograph.core import Refusal, derive
from radiograph.evidence import document_sha256
from radiograph.evidence.reportcard.card import WORST, ModeScore, ReportCard
from radiograph.methods._diagnose.card import requested
from radiograph.methods._diagnose.options import Config
from radiograph.numerics.reportcard import MODES, band_of, point_band, score
from radiograph.store import Bundle


def soup(result: ReportCard) -> dict[str, Any]:
    """The keys of soup-cli.

    Raises:
        Refusal: nothing was measured, or a mode that was asked for has no band there.
    """
    from importlib.metadata import version

    shown = [m for m in result.modes if m.status == "supplied" or (m.status == "measured" and m.band != "INCONCLUSIVE")]
    unsaid = [m.mode for m in result.modes if m.requested and m not in shown]
    if unsaid or not shown:
        raise Refusal("not_measured", f"no score of {', '.join(unsaid) or 'any mode'}; verdict has no word for that")
    bands = [m.band for m in shown if m.band is not None]
    return {
        "run_id": document_sha256(result)[:10],
        "base": result.reference,
        "adapter": result.candidate,
        "overall": max(bands, key=WORST.index),
        "soup_version": f"radiograph {version('radiograph')}",
        "scores": {
            m.mode: {
                "mode": m.mode,
                "score": m.score,
                "verdict": m.band,
                "evidence": m.evidence if m.status == "supplied" else m.what,
            }
            for m in shown
        },
        "extras": result.extras,
    }


def _asked(card: ReportCard, config: dict[str, Any]) -> list[str]:
    """What the configuration decides: the modes that were asked for, and what the exit code makes of gaps."""
    wanted = requested(Config.model_validate(config))
    wrong = [f"{m.mode}: requested is {m.requested}" for m in card.modes if m.requested != (m.mode in wanted)]
    if tuple(m.mode for m in card.modes) != MODES:
        wrong.append("/modes are not every mode once, in their order")
    names = ("allow_not_measured", "reference", "candidate")
    wrong += [f"/{name} is not {config[name]}" for name in names if getattr(card, name) != config[name]]
    if any(m.status == "supplied" for m in card.modes) and config["evidence"] is None:
        wrong.append("a mode is supplied, and no scores of elsewhere were given")
    if len(card.attached) != len(config["attach"]):
        wrong.append(f"/attached holds {len(card.attached)} runs, {len(config['attach'])} were given")
    return wrong


def _beside(mode: ModeScore, columns: dict[str, np.ndarray]) -> list[str]:
    """Numbers beside a score that its own rows give; those of other texts stand as they were measured."""
    again: dict[str, float] = {}
    if mode.mode == "refusal":
        for name, rows in (("restricted", columns["restricted"] == 1), ("look-alikes", columns["restricted"] == 0)):
            for side in ("reference", "candidate"):
                again[f"refused, {name}, {side}"] = float(columns[side][rows].mean())
                if f"mass_{side}" in columns:
                    mass = float(columns[f"mass_{side}"][rows].mean())
                    again[f"first-token mass of refusals, {name}, {side}"] = mass
    elif mode.mode == "format":
        again["valid outputs of the reference"] = float(columns["reference"].mean())
    elif mode.mode == "citation":
        again["F1 of the reference"] = float(columns["reference"].mean())
    elif mode.mode == "contamination":
        again["mean containment"] = float(columns["containment"].mean())
    stated = {one.name: one.value for one in mode.beside}
    return [
        f"{mode.mode}: {name} is {value}, not {stated.get(name)}"
        for name, value in again.items()
        if name not in stated or abs(stated[name] - value) > 1e-12
    ]


def problems(result: dict[str, Any], folder: Path) -> list[str]:
    """Differences between the result and what its tables say."""
    import polars

    card, manifest = ReportCard.read(result), Bundle(folder).manifest
    wrong = _asked(card, manifest.config)
    for mode in card.modes:
        if mode.status != "measured" and (folder / "tables" / f"{mode.mode}.parquet").is_file():
            wrong.append(f"{mode.mode} is {mode.status}, and its table is there")
        if mode.status != "supplied" and mode.status != "measured" and (mode.band or mode.score) is not None:
            wrong.append(f"{mode.mode} is {mode.status}, and has a score")
        if mode.status == "supplied" and mode.band != point_band(mode.score or 0.0):
            wrong.append(f"{mode.mode}: a score of {mode.score} is not {mode.band}")
        if mode.status != "measured":
            continue
        path = folder / "tables" / f"{mode.mode}.parquet"
        if not path.is_file():
            wrong.append(f"{mode.mode}: its table is missing")
            continue
        table = polars.read_parquet(path)
        columns = {name: table[name].to_numpy() for name in table.columns if name not in ("id", "group")}
        try:
            found = score(
                mode.mode, columns, np.asarray(table["group"].to_list()), derive(manifest.seed, mode.mode) % 2**32
            )
        except Refusal as refusal:
            wrong.append(f"{mode.mode}: {refusal.message}, by its table")
            continue
        for name, again, said in (("n", table.height, mode.n), ("groups", found.groups, mode.groups)):
            if again != said:
                wrong.append(f"{mode.mode}: {name} is {again}, not {said}")
        if table["id"].n_unique() != table.height:
            wrong.append(f"{mode.mode}: an item stands twice in its table")
        wrong += _beside(mode, columns)
        for name, again, said in (
            ("score", found.value, mode.score),
            ("low", found.low, mode.low),
            ("high", found.high, mode.high),
        ):
            if said is None or abs(again - said) > 1e-12:
                wrong.append(f"{mode.mode}: {name} is {again}, not {said}")
        if mode.band != band_of(found.low, found.high):
            wrong.append(f"{mode.mode} is {band_of(found.low, found.high)}, not {mode.band}")
    bands = [m.band for m in card.modes if m.status == "measured" and m.band is not None]
    worst = max(bands, key=WORST.index) if bands else None
    if (worst, len(bands)) != (card.overall, card.measured):
        wrong.append(f"overall is {worst} of {len(bands)}, not {card.overall} of {card.measured}")
    return wrong
