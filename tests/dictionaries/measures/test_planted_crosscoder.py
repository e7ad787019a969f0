"""A trained crosscoder finds what two models share and what is one's own, and calls nothing else exclusive."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch.nn.functional import embedding_bag

from dictionaries.training.held import held
from radiograph.dictionaries.measures import exclusivity, model_pairs, survey, tabulate
from radiograph.dictionaries.training import TrainingConfig, train
from radiograph.numerics.dictionaries.recovery import planted_recovery
from radiograph.numerics.dictionaries.units import draws

from .test_tables import blocks

WIDTH = 64
PARTS = {"shared": slice(0, 104), "reference": slice(104, 112), "candidate": slice(112, 120), "faint": slice(120, 128)}


@dataclass(frozen=True)
class Found:
    truth: torch.Tensor
    decoder: torch.Tensor
    live: np.ndarray
    result: object

    def recovered(self, part):
        return planted_recovery(self.decoder.numpy(), self.truth[PARTS[part]].numpy(), live=self.live, seed=0).found

    def of(self, part):
        """Exclusive features whose nearest true direction is of a part."""
        cosine = unit(self.decoder) @ unit(self.truth).T
        place = range(128)[PARTS[part]]
        nominees = self.result.of("nominee")
        return sum(int(cosine[p.feature].argmax()) in place and p.scaling.state == "exclusive" for p in nominees)


def unit(rows):
    return rows / rows.norm(dim=1, keepdim=True)


def planted_pair(*, copy):
    """104 shared directions, slightly rotated in the candidate; 8 of each model alone; 8 at a fifth of the strength."""
    g = torch.Generator().manual_seed(0)
    ours = unit(torch.randn(128, WIDTH, generator=g))
    theirs = ours.clone() if copy else unit(ours + 0.15 * unit(torch.randn(128, WIDTH, generator=g)))
    assert float((ours * theirs).sum(1).min()) > 0.98
    if not copy:
        theirs[PARTS["reference"]], theirs[PARTS["faint"]] = 0, 0.2 * theirs[PARTS["faint"]]
        ours = ours.clone()
        ours[PARTS["candidate"]] = 0
    truth = torch.cat([ours, theirs], 1)
    g = torch.Generator().manual_seed(1)
    chosen = torch.rand(65_536, 128, generator=g).topk(5, dim=1).indices
    rows = embedding_bag(chosen, truth, per_sample_weights=1 + torch.rand(65_536, 5, generator=g), mode="sum")
    rows += 0.01 * torch.randn(rows.shape, generator=g)
    return truth, torch.cat([rows[:, :WIDTH]] * 2, 1) if copy else rows


def trained(activation, *, copy=False):
    truth, rows = planted_pair(copy=copy)
    sources = {
        f"{role}/resid_post.1": part.contiguous()
        for role, part in zip(("reference", "candidate"), rows.split(WIDTH, 1), strict=True)
    }
    config = TrainingConfig(
        kind="crosscoder",
        activation=activation,
        size=256,
        k=5,
        learning_rate=2e-3,
        tokens=1_500 * 1024,
        batch=1024,
        seed=5,
    )
    d = train(held(sources), config).dictionary
    passes = blocks(rows[:16_384], batch=4096, groups=np.arange(16_384) // 64)
    seen = survey(d, passes)
    taken = draws(seen.units, seed=0)
    live = tabulate(d, passes, seen, taken).density > 0
    return Found(truth, d.decoder, live, exclusivity(d, passes, seen, taken, *model_pairs(d), live=live, seed=0))


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["batchtopk", "topk"])
def test_exclusive_features_are_those_that_were_planted(activation):
    found = trained(activation)
    for part, place in PARTS.items():
        assert found.recovered(part) >= 0.9 * len(range(128)[place]), part
    assert found.of("reference") >= 7 and found.of("candidate") >= 7
    assert found.of("faint") == found.of("shared") == 0
    assert all(p.scaling.state != "exclusive" for p in found.result.probes if p.role != "nominee")


@pytest.mark.slow
def test_identical_copies_share_everything():
    found = trained("batchtopk", copy=True)
    assert found.result.nominated == 0
    assert [p.scaling.nu_error for p in found.result.of("shared")] == pytest.approx([1.0], abs=0.01)
