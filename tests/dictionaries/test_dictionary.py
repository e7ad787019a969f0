"""Encode and decode against their dense formulas, and what a dictionary refuses to be."""

from dataclasses import replace

import pytest
import torch

from radiograph.core import FormatError, UserError
from radiograph.core.codec import Codec
from radiograph.dictionaries import activation
from radiograph.dictionaries.activations import names

from .make import random_dictionary

KINDS = ["relu", "topk", "jumprelu"]


def rows(n=40, width=12, seed=1, dtype=torch.float32):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def reference_codes(d, x):
    """The formulas of the module docstrings, densely, in float64."""
    pre = (x.double() - d.input_bias.double()) @ d.encoder.double().T + d.encoder_bias.double()
    if d.activation.name == "relu":
        return pre.clamp_min(0)
    if d.activation.name == "jumprelu":
        return pre * (pre > d.parameters["threshold"].double())
    kept = pre.topk(d.activation.k, dim=1).indices
    return torch.zeros_like(pre).scatter(1, kept, pre.gather(1, kept)).clamp_min(0)


@pytest.mark.parametrize("name", KINDS)
def test_encode_and_decode_follow_the_formulas(name):
    d = random_dictionary(name, dtype=torch.float64, unit=False)
    x = rows(dtype=torch.float64)
    z = reference_codes(d, x)
    assert torch.allclose(d.encode_dense(x), z, atol=1e-12)
    assert torch.allclose(d.decode(d.encode(x)), z @ d.decoder + d.decoder_bias, atol=1e-12)


@pytest.mark.parametrize("name", KINDS)
def test_codes_do_not_depend_on_batch_or_chunk(name, monkeypatch):
    d = random_dictionary(name)
    x = rows(64)
    whole = d.encode_dense(x)
    assert torch.allclose(whole, torch.cat([d.encode_dense(r.unsqueeze(0)) for r in x]), atol=1e-5)
    monkeypatch.setattr("radiograph.dictionaries._dictionary.PREACTIVATION_BYTES", {"cpu": 48 * 4 * 3})
    assert torch.allclose(whole, d.encode_dense(x), atol=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_no_rows_and_silent_rows_decode_to_the_bias(name):
    d = random_dictionary(name)
    assert d.decode(d.encode(rows(0))).shape == (0, 12)
    silent = replace(d, encoder=torch.zeros_like(d.encoder), encoder_bias=-torch.ones_like(d.encoder_bias))
    codes = silent.encode(rows(3))
    assert codes.active.tolist() == [0, 0, 0]
    assert torch.equal(silent.decode(codes), d.decoder_bias.expand(3, -1))


def test_topk_is_fewer_where_fewer_are_positive():
    d = random_dictionary("topk", k=20)
    codes = replace(d, encoder_bias=d.encoder_bias - 3).encode(rows())
    assert int(codes.active.max()) < 20
    assert bool((codes.values > 0).all())


@pytest.mark.parametrize("name", ["relu", "jumprelu"])
def test_folding_norms_changes_no_output(name):
    d = random_dictionary(name, unit=False, dtype=torch.float64)
    x = rows(dtype=torch.float64)
    folded = d.folded()
    assert folded.value_unit == "write_norm"
    assert d.value_unit == "raw"
    assert torch.allclose(folded.decode(folded.encode(x)), d.decode(d.encode(x)), atol=1e-12)
    assert torch.allclose(folded.encode_dense(x), d.encode_dense(x) * d.norms, atol=1e-12)


def test_plain_topk_over_unequal_norms_is_not_folded():
    d = random_dictionary("topk", unit=False)
    assert d.folded() is d


def test_a_dictionary_is_a_codec():
    d = random_dictionary()
    assert isinstance(d, Codec)
    assert (d.size, d.width, d.sites) == (48, 12, ("resid_post.1",))
    assert d.address(7) == f"resid_post.1@{d.hash[:8]}#7"


def test_hash_follows_every_part_that_decides_outputs_and_no_other():
    d = random_dictionary("jumprelu")
    assert replace(d, metadata=replace_source(d)).hash == d.hash
    for name in ("encoder", "decoder", "encoder_bias", "input_bias", "decoder_bias"):
        assert replace(d, **{name: getattr(d, name) * 1.001}).hash != d.hash
    assert replace(d, parameters={"threshold": d.parameters["threshold"] + 0.1}).hash != d.hash
    assert replace(d, sites=("resid_post.2",)).hash != d.hash
    assert replace(d, activation=activation("relu"), parameters={}).hash != d.hash
    assert replace(d, encoder=d.encoder * 2).decoder_sha256 == d.decoder_sha256


def replace_source(d):
    return d.metadata.model_copy(update={"source": "elsewhere"})


def test_activations_are_found_by_file_name():
    assert set(KINDS) <= set(names())
    with pytest.raises(UserError, match="topk"):
        activation("topkk")
    for constants in ({}, {"k": 3, "j": 1}, {"k": "3"}, {"k": 2.5}, {"k": True}):
        with pytest.raises(FormatError, match="topk"):
            activation("topk", constants)


def test_what_makes_no_sense_is_refused():
    d = random_dictionary("jumprelu")
    nan = d.decoder.clone()
    nan[3, 4] = float("nan")
    bad = {
        "not finite": {"decoder": nan},
        "shape of decoder": {"decoder": d.decoder[:, :-1]},
        "shape of encoder_bias": {"encoder_bias": d.encoder_bias[:-1]},
        "negative": {"parameters": {"threshold": d.parameters["threshold"] - 0.5}},
        "tensors of a jumprelu": {"parameters": {}},
        "dtype of input_bias": {"input_bias": d.input_bias.double()},
        "one site": {"sites": ("resid_post.1", "resid_post.2")},
        "unknown site": {"sites": ("residual.1",)},
    }
    for message, change in bad.items():
        with pytest.raises(UserError, match=message):
            replace(d, **change)
    for k in (0, 49):
        with pytest.raises(UserError, match="k of a topk"):
            random_dictionary("topk", k=k)
    with pytest.raises(UserError, match="width") as error:
        d.encode(rows(width=13))
    assert error.value.code == "dictionary_mismatch"
