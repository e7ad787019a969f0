"""What follows from the tables of a comparison, derived again: q, matches, counts, the null, the words of transfers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from radiograph.core import FormatError
from radiograph.evidence.matches import LISTED, Matches
from radiograph.methods._match import tables
from radiograph.methods._match.transfer import judged
from radiograph.numerics.multiplicity import q_values

if TYPE_CHECKING:
    import polars

CLOSE: Final = 1e-12


def differences(stored: Matches, folder: Path) -> list[str]:
    """What does not follow; empty where all does."""
    table = _table(folder, "matches")
    found: list[str] = []
    own = table["mutual"].to_numpy()
    if stored.kind == "correlational":
        q = q_values(table["p"].to_numpy())
        if not np.allclose(q, table["q"].to_numpy(), rtol=0, atol=CLOSE):
            found.append("tables/matches.parquet: q does not follow from p")
        own = own & (q <= stored.level)
        if (own != table["matched"].to_numpy()).any():
            found.append("tables/matches.parquet: matched is not q ≤ level and mutual")
    matched = table.filter(own).sort("score", descending=True, maintain_order=True)
    found += [
        f"{name} is {said}, the tables give {value}"
        for name, (said, value) in _counts(stored, folder, table, matched).items()
        if said != value
    ]
    rows = matched.head(LISTED).to_dicts()
    without = tuple(pair.model_copy(update={"transfer": ()}) for pair in stored.matches)
    if len(rows) != len(without) or without != tuple(
        tables.pair_of_row(row, line.components) for row, line in zip(rows, stored.matches, strict=True)
    ):
        found.append("the matches listed are not those of tables/matches.parquet")
    return [*found, *_transfers(stored)]


def _counts(
    stored: Matches, folder: Path, table: polars.DataFrame, matched: polars.DataFrame
) -> dict[str, tuple[Any, Any]]:
    counts: dict[str, tuple[Any, Any]] = {
        "found": (stored.found, len(matched)),
        "left.compared": (stored.left.compared, len(table)),
        "left_only": (stored.left_only, len(table) - len(matched)),
        "right_only": (stored.right_only, stored.right.compared - len(matched)),
        "ambiguous": (stored.ambiguous, int(matched["ambiguous"].sum())),
    }
    if stored.kind == "structural":
        return counts
    taken = matched.filter(matched["assigned"].eq_missing(matched["right"]))
    counts["assigned_only"] = (stored.assigned_only, len(table.filter(table["assigned"].is_not_null())) - len(taken))
    fates = _table(folder, "features")
    sides = [fates.filter(fates["side"] == side)["fate"] for side in ("left", "right")]
    reasons = {"few_active", *stored.excluded}
    out = {reason: tuple(int((side == reason).sum()) for side in sides) for reason in sorted(reasons)}
    counts["excluded"] = ({reason: tuple(n) for reason, n in sorted(stored.excluded.items())}, out)
    words = ("matched", "left_only", "right_only")
    compared = [sum(int((side == word).sum()) for word in words) for side in sides]
    counts["compared"] = ([stored.left.compared, stored.right.compared], compared)
    if stored.null is not None:
        best = _table(folder, "null")["best"].to_numpy()
        counts["null.draws"] = (stored.null.draws, len(best) // max(1, len(table)))
        q95 = float(np.quantile(best, 0.95))
        said = stored.null.q95
        counts["null.q95"] = (said, said if abs(q95 - said) <= CLOSE else q95)
    return counts


def _transfers(stored: Matches) -> list[str]:
    records = [(pair.left, one) for pair in stored.matches for one in pair.transfer]
    again = judged([one for _, one in records])
    said: list[str] = []
    for (name, one), other in zip(records, again, strict=True):
        assert other is not None
        close = (one.q is None) == (other.q is None) and abs((one.q or 0.0) - (other.q or 0.0)) <= CLOSE
        if one.verdict != other.verdict or not close:
            said.append(f"{name}: {one.kind} {one.verdict} does not follow, {other.verdict} does")
    return said


def _table(folder: Path, name: str) -> polars.DataFrame:
    import polars as pl

    path = folder / "tables" / f"{name}.parquet"
    if not path.is_file():
        raise FormatError(f"{path.name} is missing", where=f"tables/{path.name}")
    return pl.read_parquet(path)
