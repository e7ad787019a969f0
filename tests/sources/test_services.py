"""Neuronpedia and Goodfire through stand-ins that answer in their public shapes."""

from __future__ import annotations

import json

import pytest

from radiograph.core import UserError
from radiograph.sources import Options
from radiograph.store.services import Dashboard, Service, ServiceError
from radiograph.surfaces.cli._main import run
from serving import serving

from .conftest import make_context

KEY = "np-secret-0123456789"


def dashboard(path, parameters, number):
    _, _, _, model, source, index = path.split("/")
    return (
        200,
        {
            "modelId": model,
            "layer": source,
            "index": index,
            "hookName": "blocks.6.hook_resid_pre",
            "maxActApprox": 30.5,
            "frac_nonzero": 0.01,
            "pos_str": [" metres"],
            "neg_str": [" the"],
            "explanations": [
                {
                    "description": "units",
                    "typeName": "oai_token-act-pair",
                    "explanationModelName": "gpt-4o",
                    "scores": [{"value": 0.9}],
                }
            ],
            "activations": [{"tokens": ["It", " is", " 5", " metres"], "values": [0, 0, 0, 30.5], "maxValue": 30.5}],
        },
        {},
    )


def asked(context, url, text, **more):
    return context.features(text, options=Options(url=url, **more))


def test_z_all_three_forms_of_a_reference_name_one_feature():
    forms = (
        "gpt2-small@6-res-jb:650",
        "https://www.neuronpedia.org/gpt2-small/6-res-jb/650",
        "https://neuronpedia.org/api/feature/gpt2-small/6-res-jb/650?x=1",
    )
    assert {Dashboard.parse(form) for form in forms} == {Dashboard("gpt2-small", "6-res-jb", 650)}
    for bad in (
        *("gpt2-small/6-res-jb", "https://www.neuronpedia.org/gpt2-small", "https://elsewhere.org/a/b/3"),
        *("..@..:7", "m@.:7", "https://www.neuronpedia.org/a/%2E%2E/3"),
    ):
        with pytest.raises(UserError):
            Dashboard.parse(bad)


def test_z_neuronpedia_is_a_dump_whose_scores_stay_its_own(workspace):
    context = make_context(workspace, offline=False)
    with serving(dashboard) as served:
        found = asked(context, served.url, "neuronpedia:gpt2-small@6-res-jb#650,651")
        assert found.kind == "dump" and found.codes == ("claimed_by_source",)
        table = found.table
        assert table["feature_id"].to_list() == ["gpt2-small@6-res-jb:650", "gpt2-small@6-res-jb:651"]
        assert table["label"].to_list() == ["units"] * 2 and table["site"][0] == "resid_pre.6"
        assert table["examples"][0].to_list() == ["It is 5 metres"]
        assert json.loads(table["extra"][0])["explanations"][0]["scores"] == [{"value": 0.9}]
        assert table["activation_signature"].is_null().all() and table["claimed_effects"].is_null().all()
        assert served.paths == ["/api/feature/gpt2-small/6-res-jb/650", "/api/feature/gpt2-small/6-res-jb/651"]
    # the cache serves a run without network
    again = asked(make_context(workspace), served.url, "neuronpedia:gpt2-small@6-res-jb:650")
    assert again.table["label"][0] == "units"
    with pytest.raises(UserError) as caught:
        asked(make_context(workspace), served.url, "neuronpedia:gpt2-small@6-res-jb:652")
    assert caught.value.code == "offline"


