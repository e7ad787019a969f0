"""A graph over features of a dictionary, as other programs write them, under the regimes."""

import json

import pytest
import torch

from radiograph import dictionaries
from radiograph.core import Refusal, Site, UserError
from radiograph.core.codec import Codes
from radiograph.decompose.circuits import Coded
from radiograph.evidence.graphs import cantor
from radiograph.models import edit, load, prompt_ids, token_text
from radiograph.models.masked import of_model
from radiograph.organisms import bundled_path
from radiograph.runtime import verify
from running import go

PROMPT = "Lily saw a red"
GIVEN = {"model": "bundled:base", "dictionary": ["resid_post.1=dictionary:bundled"]}
SHORT = {"draws": 4, "controls": 3}


@pytest.fixture(scope="module")
def model():
    return load(str(bundled_path("base")))


@pytest.fixture(scope="module")
def dictionary():
    return dictionaries.load(bundled_path("dictionary"))


@pytest.fixture(scope="module")
def coded(model, dictionary):
    return Coded.of(of_model(model), {1: dictionary}, prompt_ids(model.tokenizer, PROMPT))


@pytest.fixture(scope="module")
def graph(tmp_path_factory, model, coded):
    """Every feature that is alive, one error, the likeliest token."""
    place = tmp_path_factory.mktemp("theirs") / "graph.json"
    ids, label = coded.ids.tolist(), int(coded.logits[-1].argmax())
    last = len(ids) - 1
    nodes = [node(f"E_{t}_{p}", "embedding", "E", p, feature=t) for p, t in enumerate(ids)]
    for name in coded.nodes(coded.alive):
        layer, feature, position = map(int, name.split("_"))
        nodes.append(node(name, "cross layer transcoder", str(layer), position, feature=cantor(layer, feature)))
    nodes.append(node(f"0_1_{last}", "mlp reconstruction error", "1", last, feature=-1))
    nodes.append(node(f"5_{label}_{last}", "logit", "5", last, feature=label) | {"token_prob": 0.9})
    names = [one["node_id"] for one in nodes]
    links = [{"source": name, "target": names[-1], "weight": 1.0} for name in names[:-1]]
    prompt_tokens = [token_text(model.tokenizer, one) for one in ids]
    metadata = {"slug": "s", "scan": "gemma-2-2b", "prompt": PROMPT, "prompt_tokens": prompt_tokens}
    place.write_text(json.dumps({"metadata": metadata, "qParams": {}, "nodes": nodes, "links": links}))
    return place


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def node(name, kind, layer, position, *, feature):
    given = {"node_id": name, "feature": feature, "layer": layer, "ctx_idx": position, "feature_type": kind}
    return given | {"jsNodeId": name, "clerp": ""}


def spliced(model, dictionary, coded, kept):
    """Logits where the site holds what the kept codes stand for: a second way, on the unmasked codes."""
    dense = torch.where(kept, coded.activations, 0.0)
    rows, features = dense.nonzero(as_tuple=True)
    offsets = torch.cat([torch.zeros(1, dtype=torch.long), (dense != 0).sum(1).cumsum(0)])
    out = dictionary.decode(Codes(features, dense[rows, features], offsets, dictionary.size))
    with torch.no_grad(), edit(model, {Site.parse("resid_post.1"): lambda values: out.expand_as(values)}):
        return of_model(model).run(coded.ids[None])[0]


def test_d10_8_regimes_of_a_foreign_graph_are_those_of_its_dictionary(graph, model, dictionary, coded):
    result = go("graph.intervene", graph=str(graph), **GIVEN, **SHORT, ablate="empty").result
    label = result.importance.label
    assert result.graph_kind == "imported"
    assert result.selected == result.alive == int((coded.activations != 0).sum())
    assert (label.token, label.position) == (int(coded.logits[-1].argmax()), len(coded.ids) - 1)
    own = spliced(model, dictionary, coded, coded.alive)
    assert result.importance.p == pytest.approx(float(own[-1].softmax(-1)[label.token]), abs=1e-5)
    assert result.adversarial.no_freedom
    assert result.ablated.p == result.target_p, "an empty list leaves the model as it is, bit for bit"


