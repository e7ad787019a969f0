"""Labels exchanged inside strata: is what a group does in a plane more than its name?

1. Labels move inside a stratum only: a core, and every factor that is not tested. Rows of one stratum are exchangeable
   when labels mean nothing, whatever their covariance.
2. Rows of one prompt (its conditions, its samples) are not independent: a label that they share moves with all of them,
   to a prompt with the same places. Exchanges may be nested: prompts in a core, then rows in a prompt.
3. All relabellings are one product: W·Z, W a table [draw, row] of memberships over n_g, Z the coordinates of planes.
4. Statistics a plane: r_G of a group; pseudo-F = [Σ n_g‖g_g − g‖²/(G − 1)]/[Σ‖z_i − g_{g(i)}‖²/(N − G)] (Anderson 2001,
   PERMANOVA). With two groups it orders relabellings as ‖g_A − g_B‖ does, so both share one p.

Refuses nothing; labels that cannot move give p = 1, and `smallest` says so.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Float, Float64, Int8, Integer

_CHUNK = 1 << 23
"""Memberships held at once."""


@dataclass(frozen=True, eq=False)
class Exchange:
    """What changes places with what: the labels of a unit's rows move as one to another unit of its stratum."""

    units: Sequence[Hashable]
    strata: Sequence[Hashable]
    """One a row, the same for all rows of a unit."""
    slots: Sequence[Hashable] = ()
    """The place in its unit that a row holds; only units with the same places are exchanged. Empty: all the same."""

    @cached_property
    def _unit(self) -> Integer[np.ndarray, " row"]:
        return numbered(self.units)

    @cached_property
    def members(self) -> list[Integer[np.ndarray, " member"]]:
        """Rows of each unit, in the order of their places."""
        slots = numbered(self.slots) if self.slots else np.zeros(len(self.units), dtype=np.int64)
        order = np.lexsort((slots, self._unit))
        return np.split(order, np.flatnonzero(np.diff(self._unit[order])) + 1)

    @cached_property
    def stratum(self) -> Integer[np.ndarray, " unit"]:
        """Units of one number are exchanged."""
        slots: Sequence[Hashable] = self.slots or [None] * len(self.units)
        return numbered([(self.strata[int(rows[0])], tuple(slots[int(i)] for i in rows)) for rows in self.members])

    @cached_property
    def _at(self) -> tuple[Integer[np.ndarray, " row"], Integer[np.ndarray, " unit"], Integer[np.ndarray, " row"]]:
        """Rows unit by unit, where each unit begins among them, and the place of each row in its unit."""
        sizes = np.array([len(rows) for rows in self.members])
        starts = np.cumsum(sizes) - sizes
        ordered = np.concatenate(self.members)
        rank = np.empty(len(ordered), dtype=np.int64)
        rank[ordered] = np.arange(len(ordered)) - np.repeat(starts, sizes)
        return ordered, starts, rank

    def drawn(self, generator: np.random.Generator, count: int) -> Integer[np.ndarray, "draw row"]:
        """The row whose label each row takes."""
        order = np.argsort(self.stratum + generator.random((count, len(self.stratum))), axis=1)
        given = np.empty_like(order)
        given[:, np.argsort(self.stratum, kind="stable")] = order
        ordered, starts, rank = self._at
        return ordered[starts[given][:, self._unit] + rank]


