"""What a run of `inspect` found: candidates of discover, the criterion, and the sources of its features. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from radiograph.core import FormatError, Refusal, UserError
from radiograph.evidence.features import Inspection
from radiograph.store import finished

TABLE = "tables/correlational.parquet"
LIVE = ("units", "dictionary", "direction", "toy", "saelens", "scope")


@dataclass(frozen=True)
class Inspected:
    """What is needed of it."""

    candidates: tuple[str, ...]
    """Addresses, the strongest on discover first; nothing of confirm chose or ordered them."""
    criterion: Path
    sources: tuple[str, ...]
    """Those that a model can be run through."""
    association: dict[str, float]
    """Signed, on discover, of every candidate."""
    model_sha256: str | None
    """Of the model that was run; None: records were read."""


def read_inspected(run: Path, *, top: int) -> Inspected:
    """Read a bundle.

    Raises:
        UserError: no run of `inspect`, or unfinished. FormatError: one that holds no table of features, or that was
            changed. Refusal: no candidate.
    """
    import polars as pl

    if not (run / "result.json").is_file() or not (run / "manifest.json").is_file():
        raise UserError(f"{run.name} is no run", expected="a folder that `inspect` left", code="no_run")
    bundle = finished(run)
    Inspection.read(bundle.result, where=f"{run.name}/result.json")
    criterion = run / "criterion" / "criterion.json"
    if not (run / TABLE).is_file() or not criterion.is_file():
        raise FormatError(f"{run.name} holds no features with a criterion", expected=TABLE, where=run.name)
    finished(run, TABLE, "criterion")
    table = pl.read_parquet(run / TABLE, columns=["feature_id", "candidate", "discover_z"]).filter("candidate")
    known = table.filter(pl.col("discover_z").is_not_null())
    table = table.sort(pl.col("discover_z").abs(), "feature_id", descending=[True, False])
    if not len(table):
        raise Refusal("no_candidate", f"{run.name} has no candidate to move", fix="name features with --only")
    asked = bundle.manifest.config.get("features", ())
    sources = tuple(text for text in asked if text.partition(":")[0].partition("#")[0] in LIVE)
    return Inspected(
        candidates=tuple(table["feature_id"][:top].to_list()),
        criterion=criterion,
        sources=sources,
        association=dict(zip(known["feature_id"].to_list(), known["discover_z"].to_list(), strict=True)),
        model_sha256=next((one.tensors_sha256 for one in bundle.manifest.inputs if one.role == "model"), None),
    )
