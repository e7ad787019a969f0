"""Each entry is bound to the one before; every change but a cut tail breaks the chain, and the manifest shows that."""

from __future__ import annotations

import hashlib
import json

import pytest

from radiograph.store import Transcript, broken_links, first_link

SESSION, CONFIG = "s", "c" * 64


@pytest.fixture
def log(tmp_path):
    transcript = Transcript(tmp_path / "tool_calls.jsonl", SESSION, CONFIG)
    for number in range(5):
        transcript.append(tool="t", args={"n": number}, result=number, caller="cli", summary="ok")
    return transcript


def broken(transcript: Transcript, lines: list[bytes]) -> list[str]:
    transcript.path.write_bytes(b"".join(line + b"\n" for line in lines))
    return broken_links(transcript.path, first_link(SESSION, CONFIG), 5, transcript.head)


def test_the_chain_by_hand(log):
    """SHA-256(prev || canonical JSON of the rest), from SHA-256(name || session || configuration)."""
    prev = hashlib.sha256(f"radiograph.transcript/1{SESSION}{CONFIG}".encode()).hexdigest()
    for number, line in enumerate(log.path.read_bytes().splitlines(), start=1):
        entry = json.loads(line)
        assert (entry["seq"], entry["prev"]) == (number, prev)
        rest = {k: v for k, v in entry.items() if k not in ("prev", "hash")}
        text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        prev = hashlib.sha256((prev + text).encode()).hexdigest()
        assert entry["hash"] == prev
    assert (log.seq, log.head) == (5, prev)


def test_whole_chain_has_no_broken_link(log):
    assert broken_links(log.path, first_link(SESSION, CONFIG), 5, log.head) == []


@pytest.mark.parametrize(
    "forge",
    [
        lambda lines: lines[1:],
        lambda lines: [*lines[:2], *lines[3:]],
        lambda lines: [lines[0], lines[2], lines[1], *lines[3:]],
        lambda lines: [*lines[:2], lines[1], *lines[2:]],
        lambda lines: [*lines[:2], lines[2].replace(b'"n":2', b'"n":7'), *lines[3:]],
        lambda lines: [*lines[:2], b" " + lines[2], *lines[3:]],
        lambda lines: [*lines[:2], b"{", *lines[3:]],
        lambda lines: [*lines[:2], b"", *lines[2:]],
        lambda lines: lines[:4],
        lambda lines: [],
    ],
    ids=["head", "dropped", "swapped", "doubled", "changed", "spaced", "no JSON", "blank", "cut", "empty"],
)
def test_every_forgery_is_named(log, forge):
    assert broken(log, forge(log.path.read_bytes().splitlines()))


def test_another_session_or_configuration_has_another_chain(log):
    assert broken_links(log.path, first_link("other", CONFIG))
    assert broken_links(log.path, first_link(SESSION, "d" * 64))
