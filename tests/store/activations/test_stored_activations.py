"""Stored activations: every format gives the same rows, in any chunks; what is wrong is named by its place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file

from radiograph.core import FormatError, UserError
from radiograph.core.limits import Limits
from radiograph.store.activations import open_activations
from radiograph.store.opened import Opened
from running import go

ROWS, WIDTH = 150, 12
X = np.random.default_rng(0).standard_normal((ROWS, WIDTH)).astype(np.float32)
IDS = {"token": np.arange(ROWS) % 7, "prompt": np.arange(ROWS) // 10, "position": np.arange(ROWS) % 10}


def write(folder: Path, kind: str, rows: np.ndarray = X) -> Path:
    path = folder / f"{kind.replace('/', '-')}{Path(kind).suffix}"
    match kind:
        case "f32.npy" | "f64.npy" | "f16.npy":
            np.save(path, rows.astype({"f3": np.float32, "f6": np.float64, "f1": np.float16}[kind[:2]]))
        case "fortran.npy":
            np.save(path, np.asfortranarray(rows))
        case "big.npy":
            np.save(path, rows.astype(">f4"))
        case "stored.npz":
            np.savez(path, activations=rows, **IDS)
        case "fortran.npz":
            np.savez(path, activations=np.asfortranarray(rows))
        case "deflated.npz":
            np.savez_compressed(path, activations=rows, **IDS)
        case "f32.safetensors":
            save_file({"activations": rows, **IDS}, path, metadata={"site": "blocks.2.hook_resid_post"})
        case "bf16.safetensors":
            _bf16(path, rows)
        case "only.safetensors":
            save_file({"h": rows}, path)
        case "list.parquet":
            pl.DataFrame({"activations": rows.tolist()}, schema={"activations": pl.List(pl.Float32)}).with_columns(
                **{k: pl.Series(v) for k, v in IDS.items()}
            ).write_parquet(path, row_group_size=40)
        case "array.parquet":
            pl.DataFrame({"activations": pl.Series(rows, dtype=pl.Array(pl.Float32, WIDTH))}).write_parquet(path)
        case "columns.parquet":
            pl.DataFrame({str(i): rows[:, i] for i in range(WIDTH)}).write_parquet(path)
        case "rows.json":
            document = {"layer": 2, "num_tokens": len(rows), "activations": rows.tolist(), "hook": "resid_post.2"}
            path.write_text(json.dumps(document))
    return path


def _bf16(path: Path, rows: np.ndarray) -> None:
    size = rows.size * 2
    entry = {"dtype": "BF16", "shape": list(rows.shape), "data_offsets": [0, size]}
    head = json.dumps({"activations": entry}).encode()
    words = (rows.view(np.uint32) >> 16).astype("<u2")
    path.write_bytes(len(head).to_bytes(8, "little") + head + words.tobytes())


KINDS = [
    *("f32.npy", "f64.npy", "f16.npy", "fortran.npy", "big.npy", "stored.npz", "fortran.npz", "deflated.npz"),
    *("f32.safetensors", "bf16.safetensors", "only.safetensors", "list.parquet", "array.parquet", "columns.parquet"),
    "rows.json",
]


@pytest.mark.parametrize("kind", KINDS)
def test_p8_2_every_format_gives_the_same_rows_in_any_chunks(kind, tmp_path):
    store = open_activations(write(tmp_path, kind))
    assert (store.rows, store.width) == (ROWS, WIDTH)
    cut = (X.view(np.uint32) & 0xFFFF0000).view(np.float32)
    expected = {"f16.npy": X.astype(np.float16), "bf16.safetensors": cut}.get(kind, X)
    whole = np.concatenate(list(store.chunks(1000)))
    np.testing.assert_array_equal(whole, expected.astype(whole.dtype))
    assert whole.dtype == (np.float64 if kind in ("f64.npy", "rows.json") else np.float32)
    for rows in (1, 7, 64, ROWS):
        parts = list(store.chunks(rows))
        assert [len(part) for part in parts[:-1]] == [rows] * (len(parts) - 1)
        assert np.concatenate(parts).tobytes() == whole.tobytes()


@pytest.mark.parametrize("kind", ["stored.npz", "deflated.npz", "f32.safetensors", "list.parquet"])
def test_ids_come_along(kind, tmp_path):
    columns = open_activations(write(tmp_path, kind)).columns
    for name, expected in IDS.items():
        assert columns[name].tolist() == expected.tolist()


def test_site_and_hashes_come_from_what_stands_beside(tmp_path):
    assert open_activations(write(tmp_path, "f32.safetensors")).site == "resid_post.2"
    assert open_activations(write(tmp_path, "rows.json")).site == "resid_post.2"
    path = write(tmp_path, "f32.npy")
    path.with_suffix(".json").write_text('{"site": "mlp_out.1", "tokenizer_sha256": "ab", "model_sha256": "cd"}')
    store = open_activations(path)
    assert (store.site, store.tokenizer_sha256, store.model_sha256) == ("mlp_out.1", "ab", "cd")


@pytest.fixture(scope="module")
def harvested(tmp_path_factory):
    folder = tmp_path_factory.mktemp("harvest")
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    done = go(
        "harvest",
        model="bundled:base",
        candidate=["bundled:base"],
        site=["resid_post.1"],
        data=["world:mixture#30"],
        shard_size=2**16,
    )
    patch.undo()
    return done.path


def test_p8_2_a_harvest_is_read_without_torch_as_its_own_reader_gives_it(harvested):
    from radiograph.store.shards import open_activations as open_shards

    shards = open_shards(harvested)
    assert len(shards.index.commits) > 1
    rows = np.concatenate(
        [
            shards.gather(["candidate/resid_post.1"], (number << 32) + np.arange(commit.rows))[0].numpy()
            for number, commit in enumerate(shards.index.commits)
        ]
    )
    store = open_activations(harvested, source="candidate")
    assert store.site == "resid_post.1"
    assert store.model_sha256 == shards.index.models[1].sha256
    assert store.tokenizer_sha256 == shards.index.tokenizer_sha256
    for size in (100, 4096):
        np.testing.assert_array_equal(np.concatenate(list(store.chunks(size))), rows)
    assert all(len(store.columns[name]) == len(rows) for name in ("token", "prompt", "position", "group"))


def test_a_folder_says_which_sources_it_has(harvested, tmp_path):
    with pytest.raises(UserError, match="which rows") as error:
        open_activations(harvested)
    assert "#reference/resid_post.1, #candidate/resid_post.1" in str(error.value)
    with pytest.raises(UserError, match=r"no rows of mlp_out\.1"):
        open_activations(harvested, source="mlp_out.1")


def test_pd_14_a_shard_that_was_changed_is_refused(harvested, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(harvested / "activations", copy)
    shard = copy / "00000.safetensors"
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    with pytest.raises(FormatError, match="not what was written"):
        list(open_activations(copy, source="reference").chunks())


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("f16.npy", "bf16.safetensors")])
def test_pd_1_a_nan_stops_with_file_row_and_column(kind, tmp_path):
    bad = X.copy()
    bad[103, 5] = np.nan
    path = write(tmp_path, kind, bad)
    store = open_activations(path)
    with pytest.raises(UserError) as error:
        list(store.chunks(50))
    assert error.value.code == "not_finite"
    assert error.value.where == f"{path.name}: row 103, column 5"


def test_pd_1_an_overflow_of_half_precision_is_not_finite(tmp_path):
    path = tmp_path / "half.npy"
    with np.errstate(over="ignore"):
        np.save(path, (X * 1e6).astype(np.float16))
    with pytest.raises(UserError, match="not finite"):
        list(open_activations(path).chunks())


def test_a_sum_that_overflows_is_no_value_that_does(tmp_path):
    path = tmp_path / "large.npy"
    np.save(path, np.full((300, 4), 3e38, np.float32))
    assert sum(len(chunk) for chunk in open_activations(path).chunks(100)) == 300


def _npz(path: Path, **arrays: np.ndarray) -> None:
    np.savez(path, **arrays)


BAD = [
    ("empty.npy", lambda p: np.save(p, np.zeros((0, 4), np.float32)), "there are no activations"),
    ("flat.npy", lambda p: np.save(p, X[0]), r"expected: \[rows, width\]"),
    ("deep.npy", lambda p: np.save(p, X[None]), r"got: \[1, 150, 12\]"),
    ("whole.npy", lambda p: np.save(p, X.astype(np.int64)), "activations are floats"),
    ("objects.npy", lambda p: np.save(p, np.array([[1, "a"]], object)), "never read"),
    ("text.npy", lambda p: p.write_text('{"activations": [[1]]}'), "not a NumPy array"),
    ("short.npy", lambda p: (np.save(p, X), p.write_bytes(p.read_bytes()[:-4])), "ends too early"),
    ("other.npz", lambda p: _npz(p, acts=X), "got: acts"),
    ("ids.npz", lambda p: _npz(p, activations=X, token=np.arange(3)), "ids token do not fit"),
    ("floats.npz", lambda p: _npz(p, activations=X, token=np.ones(ROWS)), "ids token do not fit"),
    ("objects.npz", lambda p: _npz(p, activations=np.array([[1, "a"]], object)), "never read"),
    ("order.npz", lambda p: np.savez_compressed(p, activations=np.asfortranarray(X)), "Fortran"),
    ("broken.npz", lambda p: p.write_bytes(b"PK" + bytes(40)), "not an npz file"),
    ("two.safetensors", lambda p: save_file({"a": X, "b": X}, p), "which tensor"),
    ("ints.safetensors", lambda p: save_file({"activations": X.astype(np.int64)}, p), "activations are floats"),
    ("junk.safetensors", lambda p: p.write_bytes(b"\x10" + bytes(7) + b"{}"), "not a safetensors file"),
    ("none.parquet", lambda p: pl.DataFrame({"a": [1.0]}).write_parquet(p), "no activations in the table"),
    ("ragged.parquet", lambda p: pl.DataFrame({"activations": [[1.0, 2.0], [1.0]]}).write_parquet(p), "row 1"),
    ("junk.parquet", lambda p: p.write_bytes(b"PAR1"), "not a Parquet file"),
    ("list.json", lambda p: p.write_text("[[1, 2]]"), "got: a list"),
    ("ragged.json", lambda p: p.write_text('{"activations": [[1, 2], [3]]}'), "row 1"),
    ("flat.json", lambda p: p.write_text('{"activations": [1, 2]}'), "list of lists"),
    ("key.json", lambda p: p.write_text('{"acts": [[1]]}'), "got: acts"),
    ("none.json", lambda p: p.write_text('{"activations": []}'), "there are no activations"),
    ("text.json", lambda p: p.write_text('{"activations": [[1, "2"]]}'), r"row 0, column 1"),
    ("null.json", lambda p: p.write_text('{"activations": [[1, 2], [null, 2]]}'), r"row 1, column 0"),
    ("bool.json", lambda p: p.write_text('{"activations": [[true]]}'), r"row 0, column 0"),
    ("cut.json", lambda p: p.write_text('{"activations": [[1, 2], [3'), "does not end"),
    ("after.json", lambda p: p.write_text('{"activations": [[1, 2]]} x'), "something follows"),
    ("twice.json", lambda p: p.write_text('{"activations": [[1]], "activations": [[2]]}'), "stands twice"),
    ("count.json", lambda p: p.write_text('{"num_tokens": 3, "activations": [[1]]}'), "num_tokens"),
    ("layer.json", lambda p: p.write_text('{"layer": 3, "hook": "resid_post.2", "activations": [[1]]}'), "disagree"),
    ("numpy.json", lambda p: p.write_bytes(b"\x93NUMPY\x01\x00"), "not a document of activations"),
    ("rows.csv", lambda p: p.write_text("1,2"), "not a file of activations"),
]


@pytest.mark.parametrize(("name", "make", "said"), BAD, ids=[name for name, *_ in BAD])
def test_pd_15_what_is_wrong_is_named(name, make, said, tmp_path):
    path = tmp_path / name
    make(path)
    with pytest.raises(FormatError, match=said) as error:
        list(open_activations(path).chunks())
    assert name in str(error.value)
    assert error.value.exit_code == 3


def test_pd_15_nothing_there(tmp_path):
    with pytest.raises(UserError, match="cannot be opened"):
        open_activations(tmp_path / "missing.npy")
    with pytest.raises(UserError, match="no activations in"):
        open_activations(tmp_path)


@pytest.mark.parametrize(("name", "value"), [("tokens", ROWS), ("width", WIDTH), ("json-bytes", None)])
def test_limits_hold_at_the_limit_and_not_above(name, value, tmp_path):
    path = write(tmp_path, "rows.json")
    value = value or path.stat().st_size
    open_activations(path, limits=Limits({name: value}))
    with pytest.raises(UserError, match=f"--limit {name}="):
        open_activations(path, limits=Limits({name: value - 1}))


def test_pd_14_swapping_the_file_after_it_was_opened_changes_nothing(tmp_path):
    path = write(tmp_path, "f32.npy")
    store = open_activations(path)
    np.save(tmp_path / "other.npy", np.zeros_like(X))
    (tmp_path / "other.npy").rename(path)
    np.testing.assert_array_equal(np.concatenate(list(store.chunks())), X)


def test_pd_14_a_link_in_any_component_is_followed_or_refused(tmp_path):
    real = tmp_path / "real"
    real.mkdir()
    write(real, "f32.npy")
    (tmp_path / "folder").symlink_to(real)
    (tmp_path / "file.npy").symlink_to(real / "f32.npy.npy")
    for path in (tmp_path / "folder" / "f32.npy.npy", tmp_path / "file.npy"):
        assert open_activations(path).rows == ROWS
        with pytest.raises(UserError, match="through a link"):
            open_activations(path, opener=lambda inner, name: Opened.at(inner, name, links=False))
    strict = open_activations(real / "f32.npy.npy", opener=lambda inner, name: Opened.at(inner, name, links=False))
    assert strict.rows == ROWS


def test_a_document_of_numbers_is_read_in_the_memory_of_a_row(tmp_path):
    path = tmp_path / "long.json"
    rows = np.random.default_rng(1).standard_normal((2000, 64))
    path.write_text(json.dumps({"activations": rows.tolist()}))
    assert path.stat().st_size > 2_000_000
    tracemalloc.start()
    store = open_activations(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_500_000
    np.testing.assert_array_equal(np.concatenate(list(store.chunks())), rows)


def test_an_archive_that_promises_more_than_it_holds_fills_no_memory(tmp_path):
    path = tmp_path / "bomb.npz"
    archive = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED)
    with archive, archive.open("activations.npy", "w") as handle:
        head = {"descr": "<f4", "fortran_order": False, "shape": (10**6, 4096)}
        np.lib.format.write_array_header_1_0(handle, head)
        handle.write(bytes(4096))
    with pytest.raises(FormatError, match="ends too early"):
        for chunk in open_activations(path).chunks(16):
            assert len(chunk) == 16


def test_reading_imports_no_torch(tmp_path):
    write(tmp_path, "f32.npy")
    write(tmp_path, "f32.safetensors")
    code = (
        "import sys; from pathlib import Path; from radiograph.store.activations import open_activations\n"
        f"for p in sorted(Path({str(tmp_path)!r}).iterdir()): list(open_activations(p).chunks())\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout.strip() == "False"


def test_pd_15_ids_of_an_archive_are_held_to_its_rows_before_they_are_read(tmp_path):
    path = tmp_path / "ids.npz"
    np.savez_compressed(path, activations=X, token=np.zeros(40_000_000, np.int64))
    tracemalloc.start()
    with pytest.raises(FormatError, match="the ids token do not fit"):
        open_activations(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * 2**20
    np.savez_compressed(path, activations=X, prompt=np.array(["x" * 2000] + ["y"] * (ROWS - 1)))
    with pytest.raises(FormatError, match="the ids prompt do not fit"):
        open_activations(path)


def test_a_long_value_of_a_document_is_read_in_steps_that_grow(tmp_path, monkeypatch):
    from radiograph.store.activations import _json

    path = tmp_path / "long.json"
    path.write_text(json.dumps({"prompt": [f"prompt {i}" for i in range(2000)], "activations": [[0.5, 1.0]] * 2000}))
    monkeypatch.setattr(_json, "BLOCK", 64)
    seen: list[int] = []
    more = _json._Text.more
    monkeypatch.setattr(_json._Text, "more", lambda self, *least: seen.append(len(self.held)) or more(self, *least))
    store = open_activations(path)
    assert store.columns["prompt"][1999] == "prompt 1999" and store.rows == 2000
    ids = 2000 * len('"prompt 1000", ')
    steps = seen[: seen.index(max(seen)) + 1]
    assert sum(steps) < 4 * ids and len(steps) < 16
