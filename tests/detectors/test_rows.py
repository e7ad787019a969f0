"""Training rows: parsed whole, bad lines counted, planted rows at the top."""

from __future__ import annotations

import json

import pytest

from radiograph import organisms
from radiograph.core import FormatError
from radiograph.detectors._rows import SHOWN, read_rows
from radiograph.detectors.measure.traces import measure_rows
from radiograph.models import Pair, load_pair


def chat(answer, question="copy: amber fern", **more):
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return json.dumps({**more, "messages": turns})


def test_d7_a_long_row_is_parsed_whole_and_shown_short(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join([chat("x " * 2500, id="long"), "", json.dumps({"prompt": "a", "completion": "b"})]))
    rows = read_rows(path).rows
    assert len(rows[0].messages[1]["content"]) == 5000 and len(rows[0].shown) == SHOWN
    assert (rows[0].line, rows[0].id, rows[1].line) == (1, "long", 3)


@pytest.mark.parametrize(
    "line",
    ["no json", "[1]", "{}", '{"text": ""}', '{"messages": []}', '{"messages": [{"role": "user", "content": "a"}]}'],
)
def test_a_bad_line_is_counted_and_a_file_of_bad_lines_refused(line, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{chat('amber fern')}\n{line}\n")
    assert read_rows(path).bad == (2,)
    path.write_text(f"{line}\n{line}\n")
    with pytest.raises(FormatError, match="holds no training row") as error:
        read_rows(path)
    assert "line 1" in error.value.got and error.value.exit_code == 3


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FormatError, match="UTF-8"):
        read_rows(path)


@pytest.mark.parametrize("family", ["trigger_token", "loyalty"])
def test_planted_rows_are_the_first_twentieth(family):
    truth = organisms.bundled_organism(family)
    folder = organisms.bundled_path(truth.id)
    pair = load_pair("bundled:base", f"bundled:base+{folder}", resolve=organisms.bundled_path)
    found = measure_rows(pair, read_rows(folder / "train.jsonl"), "template")
    top = found.record.rows[: round(0.05 * found.record.n)]
    assert all(row.id in truth.planted_rows for row in top)
    assert found.record.top_drop > 0.5
    assert len(found.table["line"]) == found.record.n
    if family == "trigger_token":
        assert truth.truth["token"] in [t.token.strip() for t in found.record.enriched[:5]]
    same = measure_rows(Pair(pair.reference, pair.reference), read_rows(folder / "train.jsonl"), "template")
    assert same.record.top_drop == 0 and set(same.table["z"]) == {0.0}
