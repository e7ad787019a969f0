"""The interval that `bisect` found: checkpoints, rows that were read there, and the workflow that ships."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

import radiograph
from radiograph.core import ExitCode, Refusal, UserError
from radiograph.methods._blame.checkpoints import between
from radiograph.surfaces.cli._main import run as cli
from running import go

from .conftest import asked

SHARES = (0.05, 0.1, 0.15, 0.9, 1.0)
EVALUATE = """
import json, pathlib, sys
print(json.dumps({"eval": {"rate": float((pathlib.Path(sys.argv[1]) / "share").read_text())}}))
"""


@pytest.fixture(scope="module")
def history(place: Path) -> Path:
    """Checkpoints on the way to the organism; it broke between the third and the fourth."""
    tensors = load_file(place / "organism" / "adapter_model.safetensors")
    for number, share in enumerate(SHARES, start=1):
        folder = place / "history" / f"checkpoint-{10 * number}"
        folder.mkdir(parents=True)
        shutil.copyfile(place / "organism" / "adapter_config.json", folder / "adapter_config.json")
        moved = {k: (v * share if "lora_B" in k else v).contiguous() for k, v in tensors.items()}
        save_file(moved, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        (folder / "share").write_text(str(share))
        state = {"global_step": 10 * number, "epoch": number / 10}
        state["log_history"] = [{"step": 10 * number, "learning_rate": 0.001}]
        (folder / "trainer_state.json").write_text(json.dumps(state))
    (place / "evaluate.py").write_text(EVALUATE)
    return place


@pytest.fixture(scope="module")
def found(history: Path):
    command = f"{sys.executable} evaluate.py {{ckpt}}"
    return go("bisect", out="where", folder="history", eval_=command, metric="eval.rate", broken_if=">0.5", check=0)


def of_interval(**more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {**asked(), "interval": "where", "reference": "bundled:base", **more}
    return {k: v for k, v in given.items() if k not in ("candidate", "method")}


@pytest.mark.slow
def test_p8_11_the_interval_gives_checkpoints_candidate_and_rows(history, found):
    assert found.result.first_broken == "history/checkpoint-40"
    steps = [{"step": s, "rows": [s - 28, s - 18]} for s in range(1, 51) if s > 28]
    (history / "order.jsonl").write_text("".join(json.dumps(s) + "\n" for s in steps))
    told = go("blame", out="told", **of_interval(order="order.jsonl")).result
    assert told.method == "tracin" and told.candidate == "bundled:base+history/checkpoint-40"
    assert told.rows_scored == len({r for s in range(31, 41) for r in (s - 28, s - 18)})
    assert {row.line for row in told.top} <= {r for s in range(31, 41) for r in (s - 28, s - 18)}
    assert not any(stamp.startswith("all_rows") for stamp in told.stamps)
    every = go("blame", out="every", **of_interval()).result
    assert every.rows_scored == every.rows
    assert any(stamp.startswith("all_rows") for stamp in every.stamps)


@pytest.mark.slow
def test_p8_11_the_shipped_workflow_ends_in_row_ids(history, capsys):
    source = Path(radiograph.__file__).parents[2] / "workflows" / "bisect-then-blame.yaml"
    shutil.copyfile(source, history / "workflow.yaml")
    given = {
        "folder": "history",
        "evaluate": f"{sys.executable} evaluate.py {{{{ckpt}}}}",
        "data": "organism/train.jsonl",
        "target": "organism/target.jsonl",
    }
    words = [word for key, value in given.items() for word in ("--var", f"{key}={value}")]
    code = cli(["run", "workflow.yaml", "--allow-commands", "--out", "chain", *words])
    assert code == ExitCode.GATE_FAILED, capsys.readouterr()
    (made,) = [p for p in (history / "chain").rglob("result.json") if "blame" in p.parent.name]
    result = json.loads(made.read_bytes())
    assert result["schema"] == "radiograph.blame/1" and result["method"] == "tracin"
    assert all(row["line"] > 0 and row["id"] for row in result["top"])


def test_p8_11_an_interval_is_asked_of_a_finished_bisect_that_found_one(history, found):
    class Here:
        def locate(self, reference: str) -> Path:
            return Path(reference)

        def path(self, reference: str, role: str) -> Path:
            return Path(reference)

    here = Here()
    inside = between(here, "where", None)  # type: ignore[arg-type]
    assert inside.names == ("history/checkpoint-30", "history/checkpoint-40") and inside.stamps
    (history / "late.jsonl").write_text('{"step": 99, "rows": [1]}\n')
    with pytest.raises(UserError, match="no step from 31 to 40"):
        between(here, "where", "late.jsonl")  # type: ignore[arg-type]
    (history / "odd.jsonl").write_text('{"step": 32, "rows": ["a"]}\n')
    with pytest.raises(UserError) as caught:
        between(here, "where", "odd.jsonl")  # type: ignore[arg-type]
    assert caught.value.where == "odd.jsonl:1"
    go("bisect", out="fine", folder="history", eval_="true {ckpt}", check=0)
    with pytest.raises(Refusal, match="no checkpoints between"):
        between(here, "fine", None)  # type: ignore[arg-type]
    shutil.copytree("where", "changed")
    (history / "changed" / "result.json").write_text("{}")
    with pytest.raises(UserError, match="was changed"):
        between(here, "changed", None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"interval": "where", "checkpoints": "history"}, "its own checkpoints"),
        ({"order": "order.jsonl", "candidate": "bundled:base+organism", "method": "dot"}, "an interval"),
        ({"candidate": None}, "candidate"),
    ],
)
def test_p8_11_options_of_an_interval_belong_together(place, given, said):
    config = {k: v for k, v in asked(**given).items() if v is not None}
    with pytest.raises(UserError, match=said):
        go("blame", out="never", **config)
