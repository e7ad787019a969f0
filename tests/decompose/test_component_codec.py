"""Weight components as a codec, and as a source of features."""

import pytest
import torch

from models import make as networks
from radiograph.core import Site, UserError
from radiograph.decompose import codecs, make
from radiograph.decompose.importance import Size, new
from radiograph.models import capture, pad, wrap
from radiograph.models.masked import Factors, of_model


def decomposed(family, weights):
    model = wrap(networks.network(family))
    target = of_model(model)
    generator = torch.Generator().manual_seed(0)
    factors = {
        w: Factors(
            torch.randn(target.place(w).inputs, 6, generator=generator) * 0.2,
            torch.randn(6, target.place(w).outputs, generator=generator) * 0.2,
        )
        for w in weights
    }
    sizes = {w: Size(target.place(w).inputs, 6) for w in weights}
    return model, make(target, factors, new("shared", {"hidden": 4}, sizes, generator, {}))


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_encoding_and_decoding_is_the_weight_itself(family):
    model, own = decomposed(family, ["o.1", "up.1", "down.1"])
    found = codecs(own, model)
    assert [(c.weight, c.sites, c.targets) for c in found] == [
        ("o.1", ("attn_z.1",), ("attn_out.1",)),
        ("down.1", ("mlp_hidden.1",), ("mlp_out.1",)),
    ]
    batch = pad([[5, 17, 42, 8]])
    for codec in found:
        sites = [Site.parse(codec.sites[0]), Site.parse(codec.targets[0])]
        read, wrote = (t[0].clone() for t in capture(model, batch, sites).values())
        assert torch.allclose(codec.reconstruct(read), wrote, atol=1e-5)
        codes = codec.encode(read)
        h = read @ codec.factors.reads
        assert codes.size == 6 and torch.allclose(codes.values, h.flatten()[h.flatten() != 0])
        bias = 0 if codec.bias is None else codec.bias
        assert torch.allclose(codec.decode(codes), h @ codec.decoder + bias, atol=1e-5)


def test_weights_between_no_two_sites_are_refused_by_name():
    model, own = decomposed("llama", ["up.1", "down.1"])
    with pytest.raises(UserError, match=r"up\.1 stand between no two sites"):
        codecs(own, model, ["up.1"])
    model, own = decomposed("gemma2", ["down.1"])
    with pytest.raises(UserError, match="none of this decomposition"):
        codecs(own, model)
