"""The chat client against a real server: what is retried, what ends a batch, what is paid for, and where no key is."""

from __future__ import annotations

import json
import pickle
import shutil
import sqlite3
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from chatting import Fault, chatting
from radiograph.core import FormatError, UserError
from radiograph.store.chat import (
    Answer,
    Ask,
    ChatCache,
    ChatClient,
    ChatError,
    ChatSettings,
    Endpoint,
    Failure,
    Price,
    chat_cache,
    json_object,
    read_prices,
)

KEY = "sk-test-0123456789abcdef"


def ask(text: str = "hello", version: str = "v1", read=json_object) -> Ask:
    return Ask(({"role": "user", "content": text},), version, read)


def client(server, cache=None, *, url=None, key_env=None, **settings) -> ChatClient:
    own = ChatSettings(**{"first_wait": 0.001, "timeout": 5.0, **settings})
    return ChatClient(Endpoint.at(url or server.url, "m", key_env), own, cache)


def yes(payload, number):
    return '{"yes": true}'


def first(fault: Fault, times: int = 1):
    return lambda payload, number: fault if number < times else '{"yes": true}'


def test_an_answer_is_read_and_the_request_is_the_openai_shape():
    with chatting(yes) as server:
        answer = client(server, temperature=0.0, seed=7, max_tokens=50).ask(ask())
    assert answer.value == {"yes": True}
    assert not answer.cached
    assert server.paths == ["/v1/chat/completions"]
    assert server.seen == [
        {
            "model": "m",
            "messages": [{"role": "user", "content": "hello"}],
            "temperature": 0.0,
            "seed": 7,
            "max_tokens": 50,
        }
    ]
    assert "authorization" not in server.headers[0]


def test_an_answer_in_parts_is_one_text():
    parts = [{"type": "text", "text": '{"a"'}, {"type": "text", "text": ": 1}"}]
    body = json.dumps({"choices": [{"message": {"content": parts}}]}).encode()
    with chatting(lambda p, n: Fault(body=body)) as server:
        assert client(server).ask(ask()).value == {"a": 1}


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "endpoint_unauthorised"),
        (403, "endpoint_unauthorised"),
        (404, "endpoint_not_found"),
        (307, "endpoint_not_found"),
    ],
)
def test_what_cannot_pass_is_not_tried_again_and_ends_the_batch(status, code):
    fault = Fault(status, {"Location": "http://127.0.0.1:1/elsewhere"}, b'{"error": {"message": "no"}}')
    with chatting(lambda p, n: fault) as server:
        asked = client(server, concurrency=1)
        batch = asked.ask_all([ask(str(i)) for i in range(5)])
    assert len(server.seen) == 1
    assert batch.stopped is not None
    assert (batch.stopped.code, batch.stopped.exit_code) == (code, 4)
    assert str(status) in str(batch.stopped)
    assert batch.stopped.fix
    assert [r.error.code for r in batch.replies if isinstance(r, Failure)][1:] == ["not_asked"] * 4
    assert (batch.failed, batch.asked) == (1, 1)


@pytest.mark.parametrize("status", [400, 422])
def test_a_refused_question_fails_alone(status):
    def script(payload, number):
        return Fault(status, body=b'{"error": "too long"}') if number == 0 else '{"yes": true}'

    with chatting(script) as server:
        batch = client(server, concurrency=1).ask_all([ask("a"), ask("b")])
    assert batch.stopped is None
    assert [type(r) for r in batch.replies] == [Failure, Answer]
    assert "too long" in str(batch.replies[0].error)


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 529])
def test_what_may_pass_is_tried_again(status):
    with chatting(first(Fault(status), 2)) as server:
        assert client(server).ask(ask()).value == {"yes": True}
    assert len(server.seen) == 3


