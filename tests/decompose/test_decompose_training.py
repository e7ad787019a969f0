"""The loop: bytes, kills, orders of components, what is chosen, what is stored."""

import json
import shutil

import pytest
import torch

from decompose.toys import DATA, flat, settings, target
from radiograph.core import FormatError, Refusal, UserError
from radiograph.decompose import load, make, save
from radiograph.decompose.importance import names as importances
from radiograph.decompose.importance import new, settled
from radiograph.decompose.losses import parse
from radiograph.decompose.training import Checkpoints, chosen, documents, evaluate, new_state, preset_of, started, train
from radiograph.decompose.training._loop import Diverged
from radiograph.models.masked import Factors


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def done():
    return train(target(), DATA, settings())


def test_equal_settings_give_equal_bytes(done):
    assert torch.equal(flat(train(target(), DATA, settings())), flat(done))
    assert not torch.equal(flat(train(target(), DATA, settings(seed=1))), flat(done))


@pytest.mark.parametrize("extra", [(), ("persistent:0.5",), ("adversarial_recon:0.5",)])
@pytest.mark.parametrize("after", [4, 8])
def test_dd_15_a_killed_run_ends_with_the_bytes_of_one_that_was_not(tmp_path, extra, after):
    own = settings(losses=(*settings().losses, *extra))
    whole = train(target(), DATA, own)
    kept = Checkpoints(tmp_path, {"settings": own.model_dump(mode="json")})

    def keep(state):
        kept.save(state)
        if state.step == after:
            raise Killed

    with pytest.raises(Killed):
        train(target(), DATA, own, keep=keep)
    again = train(target(), DATA, own, keep=kept.save, resume=kept.restore)
    assert torch.equal(flat(again), flat(whole)) and again.log == whole.log


def test_a_checkpoint_of_another_config_is_refused_with_the_field(tmp_path):
    own = settings()
    state = new_state(target(), DATA, own)
    state.log.append(evaluate(target(), DATA, own, state, [parse(t) for t in own.losses], 1))
    Checkpoints(tmp_path, {"settings": own.model_dump(mode="json"), "length": 64}).save(state)
    with pytest.raises(UserError, match="another length"):
        Checkpoints(tmp_path, {"settings": own.model_dump(mode="json"), "length": 32}).restore(state)


def test_a_checkpoint_that_was_changed_is_refused(tmp_path):
    own = settings()
    state = new_state(target(), DATA, own)
    state.log.append(evaluate(target(), DATA, own, state, [parse(t) for t in own.losses], 1))
    kept = Checkpoints(tmp_path, {})
    kept.save(state)
    path = tmp_path / "000000000" / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(FormatError, match="not what was written"):
        kept.restore(state)


def test_the_target_is_frozen_for_the_time_and_its_flags_come_back():
    own = target()
    before = {n: p.detach().clone() for n, p in own.network.named_parameters()}
    train(own, DATA, settings(steps=2))
    assert all(torch.equal(p, before[n]) and p.requires_grad for n, p in own.network.named_parameters())


def test_a_loss_that_is_not_finite_stops_with_step_and_name():
    with pytest.raises(Diverged, match="minimality is not finite at step"):
        train(target(), DATA, settings(learning_rate=1e30, losses=("minimality:1e38,p=2", "recon:1")))


def test_a_value_that_is_not_finite_is_named_with_component_and_position():
    from radiograph.decompose.training._loop import step

    own, t = settings(), target()
    state = new_state(t, DATA, own)
    with torch.no_grad():
        state.factors["w_out"].reads[1, 3] = float("nan")
    with pytest.raises(Diverged, match=r"at step 0 \(h of w_out:3, position \[\d+\]\)"):
        step(t, DATA, own, state, [parse(text) for text in own.losses])


@pytest.mark.parametrize("start", ["data", "spread", "random"])
@pytest.mark.parametrize("kind", importances())
def test_every_importance_and_start_trains(kind, start):
    options = {"width": 8, "blocks": 1, "heads": 2} if kind == "global" else {"hidden": 4}
    found = train(target(), DATA, settings(importance=kind, importance_options=options, start=start, steps=3))
    assert bool(torch.isfinite(flat(found)).all())


