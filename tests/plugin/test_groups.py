"""What somebody's package registers is used by the verbs: sources, criteria, explainers, scorers, verbalizers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chatting import chatting
from explanations.make import HEADER, judge, material
from moved import write_prompts
from plugin.joining import PACKAGE, installed
from radiograph.core import UserError
from radiograph.explanations import scorer_module, write_material
from radiograph.methods.explain import score
from radiograph.runtime import verify
from radiograph.surfaces.cli._main import run

SOURCE = """
    from radiograph.sources import Reference, open_source

    def open(reference, parts):
        return open_source(f"units:mlp_hidden.{reference.where}#1-4", parts)
"""
ROUTE = """
    from radiograph.criteria import Drawn, Row

    def lacks(parts):
        return None if parts.text.startswith("long:") else "--criterion long:N"

    def draw(parts, seed):
        least = int(parts.text.removeprefix("long:"))
        texts = [" ".join(["the", "road", "is", "5"][: 1 + n % 4] + [str(n)]) for n in range(80)]
        kinds = ["positive" if len(text.split()) > least else "negative" for text in texts]
        return Drawn([Row(f"p{n}", t, k, f"g{n}", route="long") for n, (t, k) in enumerate(zip(texts, kinds))])
"""
EXPLAINER = """
    from radiograph.evidence.explanations import FeatureExplanation
    from radiograph.explanations import Explained, explainer

    def lacks(study):
        return None

    def explain(study):
        said = explainer("heuristic").explain(study)
        return Explained("shouting-1", tuple(
            e if e.text is None else e.model_copy(update={"text": e.text + "!"}) for e in said.explanations
        ))
"""
SCORER = """
    import json
    from functools import partial

    from radiograph.explanations.judging import Question, labels_read
    from radiograph.store.chat import Ask

    UNIT = "balanced accuracy"

    def questions(judged, feature, seed, explanation):
        out = []
        for n, context in enumerate(judged.drawn(feature, seed)):
            text = json.dumps({"n": 1, "text": context.text})
            said = f"explanation:\\n{json.dumps(explanation)}\\n{text}"
            ask = Ask(({"role": "user", "content": said},), "one-1", partial(labels_read, n=1))
            out.append(Question("whatever", ask, (f"w{context.window}",), (context.window,), (float(context.fires),)))
        return out
"""
VERBALIZER = """
    class Says:
        name, scale = "longest", "raw"

        def __init__(self, voice):
            self.site, self.model_sha256 = voice.site, voice.model.identity.tensors_sha256

        def verbalize(self, vectors, seed):
            return [f"points along {int(row.abs().argmax())}" for row in vectors]

    def lacks(given):
        return None

    def make(given):
        return Says(given), None
