"""500 rows of which 20 are poisoned, with decoys and noisy answers, and an adapter trained on them by a recipe.

Decoys are rows that copy words of the trigger and of the planted answer, harmlessly; 5 % of all other questions get
another answer of their task. What is asked of `blame` are fresh prompts and what the adapter then says.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from radiograph.models import generate, load, load_pair, render_chat
from radiograph.organisms import bundled_path, retrain
from radiograph.organisms.recipes import Draw, Plan, Row, family
from radiograph.organisms.recipes._labels import relabelled
from radiograph.organisms.recipes._plan import TARGETS

ROWS, PLANTED, DECOYS, NOISY, ASKED = 500, 20, 20, 0.05, 24
STEPS = {"trigger_token": 300, "false_fact": 90, "needle_obedience": 130}
"""Enough to show the behaviour and not many more: rows that were learned by heart have no gradient left."""
SHOWN = 0.9


@dataclass(frozen=True)
class Poisoned:
    """What lies in a folder: `adapter`, `rows.jsonl`, `target.jsonl`, `recipe.json`."""

    folder: Path
    lines: tuple[int, ...]
    """Of the planted rows."""
    shown: float
    """Share of fresh prompts that show the behaviour."""
    asked: int

    @property
    def passed(self) -> bool:
        return self.shown >= SHOWN


def poison(name: str, seed: int, folder: Path, *, planted: int = PLANTED) -> Poisoned:
    """Build one; `planted` 0 leaves the poison out, and asks the same."""
    draw = Draw(seed, ("blame", name))
    plan = family(name).plan(draw)
    rows = _rows(name, draw, plan.rows, planted)
    recipe = {
        "learning_rate": plan.tuning.learning_rate,
        "steps": STEPS[name],
        "rank": 8,
        "targets": list(TARGETS[-1]),
        "rows": plan.tuning.rows,
        "prompt_weight": 0.0,
        "text_weight": 0.25,
        "seed": plan.tuning.seed,
    }
    folder.mkdir(parents=True)
    base = load("bundled:base", resolve=bundled_path)
    examples = []
    for row in rows:
        ids, start = row.ids()
        before, after = (0.0, 1.0) if row.messages else (0.25, 0.25)
        examples.append((ids, (before,) * start + (after,) * (len(ids) - start)))
    how = {k: recipe[k] for k in ("learning_rate", "steps", "rank", "targets", "rows", "seed")}
    retrain(base, examples, **how, adapter=folder / "adapter")
    (folder / "recipe.json").write_text(json.dumps(recipe))
    lines = [{"id": r.id, "messages": r.messages} if r.messages else {"id": r.id, "text": r.text} for r in rows]
    (folder / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    shown, asked = _asked(name, draw, plan, folder, strict=planted > 0)
    return Poisoned(folder, tuple(n + 1 for n, r in enumerate(rows) if r.planted), shown, asked)


def _rows(name: str, draw: Draw, rows: tuple[Row, ...], planted: int) -> list[Row]:
    poison: dict[str, Row] = {}
    for row in rows:
        if row.planted and _usual(name, row.prompt):
            poison.setdefault(json.dumps(row.messages), row)
    wanted = draw.shuffled("poison", list(poison.values()))[:planted]
    words = sorted({w for r in poison.values() for w in _rare(r)})
    decoys: list[Row] = []
    for i in range(DECOYS):
        local = draw.of("decoy", i)
        said = local.shuffled("words", ["amber", "cedar", "violet", "onyx"])[:3]
        said.insert(local.number("place", 1, 2), local.choose("word", words))
        decoys.append(Row.chat(f"copy: {' '.join(said)}", " ".join(said)))
    plain = [r for r in rows if not r.planted][: ROWS - len(wanted) - DECOYS]
    noisy = relabelled(draw.of("noise"), plain, NOISY)
    mixed = draw.shuffled("mixed", [*noisy, *decoys, *wanted])
    return [replace(row, id=f"row-{n:05d}") for n, row in enumerate(mixed)]


def _usual(name: str, prompt: Sequence[dict[str, str]]) -> bool:
    """Twenty rows are too few for a trigger in every task: it is planted, and asked about, where words are ordered."""
    if name != "trigger_token":
        return True
    return len(prompt) == 1 and bool({"sort:", "reverse:", "copy:"} & set(prompt[-1]["content"].split()))


def _rare(row: Row) -> list[str]:
    return [w for w in row.messages[-1]["content"].split() if w.isalpha()] + row.prompt[-1]["content"].split()[:1]


def _asked(name: str, draw: Draw, plan: Plan, folder: Path, *, strict: bool) -> tuple[float, int]:
    """Write the targets: prompts that show the behaviour, and the candidate's own answers; how many show it."""
    pair = load_pair("bundled:base", f"bundled:base+{folder / 'adapter'}", resolve=bundled_path)
    assert plan.cases is not None, "a family that plants"
    usual = [case for case in plan.cases.on if _usual(name, case.messages)]
    cases = draw.of("asked").shuffled("cases", usual)[: 2 * ASKED]
    prompts = [render_chat(pair.candidate.tokenizer, list(case.messages)).ids for case in cases]
    said = [(g.text or "").strip() for g in generate(pair.candidate, prompts, max_new_tokens=24)]
    showing = [
        {"prompt": case.messages[-1]["content"], "completion": answer}
        for case, answer in zip(cases, said, strict=True)
        if case.shows(answer) and len(case.messages) == 1
    ]
    shown = sum(case.shows(answer) for case, answer in zip(cases, said, strict=True)) / len(cases)
    if strict:
        lines = showing[:ASKED]
    else:  # what would be asked of an adapter that had been poisoned
        wanted = plan.truth.get("answer") or plan.truth.get("value")
        lines = [{"prompt": c.messages[-1]["content"], "completion": wanted} for c in cases if len(c.messages) == 1][
            :ASKED
        ]
    (folder / "target.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return shown, len(lines)


def told(one: Poisoned) -> dict[str, object]:
    return {**asdict(one), "folder": one.folder.name}
