"""What `verify` finds in bundles of `probe sae-diff`: edited numbers, and what it has to take as written."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from radiograph.runtime import verify
from radiograph.store import Bundle
from shifting import shift, written


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = written(tmp_path_factory.mktemp("shift"))
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def full(place):
    return shift(depth="full", out="full")


FORGED = {
    "kind": "crosscoder",
    "requirements": [],
    "activation_drift": 0.001,
    "effect_rms": 0.001,
    "largest": 1.0,
    "carried/0/interval": [-9.0, 9.0],
    "carried/0/share": 0.01,
    "carried/0/effect": 0.0,
    "carried/0/state": "silenced",
    "carried/0/q": 0.2,
    "rest/state": "diffuse",
    "shares/carried_interval": [0.0, 0.1],
    "moved/level": 0.5,
    "n/tokens": 12,
    "null": [0] * 81,
    "shown/0/active_ref": 5.0,
    "shown/0/mean_ref": 5.0,
    "shown/0/state": "unmoved",
    "shown/3/p": None,
    "shown/3/feature": 2,
}
FULL = {
    "shares/seen": 0.1,
    "shares/seen_null": 0.1,
    "shares/outside": 0.1,
    "shares/outside_random": [],
    "carried/0/label_source": "x",
    "l2/floor_median": 9.0,
    "l2/p": 0.5,
    "l2/excess": 0.0,
    "fvu/difference": [0.5, 0.6],
    "shown/0/turned_on": 5,
    "changes/0/feature": 2,
}


def test_every_number_of_a_record_follows_from_its_tables(place):
    """Each edit alone, its hashes redone; then rows left out, doubled, changed, and tables left out."""
    from radiograph.methods.probe.sae_diff import recompute

    path = shift(depth="full", out="forged-full", require=["l2_excess<0.1"]).path
    document = json.loads((path / "result.json").read_text())
    assert recompute(document, path) == []
    _edited(FULL, document, path)
    path = shift(out="forged", require=["moved<3"]).path
    document = json.loads((path / "result.json").read_text())
    assert recompute(document, path) == []
    _edited(FORGED, document, path)
    for name in ("features", "groups", "sample", "written", "basis", "scale"):
        file = path / "tables" / f"{name}.parquet"
        data = file.read_bytes()
        table = pl.read_parquet(file)
        for other in (table[1:], table[:0]):
            other.write_parquet(file)
            assert recompute(document, path), name
        file.unlink()
        assert recompute(document, path), name
        file.write_bytes(data)
    for column in ("p", "q", "statistic", "effect"):
        file = path / "tables/features.parquet"
        table = pl.read_parquet(file)
        table.with_columns((pl.col(column) * 0.5).alias(column)).write_parquet(file)
        assert recompute(document, path), column
        table.write_parquet(file)
    assert recompute(document, path) == []


def test_what_needs_the_dictionary_is_measured_again_where_it_is_and_said_to_be_taken_where_not(place):
    from radiograph.methods.probe.sae_diff import as_written, recompute

    path = shift(out="held", permutations=99).path
    document = json.loads((path / "result.json").read_text())
    edits = {
        "rest/p": 0.5 if document["rest"]["p"] is None or document["rest"]["p"] < 0.4 else 0.2,
        "rest/share": 0.2,
        "rest/chance": 0.01,
        "moved/sham_carried": 1,
        "carried/0/alternatives": [3],
        "carried/0/name": "x",
        "carried/0/label": "x",
        "shown/0/name": "x",
        "activation": "identity",
        "notes": ["x"],
        "null": [document["null"][1], document["null"][0], *document["null"][2:]],
    }
    _edited(edits, document, path)
    assert not any("dictionary" in text for text in as_written(document, path))
    features = path / "tables/features.parquet"
    data = features.read_bytes()
    pl.read_parquet(data).with_columns(sham_q=pl.col("sham_q") * 0.99).write_parquet(features)
    assert any("sham_q" in text for text in recompute(document, path))
    features.write_bytes(data)
    away = Path("d.safetensors").rename("elsewhere.safetensors")
    try:
        assert recompute(document, path) == []
        assert "d.safetensors is not at hand" in verify(path).headline and verify(path).status == "intact"
        away.with_name("d.safetensors").write_bytes(away.read_bytes()[:-4] + b"\0\0\0\1")
        assert any("is not at hand as it was" in text for text in as_written(document, path))
    finally:
        away.rename("d.safetensors")
    assert verify(path).status == "intact"


def _edited(edits, document, path):
    from radiograph.methods.probe.sae_diff import recompute

    for way, value in edits.items():
        other = json.loads(json.dumps(document))
        *keys, last = [int(key) if key.isdigit() else key for key in way.split("/")]
        part = other
        for key in keys:
            part = part[key]
        part[last] = value
        assert recompute(other, path), way


def test_verify_derives_everything_again_and_sees_what_was_edited(full):
    assert verify(full.path).status == "intact"
    from radiograph.methods.probe.sae_diff import recompute

    document = Bundle(full.path).result
    edits = {
        "count": lambda d: d["moved"].update(count=3),
        "coefficient": lambda d: d["carried"][0].update(coefficient=9.0),
        "carried": lambda d: d["shares"].update(carried=0.5),
        "drift": lambda d: d["l2"].update(drift=0.0),
        "fvu.ref": lambda d: d["fvu"].update(ref=0.0),
        "outside": lambda d: d["shares"].update(outside=0.0),
        "delta": lambda d: d["changes"][0].update(delta=0.0),
    }
    for name, edit in edits.items():
        copy = json.loads(json.dumps(document))
        edit(copy)
        assert any(name in text for text in recompute(copy, full.path)), name
