"""Encode and decode against their dense formulas, and what a dictionary refuses to be."""

from dataclasses import replace

import pytest
import torch

from radiograph.core import FormatError, UserError
from radiograph.core.codec import Codec
from radiograph.dictionaries import activation
from radiograph.dictionaries.activations import names

from .make import random_dictionary

TRAINED = ["relu", "topk", "jumprelu", "gated"]
IMPORTED = ["groupmax", "abstopk", "pursuit"]


def rows(n=40, width=12, seed=1, dtype=torch.float32):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def reference_codes(d, u):
    """The formulas of the module docstrings for rows without their input bias, densely, one row at a time."""
    if d.activation.name == "pursuit":
        return torch.stack([pursued(d, row) for row in u])
    pre = u @ d.encoder.T + d.encoder_bias
    w = d.decoder.norm(dim=1) if d.selection == "decoder_norm" else torch.ones(d.size, dtype=u.dtype)
    match d.activation.name:
        case "relu":
            return pre.clamp_min(0)
        case "jumprelu":
            return torch.where(pre * w > d.parameters["threshold"], pre, 0.0)
        case "gated":
            size = d.parameters["magnitude_log_scale"].exp() * pre + d.parameters["magnitude_bias"]
            return torch.where(pre + d.parameters["gate_bias"] > 0, size.clamp_min(0), 0.0)
        case "topk":
            out = torch.zeros_like(pre)
            for r, row in enumerate(pre):
                for i in sorted(range(d.size), key=lambda i: -float(row[i] * w[i]))[: d.activation.k]:
                    out[r, i] = row[i].clamp_min(0)
            return out
        case "abstopk":
            out = torch.zeros_like(pre)
            for r, row in enumerate(pre):
                for i in sorted(range(d.size), key=lambda i: -float((row[i] * w[i]).abs()))[: d.activation.k]:
                    out[r, i] = row[i]
            return out
        case "groupmax":
            out = torch.zeros_like(pre)
            group = d.size // d.activation.k
            for r, row in enumerate(pre):
                for start in range(0, d.size, group):
                    i = max(range(start, start + group), key=lambda i: float(row[i] * w[i]))
                    out[r, i] = row[i].clamp_min(0)
            return out


def pursued(d, row):
    residual, codes = row.clone(), torch.zeros(d.size, dtype=row.dtype)
    for _ in range(d.activation.max_iterations):
        if residual.norm() < d.activation.residual_threshold:
            break
        i = int((d.decoder @ residual).argmax())
        value = (d.decoder[i] @ residual).clamp_min(0)
        known = bool(codes[i] != 0)
        codes[i] += value
        residual = residual - value * d.decoder[i]
        if known or value == 0:
            break
    return codes


@pytest.mark.parametrize("selection", ["value", "decoder_norm"])
@pytest.mark.parametrize("name", TRAINED + IMPORTED)
def test_encode_and_decode_follow_the_formulas(name, selection):
    d = random_dictionary(name, dtype=torch.float64, unit=name == "pursuit", selection=selection)
    x = rows(dtype=torch.float64)
    z = reference_codes(d, x - d.input_bias)
    assert torch.allclose(d.encode_dense(x), z, atol=1e-12)
    assert torch.allclose(d.decode(d.encode(x)), z @ d.decoder + d.decoder_bias, atol=1e-12)
    assert torch.equal(d.reconstruct(x), d.decode(d.encode(x)))


def normalised(x, how):
    """One row of one source at a time."""
    match how:
        case "centre":
            return x - x.mean(), x.mean(), 1.0
        case "layer_norm":
            std = ((x - x.mean()).square().sum() / (len(x) - 1)).sqrt()
            return (x - x.mean()) / (std + 1e-5), x.mean(), std
        case "unit_rms":
            factor = len(x) ** 0.5 / x.norm()
            return x * factor, 0.0, 1 / factor
        case _:
            return x, 0.0, 1.0


