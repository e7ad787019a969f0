from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from radiograph.core import UserError
from radiograph.numerics.units import (
    ERROR,
    Along,
    Contexts,
    LogBins,
    Shapes,
    ShapeTree,
    SiteStatistics,
    eta_squared,
    matched_units,
)
from radiograph.numerics.units._bins import centres, edges


def rows(n: int = 400, seed: int = 0) -> np.ndarray:
    """Columns of very different shape, one far from zero, one constant, one rectified."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 6))
    x[:, 1] = rng.standard_exponential(n) * 300
    x[:, 2] = 1e4 + x[:, 2]
    x[:, 3] = 0.25
    x[:, 4] = np.maximum(x[:, 4], 0)
    x[:, 5] = np.exp(3 * x[:, 5])
    return x.astype(np.float32)


def measured(x: np.ndarray, *, outer: bool = False) -> SiteStatistics:
    bins = LogBins(x.shape[1])
    bins.add(x)
    return SiteStatistics("mlp_hidden.0", Shapes.of(x, outer=outer), bins, np.count_nonzero(x > 0, axis=0))


def tree(x: np.ndarray, cuts: list[np.ndarray], leaves: list[int]) -> ShapeTree:
    found = ShapeTree()
    for leaf in leaves:
        found.put(leaf, Shapes.of(x[cuts[leaf]], outer=True))
    return found


def test_moments_equal_those_of_scipy():
    x = rows()
    found, y = Shapes.of(x), x.astype(np.float64)
    varied = [0, 1, 2, 4, 5]
    np.testing.assert_allclose(found.mean, y.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.sd, y.std(0), rtol=1e-9)
    np.testing.assert_allclose(found.skew[varied], stats.skew(y[:, varied]), rtol=1e-7)
    np.testing.assert_allclose(found.kurtosis[varied], stats.kurtosis(y[:, varied]), rtol=1e-7)
    assert found.skew[3] == found.kurtosis[3] == found.sd[3] == 0
    np.testing.assert_array_equal((found.low, found.high), (y.min(0), y.max(0)))
    assert found.norms == pytest.approx(np.linalg.norm(y, axis=1).sum())


def test_r20_any_division_of_the_leaves_gives_equal_bytes():
    x = rows()
    cuts = np.array_split(np.arange(len(x)), 13)
    whole = tree(x, cuts, list(range(13))).total()
    for workers, seed in itertools.product((2, 3, 5, 13), range(3)):
        order = np.random.default_rng(seed).permutation(13)
        parts = [tree(x, cuts, [int(i) for i in order if i % workers == w]) for w in range(workers)]
        for part in parts[1:]:
            parts[0].merge(part)
        found = parts[0].total()
        for name in ("mean", "second", "third", "fourth", "low", "high", "outer"):
            assert getattr(found, name).tobytes() == getattr(whole, name).tobytes()
        assert found.norms == whole.norms
        assert len(parts[0].nodes) == 3  # 13 = 8 + 4 + 1
    np.testing.assert_allclose(whole.sd, x.astype(np.float64).std(0), rtol=1e-9)
    assert whole.outer is not None
    np.testing.assert_allclose(whole.outer / len(x), np.cov(x.astype(np.float64).T, bias=True), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(whole.kurtosis[:2], stats.kurtosis(x[:, :2].astype(np.float64)), rtol=1e-9)


def test_a_leaf_is_measured_once():
    one = ShapeTree()
    one.put(2, Shapes.of(rows()))
    with pytest.raises(AssertionError, match="once"):
        one.put(2, Shapes.of(rows()))


def test_every_bin_is_narrow_and_stands_for_its_middle():
    bounds = edges()
    assert np.all(np.diff(bounds) > 0)
    error = np.diff(bounds) / (bounds[1:] + bounds[:-1])
    assert error.max() <= ERROR
    values = np.exp(np.random.default_rng(0).uniform(np.log(2.0**-16), np.log(2.0**16), 20_000)).astype(np.float32)
    for sign in (1, -1):
        bins = LogBins(1)
        bins.add(sign * values[:, None])
        place = np.flatnonzero(bins.counts[0])
        assert bins.counts.sum() == len(values)
        # By hand: the bin of a value is where the edges put it.
        own = np.searchsorted(bounds, np.sort(values), side="right") - 1
        assert sorted(np.abs(centres()[place])) == sorted(set(np.abs(centres()[len(centres()) // 2 + 1 :][own])))


@pytest.mark.parametrize("q", [0.0, 0.001, 0.01, 0.25, 0.5, 0.75, 0.99, 0.999, 1.0])
def test_e9_quantiles_are_within_two_percent_of_numpy(q: float):
    x = rows(5000)
    found, true = measured(x).quantiles(q), np.quantile(x.astype(np.float64), q, axis=0)
    assert np.all(np.abs(found - true) <= ERROR * np.abs(true) + 1e-4)
    assert measured(x).quantile(1, q) == found[1]


def test_e9_three_standard_deviations_are_those_of_numpy():
    x = rows(5000)
    found, y = measured(x), x.astype(np.float64)
    np.testing.assert_allclose(found.mean + 3 * found.sd, y.mean(0) + 3 * y.std(0), rtol=1e-9)


def test_the_spread_is_the_mean_distance_from_the_median():
    x = rows(3000).astype(np.float64)
    true = np.abs(x - np.median(x, axis=0)).mean(0)
    found = measured(x.astype(np.float32)).spread
    np.testing.assert_allclose(found[[0, 1, 4, 5]], true[[0, 1, 4, 5]], rtol=0.05)
    assert found[3] == pytest.approx(0, abs=1e-12)


def test_quantiles_of_few_values_and_outside_zero_to_one():
    x = np.array([[1.0], [-2.0], [8.0]], np.float32)
    found = measured(x)
    assert (found.quantile(0, 0.0), found.quantile(0, 1.0)) == (-2, 8)
    assert found.quantile(0, 0.5) == pytest.approx(1, rel=ERROR)
    assert found.quantile(0, 0.75) == pytest.approx(4.5, rel=ERROR)
    with pytest.raises(UserError, match=r"q1.2 is no quantile"):
        found.quantile(0, 1.2)


def test_contexts_are_the_largest_values_whatever_the_order_of_parts():
    rng = np.random.default_rng(3)
    x = rng.integers(-3, 6, (300, 4)).astype(np.float32)  # many equal values
    x[:, 3] = -1
    text, position = np.repeat(np.arange(30), 10), np.tile(np.arange(10), 30)
    slow = [sorted((-x[i, u], int(text[i]), int(position[i])) for i in range(300) if x[i, u] > 0)[:5] for u in range(4)]
    for workers in (1, 2, 7):
        parts = [Contexts(4) for _ in range(workers)]
        for number, own in enumerate(np.array_split(rng.permutation(300), 21)):
            parts[number % workers].add(x[own], text[own], position[own])
        for part in parts[1:]:
            parts[0].merge(part)
        for unit, expected in enumerate(slow):
            found = zip(parts[0].value[unit], parts[0].text[unit], parts[0].position[unit], strict=True)
            assert [(-v, t, p) for v, t, p in found if t >= 0] == expected


def test_eta_squared_is_that_of_an_analysis_of_variance():
    rng = np.random.default_rng(0)
    values, labels = rng.standard_normal((60, 5)), np.repeat(["a", "b", "c"], 20)
    values[:, 0] += np.repeat([0, 1, 2], 20)
    values[:, 4] = 7.0
    found, chance = eta_squared(values, list(labels))
    for unit in range(4):
        f = stats.f_oneway(*(values[labels == name, unit] for name in "abc")).statistic
        assert found[unit] == pytest.approx(f * 2 / (f * 2 + 57))
    assert found[4] == 0
    assert chance == pytest.approx(2 / 59)
    draws = [eta_squared(rng.standard_normal((60, 50)), list(rng.permutation(labels)))[0] for _ in range(20)]
    assert np.mean(draws) == pytest.approx(chance, abs=0.004)
    with pytest.raises(UserError, match="groups of prompts"):
        eta_squared(values, ["a"] * 60)


def test_matched_units_are_the_nearest_of_the_living():
    rng = np.random.default_rng(0)
    norms, mean = np.exp(rng.standard_normal(50)), rng.standard_normal(50)
    sd, firing = np.exp(rng.standard_normal(50)), rng.uniform(0, 1, 50)
    norms[3], sd[4] = 0.0, 0.0
    norms[11], mean[11], sd[11], firing[11] = norms[10], mean[10], sd[10], firing[10] + 1e-6
    found = matched_units(10, 8, norms=norms, mean=mean, sd=sd, firing=firing, exclude=[20])
    table = np.array([[np.log(norms[i]), mean[i], np.log(sd[i]), firing[i]] for i in range(50) if i not in (3, 4)])
    z = (table - table.mean(0)) / table.std(0)
    own = z[8]  # unit 10, two dead ones before it
    distance = {u: float(np.linalg.norm(z[k] - own)) for k, u in enumerate(i for i in range(50) if i not in (3, 4))}
    expected = sorted((u for u in distance if u not in (10, 20)), key=lambda u: (distance[u], u))[:8]
    assert found.units.tolist() == expected
    assert found.units[0] == 11
    # Scaling a unit of measurement changes nothing.
    scaled = matched_units(10, 8, norms=7 * norms, mean=7 * mean, sd=7 * sd, firing=firing, exclude=[20])
    assert scaled.units.tolist() == expected
    assert len(matched_units(10, 200, norms=norms, mean=mean, sd=sd, firing=firing).units) == 47
    with pytest.raises(UserError, match="never moves"):
        matched_units(4, 8, norms=norms, mean=mean, sd=sd, firing=firing)
    with pytest.raises(UserError, match="writes nothing"):
        matched_units(3, 8, norms=norms, mean=mean, sd=sd, firing=firing)
    with pytest.raises(UserError, match="outside"):
        matched_units(50, 8, norms=norms, mean=mean, sd=sd, firing=firing)


def test_along_a_direction():
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((500, 6)) @ rng.standard_normal((6, 6)) + 2).astype(np.float32)
    d = rng.standard_normal(6)
    y = x.astype(np.float64) @ d / np.linalg.norm(d)
    found = measured(x, outer=True).along(d)
    assert isinstance(found, Along)
    assert found.width == 1
    assert (found.mean[0], found.sd[0]) == (pytest.approx(y.mean()), pytest.approx(y.std()))
    with pytest.raises(UserError, match="was not measured") as caught:
        found.quantile(0, 0.5)
    assert "direction itself" in str(caught.value)
    with pytest.raises(UserError, match="--covariance"):
        measured(x).along(d)
    one = measured(x).along(-3 * np.eye(6)[2])
    assert isinstance(one, SiteStatistics)
    assert one.mean[0] == pytest.approx(-x[:, 2].mean(), rel=1e-5)
    assert one.quantile(0, 0.9) == pytest.approx(np.quantile(-x[:, 2], 0.9), rel=ERROR)
    assert one.firing[0] == pytest.approx((x[:, 2] < 0).mean(), abs=0.01)
    with pytest.raises(UserError, match="not zero"):
        measured(x).along(np.zeros(6))
