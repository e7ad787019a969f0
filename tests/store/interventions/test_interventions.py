"""Intervention records: signs, doses, controls and criteria of our rows and of interp-lab's."""

import json
import random
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from radiograph.core import FormatError, UserError
from radiograph.evidence.interventions import CONTROLS
from radiograph.numerics.effects import VERBS
from radiograph.store.interventions import COLUMNS, FOREIGN_CONTROLS, read_interventions, write_interventions

WRITTEN = Path(__file__).parent.parent / "foreign" / "interp_lab"
DOWN = ("ablate", "zero", "mean_ablate", "remove", "knockout", "suppress", "clamp_down", "project_out")


def ours(**changes):
    return {
        "schema": "radiograph.intervention/1",
        "model_sha256": "1" * 64,
        "feature_id": "resid_post.2@1f3a90c2#650",
        "verb": "steer",
        "dose": {"value": -1.5, "unit": "sd", "raw": -0.83, "norm_fraction": 0.06},
        "push": -1,
        "positions": "all",
        "criterion_id": "c-4f1e",
        "prompt_id": "p7",
        "group_id": "g3",
        "split": "confirm",
        "kind": "positive",
        "outcome": {"name": "logprob", "unit": "nat"},
        "baseline": 0.92,
        "intervened": 0.31,
        "side": {"kl": 0.012, "nll_ratio": 1.01},
        "control": None,
        "seed": 0,
    } | changes


def theirs(verb="ablate", metadata=None, **changes):
    return {
        "model": "m",
        "feature_id": "L6:D3",
        "intervention": verb,
        "baseline_score": 0.2,
        "intervention_score": 0.5,
        "criterion": "Mentions of  units",
        "prompt_id": "p7",
        "side_effect_score": 0.01,
        "metadata": metadata or {},
    } | changes


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def one(tmp_path, row):
    table = read_interventions(write(tmp_path / "i.jsonl", [row])).table
    assert len(table) == 1
    return table.row(0, named=True)


def test_our_rows_are_read_as_they_are(tmp_path):
    row = one(tmp_path, ours())
    assert {name: row[name] for name in row if row[name] is not None} == {
        "row": 0,
        "model_sha256": "1" * 64,
        "feature_id": "resid_post.2@1f3a90c2#650",
        "verb": "steer",
        "dose": -1.5,
        "dose_unit": "sd",
        "dose_raw": -0.83,
        "norm_fraction": 0.06,
        "push": -1,
        "push_assumed": False,
        "positions": "all",
        "criterion_id": "c-4f1e",
        "prompt_id": "p7",
        "group_id": "g3",
        "split": "confirm",
        "kind": "positive",
        "outcome": "logprob",
        "outcome_unit": "nat",
        "baseline": 0.92,
        "intervened": 0.31,
        "kl": 0.012,
        "nll_ratio": 1.01,
        "seed": 0,
    }


@pytest.mark.parametrize("strength", [2.0, -2.0])
@pytest.mark.parametrize("sign", [1.0, -1.0, None])
def test_y8_doses_of_interp_lab_count_with_their_sign(tmp_path, strength, sign):
    metadata = {"steer_strength": strength} | ({} if sign is None else {"steer_sign": sign})
    dose = strength * (1 if sign is None else sign)
    row = one(tmp_path, theirs("Steer", metadata, baseline_score=0.2, intervention_score=0.2 + 0.1 * np.sign(dose)))
    assert (row["dose"], row["push"], row["push_assumed"]) == (dose, np.sign(dose), False)
    assert row["push"] * (row["intervened"] - row["baseline"]) == pytest.approx(0.1), "it promotes, at either sign"


@pytest.mark.parametrize(
    ("verb", "metadata", "push", "assumed"),
    [
        *((verb, {}, -1, False) for verb in DOWN),
        ("clamp_up", {}, 1, False),
        ("amplify", {}, 1, False),
        ("amplify", {"factor": 3}, 1, False),
        ("amplify", {"factor": 0.5}, -1, False),
        ("amplify", {"steer_strength": 0.5}, -1, False),
        ("steer", {}, 1, True),
        ("steer", {"steer_sign": -1}, -1, False),
        ("clamp", {}, 1, True),
        ("clamp", {"target_value": 2, "own_value": 5}, -1, False),
        ("clamp", {"clamp_value": 7, "own_value": 5}, 1, False),
        ("patch", {"source_value": 0.0, "own_value": 5}, -1, False),
        ("patch_in", {"source_value": 0.0}, 1, True),
    ],
)
def test_y8_every_verb_has_the_push_of_the_sign_table(tmp_path, verb, metadata, push, assumed):
    row = one(tmp_path, theirs(verb, metadata))
    assert (row["push"], row["push_assumed"]) == (push, assumed)


