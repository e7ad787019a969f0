"""Every verb of features works where nothing can be reached: no socket but that of an endpoint in this process."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from chatting import chatting
from criteria.test_llm import author
from explanations.make import judge
from moved import write_prompts
from radiograph.core import ExitCode
from radiograph.runtime import Outcome, catalogue, verify
from running import go

MEASURED = {ExitCode.PASS, ExitCode.GATE_FAILED}
PUSHED: dict[str, Any] = {
    "model": "bundled:base",
    "criterion": "the next token is a unit",
    "prompts": "prompts.jsonl",
    "targets": " metres",
    "rows": 16,
    "dose": "-1,1",
    "controls": 1,
    "neutral_texts": 2,
}
VERBS = {
    "records.export",
    "inspect",
    "intervene",
    "steer.contrast",
    "match",
    "explain.features",
    "explain.score",
    "explain.sync",
    "graph.report",
    "run",
    "replay",
    "verify",
    "doctor",
    "publish",
}


@contextmanager
def blocked(url: str) -> Iterator[list[object]]:
    """No name is looked up and no socket connected but to this address; gives what was tried."""
    place = urlsplit(url)
    tried: list[object] = []
    connect = socket.socket.connect

    def only(self: socket.socket, address: Any) -> None:
        if address != (place.hostname, place.port):
            tried.append(address)
            raise OSError(f"blocked: {address}")
        connect(self, address)

    def looked_up(host: object, *given: Any, **more: Any) -> Any:
        if host != place.hostname:
            tried.append(host)
            raise socket.gaierror(f"blocked: {host}")
        return found(host, *given, **more)

    found = socket.getaddrinfo
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", only)
        patch.setattr(socket.socket, "connect_ex", only)
        patch.setattr(socket, "getaddrinfo", looked_up)
        yield tried


def answered(payload: dict[str, Any], number: int) -> str:
    """Whatever is asked: writes and labels rows, explains, and judges explanations."""
    asked = payload["messages"][0]["content"]
    if "explanation:\n" in asked:
        return judge(payload, number)
    if asked.startswith(("You prepare", "You write")) or '"holds"' in asked:
        return author(payload)
    return json.dumps({"explanation": "“km”", "fires_on": ["km"], "not_on": [], "rule": None, "confidence": 0.5})


def write_exports(folder: Path) -> None:
    """Explanations as Neuronpedia publishes them."""
    rows = [{"modelId": "m", "layer": "s", "index": str(n), "description": f"words {n}"} for n in range(4)]
    folder.mkdir(parents=True)
    data = gzip.compress(b"".join(json.dumps(row).encode() + b"\n" for row in rows), mtime=0)
    (folder / "batch-0.jsonl.gz").write_bytes(data)


def asked_of_all(url: str) -> Iterator[tuple[str, Outcome]]:
    """Each verb once on what ships with the package, the endpoint where a language model is asked."""
    chat = {"endpoint": url, "chat_model": "tiny", "retries": 0, "concurrency": 1}
    exported = {"features": ["dictionary:bundled#0-40"], "model": "bundled:base", "level": "prompt", "pool": "max"}
    yield "records.export", go("records export", out="records", prompts="world:next_unit", count=60, **exported)
    quick = {"model": "bundled:base", "permutations": 0, "bootstrap": 0, "cards": 2, "causal": 0}
    words = {"criterion": "mentions of physical units", "count": 240, "candidates": 5}
    asked = {**words, "endpoint": url, "writer_model": "tiny"}
    yield "inspect", go("inspect", out="written", features=["units:mlp_hidden.2#0-40"], **quick, **asked)
    drawn = {**quick, "criterion": "world:unit", "count": 120, "permutations": 200}
    yield "inspect", go("inspect", out="toy", features=["toy"], **drawn)
    yield "intervene", go("intervene", out="moved", features=["units:mlp_hidden.2#5"], **PUSHED)
    yield "steer.contrast", go("steer contrast", site=["resid_post.2"], **PUSHED, positions="last")
    yield "match", go("match", out="matched", left="records", right="records")
    live = {"source": "dictionary:bundled#0-3", "model": "bundled:base", "documents": 80}
    yield "explain.features", go("explain features", out="told", **live)
    yield "explain.features", go("explain features", out="asked", **live, with_="llm", **chat)
    yield "explain.score", go("explain score", out="scored", run="asked", scorer=["detection"], seeds=1, **chat)
    write_exports(Path("exports/v1/m/s/explanations"))
    yield "explain.sync", go("explain sync", source="m/s", from_="exports")
    yield "graph.report", go("graph report", run=["matched", "moved"])
    step = {"name": "matched", "verb": "match", "with": {"left": "records", "right": "records"}}
    Path("flow.json").write_text(json.dumps({"schema": "radiograph.workflow/1", "steps": [step]}))
    yield "run", go("run", workflow="flow.json")
    yield "replay", go("replay", run="matched")
    yield "verify", go("verify", run="matched")
    yield "doctor", go("doctor")
    yield "publish", go("publish", run="matched", dry_run=True)


def test_x5_8_every_verb_works_with_sockets_blocked(workspace):
    write_prompts(workspace / "prompts.jsonl")
    done: set[str] = set()
    with chatting(answered) as server, blocked(server.url) as tried:
        for verb, outcome in asked_of_all(server.url):
            done.add(verb)
            assert outcome.exit_code in MEASURED and outcome.result.headline[0].isalnum(), (
                verb,
                outcome.result.headline,
            )
            if outcome.path is not None:
                assert verify(outcome.path).status == "intact", verb
    assert tried == [] and server.seen
    assert done == VERBS <= set(catalogue())


def test_the_block_can_fail():
    with chatting(answered) as server, blocked(server.url) as tried:
        for address in (("127.0.0.1", 9), ("192.0.2.1", 443)):
            with pytest.raises(OSError, match="blocked"), socket.socket() as one:
                one.connect(address)
        with pytest.raises(OSError, match="blocked"):
            socket.getaddrinfo("example.org", 443)
        socket.create_connection((urlsplit(server.url).hostname, urlsplit(server.url).port)).close()
    assert len(tried) == 3
