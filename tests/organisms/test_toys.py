"""Toys: those that ship are well-formed, others are made by their recipe, damage is refused."""

import dataclasses
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from radiograph.core import FormatError, UserError
from radiograph.organisms.toys import RECIPES, is_toy, load_toy, read_toy, recipe_of, train_toy, write_toy
from radiograph.organisms.toys._stored import SHIPPED


@pytest.mark.parametrize("name", sorted(p.name for p in SHIPPED.glob("tms-*")))
def test_what_ships_is_well_formed(name):
    toy = load_toy(f"bundled:{name}")
    w = toy.network.w_in.weight.detach()
    assert bool((w.norm(dim=0) > 0.8).all()) and torch.equal(toy.network.w_out.weight, w.T)
    x = torch.eye(toy.recipe.features) * 0.75
    with torch.no_grad():
        rebuilt = toy.network(x)
    assert bool((rebuilt.argmax(1) == torch.arange(toy.recipe.features)).all())
    assert list(toy.target.places) == list(toy.recipe.known)


def test_opposite_features_of_ten_in_five():
    w = load_toy("tms-10-5").network.w_in.weight.detach()
    cosines = torch.nn.functional.cosine_similarity(w.T[:, None], w.T[None], dim=2)
    assert int((cosines < -0.98).sum()) == 10
    assert load_toy("tms-10-5").recipe.known["w_in"].fewest == 5


@pytest.mark.parametrize("name", ["tms-5-2-identity", "resid-mlp-2"])
def test_a_recipe_makes_the_same_toy_again(name, tmp_path):
    recipe = dataclasses.replace(recipe_of(name), steps=3, rows=16)
    first, second = train_toy(recipe), train_toy(recipe)
    ours, theirs = first.state_dict(), second.state_dict()
    assert all(torch.equal(ours[n], theirs[n]) for n in ours)
    addresses = {"tms-5-2-identity": ["w_in", "hidden.0", "w_out"], "resid-mlp-2": ["up.0", "up.1", "down.0", "down.1"]}
    assert list(first.weights) == addresses[name]


def test_hidden_layers_are_the_identity():
    network = train_toy(dataclasses.replace(recipe_of("tms-5-2-identity"), steps=2, rows=8))
    assert torch.equal(network.hidden[0].weight, torch.eye(2))


def test_names():
    assert is_toy("bundled:tms-5-2") and not is_toy("tms-5-2") and not is_toy("bundled:base")
    assert set(RECIPES) >= {"tms-5-2", "tms-10-5", "tms-40-10", "resid-mlp-1", "resid-mlp-2", "resid-mlp-3"}
    with pytest.raises(UserError, match="tms-40-10"):
        load_toy("bundled:tms-40-11")


def test_damage_is_refused(tmp_path):
    recipe, folder = recipe_of("tms-5-2"), tmp_path / "t"
    shutil.copytree(SHIPPED / "tms-5-2", folder)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(FormatError, match="hash"):
        read_toy(folder)
    network = load_toy("tms-5-2").network
    with torch.no_grad():
        network.w_in.weight[:, 2] = 0
        network.w_out.weight[2] = 0
    write_toy(network, recipe, tmp_path / "u")
    with pytest.raises(FormatError, match="for feature 2"):
        read_toy(tmp_path / "u")
    tensors = load_file(SHIPPED / "tms-5-2" / "model.safetensors")
    del tensors["w_out.bias"]
    save_file(tensors, path)
    (folder / "toy.json").write_text("{}")
    with pytest.raises(FormatError, match="not a toy"):
        read_toy(folder)
