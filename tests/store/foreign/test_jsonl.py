"""Records written as JSON Lines are the records that are read back, whichever order they lie in."""

import json

import numpy as np
import pytest

from radiograph.store.foreign import read_records, write_jsonl
from radiograph.store.records import open_records
from store.records.test_blocks import row_folder, sorted_folder

from .test_records import WRITTEN, bytes_of, some, values_of, write


@pytest.mark.parametrize("memory", [1, 2**20])
@pytest.mark.parametrize("order", ["row", "feature"])
def test_records_of_either_order_are_written_row_by_row(tmp_path, order, memory):
    dense = row_folder(tmp_path / "row")
    records = open_records(tmp_path / "row")
    if order == "feature":
        write_jsonl(records, tmp_path / "first.jsonl")
        records = read_records(tmp_path / "first.jsonl", tmp_path / "c")
    write_jsonl(records, tmp_path / "a.jsonl", memory=memory)
    head, *lines = [json.loads(text) for text in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert head["schema"] == "radiograph.records/1"
    assert head["model"] == {"ref": "bundled:base", "sha256": "1" * 64}
    assert len(lines) == len(dense)
    again = read_records(tmp_path / "a.jsonl", tmp_path / "c")
    assert values_of(again) == values_of(records)
    assert again.header.dictionary_sha256 == records.header.dictionary_sha256
    assert sum(len(one["features"]) for one in lines) == np.count_nonzero(dense)


def test_a_file_that_was_read_and_written_is_read_as_the_same_bytes(tmp_path):
    lines, _ = some()
    for i, one in enumerate(lines):
        one |= {
            "factors": {"level": i % 3, "who": "ü"},
            "label": bool(i % 2),
            "kind": "negative",
            "metadata": {"a": [i]},
        }
    lines[3]["features"] = {}
    lines[5]["feature_metadata"] = {"f0": {"label": "zero", "layer": 4}}
    first = read_records(write(tmp_path / "a.jsonl", lines), tmp_path / "c")
    sha = write_jsonl(first, tmp_path / "b.jsonl")
    second = read_records(tmp_path / "b.jsonl", tmp_path / "c")
    assert bytes_of(second) == bytes_of(first)
    assert write_jsonl(second, tmp_path / "b2.jsonl", memory=1) == sha


@pytest.mark.parametrize("name", ["hf_records", "sae_records"])
def test_what_interp_lab_wrote_survives(tmp_path, name):
    first = read_records(WRITTEN / f"{name}.jsonl", tmp_path / "c")
    write_jsonl(first, tmp_path / "b.jsonl")
    second = read_records(tmp_path / "b.jsonl", tmp_path / "c")
    assert bytes_of(second) == bytes_of(first)
    assert second.header.preselected == first.header.preselected


def test_another_folder_gives_the_same_lines(tmp_path):
    sorted_folder(tmp_path / "feature", row_folder(tmp_path / "row"))
    table = open_records(tmp_path / "feature").values.collect().sort("row", "feature")
    assert table["value"].equals(open_records(tmp_path / "row").values.collect()["value"])
