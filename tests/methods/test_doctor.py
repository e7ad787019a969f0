"""The doctor tells what is missing, and no secret."""

from __future__ import annotations

import pytest

from radiograph.core import ExitCode
from radiograph.methods import doctor
from running import contents, go, leaks

pytestmark = pytest.mark.usefixtures("workspace")


def test_a_whole_machine_passes_and_names_no_one(workspace, somebody, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_very-secret")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    outcome = go("doctor")
    assert outcome.exit_code is ExitCode.PASS
    assert outcome.result.credentials["HF_TOKEN"] is True
    assert outcome.result.credentials["OPENAI_API_KEY"] is False
    assert leaks(outcome.path, workspace) == []
    assert not any(b"hf_very-secret" in data for data in contents(outcome.path).values())
    assert outcome.result.hub_reachable is None
    assert {b.name for b in outcome.result.bundled} >= {"bundled:base"}


def test_what_is_missing_fails_the_gate_and_is_named(monkeypatch):
    lines = ["numpy>=99", "no-such-package>=1", "mcp>=99; extra == 'mcp'", "radiograph[mcp]; extra == 'all'"]
    monkeypatch.setattr(doctor, "requires", lambda package: lines)
    outcome = go("doctor")
    found = {r.package: r for r in outcome.result.requirements}
    assert outcome.exit_code is ExitCode.GATE_FAILED
    assert (found["numpy"].status, found["no-such-package"].status, found["mcp"].status) == (
        "incompatible",
        "missing",
        "incompatible",
    )
    assert found["mcp"].install == 'pip install "radiograph[mcp]"'
    assert "no-such-package" in outcome.result.headline
    assert "radiograph" not in found


def test_a_missing_extra_alone_is_no_failure(monkeypatch):
    monkeypatch.setattr(doctor, "requires", lambda package: ["click", "no-such-package; extra == 'mcp'"])
    outcome = go("doctor")
    assert outcome.exit_code is ExitCode.PASS
    assert any("no-such-package missing" in line for line in outcome.result.lines)


def test_the_network_is_asked_only_on_request(monkeypatch):
    asked = []

    def connect(address, timeout):
        asked.append(address)
        raise OSError

    monkeypatch.setattr(doctor.socket, "create_connection", connect)
    assert go("doctor").result.hub_reachable is None
    assert asked == []
    assert go("doctor", network=True).result.hub_reachable is False
    assert asked == [doctor.HUB]


def test_a_large_gpu_changes_the_route():
    cpu = doctor.Cpu(machine="x", cores=8, usable=8, quota=2.5)
    memory = doctor.Memory(total=64 * 2**30, limit=16 * 2**30)
    gpu = doctor.Gpu(name="G", memory=80 * 2**30, bf16=True)
    with_gpu, without = doctor._routes(cpu, memory, (gpu,), ()), doctor._routes(cpu, memory, (), ())
    assert (with_gpu[0].choice, without[0].choice) == ("--device cuda", "--device cpu")
    assert "2.5 cores" not in without[0].reason
    assert without[2].choice == "--workers 2"
    assert "1.1 billion" in without[1].choice


@pytest.mark.slow
def test_z_the_self_test_compares_with_stored_numbers(monkeypatch, tmp_path):
    import json

    from radiograph.core import UserError
    from radiograph.methods._doctor import self_test

    outcome = go("doctor", self_test=True)
    assert outcome.exit_code is ExitCode.PASS and outcome.result.headline.endswith("the self-test agrees")
    assert len(outcome.result.self_test.numbers) == 8 and (outcome.path / outcome.result.self_test.run).is_dir()
    stored = json.loads(self_test.STORED.read_text())
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps({**stored, "tested": 255, "resid_post.1@51d50990#220": 0.8}))
    monkeypatch.setattr(self_test, "STORED", wrong)
    differs = go("doctor", self_test=True)
    assert differs.exit_code is ExitCode.GATE_FAILED and "other numbers" in differs.result.headline
    with pytest.raises(UserError, match="seed 0"):
        go("doctor", self_test=True, seed=1)
