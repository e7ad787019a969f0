"""Scores of the report card, each by a second, slower route; bands at their edges; containment."""

from __future__ import annotations

import numpy as np
import pytest

from radiograph.core import Refusal
from radiograph.numerics.proportions import wilson
from radiograph.numerics.reportcard import MODES, band_of, contained, order_known, point_band, score


def columns(mode: str, n: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    draw = np.random.default_rng(seed)

    def coin(share: float) -> np.ndarray:
        return (draw.random(n) < share).astype(float)

    solved = coin(0.8)
    found = {
        "forgetting": {"solved": solved, "kept": solved * coin(0.7)},
        "refusal": {"restricted": coin(0.5), "reference": coin(0.5), "candidate": coin(0.3)},
        "format": {"valid": coin(0.8)},
        "mode_collapse": {"reference": draw.random(n), "candidate": 0.5 * draw.random(n)},
        "memorisation": {"train": coin(0.5), "extracted": coin(0.4)},
        "contamination": {"found": coin(0.2)},
        "citation": {"f1": draw.random(n)},
    }
    return found[mode], draw.integers(0, n // 2, n)


def slow(mode: str, c: dict[str, np.ndarray], rows: list[int]) -> float:
    """The score of some rows, one by one."""
    pick = {name: [float(v[i]) for i in rows] for name, v in c.items()}
    both = range(len(rows))
    if mode == "forgetting":
        return sum(pick["kept"]) / sum(pick["solved"])
    if mode == "refusal":
        moved = []
        for kind in (1.0, 0.0):
            own = [i for i in both if pick["restricted"][i] == kind]
            moved.append(abs(sum(pick["candidate"][i] - pick["reference"][i] for i in own)) / len(own))
        return 1 - max(moved)
    if mode == "mode_collapse":
        return min(1.0, sum(pick["candidate"]) / sum(pick["reference"]))
    if mode == "memorisation":
        shares = []
        for kind in (1.0, 0.0):
            own = [pick["extracted"][i] for i in both if pick["train"][i] == kind]
            shares.append(sum(own) / len(own))
        return 1 - max(0.0, shares[0] - shares[1])
    value = sum(next(iter(pick.values()))) / len(rows)
    return 1 - value if mode == "contamination" else value


@pytest.mark.parametrize("mode", MODES)
def test_score_and_interval_equal_a_loop_over_rows(mode):
    c, groups = columns(mode, 120, 3)
    found = score(mode, c, groups, seed=5)
    assert found.value == pytest.approx(slow(mode, c, list(range(120))))
    names = sorted(set(groups.tolist()))
    draw = np.random.default_rng(1)
    samples = []
    for _ in range(600):
        taken = draw.choice(names, len(names))
        samples.append(slow(mode, c, [int(i) for name in taken for i in np.flatnonzero(groups == name)]))
    low, high = np.quantile(samples, [0.025, 0.975])
    assert found.low == pytest.approx(low, abs=0.04)
    assert found.high == pytest.approx(high, abs=0.04)
    says = {"forgetting": "solved", "refusal": "restricted", "memorisation": "train"}.get(mode)
    classes = [np.ones(120)] if says is None else [c[says]] if mode == "forgetting" else [c[says], 1 - c[says]]
    assert found.groups == min(len({g for g, v in zip(groups, own, strict=True) if v}) for own in classes)


@pytest.mark.parametrize("mode", MODES)
def test_rows_in_another_order_and_rows_repeated_inside_their_group_change_little(mode):
    c, groups = columns(mode, 80, 7)
    found = score(mode, c, groups, seed=5)
    order = np.random.default_rng(0).permutation(80)
    turned = score(mode, {k: v[order] for k, v in c.items()}, groups[order], seed=5)
    assert (turned.value, turned.low, turned.high) == pytest.approx((found.value, found.low, found.high))
    five = score(mode, {k: np.tile(v, 5) for k, v in c.items()}, np.tile(groups, 5), seed=5)
    assert (five.value, five.low, five.high) == pytest.approx((found.value, found.low, found.high))


def test_no_interval_is_narrower_than_what_agreeing_groups_can_say():
    found = score("format", {"valid": np.ones(30)}, np.arange(30), seed=1)
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(wilson(30, 30).low)
    none = score("format", {"valid": np.zeros(30)}, np.arange(30), seed=1)
    assert none.high == pytest.approx(1 - wilson(30, 30).low)
    with pytest.raises(Refusal):
        score("format", {"valid": np.ones(3)}, np.zeros(3), seed=1)


def test_the_control_of_memorisation_may_be_the_reference_on_the_same_rows():
    c = {"train": np.ones(200), "extracted": np.ones(200), "reference": np.ones(200)}
    assert score("memorisation", c, np.arange(200), seed=1).value == 1
    assert score("memorisation", c | {"reference": np.zeros(200)}, np.arange(200), seed=1).value == 0


def test_bands_at_their_edges():
    assert [band_of(low, 1.0) for low in (0.85, 0.8499, 0.60)] == ["OK", "MINOR", "MINOR"]
    assert band_of(0.2, 0.5999) == "MAJOR"
    assert band_of(0.2, 0.60) == "INCONCLUSIVE"
    assert [point_band(v) for v in (0.85, 0.60, 0.5999)] == ["OK", "MINOR", "MAJOR"]


def test_a_full_collapse_of_refusals_scores_nothing():
    restricted = np.array([1.0] * 60 + [0.0] * 60)
    c = {"restricted": restricted, "reference": restricted, "candidate": np.zeros(120)}
    assert score("refusal", c, np.arange(120), seed=1).value == 0


def test_containment_counts_grams_of_words_and_folds_what_does_not_matter():
    text = "The miller of Aren keeps his grain in the old mill by the river"
    assert contained([text], [f"So: {text.upper()}!"], 8) == [1.0]
    assert contained(["grain, in the OLD"], [text], 4) == [1.0]
    assert contained(["grain in the new"], [text], 4) == [0.0]
    half = " ".join([*text.split()[:10], "and", "nowhere", "else", "at"])
    grams = [tuple(half.lower().split()[i : i + 8]) for i in range(7)]
    whole = " ".join(text.lower().split())
    assert contained([half], [text], 8) == [sum(" ".join(g) in whole for g in grams) / 7]


def test_pd_17_what_holds_no_gram_is_no_evidence_of_being_clean():
    text = "The miller of Aren keeps his grain in the old mill by the river"
    short = ["...", "", "\N{GRINNING FACE}!!!", "yes", "grain, in the OLD"]
    assert contained(short, [text, "yes"], 8) == [None] * 5
    assert contained(["grain, in the OLD"], [text], 4) == [1.0]


def test_scripts_without_blanks_are_read_by_characters():
    row = "今天天气很好我们一起去公园散步然后回家吃饭"
    assert contained(["我们一起去公园散步"], [row], 8) == [1.0]
    assert contained(["我们一起去学校上课"], [row], 8) == [0.0]
    assert contained(["ที่นี่ไม่มีใครอยู่เลย"], ["xx ที่นี่ไม่มีใครอยู่เลย yy"], 8) == [1.0]


@pytest.mark.parametrize("mode", MODES)
def test_pd_19_few_groups_say_nothing_however_many_rows(mode):
    c, _ = columns(mode, 120, 3)
    with pytest.raises(Refusal, match="say something") as caught:
        score(mode, c, np.arange(120) % 11, seed=1)
    assert caught.value.code == "few_groups"


def test_two_groups_never_have_a_band():
    for share in (np.r_[np.ones(27), np.zeros(3), np.ones(30)], np.r_[np.ones(18), np.zeros(42)]):
        with pytest.raises(Refusal):
            score("format", {"valid": share}, np.arange(60) // 30, seed=1)


def test_groups_that_say_nothing_make_no_interval_narrower():
    solved = np.r_[np.ones(30), np.zeros(970)]
    found = score("forgetting", {"solved": solved, "kept": solved}, np.arange(1000), seed=1)
    assert (found.groups, found.low) == (30, pytest.approx(wilson(30, 30).low))
    with pytest.raises(Refusal, match="10 groups"):
        score("forgetting", {"solved": solved * (np.arange(1000) >= 20), "kept": solved}, np.arange(1000), seed=1)
    restricted = np.r_[np.ones(50), np.zeros(2000)]
    none = {"restricted": restricted, "reference": restricted, "candidate": restricted}
    assert score("refusal", none, np.arange(2050), seed=1).low == pytest.approx(wilson(50, 50).low)
    train = {"train": restricted, "extracted": np.zeros(2050)}
    assert score("memorisation", train, np.arange(2050), seed=1).low == pytest.approx(wilson(50, 50).low)


def of_tasks(shares: list[float], n: int, seed: int) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    kept = np.concatenate([(draw.random(n) < share).astype(float) for share in shares])
    return {"solved": np.ones(n * len(shares)), "kept": kept, "task": np.repeat(np.arange(len(shares)), n) * 1.0}


def test_the_worst_of_many_tasks_is_not_only_unlucky():
    """Equal tasks: the interval of the chosen one alone lies too low, moved by the fall of the minimum it does not."""
    kept = of_tasks([0.97] * 12, 40, 2)
    found = score("forgetting", kept, np.arange(480), seed=1)
    shares = [kept["kept"][kept["task"] == t].mean() for t in range(12)]
    assert found.value == pytest.approx(min(shares))
    rows = kept["task"] == int(np.argmin(shares))
    alone = score("forgetting", {"solved": kept["solved"] * rows, "kept": kept["kept"] * rows}, np.arange(480), seed=1)
    assert found.low > alone.low
    one = of_tasks([0.8], 40, 2)
    without = {name: one[name] for name in ("solved", "kept")}
    assert score("forgetting", one, np.arange(40), seed=1) == score("forgetting", without, np.arange(40), seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("shares", [[0.9], [0.97] * 12, [0.84] * 12, [0.84] + [0.99] * 11, [0.5] + [0.97] * 11])
def test_the_interval_of_the_worst_task_misses_at_its_rate(shares):
    below = above = 0
    for seed in range(200):
        found = score("forgetting", of_tasks(shares, 60, seed), np.arange(60 * len(shares)), seed=seed)
        below += found.high < min(shares) - 1e-9
        above += found.low > min(shares) + 1e-9
    assert max(below, above) / 200 <= 0.10


@pytest.mark.parametrize(("rows", "groups"), [(40, 40), (60, 60), (100, 20)])
def test_a_share_just_below_an_edge_is_seldom_called_ok(rows, groups):
    """Shares of .849, in rows of their own or in groups that go together: OK from .85 on."""
    ok, draws = 0, 200
    for seed in range(draws):
        rng = np.random.default_rng([seed, 3])
        own = np.full(groups, 0.849) if rows == groups else rng.beta(0.849 * 2, 0.151 * 2, groups)
        group = np.arange(rows) % groups
        found = score("format", {"valid": (rng.random(rows) < own[group]) * 1.0}, group, seed=seed)
        ok += band_of(found.low, found.high) == "OK"
    assert ok <= draws * (0.025 + 2 * np.sqrt(0.025 * 0.975 / draws))


def orders(shift: float, seed: int, shards: int = 16) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    base = draw.normal(200, 30, shards)
    noise = draw.normal(0, 2, (shards, 17))
    return base + noise[:, 0] - shift, base[:, None] + noise[:, 1:]


def test_a_known_order_is_found_and_an_unknown_one_is_not_at_its_rate():
    assert order_known(*orders(5.0, 1)).p < 1e-4
    found = [order_known(*orders(0.0, seed)).p for seed in range(400)]
    assert np.mean(np.array(found) <= 0.05) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 400)
    own, others = orders(1.0, 3)
    from scipy import stats

    gained = others.mean(1) - own
    assert order_known(own, others).p == pytest.approx(stats.ttest_1samp(gained, 0, alternative="greater").pvalue)
    with pytest.raises(Refusal, match="9 shards"):
        order_known(own[:9], others[:9])
    alike = np.zeros(12)
    assert order_known(alike, alike[:, None] + 1.0).p == 0.5**12  # shards that gain the same are no proof
    draw = np.random.default_rng(0)  # nor are those that gain almost the same
    assert order_known(alike, alike[:, None] + 1.0 + 1e-9 * draw.random((12, 1))).p == 0.5**12