@dataclass(frozen=True, eq=False)
class Labels:
    """A group for each row, and inside what groups may be exchanged."""

    names: Sequence[Hashable]
    strata: Sequence[Hashable] = ()
    """Inside what rows are exchanged one by one, if no exchanges are given."""
    exchanges: tuple[Exchange, ...] = ()
    """The outermost first; the strata of the next are parts of its units."""

    def __post_init__(self) -> None:
        if not self.exchanges and len(self.names) != len(self.strata):
            raise UserError("labels and strata differ in length", got=f"{len(self.names)} and {len(self.strata)}")
        if len(set(self.names)) > 127:
            raise UserError("too many groups for one test", expected="at most 127", got=str(len(set(self.names))))

    @cached_property
    def groups(self) -> tuple[Hashable, ...]:
        """Names of the groups in the order of first appearance."""
        return tuple(dict.fromkeys(self.names))

    @cached_property
    def codes(self) -> Int8[np.ndarray, " row"]:
        """The group of each row as a number."""
        return numbered(self.names).astype(np.int8)

    @cached_property
    def sizes(self) -> Integer[np.ndarray, " group"]:
        """Rows of each group."""
        return np.bincount(self.codes, minlength=len(self.groups))

    @cached_property
    def _levels(self) -> tuple[Exchange, ...]:
        return self.exchanges or (Exchange(range(len(self.names)), self.strata),)

    @cached_property
    def arrangements(self) -> float:
        """Logarithm of the number of distinct relabellings."""
        total, held = 0.0, self.codes.astype(np.int64)
        for level in reversed(self._levels):
            contents: list[tuple[int, ...]] = [tuple(map(int, held[rows])) for rows in level.members]
            for stratum in _members(list(map(int, level.stratum))):
                own: list[tuple[int, ...]] = sorted(contents[int(unit)] for unit in stratum)
                total += math.lgamma(len(own) + 1) - sum(math.lgamma(n + 1) for n in Counter(own).values())
                # In one order, so that units which differ by an inner exchange alone are alike to the outer one.
                for unit, content in zip(map(int, stratum), own, strict=True):
                    held[level.members[unit]] = content
        return total

    def smallest(self, draws: int) -> float:
        """Smallest p that can be reached: the observed labelling is one of the relabellings."""
        return max(1 / (1 + draws), math.exp(-self.arrangements))

    def permuted(self, draws: int, seed: int, held: int = _CHUNK) -> Iterator[Int8[np.ndarray, "draw row"]]:
        """Relabellings, in chunks whose size depends on the number of rows alone."""
        generator = np.random.default_rng(seed)
        rows = len(self.codes)
        step = max(1, held // max(rows, 1))
        for start in range(0, draws, step):
            count = min(step, draws - start)
            chunk = np.broadcast_to(self.codes, (count, rows))
            for level in self._levels:
                chunk = np.take_along_axis(chunk, level.drawn(generator, count), axis=1)
            yield chunk


@dataclass(frozen=True, eq=False)
class _Relabelled(ABC):
    """A source whose null is the same statistic with labels permuted."""

    z: Float[np.ndarray, "2 plane row"]
    labels: Labels

    def observed(self) -> Float64[np.ndarray, " plane"]:
        """The statistic as labelled."""
        return self._statistic(self.labels.codes[None], self.z)[0].astype(np.float64)

    def smallest(self, draws: int) -> float:
        return self.labels.smallest(draws)

    def draws(self, wanted: int) -> int:
        return wanted

    def chunks(
        self, columns: Integer[np.ndarray, " column"], draws: int, seed: int
    ) -> Iterator[Float[np.ndarray, "draw column"]]:
        z = self.z[:, columns]
        for codes in self.labels.permuted(draws, seed):
            yield self._statistic(codes, z)

    @abstractmethod
    def _statistic(
        self, codes: Int8[np.ndarray, "draw row"], z: Float[np.ndarray, "2 plane row"]
    ) -> Float[np.ndarray, "draw plane"]: ...


@dataclass(frozen=True, eq=False)
class GroupLength(_Relabelled):
    """Source of r_G of one group: rows of a size, labels permuted."""

    group: Hashable

    def _statistic(
        self, codes: Int8[np.ndarray, "draw row"], z: Float[np.ndarray, "2 plane row"]
    ) -> Float[np.ndarray, "draw plane"]:
        place = self.labels.groups.index(self.group)
        means = group_means(codes, z, place, int(self.labels.sizes[place]))
        return np.hypot(means[0], means[1])


@dataclass(frozen=True, eq=False)
class PseudoF(_Relabelled):
    """Source of pseudo-F over all groups, labels permuted."""

    def __post_init__(self) -> None:
        groups, rows = len(self.labels.groups), self.z.shape[2]
        if groups < 2 or rows <= groups:
            raise UserError(
                "groups cannot be compared",
                expected="two groups or more, more rows than groups",
                got=f"{groups}, {rows}",
            )

    def _statistic(
        self, codes: Int8[np.ndarray, "draw row"], z: Float[np.ndarray, "2 plane row"]
    ) -> Float[np.ndarray, "draw plane"]:
        rows, groups = z.shape[2], len(self.labels.groups)
        centred = z - z.mean(axis=2, keepdims=True)
        total = np.einsum("kpn,kpn->p", centred, centred)
        between = np.zeros((len(codes), z.shape[1]), dtype=z.dtype)
        for place, size in enumerate(self.labels.sizes):
            means = group_means(codes, centred, place, int(size))
            between += int(size) * (means[0] ** 2 + means[1] ** 2)
        within = np.maximum(total - between, 1e-12 * total)
        # Rows all at one point: nothing between, nothing within.
        within = np.where(within > 0, within, 1)
        return (between / (groups - 1)) / (within / (rows - groups))


def group_means(
    codes: Int8[np.ndarray, "draw row"], z: Float[np.ndarray, "2 plane row"], place: int, size: int
) -> Float[np.ndarray, "2 draw plane"]:
    """Mean coordinates of one group under every relabelling: one product."""
    members = (codes == place).astype(z.dtype)
    flat = z.reshape(-1, z.shape[2])
    means = (members @ flat.T) / size
    return np.moveaxis(means.reshape(len(codes), 2, z.shape[1]), 1, 0)


def strata_of(columns: dict[str, Sequence[Hashable]], tested: Sequence[str], rows: int) -> list[Hashable]:
    """What may be exchanged with what: equal in every column but the tested ones."""
    kept = [values for name, values in columns.items() if name not in tested]
    return list(zip(*kept, strict=True)) if kept else [()] * rows


def _members(names: Sequence[Hashable]) -> list[Integer[np.ndarray, " member"]]:
    codes = numbered(names)
    return [np.flatnonzero(codes == code) for code in range(int(codes.max(initial=-1)) + 1)]


def numbered(names: Sequence[Hashable]) -> Integer[np.ndarray, " row"]:
    """0, 1, … in the order of first appearance."""
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names], dtype=np.int64)