def test_z_the_command_line_names_another_service_of_dashboards(workspace, capsys, monkeypatch):
    monkeypatch.setenv("NP_KEY", KEY)
    verb = ["inspect", "gpt2-small", "--criterion", "units", "--quiet", "--neuronpedia-url"]
    feature = "gpt2-small@6-res-jb:650"
    with serving(dashboard) as served:
        asked = [*verb, served.url, "--key-env", "NP_KEY", "--features"]
        assert run([*asked, f"neuronpedia:{feature}", "--out", "refused"]) == 3
        assert "pass --online" in capsys.readouterr().err and served.paths == []
        assert run([*asked, f"neuronpedia:{feature}", "--out", "r", "--online", "--search", "units"]) == 4
        assert run([*asked, f"neuronpedia:{served.url}/gpt2-small/6-res-jb/651", "--out", "page", "--online"]) == 4
        (workspace / "list.txt").write_text(f"{feature}\n")
        assert run([*asked, "neuronpedia:@list.txt", "--out", "cached", "--refresh", "--online"]) == 4
        numbers = [path.rpartition("/")[2] for path in served.paths]
        assert numbers == ["650", "651", "650"] and {h["x-api-key"] for h in served.headers} == {KEY}
    document = json.loads((workspace / "r/result.json").read_text())
    (source,) = document["sources"]
    assert (source["kind"], source["features"], source["model"]) == ("dump", 1, "gpt2-small")
    assert [hit["feature"] for hit in document["search"]] == [feature]
    # What was fetched serves a run without network, from the service that it came from alone.
    assert run([*verb, served.url, "--features", f"neuronpedia:{feature}", "--out", "again"]) == 4
    assert run(["inspect", "gpt2-small", "--criterion", "units", "--features", f"neuronpedia:{feature}"]) == 3
    for folder in ("r", "page", "cached", "again"):
        assert not any(KEY.encode() in file.read_bytes() for file in (workspace / folder).rglob("*") if file.is_file())


def test_what_explain_sync_cached_serves_a_run_without_network(workspace):
    from radiograph.store import ExplanationCache

    (workspace / ".radiograph").mkdir()
    with ExplanationCache.create(workspace / ".radiograph" / "explanations.sqlite") as cache:
        cache.put("m", "6-s", [{"index": 3, "explanations": [{"description": "synced"}]}])
    context = make_context(workspace)
    assert context.features("neuronpedia:m@6-s:3").table["label"][0] == "synced"
    with pytest.raises(UserError, match="not in the cache"):
        context.features("neuronpedia:m@6-s:4")


def test_z_a_list_of_references_and_a_key_that_stays_in_its_header(workspace, monkeypatch):
    monkeypatch.setenv("NP_KEY", KEY)
    context = make_context(workspace, offline=False)
    (workspace / "list.txt").write_text("# mine\nm@s:3\n\nm@s:1\n")
    with serving(dashboard) as served:
        found = asked(context, served.url, f"neuronpedia:@{workspace / 'list.txt'}", key_env="NP_KEY")
        assert found.name == "neuronpedia:@list.txt"
        assert found.table["feature_id"].to_list() == ["m@s:3", "m@s:1"]
        assert all(headers["x-api-key"] == KEY for headers in served.headers)
        (workspace / "two.txt").write_text("m@s:3\nn@s:1\n")
        with pytest.raises(UserError, match="several models"):
            asked(context, served.url, "neuronpedia:@two.txt")
    kept = [p.read_text() for p in (workspace / ".radiograph").rglob("*") if p.is_file()]
    assert kept and not any(KEY in text for text in kept)
    with pytest.raises(UserError) as caught:
        asked(context, served.url, "neuronpedia:m@s:9", key_env="NOT_SET")
    assert caught.value.code == "no_key"


def test_an_answer_about_another_feature_is_refused(workspace):
    def other(path, parameters, number):
        return 200, {"modelId": "m", "index": "4"}, {}

    with serving(other) as served, pytest.raises(ServiceError, match="another feature"):
        asked(make_context(workspace, offline=False), served.url, "neuronpedia:m@s:3")


