"""One grammar for every architecture: addresses, ranges and foreign names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radiograph.core import FeatureAddress, Site, Source, UserError, canonical, expand, hidden_state
from radiograph.core.sites import KINDS, UNLAYERED

LAYERED = sorted(set(KINDS) - UNLAYERED)
SITES = st.one_of(
    st.sampled_from(sorted(UNLAYERED)).map(Site),
    st.builds(Site, st.sampled_from(LAYERED), st.integers(0, 99)),
    st.builds(Site, st.just("attn_z"), st.integers(0, 99), st.integers(0, 99)),
)


@given(SITES)
def test_an_address_is_read_back_as_the_same_site(site):
    assert Site.parse(str(site)) == site
    assert canonical(str(site)) == str(site)


@pytest.mark.parametrize(
    ("foreign", "address"),
    [
        ("blocks.3.hook_resid_post", "resid_post.3"),
        ("blocks.3.attn.hook_z", "attn_z.3"),
        ("blocks.0.mlp.hook_post", "mlp_hidden.0"),
        ("model.layers.12", "resid_post.12"),
        ("transformer.h.1.mlp", "mlp_out.1"),
        ("gpt_neox.layers.2.attention", "attn_out.2"),
        ("model.embed_tokens", "embed"),
        ("ln_final.hook_normalized", "final_norm"),
    ],
)
def test_foreign_names_are_accepted(foreign, address):
    assert str(Site.parse(foreign)) == address


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("resid_post.*", ["resid_post.0", "resid_post.1", "resid_post.2", "resid_post.3"]),
        ("resid_post.1-2", ["resid_post.1", "resid_post.2"]),
        ("mlp_out.{3,0,3}", ["mlp_out.0", "mlp_out.3"]),
        ("mlp_out.-1", ["mlp_out.3"]),
        ("mlp_out.{-1,0}", ["mlp_out.0", "mlp_out.3"]),
        ("final_norm", ["final_norm"]),
        ("attn_z.2.h1", ["attn_z.2.h1"]),
    ],
)
def test_ranges_are_expanded_in_forward_order_and_without_doubles(text, addresses):
    assert [str(site) for site in expand(text, 4)] == addresses


def test_depth_is_the_order_of_the_forward_pass():
    inside = ["resid_pre", "attn_z", "attn_out", "resid_mid", "mlp_in", "mlp_hidden", "mlp_out", "resid_post"]
    whole = ["embed", *(f"{kind}.{layer}" for layer in range(3) for kind in inside), "final_norm"]
    assert sorted(map(Site.parse, reversed(whole)), key=lambda site: site.depth) == list(map(Site.parse, whole))


@pytest.mark.parametrize(
    "text",
    ["", "resid", "resid_post", "resid_post.x", "embed.1", "resid_post.1.h2", "resid_post.9", "resid_post.3-1",
     "resid_post.-9", "resid_post.1;2", "Resid_post.1", "resid_post.1\n2"],
)  # fmt: skip
def test_what_is_no_site_of_the_model_is_an_error(text):
    with pytest.raises(UserError) as caught:
        expand(text, 4)
    assert caught.value.code == "unknown_site"


def test_misspelt_kinds_are_corrected():
    with pytest.raises(UserError) as caught:
        Site.parse("resid_pst.1")
    assert "resid_post" in (caught.value.fix or "")


@given(SITES, st.sampled_from(["reference", "candidate", "candidate2", "candidate17"]))
def test_a_source_is_read_back_as_the_same_source(site, role):
    assert Source.parse(f"{role}/{site}") == Source(site, role)
    assert str(Source.parse(str(Source(site, role)))) == f"{role}/{site}"


def test_a_source_without_a_role_is_the_reference():
    assert Source.parse("blocks.3.hook_resid_post") == Source.parse("reference/resid_post.3")


@pytest.mark.parametrize("text", ["base/resid_post.1", "candidate1/resid_post.1", "/resid_post.1", "candidate0/embed"])
def test_an_unknown_role_is_refused(text):
    with pytest.raises(UserError, match="role"):
        Source.parse(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("mlp_hidden.6[373]", "mlp_hidden.6[373]"),
        ("resid_post.2@1f3a90c2#650", "resid_post.2@1f3a90c2#650"),
        ("reference/embed+candidate/embed@1f3a90c2#1", "reference/embed+candidate/embed@1f3a90c2#1"),
        ("resid_post.3~units", "resid_post.3~units"),
        ("blocks.6.hook_resid_post:D12", "resid_post.6[12]"),
        ("transformer.h[6].output[0]:D12", "resid_post.6[12]"),
        ("model.layers[3].mlp.output:D4", "mlp_out.3[4]"),
        ("L0:D1", "resid_pre.0[1]"),
        ("L6:D373", "resid_pre.6[373]"),
        ("L12:D3", "final_norm[3]"),
    ],
)
def test_a_feature_address_is_written_in_one_way(text, address):
    found = FeatureAddress.parse(text, n_layers=12)
    assert str(found) == address
    assert FeatureAddress.parse(address) == found


@pytest.mark.parametrize("text", ["SAE:L6:F3", "a#3", "nowhere.3[4]", "L13:D1", "resid_post[3]", "", "[3]"])
def test_foreign_ids_stay_as_they_are(text):
    assert FeatureAddress.parse(text, n_layers=12) is None


def test_y17_the_last_hidden_state_is_not_called_resid_post():
    assert [str(hidden_state(n, 2)) for n in range(3)] == ["resid_pre.0", "resid_pre.1", "final_norm"]
    assert FeatureAddress.parse("L2:D0") is None, "which state is the last, only the model says"
    with pytest.raises(UserError, match="no hidden state 3"):
        hidden_state(3, 2)
