"""Entries by feature: the same whatever the order of the files, the chunks and the memory."""

import itertools

import numpy as np
import polars as pl
import pytest

from radiograph.core import FormatError, UserError
from radiograph.store.records import (
    Entries,
    Header,
    RecordsModel,
    SortedWriter,
    begin_records,
    by_range,
    finish_records,
    open_records,
    ranges,
    write_part,
)
from radiograph.store.records import _blocks as module

from .test_records import FEATURES, SPEC, header, parts


def sorted_folder(folder, dense, rows_per_part=50, **changes):
    """The same records in the order of features, in several parts of either table."""
    fields = {"model": RecordsModel(ref="m"), "tokenizer_sha256": None, "sites": (), "dictionary_sha256": None}
    writer = SortedWriter(folder, Header(**(fields | {"features": 0} | changes)))
    for start in range(0, len(dense), rows_per_part):
        numbers = np.arange(start, min(start + rows_per_part, len(dense)), dtype=np.uint32)
        writer.rows(pl.DataFrame({"row": numbers, "token": np.full(len(numbers), -1, np.int32)}))
    for first in (0, 10, 14, 37):
        own = dense[:, first : {0: 10, 10: 14, 14: 37, 37: FEATURES}[first]]
        feature, row = np.nonzero(own.T)
        offsets = np.concatenate([[0], np.cumsum(np.bincount(feature, minlength=own.shape[1]))])
        writer.values(offsets, row.astype(np.uint32), own.T[feature, row])
    return writer.finish(feature_id=[f"f{n}" for n in range(FEATURES)])


def row_folder(folder):
    made, dense = parts()
    begin_records(folder, header())
    for number, part in enumerate(made):
        write_part(folder, number, *part, SPEC)
    finish_records(folder, len(made), SPEC)
    return dense


def dense_of(blocks, rows):
    found = np.zeros((rows, FEATURES), np.float32)
    place = 0
    for block in blocks:
        assert block.first == place
        place += block.features
        feature = block.first + np.repeat(np.arange(block.features), np.diff(block.offsets))
        key = feature * rows + block.rows
        assert (np.diff(key) > 0).all(), "sorted by feature, then row"
        found[block.rows, feature] = block.values
    assert place == FEATURES
    return found


@pytest.mark.parametrize("memory", [1, 20 * module.ENTRY_BYTES, 300 * module.ENTRY_BYTES, 2**30])
@pytest.mark.parametrize("order", ["row", "feature"])
def test_blocks_hold_every_entry_once_whatever_the_memory(tmp_path, order, memory, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 17)
    dense = row_folder(tmp_path / "row")
    if order == "feature":
        sorted_folder(tmp_path / "feature", dense)
    records = open_records(tmp_path / order, verify=True)
    assert records.header.order == order
    assert np.array_equal(dense_of(records.blocks(memory=memory), len(dense)), dense)


def test_both_orders_say_the_same_of_features(tmp_path):
    sorted_folder(tmp_path / "feature", row_folder(tmp_path / "row"))
    ours, theirs = (open_records(tmp_path / order).features for order in ("feature", "row"))
    for name in ("feature", "n_present", "n_active", "maximum"):
        assert ours[name].to_list() == theirs[name].to_list(), name
    for name in ("mean_active", "sd"):
        assert np.allclose(ours[name].fill_null(-1), theirs[name].fill_null(-1), rtol=1e-12), name
    assert ours.columns == theirs.columns
    assert ours["maximum"][13] is None


def test_zeros_that_were_measured_count_as_present_and_not_as_active(tmp_path):
    fields = {"model": RecordsModel(ref="m"), "tokenizer_sha256": None, "sites": (), "dictionary_sha256": None}
    writer = SortedWriter(tmp_path / "r", Header(**fields, features=0, absent="missing"))
    writer.rows(pl.DataFrame({"row": np.arange(3, dtype=np.uint32), "token": np.full(3, -1, np.int32)}))
    writer.values(np.array([0, 3, 4]), np.array([0, 1, 2, 0], np.uint32), np.array([0, 2, 4, -1], np.float32))
    writer.finish(feature_id=["a", "b"])
    line = open_records(tmp_path / "r").features.row(0, named=True)
    assert (line["n_present"], line["n_active"], line["mean_active"], line["sd"]) == (3, 2, 3.0, 1.0)


@pytest.mark.parametrize("memory", [1, 3 * module.ENTRY_BYTES, 50 * module.ENTRY_BYTES])
def test_ranges_hold_what_fits_or_one_feature(memory):
    counts = np.array([2, 0, 1, 9, 0, 0, 1, 1, 1, 4])
    bounds = ranges(counts, memory)
    assert bounds[0] == 0
    assert bounds[-1] == len(counts)
    for first, last in itertools.pairwise(bounds):
        assert last - first == 1 or counts[first:last].sum() * module.ENTRY_BYTES <= max(memory, module.ENTRY_BYTES)


def test_equal_places_are_ordered_by_value():
    feature, row = np.array([1, 1, 0, 1], np.uint32), np.array([5, 5, 2, 5], np.uint32)
    value = np.array([3, 1, 9, 2], np.float32)
    for bounds in ([0, 2], [0, 1, 2]):
        found = list(by_range([(feature[:2], row[:2], value[:2]), (feature[2:], row[2:], value[2:])], np.array(bounds)))
        assert np.concatenate([part[2] for part in found]).tolist() == [9, 1, 2, 3]


def test_names_of_features_can_be_handed_in(tmp_path):
    made, _ = parts()
    begin_records(tmp_path, header(dictionary_sha256=None))
    for number, part in enumerate(made):
        write_part(tmp_path, number, *part, SPEC)
    with pytest.raises(UserError, match="do not fit"):
        finish_records(tmp_path, len(made), SPEC, pl.DataFrame({"feature_id": ["a"]}))
    names = pl.DataFrame({"feature_id": [f"u{n}" for n in range(FEATURES)], "direction": list(range(FEATURES))})
    finish_records(tmp_path, len(made), SPEC, names)
    table = open_records(tmp_path).features
    assert table["feature_id"][7] == "u7"
    assert table["direction"].to_list() == list(range(FEATURES))


def test_features_may_come_as_any_kind_of_whole_number(tmp_path):
    (table, entries), *_ = parts()[0]
    for number, kind in enumerate((np.uint32, np.int32, np.int64)):
        folder = tmp_path / str(number)
        begin_records(folder, header())
        own = Entries(entries.features.astype(kind), entries.values, entries.offsets)
        write_part(folder, 0, table, own, SPEC)
        write_part(folder, 1, table[:1], Entries(own.features[:0], own.values[:0], np.zeros(2, np.int64)), SPEC)
        finish_records(folder, 2, SPEC)
    assert open_records(tmp_path / "0").features.equals(open_records(tmp_path / "2").features)


def test_units_have_addresses_of_their_own(tmp_path):
    begin_records(tmp_path, header(dictionary_sha256=None))
    write_part(tmp_path, 0, *parts()[0][0], SPEC)
    finish_records(tmp_path, 1, SPEC)
    assert open_records(tmp_path).features["feature_id"][7] == "resid_post.1[7]"


def test_a_value_that_is_not_finite_is_refused(tmp_path):
    fields = {"model": RecordsModel(ref="m"), "tokenizer_sha256": None, "sites": (), "dictionary_sha256": None}
    writer = SortedWriter(tmp_path / "r", Header(**fields, features=0))
    with pytest.raises(FormatError, match="not finite"):
        writer.values(np.array([0, 1]), np.array([0], np.uint32), np.array([np.inf], np.float32))
