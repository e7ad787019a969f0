"""A small transformer with a known algorithm: it continues a pattern of random period by copying what followed before.

1. a row is `<bos>` and a pattern of distinct random symbols, repeated; the period is drawn   2. from the second
repetition on every token is decided: it is the one that followed the last occurrence of the token before it
3. a two-layer Llama learns it by the two-step rule of induction heads: block 0 writes what stood before a position,
block 1 looks for the position that the current token stood before, and copies what is there
So the answer at a position is held by earlier occurrences of its token and by their successors, and by no other
position: `holders` names them. Loss on undecided tokens weighs .02.

`bundled:copy` is this recipe at seed 0. Units: nats. One thread; equal seeds give equal bytes on one machine with the
same versions.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from radiograph.core.progress import Progress, Silent
from radiograph.core.shapes import Bool, Int

PAD, BOS, FIRST = 0, 1, 2
SYMBOLS: Final = tuple(f"{c}{v}" for c in "bdkm" for v in "aiu")
VOCABULARY: Final = ("<pad>", "<bos>", *SYMBOLS)
DEFAULT_PERIODS: Final = (3, 6)


@dataclass(frozen=True, slots=True)
class CopyRecipe:
    """Everything that decides the bytes of the model, besides versions."""

    width: int = 32
    heads: int = 4
    mlp: int = 16
    layers: int = 2
    length: int = 14
    periods: tuple[int, int] = DEFAULT_PERIODS
    rows: int = 128
    steps: int = 2000
    learning_rate: float = 3e-3
    undecided: float = 0.02


COPY: Final = CopyRecipe()


def rows(
    count: int, generator: torch.Generator, *, length: int = COPY.length, periods: tuple[int, int] = DEFAULT_PERIODS
) -> tuple[Int[Tensor, "row token"], Bool[Tensor, "row token"]]:
    """Token ids, and whether each token is decided by those before it."""
    symbols = torch.rand(count, len(SYMBOLS), generator=generator).argsort(1) + FIRST
    period = torch.randint(periods[0], periods[1] + 1, (count, 1), generator=generator)
    place = torch.arange(length - 1)[None] % period
    ids = torch.cat([torch.full((count, 1), BOS), symbols.gather(1, place)], 1)
    return ids, torch.arange(length)[None] - 2 >= period


def answer(ids: Sequence[int]) -> int:
    """What follows: the successor of the last earlier occurrence of the last token."""
    return ids[holders(ids)[-1]]


def holders(ids: Sequence[int]) -> list[int]:
    """Positions that hold the answer: every earlier occurrence of the last token, and its successor."""
    return sorted({p for i in range(1, len(ids) - 1) if ids[i] == ids[-1] for p in (i, i + 1)})


def text_of(ids: Sequence[int]) -> str:
    """A row as text, as the tokenizer reads it."""
    return " ".join(VOCABULARY[i] for i in ids[1:])


def train_copy(folder: Path, seed: int = 0, *, recipe: CopyRecipe = COPY, progress: Progress | None = None) -> float:
    """Train, write model and tokenizer, return the mean probability of decided tokens on fresh rows."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(_config(recipe))
    generator = torch.Generator().manual_seed(seed + 1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=0.01, betas=(0.9, 0.98))
    with (progress or Silent()).task("training", recipe.steps) as task:
        for step in range(recipe.steps):
            late = 1 - max(0.0, step / recipe.steps - 0.5) * 2 * 0.97
            for group in optimiser.param_groups:
                group["lr"] = recipe.learning_rate * min(1.0, step / 100) * late
            ids, decided = rows(recipe.rows, generator, length=recipe.length, periods=recipe.periods)
            logits = model(ids).logits[:, :-1]
            weight = torch.where(decided[:, 1:], 1.0, recipe.undecided)
            nats = nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
            loss = (nats * weight).sum() / weight.sum()
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            task.advance()
    save_copy(model, folder)
    return measured(model, generator, recipe)


def measured(model: Any, generator: torch.Generator, recipe: CopyRecipe = COPY, count: int = 200) -> float:
    """Mean probability of decided tokens on fresh rows."""
    ids, decided = rows(count, generator, length=recipe.length, periods=recipe.periods)
    with torch.no_grad():
        p = model(ids).logits[:, :-1].softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
    return float(p[decided[:, 1:]].mean())


def save_copy(model: nn.Module, folder: Path) -> None:
    """Write a copying model as plain Hugging Face files."""
    save_words(model, folder, VOCABULARY)


def save_words(model: nn.Module, folder: Path, vocabulary: Sequence[str]) -> None:
    """Config, weights and a tokenizer of words, free of times, paths and versions; `<pad>` and `<bos>` come first."""
    folder.mkdir(parents=True, exist_ok=True)
    config = model.config.to_diff_dict()  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
    config = {key: value for key, value in config.items() if key not in ("transformers_version", "_name_or_path")}
    _write(folder / "config.json", config | {"architectures": ["LlamaForCausalLM"], "dtype": "float32"})
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    (folder / "model.safetensors").write_bytes(save(tensors, metadata={"format": "pt"}))
    _write(folder / "tokenizer.json", _tokenizer(vocabulary))
    _write(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<bos>", "pad_token": "<pad>"},
    )


def _config(recipe: CopyRecipe) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=recipe.width,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        intermediate_size=recipe.mlp,
        max_position_embeddings=32,
        tie_word_embeddings=False,
        rms_norm_eps=1e-5,
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=None,
    )


def _tokenizer(vocabulary: Sequence[str]) -> dict[str, Any]:
    """Words by white space; `<bos>` in front."""
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    bos = {"SpecialToken": {"id": "<bos>", "type_id": 0}}
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, "content": name, **special} for i, name in enumerate(("<pad>", "<bos>"))],
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [bos, first],
            "pair": [bos, first, second],
            "special_tokens": {"<bos>": {"id": "<bos>", "ids": [BOS], "tokens": ["<bos>"]}},
        },
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": {name: i for i, name in enumerate(vocabulary)}, "unk_token": "<pad>"},
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
