"""Labels offline and by a scripted endpoint: phases, failures, resuming, budgets, and what labels are worth."""

import json
import re
from typing import Any, cast

import pytest

from chatting import Fault, chatting
from decompose.planted import base, saved, tokens_of
from radiograph.core import RadiographError, UserError
from radiograph.methods.decompose._label import graph
from radiograph.methods.decompose._label.kept import Kept, Store
from radiograph.methods.decompose._label.writers import Tally
from radiograph.runtime import verify
from radiograph.store.components import open_attributions, open_statistics
from running import go

WORDS = ["the", "to", "is", "did", "saw"]
DATA = ["world:story#150"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A workspace with a planted decomposition, its harvest and its attributions."""
    home = tmp_path_factory.mktemp("labelled")
    model = base()
    saved(model, tokens_of(model, WORDS), home / "planted")
    given = {"decomposition": "planted", "model": "bundled:base"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        options = {"examples": 80, "around": 6, "record_tokens": 2500}
        assert go("decompose.harvest", data=DATA, out="harvest", **given, **options).exit_code == 0
        outcome = go("decompose.attribute", data=["world:story#1"], harvest="harvest", out="attributions", **given)
        assert outcome.exit_code == 0
    return home


@pytest.fixture
def here(home, monkeypatch):
    monkeypatch.chdir(home)
    return home


@pytest.fixture(scope="module")
def able(home):
    given = open_statistics(home / "harvest")
    return [given.addresses[n] for n in given.alive(5).tolist()]


def _named(content):
    """The component that a prompt is about."""
    return json.loads(re.search(r"The component: (\"[^\"]+\")", content)[1])


def judge(content):
    """Says that a component fires where its label's word stands between the marks."""
    label = json.loads(content.split("\n")[1])
    word = re.search(r"“(.+?)”", label)
    texts = [json.loads(line) for line in content.split("\n") if line.startswith('{"n"')]
    found = []
    for text in texts:
        marked = {part.strip() for part in re.findall(r"⟪(.*?)⟫", text["text"])}
        found.append({"n": text["n"], "fires": bool(word) and marked == {word[1]}})
    return json.dumps({"labels": found})


def odd(content):
    """The text whose marked tokens are not those of most others."""
    texts = [json.loads(line) for line in content.split("\n") if line.startswith('{"n"') and "text" in line]
    marked = [frozenset(part.strip() for part in re.findall(r"⟪(.*?)⟫", text["text"])) for text in texts]
    return json.dumps({"n": min(range(5), key=lambda n: marked.count(marked[n])) + 1})


def script(payload, number):
    content = payload["messages"][0]["content"]
    if "does not belong" in content:
        return odd(content)
    if "described by this" in content:
        return judge(content)
    token = re.search(r"Tokens on which it fires.*?\n(\{.*?\})\n", content, re.S)
    word = json.loads(token[1])["token"].strip() if token else "?"
    side = "does" if "brings about" in content else "both" if "two sides" in content else "fires on"
    return json.dumps({"label": f"{side} “{word}”", "confidence": "high", "reasoning": "because"})


def _llm(server, **more):
    return {"with_": "llm", "endpoint": server.url, "chat_model": "scripted", "concurrency": 2} | more


def test_d10_11_offline_labels_name_the_planted_tokens(here, able):
    outcome = go("decompose.label", harvest="harvest")
    assert outcome.exit_code == 0 and verify(outcome.path).status == "intact"
    found = {label.component: label for label in outcome.result.labels}
    assert list(found) == able
    planted = [n for n in range(len(WORDS)) if f"embed:{n}" in found]
    assert len(planted) >= 3
    for n in planted:
        label = found[f"embed:{n}"]
        assert f"“{WORDS[n]}”" in label.label
        assert label.rule_f1 is None or label.rule_f1 > 0.99 > label.rule_chance + 0.3
    from radiograph.store import ExplanationCache

    with ExplanationCache.open(outcome.path / "labels" / "labels.sqlite") as cache:
        ((model, source),) = cache.sources()
        assert cache.binding(model, source).decoder_sha256 == outcome.result.decomposition_sha256
        first = cache.explanations(model, source)[planted[0]][0]
    assert first["typeName"] == "decompose/compact" and first["description"] == found[f"embed:{planted[0]}"].label


def test_d10_11_a_planted_detectors_label_scores_and_anothers_is_chance(here, able):
    with chatting(script) as server:
        outcome = go(
            "decompose.label",
            harvest="harvest",
            score=["detection", "fuzzing", "intruder"],
            seeds=2,
            **_llm(server),
        )
    assert outcome.exit_code == 0, outcome.result.stopped
    assert verify(outcome.path).status == "intact"
    planted = [s for s in outcome.result.scores if s.feature_id.startswith("embed") and s.value is not None]
    assert {s.scorer for s in planted} == {"detection", "fuzzing"}
    assert all(s.value >= 0.9 for s in planted), [(s.feature_id, s.scorer, s.value) for s in planted]
    detection = [s for s in planted if s.scorer == "detection"]
    shuffled = [s.other for s in detection]
    assert abs(sum(shuffled) / len(shuffled) - 0.5) <= 0.1, shuffled
    assert all(s.empty == 0.5 for s in detection)
    import polars as pl

    answers = pl.read_parquet(outcome.path / "tables" / "intruders.parquet")
    planted = answers.filter(pl.col("component").str.starts_with("embed"))
    assert (planted["said"] == planted["truth"]).mean() >= 0.9 and outcome.result.intruders.chance == 0.2
    assert outcome.result.asked == len(able) == outcome.result.labelled
    assert outcome.result.exchange.calls == len(server.seen)


def test_dd_11_silent_windows_are_silent_and_marks_stand_at_the_centre(here):
    from radiograph.explanations import material_of
    from radiograph.methods.decompose._label.scores import Recorded, detection
    from radiograph.store.records import open_records

    given = open_statistics(here / "harvest")
    recorded = Recorded(material_of(open_records(given.folder)), 6, 0)
    number = given.number("embed:0")
    ask = detection(given, recorded, number, given.examples(number), 1)
    (question,) = ask("words")
    texts = [json.loads(x)["text"] for x in question.ask.messages[0]["content"].split("\n") if x.startswith('{"n"')]
    assert sum(question.truth) * 2 == len(question.truth)
    for text, true in zip(texts, question.truth, strict=True):
        words = re.sub("[⟪⟫]", "", text).split()
        assert text.count("⟪") == 1
        assert true or "the" not in words
        assert not true or "⟪the⟫" in text.replace("⟪ ", "⟪")


def test_d10_11_graph_phases_come_in_order_and_what_is_shown_is_kept(here, able):
    import polars as pl

    with chatting(script) as server:
        outcome = go(
            "decompose.label", harvest="harvest", strategy="graph", attributions="attributions", **_llm(server)
        )
    assert outcome.exit_code == 0 and verify(outcome.path).status == "intact"
    contents = [payload["messages"][0]["content"] for payload in server.seen]
    kinds = [
        "A" if "brings about" in c and "two sides" not in c else "C" if "two sides" in c else "B" for c in contents
    ]
    assert "".join(kinds) == "A" * len(able) + "B" * len(able) + "C" * len(able)
    order = ["embed", "up.1", "down.1"]
    weights = [order.index(_named(c).split(":")[0]) for c in contents]
    n = len(able)
    assert weights[:n] == sorted(weights[:n], reverse=True) and weights[n : 2 * n] == sorted(weights[n : 2 * n])
    shown = pl.read_parquet(outcome.path / "tables" / "edges_shown.parquet")
    into = shown.filter((pl.col("phase") == "input") & ~pl.col("other").str.starts_with("token"))
    assert into.height and set(into["other"].str.split(":").list.first()) <= {"embed", "up.1"}
    attributions = open_attributions(here / "attributions")
    row = into.row(0, named=True)
    assert row["other"] in [e.address for e in attributions.sources(row["component"], 40)]
    assert shown["strength"].abs().max() == 1
    assert outcome.result.phases == {"output": n, "input": n, "unify": n}


class _Stub:
    """A writer whose labels say what it saw."""

    author = "stub"

    def __init__(self, store, fails=()):
        self.store, self.tally, self.fails, self.calls = store, Tally(), set(fails), []

    def write(self, phase, jobs):
        found = {}
        for job in jobs:
            _, shown = job.slots()
            self.calls.append((phase, job.address))
            if (phase, job.address) in self.fails:
                self.tally.failed += 1
                continue
            found[job.number] = f"{phase}:{job.address}<{','.join(name for name, *_ in shown)}>"
            self.store.put(Kept(phase, job.number, job.address, found[job.number], "low", "", "", "", "", shown))
        return found


ADDRESSES = ["up.0:0", "up.0:1", "down.0:0", "down.0:1", "up.1:0"]


def _passes(store, writer, order=("output", "input")):
    members = graph.by_weight(ADDRESSES, [0, 1, 2, 3, 4])
    weights = list(members)

    def edges(address, so_far):
        return tuple((name, 1.0, so_far[name]) for name in sorted(so_far))

    for phase in order:
        along = weights[::-1] if phase == "output" else weights
        graph.fold(phase, along, members, ADDRESSES, writer, store, edges, lambda n, shown: {})
    return graph.unify([0, 1, 2, 3, 4], ADDRESSES, writer, store, lambda n, a, b: {})


def _all(store):
    return {phase: store.phase(phase) for phase in ("output", "input", "unify")}


def test_d10_11_the_two_passes_share_nothing(tmp_path):
    found = []
    for number, order in enumerate((("output", "input"), ("input", "output"))):
        (tmp_path / str(number)).mkdir()
        store = Store(tmp_path / str(number), {})
        assert _passes(store, _Stub(store), order) == []
        found.append(_all(store))
    assert found[0] == found[1]
    assert found[0]["input"][4].label == "input:up.1:0<down.0:0,down.0:1,up.0:0,up.0:1>"
    assert found[0]["output"][0].label == "output:up.0:0<down.0:0,down.0:1,up.1:0>", "no label of the same weight"


def test_d10_11_a_failure_is_skipped_and_counted_and_a_resumed_run_asks_for_it_alone(tmp_path):
    store = Store(tmp_path, {})
    first = _Stub(store, fails={("output", "down.0:1")})
    assert _passes(store, first) == ["down.0:1"] and first.tally.failed == 1
    assert len(store.phase("unify")) == 4
    store.close()
    again = Store(tmp_path, {})
    second = _Stub(again)
    assert _passes(again, second) == []
    assert second.calls == [("output", "down.0:1"), ("unify", "down.0:1")]


def test_d10_11_an_interrupted_run_resumed_is_the_uninterrupted_one(tmp_path):
    class Killed(_Stub):
        def write(self, phase, jobs):
            if len(self.calls) > 6:
                raise KeyboardInterrupt
            return super().write(phase, jobs)

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = Store(tmp_path / "a", {"top_k": 8})
    _passes(whole, _Stub(whole))
    half = Store(tmp_path / "b", {"top_k": 8})
    with pytest.raises(KeyboardInterrupt):
        _passes(half, Killed(half))
    half.close()
    with pytest.raises(UserError, match="top_k differs"):
        Store(tmp_path / "b", {"top_k": 9})
    resumed = Store(tmp_path / "b", {"top_k": 8})
    writer = _Stub(resumed)
    _passes(resumed, writer)
    assert _all(resumed) == _all(whole) and len(writer.calls) < 15


def test_an_effect_inside_one_weight_is_an_error():
    class Fake:
        def targets(self, address, k, *, variant, sign):
            from radiograph.store.components._attributions import Effect

            return [Effect("up.0:1", 0.5)]

    with pytest.raises(RadiographError, match="same weight"):
        graph.related(Fake(), "up.0:0", "targets", 2, "signed", {})


def test_dd_13_a_killed_run_resumes_without_asking_again(here, able, monkeypatch):
    from radiograph.methods.decompose import label

    (here / ".radiograph" / "chat.sqlite").unlink(missing_ok=True)
    with chatting(script) as server:
        with monkeypatch.context() as patch:
            patch.setattr(label, "_scored", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                go("decompose.label", harvest="harvest", out="killed", **_llm(server))
        asked = len(server.seen)
        assert asked == len(able)
        (here / ".radiograph" / "chat.sqlite").unlink()  # what is kept is enough, without the cache of answers
        with pytest.raises(UserError, match="top_k differs"):
            go("decompose.label", harvest="harvest", top_k=3, resume="killed.partial", out="other", **_llm(server))
        outcome = go("decompose.label", harvest="harvest", resume="killed.partial", out="resumed", **_llm(server))
        assert len(server.seen) == asked and outcome.result.labelled == len(able)


def test_d10_11_one_budget_for_all_phases(here, able):
    with chatting(script) as server:
        outcome = go(
            "decompose.label",
            harvest="harvest",
            strategy="graph",
            attributions="attributions",
            shown=7,
            max_calls=len(able) + 3,
            **_llm(server),
        )
    assert outcome.exit_code == 4 and outcome.result.stopped.startswith("budget_spent")
    assert len(server.seen) == len(able) + 3
    assert outcome.result.phases["output"] == len(able) and outcome.result.phases["unify"] == 0


def test_an_endpoint_that_fails_ends_the_run_after_ten(here):
    def broken(payload, number):
        return Fault(status=400, body=b"no")

    with chatting(broken) as server:
        outcome = go("decompose.label", harvest="harvest", shown=5, retries=0, **_llm(server, concurrency=1))
    assert outcome.exit_code == 4 and "too_many_failed" in outcome.result.stopped
    assert 1 <= len(server.seen) <= 12 and outcome.result.labelled == 0


def test_bad_input_of_label_names_what_is_missing(here, tmp_path):
    with pytest.raises(UserError, match="needs --attributions"):
        go("decompose.label", harvest="harvest", strategy="graph")
    with pytest.raises(UserError, match="--endpoint"):
        go("decompose.label", harvest="harvest", with_="llm")
    outcome = go("decompose.label", harvest="harvest", least=10**6)
    assert outcome.exit_code == 4
    from radiograph.core import FormatError

    with pytest.raises(FormatError, match="not a harvest"):
        go("decompose.label", harvest="attributions")


@pytest.mark.parametrize(
    ("f1", "chance", "said"), [(0.98, 0.97, "low"), (0.85, 0.77, "low"), (0.93, 0.75, "medium"), (0.98, 0.3, "high")]
)
def test_a_rule_is_trusted_for_what_it_gains_over_chance(f1, chance, said):
    from radiograph.evidence.explanations import HeldOut
    from radiograph.methods.decompose._label.writers import confidence_of

    held = HeldOut.model_construct(f1=f1, chance=chance, n=1000)
    assert confidence_of(held) == said and confidence_of(None) == "low"


@pytest.fixture(scope="module")
def small(home):
    """Components that fired seldom."""
    given = {"decomposition": "planted", "model": "bundled:base", "data": ["world:story#4"], "record_tokens": 20}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        assert go("decompose.harvest", out="small", **given).exit_code == 0
    return home


def test_a_score_that_finds_too_few_texts_is_not_measured_and_never_a_pass(small, here):
    """Spec: label with under 5 examples, scoring with under 10: that item is not measured; all of them: exit 4."""
    with chatting(script) as server:
        outcome = go("decompose.label", harvest="small", least=1, score=["detection"], out="few", **_llm(server))
    assert outcome.exit_code == 4 and outcome.result.labelled > 0 and outcome.result.stopped is None
    assert {s.code for s in outcome.result.scores} == {"too_few"} and "not measured" in outcome.result.headline
    assert verify(outcome.path).status == "intact"


def test_what_fired_under_ten_times_is_labelled_and_not_scored(small):
    from radiograph.methods.decompose._label.scores import questions

    given = open_statistics(small / "small")
    firings = given.summary["firings"].to_numpy()
    seldom = [n for n in given.alive(1).tolist() if firings[n] < 10]
    assert seldom, "the fixture has such components"
    asked, few = questions(given, cast(Any, None), dict.fromkeys(seldom, "words"), ["detection", "fuzzing"], [0])
    assert asked == [] and few == {"detection": seldom, "fuzzing": seldom}


def test_a_run_resumed_with_a_smaller_limit_counts_what_was_said_before(here, able, monkeypatch):
    from radiograph.methods.decompose import label

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(label, "_scored", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        go("decompose.label", harvest="harvest", out="four", limit=4)
    result = go("decompose.label", harvest="harvest", out="two", limit=2, resume="four.partial").result
    assert (result.asked, result.labelled) == (4, 4) and result.left_out == len(able) - 4


def test_dd_12_a_question_that_raises_ends_the_queue_and_surfaces(tmp_path):
    import threading

    from radiograph.store.chat import ChatClient, ChatSettings, Endpoint, Later

    def make(number):
        def messages():
            if number == 5:
                raise RuntimeError("cannot read")
            return ({"role": "user", "content": str(number)},)

        return messages

    with chatting(lambda payload, number: "{}") as server:
        client = ChatClient(Endpoint.at(server.url, "m"), ChatSettings(concurrency=2))
        with pytest.raises(RuntimeError, match="cannot read"):
            client.ask_all([Later(make(n), "v", str) for n in range(200)])
        assert len(server.seen) < 100
    assert not [t for t in threading.enumerate() if t.name.startswith("ThreadPoolExecutor")]
