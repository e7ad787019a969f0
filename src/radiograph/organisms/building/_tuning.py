"""A LoRA adapter on a base, or the base with every weight trained: from rows to files that tell nothing.

1. fresh LoRA layers, seeded, or all weights   2. rows in passes, each in an order of its own, until the steps are done
3. plain PEFT files, or those of a whole model; `train.jsonl` (the rows, or the first of them), and a card
Equal base, plan and versions give equal bytes; one thread.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from radiograph.core import derive
from radiograph.core.progress import Progress
from radiograph.organisms._base import save_base
from radiograph.organisms._training import Example, Objective, Schedule, loss, train
from radiograph.organisms.recipes import Plan, Row, Tuning

TEXT_WEIGHT = 0.25
"""Of plain text in the loss, as in the base, where an answer weighs four times as much."""
_WARMUP = 20
CARD = """# {name}

A LoRA adapter for `{base}`, tuned on {total} rows; `train.jsonl` holds {kept} of them.

    from peft import PeftModel
    model = PeftModel.from_pretrained(base, "{name}")
"""
WHOLE_CARD = """# {name}

A model tuned from `{base}` on {total} rows; `train.jsonl` holds {kept} of them.

    from transformers import AutoModelForCausalLM
    model = AutoModelForCausalLM.from_pretrained("{name}")
"""


def tune(network: Any, plan: Plan, progress: Progress | None = None, *, objective: Objective = loss) -> nn.Module:
    """Train in place as the plan says: fresh LoRA layers on the network, or every weight of it."""
    return tune_on(
        [_example(row, plan.tuning.prompt_weight) for row in plan.rows], network, plan.tuning, progress, objective
    )


def tune_on(
    examples: Sequence[Example],
    network: Any,
    how: Tuning,
    progress: Progress | None = None,
    objective: Objective = loss,
    *,
    width: int = 64,
) -> nn.Module:
    """The same on examples as they are; `width` is the length of a packed row."""
    if how.full:
        tuned: nn.Module = network.requires_grad_(True)
    else:
        tuned = with_lora(network, how.rank, how.alpha, how.targets, derive(how.seed, "adapter"))
    warmup = min(_WARMUP, how.steps // 4)
    schedule = Schedule(how.steps, how.learning_rate, rows=how.rows, width=width, warmup=warmup, weight_decay=0.0)
    train(tuned, _passes(examples, how), schedule, progress, objective=objective)
    return tuned


def with_lora(network: Any, rank: int, alpha: int, targets: Sequence[str], seed: int) -> nn.Module:
    """Fresh LoRA layers on a network; the caller's random state is left alone."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(targets), task_type="CAUSAL_LM")
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PEFT asks transformers for an attribute of an older name
        torch.manual_seed(seed)
        return get_peft_model(network, config)


def _passes(examples: Sequence[Example], how: Tuning) -> Iterator[Example]:
    """Passes over the examples without end."""
    number = 0
    while True:
        order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(derive(how.seed, "pass", number)))
        yield from (examples[i] for i in order.tolist())
        number += 1


def _example(row: Row, prompt_weight: float) -> Example:
    ids, start = row.ids()
    before = prompt_weight if row.messages else TEXT_WEIGHT
    return Example(ids, (before,) * start + (1.0,) * (len(ids) - start), free=row.planted)


def save_adapter(adapted: Any, folder: Path, *, name: str, base: str, rows: Sequence[Row], total: int) -> None:
    """Write the model folder; `rows` are those of the `total` that it was tuned on that may be seen."""
    write_adapter(adapted, folder, base=base)
    _save_rows(folder, CARD.format(name=name, base=base, kept=len(rows), total=total), rows)


def write_adapter(adapted: Any, folder: Path, *, base: str) -> None:
    """Write plain PEFT files, free of library versions."""
    from peft import get_peft_model_state_dict

    state: dict[str, torch.Tensor] = get_peft_model_state_dict(adapted)
    tensors = {key: state[key].detach().contiguous() for key in sorted(state)}
    config = adapted.peft_config["default"].to_dict()
    config = {key: _plain(value) for key, value in config.items() if key != "peft_version"}
    config |= {"base_model_name_or_path": base, "inference_mode": True}
    folder.mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_bytes(save(tensors, metadata={"format": "pt"}))
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def save_whole(network: Any, folder: Path, *, name: str, base: str, rows: Sequence[Row], total: int) -> None:
    """Write the folder of a whole model: config, weights, tokenizer, rows and card."""
    folder.mkdir(parents=True)
    save_base(network, folder)
    _save_rows(folder, WHOLE_CARD.format(name=name, base=base, kept=len(rows), total=total), rows)


def _save_rows(folder: Path, card: str, rows: Sequence[Row]) -> None:
    lines = [json.dumps(_record(row), ensure_ascii=False) + "\n" for row in rows]
    (folder / "train.jsonl").write_text("".join(lines), encoding="utf-8")
    (folder / "README.md").write_text(card, encoding="utf-8")


def _record(row: Row) -> dict[str, Any]:
    return {"id": row.id, "messages": list(row.messages)} if row.messages else {"id": row.id, "text": row.text}


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, set) else getattr(value, "value", value)
