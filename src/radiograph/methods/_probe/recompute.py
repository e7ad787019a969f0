"""What `verify` derives again of a probe and of a reading: from stored scores, without model and torch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.core import visible
from radiograph.evidence.probes.probe import ProbeBuild, ProbeReading

if TYPE_CHECKING:
    from radiograph.methods._probe.recorded import Origin
    from radiograph.probing import Probe


ROUNDED, TINY = 1e-3, 1e-30
"""What products in single precision may differ by, as a share; a length that is none."""


def unlike_build(stored: ProbeBuild, folder: Path) -> list[str]:
    """Differences between a build and its tables and file."""
    import polars as pl

    from radiograph.probing import failing_of, measured, reads_text
    from radiograph.store.opened import Opened
    from radiograph.store.probes import read_probe

    card = stored.card
    with Opened.at(folder / stored.file) as file:
        probe = read_probe(file, (folder / f"{card.name}.json").read_bytes())
    test = pl.read_parquet(folder / "tables" / "test_scores.parquet")
    rows = np.stack([test[name].to_numpy().astype(np.float32) for name in ("score", "kind", "group")], axis=1)
    nulls = pl.read_parquet(folder / "tables" / "nulls.parquet")
    found = measured(rows, float(probe.tensors["threshold"]), card.fpr.target)
    kept = {name: nulls[name].drop_nans().to_numpy() for name in nulls.columns}
    q95 = {name: float(np.quantile(values, 0.95)) for name, values in kept.items()}
    search_p = float((1 + (kept["search"] >= card.controls.search - 1e-12).sum()) / (1 + len(kept["search"])))
    failing = failing_of(found, card.controls)
    stamped = reads_text(found.auroc, card.controls.words, card.controls.embed)
    checks: dict[str, tuple[Any, Any]] = {
        "the card": (probe.card, card),
        "the test scores": (bool(np.array_equal(rows, probe.tensors["test_scores"])), True),
        "the threshold": (float(probe.tensors["threshold"]), stored.threshold),
        "the AUROC": (found.auroc, card.auroc),
        "the false positive rate": (found.fpr, card.fpr),
        "the true positive rate": (found.tpr, card.tpr),
        "the counts": (found.counts, card.data.n_test),
        "permuted labels": (q95["test"], card.controls.shuffled_q95),
        "the permuted search": ((q95["search"], search_p), (card.controls.shuffled_search_q95, card.controls.search_p)),
        "random directions": (q95["random"], card.controls.random_q95),
        "the failing conditions": (failing, card.failing),
        "the status": ("uncalibrated" if failing else "calibrated", card.status),
        "reads_text": (stamped, "reads_text" in card.stamps),
    }
    return [
        f"{name} does not follow from the stored scores" for name, (ours, theirs) in checks.items() if ours != theirs
    ]


def unlike_reading(stored: ProbeReading, folder: Path) -> list[str]:
    """Differences between a reading and what its probe says of its rows."""
    from radiograph.methods._probe.chosen import FOREIGN
    from radiograph.methods._probe.reading import OF_DEFECTION, ORIGIN, PROBE, edges_of, group_columns
    from radiograph.methods._probe.recorded import Asked, Evidence, recorded
    from radiograph.probing import Probe, read_again
    from radiograph.store import Bundle
    from radiograph.store.opened import Opened
    from radiograph.store.probes import read_foreign, read_probe

    manifest = Bundle(folder).manifest
    config = manifest.config
    if config["weights"] is None:
        with Opened.at(folder / PROBE) as file:
            probe = Probe.of(read_probe(file))
    else:
        (place,) = (folder / FOREIGN).iterdir()
        with Opened.at(place) as file:
            probe = Probe.foreign(read_foreign(file), stored.kind, stored.site, "none")
    rows, axes, groups = (_columns(folder, name) for name in ("rows", "axes", "groups"))
    own = read_again(probe.support, rows, axes)
    said = [
        f"{name} of tables/rows.parquet does not follow from its distances, lengths and marks"
        for name in ("outside", "distinct")
        if not np.array_equal(getattr(own, name), rows[name])
    ]
    unit = np.sqrt(probe.width) / np.maximum(own.length, TINY) if probe.normalise == "rms" else 1.0
    marked = own.mark * unit
    here = np.isfinite(marked)  # marks are sums in single precision, which squares of huge rows leave
    if not np.allclose(marked[here], own.score[here], rtol=ROUNDED, atol=ROUNDED * float(own.score.std())):
        said.append("score of tables/rows.parquet does not follow from its marks and lengths")
    if (np.diff(own.place) <= 0).any():
        said.append("the rows of tables/rows.parquet are not in their order")
    other = None
    if config["reference"] is not None:
        other = replace(own, score=rows["reference_score"], outside=rows["reference_outside"].astype(bool))
    names = {int(number): str(name) for number, name in zip(groups["group"], groups["name"], strict=True)}
    written = {k: np.asarray(v) for k, v in group_columns(own, names).items()}
    if any(not np.array_equal(written[k], groups[k]) for k in written) or len(names) != len(groups["group"]):
        said.append("tables/groups.parquet does not follow from the rows")
    evidence = Evidence(
        stored.evidence,
        own,
        tuple(names.get(number, "") for number in range(max(names, default=-1) + 1)),
        rows.get("position"),
        label=rows["label"].astype(bool) if "label" in rows else None,
        origin=_origin(folder / ORIGIN),
    )
    edges = edges_of(config["bands"]) if "bands" in config else OF_DEFECTION
    question: Any = manifest.verb.rpartition(".")[2]
    base = stored.base if probe.card is None or config["probe"] is None else probe.card.model.ref
    asked = Asked(question, config["target"], base, config["reference"] or "", edges, manifest.seed)
    return said + _unlike(recorded(asked, probe, evidence, other), stored, probe, config)


def _unlike(again: ProbeReading, stored: ProbeReading, probe: Probe, config: dict[str, Any]) -> list[str]:
    """Parts of a record that the rows do not give; the texts of leading rows are shown, and decide nothing."""
    ours, theirs = (one.model_dump(mode="json") for one in (again, stored))
    for top in (*ours["top"], *theirs["top"]):
        top |= {"text": None, "before": None, "after": None, "group": visible(top["group"], 256)}
    said = [
        f"{_WORDS.get(key, f'/{key}')} does not follow from the stored rows" for key in ours if ours[key] != theirs[key]
    ]
    given = config["data"] or ([config["labels"]] if config["labels"] else [])
    if given and stored.evidence != ", ".join(given):
        said.append("/evidence is not what was read")
    return said


_WORDS = {
    "counts": "the number of rows",
    "max_score": "the largest score",
    "top": "the top rows",
    "support": "the support",
    "rate": "the rate",
    "worst_case_rate": "the worst case",
    "band": "the band",
    "point_band": "the point band",
    "rows_needed": "the rows needed",
    "separated": "the AUROC",
}


def as_written(stored: ProbeReading) -> list[str]:
    """What needs the texts and the rows themselves."""
    said = ["texts of top rows"] if any(row.text for row in stored.top) else []
    return [*said, "what the rows say of their origin"]


def _origin(path: Path) -> Origin:
    from radiograph.methods._probe.recorded import Origin

    said: dict[str, Any] = json.loads(path.read_text())
    said["models"] = tuple(said["models"])
    return Origin(**said)


def _columns(folder: Path, name: str) -> dict[str, Any]:
    import polars as pl

    return {column.name: column.to_numpy() for column in pl.read_parquet(folder / "tables" / f"{name}.parquet")}
