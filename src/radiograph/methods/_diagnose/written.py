"""What `verify` derives again from the tables and from what was given; the keys of soup-cli."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from radiograph.core import Refusal, derive
from radiograph.evidence import Manifest, document_sha256
from radiograph.evidence.reportcard.card import WORST, ModeScore, ReportCard
from radiograph.methods._diagnose import beside, supplied
from radiograph.methods._diagnose.beside import Rows
from radiograph.methods._diagnose.card import DROPPED, notes, requested, unasked
from radiograph.methods._diagnose.options import Config
from radiograph.numerics.reportcard import MODES, band_of, score
from radiograph.store import Bundle

NEAR = 1e-12
OF_GROUPS = ("memorisation", "contamination")
"""Modes whose groups are the texts themselves, so that their hash follows."""


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
    """Differences between the result and what is stored of the run."""
    card, manifest = ReportCard.read(result), Bundle(folder).manifest
    config = Config.model_validate(manifest.config)
    wrong = [*_given(card, folder, config), *_card(card, folder, manifest, config)]
    for mode in card.modes:
        rows = _rows(folder, mode.mode)
        if mode.status != "measured":
            said = mode.requested and (mode.status == "supplied" or (mode.band or mode.score) is not None)
            wrong += [f"{mode.mode} was asked for and is {mode.status}, and has a score"] if said else []
            wrong += [f"{mode.mode} is {mode.status}, and its table is there"] if "" in rows else []
        elif "" not in rows:
            wrong.append(f"{mode.mode}: its table is missing")
        else:
            found = [*_scored(mode, rows, manifest.seed), *_said(mode, rows, manifest)]
            wrong += [f"{mode.mode}: {text}" for text in found]
    return wrong


def as_written(result: dict[str, Any], folder: Path) -> list[str]:
    """What stands in the card alone."""
    card = ReportCard.read(result)
    gaps = [m for m in card.modes if m.requested and m.status == "not_measured"]
    said = [f"why {', '.join(m.mode for m in gaps)} could not be measured"] if gaps else []
    shown = any(m.examples for m in card.modes)
    hashed = any(m.data_sha256 for m in card.modes if m.mode not in OF_GROUPS)
    said += ["texts of examples"] if shown else []
    said += ["names of attached runs"] if card.attached else []
    return [*said, *(["hashes of the prompts"] if hashed else [])]


def _given(card: ReportCard, folder: Path, config: Config) -> list[str]:
    """What comes from elsewhere, and modes that were not asked for."""
    scores = folder / supplied.SCORES
    if scores.is_file() != (config.evidence is not None):
        return [f"{supplied.SCORES} does not go with the configuration"]
    given = supplied.read_scores(scores.read_bytes(), supplied.SCORES) if scores.is_file() else supplied.Supplied()
    wanted = requested(config)
    wrong = [
        f"{m.mode} is not what was supplied, or was not asked for"
        for m in card.modes
        if m.mode not in wanted and m != unasked(m.mode, given)
    ]
    if card.extras != given.extras:
        wrong.append("/extras are not those of the file of scores")
    if card.notes != notes(config, wanted, given):
        wrong.append("/notes do not follow from what was given")
    runs = sorted((folder / supplied.ATTACHED).glob("*"), key=lambda path: int(path.name))
    if len(runs) != len(config.attach) or len(card.attached) != len(runs):
        return [*wrong, f"/attached holds {len(card.attached)} runs, {len(config.attach)} were given"]
    for run, one in zip(runs, card.attached, strict=True):
        if one != supplied.of_run(run, one.run):
            wrong.append(f"/attached/{run.name} is not what the manifest and the result of that run say")
    return wrong


def _card(card: ReportCard, folder: Path, manifest: Manifest, config: Config) -> list[str]:
    """What the configuration and the modes decide of the whole card."""
    wanted = requested(config)
    wrong = [f"{m.mode}: requested is {m.requested}" for m in card.modes if m.requested != (m.mode in wanted)]
    if tuple(m.mode for m in card.modes) != MODES:
        wrong.append("/modes are not every mode once, in their order")
    names = ("allow_not_measured", "reference", "candidate")
    wrong += [
        f"/{name} is not {manifest.config[name]}" for name in names if getattr(card, name) != manifest.config[name]
    ]
    dropped = _table(folder, DROPPED)
    count = len(set(dropped["id"])) if dropped else 0
    wrong += [f"/dropped is {card.dropped}, {count} are in the table"] if card.dropped != count else []
    wrong += [f"/seed is not {manifest.seed}"] if card.seed != manifest.seed else []
    bands = [m.band for m in card.modes if m.status == "measured" and m.band is not None]
    worst = max(bands, key=WORST.index) if bands else None
    if (worst, len(bands)) != (card.overall, card.measured):
        wrong.append(f"overall is {worst} of {len(bands)}, not {card.overall} of {card.measured}")
    return wrong


def _scored(mode: ModeScore, rows: Rows, seed: int) -> list[str]:
    """The score, its interval and the band."""
    own = rows[""]
    columns = {name: np.asarray(of, dtype=np.float64) for name, of in own.items() if name not in ("id", "group")}
    try:
        found = score(mode.mode, columns, np.asarray(own["group"]), derive(seed, mode.mode) % 2**32)
    except Refusal as refusal:
        return [f"{refusal.message}, by its table"]
    wrong = ["an item stands twice in its table"] if len(set(own["id"])) < len(own["id"]) else []
    for name, again, said in (("n", len(own["id"]), mode.n), ("groups", found.groups, mode.groups)):
        wrong += [f"{name} is {again}, not {said}"] if again != said else []
    ends = (("score", found.value, mode.score), ("low", found.low, mode.low), ("high", found.high, mode.high))
    wrong += [
        f"{name} is {again}, not {said}" for name, again, said in ends if said is None or abs(again - said) > NEAR
    ]
    band = band_of(found.low, found.high)
    return [*wrong, f"it is {band}, not {mode.band}"] if mode.band != band else wrong


def _said(mode: ModeScore, rows: Rows, manifest: Manifest) -> list[str]:
    """What stands beside the score, and which items are shown."""
    wrong = beside.inside(mode.mode, rows)
    again = beside.beside(mode.mode, rows, manifest.config, manifest.seed)
    if [one.name for one in again] != [one.name for one in mode.beside]:
        wrong.append("what stands beside it is not what its tables give")
    for own, said in zip(again, mode.beside, strict=False):
        alike = (_near(getattr(own, field), getattr(said, field)) for field in ("value", "low", "high", "p", "n"))
        wrong += [] if all(alike) else [f"{said.name} is {own.value}, not {said.value}, or its interval, p or n is not"]
    if [one.id for one in mode.examples] != beside.examples(mode.mode, rows):
        wrong.append("the examples are not the items that its table gives")
    what = beside.what(mode.mode, rows, manifest.config)
    order = mode.mode == "contamination" and manifest.config["ordered"] and "order" not in rows
    if not (mode.what.startswith(f"{what}; ") if order else mode.what == what):
        wrong.append("what it is of does not follow")
    if mode.mode in OF_GROUPS and mode.data_sha256 != document_sha256(list(rows[""]["group"])):
        wrong.append("data_sha256 is not that of its rows")
    return [*wrong, *(["is measured, and holds evidence or a refusal"] if mode.evidence or mode.refusal else [])]


def _rows(folder: Path, mode: str) -> Rows:
    """Tables of a mode."""
    names = [path.stem for path in (folder / "tables").glob("*.parquet")]
    wanted = {name: name.removeprefix(mode).removeprefix("_") for name in names if f"{name}_".startswith(f"{mode}_")}
    return {short: _table(folder, name) for name, short in wanted.items()}


def _table(folder: Path, name: str) -> dict[str, list[Any]]:
    import polars

    path = folder / "tables" / f"{name}.parquet"
    return polars.read_parquet(path).to_dict(as_series=False) if path.is_file() else {}


def _near(one: float | None, two: float | None) -> bool:
    return one == two if one is None or two is None else abs(one - two) <= NEAR * max(1.0, abs(one))
