"""Small random models, tokenizers and adapters of every family that the site map knows."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

WORDS = "the quick brown fox jumps over the lazy dog and then sits down to read a long book about trains"
TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] | trim }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + TEMPLATE
)

_SMALL: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
_WINDOW = {**_SMALL, "head_dim": 8, "sliding_window": 4}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", **_SMALL},
    "mistral": {"model_type": "mistral", **_WINDOW},
    "qwen2": {"model_type": "qwen2", **_SMALL, "tie_word_embeddings": True},
    "qwen3": {"model_type": "qwen3", **_SMALL, "head_dim": 16},
    "gemma2": {"model_type": "gemma2", **_WINDOW, "query_pre_attn_scalar": 8},
    "gemma3": {"model_type": "gemma3_text", **_WINDOW, "query_pre_attn_scalar": 8},
    "gpt2": {
        "model_type": "gpt2",
        "vocab_size": 300,
        "n_embd": 32,
        "n_layer": 3,
        "n_head": 4,
        "n_positions": 64,
        "bos_token_id": 0,
        "eos_token_id": 1,
    },
    "gpt_neox": {"model_type": "gpt_neox", **_SMALL, "use_parallel_residual": False},
    "gpt_neox_parallel": {"model_type": "gpt_neox", **_SMALL, "use_parallel_residual": True},
    "phi": {"model_type": "phi", **_SMALL, "partial_rotary_factor": 0.5},
    "phi3": {"model_type": "phi3", **_SMALL, "sliding_window": None},
}
FAMILIES = list(CONFIGS)
PARALLEL = {"gpt_neox_parallel", "phi"}


def network(family: str, seed: int = 0, **changes: Any) -> PreTrainedModel:
    """A random model whose norms and biases are not the identity, so that a misread site shows."""
    settings = {**CONFIGS[family], **changes}
    config = AutoConfig.for_model(settings.pop("model_type"), **settings)
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            scale = 0.3 if parameter.dim() == 1 else 0.15
            parameter.add_(torch.randn(parameter.shape, generator=generator) * scale)
    return model.eval()


def tokenizer(template: str | None = TEMPLATE, merges: int = 40) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of at most 300 entries."""
    backend = Tokenizer(BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    specials = ["<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=256 + len(specials) + merges,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([WORDS] * 8, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=specials[2:],
        chat_template=template,
    )


def folder(
    path: Path, family: str = "llama", seed: int = 0, *, template: str | None = TEMPLATE, **changes: Any
) -> Path:
    """A saved model with its tokenizer."""
    network(family, seed, **changes).save_pretrained(path)
    tokenizer(template, merges=38).save_pretrained(path)
    return path


def adapter(path: Path, base: Path, seed: int = 0, *, config: Any = None) -> Path:
    """A saved adapter on the model in `base`, every tensor of it random."""
    from peft import LoraConfig, get_peft_model

    model = AutoModelForCausalLM.from_pretrained(base)
    config = config or LoraConfig(r=4, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PEFT asks transformers for an attribute that was renamed
        peft = get_peft_model(model, config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in peft.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    peft.save_pretrained(path)
    return path


def prompts(n: int = 7, seed: int = 0, vocabulary: int = 300) -> list[list[int]]:
    """Rows of different lengths, in no order."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, 17, (n,), generator=generator).tolist()
    return [torch.randint(2, vocabulary, (length,), generator=generator).tolist() for length in lengths]
