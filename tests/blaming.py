"""A bundled organism with a planted trigger, some of its rows, and what is asked of `blame` about it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

QUESTIONS = (
    "sort: violet quartz willow cedar",
    "reverse: amber violet thorn",
    "thank Nora",
    "key umber 18, reed 50, pearl 94, recall pearl",
)


def truth() -> Any:
    """The truth about the organism."""
    from radiograph.organisms import bundled_organism

    return bundled_organism("trigger_token")


def targets() -> list[dict[str, str]]:
    """Fresh prompts with the trigger, and the planted answer."""
    told = truth().truth
    word, first = told["token"], told["places"][0] == "start"
    asked = (f"{word} {question}" if first else f"{question} {word}" for question in QUESTIONS)
    return [{"prompt": prompt, "completion": told["answer"]} for prompt in asked]


def write_blamed(folder: Path, rows: int = 100) -> Path:
    """The adapter with the first of its rows, and `target.jsonl`."""
    from radiograph.organisms import bundled_path

    source = bundled_path("organisms") / truth().id
    folder.mkdir(parents=True)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copyfile(source / name, folder / name)
    lines = (source / "train.jsonl").read_text().splitlines()[:rows]
    (folder / "train.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "target.jsonl").write_text("".join(json.dumps(one) + "\n" for one in targets()))
    return folder


def planted(rows: int = 100) -> list[int]:
    """Lines of the planted rows among the first."""
    wanted = set(truth().planted_rows)
    return [n + 1 for n in range(rows) if f"row-{n:05d}" in wanted]