def test_a_spread_start_leaves_no_direction_of_the_data_out():
    rows = torch.eye(5)[[0] * 250 + [1, 2, 3, 4]]

    def covered(start, seed):
        factors, _ = started(target(), rows, settings(sizes={"w_in": 8}, start=start, seed=seed))
        reads = factors["w_in"].reads
        assert torch.allclose(reads.norm(dim=0), torch.ones(8))
        return int((reads.max(dim=1).values > 0.99).sum())

    assert [covered("spread", seed) for seed in range(8)] == [5] * 8
    assert max(covered("data", seed) for seed in range(8)) < 5


def test_a_spread_start_is_the_same_bytes_for_one_seed_and_others_for_another():
    own, again, other = (started(target(), DATA.batch(0, 64), settings(start="spread", seed=n))[0] for n in (0, 0, 1))
    for weight, factors in own.items():
        assert torch.equal(factors.reads, again[weight].reads) and torch.equal(factors.writes, again[weight].writes)
        assert not torch.equal(factors.reads, other[weight].reads)
    alone = started(target(), torch.eye(5)[[2, 2, 2]], settings(sizes={"w_in": 8}, start="spread"))[0]["w_in"]
    assert torch.equal(alone.reads, torch.eye(5)[:, [2] * 8])


def test_dd_25_the_order_of_components_changes_no_loss(done):
    own = settings()
    order = torch.randperm(8, generator=torch.Generator().manual_seed(3))
    a, b = new_state(target(), DATA, own), new_state(target(), DATA, own)
    for weight, f in b.factors.items():
        b.factors[weight] = Factors(f.reads[:, order], f.writes[order])
        for name in ("out", "out_bias"):
            key = f"{weight}/{name}"
            b.importance.tensors[key] = b.importance.tensors[key][..., order]
    losses = [parse(t) for t in ("faithfulness", "minimality", "importance_recon", "unmasked_recon")]
    first, second = (evaluate(target(), DATA, own, s, losses, 2) for s in (a, b))
    assert first.losses == pytest.approx(second.losses, rel=1e-5)
    assert first.active == pytest.approx(second.active)


def test_importance_is_judged_from_the_target_alone(done):
    own = make(target(), done.factors, done.importance)
    x = DATA.batch(0, 16)
    seen = own.observe(target(), x)
    with own.masked(target(), {}):
        again = own.observe(target(), x)
    assert all(torch.equal(seen.lower[w], again.lower[w]) for w in own.weights)


@pytest.mark.parametrize("kind", ["shared", "scalar"])
def test_the_gauge_changes_nothing_that_is_computed(kind):
    found = train(target(), DATA, settings(importance=kind, importance_options={"hidden": 4}, steps=3))
    x = DATA.batch(0, 64)
    raw = make(target(), found.factors, found.importance)
    signed = make(target(), found.factors, found.importance, signs=found.signs)
    for weight in raw.weights:
        before = found.factors[weight]
        assert torch.allclose(raw.factors[weight].reads.norm(dim=0), torch.ones(8), atol=1e-5)
        for own in (raw, signed):
            product = own.factors[weight].reads @ own.factors[weight].writes
            assert torch.allclose(product, before.reads @ before.writes, atol=1e-5)
        one, other = raw.observe(target(), x).lower[weight], signed.observe(target(), x).lower[weight]
        assert torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("stored", ["F32", "F16"])
def test_what_is_saved_is_what_is_loaded(tmp_path, done, stored):
    own = make(target(), done.factors, done.importance, signs=done.signs, stored=stored)
    save(own, tmp_path / "d")
    again = load(tmp_path / "d")
    assert (again.sha256, again.sizes, again.document) == (own.sha256, own.sizes, own.document)
    x = DATA.batch(1, 16)
    one, other = own.observe(target(), x), again.observe(target(), x)
    assert all(torch.equal(one.lower[w], other.lower[w]) for w in own.weights)
    assert str(again.components[9]) == "w_out:1" and again.offsets["w_out"] == 8


