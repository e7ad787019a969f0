"""Sources: what is read, how it is named, and what is refused with its line."""

import gzip
import json

import pytest

from radiograph.core import FormatError, UserError
from radiograph.harvest import Text, read, subset


def test_lists_and_the_world_are_texts():
    assert read(["a", "b"]) == [Text("0", "a", "0"), Text("1", "b", "1")]
    texts = read("world:story#2", world=lambda spec: [spec, "x"])
    assert [t.text for t in texts] == ["world:story#2", "x"]
    assert texts[1].id == texts[1].group == "world:story#2/1"
    with pytest.raises(UserError, match="no small world"):
        read("world:story")


def test_json_lines_with_ids_and_groups(tmp_path):
    lines = [
        {"text": "a", "prompt_id": "p", "group_id": "g"},
        {"text": "b", "id": 7},
        {"text": "c", "other": "x"},
    ]
    content = "\n".join(map(json.dumps, lines)) + "\n\n"
    (tmp_path / "a.jsonl").write_text(content)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(content.encode()))
    expected = [Text("p", "a", "g"), Text("7", "b", "7"), Text("3", "c", "3")]
    assert read(tmp_path / "a.jsonl") == read(str(tmp_path / "a.jsonl.gz")) == expected
    assert read(tmp_path / "a.jsonl", id_field="other", group_field="text")[2] == Text("x", "c", "c")


def test_plain_text_by_blank_line_or_line(tmp_path):
    (tmp_path / "a.txt").write_text("one\ntwo\n\n\n\nthree\n")
    assert [t.text for t in read(tmp_path / "a.txt")] == ["one\ntwo", "three"]
    assert [t.text for t in read(tmp_path / "a.txt", per="line")] == ["one", "two", "three"]


@pytest.mark.parametrize("line", ["{", "[1]", '{"txt": "a"}', '{"text": 3}'])
def test_a_bad_line_is_named(tmp_path, line):
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n' + line + "\n")
    with pytest.raises(FormatError) as error:
        read(tmp_path / "a.jsonl")
    assert error.value.where.endswith("a.jsonl:2")


def test_missing_unknown_empty_and_double_are_refused(tmp_path):
    (tmp_path / "a.bin").write_text("x")
    (tmp_path / "a.txt").write_text("\n\n")
    (tmp_path / "a.jsonl").write_text('{"text": "a", "id": 1}\n{"text": "b", "id": 1}\n')
    for name, message in {"b.txt": "no such", "a.bin": "unknown kind", "a.txt": "no text", "a.jsonl": "twice"}.items():
        with pytest.raises(UserError, match=message):
            read(tmp_path / name)
    with pytest.raises(UserError, match="no text"):
        read([])


def test_a_subset_does_not_depend_on_the_order():
    texts = read([f"t{i}" for i in range(50)])
    some = subset(texts, 10, seed=1)
    assert {t.id for t in subset(texts[::-1], 10, seed=1)} == {t.id for t in some}
    assert some == [t for t in texts if t in some]
    assert {t.id for t in subset(texts, 10, seed=2)} != {t.id for t in some}
    assert set(some) <= set(subset(texts, 20, seed=1))
