"""The six schemas on the bundled model: null first, a sentence, bundles that verify; loud units and random columns."""

from __future__ import annotations

import json
import shutil

import numpy as np
import polars
import pytest
from safetensors.torch import load_file, save_file

from radiograph.core import UserError
from radiograph.organisms import bundled_path
from radiograph.runtime import verify
from radiograph.surfaces.cli._main import run
from running import go

pytestmark = pytest.mark.usefixtures("workspace")
QUICK = {
    "02": {"where": "variant=1", "draws": 199},
    "04": {"where": "level=2,variant=1,type=telling", "draws": 39},
    "05": {"where": "variant=1", "draws": 99},
    "06": {"where": "variant=1", "draws": 199},
}
FIGURES = {"02": {"grid1", "grid2"}, "03": {"curves"}, "04": {"arrows"}, "06": {"curves"}}
FULL = ("01", "02", "03", "04", "05", "06")


def schema(recipe, model="bundled:base", **options):
    return go("resonance schema", recipe=recipe, model=model, out=f"out{recipe}", **options)


def is_sound(done, recipe, workspace):
    found = done.result
    assert done.exit_code == 0
    assert found.headline.startswith(f"{recipe} ") and "null: " in found.headline
    assert any(line == found.sentence for line in found.lines) and found.sentence.endswith(".")
    assert found.steps and all(step.startswith("resonance ") for step in found.steps)
    assert verify(workspace / f"out{recipe}").status == "intact"
    steps = json.loads((workspace / f"out{recipe}" / "manifest.json").read_text())["steps"]
    assert "resonance.capture" in [step["name"] for step in steps]
    drawn = {path.stem for path in (workspace / f"out{recipe}" / "figures").iterdir()}
    assert drawn >= {"measures"} | FIGURES.get(recipe, set())


@pytest.mark.parametrize("recipe", QUICK)
def test_r12_schemas_run_on_base(recipe, workspace):
    is_sound(schema(recipe, **QUICK[recipe]), recipe, workspace)


def test_what_goes_along_with_a_factor_is_said_and_steps_are_named_within_the_bundle(workspace):
    """Two runs at other moments and places leave the same bytes, and no way to a folder that is gone."""
    found = schema("05", grid="confounded", draws=19).result
    assert any(note.startswith("confounded: ") and "type~tokens" in note for note in found.notes)
    assert any("--vectors steps/1-resonance.capture" in step for step in found.steps)
    first = (workspace / "out05" / "result.json").read_bytes()
    assert str(workspace).encode() not in first and b".partial" not in first
    go("resonance schema", recipe="05", model="bundled:base", out="elsewhere", grid="confounded", draws=19)
    assert (workspace / "elsewhere" / "result.json").read_bytes() == first


def test_too_few_draws_are_no_result(workspace):
    few = {"prompt": ["the dog is near the barn", "the cat is in the house", "a boat is on the lake"], "draws": 3}
    for recipe in ("03", "04"):
        done = schema(recipe, unit=3, new_tokens=8, **few)
        assert done.exit_code == 4 and done.result.family == 0
        assert all(measure.p is None for measure in done.result.measures)
        assert "too few" in done.result.sentence and "--draws" in done.result.null
        assert verify(workspace / f"out{recipe}").status == "intact"


@pytest.mark.parametrize("recipe", [pytest.param("01", marks=pytest.mark.slow), "03", "04"])
def test_prompts_that_span_no_plane_are_refused(recipe, workspace):
    done = schema(recipe, prompt=["the dog is near the barn"], unit=3, draws=3, new_tokens=8)
    assert done.exit_code == 4 and done.result.code == "too_few_prompts" and "--prompt" in done.result.fix


@pytest.mark.slow
@pytest.mark.parametrize("recipe", FULL)
def test_r12_schemas_run_on_base_by_default(recipe, workspace):
    is_sound(schema(recipe), recipe, workspace)


def altered(workspace, change) -> str:
    """The bundled base with other `down` columns in its last block."""
    folder = workspace / "altered"
    shutil.copytree(bundled_path("base"), folder)
    (file,) = folder.glob("*.safetensors")
    weights = load_file(file)
    name = "model.layers.2.mlp.down_proj.weight"
    weights[name] = change(weights[name].clone())
    save_file(weights, file, metadata={"format": "pt"})
    return str(folder.name)


