"""Folding changes no function: the same features fire and the same rows come out, for every activation."""

import pytest
import torch

from dictionaries.make import random_dictionary
from radiograph.core import UserError
from radiograph.dictionaries.formats import batch_threshold, fold, hook_of, place_of, scaled, without_input_bias

SIGMAS = ["relu", "topk", "jumprelu", "gated", "groupmax", "abstopk", "pursuit"]
SELECTING = [(name, "value") for name in SIGMAS] + [
    (name, "decoder_norm") for name in SIGMAS if name not in ("gated", "pursuit")
]
EXACT = {"dtype": torch.float64}


def lengths(dictionary, rows):
    return dictionary.encode_dense(rows) * dictionary.decoder.norm(dim=1)


@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.parametrize(("name", "selection"), SELECTING)
def test_a_scale_moves_every_threshold_with_it(name, unit, selection):
    unit = unit or name == "pursuit"
    dictionary = random_dictionary(name, unit=unit, selection=selection, **EXACT)
    rows = torch.randn(64, 12, **EXACT)
    for a in (0.2, 3.7):
        folded, notes = fold(dictionary, (a,))
        assert any("scales folded" in note for note in notes)
        wanted, found = dictionary.reconstruct(a * rows) / a, folded.reconstruct(rows)
        assert float((wanted - found).abs().max() / wanted.abs().max()) < 1e-6
        before, after = lengths(dictionary, a * rows) / a, lengths(folded, rows)
        assert torch.equal(before != 0, after != 0)
        assert float((before - after).abs().max() / before.abs().max()) < 1e-6


@pytest.mark.parametrize("name", ["relu", "jumprelu", "gated", "topk"])
def test_a_transcoder_may_read_and_write_at_different_scales(name):
    dictionary = random_dictionary(name, target_width=9, kind="transcoder", target="mlp_out.1", **EXACT)
    rows = torch.randn(64, 12, **EXACT)
    folded, _ = fold(dictionary, (2.5,), (0.4,))
    assert torch.allclose(folded.reconstruct(rows), dictionary.reconstruct(2.5 * rows) / 0.4, atol=1e-9)


@pytest.mark.parametrize(("name", "selection"), [s for s in SELECTING if s[0] in ("relu", "jumprelu", "gated")])
def test_sources_of_a_crosscoder_have_their_own_scales(name, selection):
    sites = ("reference/resid_post.1", "candidate/resid_post.1")
    dictionary = random_dictionary(name, kind="crosscoder", sites=sites, unit=False, selection=selection, **EXACT)
    rows = torch.randn(64, 12, **EXACT)
    a = torch.tensor([2.0] * 6 + [0.3] * 6, **EXACT)
    folded, _ = fold(dictionary, (2.0, 0.3))
    assert torch.allclose(folded.reconstruct(rows), dictionary.reconstruct(rows * a) / a, atol=1e-9)
    assert folded.value_unit == "write_norm"


def test_folding_twice_is_folding_once():
    for name in SIGMAS:
        once, _ = fold(random_dictionary(name, unit=False), (1.7,))
        twice, notes = fold(once)
        assert twice.hash == once.hash and "decoder norms folded" not in notes


def test_plain_topk_over_unequal_norms_stays_as_it_is():
    dictionary = random_dictionary("topk", unit=False)
    folded, notes = fold(dictionary)
    assert folded.hash == dictionary.hash and folded.value_unit == "raw"
    assert notes == ["decoder norms stay: selection compares features whose norms differ"]


def test_scales_must_be_one_above_0_for_each_source():
    for scales in ((1.0, 2.0), (0.0,), (-1.0,)):
        with pytest.raises(UserError, match="one above 0"):
            fold(random_dictionary("relu"), scales)


@pytest.mark.parametrize("name", [n for n in SIGMAS if n != "pursuit"])
def test_an_input_bias_can_move_into_the_encoder(name):
    dictionary = random_dictionary(name, **EXACT)
    rows = torch.randn(64, 12, **EXACT)
    moved = without_input_bias(dictionary)
    assert not bool((moved.input_bias != 0).any())
    assert torch.allclose(moved.reconstruct(rows), dictionary.reconstruct(rows), atol=1e-9)


def test_the_batch_threshold_lets_k_a_row_pass():
    dictionary = random_dictionary("relu", size=200)
    rows = torch.randn(500, 12)
    for k in (1, 7, 30):
        bound = batch_threshold(dictionary.preactivations, rows, k)
        assert int((dictionary.preactivations(rows) >= bound).sum()) == k * len(rows)
    assert batch_threshold(dictionary.preactivations, rows, 190) == 0.0


def test_a_scale_of_one_changes_no_bit():
    dictionary = random_dictionary("jumprelu")
    assert scaled(dictionary, (1.0,), (1.0,)).hash == dictionary.hash


@pytest.mark.parametrize(
    ("name", "site"),
    [
        ("blocks.6.hook_resid_post", ("resid_post.6", "none")),
        ("blocks.6.hook_mlp_in", ("resid_mid.6", "none")),
        ("blocks.6.ln2.hook_normalized", ("resid_mid.6", "unit_rms")),
        ("blocks.6.ln1.hook_normalized", ("resid_pre.6", "unit_rms")),
        ("blocks.6.mlp.hook_in", ("mlp_in.6", "none")),
        ("blocks.6.attn.hook_z", ("attn_z.6", "none")),
        ("model.layers.6", ("resid_post.6", "none")),
        ("model.layers.6.self_attn.o_proj.input", ("attn_z.6", "none")),
        ("model.layers.6.pre_feedforward_layernorm.output", ("mlp_in.6", "none")),
        ("model.layers.6.post_feedforward_layernorm.output", ("mlp_out.6", "none")),
        ("layers.6.mlp", ("mlp_out.6", "none")),
        ("candidate/resid_post.2", ("candidate/resid_post.2", "none")),
    ],
)
def test_names_of_places(name, site):
    assert place_of(name) == site


def test_a_place_reads_back_from_its_hook():
    for site in ("resid_post.3", "attn_z.2.h1", "mlp_in.0", "mlp_out.4", "final_norm", "embed"):
        hook, head = hook_of(site)
        assert place_of(hook, head=head) == (site, "none")
    assert place_of("blocks.1.ln2.hook_normalized", rms=False) == ("resid_mid.1", "layer_norm")
    with pytest.raises(UserError):
        hook_of("candidate/resid_post.1")