@pytest.mark.parametrize("how", ["none", "centre", "layer_norm", "unit_rms"])
@pytest.mark.parametrize("denormalise", [True, False])
def test_a_skip_transcoder_with_normalisation_follows_the_formulas(how, denormalise):
    skip = torch.randn(9, 12, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    d = random_dictionary(
        dtype=torch.float64, target_width=9, sites=("mlp_in.1",), target="mlp_out.1", kind="transcoder",
        skip=skip, normalisation=how, denormalise=denormalise,
    )  # fmt: skip
    x = rows(dtype=torch.float64) * 3 + 1
    for row, found in zip(x, d.reconstruct(x), strict=True):
        n, offset, scale = normalised(row, how)
        z = reference_codes(d, (n - d.input_bias).unsqueeze(0))[0]
        out = z @ d.decoder + d.decoder_bias
        out = out * scale + offset if denormalise else out
        assert torch.allclose(found, out + skip @ row, atol=1e-10)


def test_a_crosscoder_over_unequal_widths_is_the_sum_over_its_sources():
    sources = ("reference/resid_post.1", "candidate/mlp_hidden.1")
    d = random_dictionary(
        "jumprelu", dtype=torch.float64, kind="crosscoder", sites=sources, widths=(8, 4),
        unit=False, selection="decoder_norm", normalisation="unit_rms",
    )  # fmt: skip
    x = rows(dtype=torch.float64)
    parts = [torch.stack([normalised(row, "unit_rms")[0] for row in part]) for part in d.split(x)]
    pre = d.encoder_bias + sum(
        (part - c) @ e.T for part, c, e in zip(parts, d.input_bias.split([8, 4]), d.split(d.encoder), strict=True)
    )
    w = sum(part.norm(dim=1) for part in d.split_targets(d.decoder)) / 2
    z = torch.where(pre * w > d.parameters["threshold"], pre, 0.0)
    assert torch.allclose(d.encode_dense(x), z, atol=1e-12)
    scales = torch.stack([part.norm(dim=1) / part.shape[1] ** 0.5 for part in d.split(x)], 1)
    out = (z @ d.decoder + d.decoder_bias).split([8, 4], dim=1)
    assert torch.allclose(d.reconstruct(x), torch.cat([o * s for o, s in zip(out, scales.split(1, 1), strict=True)], 1))
    folded = d.folded()
    assert folded.selection == "value"
    assert torch.allclose(folded.reconstruct(x), d.reconstruct(x), atol=1e-12)
    assert d.address(3).startswith("reference/resid_post.1+candidate/mlp_hidden.1@")


def test_what_enters_the_output_beside_the_codes_is_asked_for():
    d = random_dictionary(normalisation="layer_norm")
    codes = d.encode(rows())
    with pytest.raises(UserError, match="beside the rows"):
        d.decode(codes)
    assert torch.isfinite(d.reconstruct(torch.ones(2, 12))).all()


@pytest.mark.parametrize("name", TRAINED + IMPORTED)
def test_codes_do_not_depend_on_batch_or_chunk(name, monkeypatch):
    d = random_dictionary(name, dtype=torch.float64)
    x = rows(64, dtype=torch.float64)
    whole = d.encode_dense(x)
    assert torch.allclose(whole, torch.cat([d.encode_dense(r.unsqueeze(0)) for r in x]), atol=1e-12)
    monkeypatch.setattr("radiograph.dictionaries._dictionary.PREACTIVATION_BYTES", {"cpu": 48 * 8 * 3})
    assert torch.allclose(whole, d.encode_dense(x), atol=1e-12)


@pytest.mark.parametrize("name", ["relu", "topk", "jumprelu"])
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


FOLDED = [(n, "value") for n in ("relu", "jumprelu", "gated")] + [
    (n, "decoder_norm") for n in ("relu", "jumprelu", "gated", "topk", "groupmax", "abstopk")
]


@pytest.mark.parametrize(("name", "selection"), FOLDED)
def test_folding_norms_changes_no_output(name, selection):
    d = random_dictionary(name, unit=False, dtype=torch.float64, selection=selection)
    x = rows(dtype=torch.float64)
    folded = d.folded()
    assert folded.value_unit == "write_norm"
    assert d.value_unit == "raw"
    assert torch.allclose(folded.decode(folded.encode(x)), d.decode(d.encode(x)), atol=1e-12)
    assert torch.allclose(folded.encode_dense(x), d.encode_dense(x) * d.norms, atol=1e-12)


@pytest.mark.parametrize("name", ["topk", "groupmax", "abstopk", "pursuit"])
def test_what_compares_features_over_unequal_norms_is_not_folded(name):
    d = random_dictionary(name, unit=False)
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
    assert set(TRAINED + IMPORTED) == set(names())
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
        "kind transcoder": {"kind": "transcoder"},
        "kind crosscoder": {"kind": "crosscoder"},
        "no skip": {"skip": torch.zeros(12, 12)},
        "add up": {"kind": "crosscoder", "sites": ("embed", "resid_post.1"), "widths": (11, 2)},
        r"\[F, d\]": {"encoder": d.encoder.unsqueeze(0)},
        "unknown site": {"sites": ("residual.1",)},
    }
    for message, change in bad.items():
        with pytest.raises(UserError, match=message):
            replace(d, **change)
    for k in (0, 49):
        with pytest.raises(UserError, match="k of a topk"):
            random_dictionary("topk", k=k)
    with pytest.raises(UserError, match="divisor"):
        random_dictionary("groupmax", k=5)
    with pytest.raises(UserError, match="width") as error:
        d.encode(rows(width=13))
    assert error.value.code == "dictionary_mismatch"
