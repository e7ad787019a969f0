"""Permutations, flips and rotations: the planted is found, the null stays silent, and slow derivations agree."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from radiograph.core import Refusal, UserError
from radiograph.numerics.multiplicity import q_values
from radiograph.numerics.planes import (
    Flips,
    GroupLength,
    Isotropy,
    LabelBasis,
    Labels,
    PlaneLengths,
    PseudoF,
    Rotated,
    Terms,
    against_null,
    all_pairs,
    coordinates,
    core_intervals,
    crowding,
    fourfold,
    gaussian_vectors,
    haar_vectors,
    half_vectors,
    planes_of,
    statistics,
    strata_of,
    turn,
    unit_rows,
)

PAIR = (np.array([0]), np.array([1]))


def design(cores: int, per_group: int, groups: int = 2) -> tuple[list[str], list[str]]:
    """Core and label of each row."""
    names = [f"c{i}" for i in range(cores) for _ in range(per_group * groups)]
    return names, [f"g{j % groups}" for _ in range(cores) for j in range(per_group * groups)]


def rows_without_meaning(seed: int, rows: int, width: int, anisotropic: bool) -> np.ndarray:
    generator = np.random.default_rng(seed)
    drawn = generator.standard_normal((rows, width))
    return drawn * np.arange(1, width + 1) ** 1.0 + 5.0 if anisotropic else drawn


def even(p: list[float]) -> None:
    assert stats.kstest(p, "uniform").pvalue > 0.001
    assert 0.025 <= np.mean(np.array(p) < 0.0501) <= 0.08


@pytest.mark.parametrize("anisotropic", [pytest.param(False, marks=pytest.mark.slow), True])
def test_r7_p_is_even_where_labels_mean_nothing(anisotropic):
    cores, names = design(4, 4)
    labels = Labels(names, cores)
    found: dict[str, list[float]] = {"f": [], "length": [], "kernel": [], "flip": []}
    for seed in range(500):
        unit, _ = unit_rows(rows_without_meaning(seed, 32, 10, anisotropic))
        planes, _ = planes_of(np.eye(10), *PAIR)
        z = coordinates(unit, planes)
        basis = LabelBasis.of(unit, labels, cores, Terms.means(2), PAIR)
        right = coordinates(unit_rows(rows_without_meaning(seed + 9000, 32, 10, anisotropic))[0], planes)
        flips = Flips.of(z, right, (np.arange(32) // 2).tolist())
        for name, source in (
            ("f", PseudoF(z, labels)),
            ("length", GroupLength(z, labels, "g0")),
            ("kernel", basis),
            ("flip", flips),
        ):
            found[name].append(against_null(source.observed(), source, seed=seed, draws=99, limit=0).p[0])
    for p in found.values():
        even(p)


def test_r7_rotations_give_even_p_for_isotropic_rows():
    gram = np.array([[1.0, 0.3], [0.3, 1.0]])
    basis = np.linalg.cholesky(gram) @ np.eye(2, 8)
    planes, _ = planes_of(gram, *PAIR)
    p: dict[str, list[float]] = {"fourfold": [], "crowding": [], "random plane": []}
    for seed in range(500):
        unit, _ = unit_rows(rows_without_meaning(seed, 12, 8, False))
        z = coordinates(unit @ basis.T, planes)
        for name, statistic in (("fourfold", fourfold), ("crowding", crowding(0.413))):
            source = Rotated(unit, gram, planes, statistic)
            p[name].append(against_null(statistic(z), source, seed=seed, draws=59, limit=0).p[0])
        lengths = PlaneLengths(unit.mean(axis=0), lambda count, s: haar_vectors(8, count, s))
        p["random plane"].append(against_null(statistics(z, 8).r, lengths, seed=seed, draws=99, limit=0).p[0])
    even(p["fourfold"])
    even(p["random plane"])
    assert np.mean(np.array(p["crowding"]) < 0.0501) <= 0.08  # a share of 12 rows: ties count against the finding


def test_rows_on_the_axes_are_noticed_and_rows_between_them_are_not():
    """Bird's question, planted: half the rows close to a basis vector."""
    generator = np.random.default_rng(0)
    axes = np.eye(20)[generator.integers(0, 4, 60)] * np.sign(generator.standard_normal((60, 1)))
    rows, _ = unit_rows(axes + 0.05 * generator.standard_normal((60, 20)))
    planes, _ = planes_of(np.eye(4), *all_pairs(4))
    z = coordinates(rows[:, :4].copy(), planes)
    source = Rotated(rows, np.eye(4), planes, fourfold)
    tested = against_null(fourfold(z), source, seed=1, draws=199, limit=0)
    assert (tested.p <= 0.005).all()
    assert (tested.family_p <= 0.005).all()
    np.testing.assert_allclose(fourfold(z), statistics(z, 20).fourfold)
    between, _ = unit_rows(rows @ np.kron(np.eye(10), [[1, 1], [-1, 1]]))
    turned = fourfold(coordinates(between[:, :2].copy(), planes_of(np.eye(2), *PAIR)[0]))
    assert turned[0] < -0.5


