"""A graph says which kind of evidence each edge is, and has no causal edge without the rows it rests on."""

from __future__ import annotations

import json
import re
import shutil
from xml.etree import ElementTree

import numpy as np
import pytest
from pydantic import ValidationError

from radiograph.core import UserError
from radiograph.evidence.graph import Graph, GraphEdge, GraphNode, GraphRun, InterventionRows
from radiograph.methods._publish.scan import scan
from radiograph.methods.graph.report import recompute
from radiograph.reports import graphml, mermaid
from radiograph.runtime import verify
from radiograph.store.interventions import read_interventions
from running import go

ROWS = InterventionRows.of("t", "0" * 64, [3, 4, 5, 9])
GRAPHML = "{http://graphml.graphdrawing.org/xmlns}"


def edge(name="affects", kind="causal", **more):
    fields = {"source": "feature:f", "target": "outcome:o", "edge": name, "kind": kind, "run": "r", "rows": ROWS}
    return GraphEdge(**{**fields, **more})


def graph(*edges, nodes=None):
    made = nodes or [
        GraphNode(id="feature:f", kind="feature", label="f"),
        GraphNode(id="outcome:o", kind="outcome", label="o"),
    ]
    return Graph(runs=(GraphRun(name="r", verb="inspect", seal="0"),), nodes=tuple(made), edges=edges)


def test_z_an_edge_affects_lists_its_rows_or_cannot_be_made():
    assert ROWS.ranges == ((3, 5), (9, 9)) and ROWS.count == 4
    assert graph(edge()).headline == "1 features: 1 affects"
    for fields, text in (
        ({"rows": None}, "lists the intervention rows"),
        ({"kind": "correlational"}, "is not correlational evidence"),
        ({"name": "associates", "kind": "correlational"}, "rests on no intervention rows"),
    ):
        with pytest.raises(ValidationError, match=text):
            edge(**fields)
    with pytest.raises(ValidationError):
        InterventionRows(table="t", sha256="0", count=0, ranges=())
    with pytest.raises(ValidationError, match="as many rows as are counted"):
        InterventionRows(table="t", sha256="0", count=4, ranges=((1, 2),))


def test_edges_end_at_nodes_and_come_from_runs():
    for fields, text in (
        ({"target": "outcome:p"}, "which is no node"),
        ({"run": "s"}, "no run of the graph"),
    ):
        with pytest.raises(ValidationError, match=text):
            graph(edge(**fields))
    nodes = [GraphNode(id="feature:f", kind="feature", label="f"), GraphNode(id="outcome:o", kind="site", label="o")]
    with pytest.raises(ValidationError, match="ends at an outcome or a feature"):
        graph(edge(), nodes=nodes)
    with pytest.raises(ValidationError, match="stands twice"):
        graph(nodes=[nodes[0], nodes[0]])


def test_other_languages_hold_every_edge_and_escape_what_they_read():
    ugly = '<b>"f" & #1; [x]\x1b\u202e`'
    nodes = [
        GraphNode(id="feature:f", kind="feature", label=ugly, attributes={"model": ugly, "n": 3, "mixed": 1}),
        GraphNode(id="outcome:o", kind="outcome", label="o", attributes={"mixed": "a"}),
    ]
    document = graph(edge(weight=0.25, statistic="effect", interval=(0.1, 0.4)), nodes=nodes).model_dump(mode="json")
    tree = ElementTree.fromstring(graphml(document))
    kinds = {key.get("id"): key.get("attr.type") for key in tree.iter(f"{GRAPHML}key")}
    assert (kinds["node-n"], kinds["node-mixed"], kinds["edge-weight"]) == ("long", "string", "double")
    (found,) = tree.iter(f"{GRAPHML}edge")
    said = {data.get("key"): data.text for data in found}
    assert (found.get("source"), said["edge-weight"], said["edge-kind"]) == ("feature:f", "0.25", "causal")
    assert json.loads(said["edge-rows"])["ranges"] == [[3, 5], [9, 9]]
    text = mermaid(document)
    assert "==>" in text and "affects 0.25" in text
    label = next(line for line in text.splitlines() if line.startswith("  n0"))
    assert re.fullmatch(r'  n0\["[^<>"&`\x1b\u202e\[\]]*"\]', label), label


def lines(model, table, labels):
    for r, row in enumerate(table):
        features = {f"{model}#{f}": float(v) for f, v in enumerate(row) if v}
        text = " ".join("".join(np.random.default_rng(9 * r + k).choice(list("abcdefgh"), 5)) for k in range(6))
        yield {"model": model, "prompt_id": f"p{r}", "text": text, "criterion_score": float(labels[r])} | {
            "features": features
        }


