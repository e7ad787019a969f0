"""The list of suites: what may be named, what may be fetched, and that nothing is fetched unless somebody typed so."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from radiograph.core import Silent, UserError
from radiograph.dictionaries import suites
from radiograph.surfaces.cli._main import run

GPT2 = "jbloom-gpt2/blocks.8.hook_resid_pre"


@pytest.mark.parametrize(
    "repository",
    [
        "google/gemma-scope-2b-pt-res-evil",
        "google/Gemma-Scope-2b-pt-res",
        "Google/gemma-scope-2b-pt-res",
        "evil/gemma-scope-2b-pt-res",
        "EleutherAI/sae-pythia-../x",
        "EleutherAI/sae-llama-2",
        "jbloom/GPT2-Small-OAI-v5-64k-resid-SAEs",
    ],
)
def test_what_is_not_listed_in_its_exact_case_does_not_match(repository):
    assert suites.allowed(repository) is None


@pytest.mark.parametrize(
    ("text", "repository", "path"),
    [
        (
            "gemma-scope-2b/gemma-scope-2b-pt-res/layer_20/width_16k/average_l0_71/params.npz",
            "google/gemma-scope-2b-pt-res",
            "layer_20/width_16k/average_l0_71/params.npz",
        ),
        ("eleuther-pythia/sae-pythia-160m-32k/layers.3.mlp", "EleutherAI/sae-pythia-160m-32k", "layers.3.mlp"),
        ("jbloom-gpt2/blocks.8.hook_resid_pre", "jbloom/GPT2-Small-SAEs-Reformatted", "blocks.8.hook_resid_pre"),
        ("gemma-scope-27b/layer_10/x.npz", "google/gemma-scope-27b-pt-res", "layer_10/x.npz"),
    ],
)
def test_name_and_path_choose_one_dictionary(text, repository, path):
    entry, found, where = suites.resolve(text)
    assert (found, where) == (repository, path)
    assert suites.allowed(found) == entry


@pytest.mark.parametrize(
    "text",
    [
        "gemma-scope-3b/x/y",
        "gemma-scope-2b",
        "gemma-scope-2b/gemma-scope-2b-pt-res",
        "gemma-scope-2b/gemma-scope-2b-pt-res-evil/layer_1/params.npz",
        "gemma-scope-2b/Gemma-Scope-2b-pt-res/layer_1/params.npz",
        "jbloom-gpt2/../x",
        "jbloom-gpt2/a/../../x",
        "jbloom-gpt2/",
        "eleuther-pythia/../sae-pythia-160m/x",
    ],
)
def test_pd_15_names_that_lead_elsewhere_are_refused(text):
    with pytest.raises(UserError) as error:
        suites.resolve(text)
    assert error.value.exit_code == 3


def test_every_entry_is_whole():
    for entry in suites.listed().values():
        assert entry.status in ("confirmed", "unconfirmed") and entry.format and entry.base and entry.licence
        assert all(one.count("/") == 1 for one in entry.repositories)
    assert suites.listed()["jbloom-llama"].instead == ("llama-scope", "eleuther-llama")


@pytest.fixture
def sides(workspace):
    np.save("a.npy", np.zeros((400, 8), np.float32))
    return workspace


def test_pd_15_a_suite_that_is_not_cached_says_the_command(sides, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    assert run(["probe", "sae-diff", f"suite:{GPT2}", "a.npy", "a.npy", "--quiet"]) == 3
    said = capsys.readouterr().err
    command = f"radiograph probe sae-diff suite:{GPT2} a.npy a.npy --allow-download"
    assert command in " ".join(said.split()) and "jbloom/GPT2-Small-SAEs-Reformatted" in said


def test_pd_15_an_unconfirmed_suite_refuses_and_offers_others(sides, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    command = ["probe", "sae-diff", "suite:jbloom-llama/llama-3-8b-saes/x", "a.npy", "a.npy", "--quiet"]
    for asked in (command, [*command, "--allow-download"]):
        assert run(asked) == 3
        said = capsys.readouterr().err
        assert "llama-scope, eleuther-llama" in said and "fetches" not in said


def test_a_cached_file_is_found_without_the_network(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    _, repository, path = suites.resolve(GPT2)
    assert suites.cached(repository, path) is None
    place = tmp_path / "models--jbloom--GPT2-Small-SAEs-Reformatted" / "snapshots" / "abc" / path
    place.mkdir(parents=True)
    assert suites.cached(repository, path) == place


def test_leave_to_download_is_no_option_of_a_file(workspace):
    from radiograph.runtime import find

    assert "allow_download" not in find("probe sae-diff").config.model_fields
    (workspace / "c.json").write_text(json.dumps({"allow_download": True}))
    assert run(["probe", "sae-diff", "suite:x/y", "a", "b", "--config", "c.json", "--quiet"]) == 3


SIZES = {"d/cfg.json": 20, "d/sae_weights.safetensors": 9 * 2**30}


class Answers(BaseHTTPRequestHandler):
    """A hub with one repository, which says how large its files are."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        files = [{"rfilename": name, "size": size} for name, size in SIZES.items()]
        data = json.dumps({"id": "jbloom/x", "sha": "a" * 40, "siblings": files}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def test_pd_15_more_than_the_cap_is_not_fetched(monkeypatch):
    from huggingface_hub import HfApi

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        where = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.HfApi", lambda: HfApi(endpoint=where))
        entry, repository, _ = suites.resolve(GPT2)
        with pytest.raises(UserError, match="too large"):
            suites.fetch(entry, repository, "d", Silent())
        with pytest.raises(UserError, match="no single dictionary"):
            suites.fetch(entry, repository, "elsewhere", Silent())
    finally:
        server.shutdown()
        server.server_close()
