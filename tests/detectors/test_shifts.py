"""Scores of a suite against a short recomputation from tables, and the traps that they must not fall into."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from radiograph.core import Refusal, Site
from radiograph.detectors import FeatureSettings, score_record, silent_score, tables
from radiograph.detectors._shifts import METHODS, FeatureShifts
from radiograph.detectors.measure._encoding import site_rows
from radiograph.evidence import RandomControl
from radiograph.numerics import NeutralDrift


def shifts(reference, candidate, *, groups=None, neutral=None, distinct=None, sd=None, **settings):
    rows, features = reference.shape
    ids = tuple(f"p{i}" for i in range(rows))
    return FeatureShifts(
        settings=FeatureSettings(**settings),
        ids=ids,
        groups=tuple(groups or ids),
        reference=reference,
        candidate=candidate,
        n_tokens=np.full(rows, 5),
        missed=np.full(rows, 1.0),
        moved=np.full(rows, 4.0),
        neutral=neutral,
        sd=np.ones(features) if sd is None else sd,
        density=np.full(features, 0.5),
        control=RandomControl(scores=(), share_outside=(), l0=1.0),
        distinct=np.arange(rows) if distinct is None else np.array(distinct),
        seed=0,
    )


def random(rows, features, seed):
    rng = np.random.default_rng(seed)
    return np.round(np.maximum(rng.normal(size=(2, rows, features)), 0), 1)


def by_hand(table, method, k, how, groups, mu):
    """The definition, straight from `feature_shift` rows; no shared code."""
    names = list(dict.fromkeys(table["prompt"]))
    width = max(table["feature"]) + 1
    d = {n: [0.0] * width for n in names}
    for n, f, a, b in zip(*(table[c] for c in ("prompt", "feature", "reference", "candidate")), strict=True):
        d[n][f] = b - a
    scores, lists = {}, {}
    for n in names:
        if method == "abs_diff_topk":
            drift = [0.0] * width
        elif method == "neutral_drift":
            drift = mu
        else:
            own = () if method == "abs_diff_topk_drift_corrected" else [m for m in names if groups[m] == groups[n]]
            rest = [m for m in names if m not in own]
            drift = [sum(d[m][j] for m in rest) / len(rest) for j in range(width)]
        c = [d[n][j] - drift[j] for j in range(width)]
        lists[n] = sorted(range(width), key=lambda j: (-abs(c[j]), j))[:k]
        scores[n] = sum(abs(c[j]) for j in lists[n])
    values = [scores[n] for n in names]
    return (max(values) if how == "max" else sum(values) / len(values)), scores, lists


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("how", ["mean", "max"])
def test_scores_equal_a_recomputation_from_the_table(method, how):
    for seed in range(6):
        ours, theirs = random(7, 12, seed)
        groups = ["a", "a", "b", "b", "c", "d", "d"]
        mu = np.random.default_rng(seed).normal(size=12)
        found = shifts(
            ours,
            theirs,
            groups=groups,
            neutral=NeutralDrift(mu, 64),
            method=method,
            aggregate=how,
            k=(1, 4, 12, 50)[seed % 4],
        )
        from radiograph.detectors._tables import shift_table

        table = shift_table(found)
        names = dict(zip(found.ids, groups, strict=True))
        total, each, lists = by_hand(table, method, found.settings.k, how, names, mu.tolist())
        record = score_record(found)
        assert record.aggregate_score == pytest.approx(total, rel=1e-9)
        assert {p.id: p.score for p in record.prompt_scores} == pytest.approx(each, rel=1e-9)
        if method == "abs_diff_topk":  # sums of other drifts round differently, so ties may fall either way
            assert {p.id: [f.feature_idx for f in p.top_diffs] for p in record.prompt_scores} == {
                n: row[:10] for n, row in lists.items()
            }


def test_the_record_says_what_was_measured():
    ours, theirs = random(4, 6, 1)
    record = score_record(shifts(ours, theirs, k=3))
    assert (record.score_method, record.score_method_executed, record.k) == ("abs_diff_topk", "abs_diff_topk", 3)
    top = record.prompt_scores[0].top_diffs[0]
    assert top.diff == top.candidate_activation - top.reference_activation
    assert top.direction == ("up" if top.diff > 0 else "down")
    assert [m.method for m in record.methods] == list(METHODS)
    assert record.share_outside.value == 0.25


def test_one_spike_among_five_stays_whole_outside_the_suite():
    """D6: the suite mean writes a fifth of it onto the others; a neutral bank writes nothing."""
    ours, theirs = np.zeros((2, 5, 3))
    theirs[2, 1] = 5.0
    spiked = shifts(ours, theirs, neutral=NeutralDrift(np.zeros(3), 64))
    assert spiked.method("neutral_drift").prompt_scores.tolist() == [0, 0, 5, 0, 0]
    assert spiked.method("abs_diff_topk_drift_corrected").prompt_scores.tolist() == [1, 1, 4, 1, 1]


@pytest.mark.parametrize(
    ("method", "code"),
    [
        ("neutral_drift", "no_neutral_bank"),
        ("leave_group_out", "no_groups"),
        ("abs_diff_topk_drift_corrected", "one_prompt"),
    ],
)
def test_a_method_that_cannot_run_gives_no_number(method, code):
    """D5: no other method's number stands in for it, and the others keep theirs."""
    ours, theirs = random(1, 6, 2)
    found = shifts(ours, theirs, method=method)
    record = score_record(found)
    assert (record.status, record.score_method_executed, record.aggregate_score) == ("not_measured", None, None)
    assert record.reason.startswith(code) and record.prompt_scores == ()
    measured = {m.method: m.aggregate for m in record.methods}
    assert measured[method] is None and measured["abs_diff_topk"] == found.method("abs_diff_topk").score
    with pytest.raises(Refusal):
        found.estimate(method)


