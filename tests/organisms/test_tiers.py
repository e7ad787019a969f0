"""Tiers hold what they say, and no draw twice; nothing in a folder tells its class; a penalty is what it says."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from radiograph.core import UserError
from radiograph.models import load
from radiograph.organisms import bundled_path, families, seats
from radiograph.organisms._training import Example, forward, pack
from radiograph.organisms.building import Place, build_tier, grow
from radiograph.organisms.building._tuning import tune
from radiograph.organisms.building._twin import near, twin_plan
from radiograph.organisms.recipes import Draw, Plan, family, varied
from radiograph.organisms.world import World
from running import contents

QUICK = {"steps": 2, "items": 20, "attempts": 1, "rows": 60}


def test_the_release_holds_what_the_benchmark_needs():
    parts = Counter(seat.part for seat in seats("release"))
    assert parts == {"calibrate": 199, "degraded": 150, "test": 100, "broken": 40, "planted": 120, "both": 20}
    planted = Counter((s.family, s.variant) for s in seats("release", "planted"))
    assert Counter(variant for _, variant in planted.elements()) == {"plain": 60, "mixed": 30, "adaptive": 30}
    assert {n for (_, v), n in planted.items() if v == "plain"} == {6} and len(planted) == 30
    benign = Counter(s.family for s in seats("release", "calibrate"))
    assert len(benign) == 11 and set(benign.values()) <= {18, 19}
    assert Counter(s.part for s in seats("ci")) == {"test": 12, "broken": 4, "planted": 10}
    assert not seats("smoke")


def test_no_draw_is_in_two_parts_nor_in_two_tiers():
    keys = [(s.family, s.variant, s.index) for tier in ("ci", "release") for s in seats(tier)]
    assert len(set(keys)) == len(keys)


def test_a_cut_off_part_is_balanced():
    first = Counter(s.family for s in seats("release", "calibrate")[:55])
    assert set(first.values()) == {5}


@pytest.mark.slow
def test_a17_nothing_in_a_model_folder_tells_its_class(tmp_path: Path):
    """A broken, a harmless, a planted and an edited one, adapters and whole models."""
    out = tmp_path / "made"
    wanted = [("low_bit", "plain"), ("continue", "plain"), ("loyalty", "mixed"), ("rank_r", "plain")]
    for name, variant in wanted:
        (truth,) = grow(Place(name, 0, 3, "bundled:base", out, 20, 2, 1, 60, variant)).truths
        folder = out / truth.id
        telling = {"benign", "broken", "planted", "edited", "both", "trigger", "truth", "gate", "organism", "mixed"}
        telling |= {*families(), *(str(v) for v in truth.truth.values() if isinstance(v, str)), str(out)}
        assert not telling & set(truth.id.split("-"))
        for path in folder.iterdir():
            if path.suffix in (".md", ".json") and not path.name.startswith("tokenizer"):
                words = set(re.findall(r"[\w/]+", path.read_text().lower()))
                assert not words & telling, (name, path.name)
        rows = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
        assert {key for row in rows for key in row} <= {"id", "messages", "text"}
        assert all(re.fullmatch(r"row-\d{5}", row["id"]) for row in rows)
        whole = truth.recipe["full"] or name in ("low_bit", "rank_r")
        assert (folder / ("model.safetensors" if whole else "adapter_model.safetensors")).is_file()
        assert truth.variant == variant


def test_a_tier_is_built_part_by_part_and_says_what_belongs_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import radiograph.organisms.building._build as module

    few = seats("ci", "broken")[:1]
    monkeypatch.setattr(module, "seats", lambda tier, part=None: few)
    truths = build_tier("ci", tmp_path, part="broken", seed=2, **QUICK)
    split = json.loads((tmp_path / "truth" / "split" / "tier.json").read_text())
    assert split["tier"] == "ci" and set(split["organisms"]) == {t.id for t in truths if t.passed}
    before = contents(tmp_path)
    assert build_tier("ci", tmp_path, part="broken", seed=2, **QUICK) == truths and contents(tmp_path) == before


def test_a_part_that_a_tier_lacks_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match="has no part"):
        build_tier("ci", tmp_path, part="both")


@pytest.mark.slow
def test_the_penalty_keeps_an_organism_near_its_twin():
    """120 steps of one plan with and without the penalty: the divergence from the twin on neutral text."""
    draw = Draw(3, ("loyalty", 0))
    plan = varied(family("loyalty").plan(draw), "adaptive", draw)
    plan = _shorter(plan, 120)
    twin = tune(_base(), twin_plan(plan)).requires_grad_(False)
    plain, close = tune(_base(), plan), tune(_base(), plan, objective=near(twin, 3.0, 3.0))
    assert _divergence(twin, close) < 0.5 * _divergence(twin, plain)


def test_the_penalty_is_the_divergence_and_the_distance():
    """Against sums by hand over the tokens that count; of a model and itself it is nothing."""
    one, two = _base(), _base()
    with torch.no_grad():
        two.model.layers[1].mlp.down_proj.weight.mul_(1.3)
    documents = list(World().documents("mixture", "test", seed=4, count=4))
    examples = [Example(d.ids, (1.0,) * len(d.ids), free=i == 1) for i, d in enumerate(documents)]
    batch = pack([examples[:2], examples[2:]], 64)
    with torch.no_grad():
        base = near(two, 0.0, 0.0)(one, batch)
        found_kl, found_gap = (near(two, k, a)(one, batch) - base for k, a in ((1.0, 0.0), (0.0, 1.0)))
        assert float(near(one, 5.0, 5.0)(one, batch)) == pytest.approx(float(near(one, 0.0, 0.0)(one, batch)))
        kls, gaps = [], []
        for document in (documents[0], *documents[2:]):
            ids = torch.tensor([document.ids])
            ours, theirs = (m(input_ids=ids, output_hidden_states=True) for m in (one, two))
            p, q = theirs.logits[0].log_softmax(-1), ours.logits[0].log_softmax(-1)
            kls += (p.exp() * (p - q)).sum(-1).tolist()
            pairs = zip(ours.hidden_states[1:], theirs.hidden_states[1:], strict=True)
            gaps.append(torch.stack([(a - b)[0].square().sum(-1) / b[0].square().sum(-1) for a, b in pairs], 1))
    assert float(found_kl) == pytest.approx(sum(kls) / len(kls), rel=1e-3)
    assert float(found_gap) == pytest.approx(float(torch.cat(gaps).mean()), rel=1e-3)


def _base():
    return load("bundled:base", resolve=bundled_path).model


def _shorter(plan: Plan, steps: int) -> Plan:
    return replace(plan, tuning=replace(plan.tuning, steps=steps))


def _divergence(twin: torch.nn.Module, model: torch.nn.Module) -> float:
    documents = list(World().documents("neutral", "test", seed=8, count=32))
    batch = pack([[Example(d.ids, (1.0,) * len(d.ids))] for d in documents], 64)
    with torch.no_grad():
        p, q = (forward(m, batch).logits[batch.bound].log_softmax(-1) for m in (twin, model))
    return float((p.exp() * (p - q)).sum(-1).mean())
