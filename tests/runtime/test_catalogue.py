"""The catalogue is what the folders hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import radiograph.methods
from radiograph.core import Config, UserError
from radiograph.runtime import catalogue, find


def test_every_public_file_under_methods_is_a_verb():
    root = Path(radiograph.methods.__file__).parent
    files = {
        ".".join(part.rstrip("_").replace("_", "-") for part in path.relative_to(root).with_suffix("").parts)
        for path in root.rglob("*.py")
        if not any(part.startswith("_") for part in path.relative_to(root).parts)
    }
    assert files == {key for key, verb in catalogue().items() if verb.module_name.startswith("radiograph.")}


@pytest.mark.parametrize("verb", catalogue().values(), ids=lambda verb: verb.key)
def test_every_verb_is_whole(verb):
    assert verb.summary
    assert issubclass(verb.config, Config)
    assert callable(verb.run)
    assert verb.module.run.__module__ == verb.module_name, "a verb's run lives in its own file"


def test_names_are_accepted_in_every_notation():
    verb = next(v for v in catalogue().values())
    assert find(verb.name) is find(verb.key) is find(verb.tool) is verb
    with pytest.raises(UserError, match="verfy") as caught:
        find("verfy")
    assert "verify" in (caught.value.fix or "")
    assert caught.value.code == "unknown_verb"


def test_listing_imports_no_verb():
    code = (
        "import sys; from radiograph.runtime import catalogue\n"
        "assert all(v.summary for v in catalogue().values())\n"
        "print([m for m in sys.modules if m.startswith('radiograph.methods.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.usefixtures("toy")
def test_a_plug_in_joins(monkeypatch, tmp_path):
    assert find("toy mean").module_name == "radiograph_toy.mean"
    clash = tmp_path / "clash-1.dist-info"
    clash.mkdir()
    (clash / "METADATA").write_text("Metadata-Version: 2.1\nName: clash\nVersion: 1\n")
    (clash / "entry_points.txt").write_text("[radiograph.verbs]\nverify = radiograph_toy.mean\n")
    monkeypatch.syspath_prepend(tmp_path)
    catalogue.cache_clear()
    with pytest.raises(UserError, match="exists twice"):
        catalogue()
