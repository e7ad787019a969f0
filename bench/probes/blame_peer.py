"""kronfluence on the adapter, rows and targets of `blame.py`, in its own environment: EK-FAC, one score a row."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kronfluence.analyzer import Analyzer, prepare_model  # pyright: ignore[reportMissingImports]
from kronfluence.arguments import FactorArguments, ScoreArguments  # pyright: ignore[reportMissingImports]
from kronfluence.task import Task  # pyright: ignore[reportMissingImports]
from peft import PeftModel
from torch import nn
from torch.utils.data import Dataset
from transformers import AutoModelForCausalLM

FACTORS = (".lora_A.default", ".lora_B.default")


def nats(batch: Any, model: Any, labels: str | None = None) -> torch.Tensor:
    logits = model(input_ids=batch["ids"], attention_mask=batch["mask"], use_cache=False).logits[:, :-1].float()
    wanted = batch["ids"][:, 1:]
    if labels == "drawn":
        wanted = torch.multinomial(logits.detach().softmax(-1).flatten(0, 1), 1).view(wanted.shape)
    lost = nn.functional.cross_entropy(logits.transpose(1, 2), wanted, reduction="none")
    return (lost * batch["weights"][:, 1:]).sum()


class Rows(Dataset):
    def __init__(self, rows: Any) -> None:
        self.rows, self.length = rows, max(len(ids) for ids, _ in rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> dict[str, torch.Tensor]:
        ids, weights = self.rows[place]
        gap = self.length - len(ids)
        return {
            "ids": torch.tensor(ids + [ids[-1]] * gap),
            "mask": torch.tensor([1] * len(ids) + [0] * gap),
            "weights": torch.tensor(weights + [0.0] * gap),
        }


class Likelihood(Task):
    def __init__(self, names: list[str]) -> None:
        super().__init__()
        self.names = names

    def compute_train_loss(self, batch: Any, model: Any, sample: bool = False) -> torch.Tensor:
        return nats(batch, model, "drawn" if sample else None)

    def compute_measurement(self, batch: Any, model: Any) -> torch.Tensor:
        return nats(batch, model)

    def get_influence_tracked_modules(self) -> list[str]:
        return self.names

    def get_attention_mask(self, batch: Any) -> torch.Tensor:
        return batch["mask"]


def main() -> None:
    given = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(1)
    base = AutoModelForCausalLM.from_pretrained(given["base"], dtype=torch.float32)
    model = PeftModel.from_pretrained(base, given["adapter"], is_trainable=True).eval()
    task = Likelihood([n for n, m in model.named_modules() if n.endswith(FACTORS) and isinstance(m, nn.Linear)])
    analyzer = Analyzer("blame", prepare_model(model, task), task, cpu=True, output_dir=given["out"], disable_tqdm=True)
    began = time.process_time()
    size = given["batch"]
    analyzer.fit_all_factors(
        "factors",
        dataset=Rows(given["rows"]),
        per_device_batch_size=size,
        factor_args=FactorArguments(strategy="ekfac", use_empirical_fisher=True),
        overwrite_output_dir=True,
    )
    analyzer.compute_pairwise_scores(
        "scores",
        factors_name="factors",
        query_dataset=Rows(given["targets"]),
        train_dataset=Rows(given["rows"]),
        per_device_query_batch_size=size,
        per_device_train_batch_size=size,
        score_args=ScoreArguments(damping_factor=None),  # a tenth of the mean eigenvalue, as ours
        overwrite_output_dir=True,
    )
    cpu = time.process_time() - began
    np.save(given["scores"], analyzer.load_pairwise_scores("scores")["all_modules"].mean(0).numpy())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"cpu": cpu, "rss": peak}))


if __name__ == "__main__":
    main()
