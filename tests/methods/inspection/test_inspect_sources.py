"""Interventions, dumps, preselected and malformed files, running a model: what `inspect` makes of each."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from radiograph.core import ExitCode, FormatError, UserError
from radiograph.evidence import Refused
from radiograph.runtime import verify
from reports._html import StrictPage
from running import go

from .make import CRITERION, inspect, lines, table, text_of, write

THEIRS = Path(__file__).parent.parent.parent / "store" / "foreign" / "interp_lab"


@pytest.fixture
def files(workspace):
    return write(workspace / "records.jsonl", lines())


def moved(groups: int = 24, criterion: str = CRITERION) -> list[dict]:
    """Steering rows: `metre` raises the outcome with the dose, `form` does nothing; 20 random directions for either."""
    rng = np.random.default_rng(0)
    out = []
    for feature, slope in (("metre", 0.3), ("form", 0.0)):
        for group in range(groups):
            head = {"model": "m", "criterion": criterion, "verb": "steer", "prompt_id": f"q{group}", "kind": "positive"}
            head |= {"group_id": f"h{group}", "outcome": {"name": "logprob", "unit": "nat"}, "baseline": 0.5}
            head |= {"split": "discover" if group % 2 else "confirm", "side": {"kl": 0.01, "nll_ratio": 1.0}}
            for dose in (-1.0, 1.0):
                noise = float(rng.normal(0, 0.02))
                out.append(head | {"feature_id": feature, "dose": {"value": dose, "unit": "sd"}, "control": None}
                           | {"intervened": 0.5 + slope * dose + noise})  # fmt: skip
                for index in range(20):
                    control = {"type": "random_direction", "of": feature, "index": index}
                    out.append(head | {"feature_id": f"r{index}", "dose": {"value": dose, "unit": "sd"}}
                               | {"control": control, "intervened": 0.5 + float(rng.normal(0, 0.02))})  # fmt: skip
    return out


def test_z_interventions_are_judged_beside_the_association(files, workspace):
    write(workspace / "moved.jsonl", moved())
    done = inspect(interventions="moved.jsonl", require="causal:effect", cards=3)
    result = done.result
    grades = {f.feature: f.grade for f in result.causal.findings}
    assert grades["metre"] == "beyond_controls" and grades["form"] == "no_effect"
    assert result.causal.findings[0].feature == "metre"
    assert result.causal_grades["untested"] == 20  # those that nobody moved stay listed
    assert int(done.exit_code) == 0 and verify(done.path).status == "intact"
    response = next(card for card in result.cards if card.feature == "metre").response
    assert [point.dose for point in response.points] == [-1.0, 1.0]
    assert response.points[0].effect < 0 < response.points[1].effect
    assert response.points[0].interval[0] <= response.points[0].effect <= response.points[0].interval[1]
    assert response.points[1].band.controls == 20
    assert StrictPage((done.path / "report.html").read_text()).faults == []
    assert "dose" in (done.path / "report.html").read_text()
    strict = inspect(interventions="moved.jsonl", require="causal:validated", cards=0)
    assert int(strict.exit_code) == 2
    # What interventions leave unmet is unmet, however little the association could have shown.
    assert int(strict.result.model_copy(update={"outcome": "none_inconclusive"}).exit_code) == 2


def test_z_interventions_for_another_criterion_leave_everything_untested(files, workspace):
    write(workspace / "moved.jsonl", moved(criterion="something else"))
    done = inspect(interventions="moved.jsonl", require="causal:effect", cards=0)
    assert set(table(done, "causal")["grade"]) == {"untested"} and done.result.causal.findings == ()
    assert int(done.exit_code) == 4
    assert "made for another criterion" in (done.path / "report.md").read_text()
    used = inspect(interventions="moved.jsonl", any_criterion=True, cards=0)
    assert all("criterion_mismatch" in f.codes for f in used.result.causal.findings)


def test_z_interventions_on_another_model_name_those_there_are(files, workspace):
    write(workspace / "moved.jsonl", [row | {"model": "other"} for row in moved(6)])
    with pytest.raises(UserError, match="no interventions on m") as caught:
        inspect(interventions="moved.jsonl", cards=0)
    assert "other" in str(caught.value)


def test_y3_18_what_a_dump_claims_is_quoted_and_never_a_statistic(workspace):
    claims = {"feature_id": "f1", "model": "m", "label": "units", "causal_effects": {"logprob": 0.987}}
    write(workspace / "dump.jsonl", [claims, {"feature_id": "f2", "model": "m", "label": "colours"}])
    done = inspect("jsonl:dump.jsonl", search="units")
    result = done.result
    assert result.outcome == "not_measured" and int(done.exit_code) == 4
    assert result.study is None and result.correlational.findings == result.causal.findings == ()
    assert result.refusals[0].code == "no_activations"
    assert [(c.feature, c.codes) for c in result.claims] == [
        ("f1", ("claimed_by_source",)),
        ("f2", ("claimed_by_source",)),
    ]
    held = json.loads((done.path / "result.json").read_text())
    held.pop("claims")
    assert "0.987" not in json.dumps(held)
    assert "Quoted, not measured here" in (done.path / "report.html").read_text()
    assert [hit.feature for hit in result.search] == ["f1"]


def test_z_files_of_interp_lab_are_read_as_they_are(workspace):
    """Six prompts confirm nothing, and that is what the run says."""
    given = {
        "features": [f"records:{THEIRS / 'hf_records.jsonl'}"],
        "interventions": str(THEIRS / "hf_interventions.jsonl"),
    }
    done = go("inspect", model="tiny", criterion="mentions of units", **given)
    assert isinstance(done.result, Refused) and done.result.code == "few_units"
    assert int(done.exit_code) == 4 and "discover" in done.result.got


BAD = [
    ('{"model": "m", "features": {"a": NaN}}', "records.jsonl:3"),
    ('{"model": "m", "prompt_id": "x"}', "no features"),
    ('{"model": "m", "prompt_id": "p0", "token": 3, "text": "other", "features": {"a": 1}}', "without token"),
    ('{"model": "m", "prompt_id": "p0", "text": "other", "features": {}}', "two texts, on lines 1 and 3"),
    ('{"model": "m", "prompt_id": "y", "criterion_score": 3, "features": {"a": 1}}', "0 to 1"),
]


@pytest.mark.parametrize(("line", "said"), BAD)
def test_malformed_records_are_bad_input_and_leave_nothing(files, workspace, line, said):
    given = files.read_text().splitlines(keepends=True)
    files.write_text("".join([*given[:2], line + "\n", *given[2:]]))
    with pytest.raises(FormatError) as caught:
        inspect(out="run")
    assert caught.value.exit_code is ExitCode.BAD_INPUT
    assert said in str(caught.value)
    assert not any((workspace / name).exists() for name in ("run", "run.partial"))


def test_a_model_that_no_row_names_is_told_those_there_are(files):
    with pytest.raises(UserError, match="no records of 'other'") as caught:
        inspect(model="other")
    assert "one of m" in str(caught.value)


def test_two_values_of_one_place_need_a_rule(files):
    rows = lines()
    files.write_text(files.read_text() + json.dumps(rows[0] | {"features": {"n0": 99.0}}) + "\n")
    rows[0]["features"].setdefault("n0", 1.0)
    write(files, [*rows, rows[0] | {"features": {"n0": 99.0}}])
    with pytest.raises(FormatError, match="two values"):
        inspect()
    assert inspect(duplicates="max", cards=0).result.outcome == "found"


def test_a_split_that_some_rows_lack_is_none_and_lost_values_are_said(files):
    rows = [row | {"split": ("discover", "confirm")[number // 2 % 2]} for number, row in enumerate(lines())]
    rows[3]["features"]["n0"] = 1e-50
    write(files, rows)
    quick = {"permutations": 0, "bootstrap": 0, "cards": 0}
    found = inspect(**quick).result
    assert found.criterion.split.seed is None
    assert "1 values of records:records.jsonl are zero in float32 and count as silence, of n0" in found.notes
    del rows[0]["split"]
    write(files, rows)
    with pytest.raises(UserError, match=r"1 of 160 labelled rows of .* name no half") as caught:
        inspect(**quick)
    assert caught.value.code == "split_mismatch" and "'p0'" in str(caught.value.where)
    write(files, [row | {"label": row["kind"] != "positive"} for row in lines()])
    with pytest.raises(FormatError, match="160 mistakes") as caught:
        inspect(**quick)
    assert "records.jsonl:1: label False contradicts criterion_score 1" in str(caught.value.where)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"criterion_score": 1.0, "kind": "positive"}, "one_class"),
        ({"group_id": "one"}, "few_units"),
        ({"features": {"n0": 0.0, "n1": 0.0}}, None),
        ({"criterion_score": None, "kind": None}, "no_labels"),
    ],
)
def test_what_cannot_be_tested_is_refused_with_counts(files, changed, code):
    write(files, [row | changed for row in lines(40)])
    if code is None:
        with pytest.raises(UserError, match="no feature fires"):
            inspect()
        return
    done = inspect()
    assert isinstance(done.result, Refused) and done.result.code == code
    assert int(done.exit_code) == 4 and done.result.got


def test_rare_features_are_few_active_and_alone_refused(files):
    write(files, [row | {"features": {"n0": 1.0} if n < 6 else {}} for n, row in enumerate(lines(60))])
    done = inspect()
    assert done.result.code == "few_active" and int(done.exit_code) == 4


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"require": "correlational:sure"}, "no such requirement"),
        ({"criterion": ""}, "needs --criterion"),
        ({"features": []}, "needs --features"),
        ({"stratify": "colour"}, "no factor 'colour'"),
        ({"endpoint": "http://localhost:1"}, "belong together"),
        ({"features": ["record:records.jsonl"]}, "no source of features"),
    ],
)
def test_options_that_cannot_be_met(files, options, said):
    with pytest.raises(UserError, match=said):
        go("inspect", **({"model": "m", "criterion": "units", "features": ["records:records.jsonl"]} | options))


def test_z_features_chosen_on_one_half_need_the_split_that_chose_them(files):
    header = {"schema": "radiograph.records/1", "selected": "ab" * 32}
    write(files, [header, *lines()])
    with pytest.raises(UserError, match="chosen with labels on one half"):
        inspect()


def test_markup_and_controls_in_names_and_texts_are_escaped(files):
    nasty = "<script>alert(1)</script>\u202e\x1b[31m|`x`"
    rows = lines()
    for row in rows:
        row["features"] = {(nasty if name == "metre" else name): v for name, v in row["features"].items()}
        row["text"] = f"{row['text']} {nasty}"
    write(files, rows)
    done = inspect(cards=2)
    page, markdown = ((done.path / name).read_text() for name in ("report.html", "report.md"))
    assert StrictPage(page).faults == [] and "<script>" not in page
    assert not any(mark in page + markdown for mark in ("\u202e", "\x1b"))
    assert nasty in {f.feature for f in done.result.correlational.findings}
    assert verify(done.path).status == "intact"


def test_sources_side_by_side_share_rows_and_one_family(files, workspace):
    rows = lines()
    first = [row | {"features": {k: v for k, v in row["features"].items() if k != "metre"}} for row in rows]
    second = [row | {"features": {"metre": row["features"].get("metre", 0.0)}} for row in rows]
    write(workspace / "a.jsonl", first)
    write(workspace / "b.jsonl", second)
    alone, both = inspect(cards=2), inspect(["records:a.jsonl", "records:b.jsonl"], cards=2)
    one, two = (table(done).sort("feature_id") for done in (alone, both))
    for name in ("feature_id", "discover_z", "estimate", "q", "grade"):
        assert one[name].to_list() == two[name].to_list(), name
    assert set(two["source"]) == {"records:a.jsonl", "records:b.jsonl"}
    write(workspace / "b.jsonl", second[:100])
    with pytest.raises(UserError, match="was not measured on the rows of the other"):
        inspect(["records:a.jsonl", "records:b.jsonl"])


def test_tokens_of_a_prompt_are_pooled_and_their_features_shown(files):
    rows = []
    for row in lines():
        values = sorted(row["features"].items())
        for token in range(3):
            rows.append(row | {"token": token, "features": dict(values[token::3])})
    pooled = inspect(cards=2)
    write(files, rows)
    done = inspect(cards=2)
    for name in ("estimate", "q", "grade"):
        assert table(done)[name].to_list() == table(pooled)[name].to_list(), name
    assert done.result.study.design.pool == "max"


@pytest.mark.slow
def test_z_a_model_is_run_and_its_next_unit_features_are_found(workspace):
    """The planted direction of the small world: after a number comes a unit."""
    quick = {"count": 160, "causal": 0, "cards": 2, "permutations": 200, "bootstrap": 100}
    done = go("inspect", model="bundled:base", criterion="world:next_unit", features=["toy"], **quick)
    result = done.result
    assert result.outcome == "found" and result.study.sham <= 1
    best = result.correlational.findings[0]
    assert best.statistic.estimate > 0.9 and "toy_evidence" in best.codes
    card = result.cards[0]
    assert card.site == "resid_post.1" and card.raised and card.similar and card.coactive
    top = card.contexts[0]
    assert top.values[top.peak] == pytest.approx(top.value, rel=1e-6) and len(top.tokens) == len(top.values)
    assert result.sources[0].records == "steps/1-records.export/records"
    assert verify(done.path, done.seal).status == "intact"
    assert pl.read_parquet(done.path / "tables" / "correlational.parquet")["site"].n_unique() == 1


def test_what_the_step_that_measured_says_stands_in_the_result(workspace):
    long = [
        {"prompt_id": f"p{n}", "text": f"{text_of(n)} " * (60 if n < 5 else 1), "label": n % 2 == 0} for n in range(48)
    ]
    write(workspace / "prompts.jsonl", long)
    quick = {"permutations": 0, "bootstrap": 0, "cards": 0, "near_duplicates": "off", "surface": "off"}
    asked = {"prompts": "prompts.jsonl", "features": ["units:resid_post.0#0-3"], "causal": 0}
    done = go("inspect", model="bundled:base", criterion="even places", **asked, **quick)
    (step,) = done.path.glob("steps/*/result.json")
    said = json.loads(step.read_text())["notes"]
    assert any("5 of 48 prompts are longer than" in text for text in said)
    assert set(said) <= set(done.result.notes)


def test_a_failing_endpoint_is_a_refusal_with_its_code(workspace):
    from chatting import Fault, chatting

    with chatting(lambda payload, number: Fault(401)) as server:
        done = go(
            "inspect", model="m", criterion="units", compile_only=True, endpoint=server.url, writer_model="scribe"
        )
    assert isinstance(done.result, Refused) and done.result.code == "endpoint_unauthorised"
    assert int(done.exit_code) == 4


def test_y3_no_finding_says_whether_there_was_power(files):
    write(files, lines(600, planted=False))
    enough = inspect(cards=0, permutations=0, bootstrap=0, q=0.001)
    assert enough.result.outcome == "none_adequate" and int(enough.exit_code) == 0
    write(files, lines(100, planted=False))
    few = inspect(cards=0, q=0.001, require="correlational:confirmed")
    assert few.result.outcome == "none_inconclusive" and int(few.exit_code) == 4
    assert few.result.study.units_needed > few.result.study.design.units[1]
    assert f"{few.result.study.units_needed} units in a half are needed" in few.result.headline


@pytest.mark.slow
def test_x5_1_sparse_detectors_take_the_first_ranks_at_full_size(workspace):
    """20,000 rows, 45 random features of 5,000 each, five planted ones that fire with p .9 and .02."""
    rng, label = np.random.default_rng(0), np.arange(20_000) % 2
    taken = np.argpartition(rng.random((20_000, 4995), dtype=np.float32), 45, axis=1)[:, :45]
    fires = rng.random((20_000, 5)) < np.where(label[:, None] == 1, 0.9, 0.02)
    noise = rng.exponential(size=taken.size).reshape(taken.shape) + 0.01
    with (workspace / "records.jsonl").open("w") as handle:
        for row in range(20_000):
            own = {f"f{f}": v for f, v in zip(taken[row].tolist(), noise[row].tolist(), strict=True)}
            own |= {f"f{4995 + i}": float(rng.uniform(1, 2)) for i in np.flatnonzero(fires[row]).tolist()}
            head = {"model": "m", "prompt_id": f"p{row}", "criterion_score": int(label[row])}
            handle.write(json.dumps(head | {"features": own}) + "\n")
    done = go("inspect", model="m", criterion=CRITERION, features=["records:records.jsonl"])
    found = table(done).sort("rank")
    assert set(found["feature_id"][:5]) == {f"f{4995 + i}" for i in range(5)}
    assert found["grade"][:5].to_list() == ["confirmed"] * 5 and set(found["grade"][5:]) <= {"none", "candidate"}
    assert all(0.93 <= area <= 0.95 for area in found["estimate"][:5])
    assert (done.path / "report.html").stat().st_size < 2e6 and len(done.result.cards) == 20
    assert verify(done.path).status == "intact"


@pytest.mark.slow
def test_z_candidates_of_a_running_model_are_intervened_on(workspace):
    done = go("inspect", model="bundled:base", criterion="world:next_unit", features=["toy"], causal=2, cards=3)
    result = done.result
    assert len(result.causal.findings) == 2 and result.causal_grades["untested"] == 254
    assert not {f.grade for f in result.causal.findings} & {"untested"}
    moved = {f.feature for f in result.causal.findings}
    assert all(card.response is not None for card in result.cards if card.feature in moved)
    assert verify(done.path, done.seal).status == "intact"
