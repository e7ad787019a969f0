"""Nulls of planes that labels, units or features decide: even where nothing is planted, and derived a second time."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from radiograph.core import Refusal
from radiograph.numerics.planes import (
    AlikePairs,
    LabelBasis,
    Labels,
    PlaneLengths,
    ProbeBasis,
    Terms,
    against_null,
    alike,
    coordinates,
    gaussian_vectors,
    planes_of,
    ridge,
    statistics,
    unit_rows,
)

PAIR = (np.array([0]), np.array([1]))
CORES = [f"c{i // 8}" for i in range(32)]
NAMES = [f"g{i % 2}" for i in range(32)]


def even(p: list[float]) -> None:
    assert stats.kstest(p, "uniform").pvalue > 0.001
    assert 0.025 <= np.mean(np.array(p) < 0.0501) <= 0.08


def chance(observed: np.ndarray, source: AlikePairs | LabelBasis | PlaneLengths | ProbeBasis, seed: int) -> float:
    return against_null(observed, source, seed=seed, draws=99, limit=0).p[0]


def random_alike(generator: np.random.Generator, means: np.ndarray, count: int) -> AlikePairs:
    chosen = generator.permutation(len(means))[: 2 * count]
    return AlikePairs(means, chosen[None, :count], chosen[None, count:])


def test_r7_units_like_a_unit_give_even_p_also_where_a_few_are_loud():
    p: dict[str, list[float]] = {"even": [], "loud": []}
    for seed in range(500):
        generator = np.random.default_rng(seed)
        for name, means in (("even", generator.standard_normal(40)), ("loud", generator.standard_cauchy(40))):
            source = random_alike(generator, means, 12)
            p[name].append(chance(np.hypot(means[source.first[:, 0]], means[source.second[:, 0]]), source, seed))
    even(p["even"])
    even(p["loud"])


def test_r7_matched_units_of_a_site_give_even_p():
    """Units of every size and habit; a random pair, the mean of a random half of the rows."""
    p: list[float] = []
    for seed in range(500):
        generator = np.random.default_rng(seed)
        gains = np.exp(generator.standard_normal(96))
        rows = gains * (generator.standard_normal((60, 96)) + generator.standard_normal(96))
        half = unit_rows(rows)[0][generator.permutation(60)[:30]].mean(axis=0)
        units = generator.permutation(96)[:2]
        like = alike(
            np.stack([rows.mean(axis=0), np.log(rows.std(axis=0)), (rows > 0).mean(axis=0)], axis=1), units, 12
        )
        source = AlikePairs(half, like[:1], like[1:])
        p.append(chance(np.hypot(*half[units])[None], source, seed))
    even(p)


def test_items_that_are_alike_stand_in_one_part_and_each_names_itself_first():
    numbers = np.random.default_rng(3).standard_normal((100, 2))
    found = alike(numbers, np.arange(100), 10)
    assert found.shape == (100, 10)
    np.testing.assert_array_equal(found[:, 0], np.arange(100))
    assert all(len(set(row)) == 10 for row in found.tolist())
    assert np.abs(numbers[found] - numbers[:, None]).mean() < np.abs(numbers[:, None] - numbers[None]).mean() / 2
    assert alike(numbers[:5], np.array([2]), 10).shape == (1, 5)


def test_r7_features_of_one_pool_give_even_p():
    p: list[float] = []
    for seed in range(500):
        generator = np.random.default_rng(seed)
        pool, _ = unit_rows(generator.standard_normal((42, 20)) * np.exp(generator.standard_normal(20)))
        mean = generator.standard_normal(20)
        chosen = generator.permutation(42)
        source = AlikePairs(pool @ mean, chosen[None, :21], chosen[None, 21:], pool @ pool.T)
        one, two = pool[chosen[0]], pool[chosen[21]]
        planes, _ = planes_of(np.array([[1, one @ two], [one @ two, 1]]), *PAIR, 1e-3)
        r = np.hypot(*coordinates(np.array([[one @ mean, two @ mean]]), planes)[:, :, 0])
        p.append(chance(r, source, seed))
    even(p)


def test_r7_planes_of_equal_covariance_give_even_p():
    p: list[float] = []
    gains = np.arange(1, 13) ** 1.0
    for seed in range(500):
        generator = np.random.default_rng(seed)
        rows = generator.standard_normal((300, 12)) * gains
        unit, _ = unit_rows(rows + 4)
        own, _ = unit_rows(generator.standard_normal((2, 12)) * gains)
        planes, _ = planes_of(own @ own.T, *PAIR, 1e-3)
        source = PlaneLengths(unit.mean(axis=0), lambda count, s, held=rows: gaussian_vectors(held, count, s))
        p.append(chance(statistics(coordinates(unit @ own.T, planes), 12).r, source, seed))
    even(p)


@pytest.mark.parametrize("kind", ["probe", pytest.param("difference", marks=pytest.mark.slow)])
def test_r7_refitted_probes_and_differences_with_a_component_give_even_p(kind):
    labels, p = Labels(NAMES, CORES), []
    for seed in range(500):
        rows = np.random.default_rng(seed).standard_normal((32, 10)) * np.arange(1, 11) + 3.0
        source = probes(rows) if kind == "probe" else beside_component(rows, labels)
        p.append(chance(source.observed()[:1], source, seed))
    even(p)


def probes(rows: np.ndarray) -> ProbeBasis:
    """Of two of three groups: those of two would be one line."""
    three = Labels([f"g{i % 3}" for i in range(32)], CORES)
    return ProbeBasis.of(rows, three, CORES, np.eye(3, dtype=bool)[:2], PAIR)


def beside_component(rows: np.ndarray, labels: Labels) -> LabelBasis:
    """The difference of two groups, and the first component, in folds."""
    held = np.array([component(rows[np.array(CORES) != core]) for core in dict.fromkeys(CORES)])
    terms = Terms(np.eye(2, dtype=bool), np.array([[1.0, -1.0]]))
    return LabelBasis.of(rows, labels, CORES, terms, PAIR, fixed=held[:, None])


def component(rows: np.ndarray) -> np.ndarray:
    axis = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)[2][0]
    return axis * np.sign(axis[-1])


def slow(rows: np.ndarray, cores: np.ndarray, fit, codes: np.ndarray, group: int) -> float:
    """r_G of a group with a basis fitted row by row."""
    z = np.empty((2, len(rows)))
    for place, row in enumerate(rows):
        basis, _ = unit_rows(fit(cores != cores[place], codes))
        planes, _ = planes_of(basis @ basis.T, *PAIR, 1e-3)
        z[:, place] = coordinates(unit_rows(row[None])[0] @ basis.T, planes)[:, 0, 0]
    return float(np.hypot(*z[:, codes == group].mean(axis=1)))


def test_rebuilt_probes_are_ridge_regressions_fitted_row_by_row():
    rows = np.random.default_rng(1).standard_normal((32, 6)) + 2
    labels = Labels([f"g{i % 3}" for i in range(32)], CORES)

    def normals(kept: np.ndarray, codes: np.ndarray) -> np.ndarray:
        own = rows[kept] - rows[kept].mean(axis=0)
        strength = np.square(own).sum() / len(own)
        targets = np.stack([codes[kept] == g for g in (0, 1)], axis=1).astype(float)
        return np.linalg.solve(own.T @ own + strength * np.eye(6), own.T @ (targets - targets.mean(axis=0))).T

    source = probes(rows)
    every = np.concatenate([labels.codes[None], *labels.permuted(3, 4)])
    found = np.concatenate([source.observed()[None], *source.chunks(np.arange(3), 3, 4)])
    for own, codes in zip(found, every, strict=True):
        expected = [slow(rows, np.array(CORES), normals, codes, g) for g in range(3)]
        np.testing.assert_allclose(own, expected, rtol=1e-8)
    with pytest.raises(Refusal, match="all equal"):
        ridge(np.ones((4, 4)), np.ones(4, dtype=bool))


def test_a_vector_that_no_label_decides_stands_beside_those_that_are_rebuilt():
    rows = np.random.default_rng(2).standard_normal((32, 6)) * np.arange(1, 7)
    labels = Labels(NAMES, CORES)
    source = beside_component(rows, labels)

    def vectors(kept: np.ndarray, codes: np.ndarray) -> np.ndarray:
        means = [rows[kept & (codes == g)].mean(axis=0) for g in (0, 1)]
        return np.stack([means[0] - means[1], component(rows[kept])])

    every = np.concatenate([labels.codes[None], *labels.permuted(3, 4)])
    found = np.concatenate([source.observed()[None], *source.chunks(np.arange(2), 3, 4)])
    for own, codes in zip(found, every, strict=True):
        expected = [slow(rows, np.array(CORES), vectors, codes, g) for g in (0, 1)]
        np.testing.assert_allclose(own, expected, rtol=1e-8)


def test_one_loud_unit_is_one_of_those_that_are_alike_and_no_more():
    means = np.r_[100.0, np.linspace(0.1, 0.2, 19)]
    source = AlikePairs(means, np.arange(10)[None], np.r_[15, 10:15, 16:20][None])
    p = against_null(np.hypot(means[[0]], means[[15]]), source, seed=0).p[0]
    # The loud unit wins with any partner; of its own pairs, those with a partner at least as loud as its own count.
    assert p == pytest.approx(5 / 100)
    same = AlikePairs(means, np.array([[0, 1, 2]]), np.array([[1, 2, 0]]))
    assert np.isfinite(np.concatenate(list(same.chunks(np.array([0]), 8, 0)))).all()
