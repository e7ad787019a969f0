"""Which rows a dictionary reads and writes, and how they reach it.

1. `places` turns kind and options into sources of the activations that there are: `[ROLE/]SITE`; a site without a role
   is the reference's, and for a crosscoder that of every model.
2. Each source is scaled by a, so that the mean of ‖a·x − mean‖² is its width.
3. Scaled rows of all sources read stand side by side, likewise those written; an autoencoder reads what it writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from radiograph.core import REFERENCE, Source, UserError, nearest
from radiograph.core.shapes import Float
from radiograph.dictionaries.training._config import Kind, TrainingConfig

if TYPE_CHECKING:
    from radiograph.store.shards import Activations, Split

READ_BATCH: Final = 4_096
DTYPES: Final = {"fp32": torch.float32, "fp64": torch.float64}


@dataclass(frozen=True, slots=True)
class Places:
    """Sources read and written, `ROLE/SITE`, with their widths."""

    kind: Kind
    inputs: tuple[str, ...]
    targets: tuple[str, ...]
    widths: Mapping[str, int]

    @property
    def sources(self) -> tuple[str, ...]:
        """Each source once, those read first."""
        return tuple(dict.fromkeys(self.inputs + self.targets))

    @property
    def input_widths(self) -> tuple[int, ...]:
        """Columns of each source that is read."""
        return tuple(self.widths[source] for source in self.inputs)

    @property
    def target_widths(self) -> tuple[int, ...]:
        """Columns of each source that is written."""
        return tuple(self.widths[source] for source in self.targets)

    @property
    def roles(self) -> tuple[str, ...]:
        """Models whose activations take part."""
        return tuple(dict.fromkeys(Source.parse(source).role for source in self.sources))

    @property
    def sites(self) -> tuple[str, ...]:
        """The sources read as a dictionary names them: with their roles only where these differ."""
        return tuple(map(self._named, self.inputs))

    @property
    def target(self) -> str | None:
        """What a transcoder writes, named likewise."""
        return self._named(self.targets[0]) if self.kind == "transcoder" else None

    def _named(self, source: str) -> str:
        return source if len(self.roles) > 1 else str(Source.parse(source).site)


def places(config: TrainingConfig, activations: Activations) -> Places:
    """The sources that a config means.

    Raises:
        UserError: one is missing from the activations, is not named where there are several, or does not fit the kind.
    """
    known = {source: activations.widths[source] for source in activations.sources}
    if config.kind == "crosscoder":
        chosen = _spread(config.sources, known) or tuple(known)
        if len(chosen) < 2:
            raise UserError("a crosscoder reads several sources", got=", ".join(chosen), fix="harvest more of them")
        return Places(config.kind, chosen, chosen, known)
    read = _one(config.input, known, "--input")
    if config.kind == "sae":
        return Places(config.kind, (read,), (read,), known)
    if config.target is None:
        raise UserError("a transcoder needs a target", expected="one of " + ", ".join(known), where="--target")
    written = _one(config.target, known, "--target")
    if written == read:
        raise UserError("a transcoder writes another source than it reads", got=read, fix="use --kind sae")
    return Places(config.kind, (read,), (written,), known)


def scales(where: Places, activations: Activations) -> dict[str, float]:
    """Factor a of each source.

    Raises:
        UserError: rows of a source do not vary, or are not finite.
    """
    return {
        source: scale_of(activations.moments(source).variance, where.widths[source], source) for source in where.sources
    }


def scale_of(variance: float, width: int, source: str) -> float:
    """The factor that brings the mean squared distance from the mean to `width`.

    Raises:
        UserError: the rows do not vary, or one is not finite.
    """
    if not isfinite(variance):
        raise UserError(f"a row of {source} is not finite", got=f"variance {variance}", code="not_finite")
    if not variance > 0:
        raise UserError(f"the rows of {source} do not vary", expected="a variance above 0", got=f"{variance:g}")
    return (width / variance) ** 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Scaled rows; `targets is inputs` for an autoencoder and a crosscoder."""

    inputs: Float[Tensor, "row width"]
    targets: Float[Tensor, "row target"]

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """How rows of several sources become a batch."""

    places: Places
    scales: Mapping[str, float]
    dtype: torch.dtype

    @property
    def unscaled(self) -> Layout:
        """The same for rows as they are."""
        return replace(self, scales=dict.fromkeys(self.scales, 1.0))

    def batch(self, rows: Sequence[Tensor]) -> Batch:
        """Join rows in the order of `places.sources`, scaled."""
        found = {
            source: part.to(self.dtype) * self.scales[source]
            for source, part in zip(self.places.sources, rows, strict=True)
        }
        inputs = _side_by_side([found[source] for source in self.places.inputs])
        if self.places.kind != "transcoder":
            return Batch(inputs, inputs)
        return Batch(inputs, _side_by_side([found[source] for source in self.places.targets]))

    def read(self, activations: Activations, split: Split, limit: int, *, seed: int = 0) -> Iterator[Batch]:
        """At most `limit` rows of a split: validation rows in stored order, training rows in one drawn from `seed`."""
        left = limit
        for rows in activations.reader(self.places.sources, split=split, batch=READ_BATCH, seed=seed):
            yield self.batch([part[:left] for part in rows])
            left -= len(rows[0])
            if left <= 0:
                return


def _side_by_side(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _one(given: str | None, known: Mapping[str, int], option: str) -> str:
    if given is None:
        if len(known) > 1:
            raise UserError("which source?", expected="one of " + ", ".join(known), where=option)
        return next(iter(known))
    return _known(str(Source.parse(given)), known, option)


def _spread(given: Sequence[str], known: Mapping[str, int]) -> tuple[str, ...]:
    """Every source that is meant; a plain site is meant at every model that has it."""
    out: list[str] = []
    for text in given:
        source = Source.parse(text)
        same = [name for name in known if Source.parse(name).site == source.site]
        out += same if same and "/" not in text else [_known(str(source), known, "--sources")]
    return tuple(dict.fromkeys(out))


def _known(source: str, known: Mapping[str, int], option: str) -> str:
    if source not in known:
        close = nearest(source, list(known))
        raise UserError(
            f"no rows of {source.removeprefix(REFERENCE + '/')} in these activations",
            where=option,
            expected="one of " + ", ".join(known),
            fix=f"did you mean {close[0]}?" if close else "harvest that site",
            code="unknown_site",
        )
    return source
