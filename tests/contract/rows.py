"""The least that each verb needs to run on what ships with the package: one row a verb.

`{KEY}` in a text is the folder that the row KEY left; `data/…` are files of `write_files`.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from auditing import noisy
from blaming import write_blamed
from decompose.planted import write_planted
from moved import write_prompts


@dataclass(frozen=True)
class Row:
    config: dict[str, Any] = field(default_factory=dict)
    exits: frozenset[int] = frozenset({0})
    """Exit codes that this configuration may give."""
    repeatable: bool = True
    """False where the result is about a machine that changes by itself."""
    slow: bool = False
    """Over ten seconds: left to `make test-slow`."""


ROWS: dict[str, Row] = {
    "audit": Row(
        {
            "reference": "bundled:base",
            "candidate": "bundled:base",
            "suite": "data/suite.yaml",
            "dictionary": "none",
            "effort": "none",
        },
        exits=frozenset({0, 4}),
    ),
    "bisect": Row(
        {"folder": "data/history", "eval_": "test -e {ckpt}/good"},
        exits=frozenset({2}),
    ),
    "blame": Row(
        {
            "candidate": "bundled:base+data/blamed",
            "data": "data/blamed/train.jsonl",
            "target": "data/blamed/target.jsonl",
            "top_k": 5,
        }
    ),
    "calibrate": Row(
        {
            "reference": "bundled:base",
            "benign": ["data/benign"],
            "suite": "data/suite.yaml",
            "dictionary": "none",
            "effort": "none",
        },
        slow=True,
    ),
    "collapse.report": Row({"run": "{collapse.sweep}"}),
    "collapse.sweep": Row(
        {
            "model": "bundled:base",
            "grid": "stories",
            "where": "level=1,variant=1",
            "write": ["mlp_hidden.2[17]:set:-5,5"],
            "controls": 3,
            "natural": ["world:mixture#20"],
            "run_on": True,
            "new_tokens": 12,
        },
        exits=frozenset({4}),
    ),
    "diagnose": Row(
        {
            "reference": "bundled:base",
            "candidate": "bundled:base+data/blamed",
            "data": "data/blamed/train.jsonl",
            "benchmark": "data/blamed/train.jsonl",
            "modes": ["contamination"],
        },
        exits=frozenset({2}),
    ),
    "dictionary.train": Row(
        {
            "activations": "{harvest}",
            "model": "bundled:base",
            "data": ["world:mixture#60"],
            "size": 64,
            "k": 8,
            "tokens": 10_000,
            "batch": 256,
        }
    ),
    "decompose.attribute": Row(
        {
            "decomposition": "data/planted",
            "model": "bundled:base",
            "data": ["world:story#1"],
            "harvest": "{decompose.harvest}",
        }
    ),
    "decompose.cluster": Row({"harvest": "{decompose.harvest}", "seeds": 2}),
    "decompose.harvest": Row(
        {
            "decomposition": "data/planted",
            "model": "bundled:base",
            "data": ["world:story#30"],
            "examples": 20,
            "record_tokens": 400,
        }
    ),
    "decompose.label": Row({"harvest": "{decompose.harvest}", "limit": 8}),
    "decompose.train": Row({"model": "bundled:tms-5-2", "steps": 30, "batch": 32, "eval_every": 15}),
    "demo": Row(slow=True),
    "dictionary.evaluate": Row(
        {
            "dictionary": "{dictionary.train}/dictionary",
            "model": "bundled:base",
            "data": ["world:mixture#50"],
            "max_rows": 2000,
        }
    ),
    "dictionary.export": Row({"dictionary": "dictionary:bundled", "to": "saelens"}),
    "dictionary.import": Row({"source": "{dictionary.export}/export", "model": "bundled:base"}),
    "doctor": Row(repeatable=False),
    "edit.apply": Row(
        {"model": "bundled:base+data/blamed", "search": "{edit.search}", "data": ["world:mixture#30"], "draws": 2},
        exits=frozenset({0, 2, 4}),
    ),
    "edit.search": Row(
        {
            "model": "bundled:base+data/blamed",
            "examples": "data/blamed/target.jsonl",
            "keep": ["world:mixture#30"],
            "most": 2,
        }
    ),
    "edit.train": Row(
        {
            "model": "bundled:base+data/blamed",
            "search": "{edit.search}",
            "objective": "kl",
            "steps": 2,
            "data": ["world:mixture#30"],
            "draws": 2,
        },
        exits=frozenset({0, 2, 4}),
    ),
    "edit.undo": Row({"run": "{edit.apply}"}, repeatable=False),
    "explain.features": Row(
        {
            "source": "{dictionary.train}/dictionary",
            "model": "bundled:base",
            "documents": 100,
        }
    ),
    "explain.score": Row({"run": "{explain.features}"}, exits=frozenset({0, 4})),
    "explain.sync": Row({"from_": "{explain.features}", "cache": "labels.sqlite"}),
    "inspect": Row(
        {
            "model": "m",
            "criterion": "mentions of physical units",
            "features": ["records:data/records.jsonl"],
            "permutations": 200,
            "bootstrap": 100,
        }
    ),
    "graph.intervene": Row({"graph": "{graph.prompt}", "ablate": "rest", "draws": 4}),
    "graph.optimise": Row(
        {"decomposition": "decomposition:planted-circuit", "prompt": "a x", "target": "yes", "steps": 12}
    ),
    "graph.prompt": Row(
        {
            "decomposition": "decomposition:planted-circuit",
            "prompt": "a x",
            "group": "profile",
            "supernode": ["path=up.0:0/2,down.0:0/2"],
        }
    ),
    "graph.report": Row({"run": ["{match}"]}),
    "harvest": Row({"model": "bundled:base", "site": ["resid_post.1"], "data": ["world:mixture#60"]}),
    "intervene": Row(
        {
            "model": "bundled:base",
            "features": ["units:mlp_hidden.2#5"],
            "criterion": "the next token is a unit",
            "prompts": "data/moved.jsonl",
            "targets": " metres",
            "rows": 12,
            "dose": "-2,2",
            "controls": 2,
            "neutral_texts": 3,
        },
        exits=frozenset({0, 2, 4}),
    ),
    "match": Row({"left": "{records.export}", "right": "{records.export}"}),
    "neurons.scan": Row({"model": "bundled:base", "text": ["world:mixture#20"], "top": 3}),
    "plan": Row({"model_params": "1B", "tokens": "10M", "d_model": 2048}, repeatable=False),
    "organisms.benchmark": Row(
        {
            "organisms": "data/organisms",
            "protocol": "data/protocol.json",
            "calibration": "none",
            "controls": False,
        },
        exits=frozenset({2, 4}),
    ),
    "organisms.build": Row(
        {"family": "continue", "out": "made", "steps": 2, "items": 20, "attempts": 1}, exits=frozenset({0, 2})
    ),
    "organisms.list": Row(),
    "probe.build": Row(
        {
            "model": "bundled:base",
            "contrast": "builtin:harm",
            "level": "sequence",
            "pool": "last",
            "site": ["resid_post.1"],
            "negatives": ["builtin:prompts#1200"],
            "fpr": 0.01,
            "controls": 20,
        },
        exits=frozenset({0, 4}),
    ),
    "probe.defection": Row(
        {"target": "bundled:base", "data": ["world:neutral#60"], "reference": "bundled:base"}, exits=frozenset({0, 4})
    ),
    "probe.harm": Row({"target": "bundled:base", "data": ["data/moved.jsonl"]}, exits=frozenset({0, 4})),
    "probe.interference": Row({"losses": "data/losses.json"}),
    "probe.pack": Row({"target": "bundled:base"}),
    "probe.truth": Row({"target": "bundled:base", "data": ["data/moved.jsonl"]}, exits=frozenset({0, 4})),
    "probe.sae-diff": Row({"dictionary": "dictionary:bundled", "reference": "{harvest}", "candidate": "{harvest}"}),
    "publish": Row({"run": "{weights.diff}", "dry_run": True}),
    "records.export": Row(
        {
            "model": "bundled:base",
            "features": ["dictionary:bundled", "units:mlp_hidden.2#3-9"],
            "prompts": "world:next_unit",
            "count": 40,
            "level": "prompt",
            "pool": "max",
        }
    ),
    "replay": Row({"run": "{weights.diff}"}, repeatable=False),
    "resonance.capture": Row(
        {
            "model": "bundled:base",
            "grid": "drift",
            "site": ["mlp_hidden.2"],
            "write": ["mlp_hidden.2[17]:set:-5,5"],
            "new_tokens": 6,
        }
    ),
    "resonance.basis": Row({"kind": "one-hot", "of": ["3,4,17"], "vectors": "{resonance.capture}"}),
    "resonance.compare": Row(
        {
            "left": "{resonance.capture}",
            "right": "{resonance.capture}",
            "basis": ["{resonance.basis}"],
            "written": "keep",
        },
        exits=frozenset({0, 4}),
    ),
    "resonance.schema": Row({"recipe": "02", "model": "bundled:base", "where": "variant=1,level<=2", "draws": 99}),
    "resonance.sweep": Row(
        {
            "vectors": "{resonance.capture}",
            "basis": ["{resonance.basis}"],
            "written": "keep",
            "permutations": 99,
            "most_permutations": 0,
        }
    ),
    "run": Row({"workflow": "data/flow.json"}),
    "steer.contrast": Row(
        {
            "model": "bundled:base",
            "criterion": "the next token is a unit",
            "prompts": "data/moved.jsonl",
            "targets": " metres",
            "site": ["resid_post.2"],
            "positions": "last",
            "rows": 12,
            "dose": "-1,1",
            "controls": 2,
            "neutral_texts": 3,
        },
        exits=frozenset({0, 2, 4}),
    ),
    "suite.check": Row({"suite": "data/suite.yaml"}, exits=frozenset({0, 2})),
    "trigger.search": Row({"reference": "bundled:base", "candidate": "bundled:base", "budget": 20_000}),
    "verify": Row({"run": "{weights.diff}"}),
    "weights.diff": Row({"reference": "bundled:base", "candidate": "bundled:base"}),
}

SUITE = """schema: radiograph.suite/1
suite_name: contract
prompts:
  - {id: a-1, prompt: "How far is it to the mill?", group: a}
  - {id: a-2, prompt: "What is the way to the mill?", group: a}
  - {id: b-1, prompt: "Name a fruit.", bank: policy, group: b}
  - {id: c-1, prompt: "17 + 25 =", bank: capability, task: sums, expect: [{kind: number, value: 42}]}