@pytest.mark.parametrize(
    "fault",
    [
        Fault(body=b"<html>gateway</html>"),
        Fault(body=b'{"choices": []}'),
        Fault(body=b'{"choices": [{"message": {"content": null}}]}'),
        Fault(body=b"[1]"),
        Fault(body=b"\xff\xfe"),
        Fault(body=b'{"choices"', broken=True),
    ],
    ids=["html", "empty", "null", "list", "no text", "broken off"],
)
def test_a_reply_of_another_shape_is_tried_again_then_an_error(fault):
    with chatting(first(fault)) as server:
        assert client(server).ask(ask()).value == {"yes": True}
    with chatting(lambda p, n: fault) as server, pytest.raises(ChatError) as caught:
        client(server, retries=1).ask(ask())
    assert caught.value.code in ("endpoint_failed", "endpoint_unreachable")
    assert len(server.seen) == 2


def test_waits_grow_with_jitter_and_stop_at_the_longest():
    with chatting(lambda p, n: Fault(503)) as server:
        asked = client(server, retries=6, first_wait=1.0, longest_wait=8.0)
        waits: list[float] = []
        asked._pause = waits.append
        with pytest.raises(ChatError, match="endpoint failed"):
            asked.ask(ask())
    assert len(waits) == 6
    for wait, full in zip(waits, [1, 2, 4, 8, 8, 8], strict=True):
        assert full / 2 <= wait <= full
    assert len({wait / full for wait, full in zip(waits, [1, 2, 4, 8, 8, 8], strict=True)}) > 1


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_kept_by_all_threads(form):
    after = "3" if form == "seconds" else format_datetime(datetime.now(UTC) + timedelta(seconds=4), usegmt=True)
    with chatting(first(Fault(429, {"Retry-After": after}))) as server:
        asked = client(server, concurrency=1)
        waits: list[float] = []
        asked._pause = waits.append
        batch = asked.ask_all([ask("a"), ask("b")])
    assert batch.failed == 0
    assert all(1.0 < wait <= 4.0 for wait in waits)
    assert len(waits) == 2, "the second question waits too: nothing has slept, so the time is not over"


def test_a_wait_longer_than_the_longest_is_an_error_that_names_it():
    with chatting(lambda p, n: Fault(429, {"Retry-After": "3600"})) as server, pytest.raises(ChatError) as caught:
        client(server).ask(ask())
    assert caught.value.code == "endpoint_rate_limited"
    assert "3600 s" in str(caught.value)
    assert len(server.seen) == 1


def test_a_slow_server_times_out():
    with chatting(lambda p, n: Fault(wait=0.6)) as server, pytest.raises(ChatError) as caught:
        client(server, timeout=0.15, retries=1).ask(ask())
    assert caught.value.code == "endpoint_timeout"
    assert len(server.seen) == 2


def test_nobody_there():
    with chatting(yes) as server:
        pass
    with pytest.raises(ChatError) as caught:
        client(server, retries=1).ask(ask())
    assert caught.value.code == "endpoint_unreachable"
    assert caught.value.exit_code == 4


def test_an_unreadable_answer_is_asked_once_more_with_its_error_quoted():
    def script(payload, number):
        return "I would rather not say" if number == 0 else 'Sure:\n```json\n{"yes": true}\n```'

    with chatting(script) as server:
        asked = client(server)
        assert asked.ask(ask()).value == {"yes": True}
    again = server.seen[1]["messages"]
    assert again[1] == {"role": "assistant", "content": "I would rather not say"}
    assert "no JSON object in the answer" in again[2]["content"]
    assert asked.usage.repaired == 1


def test_two_unreadable_answers_count_as_failed(tmp_path):
    with chatting(lambda p, n: "no") as server, ChatCache.open(tmp_path / "c.sqlite") as cache:
        # Where nothing may be asked both answers come from the cache, and fail as they did.
        for settings, calls in (({}, 2), ({"offline": True}, 0), ({"max_calls": 0}, 0)):
            asked = client(server, cache, **settings)
            with pytest.raises(ChatError) as caught:
                asked.ask(ask())
            assert caught.value.code == "bad_answer"
            assert (asked.usage.failed, asked.usage.calls, asked.usage.cached) == (1, calls, 2 - calls)
    assert len(server.seen) == 2


