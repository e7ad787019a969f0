"""Profiles and opaque roles: what an investigator is offered, and that nothing it can read names a model."""

from __future__ import annotations

import json
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import get_args

import pytest
from mcp.shared.exceptions import MCPError

from radiograph.core import FormatError, MissingExtra, UserError, inputs_of
from radiograph.methods.mcp import Config
from radiograph.organisms import bundled_path
from radiograph.runtime import Roles, catalogue
from radiograph.store import Workspace
from radiograph.surfaces.mcp import PROFILES
from radiograph.surfaces.mcp import _serve as serving
from radiograph.surfaces.mcp._investigation import read_investigation
from radiograph.surfaces.mcp._profiles import offered

from .agent import RADIOGRAPH, Agent, entries, plugin, session_folder

SECRETS = ("zebra", "quagga", "planted", "savanna")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """Two models under telling names, the second reached by a link."""
    folder = tmp_path_factory.mktemp("workspace")
    shutil.copytree(bundled_path("base"), folder / "savanna" / "zebra-1")
    shutil.copytree(bundled_path("base"), folder / "planted" / "quagga.v2")
    (folder / "quagga-link").symlink_to(folder / "planted" / "quagga.v2")
    return folder


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return tmp_path_factory.mktemp("log") / "stderr.txt"


@pytest.fixture(scope="module")
def agent(workspace, log, tmp_path_factory):
    file = workspace / "investigation.yaml"
    file.write_text("title: what changed?\nmodels: {ref: savanna/zebra-1, cand: quagga-link}\n")
    env = plugin(tmp_path_factory.mktemp("plugin"))
    with Agent(workspace, "--config", str(file), env=env, log=log) as agent:
        yield agent


@pytest.fixture(scope="module")
def session(agent):
    return agent.open()


def leaks(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret in text.lower()]


@pytest.mark.parametrize("how", ["result", "refusal", "fixable", "user_error", "crash"])
@pytest.mark.parametrize("role", ["ref", "cand"])
def test_no_answer_progress_or_bundle_names_a_model(agent, session, workspace, role, how):
    progress: list[str] = []
    answer = agent.start("test_tell", session_id=session, model=role, how=how, progress=progress).result(60)
    content = answer.structured_content
    assert leaks(json.dumps(content)) == []
    assert leaks(" ".join(progress)) == []
    assert answer.is_error == (how in ("fixable", "user_error", "crash"))
    if answer.is_error:
        assert role in content["message"].split()
        return
    folder = workspace / content["bundle"]
    assert role in (folder / "result.json").read_text()
    for file in folder.rglob("*"):
        assert leaks(str(file)) == []
        assert not file.is_file() or leaks(file.read_text()) == [], file.name
    models = [i for i in json.loads((folder / "manifest.json").read_text())["inputs"] if i["kind"] == "model"]
    assert [i["ref"] for i in models] == [role]
    checked = agent.ok("verify", session_id=session, run=content["bundle"], seal=content["seal"])
    assert checked["result"]["problems"] == []


def test_verbs_that_compare_models_know_them_by_role(agent, session, workspace):
    """Every verb of the catalogue that needs nothing but models and ends soon; others are called with what is wrong."""
    for verb in catalogue().values():
        if verb.serves or verb.key not in ("weights.diff",):
            continue
        answer = agent.ok(verb.tool, session_id=session, reference="ref", candidate="cand")
        folder = workspace / answer["bundle"]
        texts = [p.read_bytes().decode(errors="replace") for p in folder.rglob("*") if p.is_file()]
        assert leaks(json.dumps(answer) + "".join(texts)) == []


REAL = [
    "savanna/zebra-1",
    "quagga-link",
    "planted/quagga.v2",
    "./savanna/zebra-1",
    "bundled:base",
    "ref+cand",
    "cand_2",
    "",
]


