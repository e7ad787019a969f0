"""A harvest of components, read: a summary of all of them, then what is asked of one.

Only complete bundles are opened: one that has lost `.partial` and whose sealed manifest is there. Opening reads the
table of components and the vocabulary; tokens, co-firing and examples of a component are read when it is asked for.
Ratios are computed here, from raw counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from radiograph.core import Refusal
from radiograph.core.components import Component
from radiograph.core.shapes import Float64, Int64
from radiograph.evidence.components import ComponentHarvest
from radiograph.numerics.cofiring import Ratios, extremes, ratios
from radiograph.store._bundle import complete
from radiograph.store.components._write import EXAMPLES, PER_FILE

if TYPE_CHECKING:
    import polars

SHOWN = 40
LEAST = 5
"""A token seen, or expected, less often is in no list of extremes: chance makes it one."""


@dataclass(frozen=True, eq=False)
class TokenCounts:
    """Tokens of one component, with every ratio."""

    tokens: Int64[np.ndarray, " token"]
    count: Float64[np.ndarray, " token"]
    """Firings on the token, or probability mass that the model gives it where the component fires."""
    ratios: Ratios
    top: Int64[np.ndarray, " top"]
    """Places of the largest PMI among tokens met at least `LEAST` times."""
    bottom: Int64[np.ndarray, " bottom"]
    """The smallest, among tokens that chance would give at least `LEAST` times."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Windows of text around firings of one component, in the order of their keys."""

    documents: tuple[str, ...]
    windows: tuple[int, ...]
    positions: tuple[int, ...]
    centres: tuple[int, ...]
    tokens: tuple[NDArray[np.int64], ...]
    importance: tuple[NDArray[np.float64], ...]
    h: tuple[NDArray[np.float64], ...]
    fires: tuple[NDArray[np.bool_], ...]

    def __len__(self) -> int:
        return len(self.documents)


@dataclass(frozen=True, eq=False)
class Evidence:
    """Everything that is stored of one component."""

    number: int
    address: str
    row: dict[str, Any]
    """Its line of the summary."""
    inputs: TokenCounts
    outputs: TokenCounts
    remainder: float
    """Mass of the output tokens that are not listed."""
    cofire: tuple[NDArray[np.int64], NDArray[np.int64]]
    """Other components, and rows on which both fire; the most frequent first."""
    examples: Examples


