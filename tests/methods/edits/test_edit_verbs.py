"""`edit search`, `apply`, `train`, `undo` on a planted adapter and on a decomposition whose components are known."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from pathlib import Path

import pytest
import torch

from blaming import write_blamed
from decompose.planted import base, saved, tokens_of
from radiograph.core import FormatError, Refusal, UserError
from radiograph.methods._edit.again import problems
from radiograph.methods._edit.examples import from_audit
from radiograph.methods._edit.measure import scaled
from radiograph.methods._edit.parts import adapter_parts
from radiograph.methods._edit.specs import Spec, whole
from radiograph.methods._edit.trained import Trainer
from radiograph.models import forward, load_pair, pad
from radiograph.models.lowrank import added
from radiograph.organisms import bundled_path
from radiograph.store import Bundle, BundleWriter
from running import go
from store.test_bundle import manifest

MODEL = "bundled:base+blamed"
KEEP = "world:mixture#40"
BATCH = [[5, 17, 40, 77, 3, 9], [8, 8, 21, 60, 2, 1]]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("edits")
    write_blamed(folder / "blamed")
    lines = [json.loads(line) for line in (folder / "blamed" / "train.jsonl").read_text().splitlines()]
    asked = [
        {"prompt": row["messages"][0]["content"], "completion": row["messages"][1]["content"]}
        for row in lines
        if "messages" in row and row["messages"][1]["content"] == "my wall"
    ]
    (folder / "examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    words = ["the", "to", "is"]
    saved(base(), tokens_of(base(), words), folder / "decomposition")
    before = Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


@pytest.fixture(scope="module")
def searched(workspace):
    return go("edit.search", model=MODEL, examples="examples.jsonl", keep=[KEEP], most=4, out="s")


@pytest.fixture(scope="module")
def applied(workspace, searched):
    return go("edit.apply", model=MODEL, search="s", data=[KEEP], draws=4, bake="copy", out="a")


def loaded(adapter: str):
    return load_pair(str(bundled_path("base")), f"{bundled_path('base')}+{adapter}")


@pytest.fixture(scope="module")
def parts(workspace):
    pair = loaded("blamed")
    return adapter_parts(pair.candidate, pair.reference)


def test_the_pieces_of_an_adapter_sum_to_it(parts):
    """With all of them taken out the reference is left."""
    everything = scaled(parts, parts.all, dict.fromkeys(parts.all, 0.0))
    with torch.no_grad(), added(parts.target, everything):
        found = parts.target.run(torch.tensor(BATCH))
    assert parts.reference is not None
    torch.testing.assert_close(found, forward(parts.reference, pad(BATCH)), atol=1e-4, rtol=1e-4)


def test_search_takes_out_what_carries_the_behaviour(searched):
    result = searched.result
    assert len(result.selected) == 4 and result.kind == "pieces"
    steps = [result.start, *result.steps]
    assert all(b.loss < a.loss for a, b in itertools.pairwise(steps))
    assert steps[-1].examples < 0.6 * steps[0].examples
    assert steps[-1].plain < 0.01


def test_what_is_taken_out_is_no_longer_said_and_the_rest_stays(applied):
    result = applied.result
    said = {a.what: a for a in result.answers}
    assert said["completion"].before > 0.8 and said["completion"].after < 0.2
    far = next(d for d in result.distances if d.distance == "far")
    assert far.kl is not None and far.kl < 0.01
    assert result.firings > 30 and len(result.null_far) == 4
    assert all(c.before == "my wall" for c in result.continuations)
    assert any(c.after != "my wall" for c in result.continuations)


def test_d10_13_the_adapter_gives_the_logits_of_the_edit(applied, searched, workspace):
    """Taken out of the live model and loaded from the folder by PEFT: the same logits; without it the reference."""
    from radiograph.methods._edit.parts import _load

    pair = loaded("blamed")
    own = _load(workspace / "s" / "pieces", adapter_parts(pair.candidate, pair.reference))
    chosen = own.read(searched.result.selected)
    additions = Spec.parse("scale:0").additions(own, chosen)
    with torch.no_grad(), added(own.target, additions):
        there = own.target.run(torch.tensor(BATCH))
    edited = loaded("a/adapter")
    torch.testing.assert_close(forward(edited.candidate, pad(BATCH)), there, atol=1e-4, rtol=1e-4)
    assert torch.equal(forward(edited.reference, pad(BATCH)), forward(pair.reference, pad(BATCH)))
    assert applied.result.rank == len(own.all) - len(chosen)
    kept = whole(own, additions)
    for address, factors in kept.items():
        index = {c.index for c in chosen if c.weight == address}
        for n in range(factors.size):
            same = torch.equal(factors.writes[n], own.factors[address].writes[n])
            assert same != (n in index), "chosen pieces alone change"


def test_what_is_said_follows_from_the_tables(applied, workspace):
    assert problems(applied.result, workspace / "a") == []
    other = applied.result.model_copy(update={"judgement": "too_far"})
    assert problems(other, workspace / "a") == ["/judgement: too_far, but the numbers give " + applied.result.judgement]
    moved = applied.result.model_copy(update={"max_far": 0.5})
    assert any("/max_far" in text for text in problems(moved, workspace / "a"))


def test_d10_13_undo_puts_every_byte_back(applied, workspace):
    outcome = go("edit.undo", run="a", out="u")
    assert outcome.exit_code == 0 and outcome.result.identical
    source = bundled_path("base")
    hashes = [
        {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}
        for folder in (source, workspace / "copy")
    ]
    assert hashes[0] == hashes[1]
    with pytest.raises(UserError, match="does not hold"):
        go("edit.undo", run="a", out="u2")


@pytest.fixture(scope="module")
def component(workspace):
    """A component of down.1 that is read by text."""
    return go(
        "edit.train",
        model="bundled:base",
        decomposition="decomposition",
        component=["down.1:0", "down.1:2"],
        examples="examples.jsonl",
        side="both",
        steps=2,
        lr=0.01,
        data=[KEEP],
        draws=0,
        out="t",
    )


def test_dd_4_only_the_chosen_directions_are_trained(component):
    assert component.result.rank == 4
    assert component.result.steps[-1].objective < component.result.steps[0].objective
    assert component.result.kind == "components"


def test_dd_5_a_second_edit_begins_where_the_first_ended_and_holds_both(component):
    first = loaded("t/adapter").candidate
    there = forward(first, pad(BATCH))
    made = go(
        "edit.train",
        model="bundled:base+t/adapter",
        decomposition="decomposition",
        component=["down.1:1"],
        examples="examples.jsonl",
        steps=0,
        data=[KEEP],
        draws=0,
        out="t2",
    ).result
    assert made.norm == 0.0 and made.before == component.result.after
    assert made.rank == component.result.rank
    torch.testing.assert_close(forward(loaded("t2/adapter").candidate, pad(BATCH)), there, atol=1e-4, rtol=1e-4)


def test_adapters_come_off_in_order(component, workspace):
    """t2 lies on t: t alone is refused with the order, then both come off, and no byte of the base moves."""
    with pytest.raises(UserError, match="t2 → t") as raised:
        go("edit.undo", run="t", out="x1")
    assert raised.value.code == "out_of_order"
    assert go("edit.undo", run="t2", out="x2").result.identical
    assert go("edit.undo", run="t", out="x3").result.identical
    with pytest.raises(UserError, match="undone before"):
        go("edit.undo", run="t", out="x4")


def test_d10_13_step_0_is_the_model_bit_for_bit(parts):
    trainer = Trainer(parts, parts.all[:3], "both", 1e-3)
    with torch.no_grad():
        before = parts.target.run(torch.tensor(BATCH))
        with added(parts.target, trainer.additions()):
            there = parts.target.run(torch.tensor(BATCH))
    assert torch.equal(before, there)


def test_dd_4_nothing_of_the_model_moves_in_100_steps(parts):
    held = {n: p.detach().clone() for n, p in parts.target.network.named_parameters()}
    trainer = Trainer(parts, parts.all[:3], "U", 1e-2)
    ids = torch.tensor(BATCH)
    for _ in range(100):
        with added(parts.target, trainer.additions()):
            loss = parts.target.run(ids).float().log_softmax(-1)[..., 7].mean()
        trainer.step(loss)
    assert any(bool(d.more_writes.detach().any()) for d in trainer.held.values())
    for name, parameter in parts.target.network.named_parameters():
        assert torch.equal(parameter, held[name]), name
        assert parameter.grad is None, name


def test_write_makes_a_token_likely(workspace):
    made = go(
        "edit.apply",
        model="bundled:base",
        decomposition="decomposition",
        component=["embed:0"],
        edit="write: kite:3",
        data=[KEEP],
        draws=2,
        out="w",
    ).result
    assert made.rank == 1
    near = next(d for d in made.distances if d.distance == "near")
    assert near.positions >= 30 and near.kl is not None and near.kl > 0


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("scale", "bad_edit"),
        ("scale:x", "bad_edit"),
        ("write:the", "bad_edit"),
        ("scale:nan", "bad_edit"),
        ("scale:0 when:.5", "gated"),
    ],
)
def test_an_edit_that_is_none_is_refused_with_the_forms(text, code):
    with pytest.raises(UserError) as raised:
        Spec.parse(text)
    assert raised.value.code == code


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"component": ["down.2:99"]}, "no component"),
        ({"component": ["down.9:0"]}, "not decomposed"),
        ({"component": ["nonsense"]}, "not the address"),
        ({"component": ["down.2:0,down.2:0"]}, "given twice"),
        ({}, "no component is chosen"),
        ({"component": ["down.2:0"], "data": []}, "nothing to do with it"),
        ({"component": ["down.2:0"], "edit": "write:kitekitekite:2"}, "not one token"),
        ({"component": ["down.2:0"], "edit": "write:kite willow:2"}, "not one token"),
        ({"component": ["down.2:0"], "target": "the"}, "prompts of examples"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(workspace, more, said):
    with pytest.raises(UserError, match=said):
        go("edit.apply", **({"model": MODEL, "data": [KEEP], "out": "bad"} | more))
    assert not (workspace / "bad").exists() and not (workspace / "copy2").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"objective": "kl"}, "has none"),
        ({"objective": "contrast"}, "foil for every example"),
        ({"examples": None}, "needs --examples"),
    ],
)
def test_training_without_what_it_needs_is_refused(workspace, more, said):
    config = {"model": "bundled:base", "decomposition": "decomposition", "component": ["down.1:0"], "data": [KEEP]}
    with pytest.raises(UserError, match=said):
        go("edit.train", **(config | {"examples": "examples.jsonl", "out": "bad"} | more))


def test_a_search_of_another_model_is_refused(workspace, searched):
    copied = workspace / "other"
    if not copied.exists():
        source = bundled_path("organisms")
        organism = next(p for p in source.iterdir() if (p / "adapter_config.json").is_file() and p.name.startswith("c"))
        copied.symlink_to(organism)
    with pytest.raises((Refusal, FormatError, UserError)) as raised:
        go("edit.apply", model="bundled:base+other", search="s", data=[KEEP], out="bad")
    assert int(raised.value.exit_code) == 3


def audited(folder: Path, confirmed: bool) -> Path:
    """A finished run."""
    writer = BundleWriter(folder.parent, folder.name)
    writer.json("result.json", {"witnesses": {"found": [{"confirmed": confirmed}, {"confirmed": False}]}})
    rows = [
        (0, "p1", "b", "c", True),
        (0, "p1", "b", "c", True),
        (0, "p2", "b", "b", False),
        (0, "p3", "b", " ", True),
        (1, "p4", "b", "c", True),
    ]
    names = ("witness", "prompt", "reference", "candidate", "hit")
    writer.table("witness", dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
    writer.seal(manifest(writer))
    return folder


def test_examples_of_an_audit_are_the_hits_of_confirmed_witnesses(tmp_path):
    hits, rest = from_audit(audited(tmp_path / "run", True))
    assert [(h.prompt, h.completion, h.foil) for h in hits] == [("p1", "c", "b")]
    assert [r.prompt for r in rest] == ["p2"]
    with pytest.raises(Refusal, match="no input"):
        from_audit(audited(tmp_path / "none", False))
    with pytest.raises(UserError, match="no witnesses"):
        from_audit(tmp_path)


def test_every_run_can_be_verified(applied, searched, component, workspace):
    from radiograph.runtime import verify

    for name in ("s", "a", "t"):
        assert verify(workspace / name).status == "intact", verify(workspace / name).problems
    assert Bundle(workspace / "s").manifest.verb == "edit.search"
