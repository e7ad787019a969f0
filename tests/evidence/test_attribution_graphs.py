"""Graphs that others wrote: read, or refused with every mistake named; ours follow the public schema."""

import copy

import jsonschema
import pytest

from radiograph.core import FormatError
from radiograph.evidence import NewerSchema
from radiograph.evidence.graphs import ATTRIBUTION_GRAPH, AttributionGraph, cantor, read_graph


def node(node_id, kind="cross layer transcoder", **more):
    layer, index, position = node_id.split("_")
    feature = cantor(int(layer), int(index)) if kind.startswith("cross") else 0
    return {
        "node_id": node_id,
        "feature": feature,
        "layer": layer,
        "ctx_idx": int(position),
        "feature_type": kind,
        "jsNodeId": f"{layer}_{index}-0",
        "clerp": "",
        **more,
    }


def circuit_tracer(version=1, errors="new"):
    """A file as circuit-tracer writes it: `errors` new ids LAYER_-1_POS, old ones 0_LAYER_POS."""
    error = "1_-1_0" if errors == "new" else "0_1_0"
    meta = {"slug": "s", "scan": "gemma-2-2b", "transcoder_list": [], "prompt": "a b", "prompt_tokens": ["a", " b"]}
    meta |= {"node_threshold": 0.8} | ({} if version is None else {"schema_version": version})
    return {
        "metadata": meta,
        "qParams": {"pinnedIds": [], "supernodes": [], "linkType": "both", "clickedId": "", "sg_pos": ""},
        "nodes": [
            node("E_5_0", "embedding", influence=0.9),
            node("0_7_0", influence=0.5, activation=2.0, run_idx=0, reverse_ctx_idx=0),
            node("1_3_1", influence=0.7),
            node(error, "mlp reconstruction error") | {"layer": "1", "feature": -1},
            node("27_9_1", "logit", token_prob=0.6, is_target_logit=True),
        ],
        "links": [
            {"source": "E_5_0", "target": "0_7_0", "weight": 1.5},
            {"source": "0_7_0", "target": "1_3_1", "weight": -0.5},
            {"source": error, "target": "1_3_1", "weight": 0.25},
            {"source": "1_3_1", "target": "27_9_1", "weight": 2.0},
        ],
    }


@pytest.mark.parametrize("given", [circuit_tracer(1), circuit_tracer(None), circuit_tracer(1, "old")])
def test_d10_8_foreign_files_are_read(given):
    graph = read_graph(given, "theirs.json")
    assert graph.radiograph.kind == "imported"
    assert graph.radiograph.shown == 2
    assert graph.radiograph.notes == ()
    assert [n.is_error for n in graph.nodes] == [False, False, False, True, False]
    document = graph.model_dump(mode="json")
    jsonschema.validate(document, ATTRIBUTION_GRAPH)
    assert read_graph(document, "ours.json") == graph


def test_numbers_of_older_presets_are_known_and_other_ones_named():
    given = circuit_tracer(None)
    given["nodes"][1]["feature"], given["nodes"][2]["feature"] = 7, 1_00003
    assert read_graph(given, "x").radiograph.notes == ()
    given["nodes"][2]["feature"] = 99
    assert "1_3_1" in read_graph(given, "x").radiograph.notes[0]
    given = circuit_tracer(1)
    given["nodes"][2]["feature"] = 1_00003
    assert "1 features have a number that does not follow from their id" in read_graph(given, "x").radiograph.notes[0]


def test_an_error_node_with_the_id_of_a_feature_is_told_apart_unless_a_link_names_it():
    given = circuit_tracer(1)
    given["nodes"].append(node("0_7_0", "mlp reconstruction error") | {"layer": "7", "feature": -1})
    with pytest.raises(FormatError, match="at once") as error:
        read_graph(given, "x")
    assert "0_7_0" in str(error.value)
    assert error.value.code == "ambiguous_id"
    given["links"] = [link for link in given["links"] if "0_7_0" not in link.values()]
    assert [n.node_id for n in read_graph(given, "x").nodes][-1] == "7_-1_0"


def broken(change):
    given = copy.deepcopy(circuit_tracer())
    change(given)
    return given


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        (lambda g: g.pop("links"), "/links: missing"),
        (lambda g: g["metadata"].pop("prompt"), "/metadata/prompt: missing"),
        (lambda g: g["nodes"][1].pop("layer"), "/nodes/1/layer: missing"),
        (lambda g: g["nodes"][1].update(feature="x"), "/nodes/1/feature: str, not integer or null"),
        (lambda g: g["nodes"][1].update(ctx_idx=True), "/nodes/1/ctx_idx: bool, not integer"),
        (lambda g: g["links"][0].update(target="9_9_9"), "/links/0/target: no node '9_9_9'"),
        (lambda g: g["links"][0].update(weight=float("nan")), "/links/0/weight: not finite"),
        (lambda g: g["nodes"].append(g["nodes"][1]), "/nodes/5/node_id: '0_7_0' is also /nodes/1"),
    ],
)
def test_a_mistake_is_named_by_its_place(change, pointer):
    with pytest.raises(FormatError) as error:
        read_graph(broken(change), "theirs.json")
    assert pointer in str(error.value)


def test_the_first_five_mistakes_are_named_and_the_others_counted():
    given = circuit_tracer()
    given["links"] = [{"source": f"x{n}\x1b[31m", "target": "1_3_1", "weight": 1.0} for n in range(9)]
    with pytest.raises(FormatError) as error:
        read_graph(given, "x")
    text = str(error.value)
    assert text.count("/links/") == 5
    assert "and 4 more" in text
    assert "\x1b" not in text


@pytest.mark.parametrize("given", [[], 3, None, "x"])
def test_what_is_no_object_is_no_graph(given):
    with pytest.raises(FormatError, match="not an attribution graph"):
        read_graph(given, "x")


def test_a_later_version_of_ours_is_refused():
    ours = read_graph(circuit_tracer(), "x").model_dump(mode="json") | {"schema": "radiograph.attribution-graph/2"}
    with pytest.raises(NewerSchema):
        read_graph(ours, "x")
    assert AttributionGraph.SCHEMA.endswith("/1")
