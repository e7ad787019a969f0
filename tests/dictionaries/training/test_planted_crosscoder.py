"""A crosscoder trained on two planted models finds every kind of direction; only what one model lacks is exclusive.

104 directions that both models write (the candidate's turned a little), 8 of the reference alone, 8 of the candidate
alone, and 8 that the candidate writes at a fifth of the strength.
"""

import numpy as np
import pytest
import torch

from dictionaries.measures.test_tables import blocks
from radiograph.dictionaries.measures import exclusivity, model_pairs, survey, tabulate
from radiograph.dictionaries.training import TrainingConfig, train
from radiograph.numerics.dictionaries.units import draws

from .held import held

WIDTH, SHARED, OWN, FAINT = 64, 104, 8, 8
SIZE = SHARED + 2 * OWN + FAINT
KINDS = {
    "shared": range(SHARED),
    "reference": range(SHARED, SHARED + OWN),
    "candidate": range(SHARED + OWN, SHARED + 2 * OWN),
    "faint": range(SHARED + 2 * OWN, SIZE),
}
SOURCES = ("reference/resid_post.1", "candidate/resid_post.1")


def truth(seed=0):
    g = torch.Generator().manual_seed(seed)
    ours = torch.nn.functional.normalize(torch.randn(SIZE, WIDTH, generator=g), dim=1)
    turn = torch.nn.functional.normalize(torch.randn(SIZE, WIDTH, generator=g), dim=1)
    theirs = torch.nn.functional.normalize(ours + 0.15 * turn, dim=1)
    assert float((ours * theirs).sum(1).min()) > 0.97
    ours, theirs = ours.clone(), theirs.clone()
    theirs[list(KINDS["reference"])] = 0
    ours[list(KINDS["candidate"])] = 0
    theirs[list(KINDS["faint"])] = 0.2 * ours[list(KINDS["faint"])]
    return ours, theirs


def rows(ours, theirs, n, seed=1, active=5, noise=0.01):
    g = torch.Generator().manual_seed(seed)
    chosen = torch.rand(n, SIZE, generator=g).topk(active, dim=1).indices
    codes = torch.zeros(n, SIZE).scatter(1, chosen, 1 + torch.rand(n, active, generator=g))
    return [codes @ d + noise * torch.randn(n, WIDTH, generator=g) for d in (ours, theirs)]


def scaled(dictionary, made):
    seen = survey(dictionary, made)
    taken = draws(seen.units, seed=0)
    live = tabulate(dictionary, made, seen, taken).density > 0
    (places,) = model_pairs(dictionary)
    return exclusivity(dictionary, made, seen, taken, places, live=live, seed=0)


def matched(dictionary, ours, theirs):
    """For each true direction the feature whose writes, both sides together, are most like it; -1 below 0.9."""
    both = torch.nn.functional.normalize(torch.cat([ours, theirs], 1), dim=1)
    cosine = both @ torch.nn.functional.normalize(dictionary.decoder, dim=1).T
    best, place = cosine.max(1)
    return torch.where(best > 0.9, place, -1).tolist()


@pytest.fixture(scope="module")
def found():
    ours, theirs = truth()
    both = rows(ours, theirs, 73_728)
    activations = held(dict(zip(SOURCES, both, strict=True)), validation=1 / 9)
    config = TrainingConfig(
        kind="crosscoder", activation="batchtopk", k=5, size=256, learning_rate=2e-3, tokens=1500 * 1024, seed=7
    )
    dictionary = train(activations, config).dictionary
    fresh = torch.cat(rows(ours, theirs, 20_000, seed=2), 1)
    return dictionary, matched(dictionary, ours, theirs), blocks(fresh, groups=np.arange(len(fresh)) // 20)


@pytest.mark.slow
def test_all_kinds_are_found_and_only_what_one_model_lacks_is_exclusive(found):
    dictionary, places, made = found
    for kind, members in KINDS.items():
        assert sum(places[i] >= 0 for i in members) >= 0.9 * len(members), kind
    result = scaled(dictionary, made)
    exclusive = {probe.feature: probe.side for probe in result.of("nominee") if probe.scaling.state == "exclusive"}
    for side in ("reference", "candidate"):
        own = {places[i] for i in KINDS[side]}
        assert sum(exclusive.get(feature) == side for feature in own) >= 7, side
    assert not {places[i] for kind in ("shared", "faint") for i in KINDS[kind]} & exclusive.keys()
    assert not [p for p in result.of("copy") if p.scaling.state == "exclusive"]


@pytest.mark.slow
def test_identical_copies_have_nothing_exclusive():
    ours, _ = truth()
    first, _ = rows(ours, ours, 73_728)
    config = TrainingConfig(
        kind="crosscoder", activation="batchtopk", k=5, size=256, learning_rate=2e-3, tokens=500 * 1024
    )
    dictionary = train(held(dict.fromkeys(SOURCES, first), validation=1 / 9), config).dictionary
    fresh, _ = rows(ours, ours, 10_000, seed=2)
    result = scaled(dictionary, blocks(torch.cat([fresh, fresh], 1), groups=np.arange(len(fresh)) // 20))
    assert not [p for p in result.probes if p.scaling.state == "exclusive"]
    # Features that hardly fire say nothing, and are not measured.
    shared = [p.scaling.nu_error for p in result.of("shared") if p.scaling.nu_error is not None]
    assert len(shared) >= 5 and max(abs(nu - 1) for nu in shared) <= 0.01