@pytest.mark.parametrize("reference", REAL)
def test_only_roles_are_models(agent, session, reference):
    problem = agent.error("test_tell", session_id=session, model=reference)
    assert problem["code"] == "unknown_role"
    assert problem["expected"] == "one of ref, cand"
    assert leaks(json.dumps(problem)) == []


def test_a_workflow_is_no_way_around_roles(agent, session, workspace):
    (workspace / "way.yaml").write_text(
        "schema: radiograph.workflow/1\nsteps:\n  - {name: a, verb: test.tell, with: {model: savanna/zebra-1}}\n"
    )
    answer = agent.ok("run", session_id=session, workflow="way.yaml")
    assert answer["exit_code"] == 3 and answer["result"]["steps"][0]["status"] == "failed"
    assert "no such model in this investigation" in answer["headline"] and "zebra" not in json.dumps(answer)


def test_every_tool_and_every_error_is_free_of_names(agent, session, workspace):
    """Each verb with what is missing, misspelt, of the wrong kind, and with paths that the names lie next to."""
    paths = [
        "savanna",
        "planted/",
        "savanna/zebr",
        "planted/quag.v2",
        "quaga-link",
        "nowhere",
        "..",
        "/",
        "investigation.yaml",
    ]
    answers = [json.dumps(tool.model_dump(mode="json")) for tool in agent.tools().values()]
    for verb in catalogue().values():
        if verb.serves or not any(field.is_required() for field in verb.config.model_fields.values()):
            continue
        fields = list(inputs_of(verb.config))
        given = [{}, {"nonsense": 1}, *(dict.fromkeys(fields, 7) for _ in fields[:1])]
        given += [dict.fromkeys(fields, path) for path in paths]
        answers += [json.dumps(agent.call(verb.tool, session_id=session, **a).structured_content) for a in given]
    answers += [json.dumps(agent.ok("health")), json.dumps(agent.ok("budget", session_id=session))]
    found = [(secret, answer) for answer in answers for secret in leaks(answer) if secret not in ("planted", "savanna")]
    assert found == []


def test_models_are_offered_as_an_enumeration_of_roles(agent):
    assert agent.tools()["test_tell"].input_schema["properties"]["model"]["enum"] == ["ref", "cand"]
    assert agent.ok("health")["models"] == ["ref", "cand"]
    assert agent.ok("health")["kind"] == "investigation"


def test_transcript_and_stderr_name_roles_and_session_json_alone_the_rest(agent, session, workspace, log):
    """Last of those over one session: it reads what all the calls above have left."""
    agent.error("test_tell", session_id=session, model="cand", how="crash")
    folder = session_folder(workspace, session)
    assert leaks(json.dumps([e["result_summary"] for e in entries(workspace, session)])) == []
    assert "zebra" in (folder / "session.json").read_text()
    seal = agent.ok("session_close", session_id=session)["seal"]
    other = agent.open()
    answer = agent.ok("verify", session_id=other, run=f"runs/{folder.name}", seal=seal)
    assert answer["result"]["status"] == "intact"
    text = log.read_text()
    assert "a library says" in text
    assert leaks(text) == []


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ("models/Okapi-7", "saw models/okapi-7, OKAPI-7.safetensors, /w/models/Okapi-7/x and (Okapi-7)"),
        ("bundled:okapi", "saw bundled:okapi and /lib/bundled/okapi/model"),
        ("acme/okapi@v1", "saw acme/okapi, ~/hub/models--acme--okapi/snapshots, okapi_2"),
        ("base+lora/okapi", "saw base+lora/okapi, lora/okapi and okapi"),
    ],
)
def test_hiding_covers_the_spellings_of_a_name(reference, text):
    hidden = Roles({"cand": reference}, Workspace(Path("/w"))).hide(text)
    assert "okapi" not in hidden.lower()
    assert hidden.startswith("saw ")


