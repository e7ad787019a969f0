"""What a benchmark misses goes into the calibration that it judged by, and into no other."""

from __future__ import annotations

import numpy as np
import pytest

import benchmarking
from radiograph.core import FormatError, Refusal, UserError
from radiograph.methods.calibrate import missed
from radiograph.methods.organisms._benchmark.assemble import assembled
from radiograph.store import BundleWriter
from radiograph.store.calibration import calibration_sha256, compact, read_calibration, write_shipped
from store.test_bundle import manifest


@pytest.fixture(scope="module")
def stored():
    return benchmarking.calibration(20, np.random.default_rng(0))


@pytest.fixture(scope="module")
def table():
    return assembled(benchmarking.evidence())


def run(folder, table):
    """A finished run."""
    writer = BundleWriter(folder.parent, folder.name)
    writer.json("result.json", table)
    writer.seal(manifest(writer))
    return folder


@pytest.mark.parametrize("ships", [False, True])
def test_the_benchmark_of_this_calibration_is_taken(ships, stored, table, tmp_path):
    record = compact(stored)[0] if ships else stored.record
    own = run(tmp_path / "own", table.model_copy(update={"calibration_sha256": calibration_sha256(record)}))
    assert missed(own, stored) == table.misses and table.misses


def test_that_of_another_is_refused(stored, table, tmp_path):
    other = run(tmp_path / "other", table.model_copy(update={"calibration_sha256": "e" * 64}))
    with pytest.raises(Refusal, match="judged by another calibration") as error:
        missed(other, stored)
    assert error.value.code == "calibration_mismatch" and "eeee" in error.value.got
    with pytest.raises(UserError, match="no run at"):
        missed(tmp_path / "nowhere", stored)
    with pytest.raises(FormatError, match="holds no benchmark"):
        missed(run(tmp_path / "calibration", stored.record), stored)


def test_misses_change_no_hash(stored, table, tmp_path):
    """A benchmark names the calibration that it judged by; what it found there does not make it another one."""
    from dataclasses import replace

    said = replace(stored, record=stored.record.model_copy(update={"misses": table.misses}))
    for name, one in (("before", stored), ("after", said)):
        write_shipped(tmp_path / name, one)
    before, after = (read_calibration(tmp_path / name, name) for name in ("before", "after"))
    assert before.sha256 == after.sha256 and before.record.misses == () and after.record.misses == table.misses
