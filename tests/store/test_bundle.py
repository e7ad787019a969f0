"""A bundle is written once, inside itself, and appears whole or not at all."""

from __future__ import annotations

import pytest

from radiograph.core import FormatError, UserError
from radiograph.evidence import Device, Manifest
from radiograph.store import PARTIAL, Bundle, BundleWriter, evidence_sha256, file_sha256


def manifest(writer: BundleWriter) -> Manifest:
    return Manifest(
        tool_version="0",
        verb="x",
        method="x",
        status="done",
        exit_code=0,
        run_id="0",
        config={},
        config_origins={},
        seed=0,
        started="",
        finished="",
        packages={},
        device=Device(type="cpu", threads=1, machine="x"),
        inputs=(),
        outputs=writer.outputs(),
        evidence_sha256=evidence_sha256(writer.outputs()),
    )


def test_it_is_partial_until_sealed(tmp_path):
    writer = BundleWriter(tmp_path / "runs", "a")
    writer.json("result.json", {"x": 1})
    assert [p.name for p in (tmp_path / "runs").iterdir()] == ["a" + PARTIAL]
    with pytest.raises(UserError, match="unfinished"):
        Bundle(writer.path)
    seal = writer.seal(manifest(writer))
    assert [p.name for p in (tmp_path / "runs").iterdir()] == ["a"]
    bundle = Bundle(tmp_path / "runs/a")
    assert bundle.result == {"x": 1}
    assert seal == file_sha256(bundle.path / "manifest.json")
    assert (bundle.path / "manifest.sha256").read_text() == f"{seal}  manifest.json\n"
    assert [o.path for o in bundle.manifest.outputs] == ["result.json"]


def test_names_are_free_names(tmp_path):
    first, second = BundleWriter(tmp_path, "a"), BundleWriter(tmp_path, "a")
    assert {first.path.name, second.path.name} == {"a.partial", "a-2.partial"}
    first.seal(manifest(first))
    assert BundleWriter(tmp_path, "a").path.name == "a-3.partial"


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", ""])
def test_nothing_is_written_outside(tmp_path, path):
    with pytest.raises(ValueError, match="inside the bundle"):
        BundleWriter(tmp_path, "a").text(path, "x")


def test_a_name_is_written_once(tmp_path):
    writer = BundleWriter(tmp_path, "a")
    writer.text("x", "1")
    with pytest.raises(FileExistsError):
        writer.text("x", "2")


def test_tables_have_the_same_bytes_for_the_same_columns(tmp_path):
    columns = {"id": ["a", "b"], "value": [1.5, None]}
    for name in ("a", "b"):
        BundleWriter(tmp_path, name).table("t", columns)
    left, right = (tmp_path / f"{name}.partial/tables/t.parquet" for name in "ab")
    assert left.read_bytes() == right.read_bytes()


def test_reports_and_clocks_are_no_evidence(tmp_path):
    writer = BundleWriter(tmp_path, "a")
    writer.json("result.json", {})
    before = evidence_sha256(writer.outputs())
    for name in ("report.md", "report.html", "tool_calls.jsonl"):
        writer.text(name, "x")
    assert evidence_sha256(writer.outputs()) == before
    writer.text("more.txt", "x")
    assert evidence_sha256(writer.outputs()) != before


def test_what_is_no_bundle_is_a_format_error(tmp_path):
    with pytest.raises(FormatError):
        Bundle(tmp_path)
    writer = BundleWriter(tmp_path, "a")
    writer.text("result.json", "[]")
    writer.seal(manifest(writer))
    with pytest.raises(FormatError, match="not a JSON object"):
        _ = Bundle(writer.path).result
    with pytest.raises(FormatError, match="cannot read"):
        Bundle(writer.path).document("none.json")


def test_discarding_the_first_run_leaves_no_folder_of_runs_and_never_another_run(tmp_path):
    writer = BundleWriter(tmp_path / "runs", "demo")
    writer.discard()
    assert not (tmp_path / "runs").exists()
    first, second = BundleWriter(tmp_path / "runs", "one"), BundleWriter(tmp_path / "runs", "two")
    first.discard()
    assert second.path.is_dir()


def test_an_unwanted_bundle_is_discarded_a_sealed_one_is_not(tmp_path):
    writer = BundleWriter(tmp_path, "a")
    writer.discard()
    assert not list(tmp_path.iterdir())
    writer = BundleWriter(tmp_path, "a")
    writer.seal(manifest(writer))
    writer.discard()
    assert (tmp_path / "a").is_dir()


def test_a_killed_run_is_taken_over_and_goes_when_the_new_one_is_complete(tmp_path):
    killed = BundleWriter(tmp_path, "killed")
    (killed.folder("parts") / "a").write_text("kept")
    killed.text("other", "x")
    writer = BundleWriter(tmp_path, "again")
    folder = writer.adopt(killed.path, "parts")
    assert (folder / "a").read_text() == (killed.path / "parts" / "a").read_text() == "kept"
    (folder / "b").write_text("new")
    assert not (killed.path / "parts" / "b").exists()
    with pytest.raises(UserError, match="left no shards"):
        BundleWriter(tmp_path, "third").adopt(killed.path, "shards")
    writer.seal(manifest(writer))
    assert not killed.path.exists()
    assert (writer.final / "parts" / "a").read_text() == "kept"


def test_only_an_unfinished_run_can_be_taken_over(tmp_path):
    done = BundleWriter(tmp_path, "done")
    done.folder("parts")
    done.seal(manifest(done))
    for run in (done.final, tmp_path / "absent.partial"):
        with pytest.raises(UserError, match="not an unfinished run"):
            BundleWriter(tmp_path, "again").adopt(run, "parts")
    empty = BundleWriter(tmp_path, "empty")
    assert list(BundleWriter(tmp_path, "new").adopt(empty.path, "parts").iterdir()) == []
