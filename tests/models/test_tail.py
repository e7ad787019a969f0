"""The float64 tail against the network's own logits, on every family."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from radiograph.core import Refusal, Site, UserError
from radiograph.models import LanguageModel, capture, edit, forward, pad, wrap
from radiograph.models.tail import Tail, follows_norm, write_vectors

from . import make


def test_the_tail_gives_the_logits_of_the_network(model: LanguageModel):
    batch = pad(make.prompts(4))
    last = Site("resid_post", model.n_layers - 1)
    rows = capture(model, batch, [last])[last]
    expected = forward(model, batch).double().numpy()
    tail = Tail.of(model)
    found = tail.logits(rows.flatten(0, 1).double().numpy()).reshape(expected.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_unit_adds_its_write_vector_times_its_change(model: LanguageModel, family: str):
    site = Site("mlp_hidden", model.n_layers - 1)
    out, batch = Site("resid_post", model.n_layers - 1), pad(make.prompts(3))
    plain = capture(model, batch, [site, out])

    def write(value: torch.Tensor) -> torch.Tensor:
        new = value.clone()
        new[..., 5] += 2.0
        return new

    with edit(model, {site: write}):
        moved = capture(model, batch, [out])[out]
    found = (moved - plain[out]).double().numpy()
    vectors = write_vectors(model, site)
    assert vectors.shape == (model.mlp_width, model.width)
    assert follows_norm(model) == family.startswith("gemma")
    if not follows_norm(model):
        np.testing.assert_allclose(found, np.broadcast_to(2 * vectors[5], found.shape), atol=2e-5)


def test_sites_without_a_matrix_and_unknown_norms_are_refused(llama: LanguageModel):
    with pytest.raises(UserError, match="write through no matrix"):
        write_vectors(llama, Site("resid_post", 1))
    odd = wrap(make.network("llama"))
    odd.model.model.norm = torch.nn.Softmax(dim=-1)  # type: ignore[union-attr]
    with pytest.raises(Refusal, match="Softmax"):
        Tail.of(odd)
