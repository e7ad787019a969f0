"""A stand-in for the model hub: a real HTTP server that speaks the routes a download needs, over one repository."""

import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def serving(folder: Path, repository: str = "somebody/dictionaries", revisions=("main", "v1", COMMIT)):
    """The address of a server that holds the files of `folder`, and the list of what it was asked for."""
    asked: list[str] = []

    def held():
        return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format, *args):
            pass

        def do_HEAD(self):
            self.answer(body=False)

        def do_GET(self):
            self.answer(body=True)

        def answer(self, *, body):
            path = self.path.partition("?")[0]
            asked.append(f"{self.command} {path}")
            for revision in revisions:
                if path == f"/api/models/{repository}/revision/{revision}":
                    return self.send(json.dumps(self.info()).encode(), "application/json", body=body)
                if path == f"/api/models/{repository}/tree/{revision}":
                    return self.send(json.dumps(self.tree()).encode(), "application/json", body=body)
                start = f"/{repository}/resolve/{revision}/"
                if path.startswith(start) and (folder / path.removeprefix(start)).is_file():
                    data = (folder / path.removeprefix(start)).read_bytes()
                    return self.send(data, "application/octet-stream", body=body)
            code = "RevisionNotFound" if f"/{repository}/" in path else "RepoNotFound"
            self.send_response(404)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None

        def info(self):
            siblings = [{"rfilename": f["path"], "size": f["size"], "blobId": f["oid"]} for f in self.tree()]
            return {"id": repository, "sha": COMMIT, "cardData": {"license": "cc-by-4.0"}, "siblings": siblings}

        def tree(self):
            return [{"type": "file", "path": n, "size": len(d), "oid": self.etag(d)} for n, d in held().items()]

        def etag(self, data):
            return hashlib.sha1(data).hexdigest()

        def send(self, data, kind, *, body):
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("ETag", f'"{self.etag(data)}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if body:
                self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
