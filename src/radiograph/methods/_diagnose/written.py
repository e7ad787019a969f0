"""What `verify` derives again from the tables; the keys of soup-cli."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from radiograph.core import Refusal, derive
from radiograph.evidence import document_sha256
from radiograph.evidence.reportcard.card import WORST, ReportCard
from radiograph.numerics.reportcard import band_of, point_band, score


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


def problems(result: dict[str, Any], folder: Path) -> list[str]:
    """Differences between the result and what its tables say."""
    import polars

    card, wrong = ReportCard.read(result), list[str]()
    for mode in card.modes:
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
        found = score(mode.mode, columns, np.asarray(table["group"].to_list()), derive(card.seed, mode.mode) % 2**32)
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