def test_what_could_not_be_read_twice_is_asked_anew_and_then_kept(tmp_path):
    script = lambda payload, number: "no" if number < 4 else '{"yes": true}'  # noqa: E731
    with chatting(script) as server, ChatCache.open(tmp_path / "c.sqlite") as cache:
        for calls in (2, 4):
            with pytest.raises(ChatError, match="twice"):
                client(server, cache).ask(ask())
            assert len(server.seen) == calls
        healed = client(server, cache)
        assert healed.ask(ask()).value == {"yes": True} and not healed.usage.failed
        assert (healed.usage.calls, healed.usage.cached) == (1, 0)
        kept = client(server, cache, offline=True)
        assert kept.ask(ask()).cached and (kept.usage.calls, kept.usage.cached) == (0, 1)


def test_an_answer_whose_repair_is_missing_goes_on_with_the_repair(tmp_path):
    script = lambda payload, number: "no" if number == 0 else '{"yes": true}'  # noqa: E731
    with chatting(script) as server, ChatCache.open(tmp_path / "c.sqlite") as cache:
        with pytest.raises(ChatError, match="budget"):
            client(server, cache, max_calls=1).ask(ask())
        asked = client(server, cache)
        assert asked.ask(ask()).value == {"yes": True}
    assert (asked.usage.calls, asked.usage.cached, asked.usage.repaired, len(server.seen)) == (1, 1, 1, 2)


@pytest.mark.parametrize("text", ["[1]", "{", '{"a": NaN}', "", "{" * 100_000 + '"a"', '{"a":' * 100_000])
def test_json_object_refuses_with_an_error_that_can_be_quoted(text):
    with pytest.raises(ValueError, match=r"."):
        json_object(text)


def test_a_cached_answer_is_free_and_offline_is_enough(tmp_path):
    with chatting(yes) as server, ChatCache.open(tmp_path / "c.sqlite") as cache:
        assert not client(server, cache).ask(ask()).cached
        assert client(server, cache, max_calls=0).ask(ask()).cached
        snapshot = cache.snapshot_sha256()
    with ChatCache.open(tmp_path / "c.sqlite") as cache:
        asked = client(server, cache, offline=True)
        assert asked.ask(ask()).value == {"yes": True}
        assert asked.usage.calls == 0
        assert asked.usage.cost == 0.0
        with pytest.raises(ChatError) as caught:
            asked.ask(ask("something else"))
        assert caught.value.code == "offline"
        assert cache.snapshot_sha256() == snapshot
    assert len(server.seen) == 1


@pytest.mark.parametrize("change", ["text", "version", "model", "seed", "temperature", "max_tokens"])
def test_whatever_may_change_an_answer_is_part_of_the_key(tmp_path, change):
    with chatting(yes) as server, ChatCache.open(tmp_path / "c.sqlite") as cache:
        client(server, cache).ask(ask())
        settings = {"seed": {"seed": 1}, "temperature": {"temperature": 0.5}, "max_tokens": {"max_tokens": 9}}
        other = client(server, cache, **settings.get(change, {}))
        if change == "model":
            other = ChatClient(Endpoint.at(server.url, "n"), other.settings, cache)
        assert not other.ask(ask("x" if change == "text" else "hello", "v2" if change == "version" else "v1")).cached
        assert client(server, cache, concurrency=9, timeout=9.0).ask(ask()).cached


def test_the_call_budget_stops_cleanly_and_resumes(tmp_path):
    asks = [ask(str(i)) for i in range(10)]
    with chatting(yes) as server, ChatCache.open(tmp_path / "c.sqlite") as cache:
        batch = client(server, cache, max_calls=4).ask_all(asks)
        assert len(server.seen) == 4
        assert batch.stopped is not None
        assert (batch.stopped.code, batch.stopped.exit_code) == ("budget_spent", 4)
        assert "--max-calls" in str(batch.stopped.fix)
        assert sum(1 for _ in batch.values()) == 4
        assert batch.failed == 0
        rest = client(server, cache).ask_all(asks)
        assert rest.stopped is None
        assert [number for number, _ in rest.values()] == list(range(10))
    assert len(server.seen) == 10


