"""Effects of sources on targets, stored as sums over tokens, read as means; one source or target at a time.

- `tables/attributions.parquet`: source, target, signed, abs, modulating, each with its error and what chance reached;
  components by number, by source
- `tables/token_attributions.parquet`: token, target, signed, abs, with the same
- `tables/residual.parquet`: kind (component or token), number, effect: a list of the width of the residual stream
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from radiograph.core import Refusal
from radiograph.core.components import Component
from radiograph.core.shapes import Float64
from radiograph.evidence.components import ComponentAttributions
from radiograph.store._bundle import complete

if TYPE_CHECKING:
    import polars

Variant = Literal["signed", "abs", "modulating"]


@dataclass(frozen=True, slots=True)
class Effect:
    """One source or target of a component."""

    address: str
    value: float
    """Mean over counted tokens."""
    error: float = nan
    """Of the mean, over texts. NaN: too few texts."""
    p: float = nan
    """(1 + random readers on which the source acts as much)/(1 + readers)."""


@dataclass(frozen=True, eq=False)
class Attributions:
    """An open run of `decompose attribute`."""

    folder: Path
    result: ComponentAttributions
    seal: str
    _held: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Components of each weight, in forward order."""
        return dict(self.result.sizes)

    @cached_property
    def addresses(self) -> tuple[str, ...]:
        """Of every component."""
        return tuple(f"{weight}:{n}" for weight, size in self.sizes.items() for n in range(size))

    def number(self, address: str) -> int:
        """Place of a component.

        Raises:
            UserError: there is none of this address; the nearest are named.
        """
        found = Component.parse(address, self.sizes)
        names = list(self.sizes)
        return sum(self.sizes[w] for w in names[: names.index(found.weight)]) + found.index

    def sources(self, address: str, k: int, *, variant: Variant = "signed", sign: int = 0) -> list[Effect]:
        """What acts on a component most. `sign` 1 or −1: positive or negative effects alone. Empty: nothing is stored.

        Raises:
            UserError: an unknown component.
        """
        return self._top(self._of("target", self.number(address)), "source", k, variant, sign)

    def targets(self, address: str, k: int, *, variant: Variant = "signed", sign: int = 0) -> list[Effect]:
        """What a component acts on most."""
        return self._top(self._of("source", self.number(address)), "target", k, variant, sign)

    def tokens(self, address: str, k: int, *, variant: Variant = "signed", sign: int = 0) -> list[tuple[int, float]]:
        """Tokens that act on a component most by themselves."""
        import polars as pl

        path = self.folder / "tables" / "token_attributions.parquet"
        held = pl.scan_parquet(path).filter(pl.col("target") == self.number(address)).collect()
        at, value = _largest(held[variant].to_numpy() / self.result.tokens, k, sign)
        return list(zip(held["token"].to_numpy()[at].astype(int).tolist(), value.tolist(), strict=True))

    def residual(self, address: str) -> Float64[np.ndarray, " width"]:
        """What a component adds to what the unembedding reads; zeros where it adds nothing directly."""
        return self._residual("component", self.number(address))

    def token_residual(self, token: int) -> Float64[np.ndarray, " width"]:
        """The same of a token."""
        return self._residual("token", token)

    def logits(self, address: str, unembedding: Float64[np.ndarray, "token width"]) -> Float64[np.ndarray, " token"]:
        """Direct effect on every logit; there is no `abs` of it, since it is not linear."""
        return unembedding @ self.residual(address)

    def _residual(self, kind: str, number: int) -> Float64[np.ndarray, " width"]:
        import polars as pl

        path = self.folder / "tables" / "residual.parquet"
        held = pl.scan_parquet(path).filter((pl.col("kind") == kind) & (pl.col("number") == number)).collect()
        if not held.height:
            return np.zeros(self.result.width)
        return np.array(held["effect"][0].to_list(), np.float64) / self.result.tokens

    def _of(self, side: str, number: int) -> polars.DataFrame:
        import polars as pl

        path = self.folder / "tables" / "attributions.parquet"
        return pl.scan_parquet(path).filter(pl.col(side) == number).collect()

    def _top(self, held: polars.DataFrame, other: str, k: int, variant: str, sign: int) -> list[Effect]:
        at, value = _largest(held[variant].to_numpy() / self.result.tokens, k, sign)
        names = [self.addresses[n] for n in held[other].to_numpy()[at].tolist()]
        error = held[f"{variant}_error"].to_numpy()[at] / self.result.tokens
        p = (1 + held[f"{variant}_reached"].to_numpy()[at]) / (1 + self.result.readers)
        return [Effect(*one) for one in zip(names, value.tolist(), error.tolist(), p.tolist(), strict=True)]


def open_attributions(folder: Path) -> Attributions:
    """Attributions, refused unless they are complete.

    Raises:
        UserError: unfinished, or nothing there. FormatError: another kind of bundle. Refusal: nothing was measured.
    """
    result, seal = complete(folder, ComponentAttributions, what="holds no attributions", made_by="decompose attribute")
    if not result.tokens:
        raise Refusal("no_tokens", f"{folder.name} counted no tokens")
    return Attributions(folder, result, seal)


def _largest(values: NDArray[np.float64], k: int, sign: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    own = np.abs(values) if sign == 0 else values * sign
    at = np.flatnonzero(own > 0)
    order = at[np.lexsort((at, -own[at]))][:k]
    return order, values[order]
