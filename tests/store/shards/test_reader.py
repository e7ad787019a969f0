"""Every row once an epoch, in an order that depends on seed and epoch alone, from anywhere it was left."""

import threading
import time
from collections import Counter

import pytest
import torch

from radiograph.core import UserError
from radiograph.store.shards import _disk, begin, finish, open_activations, write_shard
from radiograph.store.shards import _reader as reader_module
from radiograph.store.shards._buffers import Buffers

from .make import SPEC, index, memory, shards, write

SOURCE = "reference/resid_post.1"
PER_PROMPT = [(i * 7) % 23 + 1 for i in range(60)]


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    folder = tmp_path_factory.mktemp("activations")
    write(folder, PER_PROMPT, 4)
    return open_activations(folder)


@pytest.fixture(autouse=True)
def short_stretches(monkeypatch):
    monkeypatch.setattr(reader_module, "STRETCH", 8)


def numbers(batches):
    return [int(x) for (rows, *_) in batches for x in rows[:, 0]]


def owners(prompts, split):
    sides = prompts["split"].to_list()
    return {i for i, side in enumerate(sides) if side == split}


@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize("batch", [1, 7, 64, 10_000])
def test_an_epoch_holds_every_row_of_the_split_once(disk, split, batch):
    found = numbers(disk.reader([SOURCE], split=split, batch=batch, buffer=50))
    _, data = shards(PER_PROMPT, 4)
    own = owners(disk.prompts, split)
    expected = [int(r[0]) for s in data for r, p in zip(s.rows[SOURCE], s.prompts, strict=True) if int(p) in own]
    assert sorted(found) == expected
    if split == "validation":
        assert found == expected


def test_the_order_depends_on_seed_and_epoch_and_on_nothing_else(disk):
    def order(**options):
        return numbers(disk.reader([SOURCE], **({"split": "train", "batch": 16, "buffer": 100} | options)))

    first = order(seed=3)
    assert order(seed=3) == first
    assert order(seed=4) != first
    assert order(seed=3, epoch=1) != first
    assert numbers(disk.reader(["candidate/attn_z.0", SOURCE], split="train", batch=16, buffer=100, seed=3)) == first


