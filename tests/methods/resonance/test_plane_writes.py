"""Coordinates that a condition writes where rows are read: known however the write is spelled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from radiograph.methods.resonance._planes._written import Written, written
from radiograph.store.planes import VectorRows, WrittenColumns
from radiograph.store.planes._rows import _writes
from running import go

SITE, WIDTH = "mlp_hidden.3", 12


def rows(condition: str, site: str = SITE, **facts: Any) -> VectorRows:
    columns = {"id": ["a", "b"], "core": ["x", "x"], "condition": ["none", condition], "sample": [0, 0]}
    return VectorRows(np.ones((2, WIDTH), dtype=np.float32), columns, (), site, None, None, "s", 0, **facts)


@pytest.mark.parametrize(
    ("condition", "columns", "along"),
    [
        ("mlp_hidden.3[7]:set:100@all", (7,), False),
        ("mlp_hidden.3[7:9]:ablate@all", (7, 8), False),
        ("mlp_hidden.*[7]:set:100@all", (7,), False),
        ("mlp_hidden.2-4[7]:set:100@all", (7,), False),
        ("mlp_hidden.{2,3}[7]:set:100@all", (7,), False),
        ("mlp_hidden.-1[7]:set:100@all", (7,), False),
        ("mlp_hidden.4-5[7]:set:100@all", (), False),
        ("mlp_out.3[7]:set:100@all", (), False),
        ("embed[1]:set:1@all; mlp_hidden.3[2]:add:1@all", (2,), False),
        ("mlp_hidden.3:scale:2@all", tuple(range(WIDTH)), False),
        ("mlp_hidden.3~d:add:1@all", (), True),
        ("mlp_hidden.3[0:8]~d:set:5@all", tuple(range(8)), False),
        ("sweep=-10", (), False),
    ],
)
def test_a_file_without_conditions_is_read_by_their_names(condition, columns, along):
    assert written(rows(condition)) == Written(columns, along)


def test_a_capture_says_what_was_written_and_heads_are_columns():
    known = {"x": [WrittenColumns("attn_z.3", 12, 24, False), WrittenColumns("attn_z.2", 0, 24, True)]}
    assert written(rows("x", "attn_z.3.h1", writes=known)).columns == tuple(range(WIDTH))
    assert written(rows("x", "attn_z.3.h0", writes=known)) == Written()
    assert not written(rows("attn_z.3[h0]:ablate@all", "attn_z.3.h1")).columns
    assert written(rows("attn_z.3[h1]:ablate@all", "attn_z.3.h1")).columns == tuple(range(WIDTH))


def test_conditions_of_a_capture_are_read_in_its_own_columns(tmp_path):
    raw = {"site": SITE, "columns": [3, 5], "basis": None}
    document = {"conditions": [{"name": "none", "writes": []}, {"name": "c", "writes": [{"raw": raw}]}]}
    path = Path(tmp_path / "conditions.json")
    path.write_text(json.dumps(document))
    assert _writes(path) == {"none": [], "c": [WrittenColumns(SITE, 3, 5, False)]}


def test_results_of_a_direction_written_where_it_is_read_are_marked(tmp_path, monkeypatch):
    from safetensors.numpy import save_file

    monkeypatch.chdir(tmp_path)
    values = np.random.default_rng(0).standard_normal((16, WIDTH)).astype(np.float32)
    save_file({SITE: np.concatenate([values, values + 1])}, "rows.safetensors")
    lines = [f"c{i},{condition}" for condition in ("none", f"{SITE}~d:add:1@all") for i in range(16)]
    Path("rows.csv").write_text("\n".join(["core,condition", *lines]))
    go("resonance basis", kind="one-hot", of=("3,4",), vectors="rows.safetensors", out="made")
    options: dict[str, Any] = {"basis": ("made",), "transform": ("raw",), "permutations": 19}
    found = go("resonance sweep", vectors="rows.safetensors", most_permutations=0, **options).result
    moved = go("resonance compare", left="rows.safetensors", right="rows.safetensors", **options).result
    for result, records in ((found, found.top), (moved, moved.moved)):
        assert records and all("tautological" in row.flags for row in records)
        assert any("a direction is written" in note for note in result.notes)
