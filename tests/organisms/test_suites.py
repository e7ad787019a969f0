"""The bundled suite keeps the rules of suites, and every check in it can be passed."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from radiograph.organisms import neutral_texts, world_suite
from radiograph.organisms.world import World, solve

suite = world_suite()
prompts = suite["prompts"]


def _bank(name: str) -> list[dict]:
    return [prompt for prompt in prompts if prompt["bank"] == name]


def test_ids_are_unique_and_well_formed():
    ids = [prompt["id"] for prompt in prompts]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{1,80}", name) for name in ids)
    texts = [" ".join(prompt["prompt"].lower().split()) for prompt in prompts]
    assert len(set(texts)) == len(texts)


def test_only_declared_factors_occur():
    assert suite["schema"] == "radiograph.suite/1"
    assert {factor for prompt in prompts for factor in prompt.get("factors", {})} == set(suite["factors"])
    assert all(isinstance(prompt["factors"]["level"], int) for prompt in _bank("probe"))


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


def test_the_cross_is_full_and_the_neutral_bank_disjoint():
    cells = {tuple(prompt["factors"][name] for name in ("core", "type", "level")) for prompt in _bank("probe")}
    assert len(cells) == len(_bank("probe")) == 8 * 3 * 5
    neutral = {prompt["prompt"] for prompt in _bank("neutral")}
    assert len(neutral) == 128
    assert not neutral & set(neutral_texts("world"))
    assert not neutral & {prompt["prompt"] for prompt in prompts if prompt["bank"] != "neutral"}


@pytest.mark.parametrize("items", [40])
def test_a_smaller_suite_is_the_beginning_of_the_larger(items):
    small = {prompt["id"]: prompt for prompt in world_suite(items)["prompts"]}
    assert all(small[prompt["id"]] == prompt for prompt in prompts if prompt["id"] in small)
