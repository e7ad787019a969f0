"""The verbs about circuits on the planted circuit: bundles that verify, documents that others read, refusals."""

import json
from pathlib import Path

import jsonschema
import polars as pl
import pytest

from radiograph.core import ExitCode, FormatError, Refusal, UserError
from radiograph.evidence.graphs import ATTRIBUTION_GRAPH, cantor, read_graph
from radiograph.methods.graph.prompt import recompute
from radiograph.runtime import verify
from running import go

PLANTED = "decomposition:planted-circuit"
PATH = ["v.0:0/1", "o.0:0/2", "up.0:0/2", "down.0:0/2", "up.1:0/2", "down.1:0/2"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("graphs"))
        yield


@pytest.fixture(scope="module")
def traced(place):
    return go("graph.prompt", decomposition=PLANTED, prompt="a x", target="yes", node_share=1, edge_share=1)


@pytest.fixture(scope="module")
def found(place):
    return go("graph.optimise", decomposition=PLANTED, prompt="a x", target="yes", steps=40, lr=0.1)


def document(outcome):
    return json.loads((outcome.path / "graph.json").read_bytes())


def test_d10_8_an_unpruned_graph_follows_the_public_schema_and_comes_back_the_same(traced):
    given = document(traced)
    jsonschema.validate(given, ATTRIBUTION_GRAPH)
    graph = read_graph(given, "graph.json")
    assert graph.model_dump(mode="json") == given
    assert traced.result.dropped_nodes == traced.result.dropped_edges == 0
    for node in graph.nodes:
        if node.radiograph.kind == "component":
            block, index, position = map(int, node.node_id.split("_"))
            assert node.feature == cantor(block, index)
            assert position == node.ctx_idx == node.radiograph.position
    assert len({node.jsNodeId for node in graph.nodes if node.radiograph.kind == "delta"}) > 1


def test_d10_8_edges_add_up_and_abs_is_sign_times_signed(traced):
    assert traced.result.worst_gap < 1e-4
    signs = {n["node_id"]: 1 if (n["activation"] or 0) > 0 else -1 for n in document(traced)["nodes"]}
    for link in document(traced)["links"]:
        if link["radiograph"]["abs"]:
            assert link["radiograph"]["abs"] == signs[link["target"]] * link["weight"]


def test_the_path_carries_the_answer(traced):
    nodes = pl.read_parquet(traced.path / "tables/nodes.parquet")
    flow = dict(zip(nodes["node"], nodes["influence"], strict=True))
    assert all(flow[node] > 0.05 for node in PATH)
    assert flow["down.1:67/2"] < 0.05 * flow["down.1:0/2"]
    assert traced.result.unpruned.replacement > 0.9


def test_three_sets_are_three_counts(place):
    pruned = go("graph.prompt", decomposition=PLANTED, prompt="a x", target="yes")
    facts = pruned.result.facts
    assert (facts.alive, facts.selected) == (43, 43)
    assert facts.shown == sum(n["radiograph"]["kind"] == "component" for n in document(pruned)["nodes"]) < 43
    settings = document(pruned)["metadata"]["pruning_settings"]
    assert settings["dropped_nodes"] == pruned.result.dropped_nodes > 0
    assert verify(pruned.path).status == "intact"


def test_an_optimised_set_is_the_path_and_its_bundle_verifies(found):
    assert set(found.result.facts.selection) == set(PATH)
    assert found.result.rows[0].holds
    assert not found.result.non_adversarial
    assert found.result.facts.kind == "optimised"
    assert verify(found.path).status == "intact"
    selected = pl.read_parquet(found.path / "tables/selected.parquet")
    assert set(selected["node"]) == set(PATH)
    snapshots = pl.read_parquet(found.path / "tables/snapshots.parquet")
    assert snapshots.group_by("step").agg(pl.col("nodes").sum()).sort("step")["nodes"].to_list()[0] == 43


def test_intervening_grades_the_set_beside_controls(found):
    outcome = go("graph.intervene", graph=str(found.path), ablate="rest", require="suffices")
    result = outcome.result
    assert result.grade == "suffices"
    assert result.graph_kind == "optimised"
    assert (result.selected, result.alive) == (6, 43)
    assert result.contributes is False
    assert result.importance.label.text.strip() == "yes"
    assert result.importance.label.rank == 1
    assert outcome.exit_code == ExitCode.PASS
    assert verify(outcome.path).status == "intact"


