"""Agreement, groups, halves and surface baselines against slow, obvious second derivations."""

from __future__ import annotations

import math
import random
from itertools import combinations

import numpy as np
import pytest

from radiograph.core import UserError
from radiograph.numerics.criteria import (
    auroc,
    discover_half,
    kappa,
    length_auroc,
    near_clusters,
    surface_aurocs,
    text_key,
    text_keys,
    united,
    word_auroc,
)
from radiograph.numerics.traces import clusters


@pytest.mark.parametrize(
    ("table", "value"),
    [((20, 5, 10, 15), 0.4), ((45, 15, 25, 15), 0.1304), ((10, 0, 0, 10), 1.0), ((0, 10, 10, 0), -1.0)],
)
def test_kappa_by_hand(table, value):
    found = kappa(*table)
    assert found is not None
    assert found.value == pytest.approx(value, abs=5e-5)
    assert found.low < found.value or value == -1
    assert found.low < found.high, "never a zero-width interval"
    assert found.n == sum(table)


def test_kappa_of_one_label_is_nothing():
    assert kappa(10, 0, 0, 0) is None
    assert kappa(0, 0, 0, 10) is None
    assert kappa(5, 5, 0, 0) is not None
    with pytest.raises(UserError):
        kappa(0, 0, 0, 0)


def test_kappa_ignores_which_class_and_who_is_first():
    for same in (kappa(15, 10, 5, 20), kappa(20, 10, 5, 15)):
        assert same == pytest.approx(kappa(20, 5, 10, 15))


def test_the_interval_of_kappa_covers():
    luck = np.random.default_rng(0)
    for truth, rate in ((0.0, 0.5), (0.6, 0.4), (0.9, 0.5), (0.97, 0.35)):
        same = rate * (1 - rate) * truth
        cells = [rate**2 + same, rate * (1 - rate) - same, rate * (1 - rate) - same, (1 - rate) ** 2 + same]
        found = [kappa(*map(int, draw)) for draw in luck.multinomial(120, cells, size=150)]
        hit = np.mean([k is not None and k.low <= truth <= k.high for k in found])
        assert hit >= 0.92, (truth, rate, hit)


def slow_groups(columns):
    n = len(columns[0])
    group = list(range(n))
    for i, j in combinations(range(n), 2):
        if any(c[i] is not None and c[i] == c[j] for c in columns):
            group = [group[i] if g == group[j] else g for g in group]
    seen: dict[int, int] = {}
    return [seen.setdefault(g, len(seen)) for g in group]


def test_united_agrees_with_joining_one_by_one():
    luck = random.Random(0)
    for _ in range(40):
        n = luck.randint(1, 25)
        columns = [
            [luck.choice([None, *range(luck.randint(1, 30))]) for _ in range(n)] for _ in range(luck.randint(1, 3))
        ]
        assert united(columns).tolist() == slow_groups(columns)


def test_none_joins_nobody_and_columns_do_not_mix():
    assert united([[None, None, 1], [1, 2, None]]).tolist() == [0, 1, 2]


def jaccard(a: str, b: str) -> float:
    one, two = ({t[i : i + 5] for i in range(max(1, len(t) - 4))} for t in (a, b))
    return len(one & two) / len(one | two)


def some_texts(luck: random.Random) -> list[str]:
    bases = ["".join(luck.choices("abcd ", k=luck.randint(0, 40))) for _ in range(4)]

    def changed(text: str) -> str:
        letters = list(text)
        for _ in range(luck.randint(0, 3)):
            if letters:
                letters[luck.randrange(len(letters))] = luck.choice("abcd ")
        return "".join(letters)

    return [changed(luck.choice(bases)) for _ in range(luck.randint(1, 30))]


def test_near_clusters_agree_with_every_pair_compared():
    luck = random.Random(1)
    for _ in range(40):
        texts = some_texts(luck)
        n = len(texts)
        pairs = [(i, j) for i, j in combinations(range(n), 2) if jaccard(texts[i], texts[j]) >= 0.8]
        joined = [[i if k in (i, j) else None for k in range(n)] for i, j in pairs] or [list(range(n))]
        assert near_clusters(texts).tolist() == slow_groups(joined)
        assert near_clusters(texts).tolist() == clusters(texts).tolist()


@pytest.mark.parametrize("work", [1, 50, 5000])
def test_blocks_change_nothing(monkeypatch, work):
    luck = random.Random(2)
    texts = [t for _ in range(8) for t in some_texts(luck)]
    whole = near_clusters(texts).tolist()
    monkeypatch.setattr("radiograph.numerics.criteria.similar._WORK", work)
    assert near_clusters(texts).tolist() == whole


def test_the_order_of_texts_changes_no_cluster():
    luck = random.Random(3)
    texts = [t for _ in range(5) for t in some_texts(luck)]
    order = luck.sample(range(len(texts)), len(texts))
    whole, mixed = near_clusters(texts), near_clusters([texts[i] for i in order])
    assert united([mixed.tolist()]).tolist() == united([whole[order].tolist()]).tolist()


def test_no_texts_are_no_clusters():
    assert near_clusters([]).tolist() == []


@pytest.mark.parametrize(("one", "two"), [("It is 5 m", "it  IS 12 m"), ("ﬁve\n", "five"), ("9", "10")])
def test_text_key_folds_case_blanks_and_digits(one, two):
    assert text_key(one) == text_key(two)


