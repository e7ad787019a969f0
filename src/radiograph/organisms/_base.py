"""Train a base model of the small world from nothing: the recipe behind `bundled:base`.

1. a Llama of the given shape, seeded   2. packed documents of the world's mixture, in order, each seen once
3. answers weigh more than questions in the loss (`Recipe.answer_weight`): questions are mostly drawn words, which
   nothing can predict   4. gates on fresh documents   5. weights, tokenizer and gates as plain Hugging Face files
One thread; equal seeds give equal bytes on one machine with the same versions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from radiograph.core import derive
from radiograph.core.progress import Progress
from radiograph.organisms._gates import Gate, as_record, base_gates
from radiograph.organisms._training import Example, Schedule, train
from radiograph.organisms.world import MIXTURE, Document, World, encode, write_tokenizer

PAD, BOS, EOS, END = encode("<pad><bos><eos><|end|>")


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of a Llama."""

    layers: int = 3
    width: int = 64
    heads: int = 4
    kv_heads: int = 2
    mlp: int = 176
    context: int = 128

    def config(self) -> LlamaConfig:
        """As Hugging Face reads it; embedding and unembedding share one matrix."""
        return LlamaConfig(
            vocab_size=len(World().vocabulary),
            hidden_size=self.width,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads,
            intermediate_size=self.mlp,
            max_position_embeddings=self.context,
            tie_word_embeddings=True,
            rms_norm_eps=1e-5,
            pad_token_id=PAD,
            bos_token_id=BOS,
            eos_token_id=EOS,
        )


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides the bytes of a base, besides versions and the seed."""

    shape: Shape = field(default_factory=Shape)
    schedule: Schedule = field(default_factory=lambda: Schedule(steps=7000))
    answer_weight: float = 4.0


BASE = Recipe()


def examples(documents: Iterator[Document], answer_weight: float = 1.0) -> Iterator[Example]:
    """Documents as training examples: tokens of the assistant weigh `answer_weight`, all others 1."""
    for document in documents:
        start = document.answer_start or len(document.ids)
        weights = (1.0,) * start + (answer_weight,) * (len(document.ids) - start)
        yield Example(document.ids, weights)


def train_base(
    out_dir: Path, seed: int = 0, progress: Progress | None = None, *, recipe: Recipe = BASE, gate_items: int = 500
) -> list[Gate]:
    """Train a base, write its files into `out_dir`, return its gates (also in `gates.json`), failed ones included."""
    model = new_model(recipe.shape, derive(seed, "base", "weights"))
    stream = World().documents("mixture", "train", seed=seed)
    train(model, examples(stream, recipe.answer_weight), recipe.schedule, progress)
    gates = base_gates(model, n=gate_items, progress=progress)
    out_dir.mkdir(parents=True, exist_ok=True)
    save_base(model, out_dir)
    record = as_record(gates, {**asdict(recipe), "mixture": MIXTURE, "seed": seed, "world": World().version})
    _write(out_dir / "gates.json", record)
    return gates


def new_model(shape: Shape, seed: int) -> LlamaForCausalLM:
    """An untrained model in evaluation mode; the caller's random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(shape.config()).eval()


def save_base(model: nn.Module, folder: Path) -> None:
    """Write config, weights and tokenizer as plain Hugging Face files, free of times, paths and library versions."""
    config = model.config.to_diff_dict()  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
    config = {key: value for key, value in config.items() if key not in ("transformers_version", "_name_or_path")}
    config |= {"architectures": ["LlamaForCausalLM"], "dtype": "float32"}
    _write(folder / "config.json", config)
    generation = {"bos_token_id": BOS, "eos_token_id": [EOS, END], "pad_token_id": PAD, "do_sample": False}
    _write(folder / "generation_config.json", generation)
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    (folder / "model.safetensors").write_bytes(save(tensors, metadata={"format": "pt"}))
    write_tokenizer(folder)


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
