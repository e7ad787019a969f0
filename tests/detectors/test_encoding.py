"""Pooled features: the same as a slow dense loop, and free of batching."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from radiograph.core import Site
from radiograph.detectors.measure import _encoding, encode_pair, kept_tokens, site_rows
from radiograph.dictionaries import random_control
from radiograph.models import Pair, Prompt, pad, stream

FIELDS = ("reference", "candidate", "n_tokens", "sums", "squares", "active", "missed", "shift")


def site_of(model, ids, site):
    (_, found), *_ = stream(model, [ids], [Site.parse(site)])
    return found[Site.parse(site)][0]


def slow(pair, dictionary, prompts, masks):
    """Prompt by prompt, dense, in float64 after encoding."""
    rows, features = len(prompts), dictionary.size
    found = {f: np.zeros((rows, features)) for f in ("reference", "candidate")}
    found |= {f: np.zeros(features) for f in ("sums", "squares", "active")}
    found |= {"missed": np.zeros(rows), "shift": np.zeros(rows), "n_tokens": np.zeros(rows, int)}
    for row, (prompt, mask) in enumerate(zip(prompts, masks, strict=True)):
        codes, rebuilt, states = {}, {}, {}
        for side in ("reference", "candidate"):
            states[side] = site_of(getattr(pair, side), prompt.ids, dictionary.site)[torch.tensor(mask)]
            codes[side] = dictionary.encode_dense(states[side]).double().numpy()
            rebuilt[side] = dictionary.decode(dictionary.encode(states[side])).double().numpy()
            found[side][row] = codes[side].mean(axis=0)
        found["sums"] += codes["reference"].sum(axis=0)
        found["squares"] += (codes["reference"] ** 2).sum(axis=0)
        found["active"] += (codes["reference"] > 0).sum(axis=0)
        shift = (states["candidate"] - states["reference"]).double().numpy()
        found["shift"][row] = (shift**2).sum()
        found["missed"][row] = ((shift - (rebuilt["candidate"] - rebuilt["reference"])) ** 2).sum()
        found["n_tokens"][row] = int(mask.sum())
    return found


@pytest.mark.parametrize("reduce", ["skip_first", "content"])
def test_pooled_features_equal_a_dense_loop(pair, banks, dictionary, reduce):
    prompts = [*banks.rendered[:10], *banks.rendered[-6:], Prompt(banks.rendered[0].ids[:1], ("content",))]
    control = random_control(dictionary, site_of(pair.reference, prompts[0].ids, dictionary.site), seed=1)
    pools = encode_pair(pair, [dictionary, control], prompts, reduce)
    for codec, pool in zip((dictionary, control), pools, strict=True):
        expected = slow(pair, codec, prompts, kept_tokens(prompts, reduce))
        for name in FIELDS:
            np.testing.assert_allclose(getattr(pool, name), expected[name], rtol=2e-5, atol=2e-5, err_msg=name)


def test_what_counts_as_a_token(banks):
    prompt = banks.rendered[0]
    skip, content = (kept_tokens([prompt], how)[0] for how in ("skip_first", "content"))
    assert skip.sum() == len(prompt.ids) - 1 and not skip[0]
    assert content.tolist() == [k == "content" for k in prompt.kinds] and 0 < content.sum() < skip.sum()
    alone = Prompt((5,), ("content",))
    bare = Prompt((1, 2), ("special", "template"))
    assert kept_tokens([alone], "skip_first")[0].tolist() == [True]
    assert kept_tokens([bare], "content")[0].tolist() == [True, True]


@pytest.mark.parametrize("batch_tokens", [1, 64, 100_000])
def test_batching_changes_nothing_that_counts(pair, banks, dictionary, batch_tokens, monkeypatch):
    """D16: one prompt a batch, some, or all at once with their padding."""
    prompts = banks.rendered[::4]
    (usual,) = encode_pair(pair, [dictionary], prompts, "skip_first")
    monkeypatch.setattr(
        _encoding, "stream", lambda model, tokens, sites: stream(model, tokens, sites, batch_tokens=batch_tokens)
    )
    (other,) = encode_pair(pair, [dictionary], prompts, "skip_first")
    for name in FIELDS:
        np.testing.assert_allclose(getattr(other, name), getattr(usual, name), rtol=1e-5, atol=1e-5, err_msg=name)


def test_padding_on_either_side_gives_the_same_activations(pair, banks):
    from radiograph.models import capture

    site = Site.parse("resid_post.1")
    tokens = sorted((r.ids for r in banks.rendered), key=len)
    tokens = [tokens[0], tokens[-1]]
    right, left = (capture(pair.candidate, pad(tokens, left=side), [site])[site] for side in (False, True))
    n = len(tokens[0])
    torch.testing.assert_close(right[0, :n], left[0, -n:], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(right[1], left[1], rtol=1e-5, atol=1e-5)


def test_equal_models_give_exactly_zero(pair, banks, dictionary):
    (pool,) = encode_pair(Pair(pair.reference, pair.reference), [dictionary], banks.rendered, "skip_first")
    assert np.array_equal(pool.reference, pool.candidate)
    assert not pool.shift.any() and not pool.missed.any()


def test_a_shift_that_the_dictionary_cannot_carry_lies_outside_it(pair, banks, dictionary):
    """D10: between the spans of what fires, codes do not move and the whole shift is missed."""
    from radiograph.detectors.measure import _encoding as module

    bound = replace(dictionary, encoder=dictionary.encoder.clone())
    bound.encoder[:, -1] = 0  # blind to the last dimension
    site = Site.parse(dictionary.site)

    def shifted(model, tokens, sites, **_):
        for batch, found in stream(pair.reference, tokens, sites):
            values = found[site].clone()
            if model is pair.candidate:
                values[..., -1] += 3.0
            yield batch, {site: values}

    original = module.stream
    module.stream = shifted
    try:
        (pool,) = encode_pair(pair, [bound], banks.rendered[:8], "skip_first")
    finally:
        module.stream = original
    assert np.array_equal(pool.reference, pool.candidate)
    np.testing.assert_allclose(pool.missed, pool.shift)
    assert pool.shift.sum() == pytest.approx(9.0 * pool.n_tokens.sum(), rel=1e-4)


def test_rows_of_a_site_come_in_prompt_order(pair, banks):
    site = Site.parse("resid_post.1")
    rows = site_rows(pair.reference, banks.rendered, site, "skip_first", 50)
    expected = torch.cat([site_of(pair.reference, r.ids, "resid_post.1")[1:] for r in banks.rendered[:12]])[:50]
    assert rows.shape == (50, 64)
    torch.testing.assert_close(rows, expected, rtol=1e-5, atol=1e-5)