def effects(feature, slope, rng):
    for p in range(24):
        for dose in (-1.0, 1.0):
            for control in (None, *range(19)):
                change = rng.normal(0, 0.01) + (0 if control is not None else slope * dose)
                yield {
                    "schema": "radiograph.intervention/1",
                    "model": "A",
                    "verb": "steer",
                    "push": int(dose),
                    "feature_id": feature if control is None else f"random{control}",
                    "prompt_id": f"p{p}",
                    "dose": {"value": dose, "unit": "sd"},
                    "split": "discover" if p % 2 else "confirm",
                    "outcome": {"name": "logprob", "unit": "nat"},
                    "baseline": 0.0,
                    "intervened": change,
                    "control": None
                    if control is None
                    else {"type": "random_direction", "of": feature, "index": control},
                }


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with an inspection of A with interventions, one without, and a match of A with B."""
    folder, rng = tmp_path_factory.mktemp("graph"), np.random.default_rng(0)
    labels = np.arange(120) % 2
    left, right = (np.where(rng.random((120, 20)) < 0.3, rng.exponential(size=(120, 20)) + 0.1, 0) for _ in range(2))
    left[:, :3] = np.where(rng.random((120, 3)) < np.where(labels, 0.95, 0.03)[:, None], left[:, :3] + 1, 0)
    right[:, 10:13] = left[:, :3]

    def write(name, rows):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    write("A.jsonl", lines("A", left, labels))
    write("B.jsonl", lines("B", right, labels))
    write("effects.jsonl", [*effects("A#0", 0.3, rng), *effects("A#1", 0.0, rng)])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("RADIOGRAPH_BASE_DIR", raising=False)
        given = {
            "model": "A",
            "criterion": "mentions of units",
            "features": ["records:A.jsonl"],
            "bootstrap": 0,
            "permutations": 99,
            "surface": "off",
            "cards": 3,
        }
        go("inspect", out="plain", **given)
        go("inspect", out="moved", interventions="effects.jsonl", **given)
        go("match", out="matched", left="A.jsonl", right="B.jsonl")
        go("graph.report", out="graph", run=["moved", "matched"])
    return folder


@pytest.fixture
def here(runs, monkeypatch):
    monkeypatch.chdir(runs)
    monkeypatch.delenv("RADIOGRAPH_BASE_DIR", raising=False)
    return runs


def read(folder):
    return Graph.read(json.loads((folder / "result.json").read_text()))


def test_z_one_graph_of_an_inspection_and_a_match(here):
    found = read(here / "graph")
    assert {(e.source, e.target) for e in found.edges if e.edge == "corresponds"} >= {
        (f"feature:A:A#{i}", f"feature:B:B#{10 + i}") for i in range(3)
    }
    assert {e.source for e in found.edges if e.edge == "associates"} == {f"feature:A:A#{i}" for i in range(3)}
    (cause,) = [e for e in found.edges if e.edge == "affects"]
    assert (cause.source, cause.target, cause.kind) == ("feature:A:A#0", "outcome:A:logprob", "causal")
    rows = read_interventions(here / "effects.jsonl").table
    listed = [row for first, last in cause.rows.ranges for row in range(first, last + 1)]
    own = rows.filter(rows["row"].is_in(listed))
    assert cause.rows.count == len(own) == 48
    assert set(own["feature_id"]) == {"A#0"} and own["control"].is_null().all()
    assert found.left_out["causal grade below effect"] == 1
    assert verify(here / "graph").status == "intact"


def test_other_weights_under_one_name_are_another_model():
    from radiograph.methods.graph import _draft

    draft = _draft.Draft({"correlational": "confirmed", "causal": "effect"}, 0.9)
    assert [draft.model("m", one) for one in ("a" * 64, None, "b" * 64, "a" * 64)] == ["m", "m", "m (bbbbbbbb)", "m"]
    sides = [
        {"ref": f"{n}.jsonl", "model": "m", "model_sha256": n * 64, "sha256": n * 64, "features": 1, "absent": "zero",
         "compared": 1} for n in "ab"
    ]  # fmt: skip
    pair = {"left": "f", "right": "f", "score": 0.9, "mutual": True}
    found = {
        "kind": "structural", "left": sides[0], "right": sides[1], "similarity": "decoder", "level": 0.05, "found": 1,
        "matches": [pair], "left_only": 0, "right_only": 0, "shown": 1, "schema": "radiograph.matches/1",
    }  # fmt: skip
    run = GraphRun(name="r", verb="match", seal="0")
    _draft.matches(draft, _draft.Opened(None, run, found, None))
    (edge,) = [edge for edge in draft.edges if edge.edge == "corresponds"]
    assert (edge.source, edge.target) == ("feature:m:f", "feature:m (bbbbbbbb):f")


def test_z_words_explain_the_features_that_other_runs_name():
    from radiograph.evidence.explanations import (
        ExplainFeatures,
        ExplainScore,
        FeatureExplanation,
        FeatureScore,
        JudgeRecord,
    )
    from radiograph.methods.graph import _draft

    said = [
        FeatureExplanation(feature=n, feature_id=f"A#{n}", text=text) for n, text in enumerate(("units", None, "x"))
    ]
    words = ExplainFeatures(
        explainer="heuristic", author="rules", source="records:A", site=None, dictionary_sha256=None,
        decoder_sha256=None, model="A", above=0.25, features=3, asked=3, explained=2, failed=0, groups={}, tokens={},
        explanations=tuple(said),
    )  # fmt: skip
    scored = [
        FeatureScore(feature=0, feature_id="A#0", scorer=name, value=value, low=0.7, high=0.9, n=40, chance=0.5)
        for name, value in (("rule", 0.6), ("fuzzing", None), ("detection", 0.8))
    ]
    scores = ExplainScore(
        run="runs/words", explainer="heuristic", author="rules", judge=JudgeRecord(name="none", seeds=(0,)), groups=4,
        tokens=9, explained=2, scored=1, summaries=(), scores=tuple(scored),
    )  # fmt: skip

    def drawn(*results, known=()):
        draft = _draft.Draft({"correlational": "confirmed", "causal": "effect"}, 0.9)
        for name in known:
            draft.feature(GraphRun(name="r", verb="inspect", seal="0"), "A", name)
        for result in results:
            run = GraphRun(name="words" if result is words else "scores", verb="explain", seal="0")
            schema = result.SCHEMA.rpartition("/")[0]
            _draft.READERS[schema](draft, _draft.Opened(None, run, result.model_dump(mode="json"), None))
        _draft.explained(draft)
        return [e for e in draft.edges if e.edge == "explains"], draft.left_out

    (one, two), _ = drawn(scores, words)
    assert (one.target, one.weight, one.statistic, one.interval) == ("feature:A:A#0", 0.8, "detection", (0.7, 0.9))
    assert (two.target, two.weight) == ("feature:A:A#2", None), "words without a score"
    (only,), left = drawn(words, known=["A#0"])
    assert only.target == "feature:A:A#0" and sum(left.values()) == 1


def test_files_of_other_languages_are_those_of_the_result(here, tmp_path):
    document = json.loads((here / "graph" / "result.json").read_text())
    assert recompute(document, here / "graph") == []
    for name in ("graph.graphml", "graph.mmd"):
        (tmp_path / name).write_text("else")
    assert len(recompute(document, tmp_path)) == 2
    document["edges"][-1]["rows"] = None
    for one in document["edges"]:
        one["rows"] = None
    with pytest.raises(Exception, match="does not follow"):
        recompute(document, here / "graph")


def test_y3_16_one_byte_anywhere_shows_and_no_file_names_a_place(here, tmp_path):
    assert scan(here / "graph") == scan(here / "matched") == []
    names = [p.relative_to(here / "graph") for p in sorted((here / "graph").rglob("*")) if p.is_file()]
    for number, name in enumerate(names):
        shutil.copytree(here / "graph", tmp_path / str(number))
        path = tmp_path / str(number) / name
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        found = verify(path.parents[len(name.parts) - 1])
        assert (found.status, found.exit_code) == ("changed", 2), name


def test_y3_3_without_interventions_no_word_is_causal(here):
    outcome = go("graph.report", run=["plain"])
    words = re.compile(r"\baffects\b|promotes|suppresses|causal|moved")
    for name in ("result.json", "report.html", "report.md", "graph.graphml", "graph.mmd"):
        assert not words.search((outcome.path / name).read_text()), name
    assert {e.kind for e in outcome.result.edges} == {"correlational", "structural"}


def test_an_inspection_is_matched_by_the_records_it_was_given(here):
    found = go("match", left="plain", right="B.jsonl").result
    assert {(m.left, m.right) for m in found.matches} >= {(f"A#{i}", f"B#{10 + i}") for i in range(3)}


def test_options_choose_edges(here):
    few = go("graph.report", run=["moved", "matched"], edges=["affects"], min_grade=["beyond_controls"]).result
    assert {e.edge for e in few.edges} <= {"affects"}
    assert {n.kind for n in few.nodes} <= {"feature", "outcome"}
    with pytest.raises(UserError, match="no such grade: 'confrmed'") as error:
        go("graph.report", run=["plain"], min_grade=["confrmed"])
    assert "confirmed" in error.value.fix


def test_x9_what_is_no_finished_run_of_features_is_refused(here, tmp_path):
    with pytest.raises(UserError, match="shows nothing of features"):
        go("graph.report", run=["graph"])
    copy = tmp_path / "copy"
    shutil.copytree(here / "plain", copy)
    (copy / "result.json").write_text((copy / "result.json").read_text().replace("confirmed", "robust", 1))
    with pytest.raises(UserError, match="copy is changed"):
        go("graph.report", run=[str(copy)])
    shutil.copytree(here / "plain", tmp_path / "half.partial")
    with pytest.raises(UserError, match=r"half\.partial is incomplete"):
        go("graph.report", run=[str(tmp_path / "half.partial")])