@dataclass(frozen=True, eq=False)
class ComponentStatistics:
    """An open harvest."""

    folder: Path
    result: ComponentHarvest
    seal: str
    """SHA-256 of its manifest."""
    _held: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def summary(self) -> polars.DataFrame:
        """A line a component, in the order of their numbers: raw counts, with density and means."""
        import polars as pl

        table = pl.read_parquet(self.folder / "tables" / "components.parquet")
        n = max(1, self.result.tokens)
        return table.with_columns(
            density=pl.col("firings") / n,
            mean_importance=pl.col("importance") / n,
            mean_h=pl.col("h") / n,
            mean_size=pl.col("size") / n,
        )

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """What each token looks like."""
        return tuple(self._tokens["text"].to_list())

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Components of each weight, in forward order."""
        return {weight.address: weight.components for weight in self.result.weights}

    @cached_property
    def addresses(self) -> list[str]:
        """Of every component."""
        return self.summary["component"].to_list()

    @property
    def size(self) -> int:
        """Components in all."""
        return sum(self.sizes.values())

    def number(self, address: str) -> int:
        """Place of a component.

        Raises:
            UserError: there is none of this address; the nearest are named.
        """
        found = Component.parse(address, self.sizes)
        before = 0
        for weight, n in self.sizes.items():
            if weight == found.weight:
                break
            before += n
        return before + found.index

    def alive(self, least: int = 1) -> Int64[np.ndarray, " component"]:
        """Components that fired at least so often, the most frequent first."""
        firings = self.summary["firings"].to_numpy()
        order = np.lexsort((np.arange(len(firings)), -firings))
        return order[firings[order] >= least]

    def evidence(self, number: int) -> Evidence:
        """One component, read now."""
        row = self.summary.row(number, named=True)
        return Evidence(
            number,
            row["component"],
            row,
            self.inputs(number),
            *self._outputs(number),
            self.cofire(number),
            self.examples(number),
        )

    def inputs(self, number: int) -> TokenCounts:
        """Tokens on which it fires: the whole vocabulary, so that tokens it avoids are seen too."""
        held = self._of("tokens_in", number)
        count = np.zeros(len(self._tokens))
        count[held["token"].to_numpy().astype(np.int64)] = held["count"].to_numpy()
        return self._counts(number, np.arange(len(count)), count, "count")

    def outputs(self, number: int) -> TokenCounts:
        """Tokens that the model expects next where it fires; the mass is the model's own."""
        return self._outputs(number)[0]

    def cofire(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """What fires with it."""
        import polars as pl

        path = self.folder / "tables" / "cofire.parquet"
        both = (pl.col("i") == number) | (pl.col("j") == number)
        held = pl.scan_parquet(path).filter(both).collect()
        i, j, count = (held[name].to_numpy().astype(np.int64) for name in ("i", "j", "count"))
        other = np.where(i == number, j, i)
        order = np.lexsort((other, -count))
        return other[order], count[order]

    def cofire_ratios(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Ratios]:
        """What fires with it, how often, and the ratios."""
        other, count = self.cofire(number)
        firings = self.summary["firings"].to_numpy()
        return other, count, ratios(count, int(firings[number]), firings[other], self.result.tokens)

    def examples(self, number: int) -> Examples:
        """Its windows."""
        import polars as pl

        path = self.folder / EXAMPLES / f"{number // PER_FILE:05d}.parquet"
        if not path.is_file():
            return Examples((), (), (), (), (), (), (), ())
        held = pl.scan_parquet(path).filter(pl.col("component") == number).collect()

        def arrays(name: str, kind: Any) -> tuple[Any, ...]:
            return tuple(np.array(row, kind) for row in held[name].to_list())

        return Examples(
            tuple(held["document"].to_list()),
            tuple(held["window"].to_list()),
            tuple(held["position"].to_list()),
            tuple(held["centre"].to_list()),
            arrays("tokens", np.int64),
            arrays("importance", np.float64),
            arrays("h", np.float64),
            arrays("fires", np.bool_),
        )

    def pieces(self, tokens: NDArray[np.int64]) -> tuple[str, ...]:
        """What tokens look like."""
        return tuple(self.vocabulary[n] for n in tokens.tolist())

    @cached_property
    def _tokens(self) -> polars.DataFrame:
        import polars as pl

        return pl.read_parquet(self.folder / "tables" / "tokens.parquet")

    def _of(self, name: str, number: int) -> polars.DataFrame:
        import polars as pl

        path = self.folder / "tables" / f"{name}.parquet"
        return pl.scan_parquet(path).filter(pl.col("component") == number).collect()

    def _outputs(self, number: int) -> tuple[TokenCounts, float]:
        held = self._of("tokens_out", number)
        listed = held.filter(held["token"].is_not_null())
        rest = held.filter(held["token"].is_null())["mass"].sum()
        mass = listed["mass"].to_numpy().astype(np.float64)
        return self._counts(number, listed["token"].to_numpy().astype(np.int64), mass, "mass"), float(rest)

    def _counts(self, number: int, tokens: NDArray[np.int64], count: NDArray[np.float64], column: str) -> TokenCounts:
        firings = float(self.summary["firings"][number])
        whole = self._tokens[column].to_numpy().astype(np.float64)[tokens]
        n = max(1, self.result.tokens)
        found = ratios(count, firings, whole, n)
        top, _ = extremes(found.pmi, count >= LEAST, SHOWN)
        expected = whole * firings / n >= LEAST
        expected[top] = False
        bottom, _ = extremes(-found.pmi, expected, SHOWN)
        return TokenCounts(tokens, count, found, top, bottom)


def open_statistics(folder: Path) -> ComponentStatistics:
    """A harvest, refused unless it is complete.

    Raises:
        UserError: unfinished, or nothing there. FormatError: another kind of bundle.
        Refusal: it measured nothing.
    """
    result, seal = complete(
        folder, ComponentHarvest, what="is not a harvest of components", made_by="decompose harvest"
    )
    if not result.tokens:
        raise Refusal("no_tokens", f"{folder.name} counted no tokens")
    return ComponentStatistics(folder, result, seal)
