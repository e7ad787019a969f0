"""A hub on this machine: a real HTTP server that speaks what `huggingface_hub` asks when it commits."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LARGE = (".parquet", ".safetensors")


@dataclass
class Hub:
    url: str
    repos: dict[str, dict] = field(default_factory=dict)
    """By id: type, whether it is private, files by branch."""
    stored: dict[str, bytes] = field(default_factory=dict)
    """Large files by SHA-256."""
    asked: list[str] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)
    refuse: int | None = None
    """Answer everything with this status."""
    lose: bool = False
    """Answer 500 where large files are sent."""

    def files(self, repo: str, branch: str = "main") -> dict[str, bytes]:
        return self.repos[repo]["branches"][branch]


@contextmanager
def hubbing() -> Iterator[Hub]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format, *args):
            pass

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            hub.asked.append(f"POST {self.path}")
            hub.tokens.add(self.headers.get("authorization"))
            if hub.refuse is not None:
                return self.answer({"error": "no"}, hub.refuse)
            parts = self.path.strip("/").split("/")
            if self.path == "/api/repos/create":
                asked = json.loads(body)
                name = f"{asked['organization']}/{asked['name']}"
                known = hub.repos.setdefault(
                    name,
                    {
                        "type": asked.get("type", "model"),
                        "private": asked.get("visibility") == "private" or asked.get("private", False),
                        "branches": {"main": {}},
                    },
                )
                return self.answer({"url": f"{hub.url}/{name}", "name": name, "private": known["private"]})
            if self.path == "/api/validate-yaml":
                return self.answer({"errors": [], "warnings": []})
            if self.path.endswith("/info/lfs/objects/batch"):
                return self.answer(self.batch(json.loads(body)))
            repo, what, branch = f"{parts[2]}/{parts[3]}", parts[4], parts[5]
            if repo not in hub.repos:
                return self.answer({"error": "not found"}, 404)
            branches = hub.repos[repo]["branches"]
            if what == "branch":
                branches.setdefault(branch, {})
                return self.answer({})
            if what == "preupload":
                files = json.loads(body)["files"]
                modes = [
                    {"path": f["path"], "uploadMode": "lfs" if f["path"].endswith(LARGE) else "regular",
                     "shouldIgnore": False, "oid": None} for f in files
                ]  # fmt: skip
                return self.answer({"files": modes})
            assert what == "commit", self.path
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    branches[branch][entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
                elif entry["key"] == "lfsFile":
                    branches[branch][entry["value"]["path"]] = hub.stored[entry["value"]["oid"]]
                else:
                    hub.repos[repo]["message"] = entry["value"]["summary"]
            oid = "c" * 40
            return self.answer(
                {"success": True, "commitOid": oid, "commitUrl": f"{hub.url}/{repo}/commit/{oid}", "hookOutput": ""}
            )

        def do_GET(self):
            hub.asked.append(f"GET {self.path}")
            repo = "/".join(self.path.strip("/").split("/")[2:4])
            if repo not in hub.repos:
                return self.answer({"error": "not found"}, 404)
            return self.answer({"id": repo, "private": hub.repos[repo]["private"], "siblings": []})

        def do_PUT(self):
            body = self.sent()
            if hub.lose:
                return self.answer({}, 500)
            digest = hashlib.sha256(body).hexdigest()
            assert self.path.endswith(digest)
            hub.stored[digest] = body
            return self.answer({})

        def sent(self):
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers["Content-Length"]))
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def batch(self, asked):
            objects = []
            for item in asked["objects"]:
                href = f"{hub.url}/store/{item['oid']}"
                objects.append({"oid": item["oid"], "size": item["size"], "actions": {"upload": {"href": href}}})
            return {"transfer": "basic", "objects": objects}

        def answer(self, value, status=200):
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    hub = Hub(f"http://127.0.0.1:{http.server_address[1]}")
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        http.shutdown()
        http.server_close()
