"""What is said of a circuit is earned: the label is attacked, empty questions and altered graphs are refused."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import polars as pl
import pytest
import torch

from radiograph.core import ExitCode, FormatError, RadiographError, UserError
from radiograph.decompose import load
from radiograph.decompose.circuits import Prompt, context_of, holds, measure, repair, worst
from radiograph.evidence.graphs import read_graph
from radiograph.models import load as load_model
from radiograph.models.masked import of_model
from radiograph.organisms import bundled_decomposition, bundled_path
from radiograph.runtime import verify
from running import go

PLANTED = "decomposition:planted-circuit"
COPY = "decomposition:copy"
IDS = "13,10,4,6,11,6,7,3,9"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("claims"))
        yield


@pytest.fixture(scope="module")
def found(place):
    return go("graph.optimise", decomposition=PLANTED, prompt="a x", target="yes", steps=40, lr=0.1, out="found")


@pytest.fixture(scope="module")
def case():
    model = of_model(load_model(str(bundled_path("copy"))))
    return Prompt.of(model, load(bundled_decomposition("copy")), [int(n) for n in IDS.split(",")])


def most_important(case, share):
    count = int(share * int(case.alive.sum()))
    flat = torch.zeros(case.alive.numel(), dtype=torch.bool)
    flat[case.importance.flatten().topk(count).indices] = True
    return flat.view_as(case.alive) & case.alive


def test_masks_that_raise_the_mean_loss_are_not_those_that_lose_the_label(case):
    """What this test is for exists: a selection that the loss's adversary leaves alone and the label's breaks."""
    context = context_of(case, "mean_kl")
    regime = worst(case, most_important(case, 0.8), context, seed=0)
    assert regime.measured.p > 0.9
    assert regime.label.p < 0.1
    again = context.probability(case.run(regime.label.masks[None], None))
    assert float(again.detach()) == pytest.approx(regime.label.p, abs=1e-6)


def test_repair_of_a_mean_loss_goes_on_until_the_label_holds(case):
    context = context_of(case, "mean_kl")
    done = repair(case, most_important(case, 0.7), context, seed=0, keep=0.9)
    assert done.holds
    attacked = worst(case, done.selected, context_of(case, "ce"), seed=0)
    assert attacked.measured.p >= 0.9 * context.target_probability


def test_a_largest_loss_is_what_is_added_to_the_targets(case):
    context = context_of(case, "-logit")
    assert context.target_loss == pytest.approx(-float(case.logits[-1].max()))
    assert holds(context, 0.0, context.target_loss + 0.5, keep=1, max_loss=0.5)
    assert not holds(context, 1.0, context.target_loss + 0.6, keep=0.1, max_loss=0.5)


def test_the_grade_of_a_natural_graph_is_of_the_attacked_label(place):
    go("graph.prompt", decomposition=COPY, tokens=IDS, node_share=0.8, max_nodes=64, out="natural")
    outcome = go("graph.intervene", graph="natural", controls=0, draws=8, out="judged")
    result = outcome.result
    attacked = result.adversarial
    kept = attacked.lowest >= 0.9 * result.target_p
    assert attacked.lowest <= attacked.p and (result.grade == "suffices") <= kept
    assert verify(outcome.path).status == "intact"
    document = json.loads((outcome.path / "result.json").read_text())
    from radiograph.methods.graph import intervene

    document["grade"] = "suffices" if result.grade != "suffices" else "does not suffice"
    assert intervene.recompute(document, outcome.path)


@pytest.mark.parametrize("verb", ["optimise", "intervene"])
def test_a_label_that_needs_no_component_is_no_question(place, found, verb):
    if verb == "optimise":
        outcome = go("graph.optimise", decomposition=PLANTED, prompt="a x", target="no", steps=1)
    else:
        document = json.loads((found.path / "graph.json").read_text())
        document["radiograph"]["loss"]["token"] = 5
        Path("unlikely.json").write_text(json.dumps(document))
        outcome = go("graph.intervene", graph="unlikely.json", decomposition=PLANTED)
    assert outcome.result.code == "nothing_needed"
    assert outcome.exit_code == ExitCode.NOT_MEASURED


def test_a_prompt_on_which_nothing_is_alive_has_no_graph(place):
    outcome = go("graph.prompt", decomposition=PLANTED, prompt="zebra zebra")
    assert outcome.result.code == "nothing_alive"
    assert outcome.exit_code == ExitCode.NOT_MEASURED


def test_a_sparsity_that_is_given_twice_is_refused(place):
    with pytest.raises(UserError, match="given twice"):
        go("graph.optimise", decomposition=PLANTED, prompt="a x", sparsity="0.1,0.1")


def renamed(name):
    def change(document):
        old = next(n for n in document["nodes"] if n["radiograph"]["kind"] == "token")["node_id"]
        for node in document["nodes"]:
            node["node_id"] = name if node["node_id"] == old else node["node_id"]
        for link in document["links"]:
            link.update({end: name for end in ("source", "target") if link[end] == old})

    return change


def loss(**change):
    return lambda document: document["radiograph"]["loss"].update(change)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (renamed("E_x_0"), "does not say its prompt"),
        (renamed("Q"), "does not say its prompt"),
        (renamed("E_99999_0"), "no token has the id"),
        (renamed("E_3_0"), "shows other tokens"),
        (loss(token=10**6), "no token has the id"),
        (loss(token=-1), "no token has the id"),
        (loss(position=-1), "beyond the prompt"),
        (loss(position=99), "beyond the prompt"),
        (lambda d: d["metadata"].update(prompt_tokens=["q"] * len(d["metadata"]["prompt_tokens"])), "other tokens"),
        (lambda d: d["radiograph"].update(selection=["nonsense"]), "not the address"),
        (lambda d: d["radiograph"].update(selection=["up.0:3/2"]), "not alive"),
        (lambda d: d["radiograph"].update(decomposition_sha256="0" * 64), "another decomposition"),
    ],
)
def test_a_graph_that_was_written_by_hand_is_bad_input_and_no_crash(place, found, tmp_path, change, says):
    document = copy.deepcopy(json.loads((found.path / "graph.json").read_text()))
    change(document)
    (tmp_path / "graph.json").write_text(json.dumps(document))
    with pytest.raises(RadiographError, match=says) as error:
        go("graph.intervene", graph=str(tmp_path / "graph.json"), decomposition=PLANTED, out="nothing")
    assert int(error.value.exit_code) == 3


def test_an_empty_selection_is_the_empty_set_and_not_what_is_shown(place, found, tmp_path):
    document = json.loads((found.path / "graph.json").read_text())
    document["radiograph"]["selection"] = []
    (tmp_path / "graph.json").write_text(json.dumps(document))
    result = go("graph.intervene", graph=str(tmp_path / "graph.json"), decomposition=PLANTED, controls=0).result
    assert (result.selected, result.grade) == (0, "does not suffice")


def test_a_run_that_is_not_whole_or_was_changed_is_not_intervened_on(place, found):
    shutil.copytree(found.path, "cut.partial")
    with pytest.raises(UserError, match="unfinished"):
        go("graph.intervene", graph="cut.partial")
    shutil.copytree(found.path, "unsealed")
    (Path("unsealed") / "manifest.sha256").unlink()
    with pytest.raises(UserError, match="not sealed"):
        go("graph.intervene", graph="unsealed")
    shutil.copytree(found.path, "changed")
    path = Path("changed") / "graph.json"
    path.write_text(path.read_text() + " ")
    with pytest.raises(FormatError, match="not what the run wrote"):
        go("graph.intervene", graph="changed")


def test_what_is_taken_away_was_selected(place, found):
    nodes = pl.read_parquet(found.path / "tables" / "nodes.parquet")
    chosen = set(pl.read_parquet(found.path / "tables" / "selected.parquet")["node"].to_list())
    alive = go("graph.prompt", decomposition=PLANTED, prompt="a x", node_share=1, edge_share=1)
    other = next(
        n
        for n in pl.read_parquet(alive.path / "tables" / "nodes.parquet").filter(pl.col("alive"))["node"].to_list()
        if n not in chosen
    )
    assert len(nodes)
    with pytest.raises(UserError, match="not selected"):
        go("graph.intervene", graph="found", deselect=[other])


def test_with_a_loss_limit_the_regimes_are_judged_by_the_loss(case):
    context = context_of(case, "mean_kl")
    found = measure(case, case.alive, context, seed=0, draws=2)
    assert found.adversarial.label.p == pytest.approx(found.adversarial.measured.p)
    assert holds(context, 0.0, found.adversarial.measured.loss, keep=1, max_loss=found.adversarial.measured.loss)


def theirs():
    nodes = [
        {"node_id": "E_5_0", "feature": 0, "layer": "E", "ctx_idx": 0, "feature_type": "embedding"},
        {"node_id": "0_3_0", "feature": 9, "layer": "0", "ctx_idx": 0, "feature_type": "transcoder"},
        {"node_id": "27_9_0", "feature": 9, "layer": "27", "ctx_idx": 0, "feature_type": "logit", "token_prob": 1.0},
    ]
    return {
        "metadata": {"slug": "s", "scan": "x", "prompt": "a", "prompt_tokens": ["a"]},
        "qParams": {},
        "nodes": [node | {"jsNodeId": "x", "clerp": ""} for node in nodes],
        "links": [{"source": "E_5_0", "target": "0_3_0", "weight": 1.0}],
    }


def colliding(document):
    """Renamed as newer files name them, an error node gets the id that another has."""
    error = {"layer": "9", "feature_type": "mlp reconstruction error", "feature": 1, "ctx_idx": 0}
    feature = {"layer": "0", "feature_type": "transcoder", "feature": 45, "ctx_idx": 0}
    document["nodes"] += [
        one | {"jsNodeId": "x", "clerp": "", "node_id": name}
        for one, name in ((feature, "0_9_0"), (error, "0_9_0"), (error, "9_-1_0"))
    ]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d["nodes"][2].update(token_prob="x"), "/nodes/2/token_prob"),
        (lambda d: d["nodes"][2].update(token_prob=-5), "no probability"),
        (lambda d: d["nodes"][2].update(token_prob=float("nan")), "no probability"),
        (lambda d: d["nodes"][2].update(is_target_logit=3), "/nodes/2/is_target_logit"),
        (lambda d: d["nodes"][1].update(activation=10**400), "/nodes/1/activation"),
        (lambda d: d["links"][0].update(weight=10**400), "/links/0/weight"),
        (colliding, "two nodes have one id"),
    ],
)
def test_a_file_of_others_that_is_none_is_named_and_no_crash(change, says):
    document = theirs()
    assert read_graph(document, "g.json").radiograph.kind == "imported"
    change(document)
    with pytest.raises(FormatError) as error:
        read_graph(document, "g.json")
    assert says in str(error.value)