def planted(seed: int) -> tuple[np.ndarray, list[str], list[str]]:
    """R8: 10 cores of 20 rows, two groups 60 degrees apart in 5 of 1,000 planes, energy .02 in each."""
    cores, names = design(10, 10)
    generator = np.random.default_rng(seed)
    rows = generator.standard_normal((200, 2048)) / np.sqrt(2048)
    angle = np.radians(np.where(np.array(names) == "g0", 30, 90))
    for plane in range(5):
        rows[:, 2 * plane] = np.sqrt(0.02) * np.cos(angle) + rows[:, 2 * plane]
        rows[:, 2 * plane + 1] = np.sqrt(0.02) * np.sin(angle) + rows[:, 2 * plane + 1]
    return unit_rows(rows)[0], cores, names


def test_r8_d11_planted_planes_are_found_each_by_itself():
    rows, cores, names = planted(0)
    first = 2 * np.arange(1000)
    planes, _ = planes_of(np.eye(2048), first, first + 1)
    z = coordinates(rows, planes).astype(np.float32)
    labels = Labels(names, cores)
    source = PseudoF(z, labels)
    tested = against_null(source.observed(), source, seed=0, limit=0)
    q = q_values(tested.p)
    assert (q[:5] < 0.05).all()
    assert (q[5:] < 0.05).sum() <= 1
    assert (tested.family_p[:5] < 0.05).all()
    mask = np.array(names) == "g0"
    groups = [statistics(z[:, :5, keep], 2048) for keep in (mask, ~mask)]
    np.testing.assert_allclose(groups[0].theta, 30, atol=5)
    np.testing.assert_allclose(turn(groups[0].grey, groups[1].grey), 60, atol=5)
    shuffled = Labels([labels.groups[c] for c in next(iter(labels.permuted(1, 5)))[0]], cores)
    source = PseudoF(z, shuffled)
    assert (q_values(against_null(source.observed(), source, seed=0, limit=0).p) >= 0.05).all()


def test_r9_a_common_mean_is_no_direction_once_folds_are_kept():
    cores, names = design(8, 5)
    silent, lengths = 0, []
    for seed in range(50):
        generator = np.random.default_rng(seed)
        rows = generator.standard_normal((80, 30)) + 6 * haar_vectors(30, 1, 99)[0] * 2
        labels = Labels([names[i] for i in generator.permutation(80)], ["all"] * 80)
        folded = LabelBasis.of(rows, Labels(names, cores), cores, Terms.means(2), PAIR)
        circular = LabelBasis.of(rows, labels, cores, Terms.means(2), PAIR, fold="none")
        lengths.append(circular.observed().min())
        silent += against_null(folded.observed(), folded, seed=seed, draws=99, limit=0).p[0] > 0.05
    assert min(lengths) > 0.8
    assert silent >= 0.85 * 50


def test_permutations_as_one_product_are_those_of_a_loop():
    rows, _ = unit_rows(rows_without_meaning(1, 24, 6, True))
    planes, _ = planes_of(np.eye(6), *all_pairs(6))
    z = coordinates(rows, planes)
    cores, names = design(4, 2, 3)
    labels = Labels(names, cores)
    source, lengths = PseudoF(z, labels), GroupLength(z, labels, "g1")
    columns = np.arange(len(planes))
    null = np.concatenate(list(source.chunks(columns, 20, 3)))
    null_r = np.concatenate(list(lengths.chunks(columns, 20, 3)))
    for place, codes in enumerate(np.concatenate(list(labels.permuted(20, 3)))):
        for core in set(cores):
            mine = np.array(cores) == core
            assert sorted(codes[mine]) == sorted(labels.codes[mine])
        grand = z.mean(axis=2)
        means = [z[:, :, codes == g].mean(axis=2) for g in range(3)]
        between = sum(8 * ((m - grand) ** 2).sum(axis=0) for m in means) / 2
        within = sum(((z[:, :, codes == g] - means[g][..., None]) ** 2).sum(axis=(0, 2)) for g in range(3)) / 21
        np.testing.assert_allclose(null[place], between / within, rtol=1e-9)
        np.testing.assert_allclose(null_r[place], np.hypot(*means[1]), rtol=1e-9)


