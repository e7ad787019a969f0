"""What `verify` derives again of a probe and of a reading: from stored scores, without model and torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from radiograph.evidence.probes.probe import ProbeBuild


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
