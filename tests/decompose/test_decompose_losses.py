"""Losses written out a second time, and what each refuses."""

import pytest
import torch

from decompose.toys import DATA, settings, target
from radiograph.core import UserError
from radiograph.decompose.losses import names, parse
from radiograph.decompose.losses.minimality import power
from radiograph.decompose.training import new_state, scene_of
from radiograph.models.masked import Mask


@pytest.fixture(scope="module")
def scene():
    t, s = target(), settings()
    state = new_state(t, DATA, s)
    return scene_of(t, DATA.batch(3, 64), s, state)


def measured(scene, text):
    return parse(text).measure(scene)


def number(scene, text):
    return float(measured(scene, text).detach())


def test_faithfulness_is_the_mean_squared_entry_of_what_is_left(scene):
    total = sum(
        float((scene.target.matrix(w) - (f.reads @ f.writes).T.detach()).square().sum())
        for w, f in scene.factors.items()
    )
    assert number(scene, "faithfulness") == pytest.approx(total / 20, rel=1e-5)


def test_minimality_and_its_frequency_term(scene):
    plain, frequent = 0.0, 0.0
    for g in scene.seen.upper.values():
        powered = (g.detach() + 1e-12) ** 0.5
        mean = powered.mean(0)
        plain += float(mean.sum())
        frequent += float((mean * (1 + 0.1 * torch.log2(1 + powered.sum(0)))).sum())
    assert number(scene, "minimality:1,p=0.5") == pytest.approx(plain, rel=1e-5)
    assert number(scene, "minimality:1,p=0.5,beta=0.1") == pytest.approx(frequent, rel=1e-5)


def test_the_power_goes_linearly_between_two_fractions():
    options = {"p": 2.0, "p_end": 0.4, "start": 0.2, "end": 0.6}
    assert [power(options, f) for f in (0.0, 0.2, 0.4, 0.6, 1.0)] == pytest.approx([2.0, 2.0, 1.2, 0.4, 0.4])


def test_reconstruction_by_hand(scene):
    with torch.no_grad():
        x, network = scene.inputs, scene.target.network
        fi, fo = scene.factors["w_in"], scene.factors["w_out"]
        gi, go = scene.seen.lower["w_in"], scene.seen.lower["w_out"]
        h = ((x @ fi.reads) * gi) @ fi.writes
        y = torch.relu(((h @ fo.reads) * go) @ fo.writes + network.w_out.bias)
        expected = float((y - scene.seen.output).square().mean())
        assert number(scene, "importance_recon") == pytest.approx(expected, rel=1e-5)
        ones = torch.relu((x @ fi.reads @ fi.writes) @ fo.reads @ fo.writes + network.w_out.bias)
        assert number(scene, "unmasked_recon") == pytest.approx(
            float((ones - scene.seen.output).square().mean()), rel=1e-4
        )
        alone = [scene.mean_distance(scene.output({w: Mask(g)})) for w, g in scene.seen.lower.items()]
        assert number(scene, "importance_recon_layerwise") == pytest.approx(float(sum(alone)) / 2, rel=1e-5)


@pytest.mark.parametrize("name", ["recon", "recon_layerwise", "recon_subset", "hidden_recon", "persistent"])
def test_every_loss_has_a_gradient_to_the_parts_it_trains(scene, name):
    value = measured(scene, name)
    gradients = torch.autograd.grad(value, [f.reads for f in scene.factors.values()], allow_unused=True)
    assert torch.isfinite(value) and any(g is not None and bool(g.abs().sum() > 0) for g in gradients)


@pytest.mark.parametrize("scope", ["batch", "point"])
def test_dd_7_what_is_reported_is_what_was_attacked(scene, scope):
    value = measured(scene, f"adversarial_recon:1,steps=3,size=0.3,random=3,scope={scope}")
    worst = scene.memory["adversarial_recon/worst"]
    shaped = worst.view(*scene.shape, -1) if scope == "point" else worst
    again = scene.mean_distance(scene.output(scene.attacked(shaped, detached=True)))
    assert abs(float(value.detach()) - float(again.detach())) < 1e-6
    assert float(value.detach()) >= number(scene, "importance_recon") * 0.5


def test_d10_4_persistent_masks_stay_in_the_unit_interval_and_differ(scene):
    loss = parse("persistent:1,sources=4,rate=0.3")
    scene.memory.clear()
    for _ in range(12):
        loss.measure(scene).backward(retain_graph=True)
        loss.after(scene)
    r = scene.memory["persistent/r"]
    assert r.shape == (4, scene.variables) and bool(((r >= 0) & (r <= 1)).all())
    assert len({tuple(row.tolist()) for row in r}) == 4
    for f in scene.factors.values():
        f.reads.grad = f.writes.grad = None


def test_the_shared_mask_of_many_batches_climbs(scene):
    loss = parse("adversarial_multibatch:1,batches=2,size=0.3")
    scene.memory.clear()
    values = [float(loss.measure(scene).detach()) for _ in range(9)]
    assert values[-1] > values[0]


def test_every_name_is_read():
    assert {"recon_layerwise", "adversarial_recon_subset", "minimality"} <= set(names())
    for name in names():
        assert parse(f"{name}:0.5").weight == 0.5


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("recn:1", "recon"),
        ("minimality:1,q=2", "p_end"),
        ("minimality:x", "a number from 0"),
        ("minimality_subset:1", "minimality"),
        ("recon:-1", "a number from 0"),
    ],
)
def test_bad_losses_name_the_nearest(text, named):
    with pytest.raises(UserError, match=named):
        parse(text)


def test_another_package_can_register_a_loss_and_an_importance(monkeypatch, scene):
    from types import SimpleNamespace

    from radiograph.core import FormatError, extras, plugins
    from radiograph.decompose.importance import kind_of

    loss = SimpleNamespace(OPTIONS={"k": 2}, measure=lambda scene, options: scene.seen.output.new_tensor(options["k"]))
    nets = SimpleNamespace(OPTIONS={}, tensors=lambda *a: {}, raw=lambda *a: {})
    for name, value, fits in (("mine", loss, True), ("recon", loss, False), ("odd", SimpleNamespace(), False)):
        point = SimpleNamespace(name=name, value=f"p:{name}", load=lambda value=value: value, dist=None)
        monkeypatch.setattr(extras, "entry_points", lambda group, point=point: [point])
        plugins.cache_clear()
        if fits:
            assert number(scene, "mine:1,k=3") == 3.0
        else:
            with pytest.raises(FormatError):
                number(scene, f"{name}:1")
    point = SimpleNamespace(name="theirs", value="p:theirs", load=lambda: nets, dist=None)
    monkeypatch.setattr(extras, "entry_points", lambda group: [point])
    plugins.cache_clear()
    assert kind_of("theirs") is nets
    monkeypatch.undo()
    plugins.cache_clear()
