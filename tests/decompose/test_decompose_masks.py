"""Mask sources and routers."""

import pytest
import torch

from radiograph.core import UserError
from radiograph.decompose.masks import SOURCES, drawn, mixed
from radiograph.decompose.routers import route
from radiograph.numerics.components.squash import outside_unit, squash_of

SQUASH = squash_of("leaky_hard")
RAW = {w: torch.randn(400, 5, generator=torch.Generator().manual_seed(i)) for i, w in enumerate(("w_in", "w_out"))}
LOWER = {w: SQUASH.lower(g) for w, g in RAW.items()}


def draw(source, seed=0, **options):
    return drawn(source, RAW, LOWER, SQUASH, torch.Generator().manual_seed(seed), **options)


@pytest.mark.parametrize("source", SOURCES)
def test_masks_lie_between_importance_and_one(source):
    for weight, mask in draw(source).items():
        if mask.components is None:
            assert source == "ones"
            continue
        assert outside_unit(mask.components) == 0
        if source in ("continuous", "importance"):
            assert bool((mask.components >= LOWER[weight] - 1e-6).all())
        assert (mask.delta is not None) == (source in ("continuous", "binomial", "random"))


def test_what_each_source_says():
    g = LOWER["w_in"]
    assert torch.equal(draw("importance")["w_in"].components, g)
    assert torch.equal(draw("rounded", threshold=0.3)["w_in"].components, (g > 0.3).float())
    assert not bool(draw("zeros")["w_in"].components.any())
    continuous = draw("continuous")["w_in"]
    r = (continuous.components - g)[g < 1] / (1 - g)[g < 1]
    assert abs(float(r.mean()) - 0.5) < 0.03 and abs(float(continuous.delta.mean()) - 0.5) < 0.05
    delta = draw("binomial")["w_in"].delta
    assert set(delta.tolist()) == {0.0, 1.0}
    silent = draw("binomial")["w_in"].components[RAW["w_in"] < -0.1]
    assert set(silent.tolist()) == {0.0, 1.0}


def test_mixed_is_the_formula():
    g, r = torch.rand(7), torch.rand(7)
    assert torch.allclose(mixed(g, r), g + (1 - g) * r)


def test_subset_is_a_uniform_size_and_a_random_set():
    weights = ["a", "b", "c"]
    found = torch.stack(list(route("subset", weights, (20_000,), torch.Generator().manual_seed(0)).values()))
    sizes = torch.bincount(found.sum(0), minlength=4) / 20_000
    assert sizes[0] == 0 and torch.allclose(sizes[1:], torch.full((3,), 1 / 3), atol=0.015)
    assert torch.allclose(found.float().mean(1), torch.full((3,), 2 / 3), atol=0.015)


def test_other_routers():
    generator = torch.Generator().manual_seed(0)
    assert route("all", ["w_in", "w_out"], (3,), generator) == {"w_in": None, "w_out": None}
    assert route("layer:w_out", ["w_in", "w_out"], (3,), generator) == {"w_out": None}
    p = route("bernoulli:0.25", ["w_in"], (10_000,), generator)["w_in"].float().mean()
    assert abs(float(p) - 0.25) < 0.02


@pytest.mark.parametrize("router", ["alll", "bernoulli:2", "bernoulli:x", "layer:down.1"])
def test_an_unknown_router_names_what_there_is(router):
    with pytest.raises(UserError, match=r"all|bernoulli:P|w_in"):
        route(router, ["w_in"], (3,), torch.Generator())


def test_an_unknown_source_names_the_nearest():
    with pytest.raises(UserError, match="continuous"):
        draw("continous")
