"""Exclusivity on planted pairs: what the rows hold decides, never a norm, and a copy has nothing of its own."""

import numpy as np
import pytest
import torch

from dictionaries.make import random_dictionary
from radiograph.dictionaries import Dictionary, activation
from radiograph.dictionaries.measures import exclusivity, model_pairs, survey, tabulate
from radiograph.numerics.dictionaries.units import draws

from .test_tables import blocks

WIDTH, SHARED, OWN, FAINT = 32, 24, 4, 4
SIZE = SHARED + 2 * OWN + FAINT
SITES = ("reference/resid_post.1", "candidate/resid_post.1")
SIDES = {"reference": range(SHARED, SHARED + OWN), "candidate": range(SHARED + OWN, SHARED + 2 * OWN)}
FAINTS = range(SHARED + 2 * OWN, SIZE)


def directions(seed):
    g = torch.Generator().manual_seed(seed)
    d = torch.randn(SIZE, WIDTH, generator=g)
    return d / d.norm(dim=1, keepdim=True)


def truth(seed=0, faint=0.2):
    """Writes of every feature in both models: shared, exclusive to one, or `faint` times as strong in the candidate."""
    d = directions(seed)
    ours, theirs = d.clone(), d.clone()
    theirs[list(SIDES["reference"])] = 0
    ours[list(SIDES["candidate"])] = 0
    theirs[list(FAINTS)] *= faint
    return torch.cat([ours, theirs], 1)


def pair(writes, n=6000, seed=0, active=3, noise=0.01):
    g = torch.Generator().manual_seed(seed + 100)
    chosen = torch.rand(n, SIZE, generator=g).topk(active, dim=1).indices
    codes = torch.zeros(n, SIZE).scatter(1, chosen, 1 + torch.rand(n, active, generator=g))
    return codes @ writes + noise * torch.randn(n, 2 * WIDTH, generator=g), codes


def crosscoder(writes, decoder=None):
    """Codes that are the true ones (least squares on both models), and a decoder that may lie about norms."""
    decoder = writes if decoder is None else decoder
    return Dictionary(
        encoder=torch.linalg.pinv(writes).T.contiguous(),
        decoder=decoder,
        encoder_bias=torch.zeros(SIZE),
        input_bias=torch.zeros(2 * WIDTH),
        decoder_bias=torch.zeros(2 * WIDTH),
        activation=activation("jumprelu"),
        parameters={"threshold": torch.full((SIZE,), 0.5)},
        sites=SITES,
        kind="crosscoder",
    )


