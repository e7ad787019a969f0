"""The catalogue as tools: what is listed, what a call gives, what it refuses. By the SDK's client, over stdio."""

from __future__ import annotations

import hashlib
import json
import time
from concurrent.futures import CancelledError
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from mcp.shared.exceptions import MCPError

from radiograph.core import UserError, inputs_of
from radiograph.core.limits import TOOL_RESULT_BYTES
from radiograph.runtime import Verb, catalogue, verify
from radiograph.store import Workspace

from .agent import VERBS, Agent, entries, plugin, session_folder

OWN = {"health", "session_open", "session_close", "budget", "result_read"}
PLAN = "schema: radiograph.workflow/1\nsteps:\n  - {name: cells, verb: suite.check, with: {suite: stories}}\n"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A folder to serve, with things outside it that nobody may reach."""
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.yaml").write_text(PLAN)
    folder = tmp_path_factory.mktemp("workspace")
    (folder / "plan.yaml").write_text(PLAN)
    (folder / "link").symlink_to(outside)
    (folder / "link.yaml").symlink_to(outside / "secret.yaml")
    (folder / "chain").symlink_to(folder / "link")
    return folder


@pytest.fixture(scope="module")
def agent(workspace, tmp_path_factory):
    with Agent(workspace, env=plugin(tmp_path_factory.mktemp("plugin"))) as agent:
        yield agent


@pytest.fixture(scope="module")
def tools(agent):
    """Listed once: each answer holds every schema."""
    return agent.tools()


@pytest.fixture(scope="module")
def session(agent):
    return agent.open(title="tools")


def test_full_profile_offers_every_verb_that_ends_by_itself(tools):
    verbs = {verb.tool for verb in catalogue().values() if not verb.serves}
    assert set(tools) == OWN | verbs | {f"test_{name}" for name in VERBS}
    assert "mcp" not in tools


def test_schemas_are_those_of_the_configurations(tools):
    for verb in catalogue().values():
        if verb.serves:
            continue
        schema = tools[verb.tool].input_schema
        assert set(schema["properties"]) == {*verb.config.model_fields, "session_id", "reason", "seed"}
        assert set(schema["required"]) == {*_required(verb), "session_id"}
        assert tools[verb.tool].description == verb.doc
    for tool in tools.values():
        Draft202012Validator.check_schema(tool.input_schema)
        Draft202012Validator.check_schema(tool.output_schema)


def _required(verb: Verb) -> list[str]:
    return [name for name, field in verb.config.model_fields.items() if field.is_required()]


def test_handshake_and_stateless_clients_see_the_same(agent, tools, workspace, tmp_path):
    with Agent(workspace, env=plugin(tmp_path / "plugin"), mode="legacy") as other:
        assert other.ok("health") == agent.ok("health")
        assert set(other.tools()) == set(tools)


def test_a_call_leaves_its_bundle_in_the_session(agent, session, workspace):
    answer = agent.ok("run", session_id=session, workflow="plan.yaml", reason="what would it do?", seed=3)
    folder = workspace / answer["bundle"]
    assert folder.parent == session_folder(workspace, session) / "runs"
    assert answer["result"] == json.loads((folder / "result.json").read_text())
    assert json.loads((folder / "manifest.json").read_text())["seed"] == 3
    assert answer["exit_code"] == 0
    assert verify(folder, answer["seal"]).status == "intact"
    again = agent.ok("verify", session_id=session, run=answer["bundle"], seal=answer["seal"])
    assert again["result"]["status"] == "intact"
    assert again["bundle"] is None
    last = entries(workspace, session)[-2]
    assert (last["tool"], last["reason"], last["run_id"]) == ("run", "what would it do?", folder.name)
    assert last["args"] == {"workflow": "plan.yaml", "seed": 3}


def test_a_failed_gate_is_an_answer_and_no_error(agent, session, workspace):
    answer = agent.ok("run", session_id=session, workflow="plan.yaml")
    report = workspace / answer["bundle"] / "report.md"
    report.write_text(report.read_text() + "\n")
    found = agent.ok("verify", session_id=session, run=answer["bundle"])
    assert found["exit_code"] == 2
    assert "report.md" in found["headline"]


@pytest.mark.parametrize("tool", ["nothing", "mcp", "weights diff", ""])
def test_unknown_tool_is_a_protocol_error(agent, tool):
    with pytest.raises(MCPError, match="unknown tool"):
        agent.call(tool)


BAD = [
    ({"run": ".", "rnu": 1}, "unknown_option", "did you mean run?"),
    ({}, "bad_value", "see `radiograph verify --help`"),
    ({"run": 7}, "bad_value", None),
    ({"run": ".", "seed": "many"}, "bad_value", None),
    ({"run": ".", "reason": ["a"]}, "bad_value", None),
    ({"run": "nowhere"}, "not_found", None),
    ({"run": "."}, "format", None),
]


@pytest.mark.parametrize(("arguments", "code", "fix"), BAD, ids=lambda value: str(value)[:20])
def test_bad_arguments_are_answered_with_a_fix_and_written_down(agent, session, workspace, arguments, code, fix):
    problem = agent.error("verify", session_id=session, **arguments)
    assert problem["code"] == code
    assert problem["exit_code"] == 3
    assert set(problem) >= {"expected", "got", "fix"}
    if fix is not None:
        assert problem["fix"] == fix
    last = entries(workspace, session)[-1]
    assert last["is_error"]
    assert last["result_summary"] == code


@pytest.mark.parametrize("identity", [None, "", "0" * 12, "../../etc", "*", 7])
def test_a_call_needs_a_session(agent, identity):
    arguments = {} if identity is None else {"session_id": identity}
    assert agent.error("verify", run=".", **arguments)["code"] == "unknown_session"


ESCAPES = ["..", "../..", "/", "/etc", "/nowhere/at/all", "link", "link/secret.yaml", "link.yaml", "chain/x", "a\x00b"]


def _asking_for_paths_alone() -> list[Verb]:
    """Verbs for which naming their inputs is enough."""
    verbs = [v for v in catalogue().values() if not v.serves]
    return [v for v in verbs if _required(v) and set(_required(v)) <= set(inputs_of(v.config))]


ALSO = {
    "blame": {"reference": "bundled:base"},
    "decompose_attribute": {"data": ["world:story#1"]},
    "decompose_harvest": {"data": ["world:story#1"]},
    "diagnose": {"suite": "world:suite"},
    "edit_search": {"writes": "the"},
    "graph_optimise": {"prompt": "a x"},
    "harvest": {"site": ["resid_post.1"], "data": ["world:mixture#5"]},
    "inspect": {"criterion": "world:unit", "features": ["toy"], "count": 40},
    "neurons_scan": {"grid": "stories"},
    "probe_build": {"contrast": "builtin:harm"},
    "publish": {"dry_run": True},
    "records_export": {"features": ["units:resid_post.1"], "text": ["world:mixture#5"]},
    "resonance_capture": {"grid": "stories"},
    "steer_contrast": {"criterion": "world:unit", "site": ["resid_post.1"]},
}
"""What a verb asks for before it looks at a path."""
PATHS = {"blame": ("data", "target"), "resonance_compare": ("basis",), "resonance_sweep": ("basis",)}
"""Further paths that it asks for."""


@pytest.mark.parametrize("path", ESCAPES)
@pytest.mark.parametrize("verb", _asking_for_paths_alone(), ids=lambda verb: verb.tool)
def test_no_path_leads_out_of_the_workspace(agent, session, tools, verb, path):
    schema = tools[verb.tool].input_schema["properties"]
    arguments = ALSO.get(verb.tool, {}) | {
        name: [path] if schema[name].get("type") == "array" else path
        for name in (*_required(verb), *PATHS.get(verb.tool, ()))
    }
    problem = agent.error(verb.tool, session_id=session, **arguments)
    assert problem["code"] == "path_outside_workspace"
    assert problem["got"] is None


@pytest.mark.parametrize("model", ["../x", "/etc", "~", "~root/x", "link", "link+a", "base+../x", "base+/etc"])
def test_no_model_reference_leads_out_of_the_workspace(agent, session, model):
    assert agent.error("test_tell", session_id=session, model=model)["code"] == "path_outside_workspace"


def test_a_link_swapped_after_the_check_is_caught(workspace, monkeypatch):
    (workspace / "plain.txt").write_text("inside")
    resolve = Workspace.resolve

    def swap(self: Workspace, text: str, **options: bool) -> Path:
        found = resolve(self, text, **options)
        found.unlink()
        found.symlink_to(workspace / "link" / "secret.yaml")
        return found

    monkeypatch.setattr(Workspace, "resolve", swap)
    with pytest.raises(UserError, match="outside"):
        Workspace(workspace, confined=True).open("plain.txt")


def test_a_long_result_is_read_in_parts(agent, session, workspace):
    answer = agent.ok("test_large", session_id=session, rows=9000)
    assert (answer["truncated"], answer["result"]) == (True, None)
    parts, cursor, sizes = [answer["part"]], answer["cursor"], [len(json.dumps(answer))]
    called = entries(workspace, session)[-1]
    while cursor is not None:
        page = agent.ok("result_read", session_id=session, cursor=cursor)
        parts.append(page["part"])
        sizes.append(len(json.dumps(page)))
        assert page["truncated"] == (page["cursor"] is not None)
        cursor = page["cursor"]
    whole = "".join(parts)
    assert hashlib.sha256(whole.encode()).hexdigest() == called["result_sha256"]
    assert json.loads(whole)["result"]["rows"][-1] == 'row 8999 "quoted" \\ ü\n'
    assert max(sizes) <= TOOL_RESULT_BYTES
    assert sizes[0] > TOOL_RESULT_BYTES // 2


@pytest.mark.parametrize("cursor", ["", "1:0", "0:0", "999:0", "../session:0", "1:-1", "x"])
def test_a_foreign_cursor_is_refused(agent, session, cursor):
    assert agent.error("result_read", session_id=session, cursor=cursor)["code"] == "bad_cursor"


def test_stdout_carries_the_protocol_alone(agent, session):
    for _ in range(3):
        assert agent.ok("test_large", session_id=session)["result"]["rows"] == ['row 0 "quoted" \\ ü\n']


def test_the_server_answers_while_a_verb_works(agent, session):
    progress: list[str] = []
    work = agent.start("test_wait", session_id=session, steps=100, progress=progress)
    while not progress:
        time.sleep(0.01)
    began = time.monotonic()
    assert agent.ok("health")["status"] == "ok"
    agent.ok("budget", session_id=session)
    assert time.monotonic() - began < 0.9
    assert not work.done()
    assert work.result(30).structured_content["headline"] == "waited 100 steps"
    assert progress[0] == "waiting 1/100" or progress[0] == "waiting"
    assert len(progress) > 2


def test_a_cancelled_call_leaves_nothing_that_looks_finished(agent, workspace):
    session = agent.open(title="to be cancelled")
    progress: list[str] = []
    work = agent.start("test_wait", session_id=session, steps=3000, progress=progress)
    waiting = agent.start("test_wait", session_id=session, steps=3000)
    while not progress:
        time.sleep(0.01)
    waiting.cancel()
    work.cancel()
    for call in (work, waiting):
        with pytest.raises(CancelledError):
            call.result(5)
    agent.ok("verify", session_id=session, run="runs/" + session_folder(workspace, session).name)
    folder = session_folder(workspace, session)
    assert [p.suffix for p in (folder / "runs").iterdir()] == [".partial"]
    # A call that waited for its turn writes its entry when the turn comes, which may be after the next answer.
    until = time.monotonic() + 30
    while cancelled(workspace, session) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    assert cancelled(workspace, session) == 2
    agent.ok("session_close", session_id=session)
    assert verify(folder).status == "intact"


def cancelled(workspace, session):
    """Entries of calls that were cancelled."""
    return [e["result_summary"] for e in entries(workspace, session)].count("cancelled")


def test_home_and_workspace_are_not_named(agent, session, workspace):
    problem = agent.error("run", session_id=session, workflow="runs/nothing.yaml")
    assert str(workspace) not in json.dumps(problem)
    assert str(Path.home()) not in json.dumps(problem)
