"""A compiled criterion goes to disk and comes back; rows of another one are refused."""

from __future__ import annotations

import json

import polars
import pytest

from radiograph.core import FormatError, UserError
from radiograph.criteria import (
    Parts,
    Template,
    columns,
    compile_criterion,
    from_columns,
    read_compiled,
    read_split,
    write_compiled,
)
from radiograph.evidence import NewerSchema
from radiograph.organisms import world

from .make import TEMPLATE, dataset, labelled


@pytest.mark.parametrize(
    "parts",
    [
        dataset([row | {"factors": {"form": i % 3}, "messages": None} for i, row in enumerate(labelled(40))]),
        Parts(text="world:next_unit", world=world, count=20),
        Parts(text="units", template=Template(TEMPLATE | {"factors": ["tool"]})),
    ],
    ids=["dataset", "world", "template"],
)
def test_what_is_written_is_read(parts, tmp_path):
    compiled = compile_criterion(parts)
    write_compiled(compiled, tmp_path)
    assert read_compiled(tmp_path / "criterion.json") == compiled
    assert read_split(tmp_path / "split.json") == read_split(tmp_path / "criterion.json") == compiled.split
    assert tuple(from_columns(columns(compiled.rows))) == compiled.rows
    document = json.loads((tmp_path / "criterion.json").read_text())
    assert document["schema"] == "radiograph.criterion/1"


def test_the_same_parts_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_compiled(compile_criterion(dataset(labelled(30))), tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_rows_may_lie_under_tables_as_in_a_bundle(tmp_path):
    compiled = compile_criterion(dataset(labelled(30)))
    write_compiled(compiled, tmp_path)
    (tmp_path / "tables").mkdir()
    (tmp_path / "criterion_rows.parquet").rename(tmp_path / "tables" / "criterion_rows.parquet")
    (tmp_path / "split.json").unlink()
    again = read_compiled(tmp_path / "criterion.json")
    assert again == compiled
    assert again.split.sha256 == compiled.criterion.split.sha256


def test_other_rows_are_refused(tmp_path):
    write_compiled(compile_criterion(dataset(labelled(30))), tmp_path)
    table = polars.read_parquet(tmp_path / "criterion_rows.parquet")
    table.with_columns(half=polars.lit("confirm")).write_parquet(tmp_path / "criterion_rows.parquet")
    with pytest.raises(FormatError, match="does not hold the rows"):
        read_compiled(tmp_path / "criterion.json")
    table.drop("kind").write_parquet(tmp_path / "criterion_rows.parquet")
    with pytest.raises(FormatError, match="lacks the column kind"):
        read_compiled(tmp_path / "criterion.json")
    (tmp_path / "criterion_rows.parquet").unlink()
    with pytest.raises(UserError, match="no rows beside"):
        read_compiled(tmp_path / "criterion.json")


def test_another_document_is_refused(tmp_path):
    path = tmp_path / "criterion.json"
    path.write_text("[1")
    with pytest.raises(FormatError, match="not JSON"):
        read_compiled(path)
    path.write_text('{"schema": "radiograph.criterion/2"}')
    with pytest.raises(NewerSchema):
        read_compiled(path)
    path.write_text('{"schema": "radiograph.split/1", "discover": 0.5, "seed": 0, "halves": {"a": "middle"}}')
    with pytest.raises(FormatError):
        read_split(path)
