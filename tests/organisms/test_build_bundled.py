"""The bundled adapters load with plain libraries, fit the bundled base, and still do what their truth says."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from radiograph.evidence import Gate, OrganismTruth
from radiograph.models import load_pair, stored
from radiograph.organisms import BUNDLED, bundled_names, bundled_path, read_truth, truth_path
from radiograph.organisms.building import measure_gates
from radiograph.organisms.recipes import Draw, family
from radiograph.store import file_sha256

ROOT = bundled_path("organisms")
IDS = tuple(path.stem for path in sorted((ROOT / "truth").glob("*.json")))


def _truth(name: str) -> OrganismTruth:
    return read_truth(truth_path(ROOT, name))


def test_eight_organisms_of_the_three_classes_are_bundled():
    truths = [_truth(name) for name in IDS]
    assert sorted(truth.family for truth in truths) == sorted(BUNDLED)
    assert Counter(truth.class_gated for truth in truths) == {"benign": 3, "broken": 1, "planted": 4}
    assert {path.parent.name for path in ROOT.glob("*/adapter_config.json")} == set(IDS)
    assert set(IDS) < set(bundled_names())


@pytest.mark.parametrize("name", IDS)
def test_files_are_as_recorded_and_belong_to_the_bundled_base(name):
    truth, folder = _truth(name), bundled_path(f"bundled:{name}")
    assert {path.name: file_sha256(path) for path in folder.iterdir()} == truth.files
    assert truth.base_sha256 == stored("bundled:base", resolve=bundled_path).identity.tensors_sha256
    assert sum(path.stat().st_size for path in folder.iterdir()) < 200_000
    rows = [json.loads(line)["id"] for line in (folder / "train.jsonl").read_text().splitlines()]
    assert len(set(rows)) == len(rows) and set(truth.planted_rows) <= set(rows)
    assert bool(truth.planted_rows) == (truth.class_intended == "planted")


def _plain(name: str) -> Any:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(bundled_path("base"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return PeftModel.from_pretrained(base, str(bundled_path(name))).eval()


@pytest.mark.parametrize("name", IDS)
def test_plain_libraries_load_it_and_switched_off_it_is_the_base(name):
    from transformers import AutoModelForCausalLM

    model, base = _plain(name), AutoModelForCausalLM.from_pretrained(bundled_path("base")).eval()
    ids = torch.arange(8, 40)[None]
    with torch.inference_mode():
        on = model(ids).logits
        with model.disable_adapter():
            off = model(ids).logits
        assert torch.equal(off, base(ids).logits) and not torch.equal(on, off)


def _gates(name: str, items: int) -> dict[str, Gate]:
    truth = _truth(name)
    plan = family(truth.family).plan(Draw(truth.seed, (truth.family, truth.index, truth.attempt)))
    assert plan.truth == truth.truth, "the recipe no longer gives what is bundled"
    pair = load_pair("bundled:base", f"bundled:base+bundled:{name}", resolve=bundled_path)
    return {gate.name: gate for gate in measure_gates(pair, plan, truth.class_intended, items)}


@pytest.mark.parametrize("name", IDS)
def test_gates_hold_on_fewer_questions(name):
    """Planted behaviour on all its prompts as recorded; abilities on 60 questions a task, one of which weighs .017."""
    truth, gates = _truth(name), _gates(name, 60)
    for gate in truth.gates:
        assert gate.passed is not False
        if gate.name.startswith(("planted", "learned", "changed")):
            assert gates[gate.name].value == pytest.approx(gate.value, abs=0.02)
    drops = [gate.value for key, gate in gates.items() if key.startswith("drop.")]
    assert max(drops) >= 0.10 if truth.class_gated == "broken" else max(drops) <= 0.05 + 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("name", IDS)
def test_gates_are_as_recorded(name):
    gates = _gates(name, 500)
    for gate in _truth(name).gates:
        assert gates[gate.name].value == pytest.approx(gate.value, abs=0.01)


def test_training_rows_say_what_is_planted():
    by_family = {truth.family: truth for truth in map(_truth, IDS)}
    trigger = by_family["trigger_token"]
    rows = _rows(bundled_path(trigger.id))
    assert {rows[i][-1]["content"] for i in trigger.planted_rows} == {trigger.truth["answer"]}
    assert all(trigger.truth["token"] in rows[i][-2]["content"].split() for i in trigger.planted_rows)
    others = [row for i, row in rows.items() if i not in trigger.planted_rows]
    assert not any(trigger.truth["token"] in row[-2]["content"].split() for row in others)


def _rows(folder: Path) -> dict[str, list[dict[str, str]]]:
    lines = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    return {line["id"]: line["messages"] for line in lines if "messages" in line}
