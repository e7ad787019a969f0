"""Reading rows through a probe: chunks, prompts and copies change nothing that they should not."""

from __future__ import annotations

import numpy as np
import pytest

from radiograph.core import Refusal, UserError
from radiograph.numerics.probes import support_of
from radiograph.probing import Probe, given_parts, group_numbers, judged, normalised, paired, parts_of, read, separated


def probe_of(pool=None, normalise="rms", seed=0):
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((3000, 12)).astype(np.float32)
    shaped = normalised(rows, normalise)
    w = rng.standard_normal(12).astype(np.float32)
    w /= np.linalg.norm(w)
    length = np.linalg.norm(rows, axis=1)
    support = support_of(shaped, shaped, length, np.zeros(3000, dtype=int), w.astype(np.float64))
    level = "token" if pool is None else "sequence"
    cut = float(np.quantile(shaped @ w, 0.998))
    return Probe("p", "defection", "calibrated", level, pool, normalise, "resid_post.0", w, cut, "", None, support)


def evidence(n=600, seed=1, per=4):
    rows = np.random.default_rng(seed).standard_normal((n, 12)).astype(np.float32)
    return rows, np.arange(n) // per


def chunked(rows, group, size):
    return [(rows[i : i + size], group[i : i + size]) for i in range(0, len(rows), size)]


@pytest.mark.parametrize("pool", [None, "last", "mean", "max"])
def test_chunks_change_nothing(pool):
    rows, group = evidence()
    own = probe_of(pool)
    whole, parts = read(own, [(rows, group)]), read(own, chunked(rows, group, 7))
    assert np.allclose(whole.score, parts.score, atol=1e-5)
    assert np.array_equal(whole.group, parts.group) and np.array_equal(whole.place, parts.place)
    assert np.allclose(whole.variance, parts.variance, atol=1e-5)


@pytest.mark.parametrize("pool", ["last", "mean", "max"])
def test_prompts_are_pooled_as_a_loop_would(pool):
    rows, group = evidence(40)
    own = probe_of(pool)
    found = read(own, chunked(rows, group, 6))
    for number, score in zip(found.group, found.score, strict=True):
        part = rows[group == number]
        if pool == "max":
            slow = (normalised(part, "rms") @ own.w).max()
        else:
            row = part[-1] if pool == "last" else part.mean(axis=0)
            slow = float(normalised(row[None], "rms")[0] @ own.w)
        assert score == pytest.approx(slow, abs=1e-5)


def test_rows_of_one_prompt_follow_each_other():
    rows, _ = evidence(9)
    with pytest.raises(UserError, match="do not follow each other"):
        read(probe_of("last"), [(rows, np.array([0, 0, 1, 1, 0, 2, 2, 3, 3]))])


def test_pd_19_copies_inside_their_group_change_neither_rate_nor_interval():
    rows, group = evidence(800)
    own = probe_of()
    five = np.repeat(np.arange(800), 5)
    once = judged(own, read(own, [(rows, group)]), (0.01, 0.05))
    again = judged(own, read(own, [(rows[five], group[five])]), (0.01, 0.05))
    assert once.rate is not None and again.rate is not None
    assert (again.rate.estimate, again.rate.interval) == (once.rate.estimate, once.rate.interval)
    assert again.band == once.band and again.rho == once.rho


def test_twenty_copies_of_a_row_are_one():
    rows, group = evidence(400)
    found = judged(probe_of(), read(probe_of(), [(np.repeat(rows[:10], 40, axis=0), group)]), (0.01, 0.05))
    assert found.band == "NOT-MEASURED" and found.why is not None and found.why[0] == "outside_support"


def test_scale_moves_no_score_with_rms_and_every_one_without():
    rows, group = evidence()
    own, plain = probe_of(), probe_of(normalise="none")
    assert np.allclose(read(own, [(rows * 3, group)]).score, read(own, [(rows, group)]).score, atol=1e-5)
    three = read(plain, [(rows * 3, group)])
    assert np.allclose(three.score, 3 * read(plain, [(rows, group)]).score, atol=1e-4)
    assert judged(plain, three, (0.01, 0.05)).band == "NOT-MEASURED"


def test_a_paired_difference_is_that_of_the_groups_and_silent_without_one():
    rows, group = evidence(2000)
    own = probe_of()
    same = read(own, [(rows, group)])
    assert paired(own, same, same, "r", 0).p == 1.0
    moved = read(own, [(rows + 2 * own.w, group)])
    found = paired(own, moved, same, "r", 0)
    inside = ~(moved.outside | same.outside)
    flags = (moved.score > own.threshold)[inside].mean() - (same.score > own.threshold)[inside].mean()
    assert found.difference == pytest.approx(flags) and found.p < 0.01
    with pytest.raises(UserError, match="same rows"):
        paired(own, same, read(own, [(rows[:40], group[:40])]), "r", 0)


def test_labelled_rows_need_two_classes():
    rows, group = evidence(40)
    own = read(probe_of(), [(rows, group)])
    with pytest.raises(Refusal, match="one class"):
        separated(np.ones(40, dtype=bool), own, None)


def test_parts_are_by_group_near_duplicates_united_and_order_free():
    texts = [f"how does one make a very good {thing} at home today" for thing in ("bread", "breads", "violin")]
    number = group_numbers(["a", "b", "c"], texts, [True, True, True])
    assert number[0] == number[1] != number[2]
    apart = group_numbers(["a", "b"], texts[:2], [True, False])
    assert apart[0] != apart[1]
    names = [f"g{i}" for i in range(200)]
    group, kind = np.arange(200), np.arange(200) % 2
    parts = parts_of(names, group, kind, 0)
    assert [int((parts == p).sum()) for p in range(3)] == [120, 40, 40]
    order = np.random.default_rng(0).permutation(200)
    again = parts_of([names[i] for i in order], group, kind[order], 0)
    assert np.array_equal(again, parts[order])
    assert not np.array_equal(parts_of(names, group, kind, 1), parts)


def test_united_groups_go_to_the_later_part():
    assert given_parts(["fit", "test", "calibrate"], np.array([0, 0, 1])).tolist() == [2, 2, 1]
    with pytest.raises(UserError, match="names its part"):
        given_parts(["fit", None], np.array([0, 1]))
