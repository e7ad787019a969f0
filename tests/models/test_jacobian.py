"""Derivatives against finite differences (norms stay float32) on four families; no hook is left."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from radiograph.core import Site
from radiograph.models import pad, wrap
from radiograph.models._hooks import hooked, running
from radiograph.models.tail import responses

from . import make

TOKENS = [(5, 9, 4, 7, 30, 2), (8, 3, 17)]


def difference(model, written, tangent, read, size=1e-3):
    def values(factor):
        batch = pad(TOKENS)
        push = torch.as_tensor(tangent * factor)
        with torch.no_grad(), running(batch), hooked(model, [read], {written: lambda x: x + push}) as found:
            model.model.get_submodule(model.architecture.family.backbone)(**batch.inputs(), use_cache=False)
            out = found[read]
        return out[torch.arange(2), batch.mask.sum(-1) - 1].double().numpy()

    return (values(size) - values(-size)) / (2 * size)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox_parallel", "gemma2"])
@pytest.mark.parametrize("written", [Site("mlp_hidden", 0), Site("mlp_out", 2)])
def test_derivatives_equal_finite_differences(family, written, hooks):
    model = wrap(make.network(family).double())
    read = Site("resid_post", 2)
    tangents = np.random.default_rng(0).normal(size=(2, model.site_width(written)))
    before = hooks(model)
    values, slopes = responses(model, TOKENS, written, tangents, read)
    assert hooks(model) == before
    for place, tangent in enumerate(tangents):
        expected = difference(model, written, tangent, read)
        np.testing.assert_allclose(slopes[place], expected, atol=1e-3 * np.abs(expected).max())
    np.testing.assert_allclose(responses(model, TOKENS[1:], written, tangents[:1], read)[0][0], values[1], atol=1e-9)


def test_what_stands_behind_does_not_move():
    model = wrap(make.network("llama").double())
    _, slopes = responses(model, TOKENS, Site("mlp_out", 2), np.ones((1, 32)), Site("resid_post", 1))
    assert not slopes.any()