def test_retries_count_as_calls():
    with chatting(lambda p, n: Fault(503)) as server, pytest.raises(ChatError) as caught:
        client(server, max_calls=3).ask(ask())
    assert caught.value.code == "budget_spent"
    assert len(server.seen) == 3


def test_cost_is_counted_and_limited():
    prices = {"m": Price(input=1e6, output=2e6)}  # 1 a word asked, 2 a word answered: 1 + 4 here
    with chatting(yes) as server:
        asked = client(server, prices=prices, max_cost=9.0, concurrency=1)
        batch = asked.ask_all([ask(str(i)) for i in range(5)])
    assert asked.usage.cost == 10.0
    assert len(server.seen) == 2
    assert batch.stopped is not None
    assert "10 of 9 is spent" in batch.stopped.message


def test_a_cost_limit_stops_where_costs_cannot_be_counted():
    with chatting(yes, usage=False) as server:
        asked = client(server, prices={"m": Price(1e6, 1e6)}, max_cost=9.0, concurrency=1)
        batch = asked.ask_all([ask(str(i)) for i in range(5)])
    assert len(server.seen) == 1 and sum(1 for _ in batch.values()) == 1
    assert batch.stopped is not None and batch.stopped.code == "budget_spent"
    assert "did not say how many tokens" in batch.stopped.message and "--max-calls" in str(batch.stopped.fix)


def test_cost_is_unknown_without_a_price_or_a_count():
    with chatting(yes) as server:
        asked = client(server)
        asked.ask(ask())
    assert asked.usage.cost is None
    with chatting(yes, usage=False) as server:
        asked = client(server, prices={"m": Price(1, 1)})
        asked.ask(ask())
    assert asked.usage.cost is None
    with pytest.raises(UserError, match="needs the price of 'm'"):
        client(server, max_cost=1.0)


def test_a_price_table_is_read_or_refused(tmp_path):
    path = tmp_path / "prices.yaml"
    path.write_text("m: {input: 0.5, output: 2}\n")
    assert read_prices(path) == {"m": Price(0.5, 2.0)}
    for text in ("m: {input: -1, output: 2}", "m: 3", "- m", "m: {input: .nan, output: 1}"):
        path.write_text(text)
        with pytest.raises(FormatError):
            read_prices(path)


def test_too_many_failures_end_the_batch():
    with chatting(lambda p, n: "no") as server:
        batch = client(server, concurrency=1).ask_all([ask(str(i)) for i in range(40)], tolerated=0.1)
    assert batch.stopped is not None
    assert batch.stopped.code == "too_many_failed"
    assert batch.failed == 5
    assert len(server.seen) == 10


def test_answers_come_in_the_order_of_the_questions_side_by_side():
    gate = threading.Barrier(4, timeout=10)

    def script(payload, number):
        gate.wait()
        return json.dumps({"said": payload["messages"][0]["content"]})

    with chatting(script) as server:
        batch = client(server, concurrency=4).ask_all([ask(str(i)) for i in range(8)])
    assert [value["said"] for _, value in batch.values()] == [str(i) for i in range(8)]
    assert server.most_at_once <= 4


