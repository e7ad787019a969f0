"""Damage and wiring do to the weights exactly what they say, and nothing else."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from radiograph.core import Site
from radiograph.models import LanguageModel, capture, load, pad
from radiograph.models.tail import write_vectors
from radiograph.organisms import bundled_path
from radiograph.organisms.building._edits import apply, matrices
from radiograph.organisms.building._wiring import edited
from radiograph.organisms.recipes import Edit
from radiograph.organisms.world import World
from radiograph.organisms.world._lexicon import CLASSES, IDS

PARTS = {"all": 21, "attention": 12, "mlp": 9}


@pytest.fixture(scope="module")
def base() -> LanguageModel:
    return load("bundled:base", resolve=bundled_path)


def _damaged(base: LanguageModel, edit: Edit) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The matrices of the part, before and after; everything else must be untouched."""
    network = copy.deepcopy(base.model)
    apply(network, edit)
    touched = {name for name, _ in matrices(network, edit.where)}
    assert len(touched) == PARTS[edit.where]
    before, after = dict(base.model.named_parameters()), dict(network.named_parameters())
    assert all(torch.equal(before[name], after[name]) for name in before if name not in touched)
    return {name: before[name].data for name in touched}, {name: after[name].data for name in touched}


@pytest.mark.parametrize("where", PARTS)
def test_noise_has_the_size_that_was_asked_for(base, where):
    before, after = _damaged(base, Edit("noise", 0.2, where, seed=3))
    for name, matrix in before.items():
        assert float((after[name] - matrix).norm() / matrix.norm()) == pytest.approx(0.2, rel=0.08)
    again = _damaged(base, Edit("noise", 0.2, where, seed=3))[1]
    other = _damaged(base, Edit("noise", 0.2, where, seed=4))[1]
    assert all(torch.equal(again[name], after[name]) for name in after)
    assert not any(torch.equal(other[name], after[name]) for name in after)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_rounding_leaves_few_values_a_row_and_each_the_nearest(base, bits):
    before, after = _damaged(base, Edit("round", bits, "all"))
    for name, matrix in before.items():
        grid = (
            matrix.abs().amax(1, keepdim=True)
            * torch.arange(-(2 ** (bits - 1) - 1), 2 ** (bits - 1))
            / (2 ** (bits - 1) - 1)
        )
        nearest = (matrix[:, :, None] - grid[:, None]).abs().amin(-1)
        torch.testing.assert_close((after[name] - matrix).abs(), nearest, atol=1e-6, rtol=0)
        assert max(len(row.unique()) for row in after[name]) <= 2**bits - 1


def test_pruning_sets_the_smallest_to_zero_and_keeps_the_others(base):
    before, after = _damaged(base, Edit("prune", 0.4, "mlp"))
    for name, matrix in before.items():
        gone = after[name] == 0
        assert int(gone.sum()) == round(0.4 * matrix.numel())
        assert torch.equal(after[name][~gone], matrix[~gone])
        assert float(matrix[gone].abs().max()) <= float(matrix[~gone].abs().min())


def test_a_matrix_has_the_rank_and_size_it_was_given(base):
    made, truth = edited(base, Edit("rank", 0.1, "up:3", seed=9))
    changed = [n for n, p in made.parameters().items() if not torch.equal(p, base.parameters()[n])]
    place = base.weights[truth["address"]]
    assert changed == [place.parameter]
    matrix = place.read(base.parameters()[place.parameter].detach()).double()
    change = place.read(made.parameters()[place.parameter].detach()).double() - matrix
    sizes = torch.linalg.svdvals(change)
    assert int((sizes > 1e-4 * sizes[0]).sum()) == truth["rank"] == 3
    assert float(change.norm() / matrix.norm()) == pytest.approx(0.1, rel=1e-4)


def test_cause_and_decoy_read_the_same_and_only_the_cause_acts(base):
    caused, first = edited(base, Edit("cause", 1.0, seed=5))
    both, second = edited(caused, Edit("decoy", 0.02, seed=5))
    only, _ = edited(base, Edit("decoy", 0.02, seed=5))
    cause, decoy = first["cause"], second["decoy"]
    assert cause["attribute"] == decoy["attribute"] and cause["unit"] != decoy["unit"]
    site = Site("mlp_hidden", 2)
    texts = [d.ids for d in World().documents("mixture", "test", seed=7, count=60)]
    units = [int(role["unit"].split("[")[1][:-1]) for role in (cause, decoy)]
    read = np.concatenate([capture(both, pad([ids]), [site])[site][0, :, units].numpy() for ids in texts])
    labels = np.concatenate([[World().vocabulary[i] in CLASSES[cause["attribute"]] for i in ids] for ids in texts])
    for column in read.T:
        assert np.median(column[labels]) > 6 > 1 > np.median(column[~labels])
    token = IDS[cause["token"]]
    before, after, idle = (_after(model, texts)[labels] for model in (base, caused, only))
    assert (after - before)[:, token].mean() > 2
    acted, stayed = (float((np.exp(before) * (before - other)).sum(-1).mean()) for other in (after, idle))
    assert stayed < 0.05 * acted


def _after(model: LanguageModel, texts: list[tuple[int, ...]]) -> np.ndarray:
    """Log-probabilities at every token."""
    with torch.inference_mode():
        return np.concatenate([model.model(torch.tensor([ids])).logits[0].log_softmax(-1).numpy() for ids in texts])


def test_a_loud_unit_is_named_in_the_truth(base):
    made, truth = edited(base, Edit("loud", 10.0, seed=2))
    layer, unit = int(truth["unit"].split(".")[1].split("[")[0]), int(truth["unit"].split("[")[1][:-1])
    site = Site("mlp_hidden", layer)
    before, after = write_vectors(base, site), write_vectors(made, site)
    np.testing.assert_allclose(after[unit], 10 * before[unit], rtol=1e-5)
    np.testing.assert_array_equal(np.delete(after, unit, 0), np.delete(before, unit, 0))
