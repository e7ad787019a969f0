"""Units, directions and several codecs side by side keep what a codec promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from radiograph.core import UserError
from radiograph.core.codec import Codec
from radiograph.numerics.sparse import dense
from radiograph.sources import Directions, Features, Units, joined

SIZES = st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(0, 10_000))


def rows_of(n, width, seed):
    g = torch.Generator().manual_seed(seed)
    rows = torch.randn(n, width, generator=g)
    return rows * (torch.rand(n, width, generator=g) > 0.3)


def directions(width, seed, site="resid_post.1"):
    g = torch.Generator().manual_seed(seed)
    vectors = torch.randn(3, width, generator=g)
    return Directions(site, ("a", "b", "c"), vectors / vectors.norm(dim=1, keepdim=True))


def well_formed(codes):
    """Rows in order, features ascending in each, no stored zero."""
    assert codes.offsets[0] == 0 and codes.offsets[-1] == len(codes.indices) == len(codes.values)
    assert bool((codes.values != 0).all())
    for row in range(codes.n_rows):
        own = codes.indices[codes.offsets[row] : codes.offsets[row + 1]]
        assert bool((own[1:] > own[:-1]).all())


@settings(max_examples=12)
@given(SIZES)
def test_units_are_the_coordinates(sizes):
    n, width, seed = sizes
    codec, rows = Units("mlp_hidden.2", width), rows_of(n, width, seed)
    codes = codec.encode(rows)
    well_formed(codes)
    assert torch.equal(dense(codes), rows)
    assert torch.equal(codec.decode(codes), rows) and torch.equal(codec.reconstruct(rows), rows)


@settings(max_examples=12)
@given(SIZES)
def test_directions_are_projections(sizes):
    n, width, seed = sizes
    codec, rows = directions(width, seed), rows_of(n, width, seed)
    codes = codec.encode(rows)
    well_formed(codes)
    assert torch.allclose(dense(codes), rows @ codec.vectors.T, atol=1e-6)
    assert torch.allclose(codec.decode(codes), (rows @ codec.vectors.T) @ codec.vectors, atol=1e-5)


@settings(max_examples=12)
@given(SIZES)
def test_joined_codes_are_the_codes_side_by_side(sizes):
    n, width, seed = sizes
    one, two = Units("resid_post.1", width), directions(width + 1, seed, "mlp_out.0")
    three = directions(width, seed + 1)
    parts = [features(one, [0, width - 1] if width > 1 else [0]), features(two, [0, 2]), features(three, [1])]
    both = joined(parts, {"resid_post.1": width, "mlp_out.0": width + 1})
    assert both.sites == ("resid_post.1", "mlp_out.0") and both.width == 2 * width + 1
    rows = rows_of(n, 2 * width + 1, seed)
    codes = both.encode(rows)
    well_formed(codes)
    own = rows[:, :width], rows[:, width:]
    wanted = [
        dense(c.encode(r))[:, list(p.numbers)] for c, r, p in zip((one, two, three), (*own, own[0]), parts, strict=True)
    ]
    assert torch.allclose(dense(codes), torch.cat(wanted, dim=1), atol=1e-6)


def features(codec, numbers):
    return Features(
        codec, np.array(numbers), codec.address, lambda at: np.zeros((len(at), codec.target_width), np.float32)
    )


def test_codecs_are_codecs_and_their_hash_is_what_they_do():
    units, other = Units("mlp_hidden.2", 4), directions(4, 0)
    assert isinstance(units, Codec) and isinstance(other, Codec)
    assert units.hash == Units("mlp_hidden.2", 4).hash != Units("mlp_hidden.1", 4).hash
    renamed = Directions(other.site, ("x", "y", "z"), other.vectors)
    assert other.hash == renamed.hash != directions(4, 1).hash
    assert [units.address(3), renamed.address(1)] == ["mlp_hidden.2[3]", "resid_post.1~y"]


def test_rows_of_another_width_are_refused():
    for codec in (Units("embed", 4), directions(4, 0)):
        with pytest.raises(UserError, match="width 5"):
            codec.encode(torch.zeros(2, 5))


def test_one_feature_twice_is_refused_and_so_is_decoding_several_codecs():
    part = features(Units("embed", 4), [1, 2])
    with pytest.raises(UserError, match="two sources"):
        joined([part, part], {"embed": 4})
    with pytest.raises(UserError, match="common"):
        joined([part], {"embed": 4}).reconstruct(torch.zeros(1, 4))