def test_keys_of_many_texts_are_those_of_each():
    texts = ["Ten  10 METRES", None, "", "ﬁve\tkm", "ﬁve\nkm 2", "é", "e", "\u0301x", "ΣΑΣ", "9" * 3, " 8 "]
    for given in (texts, [*texts, "a\0b"], [], [None]):
        assert text_keys(given) == [None if text is None else text_key(text) for text in given]


def test_text_key_keeps_words_apart():
    assert text_key("5 metres") != text_key("5 miles")


def test_halves_cut_each_stratum_and_the_whole():
    luck = np.random.default_rng(0)
    for share in (0.5, 0.3):
        strata = luck.integers(0, 30, 173)
        keys = luck.permutation(173).astype(np.int64)
        half = discover_half(strata, keys, share)
        assert half.sum() == math.floor(share * 173 + 0.5)
        for stratum in range(30):
            own = strata == stratum
            assert abs(half[own].sum() - share * own.sum()) <= 1
            chosen, rest = keys[own & half], keys[own & ~half]
            assert not len(chosen) or not len(rest) or chosen.max() < rest.min()
        order = luck.permutation(173)
        assert (discover_half(strata[order], keys[order], share) == half[order]).all()


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_that_is_none(share):
    with pytest.raises(UserError):
        discover_half(np.zeros(3, dtype=np.int64), np.arange(3), share)


def slow_auroc(scores, labels):
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[labels] for b in scores[~labels]]
    return sum(pairs) / len(pairs)


def test_auroc_agrees_with_all_pairs():
    luck = np.random.default_rng(0)
    for _ in range(10):
        scores = luck.integers(-3, 4, 30).astype(float)
        labels = np.array([True, False, *(luck.random(28) < 0.4)])
        assert auroc(scores, labels) == pytest.approx(slow_auroc(scores, labels), abs=1e-12)


def slow_words(texts, labels, first):
    """Naive Bayes row by row, words counted one by one."""
    found, pairs = [], []
    vocabulary = {w for t in texts for w in t}
    for half in (True, False):
        seen = {c: dict.fromkeys(vocabulary, 1) for c in (True, False)}
        for text, label, own in zip(texts, labels, first, strict=True):
            if own != half:
                for word in text:
                    seen[bool(label)][word] += 1
        total = {c: sum(seen[c].values()) for c in seen}
        held = [i for i in range(len(texts)) if first[i] == half]
        score = np.array(
            [sum(math.log(seen[True][w] / total[True] * total[False] / seen[False][w]) for w in texts[i]) for i in held]
        )
        own = labels[held]
        found.append(slow_auroc(score.round(10), own))
        pairs.append(own.sum() * (~own).sum())
    return np.average(found, weights=pairs)


def test_word_auroc_agrees_with_counting_by_hand():
    luck = np.random.default_rng(1)
    for _ in range(20):
        texts = [list(luck.choice(list("abcdef"), luck.integers(0, 6))) for _ in range(24)]
        labels, first = luck.random(24) < 0.5, np.arange(24) % 2 == 0
        if min(labels[first].sum(), (~labels[first]).sum(), labels[~first].sum(), (~labels[~first]).sum()) == 0:
            continue
        assert word_auroc(texts, labels, first) == pytest.approx(slow_words(texts, labels, first), abs=0.02)


def test_a_word_that_gives_the_label_away_is_found_and_length_too():
    labels = np.arange(200) % 2 == 0
    first = np.arange(200) % 4 < 2
    luck = np.random.default_rng(0)
    texts = [["the", *("metres" if label else "stones",), str(luck.integers(9))] for label in labels]
    lengths = np.where(labels, 20.0, 10.0) + luck.normal(size=200)
    found = surface_aurocs(texts, lengths, labels, first)
    assert found == (1.0, 1.0)
    assert length_auroc(-lengths, labels, first) == 1.0, "the direction is learned"


def test_the_baselines_are_at_chance_on_noise():
    luck = np.random.default_rng(0)
    lengths, by_words = [], []
    for _ in range(60):
        labels, first = luck.random(80) < 0.5, luck.random(80) < 0.5
        texts = [list(luck.choice(list("abcdefghij"), 8)) for _ in labels]
        found = surface_aurocs(texts, luck.normal(size=80), labels, first)
        lengths.append(found.length)
        by_words.append(found.words)
    assert abs(np.mean(lengths) - 0.5) < 0.03
    assert abs(np.mean(by_words) - 0.5) < 0.03


@pytest.mark.slow
def test_noise_is_rarely_called_a_surface_label():
    luck = np.random.default_rng(0)
    vocabulary = [f"w{i}" for i in range(400)]
    for n, allowed in ((32, 0.03), (64, 0.005), (120, 0.0)):
        called = 0
        for _ in range(400):
            labels, first = np.arange(n) % 2 == 0, luck.permutation(np.arange(n) % 4 < 2)
            texts = [list(luck.choice(vocabulary, 10)) for _ in range(n)]
            found = surface_aurocs(texts, luck.normal(size=n).round(1), labels, first)
            called += (found.length or 0) >= 0.75 or (found.words or 0) >= 0.95
        assert called / 400 <= allowed, (n, called)


def test_a_half_without_a_class_is_not_measured():
    labels = np.array([True, True, False, True])
    first = np.array([True, True, False, False])
    assert surface_aurocs([["a"]] * 4, np.ones(4), labels, first) == (None, None)