@pytest.mark.parametrize(
    ("status", "body", "code", "tries"),
    [
        (401, {"error": f"bad key {KEY}"}, "endpoint_unauthorised", 1),
        (404, {"error": "no"}, "endpoint_not_found", 1),
        (302, b"", "endpoint_not_found", 1),
        (400, {"error": "no"}, "endpoint_refused", 1),
        (429, {"error": "slow"}, "endpoint_rate_limited", 3),
        (503, b"<html>", "endpoint_failed", 3),
        (200, b"{not json", "endpoint_failed", 3),
        (200, [1, 2], "endpoint_failed", 3),
    ],
)
def test_every_fault_of_a_service_is_typed_and_tried_again_where_it_may_pass(status, body, code, tries, monkeypatch):
    monkeypatch.setenv("NP_KEY", KEY)
    headers = {"Location": "http://127.0.0.1:1/"} if status == 302 else {"Retry-After": "0"}
    with serving(lambda path, parameters, number: (status, body, headers)) as served:
        service = Service.at("it", served.url, "NP_KEY", retries=2, first_wait=0.001)
        with pytest.raises(ServiceError) as caught:
            service.json("/x")
    assert caught.value.code == code and len(served.paths) == tries
    assert int(caught.value.exit_code) == 4 and KEY not in str(caught.value)


def test_what_passes_is_waited_for_and_a_long_wait_ends_the_call():
    def flaky(path, parameters, number):
        return (503, {}, {}) if number < 2 else (200, {"ok": number}, {})

    with serving(flaky) as served:
        assert Service.at("it", served.url, retries=3, first_wait=0.001).json("/x") == {"ok": 2}
    with serving(lambda *_: (429, {}, {"Retry-After": "3600"})) as served, pytest.raises(ServiceError):
        Service.at("it", served.url).json("/x")
    assert len(served.paths) == 1
    with pytest.raises(ServiceError) as caught:
        Service.at("it", "http://127.0.0.1:9", retries=0).json("/x")
    assert caught.value.code == "endpoint_unreachable"


def goodfire(path, parameters, number):
    one = {"id": "00000000-0000-0000-0000-000000000000", "label": parameters["query"], "max_activation_strength": 0.5}
    listed = [one | {"index_in_sae": n, "relevance": 1 - n / 10} for n in (7, 3, 9)]
    return 200, {"features": listed[: int(parameters["perPage"])]}, {}


def test_z_goodfire_gives_search_ranks_and_nothing_measured(workspace, monkeypatch):
    monkeypatch.setenv("GF", KEY)
    context = make_context(workspace, offline=False)
    given = {"search": "physical units", "model": "meta-llama/Llama-3.3-70B-Instruct", "key_env": "GF"}
    with serving(goodfire) as served:
        found = asked(context, served.url, "goodfire:2", **given)
        assert served.paths == ["/api/inference/v1/features/search"]
        assert served.parameters[0] == {"query": "physical units", "page": "1", "perPage": "2", "model": given["model"]}
        assert served.headers[0]["authorization"] == f"Bearer {KEY}"
    assert found.codes == ("claimed_by_source",)
    assert found.table["feature_id"].to_list() == ["goodfire:7", "goodfire:3"]
    assert [json.loads(extra)["search_rank"] for extra in found.table["extra"]] == [1, 2]
    for text, less, said in (
        ("goodfire:", {}, "how many"),
        ("goodfire:2", {"search": None}, "words"),
        ("goodfire:2", {"key_env": None}, "key"),
    ):
        with pytest.raises(UserError, match=said):
            asked(context, served.url, text, **(given | less))
    with pytest.raises(UserError) as caught:
        asked(make_context(workspace), served.url, "goodfire:2", **given)
    assert caught.value.code == "offline"


def test_goodfire_in_another_shape_is_a_failure(workspace, monkeypatch):
    monkeypatch.setenv("GF", KEY)
    given = {"search": "x", "model": "m", "key_env": "GF"}
    with serving(lambda *_: (200, {"features": [{"label": 3}]}, {})) as served, pytest.raises(ServiceError):
        asked(make_context(workspace, offline=False), served.url, "goodfire:2", **given)