def found(d, rows, seed=0):
    made = blocks(rows, groups=np.arange(len(rows)) // 20)
    seen = survey(d, made)
    taken = draws(seen.units, seed=0)
    live = tabulate(d, made, seen, taken).density > 0
    (places,) = model_pairs(d)
    return exclusivity(d, made, seen, taken, places, live=live, seed=seed)


def states(result, role="nominee"):
    return {probe.feature: probe.scaling.state for probe in result.of(role)}


def test_what_is_written_on_one_side_only_is_exclusive_and_nothing_else():
    writes = truth()
    rows, _ = pair(writes)
    result = found(crosscoder(writes), rows)
    assert {f for f, s in states(result).items() if s == "exclusive"} == {*SIDES["reference"], *SIDES["candidate"]}
    assert all(p.side == side for side, own in SIDES.items() for p in result.of("nominee") if p.feature in own)
    shared = result.of("shared")
    assert len(shared) == 20
    assert all(p.scaling.state == "shared" for p in shared)
    # Not quite one: each side is measured in units of its own spread.
    assert [p.scaling.nu_error for p in shared] == pytest.approx([1] * len(shared), abs=0.12)
    assert not any(p.scaling.state == "exclusive" for p in result.probes if p.role != "nominee")


def test_a_norm_that_shrank_to_zero_is_not_exclusivity():
    """Fault 16: a decoder without the weak write nominates; what the error holds says that the write is there."""
    writes = truth(faint=0.6)
    rows, _ = pair(writes)
    shrunk = writes.clone()
    shrunk[list(FAINTS), WIDTH:] = 0
    shrunk[:4, WIDTH:] = 0
    result = found(crosscoder(writes, shrunk), rows)
    assert {*FAINTS, 0, 1, 2, 3} <= set(states(result))
    assert {states(result)[f] for f in FAINTS} == {"attenuated"}
    assert {states(result)[f] for f in range(4)} == {"shared"}
    nu = {p.feature: p.scaling.nu_error for p in result.of("nominee")}
    assert [nu[f] for f in FAINTS] == pytest.approx([0.6] * FAINT, abs=0.05)
    assert [nu[f] for f in range(4)] == pytest.approx([1] * 4, abs=0.05)


@pytest.mark.parametrize("seed", range(5))
def test_a_copy_of_the_reference_has_nothing_exclusive_in_five_seeds(seed):
    """Fault 16, with split features: each half is written on one side only, and both sides hold the same rows."""
    writes = truth(seed)
    rows, _ = pair(writes, seed=seed)
    copied = torch.cat([rows[:, :WIDTH], rows[:, :WIDTH]], 1)
    split = truth(seed)
    split[:SHARED, :WIDTH][::2] = 0
    split[:SHARED, WIDTH:][1::2] = 0
    result = found(crosscoder(writes, split), copied, seed)
    assert result.nominated >= SHARED
    assert "exclusive" not in states(result).values()
    assert "exclusive" not in states(result, "copy").values()


def test_identical_copies_have_scaling_one():
    d = directions(0)
    writes = torch.cat([d, d], 1)
    rows, _ = pair(writes, noise=0)
    result = found(crosscoder(writes), rows)
    assert (result.nominated, result.of("nominee")) == (0, [])
    assert [p.scaling.nu_error for p in result.of("shared")] == pytest.approx([1] * 20, abs=0.01)


def test_the_copy_control_of_a_real_pair_finds_nothing():
    writes = truth()
    rows, _ = pair(writes)
    result = found(crosscoder(writes), rows)
    control = result.of("copy")
    assert {p.feature for p in control} == set(states(result))
    assert not any(p.scaling.state == "exclusive" for p in control)


def test_the_scale_of_a_source_does_not_decide():
    writes = truth()
    rows, _ = pair(writes)
    scaled = rows * torch.cat([torch.ones(WIDTH), torch.full((WIDTH,), 30.0)])
    d = crosscoder(writes)
    factor = torch.cat([torch.ones(WIDTH), torch.full((WIDTH,), 30.0)])
    other = Dictionary(**{**_fields(d), "encoder": d.encoder / factor, "decoder": d.decoder * factor})
    assert states(found(other, scaled)) == states(found(d, rows))


def _fields(d):
    return {name: getattr(d, name) for name in d.__dataclass_fields__}


def test_scaling_agrees_with_dense_products():
    """A second way: every row, every feature, in float64."""
    writes = truth()
    rows, _ = pair(writes, n=1500)
    shrunk = writes.clone()
    shrunk[0, WIDTH:] = 0
    d = crosscoder(writes, shrunk)
    result = found(d, rows)
    scale = [WIDTH / float(part.double().var(0, correction=0).sum()) for part in rows.split(WIDTH, 1)]
    z, rebuilt = d.encode_dense(rows).double(), d.reconstruct(rows).double()
    for probe in result.of("nominee"):
        j = probe.feature
        strong, weak = (0, 1) if probe.side == "reference" else (1, 0)
        parts = [slice(0, WIDTH), slice(WIDTH, None)]
        a = [s**0.5 for s in scale]
        u = d.decoder[j, parts[strong]].double() * a[strong]
        betas = {}
        for name, source in (("strong", strong), ("weak", weak)):
            e = (rows.double() - rebuilt)[:, parts[source]] * a[source]
            left = e + z[:, j : j + 1] * d.decoder[j, parts[source]].double() * a[source]
            below = (z[:, j] ** 2).sum() * u.dot(u)
            betas[name] = float((z[:, j] * (left @ u)).sum() / below)
            betas[name + "_r"] = float((z[:, j] * ((rebuilt[:, parts[source]] * a[source]) @ u)).sum() / below)
        assert probe.scaling.active == int((z[:, j] > 0).sum())
        if probe.scaling.nu_error is not None:
            assert probe.scaling.beta_strong == pytest.approx(betas["strong"], rel=1e-4)
            assert probe.scaling.nu_error == pytest.approx(betas["weak"] / betas["strong"], abs=1e-4)
            assert probe.scaling.nu_reconstruction == pytest.approx(betas["weak_r"] / betas["strong_r"], abs=1e-4)


def test_pairs_are_the_same_site_in_two_models():
    three = ("reference/resid_post.1", "candidate/resid_post.1", "candidate2/resid_post.1")
    d = random_dictionary("topk", width=36, kind="crosscoder", sites=three)
    assert model_pairs(d) == [(0, 1), (0, 2)]
    layers = random_dictionary("topk", width=24, kind="crosscoder", sites=("resid_post.0", "resid_post.1"))
    assert model_pairs(layers) == []
