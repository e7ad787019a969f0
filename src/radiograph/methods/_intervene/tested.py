"""What is moved: single features, a group of them, or fitted directions, each with what is natural for it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.core import Context, Site, UserError, nearest
from radiograph.core.shapes import Float64

if TYPE_CHECKING:
    from radiograph.core.codec import Codec
    from radiograph.interventions.features import Natural, Naturals
    from radiograph.models import LanguageModel
    from radiograph.sources import Features

Write = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Tested:
    """One feature, or a group of one codec."""

    id: str
    codec: Codec
    site: Site
    """Where it is written."""
    numbers: tuple[int, ...]
    directions: Float64[np.ndarray, "feature width"]
    write: Write
    """Directions of other features of the codec."""
    label: str | None = None
    shuffled: Float64[np.ndarray, "draw width"] | None = None
    """A fitted direction refitted on permuted labels."""

    def natural(self, naturals: Naturals) -> Natural:
        """What its doses refer to.

        Of a group the sd and the largest code are the means of those of its features; the length is that of what a code
        of 1 of all of them writes together.
        """
        return naturals.of(self.numbers, self.directions.sum(axis=0))


@dataclass(eq=False)
class Opened:
    """Every feature that sources name, found by address."""

    parts: tuple[Features, ...]
    codes: tuple[str, ...]
    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Address to part and number."""

    def __post_init__(self) -> None:
        for place, part in enumerate(self.parts):
            for number in part.numbers.tolist():
                self.places[part.address(number)] = (place, number)

    def barred(self, ids: Collection[str]) -> dict[str, list[int]]:
        """Numbers of those features that are known here, by the hash of their codec."""
        found: dict[str, list[int]] = {}
        for part, number in (self.places[one] for one in ids if one in self.places):
            found.setdefault(self.parts[part].codec.hash, []).append(number)
        return found

    def of(self, model: LanguageModel, ids: Sequence[str]) -> Tested:
        """One feature, or several of one codec as one.

        Raises:
            UserError: an unknown feature, features of several codecs, a codec with several targets.
        """
        for one in ids:
            if one not in self.places:
                close = nearest(one, list(self.places))
                raise UserError(
                    f"no feature {one!r} in the sources",
                    fix=f"did you mean {', '.join(close)}?" if close else "name its source with --features",
                    code="unknown_feature",
                )
        places = [self.places[one] for one in ids]
        if len({part for part, _ in places}) > 1:
            raise UserError(
                "a group of features comes from one dictionary or site", got=", ".join(ids), code="bad_group"
            )
        part = self.parts[places[0][0]]
        numbers = np.array([number for _, number in places])
        return Tested(
            id="+".join(ids),
            codec=part.codec,
            site=_target(model, part.codec),
            numbers=tuple(numbers.tolist()),
            directions=np.asarray(part.write(numbers), np.float64),
            write=part.write,
            label=part.labels.get(int(numbers[0])) if len(ids) == 1 else None,
        )


def opened(ctx: Context, model: LanguageModel, sources: Sequence[str]) -> Opened:
    """Features that a model can be run through.

    Raises:
        UserError: a source of records or claims, which nothing can be written with; no source at all.
    """
    if not sources:
        raise UserError(
            "no features to move",
            expected="--features dictionary:bundled#12, units:mlp_hidden.1#7, direction:FILE",
            fix="name them, or give the run of `inspect` that found them with --from",
            code="no_features",
        )
    parts: list[Any] = []
    codes: list[str] = []
    for place, source in enumerate(sources):
        given = ctx.features(source, "features" if len(sources) == 1 else f"features.{place}")
        if given.kind != "live":
            raise UserError(
                f"{source} holds {given.kind}: nothing can be written with it",
                expected="units:SITE, dictionary:REF, direction:FILE, or a live source",
                fix="add the source of the features with --features",
                code="not_live",
            )
        parts += given.open(model)
        codes += given.codes
    return Opened(tuple(parts), tuple(dict.fromkeys(codes)))


def excluded(every: Collection[Tested], own: Tested) -> list[int]:
    """Numbers of the same codec, however often it was opened, that are tested themselves."""
    return [number for one in every if one.codec.hash == own.codec.hash for number in one.numbers]


def _target(model: LanguageModel, codec: Codec) -> Site:
    if len(codec.targets) != 1:
        raise UserError(
            f"a feature that writes {', '.join(codec.targets)} cannot be moved at one site",
            expected="a dictionary that writes one site of this model",
            code="bad_write",
        )
    (site,) = model.sites(codec.targets[0].rpartition("/")[2])
    return site
