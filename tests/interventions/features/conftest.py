"""A small model of the small world with its dictionary, loaded once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from radiograph import dictionaries, models, organisms
from radiograph.core import Site
from radiograph.sources import Directions, Units


@dataclass(frozen=True)
class Given:
    model: Any
    codecs: dict[str, Any]
    tokens: list[tuple[int, ...]]

    def site(self, codec: Any) -> Site:
        (site,) = self.model.sites(codec.targets[0].rpartition("/")[2])
        return site

    def directions(self, codec: Any, numbers: tuple[int, ...]) -> np.ndarray:
        decoder = getattr(codec, "decoder", getattr(codec, "vectors", None))
        rows = np.eye(codec.width) if decoder is None else decoder.detach().double().numpy()
        return rows[list(numbers)]


@pytest.fixture(scope="package")
def given() -> Given:
    import torch

    model = models.load("bundled:base", resolve=organisms.bundled_path)
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(3, model.width, generator=generator)
    codecs = {
        "latents": dictionaries.load(organisms.bundled_path("dictionary")),
        "units": Units("mlp_hidden.2", model.site_width(Site("mlp_hidden", 2))),
        "directions": Directions("resid_post.1", ("a", "b", "c"), vectors / vectors.norm(dim=1, keepdim=True)),
    }
    texts = organisms.neutral_texts("world")[:12]
    return Given(model, codecs, [models.tokenize(model.tokenizer, text).ids[:24] for text in texts])