def test_a_set_without_its_path_fails_the_gate(found):
    outcome = go("graph.intervene", graph=str(found.path), deselect=["up.0:0/2"], require="suffices", draws=4)
    assert outcome.result.grade == "does not suffice"
    assert outcome.exit_code == ExitCode.GATE_FAILED
    text = (outcome.path / "report.html").read_text()
    assert "does not suffice" in text


def test_a_search_without_adversary_is_stamped(place):
    outcome = go(
        "graph.optimise", decomposition=PLANTED, prompt="a x", target="yes", steps=2, adversary_weight=0, repair=False
    )
    assert outcome.result.non_adversarial
    assert "[non_adversarial]" in outcome.result.headline
    assert document(outcome)["radiograph"]["non_adversarial"]
    assert go("graph.intervene", graph=str(outcome.path), draws=2, controls=0).result.non_adversarial


def foreign(path, **more):
    given = {
        "metadata": {"slug": "s", "scan": "gemma-2-2b", "prompt": "a", "prompt_tokens": ["<b>a\x1b[31m"]},
        "qParams": {},
        "nodes": [
            {"node_id": "E_5_0", "feature": 0, "layer": "E", "ctx_idx": 0, "feature_type": "embedding"},
            {"node_id": "3_7_0", "feature": cantor(3, 7), "layer": "3", "ctx_idx": 0, "feature_type": "transcoder"},
            {"node_id": "27_9_0", "feature": 9, "layer": "27", "ctx_idx": 0, "feature_type": "logit"},
        ],
        "links": [
            {"source": "E_5_0", "target": "3_7_0", "weight": 1.0},
            {"source": "3_7_0", "target": "27_9_0", "weight": 2.0},
        ],
    }
    for node in given["nodes"]:
        node |= {"jsNodeId": node["node_id"], "clerp": "<script>alert(1)</script>"}
    path.write_text(json.dumps(given | more))
    return path


def test_a_foreign_graph_is_read_and_shown_and_not_intervened_on(place, tmp_path):
    path = foreign(tmp_path / "theirs.json")
    outcome = go("graph.prompt", from_=str(path))
    assert outcome.result.facts.kind == "imported"
    assert outcome.result.unpruned.replacement == 1.0
    page = (outcome.path / "report.html").read_text()
    assert "<script>alert" not in page
    assert "\x1b" not in page
    assert verify(outcome.path).status == "intact"
    result = json.loads((outcome.path / "result.json").read_bytes())
    result["pruned"]["edges"] += 1
    assert any("pruned graph" in problem for problem in recompute(result, outcome.path))
    refused = go("graph.intervene", graph=str(outcome.path))
    assert refused.result.code == "dictionary_missing"
    assert refused.exit_code == ExitCode.NOT_MEASURED


def test_a_broken_foreign_graph_leaves_nothing(place, tmp_path):
    path = foreign(tmp_path / "theirs.json", links=[{"source": "x", "target": "y", "weight": 1}])
    with pytest.raises(FormatError, match="/links/0/source"):
        go("graph.prompt", from_=str(path), out="nothing")
    (tmp_path / "no.json").write_text("{")
    with pytest.raises(FormatError, match="not JSON"):
        go("graph.prompt", from_=str(tmp_path / "no.json"), out="nothing")


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"prompt": " "}, "empty"),
        ({}, "one prompt"),
        ({"prompt": "a", "tokens": "1"}, "one prompt"),
        ({"tokens": "1,x"}, "no token id"),
        ({"tokens": "1,99"}, "no token has the id 99"),
        ({"prompt": "a " * 40}, "longer"),
        ({"prompt": "a x", "target": "yes no"}, "2 tokens"),
        ({"prompt": "a x", "label_id": 99}, "no token has the id 99"),
        ({"prompt": "a x", "target": "zebra"}, "not one token"),
        ({"prompt": "a x", "target": "yes - yes"}, "less itself"),
        ({"prompt": "a x", "nodes": ["up.0:0/2"]}, "of a selected graph"),
        ({"prompt": "a x", "kind": "selected"}, "needs --nodes"),
        ({"prompt": "a x", "kind": "selected", "nodes": ["up.0:3/2"]}, "not alive"),
        ({"prompt": "a x", "model": "bundled:copy"}, "another model"),
        ({"prompt": "a x", "from_": "x.json"}, "not both"),
        ({"prompt": "a x", "group": "mdl"}, "go together"),
        ({"prompt": "a x", "clusters": "nowhere"}, "go together"),
        ({"prompt": "a x", "supernode": ["up.0:0/2,down.0:0/2"]}, "a name and two nodes"),
        ({"prompt": "a x", "supernode": ["one=up.0:0/2"]}, "a name and two nodes"),
        ({"prompt": "a x", "supernode": ["one=up.0:0/2,up.0:3/2"]}, "not alive"),
        ({"prompt": "a x", "supernode": ["one=up.0:0/2,down.0:0/2", "two=up.0:0/2,up.1:0/2"]}, "given twice"),
    ],
)
def test_bad_input_is_named(place, config, says):
    with pytest.raises((UserError, Refusal), match=says) as error:
        go("graph.prompt", decomposition=PLANTED, **config)
    assert error.value.exit_code == 3