@pytest.mark.parametrize("fold", ["core", "none"])
@pytest.mark.parametrize("kind", ["means", "contrast", "difference"])
def test_rebuilt_bases_are_those_fitted_row_by_row(fold, kind):
    cores, names = design(3, 2, 3)
    rows = rows_without_meaning(2, 18, 7, True)
    labels = Labels(names, cores)
    pairs = (np.array([0, 1]), np.array([1, 0]))
    less = np.array([[1.0, -1, 0], [0, 1, -1]])
    terms = {"means": Terms.means(3), "contrast": Terms.contrast(3), "difference": Terms(np.eye(3, dtype=bool), less)}
    source = LabelBasis.of(rows, labels, cores, terms[kind], pairs, fold)
    codes = np.concatenate([labels.codes[None], *labels.permuted(3, 4)])
    null = np.concatenate([source.observed()[None], *source.chunks(np.arange(6), 3, 4)])
    for draw, own in zip(null, codes, strict=True):
        z = np.empty((2, 2, 18))
        for place, core in enumerate(cores):
            fit = np.array([fold == "none" or c != core for c in cores])
            means = np.stack([rows[fit & (own == g)].mean(axis=0) for g in range(3)])
            grand = rows[fit].mean(axis=0)
            basis, _ = unit_rows({"means": means, "contrast": means - grand, "difference": less @ means}[kind])
            planes, _ = planes_of(basis @ basis.T, *pairs)
            z[:, :, place] = coordinates(unit_rows(rows[[place]])[0] @ basis.T, planes)[:, :, 0]
        slow = np.stack([np.hypot(*z[:, :, own == g].mean(axis=2)) for g in range(3)], axis=1).ravel()
        np.testing.assert_allclose(draw, slow, rtol=1e-8, atol=1e-10)
    if fold == "core":
        np.testing.assert_allclose(source.coordinates().shape, (2, 2, 18))


def test_union_of_groups_is_a_term_and_a_score_of_its_own():
    cores, names = design(4, 2, 3)
    rows = rows_without_meaning(5, 24, 6, True)
    whole = ["g0" if name == "g0" else "rest" for name in names]
    sets = np.array([[True, False, False], [False, True, True]])
    fine = LabelBasis.of(rows, Labels(names, cores), cores, Terms(sets, np.eye(2)), PAIR, sets=sets)
    coarse = LabelBasis.of(rows, Labels(whole, cores), cores, Terms.means(2), PAIR)
    np.testing.assert_allclose(fine.observed(), coarse.observed(), rtol=1e-10)


def test_a_direction_that_holds_across_cores_is_found_with_folds():
    cores, names = design(8, 5)
    rows = np.random.default_rng(3).standard_normal((80, 40))
    rows[:, 0] += np.where(np.array(names) == "g0", 1.5, -1.5)
    source = LabelBasis.of(rows, Labels(names, cores), cores, Terms.means(2), PAIR)
    tested = against_null(source.observed(), source, seed=0, draws=199, limit=2000)
    assert tested.redrawn.all()
    assert (tested.p <= 1 / 1991).all()


def test_fold_that_empties_a_group_is_refused():
    with pytest.raises(Refusal, match="without one core"):
        LabelBasis.of(np.eye(4), Labels(list("aabb"), list("xxyy")), list("xxyy"), Terms.means(2), PAIR)


def test_all_exchanges_of_few_cores_are_an_exact_test():
    generator = np.random.default_rng(5)
    left, right = generator.standard_normal((2, 2, 3, 12))
    right += 0.4
    cores = np.repeat(np.arange(6), 2).tolist()
    source = Flips.of(left, right, cores)
    tested = against_null(source.observed(), source, seed=0, draws=999)
    slow = np.zeros(3)
    for signs in itertools.product([1, -1], repeat=6):
        moved = ((right - left) * np.array(signs)[cores]).mean(axis=2)
        slow += np.hypot(*moved) >= source.observed() * (1 - 1e-9)
    np.testing.assert_allclose(tested.p, slow / 64)
    assert tested.smallest == 1 / 32
    assert tested.draws == 31
    assert not tested.redrawn.any()


