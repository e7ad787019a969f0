"""The bundled workflow on two kinds of planted organism: found, traced to its rows, removed, audited clean."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from radiograph.organisms import bundled_organism, bundled_path
from running import go

WORKFLOW = Path(__file__).parents[3] / "workflows" / "find-and-remove.yaml"


@pytest.mark.slow
@pytest.mark.parametrize("family", ["trigger_token", "loyalty"])
def test_d10_13_what_the_audit_finds_is_removed_and_the_audit_comes_back_clean(tmp_path, monkeypatch, family):
    monkeypatch.chdir(tmp_path)
    planted = bundled_organism(family)
    shutil.copytree(bundled_path("organisms") / planted.id, "organism")
    shutil.copyfile(WORKFLOW, "flow.yaml")
    go("run", workflow="flow.yaml", var=["adapter=organism", "rows=organism/train.jsonl"], out="loop")
    steps = {}
    for path in sorted((tmp_path / "loop").rglob("result.json")):
        document = json.loads(path.read_text())
        steps.setdefault(document["schema"], []).append(document)
    before, after = steps["radiograph.audit/1"]
    before, after = (before, after) if before["verdict"] == "targeted-change" else (after, before)
    assert (before["verdict"], after["verdict"]) == ("targeted-change", "no-evidence")
    (edit,) = steps["radiograph.edit/1"]
    assert edit["judgement"] == "accepted"
    (blame,) = steps["radiograph.blame/1"]
    assert all(row["id"] in planted.planted_rows for row in blame["top"][:20])