def test_the_key_is_sent_and_stands_nowhere_else(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("MY_KEY", KEY)
    said = json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}, sk-other-aaaaaaaaaaaaaaaa\x1b[31m"}})
    script = lambda p, n: '{"a": 1}' if n == 0 else Fault(401, body=said.encode())  # noqa: E731
    with chatting(script) as server, ChatCache.open(tmp_path / "c.sqlite") as cache:
        asked = client(server, cache, key_env="MY_KEY")
        asked.ask(ask())
        with pytest.raises(ChatError) as caught:
            asked.ask(ask("again"))
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert "MY_KEY" in str(caught.value.fix)
    text = "".join(
        map(str, (caught.value, repr(caught.value), repr(asked.endpoint), repr(asked.settings), asked.usage))
    )
    held = (tmp_path / "c.sqlite").read_bytes() + text.encode() + "".join(capfd.readouterr()).encode()
    assert KEY.encode() not in held
    assert b"aaaaaaaa" not in held
    assert "\x1b" not in text
    with sqlite3.connect(tmp_path / "c.sqlite") as connection:
        assert server.url not in str(connection.execute("SELECT * FROM answer").fetchall())
    connection.close()


def test_no_key_is_taken_unasked(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with chatting(yes) as server:
        client(server).ask(ask())
    assert "authorization" not in server.headers[0]


@pytest.mark.parametrize("value", ["", "two\nlines"])
def test_a_key_that_is_named_must_be_there(monkeypatch, value):
    monkeypatch.setenv("MY_KEY", value)
    with pytest.raises(UserError, match="MY_KEY"):
        Endpoint.at("http://localhost/v1", "m", "MY_KEY")


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000",
        "http://h/v1?api_key=secret",
        "file:///etc/passwd",
        "ftp://x/y",
        "http://me:secret@host/v1",
        "http://",
    ],
)
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(UserError) as caught:
        Endpoint.at(url, "m")
    assert "secret" not in str(caught.value)


def test_addresses_may_name_the_route_or_not():
    assert Endpoint.at("http://h/v1/", "m").url == Endpoint.at("http://h/v1/chat/completions", "m").url
    assert Endpoint.at("http://h/v1?api-version=3", "m").url == "http://h/v1/chat/completions?api-version=3"


def test_the_proxy_of_the_environment_is_used(monkeypatch):
    with chatting(yes) as server:
        monkeypatch.setenv("http_proxy", server.url.removesuffix("/v1"))
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert client(server, url="http://model.invalid/v1").ask(ask()).value == {"yes": True}
    assert server.paths == ["http://model.invalid/v1/chat/completions"]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate")
def test_a_server_is_known_by_the_certificates_of_the_environment(tmp_path, monkeypatch):
    made = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=127.0.0.1"
    files = ["-keyout", tmp_path / "key.pem", "-out", tmp_path / "ca.pem"]
    name = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(["openssl", *made.split(), *files, *name], check=True, capture_output=True)
    with chatting(yes, certificate=(tmp_path / "ca.pem", tmp_path / "key.pem")) as server:
        for variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            monkeypatch.delenv(variable, raising=False)
        with pytest.raises(ChatError, match="cannot be reached") as caught:
            client(server, retries=0).ask(ask())
        assert "certificate" in str(caught.value).lower()
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
        assert client(server).ask(ask()).value == {"yes": True}


def test_a_bad_file_of_certificates_is_refused(monkeypatch, tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with pytest.raises(UserError, match="SSL_CERT_FILE"):
        ChatClient(Endpoint.at("https://localhost/v1", "m"))


def test_the_cache_of_a_workspace_lies_in_it(workspace):
    with ChatCache.open(chat_cache()):
        assert chat_cache() == workspace / ".radiograph" / "chat.sqlite"


def test_a_file_that_is_no_cache_is_refused(tmp_path):
    (tmp_path / "c.sqlite").write_bytes(pickle.dumps([1] * 1000))
    with pytest.raises(FormatError, match="not a cache"):
        ChatCache.open(tmp_path / "c.sqlite")
    with ChatCache.open(tmp_path / "d.sqlite") as cache:
        cache._connection.execute("UPDATE meta SET value = '9'")
    with pytest.raises(FormatError, match="schema 9"):
        ChatCache.open(tmp_path / "d.sqlite")


@pytest.mark.parametrize("wrong", [{"timeout": 0}, {"retries": -1}, {"concurrency": 0}, {"max_calls": -1}])
def test_settings_out_of_range_are_named(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        ChatSettings(**wrong)
