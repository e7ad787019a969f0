"""Components that are made to write what a file says, and what an audit of an edit is told."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from decompose.planted import base, planted, saved, tokens_of
from radiograph.core import FormatError, UserError
from radiograph.models import forward, load_pair, pad
from radiograph.models.masked import of_model
from radiograph.organisms import bundled_path
from running import go

KEEP = "world:mixture#20"
BATCH = [[5, 17, 40, 77, 3, 9], [8, 8, 21, 60, 2, 1]]
CHOSEN = ["down.1:0", "down.1:3"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A decomposition, and a file of vectors for two of its components."""
    home = tmp_path_factory.mktemp("rewritten")
    generator = torch.Generator().manual_seed(0)
    vectors = {f"U/{name}": torch.randn(64, generator=generator) for name in CHOSEN}
    save_file(vectors, home / "vectors.safetensors")
    saved(base(), tokens_of(base(), ["the", "to", "is"]), home / "parts")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        yield home


def apply(**more):
    given = {"model": "bundled:base", "decomposition": "parts", "component": CHOSEN, "data": [KEEP], "draws": 0}
    return go("edit.apply", **(given | {"rewrite": "vectors.safetensors"} | more))


def test_d10_13_rewritten_components_write_what_the_file_says_and_nothing_else_moves(home):
    made = apply(out="made").result
    assert (made.edit, made.rank, made.components) == ("rewrite:vectors.safetensors", 2, tuple(CHOSEN))
    model = base()
    own = planted(model, tokens_of(model, ["the", "to", "is"])).factors["down.1"]
    given = load_file(home / "vectors.safetensors")
    change = sum(torch.outer(given[f"U/down.1:{n}"] - own.writes[n], own.reads[:, n]) for n in (0, 3))
    target = of_model(model)
    with torch.no_grad():
        target.network.get_submodule(target.place("down.1").module).weight += change
    pair = load_pair(str(bundled_path("base")), f"{bundled_path('base')}+{home / 'made/adapter'}")
    torch.testing.assert_close(forward(pair.candidate, pad(BATCH)), forward(model, pad(BATCH)), atol=1e-4, rtol=1e-4)
    assert go("edit.undo", run="made").result.identical


def test_files_that_do_not_fit_are_named_with_the_vector(home):
    vectors = {f"U/{name}": torch.zeros(64) for name in CHOSEN}
    cases = {
        "short": (vectors | {"U/down.1:3": torch.zeros(3)}, "U/down.1:3 is not what it can write"),
        "nan": (vectors | {"U/down.1:0": torch.full((64,), torch.nan)}, "U/down.1:0 is not what it can write"),
        "away": ({"U/down.1:0": torch.zeros(64)}, "holds no U/down.1:3"),
        "spare": (vectors | {"U/down.1:5": torch.zeros(64)}, "U/down.1:5, of no chosen part"),
    }
    for name, (tensors, says) in cases.items():
        save_file(tensors, home / f"{name}.safetensors")
        with pytest.raises((UserError, FormatError), match=says):
            apply(rewrite=f"{name}.safetensors", out="bad")
    (home / "text.safetensors").write_text("no tensors")
    with pytest.raises(FormatError, match="not safetensors"):
        apply(rewrite="text.safetensors", out="bad")
    with pytest.raises(UserError, match="nothing at"):
        apply(rewrite="nowhere.safetensors", out="bad")
    with pytest.raises(UserError, match="not both"):
        apply(edit="scale:2", out="bad")
    assert not (home / "bad").exists()


def test_what_the_audit_would_miss_is_said_before_anything_is_made(home):
    with pytest.raises(UserError, match="is of the audit"):
        apply(calibration="none", out="bad")
    with pytest.raises(UserError, match="nothing at"):
        apply(calibration="runs/nowhere", audit=True, out="bad")
    assert not (home / "bad").exists()


@pytest.mark.slow
def test_d10_13_an_edit_is_audited_with_the_calibration_that_was_named(home):
    """Without one nothing can be called clean; a loss of ability is still seen."""
    made = apply(audit=True, calibration="none", out="audited")
    assert made.result.audit == "degraded"
    (step,) = (home / "audited" / "steps").iterdir()
    manifest = json.loads((step / "manifest.json").read_text())
    assert manifest["config"]["calibration"] == "none"
