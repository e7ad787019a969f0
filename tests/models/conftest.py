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
    """Counts the hooks on a model, without those that transformers leaves after `output_hidden_states`."""

    def count(model: LanguageModel) -> int:
        kinds = [kind for m in model.model.modules() for kind in (m._forward_hooks, m._forward_pre_hooks)]
        return sum("output_capturing" not in hook.__module__ for kind in kinds for hook in kind.values())

    return count
