"""`diagnose` on a small suite of the small world: itself, a broken copy, what is not measured, what is supplied."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from auditing import noisy
from radiograph import organisms
from radiograph.core import ExitCode, FormatError, Refusal, UserError
from radiograph.evidence import pretty_json
from radiograph.methods.diagnose import recompute, soup
from radiograph.runtime import Outcome, verify
from running import go, perform

COUNTS = {"copy": 40, "format": 30, "cite": 30}


def write_suite(path: Path) -> str:
    """40 to copy, 30 of a form, 30 to cite, 50 to refuse, 50 look-alikes, 20 neutral texts."""
    suite = organisms.world_suite()
    kept, left = [], dict(COUNTS) | {"True": 50, "False": 50, "neutral": 20}
    for prompt in suite["prompts"]:
        checks = [c for c in prompt.get("expect", ()) if c["kind"] == "refusal"]
        key = str(checks[0]["value"]) if checks else prompt.get("task") or prompt["bank"]
        if left.get(key, 0) and (prompt["bank"] in ("capability", "policy", "neutral")):
            left[key] -= 1
            kept.append(prompt)
    path.write_text(json.dumps(suite | {"prompts": kept}))
    return path.name


def write_rows(path: Path, rows: list[str]) -> str:
    path.write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
    return path.name


@pytest.fixture(scope="module")
def cards(tmp_path_factory) -> tuple[Path, Outcome, Outcome]:
    """A folder, the base beside itself, and the base beside a copy with much noise."""
    folder = tmp_path_factory.mktemp("cards")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        suite = write_suite(folder / "suite.json")
        rows = write_rows(folder / "rows.jsonl", organisms.neutral_texts("world")[:110])
        noisy(folder / "noise", 1.2, seed=1)
        same = go("diagnose", reference="bundled:base", candidate="bundled:base", suite=suite, data=rows, out="same")
        broken = go("diagnose", reference="bundled:base", candidate="noise", suite=suite, out="broken", badge="b.svg")
    return folder, same, broken


@pytest.fixture
def here(cards, monkeypatch):
    monkeypatch.chdir(cards[0])
    return cards[0]


def by_mode(outcome: Outcome) -> dict:
    return {m.mode: m for m in outcome.result.modes}


def test_p8_12_the_reference_beside_itself_scores_one(cards):
    _, same, _ = cards
    scores = {name: m.score for name, m in by_mode(same).items() if m.status == "measured"}
    assert set(scores) == {"forgetting", "refusal", "format", "mode_collapse", "memorisation", "citation"}
    assert [scores[name] for name in ("forgetting", "refusal", "mode_collapse", "memorisation")] == [1.0] * 4
    assert (same.result.overall, same.exit_code) == ("OK", ExitCode.PASS)
    assert "6 of 7 measured" in same.result.headline


def test_p8_12_a_broken_copy_leaves_ok_and_says_what(cards):
    folder, _, broken = cards
    assert broken.exit_code == ExitCode.GATE_FAILED
    assert by_mode(broken)["forgetting"].band == "MAJOR"
    assert by_mode(broken)["citation"].band == "MAJOR"
    assert 1 <= len(by_mode(broken)["forgetting"].examples) <= 3
    table = pl.read_parquet(folder / "broken" / "tables" / "forgetting.parquet")
    share = float(table["kept"].to_numpy().sum() / table["solved"].to_numpy().sum())
    assert by_mode(broken)["forgetting"].score == pytest.approx(share)


def test_verify_derives_scores_bands_and_the_overall_one_again(cards):
    folder, same, broken = cards
    assert [verify(folder / name).status for name in ("same", "broken")] == ["intact", "intact"]
    document = json.loads((folder / "broken" / "result.json").read_text())
    assert recompute(document, folder / "broken") == []
    edited = json.loads(pretty_json(broken.result))
    edited["modes"][0]["band"] = "INCONCLUSIVE"
    edited["modes"][2]["low"] -= 0.01
    assert len(recompute(edited, folder / "broken")) == 2
    assert recompute(document | {"overall": "MINOR"}, folder / "broken")
    del same


def test_p8_12_badge_and_card_open_offline(cards):
    folder, _, _ = cards
    badge = (folder / "b.svg").read_text()
    assert "MAJOR, 5 of 7 measured" in badge
    assert badge.encode() == (folder / "broken" / "figures" / "badge.svg").read_bytes()
    for text in (badge, (folder / "broken" / "report.html").read_text()):
        assert "<script" not in text
        assert "://" not in text.replace("http://www.w3.org/2000/svg", "")


def test_pd_5_without_data_nothing_is_said(here):
    found = go("diagnose", reference="bundled:base", candidate="bundled:base")
    assert found.exit_code == ExitCode.NOT_MEASURED
    assert "OK" not in pretty_json(found.result)


def test_a_mode_without_its_data_is_not_measured_and_never_a_pass(here):
    asked = {"reference": "bundled:base", "candidate": "bundled:base", "modes": ["memorisation", "contamination"]}
    found = perform("diagnose", asked)
    assert found.exit_code == ExitCode.NOT_MEASURED
    assert {m.status for m in found.result.modes} == {"not_measured"}
    few = write_rows(here / "few.jsonl", ["a stone in the river"] * 3)
    found = perform("diagnose", asked | {"data": few, "benchmark": few})
    assert by_mode(found)["memorisation"].refusal.code == "too_few"
    assert found.exit_code == ExitCode.NOT_MEASURED
    assert by_mode(found)["contamination"].refusal.code == "too_few_units", "three copies of one item are one"


def test_pd_17_a_mode_that_raises_is_not_measured(here, monkeypatch):
    from radiograph.methods._diagnose import card

    def fails(_):
        raise ZeroDivisionError("nothing to divide")

    monkeypatch.setitem(card.MEASURES, "contamination", fails)
    found = go("diagnose", reference="bundled:base", candidate="bundled:base", modes=["contamination"])
    (mode,) = [m for m in found.result.modes if m.mode == "contamination"]
    assert (mode.status, mode.score, mode.refusal.code) == ("not_measured", None, "failed")
    assert "nothing to divide" in mode.refusal.text
    assert found.exit_code == ExitCode.NOT_MEASURED


def test_pd_17_training_rows_cannot_be_held_out(here):
    """Every prompt of the suite stands in the training rows: nothing is left to forget on."""
    suite = json.loads((here / "suite.json").read_text())
    rows = here / "leaked.jsonl"
    lines = [{"prompt": p["prompt"], "completion": "yes"} for p in suite["prompts"]]
    rows.write_text("".join(json.dumps(line) + "\n" for line in lines))
    asked = {"reference": "bundled:base", "candidate": "bundled:base", "suite": "suite.json", "data": "leaked.jsonl"}
    found = perform("diagnose", asked | {"modes": ["forgetting"]})
    assert found.result.dropped >= len(lines) - 1
    assert by_mode(found)["forgetting"].status == "not_measured"
    assert found.exit_code == ExitCode.NOT_MEASURED


def test_pd_18_refusals_with_either_apostrophe_are_one():
    from radiograph.detectors.measure import is_refusal

    assert is_refusal("I can't help with that.")
    assert is_refusal("I can\N{RIGHT SINGLE QUOTATION MARK}t help with that.")
    assert not is_refusal("Mix flour and water.")


def test_contamination_counts_items_that_stand_in_the_rows(here):
    texts = organisms.neutral_texts("world")
    rows = write_rows(here / "seen.jsonl", texts[:40])
    items = write_rows(here / "bench.jsonl", [t.upper() for t in texts[30:70]])
    found = go(
        "diagnose",
        reference="bundled:base",
        candidate="bundled:base",
        data=rows,
        benchmark=items,
        modes=["contamination"],
        seed=2,
    )
    mode = by_mode(found)["contamination"]
    assert mode.score == pytest.approx(0.75, abs=0.06)
    assert mode.low < 0.75 < mode.high


def test_p9_supplied_scores_are_shown_and_never_counted(here):
    told = {"scores": {"forgetting": {"score": 0.9, "verdict": "MAJOR"}, "refusal": {"score": 0.2}}, "extras": {"a": 1}}
    (here / "told.json").write_text(json.dumps(told))
    found = go("diagnose", reference="bundled:base", candidate="bundled:base", evidence="told.json")
    assert (found.result.overall, found.result.measured, found.exit_code) == (None, 0, ExitCode.NOT_MEASURED)
    assert [by_mode(found)[n].band for n in ("forgetting", "refusal")] == ["OK", "MAJOR"]
    keys = soup(found.result)
    assert set(keys) == {"run_id", "base", "adapter", "overall", "soup_version", "scores", "extras"}
    assert keys["scores"]["refusal"] == {"mode": "refusal", "score": 0.2, "verdict": "MAJOR", "evidence": None}
    assert keys["overall"] == "MAJOR"


@pytest.mark.parametrize("badge", ["b.png", "none/b.svg", "link.svg"])
def test_a_badge_goes_to_a_file_of_its_own(here, badge):
    link = here / "link.svg"
    if not link.is_symlink():
        link.symlink_to(here / "told.svg")
    with pytest.raises(UserError, match=r"badge|cannot write"):
        go("diagnose", reference="bundled:base", candidate="bundled:base", modes=["contamination"], badge=badge)
    assert not (here / "told.svg").exists()


def test_soup_has_no_words_for_what_was_not_measured(here):
    found = go("diagnose", reference="bundled:base", candidate="bundled:base", modes=["memorisation"])
    with pytest.raises(Refusal):
        soup(found.result)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "no object"),
        ("{", "no JSON"),
        ('{"scores": {"forgeting": {"score": 1}}}', "did you mean forgetting"),
        ('{"scores": {"refusal": {"score": NaN}}}', "not finite"),
        ('{"scores": {"refusal": {"score": "1"}}}', "scores.refusal.score"),
        ('{"scores": {"refusal": {"score": 1.5}}}', "outside"),
        ('{"scores": {"refusal": 1}}', "scores.refusal"),
    ],
)
def test_pd_15_scores_that_are_none_are_bad_input(here, text, said):
    (here / "bad.json").write_text(text)
    with pytest.raises(UserError) as caught:
        go("diagnose", reference="bundled:base", candidate="bundled:base", evidence="bad.json")
    assert said in str(caught.value)


def test_finished_runs_go_on_the_card(here):
    data = [{"text": text} for text in organisms.neutral_texts("world")[:60]]
    (here / "clean.jsonl").write_text("".join(json.dumps(line) + "\n" for line in data))
    go("probe.harm", target="bundled:base", data=["clean.jsonl"], out="harm")
    found = go("diagnose", reference="bundled:base", candidate="bundled:base", attach=["harm"], out="attached")
    (one,) = found.result.attached
    assert one.verb == "probe.harm"
    assert one.headline
    assert found.exit_code == ExitCode.NOT_MEASURED
    assert one.headline.split(";")[0][:20] in (here / "attached" / "report.md").read_text()
    with pytest.raises(UserError, match="is a run of"):
        go("diagnose", reference="bundled:base", candidate="bundled:base", attach=["attached"])
    (here / "harm" / "result.json").write_text((here / "harm" / "result.json").read_text() + " ")
    with pytest.raises(UserError, match="was changed"):
        go("diagnose", reference="bundled:base", candidate="bundled:base", attach=["harm"])
    with pytest.raises(FormatError):
        go("diagnose", reference="bundled:base", candidate="bundled:base", attach=["."])
