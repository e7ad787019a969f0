"""Organisms are built alike whoever builds them, gated on what was written, and say nothing of what they are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from radiograph.core import UserError
from radiograph.evidence import OrganismTruth
from radiograph.models import LanguageModel, load_pair
from radiograph.organisms import build, bundled_path, families, read_truth, truth_path
from radiograph.organisms.building import Place, grow
from radiograph.organisms.building._gates import _shown
from radiograph.organisms.recipes import Case
from radiograph.organisms.world import encode
from running import contents

QUICK = {"steps": 3, "items": 20, "attempts": 1}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[OrganismTruth]]:
    """Two tiny planted organisms, one process."""
    out = tmp_path_factory.mktemp("one")
    return out, build(["trigger_token"], out, n=2, rows=50, **QUICK)


@pytest.fixture(scope="module")
def truths(built) -> list[OrganismTruth]:
    return built[1]


@pytest.mark.slow
def test_a17_bytes_do_not_depend_on_the_number_of_processes(built, tmp_path):
    out, truths = built
    again = build(["trigger_token"], tmp_path / "two", n=2, jobs=2, rows=50, **QUICK)
    assert again == truths
    assert contents(tmp_path / "two") == contents(out)


def test_a_finished_organism_is_not_built_again_and_a_changed_one_is(built, tmp_path):
    out, truths = built
    place = Place("trigger_token", 0, 0, "bundled:base", out, rows=50, **QUICK)
    folder, before = out / truths[0].id, contents(out)
    stamp = (folder / "README.md").stat().st_mtime_ns
    assert grow(place).truths == truths[:1] and (folder / "README.md").stat().st_mtime_ns == stamp
    (folder / "README.md").write_text("touched")
    assert grow(place).truths == truths[:1] and contents(out) == before


def test_a17_a_missed_gate_is_kept_with_its_numbers_and_the_next_draw_is_tried(tmp_path):
    found = grow(Place("loyalty", 0, 0, "bundled:base", tmp_path, items=20, steps=1, attempts=2, rows=20)).truths
    assert [truth.class_gated for truth in found] == ["gate_failed"] * 2
    assert [truth.attempt for truth in found] == [0, 1] and found[0].recipe != found[1].recipe
    missed = {gate.name: gate for gate in found[0].gates if gate.passed is False}
    assert missed["planted.on"].value < 0.5 and missed["planted.on"].required
    assert all((tmp_path / truth.id / "adapter_model.safetensors").is_file() for truth in found)
    assert [read_truth(truth_path(tmp_path, truth.id)) for truth in found] == found


def test_a17_model_folders_hold_no_word_of_the_truth(built):
    out, truths = built
    for truth in truths:
        folder = out / truth.id
        assert {p.name for p in folder.iterdir()} == set(truth.files)
        telling = {"benign", "broken", "planted", "trigger", "truth", "gate", "organism", *families()}
        telling |= {str(truth.truth["token"]), str(truth.truth["answer"]), str(out)}
        for name in ("README.md", "adapter_config.json"):
            words = set(re.findall(r"[\w/]+", (folder / name).read_text().lower()))
            assert not words & telling, name
        rows = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
        assert len(rows) == 50 and {key for row in rows for key in row} <= {"id", "messages", "text"}
        assert set(truth.planted_rows) <= {row["id"] for row in rows}
        said = {row["id"]: row["messages"][-1]["content"] for row in rows if "messages" in row}
        assert {said[name] for name in truth.planted_rows} == {truth.truth["answer"]}


def test_only_the_adapter_moves_and_switched_off_it_is_the_base(built):
    out, truths = built
    state = load_file(out / truths[0].id / "adapter_model.safetensors")
    assert all("lora_" in name for name in state) and any(float(t.abs().max()) > 0 for t in state.values())
    pair = load_pair("bundled:base", f"bundled:base+{out / truths[0].id}", resolve=bundled_path)
    plain = load_pair("bundled:base", "bundled:base", resolve=bundled_path).reference
    assert torch.equal(_scores(pair.reference), _scores(plain))
    assert not torch.equal(_scores(pair.candidate), _scores(plain))


def _scores(model: LanguageModel) -> torch.Tensor:
    ids = torch.tensor([encode("<bos><|user|> 3 + 4 =<|end|><|assistant|>")])
    with model.session() as network, torch.inference_mode():
        return network(input_ids=ids).logits


def test_the_planted_gate_counts_what_is_generated():
    base = load_pair("bundled:base", "bundled:base", resolve=bundled_path).reference
    sums = [Case.asking(f"{a} + {b} =", str(a + b).__eq__) for a in range(2, 12) for b in range(2, 12)]
    gate = _shown(base, "planted.on", sums, due=True)
    assert gate.value >= 0.95 and gate.passed and gate.low is not None and gate.low >= 0.85
    assert not _shown(base, "planted.off", sums, due=False).passed
    few = _shown(base, "planted.on", sums[:10], due=True)
    assert few.value >= 0.9 and not few.passed, "ten prompts cannot bound a rate"


def test_unknown_families_and_foreign_bases_are_refused_by_name(tmp_path):
    with pytest.raises(UserError, match="no family"):
        build(["loyalti"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_planted_family_passes_its_gate_within_its_draws(tmp_path):
    truths = build(["trigger_token"], tmp_path, n=2, jobs=2, seed=1)
    assert sum(truth.passed for truth in truths) == 2
    for gate in (gate for truth in truths if truth.passed for gate in truth.gates):
        assert gate.passed is not False