"""
POINTS = {
    "radiograph.sources half": "their_source",
    "radiograph.criteria long": "their_route",
    "radiograph.explainers loud": "their_explainer",
    "radiograph.scorers single": "their_scorer",
    "radiograph.verbalizers longest": "their_verbalizer",
}
MODULES = {
    "their_source": SOURCE,
    "their_route": ROUTE,
    "their_explainer": EXPLAINER,
    "their_scorer": SCORER,
    "their_verbalizer": VERBALIZER,
}
QUICK = ["--permutations", "0", "--bootstrap", "0", "--cards", "1", "--quiet"]


@pytest.fixture
def joined(workspace, tmp_path_factory):
    with installed(tmp_path_factory.mktemp("site"), POINTS, MODULES):
        yield workspace


def result(folder: str) -> dict:
    return json.loads(Path(folder, "result.json").read_text())


def test_z_a_source_of_somebody_is_looked_at(joined):
    write_prompts(joined / "prompts.jsonl")
    asked = ["inspect", "bundled:base", "--criterion", "units", "--prompts", "prompts.jsonl", "--causal", "0"]
    assert run([*asked, "--features", "half:2", "--out", "theirs", *QUICK]) in (0, 4)
    assert run([*asked, "--features", "units:mlp_hidden.2#1-4", "--out", "ours", *QUICK]) in (0, 4)
    theirs, ours = (Path(name, "tables/correlational.parquet").read_bytes() for name in ("theirs", "ours"))
    assert theirs == ours and verify(Path("theirs")).status == "intact"


def test_z_a_route_of_somebody_draws_rows(joined):
    asked = ["inspect", "bundled:base", "--criterion", "long:3", "--features", "units:mlp_hidden.2#1-4"]
    assert run([*asked, "--causal", "0", "--out", "r", "--near-duplicates", "off", *QUICK]) in (0, 4)
    criterion = json.loads(Path("r/criterion/criterion.json").read_text())
    assert [(one["route"], one["rows"]) for one in criterion["routes"]] == [("long", 80)]
    assert criterion["rows"]["positive"] == 40 and verify(Path("r")).status == "intact"


def test_z_an_explainer_and_a_scorer_of_somebody_are_asked(joined, capsys):
    write_material(joined / "records", material(), HEADER)
    assert run(["explain", "features", "records", "--with", "loud", "--window", "8", "--out", "told", "--quiet"]) == 0
    told = result("told")
    assert (told["author"], told["explainer"]) == ("shouting-1", "loud")
    assert told["explanations"][0]["text"] == "fires where the token is “km”!"
    with chatting(judge) as server:
        asked = ["explain", "score", "told", "--endpoint", server.url, "--chat-model", "m", "--seeds", "1"]
        assert run([*asked, "--scorer", "single", "--scorer", "rule", "--out", "scored", "--quiet"]) == 0
    scored = result("scored")
    single = scored["summaries"][0]
    assert (single["scorer"], single["unit"], single["chance"]) == ("single", "balanced accuracy", 0.5)
    assert (single["questions"], single["failed"]) == (3 * 20 * 3, 0)
    assert single["own"]["value"] > 0.8 and single["lift"]["value"] > 0.3
    assert f"single is a scorer of the package {PACKAGE} 1.2" in scored["notes"]
    assert "single" in Path("scored/report.md").read_text()


def test_z_a_verbalizer_of_somebody_speaks(joined):
    asked = ["explain", "features", "dictionary:bundled#0-3", "bundled:base", "--documents", "100"]
    assert run([*asked, "--with", "verbalizer:longest", "--out", "said", "--quiet"]) == 0
    told = result("said")
    assert told["author"].startswith("longest at ")
    assert all(e["text"].startswith("points along ") for e in told["explanations"])
    assert verify(Path("said")).status == "intact"


def test_what_a_scorer_of_somebody_measured_is_verified_without_the_package(workspace, tmp_path_factory):
    write_material(workspace / "records", material(), HEADER)
    assert run(["explain", "features", "records", "--window", "8", "--out", "told", "--quiet"]) == 0
    with installed(tmp_path_factory.mktemp("site"), POINTS, MODULES), chatting(judge) as server:
        asked = ["explain", "score", "told", "--endpoint", server.url, "--chat-model", "m", "--seeds", "1"]
        assert run([*asked, "--scorer", "single", "--out", "scored", "--quiet"]) == 0
    with pytest.raises(UserError, match="no scorer 'single'"):
        scorer_module("single")
    assert verify(Path("scored")).status == "intact"
    document = result("scored")
    document["summaries"][0]["unit"] = "correlation"
    assert score.recompute(document, Path("scored"))
    document["summaries"][0]["unit"] = "praise"
    assert "measured in praise" in score.recompute(document, Path("scored"))[0]


def test_a_scorer_of_somebody_that_has_no_unit_is_refused(workspace, tmp_path_factory, capsys):
    write_material(workspace / "records", material(40), HEADER)
    assert run(["explain", "features", "records", "--window", "8", "--out", "told", "--quiet"]) == 0
    modules = {"their_scorer": SCORER.replace("balanced accuracy", "praise")}
    point = {"radiograph.scorers single": "their_scorer"}
    with installed(tmp_path_factory.mktemp("site"), point, modules), chatting(judge) as server:
        asked = ["explain", "score", "told", "--endpoint", server.url, "--chat-model", "m"]
        assert run([*asked, "--scorer", "single", "--out", "r"]) == 3
    assert "expected: UNIT, one of balanced accuracy, correlation" in capsys.readouterr().err and server.seen == []


BROKEN = {
    "radiograph.sources": ("def open(reference): ...", "open(reference, parts)", "kind"),
    "radiograph.criteria": ("def lacks(parts): ...\ndef draw(parts, seed, luck): ...", "draw(parts, seed)", "route"),
    "radiograph.explainers": ("def lacks(study): ...", "explain(study)", "explainer"),
    "radiograph.scorers": ("def questions(judged): ...", "questions(judged, feature, seed, ", "scorer"),
    "radiograph.verbalizers": ("def lacks(given): ...\nmake = 3", "make(given)", "verbalizer"),
}
VERBS = {
    "radiograph.sources": ["inspect", "m", "--criterion", "c", "--features", "bad:1"],
    "radiograph.criteria": ["inspect", "m", "--criterion", "c", "--compile-only"],
    "radiograph.explainers": ["explain", "features", "records", "--with", "bad"],
    "radiograph.scorers": ["explain", "score", "told", "--scorer", "bad"],
    "radiograph.verbalizers": ["explain", "features", "records", "--with", "verbalizer:bad", "--window", "8"],
}


@pytest.mark.parametrize("how", ["import", "form"])
@pytest.mark.parametrize("group", BROKEN)
def test_a_broken_part_is_named_with_its_package_and_a_remedy(workspace, tmp_path_factory, capsys, group, how):
    write_material(workspace / "records", material(40), HEADER)
    if "scorers" in group:
        assert run(["explain", "features", "records", "--window", "8", "--out", "told", "--quiet"]) == 0
    text, form, kind = BROKEN[group]
    text = "import nothing_of_this_name" if how == "import" else text
    with installed(tmp_path_factory.mktemp("site"), {f"{group} bad": "their_broken"}, {"their_broken": text}):
        assert run([*VERBS[group], "--out", "r"]) == 3
        said = capsys.readouterr().err
    assert f"their_broken cannot be the {kind} 'bad'" in said and f"pip uninstall {PACKAGE}" in said
    assert form in said and f"of the package {PACKAGE}" in said
    if how == "import":
        assert "No module named 'nothing_of_this_name'" in said
    assert not Path("r").exists() and not Path("r.partial").exists()


@pytest.mark.parametrize(
    ("group", "text", "said"),
    [
        ("radiograph.sources", "def open(reference, parts): return []", "expected: Live or Stored or Dumped"),
        ("radiograph.criteria", "def lacks(parts): ...\ndef draw(parts, seed): return 3", "expected: Drawn"),
        ("radiograph.explainers", "def lacks(study): ...\ndef explain(study): return 3", "expected: Explained"),
        (
            "radiograph.explainers",
            "from radiograph.explanations import Explained\n"
            "def lacks(study): ...\ndef explain(study): return Explained('me', ())",
            "expected: 4 explanations",
        ),
    ],
)
def test_a_part_that_gives_back_something_else_is_named(workspace, tmp_path_factory, capsys, group, text, said):
    write_material(workspace / "records", material(40), HEADER)
    with installed(tmp_path_factory.mktemp("site"), {f"{group} bad": "their_broken"}, {"their_broken": text}):
        assert run([*VERBS[group], "--out", "r", "--quiet"]) == 3
    told = capsys.readouterr().err
    assert said in told and "'bad'" in told and "mend " in told and not Path("r").exists()


def test_a_broken_part_that_nobody_asks_for_stops_nothing(workspace, tmp_path_factory):
    points = {f"radiograph.{name} bad": "their_broken" for name in ("sources", "explainers", "scorers", "verbalizers")}
    write_material(workspace / "records", material(40), HEADER)
    with installed(tmp_path_factory.mktemp("site"), points, {"their_broken": "import nothing_of_this_name"}):
        assert run(["explain", "features", "records", "--window", "8", "--out", "told", "--quiet"]) == 0
        assert run(["explain", "score", "told", "--scorer", "rule", "--out", "scored", "--quiet"]) == 0


def test_a_name_that_is_taken_is_refused(workspace, tmp_path_factory, capsys):
    with installed(tmp_path_factory.mktemp("site"), {"radiograph.sources units": "their_source"}, MODULES):
        assert run(["inspect", "m", "--criterion", "c", "--features", "units:mlp_hidden.2"]) == 3
    assert "'units' is taken" in capsys.readouterr().err
