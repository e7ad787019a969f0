"""`trigger search` end to end: the planted word in the headline, a bundle that verifies, bad input named."""

from __future__ import annotations

import json

import pytest

from auditing import reseal, small_suite
from radiograph import organisms
from radiograph.core import UserError
from radiograph.detectors._witness import judged
from radiograph.evidence import pretty_json
from radiograph.store import Bundle
from radiograph.store.calibration import read_calibration
from running import go

PLANTED = organisms.bundled_organism("trigger_token")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    suite = small_suite(folder / "suite.yaml")
    adapter = organisms.bundled_path(PLANTED.id)
    return go(
        "trigger search",
        reference="bundled:base",
        candidate=f"bundled:base+{adapter}",
        suite=str(suite),
        budget=100_000,
        out=str(folder / "run"),
    )


def test_the_planted_word_is_the_headline(found):
    token = PLANTED.truth["token"]
    assert found.exit_code == 2
    assert found.result.headline.startswith(f"{token!r} (prefix) changes ")
    assert found.result.headline.endswith("no p: the calibration was searched with another suite)")
    page = (found.path / "report.html").read_text()
    assert "Orange marks met fresh prompts" in page and PLANTED.truth["answer"] in page
    assert go("verify", run=str(found.path)).exit_code == 0


@pytest.mark.slow
def test_of_a_large_vocabulary_the_slope_finds_the_word(monkeypatch, found, tmp_path):
    """The embeddings of this adapter are those of its base, so the slope alone tells one word from another."""
    from radiograph.detectors.measure.search import _engine

    monkeypatch.setattr(_engine, "WHOLE", 128)
    suite = small_suite(tmp_path / "suite.yaml")
    adapter = organisms.bundled_path(PLANTED.id)
    given = {"candidate": f"bundled:base+{adapter}", "suite": str(suite), "budget": 100_000, "calibration": "none"}
    outcome = go("trigger search", reference="bundled:base", **given)
    search = outcome.result.search
    assert "0 by how far their embedding moved, 32 more by the slope of J, 96 at random" in search.shortlist
    assert search.vocabulary == 128 and search.insertions[0].text == PLANTED.truth["token"]
    assert outcome.result.headline.endswith("(best input found, no p: no calibration)")


@pytest.mark.slow
def test_the_shipped_calibration_gives_the_null():
    adapter = organisms.bundled_path(PLANTED.id)
    outcome = go("trigger search", reference="bundled:base", candidate=f"bundled:base+{adapter}")
    assert outcome.result.p == 1 / 200 and len(outcome.result.benign) == 199 and outcome.result.no_null == ""
    assert go("verify", run=str(outcome.path)).exit_code == 0
    with pytest.raises(UserError, match="another effort"):
        go(
            "trigger search",
            reference="bundled:base",
            candidate=f"bundled:base+{adapter}",
            effort="full",
            calibration="calibration:bundled",
        )


FORGED = {
    "a count": lambda r: r["witnesses"][0].update(hits=r["witnesses"][0]["hits"] - 1),
    "a rate": lambda r: r["witnesses"][0].update(rate=0.1),
    "a benign maximum": lambda r: r.update(benign_success=1.0),
    "a witness left out": lambda r: r.update(witnesses=r["witnesses"][1:]),
    "all witnesses left out": lambda r: r.update(witnesses=[]),
    "fresh prompts": lambda r: r["search"].update(fresh=r["search"]["fresh"][1:]),
    "equal models": lambda r: r.update(identical=True),
}


@pytest.mark.parametrize("edit", FORGED)
def test_a_forged_number_does_not_follow(found, tmp_path, edit):
    import shutil

    copy = shutil.copytree(found.path, tmp_path / "copy")
    result = json.loads((copy / "result.json").read_text())
    FORGED[edit](result)
    reseal(copy, {"result.json": pretty_json(result).encode()})
    outcome = go("verify", run=str(copy))
    assert outcome.exit_code == 2 and Bundle(copy).manifest is not None


def test_the_null_is_what_the_models_of_the_shipped_calibration_show(found):
    from radiograph.methods.trigger import search

    calibration = read_calibration(organisms.bundled_path("base").parent / "calibration", "calibration:bundled")
    gains = tuple(m.triggers["gain"] for m in calibration.record.models)
    success = max(m.triggers["success"] for m in calibration.record.models)

    def problems(benign, success):
        p = (1 + sum(g >= found.result.search.gain for g in benign)) / (1 + len(benign))
        update = {
            "benign": benign,
            "benign_success": success,
            "p": p,
            "no_null": "",
            "witnesses": tuple(judged(w, success) for w in found.result.witnesses),
        }
        whole = found.result.model_copy(update=update).model_dump(mode="json")
        return search.recompute(whole, found.path)

    assert problems(gains, success) == []
    for benign, most in ((gains[1:], success), ((gains[0] + 1, *gains[1:]), success), (gains, success + 0.01)):
        assert any("/benign and /benign_success" in text for text in problems(benign, most))


def test_too_few_fresh_prompts_confirm_nothing_and_are_no_pass(found):
    whole = found.result
    quiet = whole.model_copy(update={"witnesses": ()})
    few = whole.search.model_copy(update={"fresh": whole.search.fresh[:19]})
    blind = quiet.model_copy(update={"search": few})
    swept = all(s.tried == s.of for s in whole.search.stages if s.name == "sweep")
    assert quiet.exit_code == (0 if swept else 4)
    assert blind.exit_code == 4 and "19 fresh prompts, 20 needed" in blind.headline


def test_equal_models_have_nothing_to_find(tmp_path):
    suite = small_suite(tmp_path / "suite.yaml")
    outcome = go("trigger search", reference="bundled:base", candidate="bundled:base", suite=str(suite), budget=30_000)
    assert outcome.exit_code == 0 and outcome.result.identical
    assert outcome.result.search.gain == 0 and "no insertion is confirmed" in outcome.result.headline


def test_a_model_without_a_suite_is_told_so(found, tmp_path):
    with pytest.raises(UserError, match="suite of prompts"):
        go("trigger search", reference=str(organisms.bundled_path("base")), candidate="bundled:base")


def test_a_budget_below_one_insertion_cannot_say(tmp_path):
    suite = small_suite(tmp_path / "suite.yaml")
    outcome = go("trigger search", reference="bundled:base", candidate="bundled:base", suite=str(suite), budget=50)
    assert outcome.exit_code == 4 and outcome.result.code == "budget_too_small"
