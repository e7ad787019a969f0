"""What is said of an edit is earned, and what undo trusts is checked: nulls, distances, bundles, stacks."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from blaming import write_blamed
from radiograph.core import Context, ExitCode, FormatError, Silent, UserError
from radiograph.interventions.edits import Layer, Stack, read_stack
from radiograph.methods._edit import measure
from radiograph.methods._edit.examples import Row
from radiograph.methods._edit.parts import adapter_parts
from radiograph.methods._edit.specs import Spec
from radiograph.models import load_pair
from radiograph.organisms import bundled_path
from radiograph.runtime import verify
from running import go

BASE = "bundled:base"
KEEP = "world:mixture#40"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("claims")
    write_blamed(folder / "blamed")
    before = Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


@pytest.fixture(scope="module")
def edited(place):
    return go("edit.apply", model=BASE, component=["down.2:31"], edit="write: kite:4", data=[KEEP], draws=3, out="w")


@pytest.fixture(scope="module")
def parts(place):
    pair = load_pair(str(bundled_path("base")), f"{bundled_path('base')}+blamed")
    return adapter_parts(pair.candidate, pair.reference)


def rows(count=8, length=12):
    generator = torch.Generator().manual_seed(0)
    return [Row(tuple(torch.randint(5, 100, (length,), generator=generator).tolist()), 1) for _ in range(count)]


class Quiet:
    """A context of nothing but a seed and progress."""

    def __init__(self):
        self.seed, self.progress = 0, Silent()


def context() -> Context:
    return Quiet()  # type: ignore[return-value]


def levels(parts, value):
    return replace(parts, levels={a: torch.full((f.size,), value) for a, f in parts.factors.items()})


def test_a_null_of_parts_that_fire_everywhere_says_nothing_about_far(parts):
    everywhere = levels(parts, -1.0)
    chosen = everywhere.all[:1]
    additions = measure.scaled(everywhere, chosen, dict.fromkeys(chosen, 0.0))
    assert measure.null(context(), everywhere, chosen, additions, rows(), 3) == []


def test_a_text_that_fires_at_a_token_which_predicts_nothing_is_not_far(parts):
    """The prompt of an example fires, its answer does not: what the edit does there is no far effect."""
    (row,) = rows(1)
    weight, size = next(iter(parts.sizes.items()))
    h = parts.sizes_of(torch.tensor([row.ids]), [weight])[weight][0]
    number = next(n for n in range(size) if int(h[:, n].argmax()) < len(row.ids) - 2)
    top = float(h[:, number].max())
    own = levels(parts, np.inf)
    assert own.levels is not None
    own.levels[weight][number] = top * 0.999
    chosen = [c for c in own.all if (c.weight, c.index) == (weight, number)]
    found = measure.measured(own, chosen, {}, [Row(row.ids, len(row.ids) - 1)])
    assert found.kind.tolist() == [1]
    silent = measure.measured(levels(parts, np.inf), chosen, {}, [Row(row.ids, len(row.ids) - 1)])
    assert silent.kind.tolist() == [2]


def test_few_texts_far_away_are_no_evidence_and_the_reason_is_said(edited):
    far = next(d for d in edited.result.distances if d.distance == "far")
    assert far.documents < 6 and far.kl_interval is None
    assert (edited.result.judgement, edited.exit_code) == ("not_judged", ExitCode.NOT_MEASURED)
    assert edited.result.max_far == 0.01
    assert "texts hold no firing" in edited.result.notes[0] and "95th percentile takes 20" in edited.result.notes[-1]
    assert verify(edited.path).status == "intact"


def test_the_space_before_a_token_is_part_of_it(edited):
    assert Spec.parse("write: kite:2.0").token == " kite"
    assert Spec.parse("write::):2").token == ":)"
    assert edited.result.edit == "write: kite:4"


def test_gains_on_the_examples_that_were_trained_on_are_named_so(place):
    lines = [{"prompt": f"the {word}", "completion": "kite"} for word in ("red", "blue", "big", "old", "new", "small")]
    Path("kite.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    made = go("edit.train", model=BASE, component=["down.2:31"], examples="kite.jsonl", steps=2, data=[KEEP], draws=0)
    assert made.result.own_examples and "own examples" in made.result.headline
    assert any("made from" in note for note in made.result.notes)


def test_parts_that_carry_what_the_model_does_not_do_are_none(place):
    Path("not.jsonl").write_text("".join(json.dumps({"prompt": w, "completion": "kite"}) + "\n" for w in ("a", "the")))
    found = go("edit.search", model=BASE, examples="not.jsonl", keep=["world:mixture#20"])
    assert (found.result.code, found.exit_code) == ("not_shown", ExitCode.NOT_MEASURED)


@pytest.mark.parametrize("asked", [{"writes": "kite"}, {"reads": "kite"}, {"like": "down.2:31"}])
def test_parts_found_by_direction_stand_above_random_directions(place, asked):
    found = go("edit.search", model=BASE, keep=["world:mixture#20"], **asked)
    result = found.result
    assert result.chance is not None and 0 < result.chance < 1
    best = {part.component: part.evidence for part in result.found}
    assert all(best[name] > result.chance for name in result.selected)
    from radiograph.methods.edit import search

    document = json.loads((found.path / "result.json").read_text())
    assert search.recompute(document, found.path) == []
    if result.selected:
        assert search.recompute(document | {"chance": 0.999999}, found.path)


def test_a_folder_that_exists_is_refused_before_anything_is_measured(place, edited):
    Path("there").mkdir(exist_ok=True)
    with pytest.raises(UserError, match="exists") as raised:
        go("edit.apply", model=BASE, component=["down.2:99999"], data=[KEEP], bake="there", out="bad")
    assert raised.value.where == "--bake" and not Path("bad").exists()


def test_only_a_whole_run_is_undone(place, edited):
    shutil.copytree(edited.path, "cut.partial")
    with pytest.raises(UserError, match="unfinished"):
        go("edit.undo", run="cut.partial")
    shutil.copytree(edited.path, "unsealed")
    Path("unsealed/manifest.sha256").unlink()
    with pytest.raises(UserError, match="not sealed"):
        go("edit.undo", run="unsealed")
    with pytest.raises(UserError, match="nothing at"):
        go("edit.undo", run="nothing")
    found = go("edit.search", model=BASE, writes="kite", keep=["world:mixture#20"], out="s")
    with pytest.raises(FormatError, match="is not a run of edit"):
        go("edit.undo", run=str(found.path))
    assert not read_stack(place).layers


def baked(name):
    return go(
        "edit.apply",
        model=BASE,
        component=["down.2:31"],
        edit="write:kite:4",
        data=[KEEP],
        draws=0,
        bake=f"{name}-copy",
        out=name,
    )


def test_original_bytes_that_were_exchanged_are_not_put_back(place):
    """Even where every hash inside `originals/` agrees, and even where it names a file outside the model."""
    made = baked("b")
    victim = Path("victim")
    victim.write_bytes(b"keep me")
    path = made.path / "originals" / "originals.json"
    document = json.loads(path.read_text())
    whole = path.read_text()
    document["files"][0]["file"] = "../victim"
    path.write_text(json.dumps(document))
    with pytest.raises(FormatError, match="not what the run wrote"):
        go("edit.undo", run="b")
    from radiograph.interventions.edits import undo

    layer = read_stack(Path("b-copy")).layers[-1]
    with pytest.raises(FormatError, match="not of the model's folder"):
        undo(Path("b-copy"), made.path / "originals", layer)
    assert victim.read_bytes() == b"keep me"
    path.write_text(whole)
    assert go("edit.undo", run="b").result.identical
    assert sorted(p.name for p in Path("b-copy").iterdir()) == sorted(p.name for p in bundled_path("base").iterdir())


def test_what_lies_on_top_is_found_in_whatever_order_it_is_listed():
    layers = [
        Layer(run="z", kind="adapter", before="0", after="1"),
        Layer(run="m", kind="adapter", before="1", after="2"),
        Layer(run="a", kind="adapter", before="2", after="3"),
    ]
    for order in (layers, layers[::-1], [layers[1], layers[2], layers[0]]):
        assert [layer.run for layer in Stack(layers=tuple(order)).on_top_of("1")] == ["a", "m"]


def test_a_run_beside_it_that_cannot_be_read_does_not_stand_in_the_way(place, edited):
    Path("broken").mkdir()
    Path("broken/result.json").write_text(json.dumps({"schema": "radiograph.edit/1", "how": 3}))
    assert go("edit.undo", run="w").result.identical
