"""Sparse records: written in parts by anyone, read back whole, with statistics of all parts together."""

import resource
import signal

import numpy as np
import polars as pl
import pytest

from radiograph.core import FormatError, RadiographError, UserError
from radiograph.store import file_sha256, tree
from radiograph.store.records import (
    Entries,
    Header,
    RecordsModel,
    begin_records,
    committed_parts,
    finish_records,
    open_records,
    write_part,
)

SPEC = "7" * 64
FEATURES = 50


def header(**changes):
    model = RecordsModel(ref="bundled:base", sha256="1" * 64)
    fields = {"model": model, "tokenizer_sha256": None, "sites": ("resid_post.1",), "dictionary_sha256": "2" * 64}
    return Header(**(fields | {"features": FEATURES} | changes))


def parts(n=4, rows=30, seed=0):
    """Rows of which some are silent, and their dense codes."""
    rng = np.random.default_rng(seed)
    dense = rng.exponential(size=(n * rows, FEATURES)).astype(np.float32) * (rng.random((n * rows, FEATURES)) < 0.1)
    dense[::7] = 0
    dense[:, 13] = 0
    out = []
    for i in range(n):
        own = dense[i * rows : (i + 1) * rows]
        at, features = np.nonzero(own)
        offsets = np.concatenate([[0], np.cumsum(np.bincount(at, minlength=rows))])
        table = pl.DataFrame(
            {
                "row": np.arange(i * rows, (i + 1) * rows, dtype=np.uint32),
                "token": np.arange(rows, dtype=np.int32),
                "prompt_id": [f"p{i}"] * rows,
            }
        )
        out.append((table, Entries(features, own[at, features], offsets)))
    return out, dense


def written(folder, order=None):
    made, dense = parts()
    begin_records(folder, header())
    for number in order or range(len(made)):
        write_part(folder, number, *made[number], SPEC)
    finish_records(folder, len(made), SPEC)
    return dense


def test_what_was_written_is_read_back(tmp_path):
    dense = written(tmp_path)
    records = open_records(tmp_path, verify=True)
    values = records.values.collect()
    found = np.zeros_like(dense)
    found[values["row"].to_numpy(), values["feature"].to_numpy()] = values["value"].to_numpy()
    assert np.array_equal(found, dense)
    assert values.equals(values.sort("row", "feature"))
    assert [values.schema[c] for c in ("row", "token", "feature", "value")] == [
        pl.UInt32,
        pl.Int32,
        pl.UInt32,
        pl.Float32,
    ]
    assert len(records.rows.collect()) == len(dense) == records.header.rows
    assert records.header.entries == np.count_nonzero(dense)


def test_statistics_are_those_of_all_parts_together(tmp_path):
    dense = written(tmp_path).astype(np.float64)
    table = open_records(tmp_path).features
    assert len(table) == FEATURES
    assert table["feature_id"][7] == "resid_post.1@22222222#7"
    assert set(table["site"]) == {"resid_post.1"}
    for feature in range(FEATURES):
        line, fired = table.row(feature, named=True), dense[:, feature][dense[:, feature] > 0]
        assert line["n_active"] == len(fired)
        if feature == 13:
            assert (line["maximum"], line["mean_active"], line["sd"]) == (None, None, None)
        else:
            assert line["maximum"] == fired.max()
            assert line["mean_active"] == pytest.approx(fired.mean(), rel=1e-12)
            assert line["sd"] == pytest.approx(fired.std(), rel=1e-9)


def test_bytes_do_not_depend_on_who_wrote_which_part_when(tmp_path):
    written(tmp_path / "a")
    written(tmp_path / "b", order=[2, 0, 3, 1, 2])
    assert [(p.name, file_sha256(p)) for p in tree(tmp_path / "a")] == [
        (p.name, file_sha256(p)) for p in tree(tmp_path / "b")
    ]


def test_parts_that_are_whole_are_kept_on_resume(tmp_path):
    made, _ = parts()
    begin_records(tmp_path, header())
    for number, part in enumerate(made):
        write_part(tmp_path, number, *part, SPEC)
    (tmp_path / "values" / "00001.parquet").write_bytes(b"short")
    (tmp_path / "00002.json").unlink()
    half = tmp_path / "rows" / "00009.parquet.partial"
    half.write_bytes(b"half")
    assert set(committed_parts(tmp_path, SPEC)) == {0, 3}
    assert not half.exists()
    assert committed_parts(tmp_path, "8" * 64) == {}
    with pytest.raises(FormatError, match="missing"):
        finish_records(tmp_path, len(made), SPEC)


def test_other_records_are_not_continued(tmp_path):
    begin_records(tmp_path, header())
    begin_records(tmp_path, header())
    with pytest.raises(UserError, match="dictionary_sha256 differs"):
        begin_records(tmp_path, header(dictionary_sha256="3" * 64))


@pytest.mark.parametrize("table", ["values/00002.parquet", "features.parquet"])
@pytest.mark.parametrize("damage", ["gone", "short", "changed"])
def test_a_damaged_table_is_named(tmp_path, damage, table):
    written(tmp_path)
    path = tmp_path / table
    data = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    else:
        data[100] ^= 1
        path.write_bytes(data[:-1] if damage == "short" else data)
    with pytest.raises(FormatError, match="not what was written") as error:
        open_records(tmp_path, verify=damage == "changed")
    assert table in str(error.value.where)


def test_a_full_disk_stops_the_run_and_says_what_it_needs(tmp_path):
    made, _ = parts(rows=400)
    begin_records(tmp_path, header())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6_000, hard))
    try:
        with pytest.raises(RadiographError, match="errno") as error:
            write_part(tmp_path, 0, *made[0], SPEC)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)
    assert int(error.value.exit_code) == 1
    assert committed_parts(tmp_path, SPEC) == {}
    part = write_part(tmp_path, 0, *made[0], SPEC)
    assert f"it needs {part.bytes['values']:,} bytes" in str(error.value)


def test_unfinished_and_absent_records_are_refused(tmp_path):
    begin_records(tmp_path / "a", header())
    with pytest.raises(UserError, match="not finished"):
        open_records(tmp_path / "a")
    with pytest.raises(UserError, match="no records"):
        open_records(tmp_path)


def test_entries_that_do_not_fit_are_refused(tmp_path):
    (table, entries), *_ = parts()[0]
    begin_records(tmp_path, header())
    wrong = {
        "do not fit": Entries(entries.features, entries.values, entries.offsets[:-1]),
        "ascend": Entries(entries.features[::-1].copy(), entries.values, entries.offsets),
        "finite": Entries(
            entries.features, np.where(entries.values == entries.values[5], np.nan, entries.values), entries.offsets
        ),
    }
    for match, bad in wrong.items():
        with pytest.raises(UserError, match=match):
            write_part(tmp_path, 0, table, bad, SPEC)


def test_an_entry_takes_about_seven_bytes(tmp_path):
    rng = np.random.default_rng(0)
    rows, k, size = 4_000, 32, 16_384
    # One feature of every 512, those at low numbers of each stretch more often than others.
    features = np.arange(k) * (size // k) + (rng.random((rows, k)) ** 2 * (size // k)).astype(int)
    entries = Entries(features.ravel(), rng.exponential(size=rows * k).astype(np.float32), np.arange(rows + 1) * k)
    table = pl.DataFrame({"row": np.arange(rows, dtype=np.uint32), "token": (np.arange(rows) % 64).astype(np.int32)})
    begin_records(tmp_path, header(features=size))
    part = write_part(tmp_path, 0, table, entries, SPEC)
    assert 5 < part.bytes["values"] / part.entries < 8
