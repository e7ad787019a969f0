"""Feature dumps: claims stay claims, and what cannot be compared says so by being null."""

import json

import pytest

from radiograph.core import FormatError, UserError
from radiograph.store.foreign import read_dump

from .test_records import write


def feature(name, **more):
    return {"feature_id": name, "model": "m"} | more


def test_features_are_read_by_id(tmp_path):
    rows = [
        feature("L2:D10", layer=2, label="units", examples=["a"], causal_effects={"criterion": 0.4}, source="dump"),
        feature("L1:D9", layer=1, activation_signature=[1, 0.5], prompt_ids=["p1", "p2"], metadata={"k": 1}, own=3),
        feature("SAE:F2", layer=2, decoder_signature=[0.1], basis="1" * 64, label=""),
        feature("x", site="blocks.1.hook_resid_post", activation_signature=[1.0], examples=[], causal_effects={}),
    ]
    dump = read_dump(write(tmp_path / "d.jsonl", rows), n_layers=2)
    assert dump.model == "m"
    lines = {row["feature_id"]: row for row in dump.table.iter_rows(named=True)}
    assert list(lines) == ["L1:D9", "L2:D10", "SAE:F2", "x"]
    assert [line["site"] for line in lines.values()] == ["resid_pre.1", "final_norm", "final_norm", "resid_post.1"]
    assert lines["L1:D9"]["activation_signature"] == [1, 0.5]
    assert lines["L1:D9"]["prompt_ids"] == ["p1", "p2"]
    assert json.loads(lines["L1:D9"]["extra"]) == {"metadata": {"k": 1}, "own": 3}
    assert lines["SAE:F2"]["basis"] == "1" * 64
    assert (lines["SAE:F2"]["label"], lines["x"]["examples"], lines["x"]["prompt_ids"]) == (None, None, None)
    assert read_dump(tmp_path / "d.jsonl").table["site"].to_list() == [None, None, None, "resid_post.1"]


def test_y18_causal_effects_of_a_dump_stand_in_a_column_that_says_who_claims_them(tmp_path):
    rows = [feature("a", causal_effects={"specificity": 0.1, "criterion": 0.4})]
    table = read_dump(write(tmp_path / "d.jsonl", rows)).table
    assert json.loads(table["claimed_effects"][0]) == {"criterion": 0.4, "specificity": 0.1}
    assert not [name for name in table.columns if "causal" in name or "effect" in name.replace("claimed_effects", "")]


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"model": "m"}, "d.jsonl:2: no feature_id"),
        ({"feature_id": "b"}, "d.jsonl:2: no model"),
        (feature("a"), "feature 'a' stands already on line 1"),
        (feature("b", activation_signature=[1, None]), "activation_signature must be a list of finite numbers"),
        (
            feature("b", activation_signature=[1], prompt_ids=["p", "q"]),
            "1 values in activation_signature, 2 prompt_ids",
        ),
        (feature("b", examples="one"), "examples must be a list of texts"),
        (feature("b", causal_effects=[1]), "causal_effects must be a map"),
        (feature("b", layer="six"), "layer must be a whole number"),
    ],
)
def test_a_bad_line_is_named(tmp_path, row, text):
    with pytest.raises(FormatError) as error:
        read_dump(write(tmp_path / "d.jsonl", [feature("a"), row]))
    assert text in str(error.value)


def test_models_are_named_where_the_wanted_one_is_absent(tmp_path):
    path = write(tmp_path / "d.jsonl", [feature("a"), feature("a", model="n")])
    with pytest.raises(UserError, match="several models"):
        read_dump(path)
    with pytest.raises(UserError, match="no records of 'mm'"):
        read_dump(path, model="mm")
    assert read_dump(path, model="n").table.height == 1
    (tmp_path / "e.jsonl").write_text("")
    with pytest.raises(FormatError, match="holds no features"):
        read_dump(tmp_path / "e.jsonl")
