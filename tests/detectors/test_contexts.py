"""What a feature promotes and where it fires, by doing it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from radiograph.core import Site
from radiograph.detectors.measure import kept_tokens
from radiograph.detectors.measure._contexts import WINDOW, feature_examples, logit_effects
from radiograph.models import stream


def test_the_tokens_that_a_direction_raises(pair, dictionary):
    """Against the unembedding after a norm that is frozen at scale one."""
    model = pair.reference
    directions = dictionary.decoder[:6]
    head, gain = model.model.get_output_embeddings().weight, model.model.model.norm.weight
    for row, (high, low) in enumerate(logit_effects(model, directions)):
        effect = head @ (gain * directions[row])
        assert [v for _, v in high] == pytest.approx(sorted(effect.tolist(), reverse=True)[:5], rel=1e-4)
        assert [v for _, v in low] == pytest.approx(sorted(effect.tolist())[:5], rel=1e-4)


def test_no_direction_has_no_effect(pair, dictionary):
    assert logit_effects(pair.reference, dictionary.decoder[:0]) == []


@pytest.mark.parametrize("reduce", ["skip_first", "content"])
def test_examples_are_the_strongest_tokens_that_count(pair, banks, dictionary, reduce):
    prompts, features = [*banks.rendered, *banks.neutral], [3, 40, 77]
    masks, site = kept_tokens(prompts, reduce), Site.parse(dictionary.site)
    strongest = np.zeros(len(features))
    for model in (pair.reference, pair.candidate):
        for batch, found in stream(model, [p.ids for p in prompts], [site]):
            for index, row in enumerate(batch.rows):
                codes = dictionary.encode_dense(found[site][index, : len(masks[row])][torch.tensor(masks[row])])
                strongest = np.maximum(strongest, codes[:, features].max(0).values.numpy())
    for column, examples in enumerate(feature_examples(pair, dictionary, features, prompts, reduce).values()):
        peaks = [e.values[e.peak] for e in examples]
        assert peaks == sorted(peaks, reverse=True) and min(peaks, default=1) > 0
        if strongest[column] > 0:
            assert peaks[0] == pytest.approx(strongest[column], rel=1e-4)
        assert len({e.tokens for e in examples}) == len(examples) <= 3
        assert all(len(e.tokens) == len(e.values) <= 2 * WINDOW + 1 for e in examples)


def test_a_feature_that_never_fires_has_no_example(pair, banks, dictionary):
    bias = dictionary.encoder_bias.clone()
    bias[5] = -1e6
    silent = replace(dictionary, encoder_bias=bias)
    assert feature_examples(pair, silent, [5], banks.rendered[:5], "skip_first") == {5: ()}
