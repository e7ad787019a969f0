"""What `verify` derives again of a probe and of a reading: from stored scores, without model and torch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from radiograph.evidence.probes.probe import ProbeBuild, ProbeReading
from radiograph.numerics.probes import SetSupport, correlation, group_size


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
    """Differences between a reading and its rows; threshold and ρ of the probe are the record's."""
    import polars as pl

    from radiograph.numerics.probes import band, point_band, rate, rows_needed, separation

    rows = pl.read_parquet(folder / "tables" / "rows.parquet")
    score, group = rows["score"].to_numpy(), rows["group"].to_numpy()
    beyond, distinct = rows["outside"].to_numpy(), rows["distinct"].to_numpy()
    checks: dict[str, tuple[Any, Any]] = {
        "the number of rows": ((len(rows), int((~beyond).sum())), (stored.counts.rows, stored.counts.inside)),
        "the number of groups": (len(np.unique(group)), stored.counts.groups),
        "the largest score": (float(score.max()), stored.max_score),
        "the top rows": (
            [float(s) for s in np.sort(score)[::-1][: len(stored.top)]],
            [top.score for top in stored.top],
        ),
    }
    if stored.support is not None:
        own = stored.support
        axes = pl.read_parquet(folder / "tables" / "axes.parquet")
        ratio = np.abs(np.log(np.maximum(axes["variance"].to_numpy(), 1e-12)))
        found = SetSupport(
            float(beyond.mean()),
            own.distance,
            float(ratio.mean()),
            float(np.abs(axes["mean"].to_numpy()).max(initial=0.0)),
            own.distinct,
        )
        checks["the support"] = (
            (found.outside, found.log_variance, found.mean_off, found.broken),
            (own.outside, own.log_variance, own.mean_off, own.broken),
        )
    if stored.rate is not None and stored.threshold is not None and stored.rho is not None:
        flags = score > stored.threshold
        kept = ~beyond & distinct
        rho = max(stored.card_rho or 0.0, correlation(score[kept], group[kept], stored.threshold))
        flagged, n = int(flags[kept].sum()), int(kept.sum())
        share = rate(flagged, n, group_size(group[kept]), rho)
        ends = (stored.rate.low, stored.rate.high)
        counted = (stored.counts.flagged, stored.counts.counted)
        checks["the rate"] = ((share.estimate, flagged, n), (stored.rate.value, *counted))
        checks["its interval"] = ((*share.interval, share.rho), (*ends, stored.rho))
        checks["the worst case"] = (float((flags | beyond)[distinct].mean()), stored.worst_case_rate)
        if stored.band not in (None, "NOT-MEASURED"):
            answer = band(share.interval, stored.edges)
            needed = rows_needed(share, stored.edges) if answer == "INCONCLUSIVE" else None
            checks["the band"] = (answer, stored.band)
            checks["the point band"] = (point_band(share.estimate, stored.edges), stored.point_band)
            groups = None if needed is None else math.ceil(needed * len(np.unique(group[kept])) / n)
            checks["the rows needed"] = ((needed, groups), (stored.rows_needed, stored.groups_needed))
    if stored.band in ("OK", "MINOR", "MAJOR", "INCONCLUSIVE"):
        sound = stored.status == "calibrated" and (stored.support is None or stored.support.broken is None)
        checks["a band where there is none"] = (sound, True)
    if stored.separated is not None:
        apart = separation(score, rows["label"].to_numpy(), group)
        checks["the AUROC"] = (
            (apart.area, *apart.interval),
            (stored.separated.target, *stored.separated.target_interval),
        )
    return [f"{name} does not follow from the stored rows" for name, (ours, theirs) in checks.items() if ours != theirs]
