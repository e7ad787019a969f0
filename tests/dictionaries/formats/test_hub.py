"""The network is used only when asked for, at a revision that is pinned, and nothing else is fetched."""

import shutil
import socket
from pathlib import Path

import pytest
from huggingface_hub import constants

from dictionaries.formats.hub import COMMIT, serving
from radiograph.core import UserError
from radiograph.dictionaries.formats import Address, fetch, import_source, looks_like_hub

FIXTURE = Path(__file__).parent / "fixtures" / "saelens" / "topk"


@pytest.fixture
def online(tmp_path, monkeypatch):
    """Point the hub client at an address, with an empty cache."""

    def point(endpoint):
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, endpoint)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))

    return point


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    for name in ("layer_0", "layer_1"):
        shutil.copytree(FIXTURE, folder / name)
    (folder / "README.md").write_text("weights")
    (folder / "layer_0" / "train.py").write_text("raise SystemExit")
    return folder


def test_files_of_a_path_are_fetched_at_the_commit_of_a_revision(online, repository):
    with serving(repository) as (endpoint, asked):
        online(endpoint)
        source, origin = fetch(Address.parse("somebody/dictionaries/layer_0@v1"))
        (finished,) = import_source(source, origin=origin)
    meta = finished.dictionary.metadata
    assert (origin.revision, origin.licence) == (COMMIT, "cc-by-4.0")
    assert meta.imported.revision == COMMIT and meta.licence == "cc-by-4.0"
    assert meta.source == "somebody/dictionaries/layer_0@v1"
    assert set(meta.imported.files) == {"cfg.json", "sae_weights.safetensors"}
    assert not any("train.py" in a or "README" in a or "layer_1" in a for a in asked)
    assert all("/main" not in a for a in asked)


def test_a_file_of_a_repository(online, repository):
    with serving(repository) as (endpoint, _):
        online(endpoint)
        source, _ = fetch(Address.parse(f"somebody/dictionaries/layer_1/cfg.json@{COMMIT}"))
    assert source.names == ("cfg.json",)
    assert source.trail == ("somebody", "dictionaries", "layer_1")


def test_without_a_revision_nothing_is_asked(online, repository):
    with serving(repository) as (endpoint, asked):
        online(endpoint)
        with pytest.raises(UserError, match="revision") as caught:
            fetch(Address.parse("somebody/dictionaries/layer_0"))
    assert caught.value.code == "revision_missing" and caught.value.exit_code == 3 and asked == []


@pytest.mark.parametrize("text", ["somebody", "a/b/../c@v1", "/a/b@v1", "a/b@", "https://hub/a/b@v1"])
def test_addresses_that_are_none(text):
    with pytest.raises(UserError):
        Address.parse(text)


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("somebody/dictionaries@v9", "hub_unreachable"),
        ("somebody/else@v1", "hub_unreachable"),
        ("somebody/dictionaries/layer_7@v1", "not_found"),
    ],
)
def test_what_is_not_there_is_an_error_of_input(online, repository, address, code):
    with serving(repository) as (endpoint, _):
        online(endpoint)
        with pytest.raises(UserError) as caught:
            fetch(Address.parse(address))
    assert caught.value.code == code and caught.value.exit_code == 3


def test_a_hub_that_is_down_is_an_error_of_input(online):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    online(f"http://127.0.0.1:{port}")
    with pytest.raises(UserError) as caught:
        fetch(Address.parse("somebody/dictionaries@v1"))
    assert caught.value.code == "hub_unreachable" and caught.value.exit_code == 3


def test_a_client_that_is_switched_off_asks_nothing(online, repository, monkeypatch):
    with serving(repository) as (endpoint, asked):
        online(endpoint)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(UserError, match="HF_HUB_OFFLINE"):
            fetch(Address.parse("somebody/dictionaries@v1"))
    assert asked == []


def test_what_reads_like_an_address():
    assert looks_like_hub("a/b") and looks_like_hub("a/b/c@main")
    assert not looks_like_hub("./a/b") and not looks_like_hub("a") and not looks_like_hub("/a/b")
