"""The bundled base beside a noisy copy, on a small suite, loaded once."""

from __future__ import annotations

import json

import pytest
import torch

from auditing import DICTIONARY, noisy, small_suite
from radiograph import organisms
from radiograph.detectors import FeatureSettings, Measurement, render
from radiograph.dictionaries import load as load_dictionary
from radiograph.models import load_pair
from radiograph.store import suite_from_document


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def suite(tmp_path_factory):
    path = small_suite(tmp_path_factory.mktemp("suite") / "suite.yaml", groups=3)
    return suite_from_document(json.loads(path.read_text()), "suite")


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
    settings = FeatureSettings(k=20, controls=2)
    return Measurement(pair, banks, seed=3, oracle=organisms.oracle, dictionary=dictionary, feature_settings=settings)
