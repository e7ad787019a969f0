"""A chat endpoint on this machine: a real HTTP server whose answers a test writes, faulty ones included."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class Fault:
    """An answer that is no completion."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    wait: float = 0.0
    broken: bool = False
    """Announce more bytes than are sent."""


Script = Callable[[dict[str, Any], int], "str | Fault"]
"""Payload and number of the request, from 0 -> text of the completion, or a fault."""


@dataclass
class Server:
    url: str
    seen: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    most_at_once: int = 0


@contextmanager
def chatting(script: Script, usage: bool = True, certificate: tuple[Path, Path] | None = None) -> Iterator[Server]:
    """`certificate`: that file and its key, for HTTPS."""
    lock = threading.Lock()
    running = [0]

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format, *args):
            pass

        def do_POST(self):
            payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                number = len(server.seen)
                server.seen.append(payload)
                server.headers.append({k.lower(): v for k, v in self.headers.items()})
                server.paths.append(self.path)
                running[0] += 1
                server.most_at_once = max(server.most_at_once, running[0])
            try:
                said = script(payload, number)
                fault = said if isinstance(said, Fault) else Fault(body=completion(said, payload, usage))
                time.sleep(fault.wait)
            finally:
                with lock:
                    running[0] -= 1
            try:
                self.send_response(fault.status)
                for name, value in fault.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(fault.body) + 100 * fault.broken))
                self.end_headers()
                self.wfile.write(fault.body)
            except (BrokenPipeError, ConnectionResetError):
                pass  # whoever asked had no more patience

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        http.socket = context.wrap_socket(http.socket, server_side=True)
    server = Server(f"http{'s' * bool(certificate)}://127.0.0.1:{http.server_port}/v1")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def completion(text: str, payload: dict[str, Any], usage: bool) -> bytes:
    spent = {"prompt_tokens": sum(len(m["content"].split()) for m in payload["messages"])}
    spent["completion_tokens"] = len(text.split())
    document = {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}
    return json.dumps(document | ({"usage": spent} if usage else {})).encode()
