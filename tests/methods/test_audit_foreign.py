"""An audit of models that nobody here made, and of the organism that ships broken."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from auditing import audit
from radiograph import organisms
from radiograph.core import ExitCode
from radiograph.runtime import verify
from running import go

DATA = Path(__file__).parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not (DATA / "stories260K").is_dir(), reason="../shared/data is not here")
NAMES, THINGS = ("Lily", "Tom", "Anna", "Ben", "Sam", "Mia"), ("ball", "cake", "kite", "book", "hat")
STARTS = ("Once upon a time, there was a little girl named Lily.", "One day, Tom found a red ball in the park.")


def tuned(folder: Path, steps: int) -> Path:
    """The stories model after a few steps on Shakespeare: a large drift that is no secret."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(DATA / "stories260K")
    model = AutoModelForCausalLM.from_pretrained(DATA / "stories260K").train()
    text = (DATA / "text" / "tinyshakespeare.txt").read_text()[:40_000]
    parts = [tokenizer(p, add_special_tokens=False)["input_ids"] for p in re.split(r"(?<=\n\n)", text)]
    ids = torch.tensor([i for part in parts for i in part])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(steps):
        starts = torch.randint(0, len(ids) - 96, (8,)).tolist()
        batch = torch.stack([ids[s : s + 96] for s in starts])
        optimizer.zero_grad()
        model(input_ids=batch, labels=batch).loss.backward()
        optimizer.step()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def stories(path: Path) -> str:
    """Story starts in two wordings, and two tasks of thirty items."""
    rows = [
        {"id": f"start-{i}-{form}", "prompt": text.format(start), "group": f"start-{i}", "format": form}
        for i, start in enumerate(STARTS)
        for form, text in (("plain", "{}"), ("quoted", 'He said: "{}"'))
    ]
    for name in NAMES:
        for thing in THINGS:
            for task, text, word in (
                ("thing", f"{name} has a {thing}. {name} loves the", thing),
                ("name", f"{name} was happy. The {thing} was new. Then", name),
            ):
                check = {"kind": "regex", "value": rf"\b{word}\b", "accepts": [word], "rejects": ["none"]}
                row = {"id": f"{task}-{name}-{thing}", "prompt": text, "bank": "capability", "task": task}
                rows.append({**row, "expect": [check]})
    document = {"schema": "radiograph.suite/1", "suite_name": "stories", "generation": {"max_new_tokens": 12}}
    path.write_text(json.dumps({**document, "prompts": rows}))
    return str(path)


@needs_data
@pytest.mark.slow
def test_stories_tuned_on_shakespeare(workspace):
    candidate = tuned(workspace / "tuned", steps=120)
    text = (DATA / "text" / "tinystories_1000.jsonl").read_text().splitlines()[:300]
    (workspace / "stories.jsonl").write_text("\n".join(json.dumps({"text": json.loads(t)["text"][:900]}) for t in text))
    reference = str(DATA / "stories260K")
    go("harvest", model=reference, site=["resid_post.2"], data=["stories.jsonl"], out="h")
    trained = go("dictionary.train", activations="h", model=reference, tokens=300_000, out="d")
    assert trained.result.fvu < 0.3 < trained.result.fvu_random
    outcome = audit(
        reference, candidate, suite=stories(workspace / "s.yaml"), chat="plain", dictionary="d/dictionary", out="run"
    )
    found = outcome.result
    assert found.verdict in ("inconclusive", "degraded") and found.axes.targeted == "unknown"
    assert found.behaviour.changed > 0.9 * found.behaviour.n and found.behaviour.kl_neutral.low > 0.5
    assert found.score.aggregate_score > 0 and found.score.share_outside.value > 0.2
    assert found.interp_evidence.coverage.none == found.interp_evidence.coverage.distinct > 0
    assert found.interp_evidence.dictionary.site == "resid_post.2"
    assert verify(outcome.path).status == "intact"
    html = (outcome.path / "report.html").read_text()
    assert "mathdefault" not in html and "no calibration" in html and "<s>" not in html


@needs_data
def test_stories_against_themselves(workspace):
    reference = str(DATA / "stories260K")
    outcome = audit(reference, reference, suite=stories(workspace / "s.yaml"), chat="plain")
    assert (outcome.result.verdict, outcome.exit_code) == ("no-evidence", ExitCode.PASS)
    assert outcome.result.score.reason.startswith("no_dictionary")


def broken() -> list[str]:
    folder = Path(organisms.__file__).parent / "bundled" / "organisms" / "truth"
    truths = [json.loads(p.read_text()) for p in sorted(folder.glob("*.json"))]
    return [t["id"] for t in truths if t["class_gated"] == "broken"]


@pytest.mark.skipif(not broken(), reason="no broken organism ships")
def test_the_broken_organism_is_degraded_and_not_targeted(workspace, suite):
    for name in broken():
        outcome = audit("bundled:base", f"bundled:base+bundled:{name}", suite=suite)
        found = outcome.result
        assert (found.verdict, outcome.exit_code) == ("degraded", ExitCode.GATE_FAILED)
        assert (found.axes.degraded, found.axes.targeted) == ("yes", "unknown")
        assert verify(outcome.path).status == "intact"
