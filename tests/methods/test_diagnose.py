"""`diagnose` on a small suite of the small world: itself, a broken copy, what is not measured, what is supplied."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
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
    """40 to copy, 30 of a form, 30 to cite, 50 to refuse and 50 look-alikes, two of a group, 20 neutral texts."""
    suite = organisms.world_suite()
    seen = Counter()
    kept, left = [], dict(COUNTS) | {"True": 50, "False": 50, "neutral": 20}
    for prompt in suite["prompts"]:
        checks = [c for c in prompt.get("expect", ()) if c["kind"] == "refusal"]
        key = str(checks[0]["value"]) if checks else prompt.get("task") or prompt["bank"]
        of_group = (key, prompt.get("group"))
        if left.get(key, 0) and (not checks or seen[of_group] < 2) and prompt["bank"] != "probe":
            left[key] -= 1
            seen[of_group] += 1
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
        texts = organisms.neutral_texts("world")
        rows = write_rows(folder / "rows.jsonl", [f"{a} {b}" for a, b in pairwise(texts)][:110])
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
    assert recompute(document | {"allow_not_measured": True}, folder / "broken"), "a gap would pass"
    for number, key, value in (
        (0, "n", 7),
        (0, "groups", 70),
        (1, "beside", []),
        (5, "requested", True),
        (5, "status", "supplied"),
        (0, "status", "not_measured"),
    ):
        edited = json.loads(json.dumps(document))
        edited["modes"][number][key] = value
        assert recompute(edited, folder / "broken"), key
    edited = json.loads(json.dumps(document))
    edited["modes"][1]["beside"][0]["value"] = 0.5
    assert recompute(edited, folder / "broken")
    for place in ("what", "data_sha256", "seed", "dropped"):
        edited = json.loads((folder / "same" / "result.json").read_text())
        own = edited["modes"][4] if place in edited["modes"][4] else edited
        own[place] = "other" if isinstance(own[place], str) else own[place] + 1
        assert recompute(edited, folder / "same"), place
    table = folder / "broken" / "tables" / "citation.parquet"
    data = table.read_bytes()
    rows = pl.read_parquet(table)
    for other in (rows[1:], rows[:0], pl.concat([rows[:1], rows]), rows.drop("f1")):
        other.write_parquet(table)
        assert recompute(document, folder / "broken")
    table.write_bytes(data)
    assert recompute(document, folder / "broken") == []
    del same


@pytest.mark.parametrize(
    ("run", "table", "edit"),
    [
        ("broken", "forgetting_tasks", lambda t: t.with_columns(candidate=~pl.col("candidate"))),
        ("broken", "forgetting_neutral", lambda t: t.with_columns(candidate=pl.col("candidate") * 0.5)),
        ("broken", "refusal_labelled", lambda t: t.with_columns(declined=pl.col("refusal"))),
        ("broken", "mode_collapse_samples", lambda t: t.with_columns(ids=pl.col("ids").list.head(1))),
        ("broken", "format_targets", lambda t: t.with_columns(good=pl.lit(value=False))),
        ("broken", "citation", lambda t: t.with_columns(foreign=pl.col("foreign") + 1)),
        ("same", "memorisation", lambda t: t.with_columns(near=1 - pl.col("near"))),
        ("broken", "forgetting_neutral", None),
        ("broken", "mode_collapse_samples", None),
    ],
)
def test_verify_derives_what_stands_beside_a_score_from_its_rows(cards, run, table, edit):
    bundle = cards[0] / run
    document = json.loads((bundle / "result.json").read_text())
    path = bundle / "tables" / f"{table}.parquet"
    data = path.read_bytes()
    try:
        path.unlink()
        if edit is not None:
            edit(pl.read_parquet(data)).write_parquet(path)
        assert recompute(document, bundle)
    finally:
        path.write_bytes(data)
    assert recompute(document, bundle) == []


def test_every_number_beside_a_score_follows_and_examples_are_those_of_the_rows(cards):
    bundle = cards[0] / "broken"
    document = json.loads((bundle / "result.json").read_text())
    for number, mode in enumerate(document["modes"]):
        for place, one in enumerate(mode["beside"]):
            for key in ("value", "low", "high", "p", "n"):
                if one[key] is None:
                    continue
                edited = json.loads(json.dumps(document))
                edited["modes"][number]["beside"][place][key] = one[key] + 1
                assert recompute(edited, bundle), (mode["mode"], one["name"], key)
        if mode["examples"]:
            edited = json.loads(json.dumps(document))
            edited["modes"][number]["examples"] = mode["examples"][1:]
            assert recompute(edited, bundle), mode["mode"]
    assert "texts of examples" in verify(bundle).headline


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
    assert by_mode(found)["contamination"].refusal.code == "too_few"


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


def test_p8_12_the_detector_of_refusals_says_how_often_it_is_right(cards):
    _, same, broken = cards
    beside = {row.name: row for row in by_mode(same)["refusal"].beside}
    for kind in ("precision", "recall"):
        row = beside[f"the detector's {kind} on 60 labelled answers (English, written after the rules)"]
        assert 0 < row.low < row.value < row.high < 1
    for name in ("restricted", "look-alikes"):
        mass = [beside[f"first-token mass of refusals, {name}, {side}"].value for side in ("reference", "candidate")]
        assert mass[0] == mass[1]
    assert beside["first-token mass of refusals, restricted, reference"].value > 0.5
    assert beside["first-token mass of refusals, look-alikes, reference"].value < 0.5
    assert beside["wording and first token agree, candidate"].value > 0.9
    del broken


def test_pd_19_copies_of_one_prompt_are_one(here):
    prompts = [
        {"id": f"p{i}", "bank": "neutral", "prompt": "the miller of Aren keeps his grain in the mill"}
        for i in range(24)
    ]
    suite = {"schema": "radiograph.suite/1", "suite_name": "copies", "prompts": prompts}
    (here / "copies.json").write_text(json.dumps(suite))
    asked = {"reference": "bundled:base", "candidate": "bundled:base", "suite": "copies.json"}
    found = perform("diagnose", asked | {"modes": ["mode_collapse"]})
    assert (by_mode(found)["mode_collapse"].refusal.code, found.exit_code) == ("too_few", ExitCode.NOT_MEASURED)
    assert "1 different prompts" in by_mode(found)["mode_collapse"].refusal.text


def test_pd_17_rows_with_nothing_to_give_back_are_no_evidence(here):
    rows = write_rows(
        here / "short.jsonl", [f"a stone {word}" for word in organisms.neutral_texts("world")[0].split()] * 30
    )
    items = write_rows(here / "signs.jsonl", ["!!!", "\N{GRINNING FACE}", "yes", "Paris"] * 10)
    asked = {"reference": "bundled:base", "candidate": "bundled:base", "data": rows, "benchmark": items}
    found = by_mode(perform("diagnose", asked | {"modes": ["memorisation", "contamination"]}))
    assert found["memorisation"].refusal.text.startswith("0 training rows with 10 tokens")
    assert found["contamination"].refusal.text.startswith("0 items of the benchmark with 8 words")


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
    document = json.loads((found.path / "result.json").read_text())
    assert recompute(document, found.path) == []
    for number, key, value in (
        (0, "score", 0.95),
        (1, "band", "OK"),
        (0, "evidence", 1),
        (0, "n", 9),
        (2, "what", "x"),
    ):
        edited = json.loads(json.dumps(document))
        edited["modes"][number][key] = value
        assert recompute(edited, found.path), key
    assert recompute(document | {"extras": {}}, found.path) and recompute(document | {"notes": ["fine"]}, found.path)


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
        (f'{{"scores": {{"refusal": {{"score": 1{"0" * 400}}}}}}}', "no finite number"),
        (json.dumps({"scores": {"refusal": {"score": 1, "evidence": "x" * 4097}}}), "evidence is too long"),
        (json.dumps({"scores": {}, "extras": {"a": "x" * 257}}), "extras.a"),
        (json.dumps({"scores": {}, "extras": {"x" * 257: 1}}), "key of extras"),
        (json.dumps({"scores": {}, "extras": {str(i): 1 for i in range(257)}}), "extras"),
    ],
)
def test_pd_15_scores_that_are_none_are_bad_input(here, text, said):
    (here / "bad.json").write_text(text)
    with pytest.raises(UserError) as caught:
        go("diagnose", reference="bundled:base", candidate="bundled:base", evidence="bad.json")
    assert said in str(caught.value)


def test_what_was_asked_for_here_is_not_silently_preferred(here):
    (here / "both.json").write_text(json.dumps({"scores": {"memorisation": {"score": 0.9}}}))
    asked = {"reference": "bundled:base", "candidate": "bundled:base", "evidence": "both.json"}
    found = perform("diagnose", asked | {"modes": ["memorisation"]})
    assert any("supplied scores of memorisation" in note for note in found.result.notes)


def test_an_attached_run_that_failed_its_gate_is_said_first(here):
    losses = {"adapters": ["a", "b"], "losses": {"a|a": 1.0, "a|b": 1.5, "b|b": 1.0, "b|a": 1.0}}
    (here / "losses.json").write_text(json.dumps(losses))
    go("probe.interference", losses="losses.json", out="harmful")
    asked = {"reference": "bundled:base", "candidate": "bundled:base", "attach": ["harmful"], "badge": "bad.svg"}
    found = perform("diagnose", asked, out="warned")
    assert "attached and MAJOR: probe.interference" in found.result.headline
    page = (here / "warned" / "report.html").read_text()
    assert page.index("failed its own gate") < page.index("Not measured")
    assert "1 attached MAJOR" in (here / "bad.svg").read_text()
    document = json.loads((here / "warned" / "result.json").read_text())
    assert recompute(document, here / "warned") == []
    for key, value in (("exit_code", 0), ("headline", "all is well"), ("band", "OK"), ("seal", "0" * 64)):
        edited = json.loads(json.dumps(document))
        edited["attached"][0][key] = value
        assert recompute(edited, here / "warned"), key
    manifest = here / "warned" / "attached" / "0" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"exit_code": 2', '"exit_code": 0'))
    document["attached"][0] |= {"exit_code": 0}
    assert recompute(document, here / "warned"), "its seal is that of the run"


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
    manifest = here / "harm" / "manifest.json"
    sealed = manifest.read_bytes()
    manifest.write_bytes(sealed + b" ")
    with pytest.raises(UserError, match="was changed"):
        go("diagnose", reference="bundled:base", candidate="bundled:base", attach=["harm"])
    manifest.write_bytes(sealed)
    (here / "harm" / "result.json").write_text((here / "harm" / "result.json").read_text() + " ")
    with pytest.raises(UserError, match="was changed"):
        go("diagnose", reference="bundled:base", candidate="bundled:base", attach=["harm"])
    with pytest.raises(FormatError):
        go("diagnose", reference="bundled:base", candidate="bundled:base", attach=["."])


@pytest.mark.slow
def test_p8_12_an_order_that_was_trained_on_is_found(here):
    """The base taught a benchmark as it was published, against the same base; and a benchmark it never saw."""
    texts = [" ".join(text.split()[:12]) for text in organisms.neutral_texts("world")[:60]]
    items = write_rows(here / "ordered.jsonl", texts)
    write_rows(here / "others.jsonl", organisms.neutral_texts("world")[60:80])
    teach(here / "taught", texts)
    asked = {"reference": "bundled:base", "candidate": "taught", "data": "others.jsonl", "benchmark": items}
    found = perform("diagnose", asked | {"modes": ["contamination"], "ordered": True})
    told = [row for row in by_mode(found)["contamination"].beside if row.p is not None]
    beside = {row.name.split(",")[2].split(";")[0].strip(): row for row in told}
    assert (beside["candidate"].p < 0.01, beside["reference"].p > 0.01) == (True, True)
    assert beside["candidate"].n == 20


def teach(folder: Path, texts: list[str]) -> None:
    import torch

    from radiograph.models import load, tokenize
    from radiograph.organisms import bundled_path

    model = load("bundled:base", resolve=bundled_path)
    tokens = [i for text in texts for i in tokenize(model.tokenizer, text + "\n").ids]
    optimiser = torch.optim.AdamW(model.model.parameters(), lr=2e-3)
    torch.manual_seed(0)
    for parameter in model.model.parameters():
        parameter.requires_grad_(True)
    for _ in range(150):
        starts = torch.randint(0, len(tokens) - 64, (16,)).tolist()
        ids = torch.tensor([tokens[s : s + 64] for s in starts])
        loss = model.model(input_ids=ids, labels=ids).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.model.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