def test_hiding_leaves_other_words_alone():
    roles = Roles({"ref": "models/base", "cand": "models/base+a1b"}, Workspace(Path("/w")))
    assert roles.hide("a baseline of 3 models, database, a1bc") == "a baseline of 3 models, database, a1bc"
    assert roles.hidden({"models/base+a1b": [1, "base", None]}) == {"cand": [1, "ref", None]}


def test_names_too_short_to_hide_are_refused():
    with pytest.raises(UserError, match="too short"):
        Roles({"ref": "models/7"}, Workspace(Path("/w")))


BAD_FILES = {
    "another file": ("config: other.yaml\n", "config"),
    "role": ("models: {benign: 'bundled:base'}\n", "models.benign"),
    "budget": ("budgets: {tokens: 5}\n", "budgets.tokens"),
    "limit": ("budgets: {calls: 0}\n", "budgets.calls"),
    "list": ("- a\n", ""),
    "yaml": ("a: [\n", ""),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_configuration_is_refused_with_its_key(tmp_path, name):
    text, key = BAD_FILES[name]
    (tmp_path / "i.yaml").write_text(text)
    with pytest.raises(FormatError) as caught:
        read_investigation(tmp_path / "i.yaml")
    assert key in str(caught.value)


def test_configuration_reads_the_environment_and_names_what_is_not_set(tmp_path, monkeypatch):
    (tmp_path / "i.yaml").write_text("models: {ref: '${THE_MODEL}'}\n")
    with pytest.raises(UserError, match="THE_MODEL"):
        read_investigation(tmp_path / "i.yaml")
    monkeypatch.setenv("THE_MODEL", "bundled:base")
    assert read_investigation(tmp_path / "i.yaml").models == {"ref": "bundled:base"}


def test_models_outside_the_workspace_are_refused(tmp_path):
    (tmp_path / "i.yaml").write_text("models: {ref: ../elsewhere}\n")
    with pytest.raises(UserError, match="outside"):
        read_investigation(tmp_path / "i.yaml").roles(Workspace(tmp_path, confined=True))


def test_profiles_of_table_and_option_are_the_same():
    assert get_args(Config.model_fields["profile"].annotation) == tuple(PROFILES)


@pytest.mark.parametrize("profile", [p for p in PROFILES if p != "full"])
def test_a_profile_is_a_part_of_the_catalogue(profile):
    full = offered("full")
    part = offered(profile)
    assert set(part) < set(full)
    assert not {"audit", "run", "replay", "demo"} & set(part)
    if profile != "whitebox":
        inside = {"weights_diff", "neurons_scan", "inspect", "match", "audit"}
        assert not [t for t in part if t in inside or t.startswith(("dictionary_", "probe_", "graph_"))]


def test_what_a_profile_leaves_out_is_not_there(workspace):
    with Agent(workspace, "--profile", "behavior_only") as agent:
        assert "verify" in agent.tools()
        session = agent.open()
        for left_out in set(offered("full")) - set(agent.tools()):
            with pytest.raises(MCPError, match="unknown tool"):
                agent.call(left_out, session_id=session)


def test_an_unknown_profile_names_the_known_ones(tmp_path):
    done = subprocess.run(
        [RADIOGRAPH, "mcp", "--profile", "blackbox"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert all(profile in done.stderr for profile in PROFILES)
    with pytest.raises(UserError, match="whitebox"):
        offered("whitbox")


def test_without_the_sdk_the_install_line_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "mcp.server.lowlevel", None)
    with pytest.raises(MissingExtra, match=r"radiograph\[mcp\]"):
        serving._require_sdk()


@pytest.mark.parametrize("found", ["1.27.0", "3.0.0"])
def test_another_major_version_of_the_sdk_is_refused(monkeypatch, found):
    monkeypatch.setattr(serving, "version", lambda name: found if name == "mcp" else metadata.version(name))
    with pytest.raises(MissingExtra, match=found):
        serving._require_sdk()
