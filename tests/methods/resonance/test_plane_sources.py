"""Rows that made a basis are known by what they hold, and are never scored with themselves as if they were others."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from radiograph.core import FormatError
from radiograph.methods.resonance._planes import _groups, _measure
from radiograph.numerics.planes import Transform
from radiograph.store.planes import open_basis, open_rows, read_named_vectors
from running import go

WIDTH, CORES = 24, 6
COLUMNS = ("core", "type", "level", "condition")


def saved(name: str, values: np.ndarray, cells: list[tuple[Any, ...]]) -> None:
    save_file({"mlp_out.3": values.astype(np.float32)}, f"{name}.safetensors")
    with Path(f"{name}.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *cells])


@pytest.fixture
def here(tmp_path, monkeypatch) -> None:
    """Noise: `first`, and `again`, which holds the same rows and as many that were written."""
    monkeypatch.chdir(tmp_path)
    cells = [(f"c{c}", t, level, "none") for c in range(CORES) for t in ("a", "b", "c") for level in (1, 2)]
    values = np.random.default_rng(0).standard_normal((len(cells), WIDTH))
    saved("first", values, cells)
    pushed = [(*cell[:3], "embed[3]:add:1@all") for cell in cells]
    noise = 0.1 * np.random.default_rng(1).standard_normal(values.shape)
    saved("again", np.concatenate([values, values + noise]), [*cells, *pushed])
    saved("renamed", values, [(f"other {cell[0]}", *cell[1:]) for cell in cells])
    saved("fresh", np.random.default_rng(2).standard_normal(values.shape), cells)


def measured(made: Any, rows: str, by: tuple[str, ...] = ("type",), where: str = "", **asked: Any) -> Any:
    held = _groups.kept(open_rows(Path(f"{rows}.safetensors")), where)
    stored = open_basis(made.path)
    transform = Transform.fit("raw", held.values.astype(float))
    options = _measure.Asked(**{"permutations": 99, "limit": 0, **asked})
    return _measure.measure(_groups.grouped(held, by), stored, "x", transform, options)


def basis(kind: str = "contrast", **config: Any) -> Any:
    return go("resonance basis", kind=kind, vectors="first.safetensors", out="made", **config)


def test_rows_copied_into_another_file_are_the_rows_that_made_the_basis(here):
    made = basis(by="type")
    whole = measured(made, "first")
    assert not whole.circular and all(tested.p[0] > 0.02 for tested in whole.tested.values())
    # Labels decided the vectors: beside rows of the same prompts they cannot be exchanged without making them again.
    held = measured(made, "again")
    assert not held.circular and not held.tested and "no null" in held.flags
    assert held.pseudo_f is None and held.span.null.startswith("none")
    # Each row is scored without its core, so that its own type lies on no side of its plane.
    mine = np.arange(len(whole.rows.names))
    np.testing.assert_allclose(held.z[:, :, mine], whole.z, atol=1e-5)
    # The same file, with its cores under other names: no fold leaves them out.
    lost = measured(made, "renamed")
    assert lost.circular and not lost.tested and not lost.haar
    assert any("--fold" in note for note in lost.notes)
    assert measured(made, "again", fold="none").circular
    fresh = measured(made, "fresh")
    assert not fresh.circular and set(fresh.tested) == {"a", "b", "c"}


def test_a_written_row_is_scored_without_its_core_too(here):
    made = basis("means", by="type")
    found = measured(made, "again", by=("level",), where="condition!=none")
    whole = measured(made, "first", by=("level",))
    # Beside rows that were not written it hardly moved; with the whole basis it would lie along its own mean.
    assert np.abs(found.z - whole.z).max() < 0.3
    assert not found.circular


def test_streamed_planes_of_their_own_rows_are_circular(here):
    kinds: list[tuple[str, dict[str, Any]]] = [("contrast", {"by": "type"}), ("pca", {"of": ("3",)})]
    for kind, config in kinds:
        made = go("resonance basis", kind=kind, vectors="first.safetensors", out=kind, **config)
        found = measured(made, "first", where="level=1", memory=2000)
        assert found.z is None and found.circular and not found.haar
        assert any("--memory" in note for note in found.notes)
        assert not measured(made, "fresh", memory=4000).circular


def test_what_is_adjusted_is_still_the_row_that_was_read(here):
    rows = open_rows(Path("first.safetensors"))
    assert replace(rows, values=rows.values * 2).digests == rows.digests
    assert rows.at([3, 1]).digests == (rows.digests[3], rows.digests[1])
    assert set(open_basis(basis(by="type").path).record.digests) == set(rows.digests)


def test_a_damaged_tensor_file_is_bad_input(here):
    for name in ("first", "alone"):
        Path(f"{name}.safetensors").write_bytes(b"\xff" * 40)
    with pytest.raises(FormatError, match=r"first\.safetensors"):
        open_rows(Path("first.safetensors"))
    with pytest.raises(FormatError, match=r"alone\.safetensors"):
        read_named_vectors(Path("alone.safetensors"))


def test_exchanging_sides_gives_no_p_where_one_of_them_made_the_basis(here):
    made = str(go("resonance basis", vectors="first.safetensors", kind="means", by="type", out="made").path)
    saved("far", np.random.default_rng(9).standard_normal((36, WIDTH)), [
        (f"c{c}", t, level, "none") for c in range(CORES) for t in ("a", "b", "c") for level in (1, 2)
    ])  # fmt: skip
    outcome = go("resonance compare", left="first.safetensors", right="far.safetensors", basis=(made,))
    assert outcome.exit_code == 4 and outcome.result.family == 0
    assert all("circular" in row.flags and row.p is None for row in outcome.result.moved)
    assert any("other rows" in note for note in outcome.result.notes)
    apart = str(go("resonance basis", vectors="far.safetensors", kind="means", by="type", out="apart").path)
    saved("third", np.random.default_rng(10).standard_normal((36, WIDTH)), [
        (f"c{c}", t, level, "none") for c in range(CORES) for t in ("a", "b", "c") for level in (1, 2)
    ])  # fmt: skip
    outcome = go("resonance compare", left="first.safetensors", right="third.safetensors", basis=(apart,))
    assert outcome.exit_code == 0 and all(row.p is not None for row in outcome.result.moved)
