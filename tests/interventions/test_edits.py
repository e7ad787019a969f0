"""Low-rank edits: added in a forward, as a PEFT adapter, baked, and taken back byte by byte."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from radiograph.core import FormatError, UserError
from radiograph.interventions.edits import (
    Layer,
    Stack,
    bake,
    joined,
    read_stack,
    undo,
    without_zeros,
    write_adapter,
)
from radiograph.models import forward, load, load_pair, pad, tensors_sha256
from radiograph.models.lowrank import Factors, added, added_matrix
from radiograph.models.masked import of_model
from radiograph.organisms import bundled_path

BATCH = [[5, 17, 40, 77, 3, 9], [8, 8, 21, 60, 2, 1]]


@pytest.fixture(scope="module")
def base():
    return load(str(bundled_path("base")))


@pytest.fixture(scope="module")
def target(base):
    return of_model(base)


@pytest.fixture(scope="module")
def additions(target):
    generator = torch.Generator().manual_seed(1)
    found = {}
    for address, rank in (("q.0", 2), ("down.2", 1), ("embed", 1)):
        place = target.places[address]
        found[address] = Factors(
            torch.randn(place.inputs, rank, generator=generator) * 0.1,
            torch.randn(rank, place.outputs, generator=generator) * 0.1,
        )
    return found


@pytest.fixture(scope="module")
def plain(additions):
    return {a: f for a, f in additions.items() if a != "embed"}


def logits(target, additions=None):
    with torch.no_grad(), added(target, additions or {}):
        return target.run(torch.tensor(BATCH))


def hashes(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def test_d10_13_factors_of_zero_leave_every_bit(target, additions):
    zero = {a: Factors(f.reads, torch.zeros_like(f.writes)) for a, f in additions.items()}
    assert torch.equal(logits(target, zero), logits(target))


def test_an_addition_is_the_matrix_that_it_says(target, plain):
    """The same by changing the weights themselves."""
    there = logits(target, plain)
    own = of_model(load(str(bundled_path("base"))))
    for address, factors in plain.items():
        weight = own.network.get_submodule(own.places[address].module).get_parameter("weight")
        weight.data += added_matrix(factors)
    torch.testing.assert_close(there, logits(own), atol=1e-5, rtol=1e-5)


def test_a_tied_matrix_is_not_baked_and_its_partner_is_named(tmp_path, target, additions):
    with pytest.raises(UserError, match="unembed") as raised:
        bake(target, additions, bundled_path("base"), tmp_path / "edited", tmp_path / "o", run="r", before="b")
    assert raised.value.code == "tied"
    assert list(tmp_path.iterdir()) == []


def test_no_hook_stays_behind_after_an_exception(target, additions):
    before = logits(target)
    with pytest.raises(RuntimeError, match="stop"), added(target, additions):
        raise RuntimeError("stop")
    assert torch.equal(logits(target), before)


def test_d10_13_peft_loads_the_adapter_and_without_it_the_reference_is_there_bit_for_bit(tmp_path, target, additions):
    rank = write_adapter(tmp_path / "adapter", target, additions, "bundled:base")
    assert rank == 4
    pair = load_pair(str(bundled_path("base")), f"{bundled_path('base')}+{tmp_path / 'adapter'}")
    edited = forward(pair.candidate, pad(BATCH))
    torch.testing.assert_close(edited, logits(target, additions), atol=1e-4, rtol=1e-4)
    assert torch.equal(forward(pair.reference, pad(BATCH)), logits(target))


def test_dd_4_the_rank_of_an_adapter_is_the_number_of_its_directions(tmp_path, target, additions):
    dead = {"up.1": Factors(torch.ones(target.places["up.1"].inputs, 3), torch.zeros(3, target.places["up.1"].outputs))}
    write_adapter(tmp_path / "a", target, {**additions, **dead}, "base")
    config = json.loads((tmp_path / "a" / "adapter_config.json").read_text())
    tensors = load_file(tmp_path / "a" / "adapter_model.safetensors")
    ranks = {name: min(t.shape) for name, t in tensors.items() if "A" in name.rpartition("lora_")[2]}
    assert sorted(ranks.values()) == [1, 1, 2]
    assert config["r"] == config["lora_alpha"] == 2
    assert config["rank_pattern"] == config["alpha_pattern"]
    assert set(config["rank_pattern"].values()) == {1}


def test_an_adapter_of_nothing_is_refused(tmp_path, target):
    with pytest.raises(UserError, match="adds nothing"):
        write_adapter(tmp_path / "a", target, {}, "base")
    assert without_zeros({"q.0": Factors(torch.ones(4, 1), torch.zeros(1, 4))}) == {}


def test_dd_5_joined_additions_hold_both(target, additions):
    twice = joined(additions, additions)
    double = {a: Factors(f.reads, f.writes * 2) for a, f in additions.items()}
    torch.testing.assert_close(logits(target, twice), logits(target, double), atol=1e-5, rtol=1e-5)


def baked(target, additions, folder: Path, source: Path, run: str, before: str) -> Layer:
    bake(target, additions, source, folder, folder.with_name(f"{folder.name}-originals"), run=run, before=before)
    layer = read_stack(folder).layers[-1]
    assert (layer.run, layer.after) == (run, tensors_sha256(folder))
    return layer


def test_d10_13_bake_and_undo_restore_every_file(tmp_path, base, target, plain):
    source = bundled_path("base")
    before = hashes(source)
    layer = baked(target, plain, tmp_path / "edited", source, "one", base.identity.tensors_sha256)
    there = forward(load(str(tmp_path / "edited")), pad(BATCH))
    torch.testing.assert_close(there, logits(target, plain), atol=1e-4, rtol=1e-4)
    changed = [n for n, digest in hashes(tmp_path / "edited").items() if before.get(n) != digest]
    assert changed == ["edits.json", "model.safetensors"]
    restored = undo(tmp_path / "edited", tmp_path / "edited-originals", layer)
    assert dict(restored) == {"model.safetensors": before["model.safetensors"]}
    assert hashes(tmp_path / "edited") == before == hashes(source)


def test_d10_13_two_edits_come_off_in_order_and_in_no_other(tmp_path, base, target, plain):
    first = baked(target, plain, tmp_path / "one", bundled_path("base"), "run-1", base.identity.tensors_sha256)
    once = hashes(tmp_path / "one")
    other = {"v.1": Factors(torch.ones(target.places["v.1"].inputs, 1), torch.ones(1, target.places["v.1"].outputs))}
    second = baked(
        of_model(load(str(tmp_path / "one"))), other, tmp_path / "two", tmp_path / "one", "run-2", first.after
    )
    twice = hashes(tmp_path / "two")
    with pytest.raises(UserError, match="run-2 → run-1") as raised:
        undo(tmp_path / "two", tmp_path / "one-originals", first)
    assert raised.value.code == "out_of_order"
    assert hashes(tmp_path / "two") == twice
    undo(tmp_path / "two", tmp_path / "two-originals", second)
    assert hashes(tmp_path / "two") == once
    undo(tmp_path / "two", tmp_path / "one-originals", first)
    assert hashes(tmp_path / "two") == hashes(bundled_path("base"))


@pytest.mark.parametrize("harm", ["missing", "altered", "changed"])
def test_undo_touches_nothing_where_bytes_are_missing_altered_or_not_its_own(tmp_path, base, target, plain, harm):
    layer = baked(target, plain, tmp_path / "edited", bundled_path("base"), "one", base.identity.tensors_sha256)
    originals, weights = tmp_path / "edited-originals" / "originals.bin", tmp_path / "edited" / "model.safetensors"
    if harm == "missing":
        originals.unlink()
    elif harm == "altered":
        originals.write_bytes(b"\0" + originals.read_bytes()[1:])
    else:
        weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    there = hashes(tmp_path / "edited")
    with pytest.raises((UserError, FormatError)) as raised:
        undo(tmp_path / "edited", tmp_path / "edited-originals", layer)
    assert raised.value.code == {"missing": "originals_missing", "altered": "altered", "changed": "changed_since"}[harm]
    assert hashes(tmp_path / "edited") == there


def test_dd_15_an_undo_that_was_killed_between_files_goes_on(tmp_path, base, target, plain):
    """Files are restored one by one: those that are back already are left, and the layer goes last."""
    layer = baked(target, plain, tmp_path / "edited", bundled_path("base"), "one", base.identity.tensors_sha256)
    shutil.copyfile(bundled_path("base") / "model.safetensors", tmp_path / "edited" / "model.safetensors")
    undo(tmp_path / "edited", tmp_path / "edited-originals", layer)
    assert hashes(tmp_path / "edited") == hashes(bundled_path("base"))


def test_a_bake_never_overwrites(tmp_path, target, plain):
    (tmp_path / "there").mkdir()
    with pytest.raises(UserError, match="exists"):
        bake(target, plain, bundled_path("base"), tmp_path / "there", tmp_path / "o", run="r", before="b")
    assert not (tmp_path / "o").exists()


def test_a_stack_that_is_none_is_refused(tmp_path):
    assert read_stack(tmp_path) == Stack()
    (tmp_path / "edits.json").write_text("[]")
    with pytest.raises(FormatError):
        read_stack(tmp_path)