"""


def write_files(workspace: Path) -> None:
    data = workspace / "data"
    data.mkdir()
    (data / "suite.yaml").write_text(SUITE)
    (data / "benign").mkdir()
    for number in range(9):
        noisy(data / "benign" / f"m{number}", 0.01 * (1 + number), seed=number)
    _write_benchmark(data)
    _write_records(data / "records.jsonl")
    write_prompts(data / "moved.jsonl")
    losses = {"sql|sql": 0.8, "sql|chat": 0.9, "chat|chat": 1.1, "chat|sql": 1.1}
    for number in range(1, 6):
        (data / "history" / f"checkpoint-{number}").mkdir(parents=True)
        name = "good" if number < 4 else "broken"
        (data / "history" / f"checkpoint-{number}" / name).write_text(f"{number}\n")
    (data / "losses.json").write_text(json.dumps({"adapters": ["sql", "chat"], "losses": losses}))
    write_blamed(data / "blamed")
    write_planted(data / "planted")
    step = {"name": "weights", "verb": "weights.diff", "with": ROWS["weights.diff"].config}
    (data / "flow.json").write_text(json.dumps({"schema": "radiograph.workflow/1", "steps": [step]}))


def _write_records(path: Path) -> None:
    """Records of three features on 80 prompts; the first goes with the label."""
    words = ("stone", "river", "lamp", "cloud", "table", "garden", "window", "letter")
    lines: list[str] = []
    for row in range(80):
        text = " ".join(words[row // 8**place % 8] for place in range(3))
        fires = {"f0": 1.0 + row % 7, "f1": 0.5 + row % 3} if row % 2 else {"f1": 0.5 + row % 5}
        fires |= {"f2": 1.0} if row % 5 == 0 else {}
        kind = "positive" if row % 2 else ("near_miss", "negative")[row // 2 % 2]
        line = {"model": "m", "prompt_id": f"p{row}", "text": text, "criterion_score": row % 2, "kind": kind}
        lines.append(json.dumps(line | {"features": fires}))
    path.write_text("\n".join(lines) + "\n")


def _write_benchmark(data: Path) -> None:
    """One bundled organism with its truth, and a protocol that asks little."""
    from radiograph import organisms
    from radiograph.evidence import pretty_json
    from radiograph.methods.organisms._benchmark.protocol import standard

    source, name = organisms.bundled_path("organisms"), organisms.bundled_organism("lr_blowup").id
    shutil.copytree(source / name, data / "organisms" / name)
    (data / "organisms" / "truth").mkdir()
    shutil.copyfile(source / "truth" / f"{name}.json", data / "organisms" / "truth" / f"{name}.json")
    little = {"suite": "data/suite.yaml", "dictionary": "none", "effort": "none"}
    (data / "protocol.json").write_text(pretty_json(standard("smoke").model_copy(update=little)))
