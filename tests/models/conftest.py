"""One model of each family, built once."""

from __future__ import annotations

import os

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from radiograph.models import LanguageModel, wrap

from . import make


@pytest.fixture(scope="session", params=make.FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def model(family: str) -> LanguageModel:
    return wrap(make.network(family))


@pytest.fixture(scope="session")
def llama() -> LanguageModel:
    return wrap(make.network("llama"), make.tokenizer(merges=38))


@pytest.fixture
def hooks():
    """Counts the hooks on a model."""

    def count(model: LanguageModel) -> int:
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.model.modules())

    return count
