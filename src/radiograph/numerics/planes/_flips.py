"""Did rows move? Paired differences whose sign is exchangeable, core by core; and intervals by drawing cores.

1. Rows come in pairs, left and right. If nothing moved them, left and right may be exchanged; prompts of one core share
   their luck, so a core is exchanged whole.
2. Statistics a plane: ‖mean(z_right − z_left)‖, |r_G right − r_G left|, and the circular difference of θ_G in degrees.
   All three are sums over cores, so all exchanges are one product of signs with core sums.
3. When 2^(C−1) exchanges are no more than the draws wanted, all of them are taken and p is exact; the mirror image of
   an exchange gives the same value and is not counted twice. The smallest p is 2^(1−C).
4. Intervals: bootstrap of cores, 2,000 draws; θ_G by the quantiles of its deviation on the circle; r_G ± the quantile
   of ‖z* − z‖, not below 0, because percentiles of a length lie above it where there is little of it (‖z‖ grows with
   noise). It covers the truth at least as often as it says. Under four cores there is none.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from radiograph.core import Refusal
from radiograph.core.shapes import Float, Float64, Integer
from radiograph.numerics.planes._labels import numbered
from radiograph.numerics.planes._plane import degrees

Movement = Literal["displacement", "length", "angle"]
MIN_CORES, RESAMPLES = 4, 2000
_CHUNK = 1 << 22


@dataclass(frozen=True, eq=False)
class Flips:
    """Source of one statistic of movement, sides exchanged by core."""

    left: Float64[np.ndarray, "core 2 plane"]
    """Sums of z over the rows of a core."""
    right: Float64[np.ndarray, "core 2 plane"]
    rows: int
    statistic: Movement

    @classmethod
    def of(
        cls,
        left: Float[np.ndarray, "2 plane row"],
        right: Float[np.ndarray, "2 plane row"],
        cores: Sequence[Hashable],
        statistic: Movement = "displacement",
    ) -> Flips:
        """Rows at one place are a pair.

        Raises:
            Refusal: fewer than two cores.
        """
        places = numbered(cores)
        count = int(places.max(initial=-1)) + 1
        if count < 2:
            raise Refusal(
                "too_few_cores", "sides of one core cannot be exchanged", expected="two cores", got=str(count)
            )
        return cls(core_sums(left, places, count), core_sums(right, places, count), left.shape[2], statistic)

    def observed(self) -> Float64[np.ndarray, " plane"]:
        """The statistic as it is."""
        return self._moved(np.zeros((1, len(self.left))), self.left, self.right)[0]

    def smallest(self, draws: int) -> float:
        return max(1 / (1 + draws), 2.0 ** (1 - len(self.left)))

    def draws(self, wanted: int) -> int:
        every = 2 ** min(len(self.left) - 1, 60) - 1
        return every if every <= wanted else wanted

    def chunks(
        self, columns: Integer[np.ndarray, " column"], draws: int, seed: int
    ) -> Iterator[Float[np.ndarray, "draw column"]]:
        left, right = self.left[..., columns], self.right[..., columns]
        cores = len(left)
        generator = np.random.default_rng(seed)
        every = draws == 2 ** min(cores - 1, 60) - 1
        step = max(1, _CHUNK // max(cores, len(columns), 1))
        for start in range(0, draws, step):
            count = min(step, draws - start)
            if every:
                numbers = np.arange(start + 1, start + count + 1)
                exchanged = (numbers[:, None] >> np.arange(cores)) & 1
            else:
                exchanged = generator.integers(0, 2, (count, cores))
            yield self._moved(exchanged.astype(np.float64), left, right)

    def _moved(
        self,
        exchanged: Float64[np.ndarray, "draw core"],
        left: Float64[np.ndarray, "core 2 column"],
        right: Float64[np.ndarray, "core 2 column"],
    ) -> Float64[np.ndarray, "draw column"]:
        swapped = np.tensordot(exchanged, right - left, axes=1)
        one = np.moveaxis((left.sum(axis=0) + swapped) / self.rows, 1, 0)
        two = np.moveaxis((right.sum(axis=0) - swapped) / self.rows, 1, 0)
        match self.statistic:
            case "displacement":
                return np.hypot(two[0] - one[0], two[1] - one[1])
            case "length":
                return np.abs(np.hypot(two[0], two[1]) - np.hypot(one[0], one[1]))
            case "angle":
                return np.abs(turn(one, two))


@dataclass(frozen=True, eq=False)
class Intervals:
    """95 % of r_G and of θ_G; θ in degrees, `low` may lie above `high` where the interval crosses 0."""

    r: Float64[np.ndarray, "2 plane"]
    theta: Float64[np.ndarray, "2 plane"]


def core_intervals(
    z: Float[np.ndarray, "2 plane row"],
    cores: Sequence[Hashable],
    *,
    seed: int,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
) -> Intervals | None:
    """Intervals by drawing cores; None under `MIN_CORES`."""
    places = numbered(cores)
    count = int(places.max(initial=-1)) + 1
    if count < MIN_CORES:
        return None
    sums = core_sums(z, places, count).reshape(count, -1)
    sizes = np.bincount(places, minlength=count).astype(np.float64)
    taken = np.random.default_rng(seed).integers(0, count, (resamples, count)) + count * np.arange(resamples)[:, None]
    draws = np.bincount(taken.ravel(), minlength=resamples * count).reshape(resamples, count).astype(np.float64)
    planes = z.shape[1]
    grey = z.mean(axis=2, dtype=np.float64)
    tail = [(1 - confidence) / 2, (1 + confidence) / 2]
    r, theta = np.empty((2, planes)), np.empty((2, planes))
    step = max(1, _CHUNK // resamples)
    for start in range(0, planes, step):
        part = slice(start, start + step)
        weighted = draws @ sums.reshape(count, 2, planes)[:, :, part].reshape(count, -1)
        means = np.moveaxis((weighted / (draws @ sizes)[:, None]).reshape(resamples, 2, -1), 1, 0)
        centre = grey[:, None, part]
        away = np.quantile(np.hypot(*(means - centre)), confidence, axis=0)
        length = np.hypot(*grey[:, part])
        r[:, part] = np.maximum(length - away, 0.0), length + away
        off = turn(np.broadcast_to(centre, means.shape), means)
        theta[:, part] = (degrees(grey[:, part]) + np.quantile(off, tail, axis=0)) % 360
    return Intervals(r, theta)


def core_sums(
    z: Float[np.ndarray, "2 plane row"], places: Integer[np.ndarray, " row"], count: int
) -> Float64[np.ndarray, "core 2 plane"]:
    """Σ z over the rows of each core."""
    members = (places[None, :] == np.arange(count)[:, None]).astype(np.float64)
    flat = members @ z.reshape(-1, z.shape[2]).T.astype(np.float64)
    return flat.reshape(count, 2, z.shape[1])


def turn(one: Float[np.ndarray, "2 ..."], two: Float[np.ndarray, "2 ..."]) -> Float64[np.ndarray, "..."]:
    """Degrees from the first direction to the second, in (−180, 180]."""
    cross = one[0] * two[1] - one[1] * two[0]
    return np.degrees(np.arctan2(cross, one[0] * two[0] + one[1] * two[1], dtype=np.float64))
