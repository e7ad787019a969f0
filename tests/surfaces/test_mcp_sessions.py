"""A session is its folder: who shares it, what it may spend, and how tampering shows."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from radiograph.evidence import canonical_json, document_sha256
from radiograph.runtime import verify
from radiograph.store import Transcript, first_link
from radiograph.store._transcript import link

from .agent import Agent, entries, plugin, session_folder

PLAN = "schema: radiograph.workflow/1\nsteps:\n  - {name: cells, verb: suite.check, with: {suite: stories}}\n"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workspace")
    (folder / "plan.yaml").write_text(PLAN)
    return folder


@pytest.fixture(scope="module")
def env(tmp_path_factory):
    return plugin(tmp_path_factory.mktemp("plugin"))


@pytest.fixture(scope="module")
def agent(workspace, env):
    with Agent(workspace, env=env) as agent:
        yield agent


@pytest.fixture(scope="module")
def other(workspace, env):
    """A second connection to the same folder, by the older handshake."""
    with Agent(workspace, env=env, mode="legacy") as other:
        yield other


@pytest.fixture(scope="module")
def closed(agent, workspace):
    """A closed session with a bundle, an error and a long result; and its seal."""
    session = agent.open(title="to be tampered with")
    agent.ok("run", session_id=session, workflow="plan.yaml")
    agent.error("verify", session_id=session, run="nowhere")
    agent.ok("test_large", session_id=session, rows=5000)
    agent.ok("budget", session_id=session)
    answer = agent.ok("session_close", session_id=session)
    return session_folder(workspace, session), answer


def test_a_closed_session_verifies_with_its_bundles(closed):
    folder, answer = closed
    found = verify(folder, answer["seal"])
    assert found.status == "intact"
    assert answer["seq"] == 6 == len((folder / "tool_calls.jsonl").read_bytes().splitlines())
    assert json.loads((folder / "session.json").read_text())["transcript_head"] == answer["head"]


Lines = list[bytes]


def _rehash(lines: Lines, folder: Path) -> Lines:
    """The same entries with a chain made new: what somebody would do who knows the format."""
    record = json.loads((folder / "session.json").read_text())
    prev, out = first_link(record["session_id"], document_sha256(record["config"])), []
    for number, line in enumerate(lines, start=1):
        entry = json.loads(line) | {"seq": number, "prev": prev}
        prev = entry["hash"] = link(prev, entry)
        out.append(canonical_json(entry))
    return out


def _changed(line: bytes) -> bytes:
    entry = json.loads(line)
    return canonical_json(entry | {"result_summary": "all is well"})


TAMPERINGS: dict[str, tuple[Callable[[Lines], Lines], str]] = {
    "changed": (lambda s: [*s[:2], _changed(s[2]), *s[3:]], "seq 3"),
    "dropped": (lambda s: [*s[:2], *s[3:]], "entry 3: seq is 4"),
    "swapped": (lambda s: [*s[:2], s[3], s[2], *s[4:]], "entry 3: seq is 4"),
    "inserted": (lambda s: [*s[:3], s[2], *s[3:]], "entry 4: seq is 3"),
    "first dropped": (lambda s: s[1:], "entry 1: seq is 2"),
    "tail cut": (lambda s: s[:-2], "entries 5 to 6 are missing"),
    "spaced": (lambda s: [*s[:2], s[2].replace(b'":', b'": ', 1), *s[3:]], "entry 3: not canonical"),
    "garbled": (lambda s: [*s[:2], b"{", *s[3:]], "entry 3: not JSON"),
    "emptied": (lambda _: [], "entries 1 to 6 are missing"),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_with_the_transcript_is_named_by_seq(closed, tmp_path, name):
    tamper, named = TAMPERINGS[name]
    folder = shutil.copytree(closed[0], tmp_path / closed[0].name)
    log = folder / "tool_calls.jsonl"
    log.write_bytes(b"".join(line + b"\n" for line in tamper(log.read_bytes().splitlines())))
    found = verify(folder)
    assert (found.status, found.exit_code) == ("changed", 2)
    assert any(named in p.text for p in found.problems), found.problems


@pytest.mark.parametrize("name", ["changed", "dropped", "swapped", "inserted", "tail cut"])
def test_a_chain_made_new_does_not_fit_the_head(closed, tmp_path, name):
    folder = shutil.copytree(closed[0], tmp_path / closed[0].name)
    log = folder / "tool_calls.jsonl"
    lines = _rehash(TAMPERINGS[name][0](log.read_bytes().splitlines()), folder)
    log.write_bytes(b"".join(line + b"\n" for line in lines))
    assert verify(folder).exit_code == 2


def test_an_entry_added_after_the_close_shows(closed, tmp_path):
    folder = shutil.copytree(closed[0], tmp_path / closed[0].name)
    record = json.loads((folder / "session.json").read_text())
    log = Transcript(folder / "tool_calls.jsonl", record["session_id"], document_sha256(record["config"]))
    log.follow()
    log.append(tool="late", args={}, result={}, caller="mcp", summary="")
    assert "entries 7 to 7 were added" in verify(folder).problems[0].text


@pytest.mark.parametrize("what", ["bundle", "bundle exchanged", "bundle gone", "result", "settings", "log gone"])
def test_tampering_around_the_transcript_shows(closed, agent, workspace, tmp_path, what):
    folder = shutil.copytree(closed[0], tmp_path / closed[0].name)
    (bundle,) = (folder / "runs").iterdir()
    if what == "bundle":
        (bundle / "result.json").write_text("{}")
    elif what == "bundle exchanged":
        session = agent.open()
        other = agent.ok("run", session_id=session, workflow="plan.yaml", seed=9)["bundle"]
        shutil.rmtree(bundle)
        shutil.copytree(workspace / other, bundle)
    elif what == "bundle gone":
        shutil.rmtree(bundle)
    elif what == "result":
        (file,) = (folder / "results").iterdir()
        file.write_bytes(file.read_bytes().replace(b"row 7 ", b"row 8 "))
    elif what == "settings":
        record = json.loads((folder / "session.json").read_text())
        record["config"]["profile"] = "behavior_only"
        (folder / "session.json").write_text(json.dumps(record))
    else:
        (folder / "tool_calls.jsonl").unlink()
    assert verify(folder).exit_code == 2


def test_a_session_rewritten_whole_does_not_fit_its_seal(closed, tmp_path):
    folder = shutil.copytree(closed[0], tmp_path / closed[0].name)
    log = folder / "tool_calls.jsonl"
    lines = _rehash(log.read_bytes().splitlines()[:4], folder)
    log.write_bytes(b"".join(line + b"\n" for line in lines))
    record = json.loads((folder / "session.json").read_text())
    record |= {"transcript_seq": 4, "transcript_head": json.loads(lines[-1])["hash"]}
    (folder / "session.json").write_text(json.dumps(record))
    assert verify(folder).status == "intact"
    assert verify(folder, closed[1]["seal"]).status == "changed"


def test_an_open_session_is_incomplete_and_its_breaks_are_still_named(agent, workspace, tmp_path):
    session = agent.open()
    agent.ok("budget", session_id=session)
    folder = shutil.copytree(session_folder(workspace, session), tmp_path / "copy")
    assert (verify(folder).status, verify(folder).exit_code) == ("incomplete", 3)
    log = folder / "tool_calls.jsonl"
    log.write_bytes(log.read_bytes().splitlines(keepends=True)[1])
    assert verify(folder).exit_code == 2


def test_a_damaged_session_takes_no_more_calls(agent, other, workspace):
    session = agent.open()
    agent.ok("budget", session_id=session)
    log = session_folder(workspace, session) / "tool_calls.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"tool":"budget"', b'"tool":"verify"'))
    assert other.error("budget", session_id=session)["code"] == "transcript_broken"


def test_one_session_over_two_connections(agent, other, workspace):
    session = agent.open()
    calls = [a.start("test_large", session_id=session) for _ in range(10) for a in (agent, other)]
    assert not any(call.result(30).is_error for call in calls)
    spent = [a.ok("budget", session_id=session)["spent"] for a in (agent, other)]
    assert [s["calls"] for s in spent] == [20, 20]
    assert other.ok("session_close", session_id=session)["seq"] == 24
    assert agent.error("budget", session_id=session)["code"] == "session_closed"
    assert verify(session_folder(workspace, session)).status == "intact"
    assert [e["seq"] for e in entries(workspace, session)] == list(range(1, 25))


def test_two_sessions_over_one_connection(agent, workspace):
    left, right = agent.open(), agent.open()
    for session in (left, right, left):
        agent.ok("test_large", session_id=session)
    closed = {s: agent.ok("session_close", session_id=s)["seq"] for s in (left, right)}
    assert closed == {left: 4, right: 3}
    for session in (left, right):
        assert verify(session_folder(workspace, session)).status == "intact"
        assert {e["session_id"] for e in entries(workspace, session)} == {session}


def test_a_session_belongs_to_one_profile(agent, workspace, env):
    session = agent.open()
    with Agent(workspace, "--profile", "data_only", env=env) as other:
        assert other.error("budget", session_id=session)["code"] == "session_mismatch"


def test_budgets_end_what_may_be_done(workspace, env, tmp_path):
    file = tmp_path / "budget.yaml"
    file.write_text("budgets: {calls: 2, seconds: 0.5, bytes: 100000}\n")
    with Agent(workspace, "--config", str(file), env=env) as agent:
        session = agent.open()
        agent.ok("test_large", session_id=session)
        agent.ok("test_large", session_id=session)
        problem = agent.error("test_large", session_id=session)
        assert (problem["code"], problem["got"]) == ("budget_exhausted", "2 calls")
        assert agent.ok("budget", session_id=session)["spent"]["calls"] == 2
        slow = agent.open()
        assert agent.error("test_wait", session_id=slow)["got"] == "0.5 seconds"
        assert agent.error("test_large", session_id=slow)["code"] == "budget_exhausted"
        wide = agent.open()
        answer = agent.ok("test_large", session_id=wide, rows=20000)
        agent.ok("result_read", session_id=wide, cursor=answer["cursor"])
        assert agent.error("result_read", session_id=wide, cursor=answer["cursor"])["got"] == "100000 bytes"
        for one in (session, slow, wide):
            agent.ok("session_close", session_id=one)
            assert verify(session_folder(workspace, one)).status == "intact"


def test_a_killed_server_leaves_a_session_that_goes_on(agent, workspace, env):
    before = _children()
    with Agent(workspace, env=env) as doomed:
        (server,) = _children() - before
        session = doomed.open()
        progress: list[str] = []
        work = doomed.start("test_wait", session_id=session, progress=progress)
        while not progress:
            time.sleep(0.01)
        os.kill(server, signal.SIGKILL)
        with pytest.raises(Exception):  # noqa: B017 - whatever a lost connection raises in this SDK
            work.result(10)
    folder = session_folder(workspace, session)
    assert [p.suffix for p in (folder / "runs").iterdir()] == [".partial"]
    agent.ok("session_close", session_id=session)
    assert verify(folder).status == "intact"


def _children() -> set[int]:
    """The processes this one started; a thread that ends while it is asked has none that matter."""
    found: set[int] = set()
    for task in Path(f"/proc/{os.getpid()}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            found |= {int(child) for child in (task / "children").read_text().split()}
    return found
