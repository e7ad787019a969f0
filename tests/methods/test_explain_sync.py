"""`explain sync`: exports over HTTP or from a folder fill a cache, whole or not at all, and then work offline."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import sqlite3
import threading
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from radiograph.core import ExitCode, FormatError, Refusal, UserError
from radiograph.store import ExplanationCache
from running import go

MODEL, SOURCE = "tiny-2b", "3-res-1k"
PLACE = f"v1/{MODEL}/{SOURCE}/"


def batch(rows):
    return gzip.compress(b"".join(json.dumps(row).encode() + b"\n" for row in rows), mtime=0)


def row(index, text, **more):
    return {"modelId": MODEL, "layer": SOURCE, "index": str(index), "description": text, **more}


FILES = {
    f"{PLACE}explanations/batch-0.jsonl.gz": batch(
        [row(n, f"words {n}", explanationModelName="gpt", typeName="np_acts", embedding=[0.1]) for n in range(6)]
    ),
    f"{PLACE}explanations-other/batch-0.jsonl.gz": batch([row(2, "others", explanationModelName="claude")]),
    f"{PLACE}activations/batch-0.jsonl.gz": batch(
        [row(1, "", tokens=["a", "b"], values=[0, n], maxValue=n) for n in range(30)]
    ),
    f"{PLACE}features/batch-0.jsonl.gz": batch([{"index": 1, "frac_nonzero": 0.1, "pos_str": ["x"]}]),
    f"{PLACE}source.jsonl": b"{}\n",
}


class Exports:
    def __init__(self, files):
        self.files = dict(files)
        self.seen: list[tuple[str, str | None]] = []
        self.faults: dict[str, list] = {}
        self.page = 1000
        self.untagged = False

    def tag(self, key):
        return "" if self.untagged else hashlib.md5(self.files[key]).hexdigest()


@contextmanager
def exporting(files=FILES):
    held = Exports(files)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format, *args):
            pass

        def do_GET(self):
            parts = urlsplit(self.path)
            key = unquote(parts.path.lstrip("/"))
            held.seen.append((key, self.headers.get("Range")))
            fault = (held.faults.get(key) or [None]).pop(0) if held.faults.get(key) else None
            if isinstance(fault, int):
                return self.send(fault, b"slow down", {"Retry-After": "0"})
            if not key:
                return self.send(200, listing(held, parse_qs(parts.query)))
            if key not in held.files:
                return self.send(404, b"nothing")
            data = fault if isinstance(fault, bytes) else held.files[key]
            start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
            if fault == "break":
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data[: len(data) // 2])
                return None
            return self.send(206 if start else 200, data[start:])

        def send(self, status, data, headers=()):
            self.send_response(status)
            for name, value in dict(headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    held.url = f"http://127.0.0.1:{http.server_port}"
    try:
        yield held
    finally:
        http.shutdown()
        http.server_close()


def listing(held, query):
    prefix = query["prefix"][0]
    keys = sorted(key for key in held.files if key.startswith(prefix))
    first = int(query.get("continuation-token", ["0"])[0])
    own = keys[first : first + held.page]
    more = first + held.page < len(keys)
    body = "".join(
        f'<Contents><Key>{k}</Key><ETag>"{held.tag(k)}"</ETag><Size>{len(held.files[k])}</Size></Contents>' for k in own
    )
    end = f"<IsTruncated>{str(more).lower()}</IsTruncated>"
    end += f"<NextContinuationToken>{first + held.page}</NextContinuationToken>" if more else ""
    space = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
    return f'<?xml version="1.0"?><ListBucketResult {space}>{body}{end}</ListBucketResult>'.encode()


def sync(url, **config):
    return go("explain sync", source=f"{MODEL}/{SOURCE}", from_=url, rate=100, **config)


def test_exports_fill_the_cache_once(workspace):
    with exporting() as held:
        held.page = 2
        kinds = ["explanations", "features", "activations"]
        outcome = sync(held.url, kind=kinds, licence="CC-BY-4.0")
        asked = len(held.seen)
        again = sync(held.url, kind=kinds)
        assert [key for key, _ in held.seen[asked:]] == ["", "", ""], "only the listing is asked for again"
    (source,) = outcome.result.sources
    assert (source.explained, source.explanations, source.contexts, source.features) == (6, 7, 1, 6)
    assert (source.authors, source.types, source.licence) == (("claude", "gpt"), ("np_acts",), "CC-BY-4.0")
    assert source.bound is None and source.origin == held.url
    assert [f.fresh for f in outcome.result.files] == [True] * 4 and not any(f.fresh for f in again.result.files)
    assert again.result.sources == outcome.result.sources
    with ExplanationCache.open(Path(".radiograph/explanations.sqlite")) as cache:
        features = cache.features(MODEL, SOURCE)
        assert features[1]["frac_nonzero"] == 0.1
        assert [c["maxValue"] for c in features[1]["activations"]] == list(range(29, 9, -1))
        assert "embedding" not in json.dumps(cache.explanations(MODEL, SOURCE))
    assert not list(Path(".radiograph/exports").iterdir())


def test_order_of_files_and_interruptions_leave_no_trace(workspace):
    with exporting() as held:
        whole = sync(held.url, cache="a.sqlite").result.sources[0].snapshot_sha256
        key = f"{PLACE}explanations/batch-0.jsonl.gz"
        held.faults = {key: [503, "break"], "": [429]}
        del held.seen[:]
        broken = sync(held.url, cache="b.sqlite").result
        ranges = [r for k, r in held.seen if k == key]
        assert ranges[:2] == [None, None] and ranges[2].startswith("bytes="), "what came is kept"
        assert broken.sources[0].snapshot_sha256 == whole and broken.missing == ()


def test_a_wrong_checksum_is_fetched_again_and_then_missing(workspace):
    with exporting() as held:
        key = f"{PLACE}explanations/batch-0.jsonl.gz"
        data = held.files[key]
        held.faults = {key: [data[:-1] + b"x"]}
        assert sync(held.url, cache="a.sqlite").exit_code is ExitCode.PASS
        held.faults = {key: [data[:-1] + b"x"] * 2}
        outcome = sync(held.url, cache="b.sqlite")
        assert outcome.exit_code is ExitCode.NOT_MEASURED and "batch-0" in outcome.result.missing[0]
        assert outcome.result.sources[0].explained == 1, "the other file stands"
        assert sync(held.url, cache="b.sqlite").exit_code is ExitCode.PASS


def test_x5_8_a_folder_of_exports_works_without_a_network(workspace):
    for key, data in FILES.items():
        path = workspace / "down" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    assert sync("down").result.sources[0].explained == 6
    bound = go("explain sync", source=f"{MODEL}/{SOURCE}", bind="dictionary:bundled").result.sources[0]
    assert bound.bound is not None
    told = go(
        "explain features",
        source="dictionary:bundled#0-7",
        model="bundled:base",
        with_="cache",
        explanations=f"cache:.radiograph/explanations.sqlite#{MODEL}/{SOURCE}",
        documents=60,
    ).result
    assert [e.text for e in told.explanations] == [
        *(f"words {n}" for n in (0, 1)),
        *told_two(told),
        *(f"words {n}" for n in (3, 4, 5)),
        None,
        None,
    ]
    assert "gpt" in told.author
    listed = go("explain sync", list=True).result
    assert [s.source for s in listed.sources] == [SOURCE]
    other = go("explain sync", from_=".radiograph/explanations.sqlite", cache="copy.sqlite").result
    assert other.sources == listed.sources
    pruned = go("explain sync", source=f"{MODEL}/{SOURCE}", prune=True).result
    assert pruned.sources == () and pruned.removed == (f"{MODEL}/{SOURCE}",)


def test_what_a_source_no_longer_says_is_not_kept(workspace):
    place = workspace / "down" / "v1" / MODEL / SOURCE / "explanations"
    place.mkdir(parents=True)

    def publish(name, word):
        rows = [{"modelId": MODEL, "layer": SOURCE, "index": str(n), "description": f"{word} {n}"} for n in range(2)]
        (place / name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    def held():
        with ExplanationCache.open(Path(".radiograph/explanations.sqlite")) as cache:
            return [sorted(e["description"] for e in own) for own in cache.explanations(MODEL, SOURCE).values()]

    publish("batch-0.jsonl", "wrong")
    sync("down", licence="CC0")
    go("explain sync", source=f"{MODEL}/{SOURCE}", bind="dictionary:bundled")
    publish("batch-0.jsonl", "right")  # as many bytes
    again = sync("down").result
    assert [file.fresh for file in again.files] == [True] and held() == [["right 0"], ["right 1"]]
    assert again.sources[0].bound is not None and again.sources[0].licence == "CC0"
    publish("batch-1.jsonl", "other")
    assert [file.fresh for file in sync("down").result.files] == [False, True]
    (place / "batch-1.jsonl").unlink()
    sync("down", refresh=True)
    assert held() == [["right 0"], ["right 1"]]
    publish("batch-0.jsonl", "longer")
    (place / "batch-1.jsonl").write_text("no JSON\n")
    with pytest.raises(FormatError):
        sync("down")
    assert held() == [["right 0"], ["right 1"]] and not [*Path(".radiograph").glob("tmp*")]


def told_two(told):
    return [told.explanations[2].text] if told.explanations[2].text in ("words 2", "others") else ["neither"]


def test_labels_that_nobody_bound_are_refused_with_the_remedy(workspace):
    (workspace / "e.jsonl").write_text(json.dumps(row(0, "words")) + "\n")
    (workspace / "d").mkdir()
    shutil.move("e.jsonl", "d/e.jsonl")
    sync("d")
    with pytest.raises(Refusal, match="nobody has said") as caught:
        go(
            "explain features",
            source="dictionary:bundled#0",
            model="bundled:base",
            with_="cache",
            explanations=f"cache:.radiograph/explanations.sqlite#{MODEL}/{SOURCE}",
            documents=60,
        )
    assert "--bind" in caught.value.fix and caught.value.exit_code is ExitCode.BAD_INPUT


SYNC_BAD = [
    ({"source": "gemma"}, "MODEL/SOURCE"),
    ({"source": "a/b"}, "--online"),
    ({"source": "a/b", "from_": "nowhere"}, "nowhere"),
    ({"source": "a/b", "prune": True}, "no cache"),
    ({"source": "a/b", "from_": "ftp://x"}, "ftp"),
]


@pytest.mark.parametrize(("config", "named"), SYNC_BAD)
def test_sync_refuses_by_name(workspace, config, named):
    with pytest.raises(UserError) as caught:
        go("explain sync", **config)
    assert named in str(caught.value)


def test_mistakes_of_an_export_are_named_by_line(workspace):
    (workspace / "d").mkdir()
    lines = [
        row(0, "fine"),
        {"index": -1, "description": "x"},
        {"index": 1, "description": 7},
        row(2, "x") | {"layer": "9"},
    ]
    (workspace / "d/bad.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n{nan\n")
    with pytest.raises(UserError, match=r"4 mistakes in explanations/bad\.jsonl") as caught:
        sync("d")
    assert all(f"bad.jsonl:{n}:" in str(caught.value) for n in (2, 3, 4, 5))


def test_a_source_that_is_not_there_says_so(workspace):
    with exporting() as held, pytest.raises(UserError, match="no exports of tiny-2b/none"):
        go("explain sync", source="tiny-2b/none", from_=held.url)


def test_what_changed_upstream_with_as_many_bytes_is_read_again(workspace):
    key = f"{PLACE}explanations/batch-0.jsonl"

    def lines(word):
        return "".join(json.dumps(row(n, f"{word} {n}")) + "\n" for n in range(2)).encode()

    def held():
        with ExplanationCache.open(Path(".radiograph/explanations.sqlite")) as cache:
            return [own["description"] for said in cache.explanations(MODEL, SOURCE).values() for own in said]

    with exporting({key: lines("wrong")}) as there:
        sync(there.url)
        asked = len(there.seen)
        there.files[key] = lines("right")
        assert len(lines("right")) == len(lines("wrong"))
        again = sync(there.url).result
        assert [file.fresh for file in again.files] == [True] and held() == ["right 0", "right 1"]
        assert again.files[0].sha256 == hashlib.sha256(lines("right")).hexdigest()
        assert [file.fresh for file in sync(there.url).result.files] == [False], "and then no more"
        there.untagged = True
        assert sync(there.url).result.files[0].fresh, "nothing says that it is what it was"
        assert len([name for name, _ in there.seen[asked:] if name == key]) == 2


def test_a_cache_of_an_earlier_schema_is_taken_on(workspace):
    with exporting() as there:
        sync(there.url)
        place = Path(".radiograph/explanations.sqlite")
        with closing(sqlite3.connect(place)) as old, old:
            old.executescript(
                "CREATE TABLE f AS SELECT model, source, name, sha256, bytes, rows, fetched_at FROM file;"
                "DROP TABLE file; ALTER TABLE f RENAME TO file; UPDATE meta SET value = '2' WHERE key = 'schema'"
            )
        with ExplanationCache.open(place) as cache:
            assert {file.tag for file in cache.files(MODEL, SOURCE).values()} == {""}
        # Its files have no tag: they are read once more, and are known from then on.
        assert all(file.fresh for file in sync(there.url).result.files)
        assert not any(file.fresh for file in sync(there.url).result.files)
