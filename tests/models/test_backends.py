"""The backends of `records export` read the same activations; without their packages they say what is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import torch

from radiograph.core import MissingExtra
from radiograph.models import capture, pad, wrap
from radiograph.models.backends import reader

from . import make

FAMILIES = ("llama", "gpt2", "gpt_neox")
PEER = Path(__file__).parent / "peers" / "backends.py"


def test_our_own_backend_is_capture():
    model = wrap(make.network("llama"))
    assert reader("hf", model) is capture


@pytest.mark.parametrize(("backend", "package"), [("transformerlens", "transformer_lens"), ("nnsight", "nnsight")])
def test_z_a_backend_that_is_not_installed_names_its_extra(backend, package, monkeypatch):
    for name in (package, f"{package}.model_bridge"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtra, match=package) as caught:
        reader(backend, wrap(make.network("llama")))
    assert f"radiograph[{backend}]" in str(caught.value.fix)


def test_a_reader_of_a_backend_is_what_the_engine_runs():
    from radiograph import harvest

    model = wrap(make.network("llama"), make.tokenizer(merges=38))
    seen = []

    def read(model, batch, sites):
        seen.append([str(site) for site in sites])
        return {site: torch.ones(*batch.ids.shape, 32) for site in sites}

    texts = [harvest.Text("a", "the quick brown fox", "a")]
    plan = harvest.plan(model.tokenizer, texts, harvest.Reading(), harvest.Limits(validation=0.0))
    engine = harvest.Engine({"reference": model}, harvest.Recipe(("reference/resid_post.1",)), reader=read)
    found = engine.capture(plan, 0, len(plan))
    assert seen == [["resid_post.1"]] and bool((found.rows["reference/resid_post.1"] == 1).all())
    assert set(capture(model, pad([[3, 4]]), model.sites("resid_post.1"))) == set(model.sites("resid_post.1"))


@pytest.mark.peers
@pytest.mark.parametrize("backend", ["transformerlens", "nnsight"])
def test_z_three_backends_give_the_same_numbers_and_leave_no_hook(backend):
    peer = os.environ.get(f"RADIOGRAPH_PEER_{backend.upper()}")
    if peer is None:
        pytest.skip("python bench/peers.py env")
    ours = sysconfig.get_paths()["purelib"]
    done = subprocess.run(
        [peer, "-W", "ignore", str(PEER), backend, ours, *FAMILIES],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found) == set(FAMILIES)
    for family, own in found.items():
        assert len(own["differences"]) >= 11 and own["hooks"] == 0, (family, own)
        assert max(own["differences"].values()) < 1e-4, (family, own)
