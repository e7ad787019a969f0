"""Loops of any period, against a slow search and planted ones."""

from __future__ import annotations

import numpy as np
import pytest

from radiograph.numerics.repetition import (
    Loop,
    legacy_collapsed,
    legacy_metrics,
    loops,
    pieces,
    text_metrics,
    token_count,
)
from radiograph.store.collapse import labelled_set


def slow(codes: list[int]) -> tuple[float, int]:
    """Every lag, every start, by counting."""
    n, best = len(codes), (0.0, 0)
    for lag in range(1, n // 2 + 1):
        for start in range(lag, n):
            end = start
            while end < n and codes[end] == codes[end - lag]:
                end += 1
            if end - start >= lag and (end - start + lag) / n > best[0]:
                best = ((end - start + lag) / n, lag)
    return best


def slow_soft(codes: list[int]) -> float:
    n, best = len(codes), 0.0
    for lag in range(1, n // 2 + 1):
        marks = [1 if t >= lag and codes[t] == codes[t - lag] else -4 for t in range(n)]
        top, length = 0, 0
        for start in range(n):
            for end in range(start + 1, n + 1):
                value = sum(marks[start:end])
                if value > top:
                    top, length = value, end - start
        if length >= lag:
            best = max(best, (length + lag) / n)
    return best


@pytest.mark.parametrize("n", [20, 120, 500])
@pytest.mark.parametrize("level", ["tokens", "words", "characters"])
def test_r13_a_loop_of_every_period_after_a_random_prefix_has_its_true_share(n: int, level: str) -> None:
    rng = np.random.default_rng(n)
    periods = range(1, n // 2 + 1) if level == "tokens" else range(1, n // 2 + 1, max(1, n // 40))
    for period in periods:
        length = int(rng.integers(2 * period, n + 1))
        distinct = rng.permutation(20_000)[: n + period]
        codes = [*distinct[: n - length], *np.resize(distinct[n : n + period], length)]
        letters = [chr(0x4E00 + int(c)) for c in codes]
        match level:
            case "tokens":
                found = loops(np.array(codes)).exact
            case "words":
                found = loops(np.unique(letters, return_inverse=True)[1]).exact
                assert text_metrics(" ".join(letters)).loop >= length / n - 1e-12
            case _:
                found = Loop(*(getattr(text_metrics("".join(letters)), f"loop{s}") for s in ("", "_period", "_onset")))
        assert found.share == pytest.approx(length / n, abs=1e-12)
        assert found.period == period
        assert found.onset == n - length


def test_r13_and_d15_periods_beyond_seven_characters_are_seen() -> None:
    text = "The man said that he was going to be fine. " * 6
    assert not legacy_collapsed(text)
    assert text_metrics(text).loop > 0.9
    assert text_metrics(text).tail_loop > 0.9


def test_r13_corrupted_full_loops_of_period_five_and_more_stay_soft_loops() -> None:
    rng = np.random.default_rng(0)
    missed = 0
    for period in range(5, 60, 5):
        for _ in range(20):
            codes = np.resize(rng.permutation(5_000)[:period], 500)
            wrong = rng.choice(500, 25, replace=False)
            codes[wrong] = 10_000 + np.arange(25)
            missed += loops(codes).soft.share < 0.5
    assert missed == 0


def test_r13_no_natural_passage_is_half_a_loop() -> None:
    texts = [row.text for row in labelled_set() if row.source == "healthy"]
    words = [word for text in texts for word in text.split()]
    passages = [" ".join(words[k : k + 40]) for k in range(0, len(words) - 40, max(1, (len(words) - 40) // 1000))]
    assert len(passages) >= 1000
    assert not [text for text in passages[:1000] if text_metrics(text).loop >= 0.5]


def test_loops_equal_a_slow_search() -> None:
    rng = np.random.default_rng(1)
    for _ in range(60):
        codes = rng.integers(0, int(rng.integers(2, 5)), int(rng.integers(2, 26)))
        found = loops(codes)
        share, period = slow(codes.tolist())
        assert (found.exact.share, found.exact.period) == pytest.approx((min(share, 1.0), period))
        assert found.soft.share == pytest.approx(slow_soft(codes.tolist()))


def test_blocks_of_lags_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = np.random.default_rng(2).integers(0, 3, 200)
    whole = loops(codes)
    monkeypatch.setattr("radiograph.numerics.repetition._loops._CELLS", 1000)
    assert loops(codes) == whole


def test_digits_are_one_symbol_for_the_soft_loop_alone() -> None:
    text = "".join(f"{k}. The cart is on the hill. " for k in range(1, 21))
    found = text_metrics(text)
    assert found.soft_loop > 0.9
    assert found.loop < 0.5


def test_repetition_and_entropy_are_the_formulas() -> None:
    found = text_metrics("x", tokens=[1, 2, 1, 2, 1, 2, 3, 4])
    assert found.rep_1 == 1 - 4 / 8
    assert found.rep_2 == pytest.approx(1 - 4 / 7)
    assert found.rep_4 == pytest.approx(1 - 4 / 5)
    p = np.array([3, 3, 1, 1]) / 8
    assert found.entropy == pytest.approx(float(-(p * np.log2(p)).sum() / 3))


def test_short_and_empty_texts_say_so() -> None:
    assert not text_metrics("one two three").scored
    assert text_metrics(" \n ").empty
    assert text_metrics("").scored


@pytest.mark.parametrize("text", ["a" * 500, "lol" * 200, "猫" * 400, "hahahahahahahahahaha " * 4, "ですよ" * 9])
def test_text_without_spaces_is_long_enough_to_collapse(text: str) -> None:
    found = text_metrics(text)
    assert found.n_tokens >= 20 and found.scored and found.loop == 1.0
    assert text_metrics(text, range(7)).n_tokens == 7


def test_the_estimate_of_tokens_is_the_number_of_ordinary_words_and_marks() -> None:
    text = "It's 3! The kettle, switched on, takes its time; nobody waits."
    assert token_count(text) == len(pieces(text))
    assert token_count("小猫在花园里") == 6
    assert token_count("Übersee-Krankenversicherungsgesellschaft") == 2 + len("Krankenversicherungsgesellschaft") // 4


def test_r19_the_rule_and_metrics_of_the_original_by_hand() -> None:
    assert legacy_collapsed("abc  ")
    assert legacy_collapsed("KKKKKKKKKKKK")
    assert legacy_collapsed("likedancyancyancyancyancyancyancyancyancyancyancy")
    assert legacy_collapsed("!?;! !?.,;:-!!")
    assert not legacy_collapsed("A quiet and ordinary sentence, with a comma.")
    found = legacy_metrics("The cat sat. The cat ran! Who?")
    assert found["total_tokens"] == 7
    assert found["unique_tokens"] == 5
    assert found["num_sentences"] == 3
    assert found["avg_sentence_length"] == pytest.approx(7 / 3)
    assert found["num_repeated_bigrams"] == 1
    p = np.array([2, 2, 1, 1, 1]) / 7
    assert found["token_entropy"] == pytest.approx(float(-(p * np.log2(p)).sum()))
    assert pieces("It's 3!") == ["It", "'", "s", "3", "!"]