def test_d10_8_what_is_taken_out_is_attacked_and_the_error_plays_delta(graph, model, dictionary, coded):
    alive = coded.nodes(coded.alive)
    out = [name for name in alive if int(name.split("_")[2]) == len(coded.ids) - 1][:8]
    outcome = go("graph.intervene", graph=str(graph), **GIVEN, **SHORT, deselect=out, ablate="rest", max_loss=5.0)
    result = outcome.result
    kept = coded.alive & ~coded.chosen(out, where="here")
    label = result.importance.label
    own = spliced(model, dictionary, coded, kept)
    assert result.importance.p == pytest.approx(float(own[-1].softmax(-1)[label.token]), abs=1e-5)
    assert result.adversarial.freedom == len(out)
    assert result.adversarial.loss >= result.adversarial.best_random >= result.adversarial.mean_random
    assert result.ablated.nodes == len(out)
    assert result.ablated.p != result.target_p
    with torch.no_grad():
        whole = coded.run(torch.ones(1, *coded.alive.shape), 1.0)[0]
        off = coded.run(torch.ones(1, *coded.alive.shape), None)[0]
        half = coded.run(torch.ones(1, *coded.alive.shape), torch.full((1, coded.length, 1), 1.0))[0]
    assert torch.equal(whole, coded.logits)
    assert not torch.allclose(off, coded.logits, atol=1e-2)
    torch.testing.assert_close(half, coded.logits, atol=1e-4, rtol=1e-4)
    assert verify(outcome.path).status == "intact"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"model": None}, "whose features these are"),
        ({"dictionary": ["dictionary:bundled"]}, "no dictionary of a site"),
        ({"dictionary": ["resid_post.1=dictionary:bundled"] * 2}, "two dictionaries of layer 1"),
        ({"dictionary": ["resid_post.2=dictionary:bundled"]}, "no dictionary of resid_post.2"),
        ({"dictionary": ["embed=dictionary:bundled"]}, "of no layer"),
        ({"model": "bundled:copy"}, "no dictionary of resid_post.1"),
        ({"select": ["1_0_99"]}, "in no dictionary here"),
        ({"select": ["2_0_1"]}, "in no dictionary here"),
        ({"select": ["down.2:17/5"]}, "no feature of a graph"),
        ({"decomposition": "decomposition:bundled"}, "of no decomposition"),
    ],
)
def test_what_does_not_belong_to_a_foreign_graph_is_named(graph, more, says):
    with pytest.raises((UserError, Refusal), match=says) as error:
        go("graph.intervene", graph=str(graph), **(GIVEN | SHORT | more))
    assert error.value.exit_code == 3


def test_a_feature_that_is_silent_here_and_a_layer_without_dictionary_are_named(graph, coded, tmp_path):
    silent = coded.nodes(~coded.alive)[0]
    with pytest.raises(UserError, match="not alive") as error:
        go("graph.intervene", graph=str(graph), **GIVEN, **SHORT, select=[silent])
    assert silent in str(error.value)
    document = json.loads(graph.read_text())
    document["nodes"].append(node("2_3_1", "cross layer transcoder", "2", 1, feature=cantor(2, 3)))
    (tmp_path / "two.json").write_text(json.dumps(document))
    outcome = go("graph.intervene", graph="two.json", **GIVEN, **SHORT)
    assert outcome.result.code == "dictionary_missing"
    assert "layers 2" in outcome.result.expected
    assert outcome.exit_code == 4


def test_a_dictionary_is_no_part_of_a_graph_of_components(tmp_path):
    traced = go("graph.prompt", decomposition="decomposition:planted-circuit", prompt="a x", max_nodes=2)
    with pytest.raises(UserError, match="of a decomposition"):
        go("graph.intervene", graph=str(traced.path), dictionary=["resid_post.1=dictionary:bundled"])
