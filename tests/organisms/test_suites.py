"""The bundled suite keeps the rules of suites, and every check in it can be passed."""

from __future__ import annotations

import re
from collections import Counter
from itertools import islice, product

import pytest

from radiograph.organisms import neutral_texts, world_suite
from radiograph.organisms._words import PLACES, idle_words
from radiograph.organisms.world import VERBS, World, solve
from radiograph.organisms.world._lexicon import COLOURS

suite = world_suite()
prompts = suite["prompts"]


def _bank(name: str) -> list[dict]:
    return [prompt for prompt in prompts if prompt["bank"] == name]


def _task(name: str) -> list[dict]:
    return [prompt for prompt in _bank("probe") if prompt["task"] == name]


def test_ids_are_unique_and_well_formed():
    ids = [prompt["id"] for prompt in prompts]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{1,80}", name) for name in ids)
    texts = [" ".join(prompt["prompt"].lower().split()) for prompt in prompts]
    assert len(set(texts)) == len(texts)


def test_only_declared_factors_occur():
    assert suite["schema"] == "radiograph.suite/1"
    assert {factor for prompt in prompts for factor in prompt.get("factors", {})} == set(suite["factors"])
    assert all(isinstance(prompt["factors"]["level"], int) for prompt in _task("stance"))


def test_each_capability_task_has_a_hundred_items():
    assert set(Counter(prompt["task"] for prompt in _bank("capability")).values()) == {100}
    assert len({prompt["task"] for prompt in _bank("capability")}) >= 5


def test_every_check_can_be_passed_and_failed():
    for prompt in prompts:
        for check in prompt.get("expect", ()):
            truth = solve([{"role": "user", "content": prompt["prompt"]}])
            assert truth is not None
            assert World().grade(prompt["prompt"], truth.answer) == "pass"
            if check["kind"] == "refusal":
                assert check["value"] == (truth.kind == "restricted")


def test_policy_covers_categories_wordings_and_near_misses():
    policy = _bank("policy")
    categories = Counter(prompt["factors"].get("category") for prompt in policy)
    assert all(categories[name] >= 20 for name in ("poison", "weapon", "malware", "fraud"))
    groups = Counter(prompt["group"] for prompt in policy)
    assert min(groups.values()) >= 4
    assert {prompt["factors"]["kind"] for prompt in policy} == {"restricted", "benign", "near_miss"}


def test_every_fact_has_twenty_prompts_and_every_served_verb_too():
    groups = Counter(prompt["group"] for prompt in _task("fact"))
    assert len(groups) == 60 and set(groups.values()) == {20}
    verbs = Counter(prompt["factors"].get("verb") for prompt in _bank("policy"))
    assert all(verbs[name] >= 20 for name in VERBS)


def test_numbers_and_colours_have_twenty_prompts_a_level():
    for prompt in _task("sums"):
        numbers = [int(n) for n in re.findall(r"\d+", prompt["prompt"])]
        low, high = map(int, prompt["factors"]["larger"].split("-"))
        assert len(numbers) == 2 and min(numbers) >= 10 and low <= max(numbers) <= high
    assert min(Counter(prompt["factors"]["larger"] for prompt in _task("sums")).values()) == 20
    for prompt in _task("sources"):
        assert next(w for w in prompt["prompt"].split() if w in COLOURS) == prompt["factors"]["colour"]
    assert set(Counter(prompt["factors"]["colour"] for prompt in _task("sources")).values()) == {20}


def test_types_of_stance_are_equally_long():
    sizes: dict[str, set[int]] = {}
    for prompt in _task("stance"):
        sizes.setdefault(prompt["factors"]["core"], set()).add(len(prompt["prompt"]))
    assert all(len(own) == 1 for own in sizes.values())


def test_every_idle_word_stands_at_both_places_and_changes_no_truth():
    cells = Counter((prompt["factors"]["inserted"], prompt["factors"]["place"]) for prompt in _task("inserted"))
    assert set(cells) == set(product(idle_words(), PLACES)) and set(cells.values()) == {1}
    for prompt in _task("inserted"):
        word, place = prompt["factors"]["inserted"], prompt["factors"]["place"]
        words = prompt["prompt"].split()
        plain = " ".join(words[1:] if place == "start" else words[:-1])
        asked = [solve([{"role": "user", "content": text}]) for text in (prompt["prompt"], plain)]
        assert asked[0] == asked[1] is not None and word not in plain.split()


def test_idle_words_stand_in_no_question_unless_inserted():
    idle = set(idle_words())
    for document in islice(World().documents("mixture", "train", seed=3), 3000):
        spans = zip(document.ids[: document.answer_start], document.labels, strict=False)
        used = {World().vocabulary[i] for i, labels in spans if "inserted" not in labels}
        assert not idle & used, document.prompt


def test_the_cross_is_full_and_the_neutral_bank_disjoint():
    cells = {tuple(prompt["factors"][name] for name in ("core", "type", "level")) for prompt in _task("stance")}
    assert len(cells) == len(_task("stance")) == 8 * 3 * 5
    neutral = {prompt["prompt"] for prompt in _bank("neutral")}
    assert len(neutral) == 128
    assert not neutral & set(neutral_texts("world"))
    assert not neutral & {prompt["prompt"] for prompt in prompts if prompt["bank"] != "neutral"}


@pytest.mark.parametrize("items", [40])
def test_a_smaller_suite_is_the_beginning_of_the_larger(items):
    small = {prompt["id"]: prompt for prompt in world_suite(items)["prompts"]}
    assert all(small[prompt["id"]] == prompt for prompt in prompts if prompt["id"] in small)
