"""The same desk over HTTP on this machine: who is let in, and sessions across connections."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
from urllib.parse import urlparse

import pytest

from radiograph.core.limits import REQUEST_BYTES
from radiograph.runtime import verify

from .agent import RADIOGRAPH, Agent, session_folder

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
HEADERS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture(scope="module")
def url(workspace):
    server = subprocess.Popen(
        [RADIOGRAPH, "mcp", "--transport", "http"],
        cwd=workspace,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    with server:
        assert server.stdout is not None
        yield json.loads(server.stdout.readline())["url"]
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 0
        assert server.stdout.read() == ""


def post(url: str, body: bytes, **headers: str) -> int:
    place = urlparse(url)
    connection = http.client.HTTPConnection("127.0.0.1", place.port, timeout=20)
    try:
        connection.request("POST", place.path, body, HEADERS | {k.title(): v for k, v in headers.items()})
        return connection.getresponse().status
    finally:
        connection.close()


def test_it_listens_on_this_machine_alone(url):
    assert urlparse(url).hostname == "127.0.0.1"


@pytest.mark.parametrize(
    "headers", [{"host": "evil.example"}, {"origin": "http://evil.example"}, {"host": "127.0.0.1.evil:80"}]
)
def test_a_page_from_elsewhere_is_not_let_in(url, headers):
    assert post(url, json.dumps(PING).encode(), **headers) in (403, 421)


def test_a_body_above_the_limit_is_refused(url):
    assert post(url, json.dumps(PING | {"params": {"x": "y" * REQUEST_BYTES}}).encode()) == 413


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_one_session_over_two_connections(url, workspace, mode):
    with Agent(workspace, url=url, mode=mode) as left, Agent(workspace, url=url) as right:
        session = left.open()
        calls = [a.start("verify", session_id=session, run="runs") for _ in range(5) for a in (left, right)]
        assert {call.result(20).structured_content["code"] for call in calls} == {"format"}
        assert left.error("verify", session_id=session, run="..")["code"] == "path_outside_workspace"
        assert right.ok("session_close", session_id=session)["seq"] == 13
    assert verify(session_folder(workspace, session)).status == "intact"
