"""Balance, confounds, wording and near duplicates against slower ways and hand-made designs."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from radiograph.core import UserError
from radiograph.numerics.design import (
    COVARIATES,
    NEAR,
    Labelling,
    association,
    covariates,
    cramers_v,
    cross,
    eta_squared,
    folded,
    near_duplicates,
    wording_leak,
    words,
)

WORDS = [f"{a}{b}" for a, b in itertools.product("bdfgklmnprst", ("ane", "ile", "ock", "ush", "eam", "ind"))]


def counted(text: str) -> dict[str, int]:
    return dict(zip(COVARIATES, map(int, covariates([text])[0]), strict=True))


def alone(labels, strata=None) -> Labelling:
    """Every row by itself, in one stratum unless told."""
    return Labelling(labels, [0] * len(labels) if strata is None else strata, range(len(labels)))


class TestTexts:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("How far is it?", (14, 4, 1, 1, 0)),
            ("No end", (6, 2, 1, 0, 0)),
            ("It is 3.5 m. Go! (Now.)", (23, 7, 3, 6, 2)),
            ("don't re-read it…", (17, 3, 1, 3, 0)),
            ("¿Qué? 東京は。", (10, 2, 2, 3, 0)),
            ("", (0, 0, 1, 0, 0)),
        ],
    )
    def test_counts_by_hand(self, text, expected):
        assert counted(text) == dict(zip(COVARIATES, expected, strict=True))

    def test_no_texts_are_no_rows(self):
        assert covariates([]).shape == (0, len(COVARIATES))

    def test_folding(self):
        assert folded("  How\n FAR\tis ﬁve ") == "how far is five"
        assert words("Don't SHOUT, re-read!") == ["don't", "shout", "re-read"]

    @pytest.mark.parametrize("threshold", [0.5, NEAR, 0.9])
    def test_near_duplicates_agree_with_comparing_every_pair(self, threshold):
        generator = random.Random(0)
        texts = [" ".join(generator.choices(WORDS[:12], k=generator.randint(1, 9))) for _ in range(60)]
        texts += [text[:-1] for text in texts[:20]] + [text + "." for text in texts[:20]] + ["", "ab", "AB", "abc"]

        def grams(text):
            text = folded(text)
            return {text[i : i + 5] for i in range(max(1, len(text) - 4))}

        slow = {}
        for (i, a), (j, b) in itertools.combinations(enumerate(map(grams, texts)), 2):
            if len(a & b) / len(a | b) > threshold:
                slow[i, j] = len(a & b) / len(a | b)
        found = near_duplicates(texts, threshold)
        assert {(i, j): s for i, j, s in found} == pytest.approx(slow)
        assert len(slow) > 10
        assert [s for *_, s in found] == sorted((s for *_, s in found), reverse=True)


class TestCross:
    def test_a_full_cross_is_balanced(self):
        found = cross(list(itertools.product("abc", "xy", [1, 2])) * 3)
        assert (found.n, found.cells, found.empty, found.fewest, found.most) == (36, 12, 0, 3, 3)
        assert set(found.v.values()) == {0.0}
        assert not found.nested

    def test_missing_cells_are_named(self):
        found = cross([("a", 1), ("a", 2), ("b", 1)])
        assert (found.empty, found.fewest, found.missing(5)) == (1, 0, [("b", 2)])
        assert found.missing(0) == []

    def test_v_agrees_with_scipy(self):
        generator = np.random.default_rng(0)
        for _ in range(20):
            left = generator.integers(0, 4, 80)
            right = (left + generator.integers(0, 3, 80)) % 5
            table = stats.contingency.crosstab(left, right).count
            assert cramers_v(left.tolist(), right.tolist()) == pytest.approx(stats.contingency.association(table))

    def test_nested_is_not_crossed_but_aliased_is(self):
        towns = [("Aren", "north"), ("Bolt", "north"), ("Corin", "south")]
        assert cross(towns * 2).nested
        assert cross([town[::-1] for town in towns]).nested
        aliased = cross([("a", 1), ("b", 2)] * 3)
        assert not aliased.nested
        assert (aliased.empty, aliased.v[0, 1]) == (2, 1.0)

    @pytest.mark.parametrize("rows", [[], [("a", 1)], [("a", 1), ("b", 1)]])
    def test_nothing_to_cross(self, rows):
        assert cross(rows) is None


class TestConfounds:
    def test_eta_squared_agrees_with_the_analysis_of_variance(self):
        generator = np.random.default_rng(1)
        for levels in (2, 3, 7):
            labels = np.tile(np.arange(levels), 12)
            values = generator.standard_normal((len(labels), 3)) + 0.3 * labels[:, None]
            groups = [values[labels == k] for k in range(levels)]
            f = stats.f_oneway(*groups).statistic
            expected = f * (levels - 1) / (f * (levels - 1) + len(labels) - levels)
            assert [share for share, _ in eta_squared(values, alone(labels.tolist()), seed=0)] == pytest.approx(
                expected
            )

    def test_p_agrees_with_every_permutation(self):
        """Six rows of three against three: 20 arrangements, so the exact p is known."""
        values, labels = np.array([[1.0], [2.0], [4.0], [3.0], [6.0], [9.0]]), [0, 0, 0, 1, 1, 1]

        def between(chosen):
            inside = values[list(chosen), 0].mean() - values.mean()
            return inside**2

        arrangements = [between(c) for c in itertools.combinations(range(6), 3)]
        exact = np.mean([b >= between((0, 1, 2)) - 1e-12 for b in arrangements])
        assert eta_squared(values, alone(labels), seed=0, permutations=20_000)[0][1] == pytest.approx(exact, abs=0.01)

    def test_p_of_an_association_agrees_with_every_permutation(self):
        names, labels = list("aaabbc"), [0, 0, 0, 1, 1, 1]
        observed = cramers_v(names, labels)
        every = [cramers_v(names, [int(i in c) for i in range(6)]) for c in itertools.combinations(range(6), 3)]
        exact = np.mean([v >= observed - 1e-9 for v in every])
        assert association(names, alone(labels), seed=0, permutations=5_000)[1] == pytest.approx(exact, abs=0.02)

    def test_under_the_null_p_is_rarely_small(self):
        small = 0
        for seed in range(300):
            values = np.random.default_rng(seed).standard_normal((24, 1))
            small += eta_squared(values, alone([0, 1, 2] * 8), seed=seed, permutations=99)[0][1] <= 0.05
        assert small / 300 <= 0.05 + 2 * (0.05 * 0.95 / 300) ** 0.5

    def test_what_differs_between_cores_alone_is_no_confound(self):
        """Length goes with the core, and the factor does too, by accident; inside cores there is nothing."""
        cores = ["long"] * 10 + ["short"] * 10
        labels = [1] * 8 + [0] * 2 + [1] * 2 + [0] * 8
        values = np.array([[100.0 + i % 2] for i in range(10)] + [[10.0 + i % 2] for i in range(10)])
        (share, within), (_, free) = (eta_squared(values, alone(labels, s), seed=0)[0] for s in (cores, None))
        assert share > 0.3
        assert within > 0.1
        assert free < 0.05

    def test_paraphrases_are_not_independent(self):
        """Two groups of ten copies: one difference, not twenty rows of evidence."""
        labels, values = [0] * 10 + [1] * 10, np.array([[1.0]] * 10 + [[2.0]] * 10)
        grouped = Labelling(labels, [0] * 20, ["a"] * 10 + ["b"] * 10)
        assert eta_squared(values, grouped, seed=0)[0] == (1.0, 1.0)
        assert eta_squared(values, alone(labels), seed=0)[0][1] < 0.01

    def test_a_factor_that_is_constant_inside_strata_is_not_tested(self):
        labelling = alone([0, 0, 1, 1], ["a", "a", "b", "b"])
        assert not labelling.movable
        assert eta_squared(np.array([[1.0], [1], [2], [2]]), labelling, seed=0) == [(1.0, None)]
        assert association("xxyy", labelling, seed=0) == (1.0, None)

    def test_a_covariate_that_does_not_vary_explains_nothing(self):
        assert eta_squared(np.ones((6, 1)), alone([0, 1] * 3), seed=0) == [(0.0, 1.0)]

    def test_chunks_and_order_of_rows_change_no_share(self, monkeypatch):
        from radiograph.numerics.design import confounds

        values, labels = np.random.default_rng(0).standard_normal((40, 2)), [0, 1] * 20
        whole = eta_squared(values, alone(labels), seed=3)
        assert whole == eta_squared(values, alone(labels), seed=3)
        monkeypatch.setattr(confounds, "_CHUNK", 40)
        assert [s for s, _ in eta_squared(values, alone(labels), seed=3)] == [s for s, _ in whole]

    def test_permuted_labels_stay_in_their_stratum(self):
        strata = [random.Random(0).randrange(3) for _ in range(30)]
        labelling = Labelling([i % 4 for i in range(30)], strata, range(30))
        for chunk in labelling.permuted(50, seed=0):
            for labels in chunk:
                rows = labels[labelling.blocks]
                for stratum in range(3):
                    here = [i for i in range(30) if strata[i] == stratum]
                    assert Counter(rows[here].tolist()) == Counter(labelling.codes[here].tolist())

    def test_values_must_be_finite(self):
        with pytest.raises(UserError, match="not finite"):
            eta_squared(np.array([[np.nan], [1.0]]), alone([0, 1]), seed=0)


class TestWording:
    CORES, LEVELS, VARIANTS = 6, 3, 3

    def design(self, mark):
        generator = random.Random(0)
        rows = list(itertools.product(range(self.CORES), range(self.LEVELS), range(self.VARIANTS)))
        texts = [generator.choices(WORDS, k=8) + ([f"mark{level}"] if mark else []) for _, level, _ in rows]
        return texts, Labelling([level for _, level, _ in rows], [core for core, *_ in rows], range(len(rows)))

    def test_a_planted_word_is_found_and_named(self):
        leak = wording_leak(*self.design(mark=True), seed=0)
        assert leak.leaks
        assert leak.accuracy > 0.9
        assert set(leak.words[:3]) == {"mark0", "mark1", "mark2"}
        assert (leak.chance, leak.n) == (pytest.approx(1 / 3), 54)

    def test_random_words_do_not_leak(self):
        leak = wording_leak(*self.design(mark=False), seed=0)
        assert not leak.leaks
        assert leak.accuracy < 0.6

    def test_accuracy_agrees_with_a_plain_naive_bayes(self):
        texts, labelling = self.design(mark=True)
        texts = [text[:3] + text[-1:] * (i % 2) for i, text in enumerate(texts)]
        labels, cores = list(labelling.labels), list(labelling.strata)
        spread = {w: {c for t, c in zip(texts, cores, strict=True) if w in t} for t in texts for w in t}
        vocabulary = {w for w, own in spread.items() if len(own) > 1}
        right = Counter()
        for text, label, core in zip(texts, labels, cores, strict=True):
            rest = [(t, k) for t, k, c in zip(texts, labels, cores, strict=True) if c != core]
            scores = {}
            for k in sorted(set(labels)):
                spoken = Counter(w for t, own in rest if own == k for w in t if w in vocabulary)
                size = spoken.total() + len(vocabulary)
                scores[k] = np.log(sum(own == k for _, own in rest))
                scores[k] += sum(np.log((spoken[w] + 1) / size) for w in text if w in vocabulary)
            right[label] += max(scores, key=scores.get) == label
        expected = np.mean([right[k] / labels.count(k) for k in set(labels)])
        assert wording_leak(texts, labelling, seed=0).accuracy == pytest.approx(expected)

    def test_needs_two_cores_two_labels_and_shared_words(self):
        assert wording_leak([["a", "b"]] * 4, alone([0, 1, 0, 1]), seed=0) is None
        assert wording_leak([["a", "b"]] * 4, alone([0] * 4, [0, 0, 1, 1]), seed=0) is None
        assert wording_leak([["a"], ["b"], ["c"], ["d"]], alone([0, 1, 0, 1], [0, 0, 1, 1]), seed=0) is None
