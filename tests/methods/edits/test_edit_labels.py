"""`edit search --label`: labels say where to look, what taking a component out does is measured, beside chance."""

import json
import os
from pathlib import Path

import pytest
import torch

from decompose.planted import base, saved, tokens_of
from radiograph.core import ExitCode, Refusal, UserError
from radiograph.methods.edit.search import recompute
from radiograph.runtime import verify
from running import go

WORDS = ["the", "to", "of"]
GIVEN = {"model": "bundled:base", "decomposition": "decomposition", "keep": ["world:story#24"]}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Detectors of three tokens in `embed`, pieces of two matrices beside them, and labels by rules."""
    folder = tmp_path_factory.mktemp("labelled-edits")
    saved(base(), tokens_of(base(), WORDS), folder / "decomposition")
    before = Path.cwd()
    os.chdir(folder)
    options = {"examples": 40, "around": 6, "record_tokens": 1500}
    data = ["world:story#80"]
    go("decompose.harvest", decomposition="decomposition", model="bundled:base", data=data, out="counted", **options)
    go("decompose.label", harvest="counted", out="labels")
    yield folder
    os.chdir(before)


@pytest.fixture(scope="module")
def found(place):
    return go("edit.search", **GIVEN, label="“TO”", labels="labels", out="found")


def test_components_are_found_by_label_and_judged_by_what_taking_them_out_does(found, place):
    result = found.result
    said = {part.component: part for part in result.found}
    assert "embed:1" in said and "embed:0" not in said
    assert all("“to”" in part.label and part.label_score.n > 0 for part in result.found)
    assert result.chance == max(result.controls) > 0 and len(said) + len(result.controls) <= result.parts
    assert set(result.selected) == {name for name, part in said.items() if part.evidence > result.chance}
    assert result.selected == ("embed:1",) and len(said) > 1, "others are called so and do no more than chance"
    own = said["embed:1"]
    assert own.interval[0] < own.evidence < own.interval[1] and own.positions >= own.documents >= 6
    assert verify(found.path).status == "intact"
    assert "chance level" in (found.path / "report.html").read_text().lower()


def test_evidence_is_the_divergence_where_the_component_fires(place):
    """The model without what its embedding has for that token, text by text."""
    texts = ["Lily went to the park to play.", "Tom gave it to Mira.", "to the end of the day", "He ran to me, to you."]
    Path("few.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    found = go("edit.search", **GIVEN | {"keep": ["few.jsonl"]}, label="“to”", labels="labels")
    (own,) = (part for part in found.result.found if part.component == "embed:1")
    model = base()
    (token,) = tokens_of(model, ["to"])
    held: list[float] = []
    for text in texts:
        ids = torch.tensor([model.tokenizer(text)["input_ids"]])
        read = model.model.get_input_embeddings()(ids).detach()
        with torch.no_grad():
            was = model.model(inputs_embeds=read).logits[0].log_softmax(-1)
            now = model.model(inputs_embeds=read * (ids != token)[..., None]).logits[0].log_softmax(-1)
        kl = (now.exp() * (now - was)).sum(-1)
        held += kl[:-1][ids[0, :-1] == token].tolist()
    assert own.positions == len(held) >= 4
    assert own.interval is None, "four texts are too few for one"
    assert own.evidence == pytest.approx(sum(held) / len(held), rel=1e-3)


def test_labels_stand_beside_what_another_question_measures(found):
    plain = go("edit.search", **GIVEN, writes="to")
    named = go("edit.search", **GIVEN, writes="to", labels="labels")
    assert [p.evidence for p in plain.result.found] == [p.evidence for p in named.result.found]
    assert plain.result.selected == named.result.selected and plain.result.found[0].label is None
    assert {p.component for p in named.result.found if p.label} >= {"embed:0", "embed:1"}
    assert verify(named.path).status == "intact"


def test_what_is_stated_follows_from_the_table(found):
    stated = json.loads((found.path / "result.json").read_text())
    assert recompute(stated, found.path) == []
    stated["controls"] = stated["controls"][:-1]
    assert any("chance level" in problem for problem in recompute(stated, found.path))
    stated = json.loads((found.path / "result.json").read_text())
    stated["selected"] = ["embed:0"]
    assert recompute(stated, found.path)


def test_bad_labels_are_named(found):
    for more, says in (
        ({"label": "was"}, "needs --labels"),
        ({"label": "(", "labels": "labels"}, "no regular expression"),
        ({"label": "was", "writes": "to", "labels": "labels"}, "one question"),
    ):
        with pytest.raises(UserError, match=says) as error:
            go("edit.search", **GIVEN, **more)
        assert error.value.exit_code == 3
    unknown = go("edit.search", **GIVEN, label="zeppelin", labels="labels")
    assert (unknown.result.code, unknown.exit_code) == ("no_label", ExitCode.NOT_MEASURED)
    with pytest.raises(Refusal, match="another decomposition") as refused:
        go("edit.search", **GIVEN | {"decomposition": "decomposition:bundled"}, label="was", labels="labels")
    assert refused.value.exit_code == 3