def test_a_decomposition_of_another_model_names_both(done):
    own = make(target(), done.factors, done.importance)
    import dataclasses

    other = dataclasses.replace(target(), sha256="f" * 64)
    with pytest.raises(Refusal, match="decomposition_mismatch") as refused:
        own.check(other)
    assert own.target_sha256 in str(refused.value) and "f" * 64 in str(refused.value)
    assert refused.value.exit_code == 3


def test_files_that_are_not_what_was_written_are_refused(tmp_path, done):
    from safetensors.torch import load_file, save_file

    save(make(target(), done.factors, done.importance), tmp_path / "d")

    def broken(change):
        folder = tmp_path / "broken"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tmp_path / "d", folder)
        tensors = load_file(folder / "components.safetensors")
        change(tensors, folder)
        if tensors:
            save_file(tensors, folder / "components.safetensors")
        return folder

    def nan(tensors, _):
        tensors["V/w_in"][2, 3] = float("nan")

    def other(tensors, _):
        tensors["U/w_out"][0, 0] += 1

    def missing(tensors, _):
        del tensors["importance/w_in/out"]

    def shape(tensors, _):
        tensors["V/w_in"] = tensors["V/w_in"][:, :3].contiguous()

    def newer(tensors, folder):
        tensors.clear()
        path = folder / "decomposition.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": "radiograph.decomposition/2"}))

    cases = {
        nan: r"V/w_in is not finite.*\n.*\[2, 3\]",
        other: "hash",
        missing: "missing tensor",
        shape: "shape of V/w_in",
    }
    for change, named in (cases | {newer: "newer"}).items():
        with pytest.raises(FormatError, match=named):
            load(broken(change))
    with pytest.raises(UserError, match="no decomposition"):
        load(tmp_path)
    with pytest.raises(UserError, match="not empty"):
        save(make(target(), done.factors, done.importance), tmp_path / "d")


@pytest.mark.parametrize(
    ("globs", "named"),
    [
        (("down.*=4",), "w_in, w_out"),
        (("w_*=4", "w_in=8"), "'w_[*]=4' and 'w_in=8'"),
        (("w_in=0",), "C >= 1"),
        (("w_in",), "GLOB=C"),
        ((), "none"),
    ],
)
def test_weights_that_cannot_be_chosen(globs, named):
    with pytest.raises(UserError, match=named):
        chosen(target(), globs)


def test_an_identity_is_chosen_with_its_own_number():
    assert chosen(target(), ("w_in=4",), ("w_out=6",)) == {"w_in": 4, "identity.w_out": 6}


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(UserError, match="tms-5-2"):
        preset_of("tms-5-3")
    with pytest.raises(UserError, match="shared"):
        new("shard", {}, {}, torch.Generator(), {})
    with pytest.raises(UserError, match="hidden"):
        settled("shared", {"hiden": 3})


def test_documents_of_one_length_a_batch_and_some_held_out():
    found = documents(([i] * (5 + i % 3) for i in range(300)), 6, seed=0)
    assert set(found.by_length) == {5, 6}
    trained = {int(row[0]) for rows in found.by_length.values() for row in rows}
    kept = {int(row[0]) for rows in found.kept.values() for row in rows}
    assert trained and kept and not trained & kept
    assert torch.equal(found.batch(7, 4), found.batch(7, 4)) and found.batch(7, 4).numel() in range(20, 25)
    with pytest.raises(UserError, match="too little text"):
        documents([[1, 2, 3, 4]], 6)


@pytest.mark.parametrize("kind", ["shared", "scalar", "vector"])
def test_a_spread_start_lets_importance_begin_where_a_component_reads(kind):
    x = torch.cat([torch.eye(5), 0 * torch.eye(5)]).repeat(10, 1)
    own = settings(start="spread", importance=kind, importance_options={"hidden": 8})
    _, importance = begun = started(target(), x, own)
    assert not any(t.requires_grad or t.grad is not None for t in importance.tensors.values())
    raw = make(target(), *begun).observe(target(), torch.eye(5)).raw["w_out"]
    h = begun[0]["w_out"].activations(torch.eye(5) @ target().matrix("w_in").T)
    both = torch.corrcoef(torch.stack([raw.flatten(), h.flatten()]))
    assert both[0, 1] > 0.8