def test_y8_the_verbs_here_are_all_that_there_are():
    assert {*DOWN, "clamp_up", "amplify", "steer", "clamp", "patch", "patch_in"} == set(VERBS)


def test_a_dose_of_nothing_is_a_placebo_and_a_feature_where_it_was_put_is_no_row(tmp_path):
    rows = [
        theirs("steer", {"steer_strength": 0.0}),
        ours(dose={"value": 0, "unit": "sd"}, push=0),
        theirs("clamp", {"target_value": 5, "own_value": 5}),
        ours(verb="patch", push=0),
        theirs(),
    ]
    found = read_interventions(write(tmp_path / "i.jsonl", rows))
    assert found.no_push == 2
    assert found.table["control"].to_list().count("placebo") == 2
    placebos = found.table.filter(pl.col("control") == "placebo")
    assert placebos["control_of"].to_list() == placebos["feature_id"].to_list()


@pytest.mark.parametrize("name", [*FOREIGN_CONTROLS, "placebo", "Random_Feature"])
def test_controls_of_interp_lab_have_our_names(tmp_path, name):
    row = one(tmp_path, theirs("ablate", {"control_type": name, "control_index": 3}))
    assert row["control"] == FOREIGN_CONTROLS.get(name.lower(), name)
    assert row["control"] in CONTROLS
    assert (row["control_of"], row["control_index"], row["control_said"]) == ("L6:D3", 3, name.lower())


BAD = [
    (theirs("ablait"), "unknown verb 'ablait'; did you mean ablate"),
    (ours(verb="nudge"), "Known: ablate zero"),
    (
        theirs("ablate", {"control_type": "randomised"}),
        "unknown control type 'randomised'; did you mean random_direction",
    ),
    (ours(control={"type": "matched", "of": "x"}), "unknown control type 'matched'"),
    (ours(control="placebo"), "control must be an object or null, got 'placebo'"),
    (ours(push=1), "push 1 contradicts steer at dose -1.5, whose push is -1"),
    (ours(push=3), "push 3 contradicts"),
    (ours(schema="radiograph.intervention/2"), "schema must be radiograph.intervention/1"),
    (ours(baseline=None), "no baseline"),
    (ours(baseline="high"), "baseline must be a finite number, got 'high'"),
    (ours(model_sha256=None), "no model and no model_sha256"),
    (ours(feature_id=None), "no feature_id"),
    (ours(kind="near"), "unknown kind 'near'; did you mean near_miss"),
    (theirs("steer", {"steer_strength": "big"}), "metadata.steer_strength must be a finite number, got 'big'"),
    (theirs(metadata=[1]), "metadata must be an object"),
    (theirs(intervention_score=None), "no intervened"),
    ([1], "a JSON object was expected, got list"),
]


@pytest.mark.parametrize(("row", "text"), BAD, ids=range(len(BAD)))
def test_a_row_that_is_not_understood_is_an_error_and_never_an_effect(tmp_path, row, text):
    with pytest.raises(FormatError, match="mistake") as error:
        read_interventions(write(tmp_path / "i.jsonl", [ours(), row]))
    assert f"i.jsonl:2: {text}" in str(error.value) or text in str(error.value)
    assert "i.jsonl:2" in str(error.value)
    assert error.value.exit_code == 3


def test_y6_the_order_of_the_file_decides_nothing(tmp_path):
    rng = random.Random(0)
    rows = [
        theirs("steer", {"steer_strength": rng.choice([-2.0, 2.0])}, feature_id=f"f{i % 5}", baseline_score=i / 100)
        for i in range(60)
    ] + [ours(prompt_id=f"p{i}", seed=i) for i in range(20)]
    first = read_interventions(write(tmp_path / "a.jsonl", rows)).table
    rng.shuffle(rows)
    assert read_interventions(write(tmp_path / "b.jsonl", rows)).table.equals(first)
    assert first["row"].to_list() == list(range(80))


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_what_is_written_is_read_back(tmp_path, ending):
    rows = [
        ours(),
        ours(control={"type": "norm_matched", "of": "f", "index": 7}, side=None, dose=None, verb="ablate"),
        ours(verb="patch", push=-1, dose=None),
    ]
    table = read_interventions(write(tmp_path / "a.jsonl", rows)).table
    path = tmp_path / f"b.{ending}"
    sha = write_interventions(path, table)
    again = read_interventions(path)
    assert again.sha256 == sha
    assert again.table.equals(table)
    assert write_interventions(tmp_path / f"c.{ending}", again.table) == sha
    with pytest.raises(FormatError, match="no column 'strange'"):
        write_interventions(path, table.with_columns(strange=1))


