"""Site statistics on disk: `statistics.json`, the header, and `statistics.safetensors`, every number.

Arrays lie under `SITE/NAME`: `mean second third fourth low high fired counts`, if measured `outer`, and for a direction
the same under `SITE~TITLE/…` with its `vector`. Counts keep the bins that any unit fell into. The header holds the
hashes of model, tokenizer, data and of the arrays. Equal statistics give equal bytes.

A cache is a folder of such folders, named by the hash of what decides them: model, tokenizer, data, sites, options.
Refuses: a file that is not what the header says, statistics of another model.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from radiograph.core import FormatError, UserError
from radiograph.evidence import StatisticsHeader, StatisticsSite, document_sha256, pretty_json
from radiograph.numerics.units import BINS, Direction, LogBins, Shapes, SiteStatistics
from radiograph.store._hashing import file_sha256
from radiograph.store._workspace import Workspace
from radiograph.store.shards._safetensors import arrays, write

HEADER = "statistics.json"
ARRAYS = "statistics.safetensors"
_COLUMNS = ("mean", "second", "third", "fourth", "low", "high")


def write_statistics(
    folder: Path,
    statistics: Mapping[str, SiteStatistics],
    *,
    model_sha256: str,
    tokenizer_sha256: str | None,
    data_sha256: str,
) -> StatisticsHeader:
    """Write both files into a folder that exists; returns the header."""
    held: dict[str, np.ndarray] = {}
    for name, found in statistics.items():
        held |= _arrays(name, found)
        for title, direction in found.directions.items():
            held |= _arrays(f"{name}~{title}", direction.statistics)
            held[f"{name}~{title}/vector"] = direction.vector
            held[f"{name}~{title}/norms"] = np.array([direction.statistics.shapes.norms])
            threshold = direction.statistics.threshold
            held[f"{name}~{title}/threshold"] = np.array([] if threshold is None else [threshold], dtype=np.float64)
    _, sha256 = write(folder / ARRAYS, held)
    header = StatisticsHeader(
        model_sha256=model_sha256,
        tokenizer_sha256=tokenizer_sha256,
        data_sha256=data_sha256,
        arrays_sha256=sha256,
        sites=tuple(
            StatisticsSite(
                site=name,
                width=found.width,
                n=found.n,
                norms=found.shapes.norms,
                threshold=found.threshold,
                covariance=found.shapes.outer is not None,
                directions=tuple(found.directions),
                sha256=found.sha256,
            )
            for name, found in statistics.items()
        ),
    )
    (folder / HEADER).write_text(pretty_json(header), encoding="utf-8")
    return header


def read_statistics(
    folder: Path, *, model_sha256: str | None = None
) -> tuple[dict[str, SiteStatistics], StatisticsHeader]:
    """Site to statistics, and the header.

    Raises:
        UserError: nothing there, or statistics of another model than the given one.
        FormatError: a header that is none, or arrays that are not those of the header.
    """
    path = folder / HEADER
    if not path.is_file():
        raise UserError(
            f"no site statistics in {folder.name}",
            expected=HEADER,
            fix="make them with `neurons scan`",
            code="not_found",
        )
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FormatError("not a header of site statistics", where=str(path), got=str(error)) from error
    header = StatisticsHeader.read(document, str(path))
    if model_sha256 is not None and header.model_sha256 != model_sha256:
        raise UserError(
            "these site statistics are those of another model",
            expected=model_sha256,
            got=header.model_sha256,
            where=str(path),
            fix="measure this model with `neurons scan`",
            code="another_model",
        )
    if not (folder / ARRAYS).is_file() or file_sha256(folder / ARRAYS) != header.arrays_sha256:
        raise FormatError(
            "the numbers are not those that the header names",
            expected=header.arrays_sha256,
            where=str(folder / ARRAYS),
            fix="measure again",
        )
    held = arrays(folder / ARRAYS)
    found = {site.site: _restored(site, held) for site in header.sites}
    for site in header.sites:
        if found[site.site].sha256 != site.sha256:
            raise FormatError(f"the statistics of {site.site} are not those of the header", where=str(path))
    return found, header


def statistics_key(
    *, model_sha256: str, tokenizer_sha256: str | None, data_sha256: str, options: Mapping[str, Any]
) -> str:
    """The name in a cache: the hash of everything that decides the numbers."""
    return document_sha256(
        {
            "schema": StatisticsHeader.SCHEMA,
            "model": model_sha256,
            "tokenizer": tokenizer_sha256,
            "data": data_sha256,
            "options": dict(options),
        }
    )


def cached_statistics(key: str, cache: Path | None = None) -> dict[str, SiteStatistics] | None:
    """What was kept under a key; None if nothing whole is there."""
    folder = (cache or statistics_cache()) / key
    try:
        return read_statistics(folder)[0]
    except (UserError, FormatError):
        return None


def keep_statistics(
    key: str,
    statistics: Mapping[str, SiteStatistics],
    *,
    model_sha256: str,
    tokenizer_sha256: str | None,
    data_sha256: str,
    cache: Path | None = None,
) -> Path:
    """Keep statistics under a key, whole or not at all."""
    base = cache or statistics_cache()
    base.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{key[:8]}.", dir=base))
    try:
        write_statistics(
            draft,
            statistics,
            model_sha256=model_sha256,
            tokenizer_sha256=tokenizer_sha256,
            data_sha256=data_sha256,
        )
        shutil.rmtree(base / key, ignore_errors=True)
        draft.rename(base / key)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return base / key


def statistics_cache() -> Path:
    """The cache of this workspace."""
    return Workspace.current().base / ".radiograph" / "statistics"


def _arrays(name: str, found: SiteStatistics) -> dict[str, np.ndarray]:
    held = {f"{name}/{column}": getattr(found.shapes, column) for column in _COLUMNS}
    held[f"{name}/fired"] = found.fired
    if found.shapes.outer is not None:
        held[f"{name}/outer"] = found.shapes.outer
    used = np.flatnonzero(found.bins.counts.any(0))
    held[f"{name}/bins"] = used.astype(np.int64)
    held[f"{name}/counts"] = np.ascontiguousarray(found.bins.counts[:, used])
    return held


def _restored(site: StatisticsSite, held: Mapping[str, np.ndarray]) -> SiteStatistics:
    plain = _one(site.site, site, held)
    directions = {
        title: Direction(
            held[f"{site.site}~{title}/vector"], _one(f"{site.site}~{title}", site, held, whole=plain.norm)
        )
        for title in site.directions
    }
    return SiteStatistics(plain.site, plain.shapes, plain.bins, plain.fired, plain.threshold, directions)


def _one(name: str, site: StatisticsSite, held: Mapping[str, np.ndarray], whole: float | None = None) -> SiteStatistics:
    try:
        columns = [held[f"{name}/{column}"] for column in _COLUMNS]
        counts, used = held[f"{name}/counts"], held[f"{name}/bins"]
        norms = site.norms if whole is None else float(held[f"{name}/norms"][0])
        bins = LogBins(len(columns[0]))
        bins.counts = np.zeros((bins.width, BINS), np.uint32)
        bins.counts[:, used] = counts
        shapes = Shapes(site.n, *columns, norms=norms, outer=held.get(f"{name}/outer"))
        threshold = site.threshold if whole is None else _threshold(held[f"{name}/threshold"])
        return SiteStatistics(name, shapes, bins, held[f"{name}/fired"], threshold, whole=whole)
    except (KeyError, IndexError, ValueError) as error:
        raise FormatError(f"the statistics of {name} are not whole", got=str(error)) from error


def _threshold(held: np.ndarray) -> float | None:
    return float(held[0]) if len(held) else None
