"""The score: what held-out labels say of it, and that damage never lowers it."""

from __future__ import annotations

import numpy as np
import pytest

from radiograph.core import UserError
from radiograph.numerics.repetition import FEATURES, fit, reliability, roc_area, text_metrics, threshold_at
from radiograph.store.collapse import labelled_set, shipped_facts, shipped_score


def test_r14_held_out_labels() -> None:
    facts = shipped_facts()
    fine = facts["rows"] - facts["collapsed"]
    assert facts["rows"] >= 400
    assert facts["roc"] >= 0.95
    assert facts["false_alarms"] <= 0.05 + 2 * (0.05 * 0.95 / fine) ** 0.5
    assert facts["hard_false_alarms"] <= 0.10


def test_r14_never_falls_as_a_loop_grows() -> None:
    score = shipped_score()
    passages = [row.text for row in labelled_set() if row.source == "healthy"][:12]
    for text in passages:
        words = text.split()
        prefix, unit = words[:20], words[20:28]
        values = [score.judge(" ".join([*prefix, *(unit * times)])).score or 0.0 for times in (2, 3, 4, 6, 9, 14)]
        assert values == sorted(values)
        assert values[-1] > score.threshold


def test_weights_are_not_negative_and_more_damage_never_lowers_the_score() -> None:
    assert all(weight >= 0 for weight in shipped_score().weights.values())


def test_kinds_and_what_is_not_scored() -> None:
    score = shipped_score()
    assert score.judge("").kind == "empty"
    assert score.judge("too short").score is None
    assert score.judge("too short").collapsed is None
    assert score.judge("no no no no no no no no no no no no").kind == "loop"
    assert score.judge("#!@ $%^ &*( )_+ |}{ :?> <,. /;' []= -~`").kind == "symbols"
    assert score.judge("xq wzv kjh pqr tvx bnq zzk wqp lkj xcv mnb qwz").kind == "salad"
    fine = "The ferry leaves at nine, and whoever misses it has an hour to look at the harbour and the gulls."
    assert score.judge(fine).collapsed is False


def test_nll_outside_the_band_raises_the_score_on_either_side_or_leaves_it() -> None:
    score = shipped_score()
    text = labelled_set()[0].text
    metrics = text_metrics(text)
    usual = score.features(text, metrics, 0.0)
    assert score.features(text, metrics, None) == usual
    assert score.features(text, metrics, 12.0)["nll_high"] > 0 == usual["nll_high"]
    assert score.features(text, metrics, -12.0)["nll_low"] > 0 == usual["nll_low"]


def test_the_shipped_set_is_what_the_document_says() -> None:
    rows = labelled_set()
    assert len(rows) >= 400
    assert sum(row.source.startswith("model:") for row in rows) >= 120
    assert len({row.text for row in rows}) >= 0.98 * len(rows)


def _planted(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    table = rng.random((n, len(FEATURES)))
    logit = 8 * table[:, 0] + 4 * table[:, 3] - 6
    return table, rng.random(n) < 1 / (1 + np.exp(-logit)), [str(k // 2) for k in range(n)]


def test_planted_weights_are_found_and_others_stay_small() -> None:
    found = fit(*_planted(4000, 0))
    values = list(found.weights.values())
    assert values[0] == pytest.approx(8, abs=1.2)
    assert values[3] == pytest.approx(4, abs=0.8)
    assert max(v for k, v in enumerate(values) if k not in (0, 3)) < 0.7


def test_labels_without_content_have_an_area_of_one_half() -> None:
    areas = []
    for seed in range(30):
        table, _, groups = _planted(200, seed)
        labels = np.random.default_rng(seed).permutation(np.arange(200) % 2 == 0)
        areas.append(fit(table, labels, groups, folds=5).roc)
    assert abs(np.mean(areas) - 0.5) < 0.04


def test_the_threshold_keeps_false_alarms() -> None:
    scores = np.random.default_rng(0).random(400)
    cut = threshold_at(scores, 0.05)
    assert (scores >= cut).mean() <= 0.05
    assert threshold_at(scores / 10, 0.05) == 0.5


def test_roc_area_is_the_share_of_pairs() -> None:
    rng = np.random.default_rng(3)
    scores, labels = rng.integers(0, 6, 40).astype(float), rng.random(40) < 0.4
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[labels] for b in scores[~labels]]
    assert roc_area(scores, labels) == pytest.approx(np.mean(pairs))


def test_reliability_counts_every_row() -> None:
    scores = np.linspace(0, 1, 101)
    assert sum(row["n"] for row in reliability(scores, scores > 0.5)) == 101


def test_too_few_labels_are_refused() -> None:
    table, labels, groups = _planted(30, 0)
    with pytest.raises(UserError, match="too few"):
        fit(table, labels, groups)
