"""Rescued and broken, counted and tested."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from radiograph.core import UserError
from radiograph.numerics.repetition import contingency


def flags(fine: int, rescued: int, broken: int, collapsed: int) -> tuple[np.ndarray, np.ndarray]:
    before = [False] * fine + [True] * rescued + [False] * broken + [True] * collapsed
    after = [False] * fine + [False] * rescued + [True] * broken + [True] * collapsed
    return np.array(before), np.array(after)


@pytest.mark.parametrize(("b", "c", "p"), [(5, 0, 0.0625), (7, 5, 0.7744140625), (6, 0, 0.03125), (0, 0, 1.0)])
def test_r15_contingency_and_its_mirror(b: int, c: int, p: float) -> None:
    before, after = flags(8, b, c, 4)
    cores = list(range(len(before)))
    found, mirror = contingency(before, after, cores), contingency(after, before, cores)
    assert (found.fine, found.rescued, found.broken, found.collapsed) == (8, b, c, 4)
    assert found.p == p == mirror.p
    assert (mirror.rescued, mirror.broken, mirror.net) == (c, b, -found.net)
    assert found.rescue is not None
    assert found.rescue[0] == pytest.approx(b / (b + 4))


def test_d17_breakage_stands_beside_rescue() -> None:
    found = contingency(*flags(10, 5, 36, 3), list(range(54)))
    assert found.breakage is not None
    assert found.breakage[0] == pytest.approx(36 / 46)
    assert found.net < 0


def test_sides_exchanged_by_core_equal_every_exchange() -> None:
    rng = np.random.default_rng(0)
    before, after = rng.random(60) < 0.6, rng.random(60) < 0.3
    cores = [f"c{k % 7}" for k in range(60)]
    sums = [
        sum(int(b) - int(a) for b, a, c in zip(before, after, cores, strict=True) if c == f"c{k}") for k in range(7)
    ]
    every = [
        abs(sum(s * x for s, x in zip(signs, sums, strict=True))) for signs in itertools.product((1, -1), repeat=7)
    ]
    found = contingency(before, after, cores)
    assert found.p_cores == pytest.approx(np.mean(np.array(every) >= abs(sum(sums))))
    assert found.smallest_cores == 2**-6


def test_sides_that_do_not_matter_are_called_different_as_often_as_said() -> None:
    rng = np.random.default_rng(1)
    cores = np.repeat(np.arange(20), 4)
    p = []
    for seed in range(200):
        lean = np.repeat(rng.random(20), 4)
        found = contingency(rng.random(80) < lean, rng.random(80) < lean, cores.tolist(), seed=seed)
        p.append((found.p, found.p_cores))
    low = (np.array(p) < 0.05).mean(0)
    assert low[0] <= 0.05 + 3 * (0.05 * 0.95 / 200) ** 0.5
    assert low[1] <= 0.05 + 3 * (0.05 * 0.95 / 200) ** 0.5


def test_few_cores_have_no_interval_and_no_pair_is_refused() -> None:
    before, after = flags(2, 1, 1, 2)
    assert contingency(before, after, ["a", "b", "c", "a", "b", "c"]).net_interval is None
    assert contingency(before, after, ["a", "b", "c", "d", "b", "c"]).net_interval is not None
    with pytest.raises(UserError, match="no pair"):
        contingency(before[:0], after[:0], [])
