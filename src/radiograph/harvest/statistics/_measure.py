"""One pass over texts: moments, quantiles, firing, contexts of every unit at some sites.

1. plan batches over all rows (`models.plan`): a batch is a leaf, whoever runs it   2. read every site in one forward
that stops after the last of them   3. keep content rows without first positions   4. per site: moments by leaf
(`numerics.units.ShapeTree`), log-bin counts, firing, top contexts, and if asked covariance, projections, means by text
5. parts of several workers merge to the same bytes as one pass

Firing: a > 0 where the units come out of a rectifier, else |a| > threshold. Stops at a value that is not finite.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from radiograph.core import Progress, Silent, Site, UserError
from radiograph.core.shapes import Float32, Float64, Int64
from radiograph.harvest._sources import Text
from radiograph.harvest.statistics._rows import Rows, rows_of_texts
from radiograph.models import Batch, LanguageModel, capture, pad, plan
from radiograph.numerics.units import Contexts, Direction, LogBins, Shapes, ShapeTree, SiteStatistics
from radiograph.store.statistics import cached_statistics, keep_statistics, statistics_key

RECTIFIERS = frozenset({"relu", "relu2", "relu6", "relu_squared"})
THRESHOLD = 0.1
"""|a| above which a unit of a smooth activation counts as firing."""
BATCH_TOKENS = 2048
WIDEST = 8192
"""Width up to which a covariance is measured: half a gigabyte a node."""


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """What is measured."""

    sites: tuple[Site, ...]
    threshold: float = THRESHOLD
    covariance: bool = False
    directions: Mapping[str, Mapping[str, Float64[np.ndarray, " width"]]] = field(
        default_factory=dict[str, Mapping[str, Float64[np.ndarray, " width"]]]
    )
    """Site to named vectors that are projected on."""
    contexts: int = 5
    """Places kept per unit."""
    by_text: bool = False
    """Whether means by text are kept."""
    batch_tokens: int = BATCH_TOKENS


@dataclass(eq=False)
class _Part:
    """Of one site, or of the projections on one direction."""

    width: int
    rectified: bool
    scan: Scan
    outer: bool
    tree: ShapeTree = field(default_factory=ShapeTree)

    def __post_init__(self) -> None:
        self.bins = LogBins(self.width)
        self.fired = np.zeros(self.width, np.int64)

    def add(self, leaf: int, rows: Float32[np.ndarray, "row width"]) -> None:
        self.tree.put(leaf, Shapes.of(rows, outer=self.outer))
        self.bins.add(rows)
        on = rows > 0 if self.rectified else np.abs(rows) > self.scan.threshold
        self.fired += np.count_nonzero(on, axis=0)

    def merge(self, other: _Part) -> None:
        self.tree.merge(other.tree)
        self.bins.merge(other.bins)
        self.fired += other.fired

    def statistics(
        self, site: str, directions: Mapping[str, Direction] | None = None, whole: float | None = None
    ) -> SiteStatistics:
        threshold = None if self.rectified else self.scan.threshold
        return SiteStatistics(
            site, self.tree.total(), self.bins, self.fired, threshold, directions or dict[str, Direction](), whole
        )


class Measured:
    """What some leaves of a plan hold; `merge` takes in other leaves of the same plan."""

    def __init__(self, model: LanguageModel, rows: Rows, scan: Scan) -> None:
        self.rows, self.scan = rows, scan
        self.parts: dict[str, _Part] = {}
        self.vectors: dict[tuple[str, str], np.ndarray] = {}
        self.projected: dict[tuple[str, str], _Part] = {}
        self.contexts: dict[str, Contexts] = {}
        self.sums: dict[tuple[str, int], np.ndarray] = {}
        for site in scan.sites:
            width, name = model.site_width(site), str(site)
            if scan.covariance and width > WIDEST:
                raise UserError(
                    f"a covariance of {site} holds {width}² numbers",
                    expected=f"width up to {WIDEST}",
                    fix="measure along directions instead",
                    code="too_wide",
                )
            self.parts[name] = _Part(width, rectified(model, site), scan, scan.covariance)
            self.contexts[name] = Contexts(width, scan.contexts)
            for title, vector in scan.directions.get(name, {}).items():
                length = float(np.linalg.norm(vector))
                if vector.shape != (width,) or not np.isfinite(length) or length == 0:
                    raise UserError(
                        f"direction {title} does not fit {site}", expected=f"a finite vector of width {width}, not zero"
                    )
                self.vectors[name, title] = vector / length
                self.projected[name, title] = _Part(1, False, scan, False)

    def take(self, leaf: int, batch: Batch, site: Site, values: Float32[np.ndarray, "row width"]) -> None:
        """The kept rows of one batch at one site."""
        name = str(site)
        self.parts[name].add(leaf, values)
        text, position, counts = _places(self.rows, batch)
        self.contexts[name].add(values, text, position)
        for (at, title), vector in self.vectors.items():
            if at == name:
                along = (values.astype(np.float64) @ vector)[:, None].astype(np.float32)
                self.projected[at, title].add(leaf, along)
        if self.scan.by_text:
            starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
            sums = np.add.reduceat(values.astype(np.float64), starts, axis=0)
            for row, own in zip(batch.rows, sums, strict=True):
                self.sums[name, row] = own

    def merge(self, other: Measured) -> None:
        """Take in other leaves."""
        for mine, theirs in ((self.parts, other.parts), (self.projected, other.projected)):
            for name, part in theirs.items():
                mine[name].merge(part)  # type: ignore[index]
        for name, contexts in other.contexts.items():
            self.contexts[name].merge(contexts)
        self.sums |= other.sums

    def statistics(self) -> dict[str, SiteStatistics]:
        """Site to its statistics."""
        found: dict[str, SiteStatistics] = {}
        for name, part in self.parts.items():
            plain = part.statistics(name)
            along = {
                title: Direction(vector, self.projected[name, title].statistics(f"{name}~{title}", whole=plain.norm))
                for (at, title), vector in self.vectors.items()
                if at == name
            }
            found[name] = part.statistics(name, along) if along else plain
        return found

    def means(self, site: str) -> Float64[np.ndarray, "text width"]:
        """Mean of every unit over the kept tokens of each text; NaN where a text has none here."""
        width = self.parts[site].width
        total, count = np.zeros((len(self.rows.names), width)), np.zeros(len(self.rows.names))
        for row, owner in enumerate(self.rows.owner):
            if (site, row) in self.sums:
                total[owner] += self.sums[site, row]
                count[owner] += sum(self.rows.kept[row])
        with np.errstate(invalid="ignore"):
            return total / count[:, None]


def measure(
    model: LanguageModel,
    rows: Rows,
    scan: Scan,
    *,
    part: tuple[int, int] = (0, 1),
    progress: Progress | None = None,
) -> Measured:
    """The leaves of one of `part[1]` workers.

    Raises:
        UserError: a site outside the model, a direction that does not fit, a value that is not finite.
    """
    found = Measured(model, rows, scan)
    leaves = plan([len(ids) for ids in rows.tokens], scan.batch_tokens)
    own = [number for number in range(len(leaves)) if number % part[1] == part[0]]
    with (progress or Silent()).task("statistics", len(own)) as task:
        for leaf in own:
            batch = pad(rows.tokens, leaves[leaf])
            held = capture(model, batch, scan.sites)
            width = batch.ids.shape[1]
            flat = np.concatenate(
                [line * width + np.flatnonzero(rows.kept[row]) for line, row in enumerate(batch.rows)]
            )
            for site in scan.sites:
                values = held[site].flatten(0, 1).float().cpu().numpy()[flat]
                _check(values, rows, batch, site)
                found.take(leaf, batch, site, values)
            task.advance()
    return found


def site_statistics(
    model: LanguageModel,
    texts: Iterable[Text | str],
    sites: Sequence[Site | str],
    *,
    length: int = 512,
    threshold: float = THRESHOLD,
    covariance: bool = False,
    directions: Mapping[str, Mapping[str, Float64[np.ndarray, " width"]]] | None = None,
    max_tokens: int | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, SiteStatistics]:
    """Site to its natural statistics.

    Args:
        model: the reference.
        texts: natural text.
        sites: addresses, ranges or sites.
        length: most tokens of a window.
        threshold: |a| above which a unit that is not rectified fires.
        covariance: keep the covariance: width² numbers a site.
        directions: site to named vectors along which quantiles are wanted too.
        max_tokens: a budget of kept tokens, paid by the documents that a hash draws.
        cache: a folder in which equal requests are kept (`store.statistics.statistics_cache()`); None keeps nothing.
        progress: is told of batches.

    Raises:
        UserError: no text with two tokens, a site outside the model, a direction that does not fit.
    """
    chosen = tuple(dict.fromkeys(s for site in sites for s in model.sites(str(site))))
    given = [Text(f"{n}", t, f"{n}") if isinstance(t, str) else t for n, t in enumerate(texts)]
    rows = rows_of_texts(
        model.tokenizer,
        given,
        length=min(length, model.context_length),
        vocabulary=model.vocab_size,
        max_tokens=max_tokens,
    )
    scan = Scan(chosen, threshold, covariance, directions or {}, contexts=1)
    if cache is None:
        return measure(model, rows, scan, progress=progress).statistics()
    known: dict[str, Any] = {
        "model_sha256": model.identity.tensors_sha256,
        "tokenizer_sha256": model.identity.tokenizer_sha256,
        "data_sha256": rows.sha256,
    }
    key = statistics_key(**known, options=_options(scan, str(model.dtype)))
    if (kept := cached_statistics(key, cache)) is None:
        kept = measure(model, rows, scan, progress=progress).statistics()
        keep_statistics(key, kept, **known, cache=cache)
    return kept


def _options(scan: Scan, dtype: str) -> dict[str, Any]:
    vectors = {
        site: {name: hashlib.sha256(vector.astype("<f8").tobytes()).hexdigest() for name, vector in named.items()}
        for site, named in scan.directions.items()
    }
    return {
        "sites": list(map(str, scan.sites)),
        "threshold": scan.threshold,
        "covariance": scan.covariance,
        "directions": vectors,
        "batch_tokens": scan.batch_tokens,
        "dtype": dtype,
    }


def rectified(model: LanguageModel, site: Site) -> bool:
    """Whether the units of a site come straight out of a rectifier: then a > 0 is firing, and nothing is below 0."""
    name = str(model.config.get("hidden_act") or model.config.get("activation_function") or "")
    return site.kind == "mlp_hidden" and name in RECTIFIERS and f"gate.{site.layer}" not in model.weights


def _check(values: Float32[np.ndarray, "row width"], rows: Rows, batch: Batch, site: Site) -> None:
    # A sum is finite only if every term is, save for overflow: the exact search runs only then.
    with np.errstate(invalid="ignore", over="ignore"):
        if np.isfinite(values.sum()):
            return
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, unit = (int(i) for i in bad[0])
        owner, position, _ = _places(rows, batch)
        raise UserError(
            f"{site} is not finite",
            where=f"text {rows.names[rows.owner[owner[row]]]}, position {position[row]}, unit {unit}",
            got=str(float(values[row, unit])),
            code="non_finite",
        )


def _places(
    rows: Rows, batch: Batch
) -> tuple[Int64[np.ndarray, " row"], Int64[np.ndarray, " row"], Int64[np.ndarray, " line"]]:
    """Row of `rows` and position of every kept token of a batch, and how many each line has."""
    at = [np.flatnonzero(rows.kept[row]) for row in batch.rows]
    counts = np.array([len(one) for one in at], np.int64)
    return np.repeat(np.array(batch.rows, np.int64), counts), np.concatenate(at).astype(np.int64), counts
