"""References split where a folder exists, errors say where they looked, and the hub is asked only when allowed."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from radiograph.core import ExitCode, UserError
from radiograph.models import ModelRef, forward, load, locate, pad

from . import make


def test_references_split_where_folders_are_and_else_at_the_first_plus(tmp_path):
    assert ModelRef.parse("org/name") == ModelRef("org/name")
    assert ModelRef.parse("a/b+c/d") == ModelRef("a/b", "c/d")
    assert ModelRef.parse("bundled:base+bundled:odd") == ModelRef("bundled:base", "bundled:odd")
    (tmp_path / "c++").mkdir()
    (tmp_path / "c++" / "m").mkdir()
    assert ModelRef.parse("c++/m", base_dir=tmp_path) == ModelRef("c++/m")
    assert ModelRef.parse("c+++odd+one", base_dir=tmp_path) == ModelRef("c++", "odd+one")
    assert ModelRef.parse("bundled:base+runs/a+b/adapter", base_dir=tmp_path) == ModelRef(
        "bundled:base", "runs/a+b/adapter"
    )
    (tmp_path / "c").mkdir()
    (tmp_path / "c+d").mkdir()
    (tmp_path / "d+e").mkdir()
    assert ModelRef.parse("c+d+e", base_dir=tmp_path) == ModelRef("c", "d+e")
    assert ModelRef.parse("c+d+f", base_dir=tmp_path) == ModelRef("c+d", "f")
    for text in ("c++/m", "org/name@main+x", "a+b"):
        assert str(ModelRef.parse(text, base_dir=tmp_path)) == text


@pytest.mark.parametrize("text", ["", "  ", "+x", "x+", "a\0b"])
def test_empty_sides_are_refused(text):
    with pytest.raises(UserError) as error:
        ModelRef.parse(text)
    assert error.value.exit_code == ExitCode.BAD_INPUT


def test_a_missing_model_names_where_it_looked_and_its_neighbours(tmp_path):
    (tmp_path / "llama-small").mkdir()
    with pytest.raises(UserError) as error:
        locate("./llama-smal", base_dir=tmp_path)
    assert str(tmp_path) in str(error.value) and "llama-small" in str(error.value.fix)
    with pytest.raises(UserError, match="no bundled models"):
        locate("bundled:base")
    assert locate("bundled:base", resolve=lambda name: tmp_path / name) == tmp_path / "base"


def test_a_hub_id_offline_is_refused_without_a_connection(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("went online"))
    for options in ({}, {"offline": False}):  # the second: HF_HUB_OFFLINE wins
        with pytest.raises(UserError) as error:
            locate("org/name", base_dir=tmp_path, **options)
        assert "org/name" in str(error.value) and "network is off" in str(error.value)
        assert str(tmp_path) in str(error.value.where)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A stand-in hub with one tiny model, over real HTTP."""
    from huggingface_hub import constants

    source = make.folder(tmp_path / "source")
    commit = "a" * 40
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer(body=False)

        def do_GET(self):
            self.answer(body=True)

        def answer(self, body):
            asked.append(self.path)
            data, status = b'{"error": "Repository not found"}', 404
            if self.path.startswith("/api/models/org/tiny/revision/main"):
                names = sorted(p.name for p in source.iterdir())
                files = [{"rfilename": n} for n in [*names, "evil.py", "pytorch_model.bin"]]
                data, status = json.dumps({"id": "org/tiny", "sha": commit, "siblings": files}).encode(), 200
            elif self.path.startswith("/api/models/org/tiny/tree/"):
                files = [
                    {"type": "file", "path": p.name, "size": p.stat().st_size, "oid": p.name} for p in source.iterdir()
                ]
                data, status = json.dumps(files).encode(), 200
            elif self.path.startswith(f"/org/tiny/resolve/{commit}/"):
                path = source / self.path.rsplit("/", 1)[1]
                data, status = (path.read_bytes(), 200) if path.is_file() else (b"", 404)
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("ETag", f'"{self.path.rsplit("/", 1)[1]}"')
            self.send_header("X-Repo-Commit", commit)
            if status == 404:
                self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()
            if body:
                self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    # The two constants that the environment variable HF_ENDPOINT sets.
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    yield source, asked, server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_hub_model_loads_when_allowed_then_from_the_cache(hub, monkeypatch):
    source, asked, _ = hub
    online = load("org/tiny", offline=False)
    assert online.identity.tensors_sha256 == load(str(source)).identity.tensors_sha256
    assert not any(path.endswith((".py", ".bin")) for path in asked)
    before = len(asked)
    cached = load("org/tiny")
    assert len(asked) == before
    batch = pad([[3, 4, 5]])
    assert forward(cached, batch).equal(forward(online, batch))
    with pytest.raises(UserError, match="org/none"):
        load("org/none", offline=False)


def test_an_unreachable_hub_is_a_user_error(hub):
    _, _, server = hub
    server.server_close()
    with pytest.raises(UserError) as error:
        locate("org/tiny", offline=False)
    assert error.value.exit_code == ExitCode.BAD_INPUT


def test_references_and_addresses_import_no_torch():
    code = (
        "import sys; from radiograph.models import ModelRef, weight_addresses, same_tokenizer, locate, files_sha256,"
        " tensors_sha256; ModelRef.parse('a+b'); import radiograph.models as m; assert m.FAMILIES;"
        " assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