def test_rows_are_mixed_over_shards(disk):
    (rows,) = next(disk.reader([SOURCE], split="train", batch=64))
    assert len({int(x) // 100 for x in rows[:, 0]}) > 4


def test_disk_and_memory_give_the_same_order_with_the_same_layout(tmp_path):
    write(tmp_path, PER_PROMPT, len(PER_PROMPT))
    disk, held = open_activations(tmp_path), memory(PER_PROMPT)
    for split in ("train", "validation"):
        options = {"split": split, "batch": 13, "seed": 5, "buffer": 64, "columns": ("token", "prompt", "position")}
        for left, right in zip(disk.reader([SOURCE], **options), held.reader([SOURCE], **options), strict=True):
            assert all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize("world", [1, 2, 4])
def test_ranks_share_one_sequence_and_together_hold_it_all(disk, world):
    options = {"split": "train", "batch": 8, "seed": 1, "buffer": 40}
    whole = [rows[:, 0].tolist() for (rows,) in disk.reader([SOURCE], **options)]
    for rank in range(world):
        own = [rows[:, 0].tolist() for (rows,) in disk.reader([SOURCE], rank=rank, world=world, **options)]
        assert own == whole[rank::world]


def test_disjoint_ranks_hold_whole_shards_and_together_every_row(disk):
    options = {"split": "train", "batch": 8, "buffer": 40}
    parts = [numbers(disk.reader([SOURCE], rank=r, world=3, disjoint=True, **options)) for r in range(3)]
    whole = numbers(disk.reader([SOURCE], **options))
    assert Counter(x for part in parts for x in part) == Counter(whole)


@pytest.mark.parametrize("endless", [False, True])
@pytest.mark.parametrize("at", [0, 1, 5, 17, 29])
@pytest.mark.parametrize("world", [1, 2])
def test_a_restored_reader_goes_on_bit_for_bit(disk, at, endless, world):
    options = {"split": "train", "batch": 16, "buffer": 70, "seed": 2, "endless": endless, "rank": world - 1}

    def fresh():
        return disk.reader([SOURCE, "candidate/attn_z.0"], world=world, **options)

    reader = fresh()
    for _ in range(at):
        next(reader, None)
    state = reader.state()
    assert {type(v) for v in state.values()} <= {int, bytes, list}
    expected = [next(reader, None) for _ in range(40)]
    other = fresh()
    next(other, None)
    other.restore(state)
    found = [next(other, None) for _ in range(40)]
    for left, right in zip(expected, found, strict=True):
        assert (left is None) == (right is None)
        assert left is None or all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def test_an_endless_reader_fills_the_last_batch_of_an_epoch_from_the_next(disk):
    total = disk.count("train")
    reader = disk.reader([SOURCE], split="train", batch=64, seed=9, endless=True)
    batches = [next(reader)[0] for _ in range(3 * total // 64)]
    assert {len(b) for b in batches} == {64}
    seen = Counter(int(x) for b in batches for x in b[:, 0])
    assert set(seen.values()) <= {2, 3}


def test_an_endless_reader_of_nothing_ends(tmp_path):
    prompts, data = shards([3, 3], 2)
    empty = prompts.with_columns(split=prompts["split"].replace("validation", "train"))
    begin(tmp_path, index(1), empty)
    write_shard(tmp_path, type(data[0])(**{**vars(data[0]), "validation": 0}), SPEC)
    finish(tmp_path, SPEC)
    found = open_activations(tmp_path)
    assert list(found.reader([SOURCE], split="validation", batch=4, endless=True)) == []


def test_what_makes_no_order_is_refused(disk):
    for wrong in ({"batch": 0}, {"batch": 4, "buffer": 0}, {"batch": 4, "rank": 2, "world": 2}):
        with pytest.raises(UserError, match="reader"):
            disk.reader([SOURCE], split="train", **wrong)


def test_rows_that_are_held_stay_as_they_are_while_others_are_read(disk):
    options = {"split": "train", "batch": 16, "buffer": 50, "seed": 4}
    kept = [rows for (rows,) in disk.reader([SOURCE], **options)]
    fresh = [rows.clone() for (rows,) in disk.reader([SOURCE], **options)]
    views = [rows[3:5, 1].numpy() for (rows,) in disk.reader([SOURCE], **options)]
    for _ in disk.reader([SOURCE], split="train", batch=16, seed=5):
        pass
    assert all(torch.equal(a, b) for a, b in zip(kept, fresh, strict=True))
    assert all((view == rows[3:5, 1].numpy()).all() for view, rows in zip(views, fresh, strict=True))


def test_memory_of_a_batch_that_nobody_holds_is_used_again():
    buffers = Buffers()
    first = torch.from_numpy(buffers.take(64, 4)).view(torch.float32)
    place = first.data_ptr()
    view = first.view(4, 4)[2]
    del first
    assert buffers.take(64, 4).ctypes.data != place, "a view holds it"
    del view
    assert buffers.take(64, 4).ctypes.data == place
    assert buffers.take(32, 4).ctypes.data != place
    together = [buffers.take(64, 2) for _ in range(8)]
    assert len({array.ctypes.data for array in together}) == 8


def test_a_harvest_that_stopped_is_not_waited_for_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(_disk, "WAIT_SECONDS", 0.2)
    prompts, data = shards(PER_PROMPT, 4)
    begin(tmp_path, index(len(data)), prompts)
    write_shard(tmp_path, data[0], SPEC)
    with pytest.raises(UserError, match="no shard") as error:
        list(open_activations(tmp_path, follow=True).reader([SOURCE], split="train", batch=16))
    assert ".json" in str(error.value.where)


def test_readers_share_more_shards_than_stay_mapped(disk, monkeypatch):
    monkeypatch.setattr(_disk, "OPEN_SHARDS", 1)
    options = {"split": "train", "batch": 3, "buffer": 50}
    together = [disk.reader([SOURCE], seed=seed, **options) for seed in (0, 0, 1)]
    left, right, other = (numbers(batches) for batches in zip(*zip(*together, strict=True), strict=True))
    assert left == right
    assert sorted(left) == sorted(other)


def test_a_reader_follows_a_harvest_that_is_still_running(tmp_path):
    prompts, data = shards(PER_PROMPT, 4)
    begin(tmp_path, index(len(data)), prompts)

    def harvest():
        for shard in data:
            time.sleep(0.01)
            write_shard(tmp_path, shard, SPEC)

    thread = threading.Thread(target=harvest)
    thread.start()
    found = numbers(open_activations(tmp_path, follow=True).reader([SOURCE], split="train", batch=16, buffer=100))
    thread.join()
    finish(tmp_path, SPEC)
    assert found == numbers(open_activations(tmp_path).reader([SOURCE], split="train", batch=16, buffer=100))
