"""What both looking verbs read: bases, rows of a side, site statistics, files of planes."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.core import Context, UserError
from radiograph.evidence.resonance import TransformName

if TYPE_CHECKING:
    from radiograph.numerics.planes import Transform
    from radiograph.numerics.units import SiteStatistics
    from radiograph.store.planes import StoredBasis, VectorRows


def bases(ctx: Context, names: Sequence[str]) -> dict[str, StoredBasis]:
    """Bases by their kind, numbered where a kind comes twice.

    Raises:
        UserError: none is named.
    """
    from radiograph.store.planes import open_basis

    if not names:
        raise UserError("planes need a basis", expected="--basis RUN", fix="make one: resonance basis --kind …")
    stored = [open_basis(ctx.path(name, f"basis{place}")) for place, name in enumerate(names)]
    kinds = [basis.record.kind for basis in stored]
    called = [f"{kind} {kinds[: i + 1].count(kind)}" if kinds.count(kind) > 1 else kind for i, kind in enumerate(kinds)]
    return dict(zip(called, stored, strict=True))


def statistics(ctx: Context, reference: str | None, rows: VectorRows) -> SiteStatistics | None:
    """What is natural at the site of the rows.

    Raises:
        UserError: statistics of another model, or none of this site.
    """
    if reference is None:
        return None
    from radiograph.store.statistics import read_statistics

    place = ctx.path(reference, "statistics")
    place = place / "statistics" if (place / "statistics").is_dir() else place
    held, _ = read_statistics(place, model_sha256=rows.model)
    if rows.site not in held:
        raise UserError("no statistics of this site", expected=str(rows.site), got=", ".join(held))
    return held[rows.site]


def transform(kind: TransformName, rows: VectorRows, natural: SiteStatistics | None) -> Transform:
    """From site statistics, or from the baseline rows themselves."""
    from radiograph.numerics.planes import Transform

    if natural is not None and kind != "raw":
        return Transform.of(kind, natural.mean, natural.covariance, natural.n)
    baseline = np.array([condition == "none" for condition in rows.columns["condition"]])
    values = rows.values[baseline] if baseline.any() else rows.values
    return Transform.fit(kind, values.astype(np.float64))


def matching(natural: SiteStatistics | None) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """What units are matched on."""
    return None if natural is None else (natural.mean, natural.sd, natural.firing)


def plane_pairs(ctx: Context, reference: str | None) -> tuple[tuple[str, str], ...]:
    """Two labels a line.

    Raises:
        UserError: a line of another length.
    """
    if reference is None:
        return ()
    path = ctx.path(reference, "planes")
    pairs: list[tuple[str, str]] = []
    for number, line in enumerate(csv.reader(path.read_text("utf-8").splitlines()), 1):
        if len(line) != 2:
            where = f"{path.name}:{number}"
            raise UserError("a plane is two labels", where=where, expected="LABEL,LABEL", got=",".join(line))
        pairs.append((line[0].strip(), line[1].strip()))
    return tuple(pairs)


def parts(text: str) -> list[str]:
    """Names between commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def titled(rows: Sequence[Sequence[Any]], *titles: str) -> dict[str, list[Any]]:
    """Lines as columns."""
    return {title: [row[i] for row in rows] for i, title in enumerate(titles)}