def test_what_parquet_assumed_stays_assumed(tmp_path):
    table = read_interventions(write(tmp_path / "a.jsonl", [theirs("clamp"), theirs("ablate")])).table
    write_interventions(tmp_path / "b.parquet", table)
    assert read_interventions(tmp_path / "b.parquet").table.equals(table)
    assert sorted(table["push_assumed"].to_list()) == [False, True]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda t: t.with_columns(pl.lit("radiograph.intervention/7").alias("schema")), "newer"),
        (lambda t: t.drop("schema"), "not a radiograph.intervention document"),
        (lambda t: t.drop("push"), "no column push"),
        (lambda t: t.with_columns(pl.lit("nudge").alias("verb")), "unknown verb 'nudge'"),
        (lambda t: t.with_columns(pl.lit(float("nan")).alias("baseline")), "baseline must be a finite number"),
        (lambda t: t.with_columns(pl.lit("high").alias("baseline")), "another type"),
    ],
)
def test_a_bad_table_is_refused(tmp_path, change, text):
    table = read_interventions(write(tmp_path / "a.jsonl", [ours()])).table
    write_interventions(tmp_path / "b.parquet", table)
    change(pl.read_parquet(tmp_path / "b.parquet")).write_parquet(tmp_path / "c.parquet")
    with pytest.raises(FormatError) as error:
        read_interventions(tmp_path / "c.parquet")
    assert text in str(error.value)


def test_files_that_hold_nothing_of_the_kind_are_refused(tmp_path):
    (tmp_path / "a.jsonl").write_text("\n")
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match="holds no interventions"):
        read_interventions(tmp_path / "a.jsonl")
    with pytest.raises(UserError, match="not a file"):
        read_interventions(tmp_path / "b.jsonl")
    with pytest.raises(FormatError, match="not a Parquet file"):
        read_interventions(tmp_path / "a.parquet")


def test_criteria_fit_by_id_or_by_text_and_the_others_are_counted(tmp_path):
    rows = [
        ours(prompt_id="id"),
        ours(prompt_id="other id", criterion_id="c-0000"),
        ours(prompt_id="other id, same text", criterion_id="c-0000", criterion="mentions OF units"),
        theirs(prompt_id="text"),
        theirs(prompt_id="other text", criterion="kindness"),
        theirs(prompt_id="none", criterion=None),
    ]
    found = read_interventions(write(tmp_path / "i.jsonl", rows))
    fit, left_out = found.of_criterion("c-4f1e", "Mentions of units")
    assert sorted(fit["prompt_id"]) == ["id", "none", "other id, same text", "text"]
    assert left_out == 2
    every, left_out = found.of_criterion("c-4f1e", "Mentions of units", anyone=True)
    assert left_out == 0
    assert set(every.filter("criterion_mismatch")["prompt_id"]) == {"other id", "other text"}
    assert found.of_criterion(None, None)[0]["prompt_id"].to_list() == ["none"]


def test_models_are_named_where_the_wanted_one_is_absent(tmp_path):
    found = read_interventions(write(tmp_path / "i.jsonl", [ours(), theirs()]))
    assert len(found.of_model("m").table) == len(found.of_model(None, "1" * 64).table) == 1
    with pytest.raises(UserError, match="no interventions on mm") as error:
        found.of_model("mm")
    assert f"one of {'1' * 64}, m" in str(error.value)


@pytest.mark.parametrize("name", ["hf_interventions", "contrast_interventions", "sae_interventions"])
def test_files_that_interp_lab_wrote_are_read_as_they_are(tmp_path, name):
    raw = [json.loads(text) for text in (WRITTEN / f"{name}.jsonl").read_text().splitlines()]
    table = read_interventions(WRITTEN / f"{name}.jsonl").of_model("tiny").table
    key = ["feature_id", "prompt_id"]
    held = {tuple(row[k] for k in key): row for row in table.iter_rows(named=True)}
    assert len(held) == len(raw)
    for row in raw:
        own = held[tuple(row[k] for k in key)]
        assert (own["baseline"], own["intervened"]) == (row["baseline_score"], row["intervention_score"])
        assert own["side_quoted"] == row["side_effect_score"]
        assert own["outcome"] == "target_token_probability_mass"
        meta = row["metadata"]
        if row["intervention"] == "steer":
            assert own["dose"] == meta["steer_strength"] * meta.get("steer_sign", 1.0)
            assert own["push"] == np.sign(own["dose"])
        else:
            assert (own["dose"], own["push"]) == (None, -1)
        assert json.loads(own["extra"])["target_tokens"] == ["metres", "cups"]
    if name == "sae_interventions":
        assert (table["dose"] < 0).any(), "a latent whose association is negative is pushed down"


def test_the_columns_are_those_of_the_table(tmp_path):
    table = read_interventions(write(tmp_path / "i.jsonl", [ours()])).table
    assert table.columns == ["row", *COLUMNS]
