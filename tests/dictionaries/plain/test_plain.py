"""Dictionaries as arrays say what dictionaries of tensors say, value for value; bare files say what they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from dictionaries.make import random_dictionary
from radiograph.core import FormatError, UserError
from radiograph.core.limits import Limits
from radiograph.dictionaries import load, save
from radiograph.dictionaries.plain import Given, read_bare, read_native, taken_over, units
from radiograph.organisms import bundled_path
from radiograph.store.opened import Opened

D, F = 12, 48
SIGMAS = ["relu", "jumprelu", "gated", "topk", "abstopk", "groupmax"]
ROWS = torch.randn(40, D, generator=torch.Generator().manual_seed(9))
KINDS = [
    {},
    {"normalisation": "layer_norm"},
    {"normalisation": "unit_rms"},
    {"normalisation": "centre", "denormalise": False},
    {"selection": "decoder_norm", "unit": False},
    {"kind": "transcoder", "target": "mlp_out.1", "target_width": 5},
    {"kind": "crosscoder", "sites": ("reference/resid_post.1", "candidate/resid_post.1"), "normalisation": "unit_rms"},
]


@pytest.mark.parametrize("fields", KINDS, ids=lambda fields: "-".join(map(str, fields)) or "plain")
@pytest.mark.parametrize("sigma", SIGMAS)
def test_p8_2_every_nonlinearity_and_kind_as_the_tensors_have_it(sigma, fields):
    dictionary = random_dictionary(sigma, **fields)
    plain = taken_over(dictionary)
    rows = ROWS.numpy()
    np.testing.assert_allclose(plain.preactivations(plain.scaled(rows)), dictionary.preactivations(ROWS), atol=2e-5)
    np.testing.assert_allclose(plain.encode(rows), dictionary.encode_dense(ROWS), atol=2e-5)
    np.testing.assert_allclose(plain.decode(plain.encode(rows), rows), dictionary.reconstruct(ROWS), atol=1e-4)


@pytest.mark.parametrize("sigma", ["relu", "jumprelu", "gated"])
def test_blocks_of_features_are_encoded_by_themselves(sigma):
    plain = taken_over(random_dictionary(sigma, selection="decoder_norm", unit=False))
    assert plain.pointwise
    scaled = plain.scaled(ROWS.numpy())
    parts = [plain.codes(plain.preactivations(scaled, b), b) for b in (slice(0, 7), slice(7, 48))]
    np.testing.assert_allclose(np.concatenate(parts, 1), plain.encode(ROWS.numpy()), atol=1e-6)


def test_ties_go_to_the_lower_feature():
    plain = taken_over(random_dictionary("topk", k=2))
    pre = np.array([[1.0, 2.0, 2.0, 2.0] + [0.0] * (F - 4)], np.float32)
    assert np.flatnonzero(plain.codes(pre.copy())[0]).tolist() == [1, 2]


def test_our_folders_are_read_without_torch_with_the_same_hash(tmp_path):
    for number, dictionary in enumerate([random_dictionary("jumprelu"), random_dictionary("gated", **KINDS[5])]):
        save(dictionary, tmp_path / str(number))
        plain = read_native(tmp_path / str(number))
        assert plain.sha256 == dictionary.hash == load(tmp_path / str(number)).hash
        np.testing.assert_array_equal(plain.encode(ROWS.numpy()), taken_over(dictionary).encode(ROWS.numpy()))
    shipped = read_native(bundled_path("dictionary"))
    assert shipped.metadata.quality is not None and shipped.sites


def test_a_folder_of_ours_that_was_edited_is_refused(tmp_path):
    save(random_dictionary("relu"), tmp_path / "d")
    weights = tmp_path / "d" / "dictionary.safetensors"
    data = bytearray(weights.read_bytes())
    data[-2] ^= 1
    weights.write_bytes(data)
    with pytest.raises(FormatError, match="sha256"):
        read_native(tmp_path / "d")


def arrays(seed=0, **more):
    rng = np.random.default_rng(seed)
    held = {"W_enc": rng.standard_normal((D, F)).astype(np.float32), "b_enc": np.zeros(F, np.float32)}
    held["W_dec"] = rng.standard_normal((F, D)).astype(np.float32)
    return held | more


def bare(path, held, **given):
    save_file(held, path) if path.suffix == ".safetensors" else np.savez(path, **held)
    given = {"width": D, "activation": "relu"} | given
    return read_bare(Opened.at(path), Given(**given))


@pytest.mark.parametrize("name", ["d.safetensors", "d.npz"])
def test_bare_files_in_both_orientations(name, tmp_path):
    held = arrays()
    one = bare(tmp_path / name, held)
    other = bare(tmp_path / f"t{name}", held | {"W_enc": np.ascontiguousarray(held["W_enc"].T)})
    np.testing.assert_allclose(one.encode(ROWS.numpy()), np.maximum(ROWS.numpy() @ held["W_enc"], 0), atol=1e-5)
    np.testing.assert_allclose(one.encode(ROWS.numpy()), other.encode(ROWS.numpy()), atol=1e-5)
    assert one.notes == () and "stored as [F, d]" in other.notes[0]


def test_pd_2_threshold_k_and_biases_each_change_the_codes(tmp_path):
    held = arrays()
    base = bare(tmp_path / "a.npz", held).encode(ROWS.numpy())
    jump = held | {"threshold": np.full(F, 1.0, np.float32)}
    seen = [
        bare(tmp_path / "b.npz", jump, activation="jumprelu"),
        bare(tmp_path / "c.npz", jump | {"threshold": np.full(F, 2.0, np.float32)}, activation="jumprelu"),
        bare(tmp_path / "d.npz", held, activation="topk:3"),
        bare(tmp_path / "e.npz", held, activation="topk:4"),
        bare(tmp_path / "f.npz", held | {"b_enc": np.full(F, -1.0, np.float32)}),
    ]
    found = [base, *(d.encode(ROWS.numpy()) for d in seen)]
    assert all(np.abs(a - b).max() > 0.1 for i, a in enumerate(found) for b in found[:i])
    nothing = bare(tmp_path / "g.npz", jump | {"threshold": np.full(F, 1e9, np.float32)}, activation="jumprelu")
    assert not nothing.encode(ROWS.numpy()).any()


BAD = [
    (arrays(), {"activation": None}, UserError, "does not say its nonlinearity"),
    (arrays(), {"activation": "jumprelu"}, UserError, "needs a threshold"),
    (arrays(), {"activation": "topk:0"}, UserError, "k of a topk"),
    (arrays(), {"activation": "topk:49"}, UserError, "k of a topk"),
    (arrays(), {"activation": "tanh"}, UserError, "expected: relu"),
    (arrays(), {"width": 13}, UserError, "width 13"),
    (arrays(), {"orientation": "fd"}, UserError, "transposed"),
    (arrays(threshold=np.ones(F, np.float32)), {}, UserError, "does not use"),
    (arrays(threshold=-np.ones(F, np.float32)), {"activation": "jumprelu"}, FormatError, "negative"),
    (arrays(threshold=np.ones(3, np.float32)), {"activation": "jumprelu"}, FormatError, "shape of threshold"),
    (arrays(b_enc=np.zeros(5, np.float32)), {}, FormatError, "shape of b_enc"),
    (arrays(W_dec=np.zeros((5, 5), np.float32)), {}, FormatError, "shape of W_dec"),
    (arrays(scaling=np.ones(F, np.float32)), {}, FormatError, "does not have: scaling"),
    (arrays(W_enc=np.zeros((D, F), np.int64)), {}, FormatError, "type of W_enc"),
    (arrays(W_enc=np.zeros(D, np.float32)), {}, FormatError, "shape of W_enc"),
    (arrays(W_enc=np.zeros((D, D), np.float32)), {}, UserError, "square"),
    ({"W": np.zeros((D, F), np.float32)}, {}, FormatError, "no encoder"),
]


@pytest.mark.parametrize(("held", "given", "kind", "said"), BAD, ids=[said for *_, said in BAD])
def test_pd_15_what_a_bare_file_lacks_is_named(held, given, kind, said, tmp_path):
    with pytest.raises(kind, match=said) as error:
        bare(tmp_path / "d.safetensors", held, **given)
    assert "d.safetensors" in str(error.value) or given
    assert error.value.exit_code == 3


def test_pd_1_a_weight_that_is_not_finite_is_named(tmp_path):
    held = arrays()
    held["W_enc"][3, 7] = np.inf
    with pytest.raises(FormatError, match="W_enc is not finite") as error:
        bare(tmp_path / "d.npz", held)
    assert error.value.where == "d.npz: W_enc[3, 7]"


def test_limits_of_dictionaries(tmp_path):
    path = tmp_path / "d.npz"
    np.savez(path, **arrays())
    size = path.stat().st_size
    for name, value in (("features", F), ("dictionary-tensors", 3), ("dictionary-bytes", size)):
        read_bare(Opened.at(path), Given(D, "relu"), Limits({name: value}))
        with pytest.raises(UserError, match=f"--limit {name}="):
            read_bare(Opened.at(path), Given(D, "relu"), Limits({name: value - 1}))


def test_no_pickle_is_opened(tmp_path):
    np.savez(tmp_path / "d.npz", W_enc=np.array([[print]], object))
    with pytest.raises(FormatError, match="not a file of arrays"):
        read_bare(Opened.at(tmp_path / "d.npz"), Given(D, "relu"))


def test_units_are_themselves():
    plain = units("mlp_out.1", D)
    np.testing.assert_array_equal(plain.encode(ROWS.numpy()), ROWS.numpy())
    np.testing.assert_array_equal(plain.decode(plain.encode(ROWS.numpy()), ROWS.numpy()), ROWS.numpy())
