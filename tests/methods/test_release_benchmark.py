"""The release table that is committed: its bundle verifies, and documents say what it says."""

import json
import shutil
import tarfile
from pathlib import Path

import pytest

from radiograph.methods.organisms import benchmark
from radiograph.methods.organisms._benchmark.protocol import BUNDLED, read_protocol
from radiograph.organisms import bundled_path
from radiograph.store.calibration import read_calibration

ROOT = Path(__file__).resolve().parents[2]
ARCHIVE = ROOT / "docs" / "studies" / "release-benchmark.tar.xz"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("release")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    (found,) = folder.iterdir()
    yield found
    shutil.rmtree(found)


@pytest.fixture(scope="module")
def result(bundle):
    return json.loads((bundle / "result.json").read_text())


def test_a18_the_release_table_is_of_this_protocol_and_of_the_calibration_that_ships(result):
    protocol = read_protocol(BUNDLED / "release.json", "release")
    assert result["protocol_sha256"] == protocol.sha256
    shipped = read_calibration(bundled_path("calibration"), "calibration:bundled")
    assert result["calibration_sha256"] == shipped.sha256
    assert [m for m in result["misses"] if m["alpha"] == 0.05] == [m.model_dump() for m in shipped.record.misses]


def test_a18_documents_quote_the_release_table(bundle, result):
    page = (ROOT / "docs" / "design" / "benchmark.md").read_text(encoding="utf-8")
    seal = (bundle / "manifest.sha256").read_text().split()[0]
    assert seal in page
    assert result["protocol_sha256"][:16] in page and result["calibration_sha256"][:16] in page
    for bar in result["assertions"]:
        share = bar["observed"].replace("0.", ".")
        if "(" in share:
            assert share in page, bar
    for due in {row["due"] for row in result["confusion"]}:
        counts = [str(row["n"]) for row in result["confusion"] if row["due"] == due]
        assert f"| {' | '.join(counts)} |" in page, due


@pytest.mark.slow
def test_a18_the_release_table_follows_from_its_scores(bundle, result):
    assert benchmark.recompute(result, bundle) == []
