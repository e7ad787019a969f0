"""Sources: what is read, how it is named, and what is refused with its line."""

import gzip
import json

import polars
import pytest

from radiograph.core import FormatError, UserError
from radiograph.harvest import Dataset, Fields, Text, read, subset, texts_of


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
    for name in ("a.jsonl", "a.jsonl.gz"):
        expected = [Text(*t, source=name, line=n) for n, t in enumerate([("p", "a", "g"), ("7", "b", "7")], 1)]
        assert read(str(tmp_path / name)) == [*expected, Text("3", "c", "3", source=name, line=3)]
    renamed = read(tmp_path / "a.jsonl", id_field="other", group_field="text")[2]
    assert (renamed.id, renamed.text, renamed.group) == ("x", "c", "c")


def test_every_form_of_text_reads_alike_from_lines_parquet_and_a_hub_dataset(tmp_path, monkeypatch):
    turns = [{"role": "user", "content": "a?"}, {"role": "assistant", "content": "b."}]
    rows = [
        {"id": "1", "text": "plain", "messages": None, "tokens": None, "group_id": "g"},
        {"id": "2", "text": None, "messages": turns, "tokens": None, "group_id": None},
        {"id": "3", "text": None, "messages": None, "tokens": [5, 6], "group_id": None},
    ]
    lab = tmp_path / "lab" / "made"
    lab.mkdir(parents=True)
    polars.DataFrame(rows).write_parquet(tmp_path / "a.parquet")
    polars.DataFrame(rows).write_parquet(lab / "train.parquet")
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("datasets")
    found = [read(source) for source in ("a.jsonl", "a.parquet", "hf:lab/made@local#train")]
    for texts in found:
        assert [(t.id, t.text, t.group, t.messages, t.tokens) for t in texts] == [
            ("1", "plain", "g", (), ()),
            ("2", "", "2", tuple(turns), ()),
            ("3", "", "3", (), (5, 6)),
        ]
    assert len(read("hf:lab/made@local#train[:2]")) == 2


@pytest.mark.parametrize("source", ["hf:lab/made#train", "hf:lab/made@main", "hf:@1#train", "hf:lab/made@1#train[9]"])
def test_a_dataset_needs_revision_and_split(source):
    with pytest.raises(UserError, match="not a dataset source") as error:
        Dataset.parse(source)
    assert "@REVISION#SPLIT" in error.value.expected


def test_a_folder_never_passes_for_a_pinned_dataset(tmp_path, monkeypatch):
    (tmp_path / "lab" / "made").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("datasets")
    for source in ("hf:lab/made@4f1e2d#train", "hf:lab/other@local#train"):
        with pytest.raises(UserError, match="folder here"):
            read(source)


@pytest.mark.parametrize(
    "row", [{"tokens": ["a"]}, {"tokens": "12"}, {"messages": []}, {"messages": [{"role": "user"}]}, {"messages": "hi"}]
)
def test_what_is_no_conversation_and_no_tokens_is_named(tmp_path, row):
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n' + json.dumps(row) + "\n")
    with pytest.raises(FormatError) as error:
        read(tmp_path / "a.jsonl")
    assert error.value.where.endswith("a.jsonl:2")


def test_ids_that_are_not_given_differ_between_sources(tmp_path):
    (tmp_path / "a.txt").write_text("one\n\ntwo\n")
    texts = [t for n in "01" for t in texts_of(tmp_path / "a.txt", Fields(), prefix=f"{n}:")]
    assert len({t.id for t in texts}) == len({t.group for t in texts}) == 4


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