def test_r11_nothing_moved_has_p_one_and_a_turn_is_measured():
    generator = np.random.default_rng(6)
    z = generator.standard_normal((2, 1, 40)) * 0.1 + np.array([0.5, 0.2])[:, None, None]
    cores = (np.arange(40) // 4).tolist()
    same = Flips.of(z, z.copy(), cores)
    assert same.observed()[0] == 0
    assert against_null(same.observed(), same, seed=0).p[0] == 1
    c, s = np.cos(np.radians(30)), np.sin(np.radians(30))
    turned = np.stack([c * z[0] - s * z[1], s * z[0] + c * z[1]])
    angle = Flips.of(z, turned, cores, "angle")
    assert angle.observed()[0] == pytest.approx(30, abs=1e-9)
    assert against_null(angle.observed(), angle, seed=0, draws=999).p[0] == pytest.approx(1 / 512)
    assert Flips.of(z, turned, cores, "length").observed()[0] == pytest.approx(0, abs=1e-12)
    with pytest.raises(Refusal, match="one core"):
        Flips.of(z, z, ["one"] * 40)


def test_intervals_draw_cores_cover_and_need_four():
    hits = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        z = np.repeat(generator.standard_normal((2, 1, 16)), 5, axis=2) + np.array([2.0, 0.0])[:, None, None]
        found = core_intervals(z, np.repeat(np.arange(16), 5).tolist(), seed=0, resamples=200)
        assert found is not None
        low, high = found.theta[:, 0]
        hits += (0 - low) % 360 <= (high - low) % 360
    assert 0.85 <= hits / 200 <= 0.99
    assert core_intervals(np.ones((2, 1, 80)), ["a", "b", "c", "c"] * 20, seed=0) is None


@pytest.mark.parametrize("truth", [0.0, 0.3, 2.0])
def test_r_is_within_its_interval_and_covers_the_truth(truth):
    hits = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        z = np.repeat(generator.standard_normal((2, 1, 16)), 5, axis=2) + np.array([truth, 0.0])[:, None, None]
        found = core_intervals(z, np.repeat(np.arange(16), 5).tolist(), seed=0, resamples=200)
        assert found is not None
        low, high = found.r[:, 0]
        assert 0 <= low <= np.hypot(*z.mean(axis=2)[:, 0]) <= high
        hits += low <= truth <= high
    assert hits / 200 >= 0.9


def test_planes_of_equal_covariance_see_more_than_random_ones():
    rows = rows_without_meaning(7, 200, 30, False) * np.where(np.arange(30) == 0, 20, 1)
    drawn = gaussian_vectors(rows, 400, 0)
    assert np.mean(drawn[:, 0] ** 2) > 0.5
    assert np.mean(haar_vectors(30, 400, 0)[:, 0] ** 2) == pytest.approx(1 / 30, rel=0.3)
    halves = half_vectors(rows, 300, 0)
    np.testing.assert_allclose(halves.std(axis=0), np.where(np.arange(30) == 0, 20, 1) * np.sqrt(4 / 200), rtol=0.25)
    with pytest.raises(UserError, match="all equal"):
        gaussian_vectors(np.ones((4, 3)), 2, 0)
    with pytest.raises(UserError, match="halves"):
        half_vectors(np.ones((1, 3)), 2, 0)


def test_analytic_floor_is_the_law_of_drawn_planes():
    mean = np.arange(1.0, 13)
    source = PlaneLengths(mean, lambda count, seed: haar_vectors(12, count, seed))
    drawn = np.concatenate(list(source.chunks(np.array([0]), 4000, 1)))[:, 0]
    law = Isotropy(12).plane_p(drawn, float(np.linalg.norm(mean)))
    assert stats.kstest(law, "uniform").pvalue > 0.001


def test_labels_that_cannot_move_say_so():
    labels = Labels(["a", "b"] * 3, [0, 1] * 3)
    assert labels.smallest(999) == 1
    source = PseudoF(np.random.default_rng(8).standard_normal((2, 1, 6)), labels)
    assert against_null(source.observed(), source, seed=0, draws=99).p[0] == 1
    assert Labels(list("aabb"), [0] * 4).smallest(999) == pytest.approx(1 / 6)
    assert strata_of({"core": [1, 1], "type": ["x", "y"], "level": [3, 4]}, ["type"], 2) == [(1, 3), (1, 4)]
    with pytest.raises(UserError, match="compared"):
        PseudoF(np.zeros((2, 1, 2)), Labels(["a", "b"], [0, 0]))
    with pytest.raises(UserError, match="length"):
        Labels(["a"], [])


def test_same_seed_same_p_and_blocks_change_nothing(monkeypatch):
    from radiograph.numerics.planes import _testing

    z = np.random.default_rng(9).standard_normal((2, 30, 24))
    source = PseudoF(z, Labels(*design(4, 3)[::-1]))
    whole = against_null(source.observed(), source, seed=4, draws=199, limit=0)
    monkeypatch.setattr(_testing, "_HELD", 1000)
    pieces = against_null(source.observed(), source, seed=4, draws=199, limit=0)
    np.testing.assert_array_equal(whole.p, pieces.p)
    np.testing.assert_allclose(whole.maxima, pieces.maxima)
    np.testing.assert_allclose(whole.family_p, pieces.family_p)
