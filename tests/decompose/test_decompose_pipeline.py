"""From text to an edit that is taken back, by the verbs alone, on the bundled model and its decomposition."""

from typing import Any

import polars as pl
import pytest

from radiograph.core import ExitCode
from radiograph.core.components import Node
from radiograph.runtime import verify
from running import go

GIVEN: dict[str, Any] = {"decomposition": "decomposition:bundled"}
PROMPT = "3 + 4 ="
"""One whose answer the components keep: what they leave out (Δ) carries those of most prompts."""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("pipeline")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        yield home


@pytest.mark.slow
def test_d10_17_from_harvest_to_undo_every_step_reads_the_one_before(home):
    labelled(home)
    components = explained(home)
    edited(home, components)
    names = [path.name for path in home.iterdir() if (path / "result.json").is_file()]
    assert len(names) == 8
    for name in names:
        assert verify(home / name).status == "intact", name


def labelled(home):
    """Harvest, attributions, labels by rules, labels of a graph."""
    counted = go("decompose.harvest", **GIVEN, data=["world:story#40"], examples=30, record_tokens=1000, out="harvest")
    edges = go("decompose.attribute", **GIVEN, data=["world:story#1"], harvest="harvest", out="attributions")
    plain = go("decompose.label", harvest="harvest", limit=40, out="labels")
    given: dict[str, Any] = {"strategy": "graph", "attributions": "attributions", "limit": 40}
    both = go("decompose.label", harvest="harvest", **given, out="graph-labels")
    assert [one.exit_code for one in (counted, edges, plain, both)] == [ExitCode.PASS] * 4
    assert (plain.result.labelled, both.result.labelled) == (40, 40)
    assert set(both.result.phases) == {"output", "input", "unify"}


def explained(home):
    """The set that keeps the answer, and what it is worth; the components of it that a graph can be edited by."""
    found = go("graph.optimise", **GIVEN, prompt=PROMPT, steps=10, controls=4, out="circuit")
    assert found.exit_code == ExitCode.PASS
    (row,) = found.result.rows
    assert row.holds
    judged = go("graph.intervene", graph="circuit", ablate="rest", controls=4, require="suffices", out="regimes")
    assert judged.exit_code == ExitCode.PASS
    assert (judged.result.selected, judged.result.alive) == (row.selected, found.result.alive)
    return {str(Node.parse(node).component) for node in found.result.facts.selection}


def edited(home, components):
    """The component of the set that fired most in the harvest writes a word, in an adapter and a copy; and no more."""
    counts = pl.read_parquet(home / "harvest/tables/components.parquet")
    own = counts.filter(pl.col("component").is_in(components) & pl.col("weight").str.starts_with("down"))
    chosen = own.sort("firings", descending=True)["component"][0]
    how: dict[str, Any] = {
        "edit": "write: kite:2",
        "data": ["world:mixture#60"],
        "draws": 3,
        "bake": "copy",
        "max_far": 10.0,
    }
    made = go("edit.apply", model="bundled:base", component=[chosen], **how, out="edit")
    assert made.result.components == (chosen,)
    assert made.result.rank == 1
    assert made.result.firings >= 30
    undone = go("edit.undo", run="edit", out="undone")
    assert undone.exit_code == ExitCode.PASS
    assert undone.result.identical
