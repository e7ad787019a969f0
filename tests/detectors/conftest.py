"""The bundled base beside a noisy copy, on a small suite, loaded once."""

from __future__ import annotations

import json

import pytest
import torch

from auditing import DICTIONARY, noisy, small_suite
from radiograph import organisms
from radiograph.detectors import FeatureSettings, Measurement, render
from radiograph.detectors._rows import read_rows
from radiograph.detectors.measure.search import Settings
from radiograph.dictionaries import load as load_dictionary
from radiograph.models import load_pair
from radiograph.store import suite_from_document

ROWS = next(p for p in sorted((organisms.bundled_path("base").parent / "organisms").glob("*/train.jsonl")))
"""The rows of a bundled adapter."""


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def suite(tmp_path_factory):
    path = small_suite(tmp_path_factory.mktemp("suite") / "suite.yaml", groups=3)
    document = json.loads(path.read_text())
    sums = [p for p in document["prompts"] if p.get("task") == "arithmetic"]
    for number, prompt in enumerate(sums):  # one set that is large enough to be compared with others beside it
        prompt["factors"] = {**prompt.get("factors", {}), "half": "first" if number < 20 else "rest"}
    document["factors"] = {**document.get("factors", {}), "half": "nominal"}
    return suite_from_document(document, "suite")


@pytest.fixture(scope="session")
def pair(tmp_path_factory):
    candidate = noisy(tmp_path_factory.mktemp("noisy") / "candidate", 0.45)
    return load_pair("bundled:base", str(candidate), resolve=organisms.bundled_path)


@pytest.fixture(scope="session")
def dictionary():
    return load_dictionary(DICTIONARY)


@pytest.fixture(scope="session")
def banks(pair, suite):
    return render(pair.reference, suite, organisms.neutral_texts("world")[:70])


@pytest.fixture(scope="session")
def measurement(pair, banks, dictionary):
    """Everything measured once; tests read it."""
    return Measurement(
        pair,
        banks,
        seed=3,
        oracle=organisms.oracle,
        dictionary=dictionary,
        feature_settings=FeatureSettings(k=20, controls=2),
        search=Settings("quick", budget=60_000),
        train_rows=read_rows(ROWS),
    )