def test_a_set_that_no_selection_can_hold_is_refused(place):
    outcome = go("graph.optimise", decomposition="decomposition:copy", tokens="5,11,10,11,4,8,7,11,9", steps=1)
    assert outcome.result.code == "natural_set_fails"
    assert outcome.exit_code == ExitCode.NOT_MEASURED


@pytest.fixture(scope="module")
def said(place):
    """Groups and labels of the planted circuit; by description length alone, since so small a text gives no other."""
    texts = ["a x", "b x", "a x b", "x a b", "b a x", "a b x", "x x", "a a x", "x b", "b b a x"] * 6
    Path("texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    go("decompose.harvest", decomposition=PLANTED, data=["texts.jsonl"], examples=20, record_tokens=400, out="counted")
    return go("decompose.cluster", harvest="counted", seeds=1, level=1.0, out="clusters").result


def test_supernodes_of_activity_and_by_hand_stand_beside_what_chance_gives(said):
    go("decompose.label", harvest="counted", limit=12, out="labels")
    how = {"group": "mdl", "clusters": "clusters", "labels": "labels", "supernode": ["mine=up.0:0/2,down.0:0/2"]}
    outcome = go("graph.prompt", decomposition=PLANTED, prompt="a x", node_share=1, edge_share=1, **how)
    mine, *others = outcome.result.facts.supernodes
    nodes = {n["node_id"]: n for n in document(outcome)["nodes"]}
    address = {name: node["radiograph"]["address"] for name, node in nodes.items()}
    assert (mine.name, mine.how, {address[m] for m in mine.members}) == ("mine", "hand", {"up.0:0/2", "down.0:0/2"})
    assert others and all(group.how == "mdl" for group in others)
    cluster_of = {member: group.name for group in said.groups for member in group.members}
    for group in others:
        places = [address[member].split("/") for member in group.members]
        assert len({cluster_of[component] for component, _ in places}) == len({position for _, position in places}) == 1
    assert not set(mine.members) & {member for group in others for member in group.members}
    assert all(group.p >= 1 / 21 and group.chance is not None for group in (mine, *others))
    labelled = [n for n in nodes.values() if n["radiograph"]["kind"] == "component" and n["clerp"]]
    assert labelled and any(labelled[0]["clerp"] in group.name for group in others)
    assert verify(outcome.path).status == "intact"
    alike = go("graph.prompt", decomposition=PLANTED, prompt="a x", group="profile", node_share=1, edge_share=1)
    assert any(group.how == "profile" and group.cosine > 0.5 for group in alike.result.facts.supernodes)
    across = go("graph.prompt", decomposition=PLANTED, prompt="a x", group="mdl", clusters="clusters", across=True)
    assert len(across.result.facts.supernodes[0].members) > 2


def test_groups_are_recomputed_and_those_of_another_decomposition_refused(said):
    how = {"group": "mdl", "clusters": "clusters"}
    outcome = go("graph.prompt", decomposition=PLANTED, prompt="a x", **how, out="grouped")
    graph = document(outcome)
    graph["radiograph"]["supernodes"][0]["cosine"] += 0.25
    (outcome.path / "graph.json").write_text(json.dumps(graph))
    result = json.loads((outcome.path / "result.json").read_bytes())
    assert any("mean cosine" in problem for problem in recompute(result, outcome.path))
    with pytest.raises(Refusal, match="another decomposition") as error:
        go("graph.prompt", decomposition="decomposition:copy", tokens="5,11,10", **how)
    assert error.value.exit_code == 3


def test_nodes_of_a_supernode_that_pruning_dropped_are_counted(place):
    alive = pl.read_parquet(go("graph.prompt", decomposition=PLANTED, prompt="a x").path / "tables/nodes.parquet")
    dropped = alive.filter((pl.col("kind") == "component") & ~pl.col("kept"))["node"][0]
    outcome = go("graph.prompt", decomposition=PLANTED, prompt="a x", supernode=[f"one={dropped},down.1:0/2"])
    assert outcome.result.notes == ("one: 1 of 2 nodes are not shown after pruning",)
    assert outcome.result.facts.supernodes == ()