def test_asking_again_adds_no_evidence():
    """D2: ten copies of every prompt leave n, score and interval of one."""
    ours, theirs = random(6, 8, 3)
    once = shifts(ours, theirs)
    again = shifts(np.tile(ours, (10, 1)), np.tile(theirs, (10, 1)), distinct=list(range(6)) * 10)
    a, b = score_record(once), score_record(again)
    assert a.n_effective == b.n_effective == 6
    assert a.aggregate_score == pytest.approx(b.aggregate_score)
    for one, ten in (
        (once.estimate("abs_diff_topk"), again.estimate("abs_diff_topk")),
        (a.share_outside, b.share_outside),
    ):
        assert one.n == ten.n
        assert (one.low, one.high) == pytest.approx((ten.low, ten.high))


def test_units_of_a_feature_do_not_matter_in_standard_deviations(measurement):
    """D9: a live feature rescaled by 1000 keeps its place; raw codes would put it first."""
    found = measurement.features
    feature = int(np.argsort(-found.sd)[5])
    scale = np.ones(len(found.sd))
    scale[feature] = 1000.0
    scaled = replace(
        found,
        reference=found.reference * scale,
        candidate=found.candidate * scale,
        sd=found.sd * scale,
        neutral=NeutralDrift(found.neutral.mean * scale, found.neutral.prompts),
    )
    for method in METHODS:
        before, after = found.in_sd(found.method(method)), scaled.in_sd(scaled.method(method))
        np.testing.assert_allclose(after, before, rtol=1e-9, atol=1e-12)
        assert np.array_equal(np.argsort(-np.abs(before), kind="stable"), np.argsort(-np.abs(after), kind="stable"))
    assert (scaled.requested.top[:, 0] == feature).sum() > (found.requested.top[:, 0] == feature).sum()


def test_a_dictionary_that_never_fires_has_no_unit():
    ours, theirs = random(3, 4, 5)
    record = score_record(shifts(ours, theirs, sd=np.zeros(4)))
    assert {d.diff_sd for p in record.prompt_scores for d in p.top_diffs} == {None}


def test_no_shift_has_no_share_outside():
    ours, _ = random(3, 4, 6)
    still = replace(shifts(ours, ours), moved=np.zeros(3), missed=np.zeros(3))
    record = score_record(still)
    assert record.share_outside is None
    assert (record.aggregate_score, record.stability.reason.partition(":")[0]) == (0.0, "no_groups")


def test_silence_has_a_reason_and_no_number():
    record = silent_score(FeatureSettings(), "no_dictionary: none was given")
    assert record.aggregate_score is None and record.score_method_executed is None and record.n_effective == 0


def fired_by_hand(measurement):
    """Share of the reference's kept tokens on which each feature fires, a prompt at a time."""
    dictionary, fired, tokens = measurement.dictionary, 0, 0
    for prompt in [*measurement.banks.rendered, *measurement.banks.neutral]:
        rows = site_rows(measurement.pair.reference, [prompt], Site.parse(dictionary.site), "all", 10_000)
        fired = fired + (dictionary.encode_dense(rows) > 0).sum(0).double().numpy()
        tokens += len(rows)
    return fired / tokens


def test_measured_shifts_hold_together(measurement):
    found, made = measurement.features, tables(measurement)
    assert found.n_effective == len({r.ids for r in measurement.banks.rendered})
    assert len(found.control.scores) == len(found.control.share_outside) == 2
    assert found.control.l0 == pytest.approx(measurement.dictionary.activation.k)
    np.testing.assert_allclose(found.density, fired_by_hand(measurement), rtol=1e-6)
    assert len(made["feature_prompts"]["prompt"]) == len(measurement.banks.prompts)
    assert 0 < found.share_outside.low <= found.share_outside.value <= found.share_outside.high