@pytest.mark.slow
def test_r12_the_loud_unit_is_first_by_kl(workspace):
    def louder(down):
        down[:, 99] *= 10
        return down

    done = schema("01", altered(workspace, louder), where="level=2,variant=1,type=telling", draws=99)
    first = done.result.measures[0]
    assert first.what == "mlp_hidden.2[99]" and first.q < 0.05
    units = polars.read_parquet(workspace / "out01" / "tables" / "units.parquet")
    assert len(units) == done.result.family and units["unit"][0] == 99
    assert (units["q"] < 0.05).sum() <= 2
    assert verify(workspace / "out01").status == "intact"


@pytest.mark.slow
def test_r12_random_columns_of_equal_norm_stay_silent(workspace):
    def shuffled(down):
        import torch

        drawn = torch.randn(down.shape, generator=torch.Generator().manual_seed(3))
        return drawn / drawn.norm(dim=0) * down.norm(dim=0)

    schema("01", altered(workspace, shuffled), where="level=2,variant=1,type=telling", draws=39)
    units = polars.read_parquet(workspace / "out01" / "tables" / "units.parquet")
    allowed = 0.05 + 2 * np.sqrt(0.05 * 0.95 / len(units))  # two standard errors
    for name in ("p", "p_direction"):
        assert (units[name] < 0.05).mean() <= allowed, name


@pytest.mark.slow
def test_r12_the_network_gives_the_null_where_the_tail_cannot(workspace):
    done = schema("01", site="mlp_hidden.1", where="level=2,variant=1,type=telling", draws=3)
    is_sound(done, "01", workspace)


def test_a_derivative_agrees_with_a_finite_difference(workspace):
    schema("04", **QUICK["04"])
    arrows = polars.read_parquet(workspace / "out04" / "tables" / "arrows.parquet")
    own, finite = (arrows.select(f"dz1{s}", f"dz2{s}").to_numpy() for s in ("", "_finite"))
    assert np.abs(own - finite).max() < 0.05 * np.abs(own).max()


def test_labels_that_mean_nothing_leave_06_silent(workspace):
    """A grid whose factor is drawn by lot within cores: the halves agree no more than chance."""
    lines = ["core,prompt,side"]
    words = ("red", "blue", "old", "small", "warm", "cold")
    for core in ("dog", "cat", "horse", "boat", "lamp", "milk", "kite", "bread"):
        sides = np.random.default_rng(len(lines)).permutation(["a", "b"] * 3)
        lines += [f"{core},the {word} {core} is here,{side}" for word, side in zip(words, sides, strict=True)]
    (workspace / "g.csv").write_text("\n".join(lines) + "\n")
    found = schema("06", grid="g.csv", draws=199).result
    assert found.measures[0].p > 0.05 and "no more than" in found.sentence


def test_print_shows_the_steps_and_runs_nothing(workspace, capsys):
    assert run(["resonance", "schema", "05", "bundled:base", "--print", "--out", "out"]) == 0
    shown = capsys.readouterr().out
    assert "resonance capture" in shown and shown.count("resonance basis") == 4 and "resonance sweep" in shown
    assert not (workspace / "out" / "steps").exists()


def test_prompts_of_ones_own_are_cores(workspace):
    prompts = ["the dog is near the barn", "the cat is in the house", "a boat is on the lake", "the lamp is red"]
    done = schema("04", prompt=prompts, draws=19, unit=3)
    assert done.result.measures[0].n == 4 and done.result.measures[0].low is not None


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"recipe": "02", "unit": 999}, "0 to 175"),
        ({"recipe": "06", "group": "type=askin"}, "asking"),
        ({"recipe": "06", "grid": "storis"}, "stories"),
        ({"recipe": "05", "group": "type=asking,level=1"}, "one level of one factor"),
        ({"recipe": "05", "group": "type!=asking"}, "one level of one factor"),
        ({"recipe": "04", "plane": ["type=asking"]}, "two groups"),
        ({"recipe": "04", "prompt": ["the dog"], "where": "type=asking"}, "no factors"),
    ],
)
def test_bad_input_names_what_is_legal(options, says):
    with pytest.raises(UserError) as caught:
        schema(**options)
    assert says in str(caught.value)
