"""Direct, proxy, low similarity, none: on both sides of what chance finds."""

from __future__ import annotations

import numpy as np
import pytest

from radiograph.explanations import LabelSource, label_features
from radiograph.numerics import chance_cosine

WIDTH = 64


def source(**texts):
    found = {int(k[1:]): [{"description": v}] if v else [] for k, v in texts.items()}
    return LabelSource("test", "cache_only", "0" * 64, found)


def decoder(rows, *placed, seed=0):
    """Random directions; each (row, other, cosine) puts a row at that cosine to another."""
    found = np.random.default_rng(seed).normal(size=(rows, WIDTH))
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    for row, other, cosine in placed:
        away = found[row] - (found[row] @ found[other]) * found[other]
        away /= np.linalg.norm(away)
        found[row] = cosine * found[other] + np.sqrt(1 - cosine**2) * away
    return found


def labelled(features, rows, labels, seed=99):
    return label_features(features, rows, labels, seed=seed)


def test_an_own_explanation_is_direct():
    found = labelled([3, 3, 4], decoder(8), source(f3="the text", f4=""))
    assert found.of[3].kind == "direct" and found.of[3].explanation.text == "the text" and found.of[3].asked
    assert found.of[4].kind != "direct" and found.of[4].asked


@pytest.mark.parametrize(("above", "kind"), [(0.02, "proxy"), (-0.02, "low_similarity")])
def test_a_proxy_must_beat_what_chance_finds(above, kind):
    """D11, with many explained rows: the null lies above .3 and decides."""
    rows = decoder(513)
    texts = {f"f{i}": f"text {i}" for i in range(512)}
    explained = np.arange(513) < 512
    chance = chance_cosine(rows, explained, seed=99)
    assert chance > 0.4
    for other in range(512):  # far enough from every other one that the placed row is the nearest
        rows = decoder(513, (512, other, chance + above))
        if (rows[512] @ rows[:512].T).argsort()[-1] == other and (rows[512] @ rows[:512].T).max() < chance + 0.021:
            break
    found = labelled([512], rows, source(**texts))
    label = found.of[512]
    assert label.kind == kind and label.cosine == pytest.approx(chance + above, abs=0.01)
    assert (label.proxy.text if label.proxy else None) == (f"text {other}" if kind == "proxy" else None)
    assert label.neighbours[0].feature_idx == other and len(label.neighbours) == 3


def test_a_neighbour_at_35_in_64_dimensions_is_low_similarity():
    """D11."""
    rows = decoder(300, (299, 7, 0.35), seed=3)
    found = labelled([299], rows, source(**{f"f{i}": "t" for i in range(299)}))
    assert found.of[299].kind == "low_similarity" and found.of[299].proxy is None
    assert found.null_q95 > found.of[299].cosine


def test_few_explained_rows_still_need_a_cosine_of_30():
    rows = np.eye(WIDTH)
    rows[1, :2], rows[2, [0, 2]] = (0.31, np.sqrt(1 - 0.31**2)), (0.29, np.sqrt(1 - 0.29**2))
    rows[3, [0, 3]] = (0.1, np.sqrt(1 - 0.1**2))
    found = labelled([1, 2, 3, 4], rows, source(f0="the text"))
    assert [found.of[f].kind for f in (1, 2, 3, 4)] == ["proxy", "low_similarity", "none", "none"]
    assert found.of[1].proxy.text == "the text" and found.of[1].neighbours[0].cosine == pytest.approx(0.31)


def test_a_feature_is_never_its_own_proxy_and_dead_rows_are_nobodys():
    rows = np.vstack([np.eye(WIDTH)[:2], np.zeros((1, WIDTH))])
    found = labelled([0, 2], rows, source(f0="", f1="text", f2=""))
    assert found.of[0].kind == "none" and found.of[2].kind == "none"


def test_without_labels_everything_is_none_and_nothing_was_asked():
    found = labelled([1, 2, 2], decoder(4), LabelSource("none", "none", None))
    counted = found.coverage([1, 2, 2])
    assert (counted.none, counted.never_asked, counted.null_q95, counted.cosine_median) == (2, 2, None, None)


def test_coverage_counts_distinct_features():
    rows = np.eye(WIDTH)
    rows[1, :2] = (0.6, 0.8)
    found = labelled([0, 1, 5], rows, source(f0="a", f5=""))
    counted = found.coverage([0, 0, 0, 1, 5, 5])
    assert (counted.shown, counted.distinct, counted.n_effective) == (6, 3, 3)
    assert (counted.direct, counted.proxy, counted.low_similarity, counted.none) == (1, 1, 0, 1)
    assert counted.never_asked == 1 and counted.cosine_median == counted.cosine_min == pytest.approx(0.6)


def test_labels_of_features_that_do_not_exist_are_left_out():
    assert labelled([0], decoder(2), source(f0="a", f99="b")).of[0].kind == "direct"
