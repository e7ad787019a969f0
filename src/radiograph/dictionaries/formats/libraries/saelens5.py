"""SAELens before 6: the same two file names, with other keys.

1. no `sae_lens_version`, or one below 6; every key at the top level of `cfg.json`
2. `hook_name|hook_point`, `hook_head_index|hook_point_head_index`, `activation_fn|activation_fn_str` with
   `activation_fn_kwargs.k`: a top-k although the architecture says standard
3. a boolean `normalize_activations` means expected_average_only_in (true) or none
4. `scaling_factor [F]`: all ones say nothing; else it multiplies what each feature writes, and only where
   `finetuning_scaling_factor` says so
Everything else is `saelens`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import torch
from torch import Tensor

from radiograph.core import FormatError
from radiograph.dictionaries.formats import Imported, Ledger, Options, Source
from radiograph.dictionaries.formats.libraries.saelens import (
    CONFIG,
    SIGMAS,
    WEIGHTS,
    Settings,
    assemble,
    folders,
    major,
)

NAME: Final = "saelens5"
_TRAINING: Final = (
    *("scale_sparsity_penalty_by_decoder_norm", "finetuning_method", "normalize_sae_decoder", "finetuning_tokens"),
    *("dtype", "device", "context_size", "dataset_*", "sae_lens_*", "neuronpedia_id", "hook_layer", "hook_point_layer"),
    *("hook_*_eval", "seqpos_slice", "training_tokens", "l1_*", "l0_*", "lr*", "adam_*", "lp_norm", "log*", "wandb*"),
    *("n_*", "seed", "*checkpoint*", "*_path", "*dir*", "mse_*", "noise_*", "b_dec_init_method", "dead_*", "run_*"),
    *("decoder_*", "init_encoder_*", "use_ghost_grads", "use_cached_*", "train_batch*", "*batch_size*", "eval*"),
    *("expansion_factor", "streaming", "store_*", "act_store_*", "autocast*", "is_*", "feature_*", "sparsity_*"),
    *("compile_*", "llm_*", "model_class_name", "model_kwargs", "exclude_special_tokens", "verbose", "resume"),
    *("jumprelu_*", "total_training_*", "tokens_per_buffer", "sae_*", "subset"),
)


def detect(source: Source) -> bool:
    """Both files, written before version 6."""
    found = folders(source)
    return bool(found) and all(major(source.peek(prefix + CONFIG)) < 6 for prefix in found)


def read(source: Source, options: Options) -> Iterator[Imported]:
    """One dictionary a folder."""
    for prefix in folders(source) or [""]:
        config, tensors = source.document(prefix + CONFIG), source.tensors(prefix + WEIGHTS)
        yield assemble(source, prefix, tensors, _settings(config, _write_factor(config, tensors)), options)


def _settings(config: Ledger, write_factor: Tensor | None) -> Settings:
    sigma = str(_either(config, "activation_fn", "activation_fn_str") or "relu")
    kwargs = config.take("activation_fn_kwargs", None) or {}
    architecture = str(config.take("architecture", None) or "standard")
    if sigma not in ("relu", "topk") or architecture not in SIGMAS:
        raise FormatError(
            f"architecture {architecture!r} with activation {sigma!r}",
            where=config.where,
            expected="relu or topk, and one of " + ", ".join(SIGMAS),
        )
    normalise = config.take("normalize_activations", None)
    if isinstance(normalise, bool):
        normalise = "expected_average_only_in" if normalise else "none"
    hook = _either(config, "hook_name", "hook_point")
    config.expect("reshape_activations", "none", "hook_z")
    model_kwargs = _either(config, "model_from_pretrained_kwargs", "from_pretrained_kwargs") or {}
    width = config.integer("d_in")
    config.expect("d_out", width)
    settings = Settings(
        architecture="topk" if sigma == "topk" and architecture == "standard" else architecture,
        width=width,
        size=config.integer("d_sae"),
        target_width=width,
        subtract=bool(config.take("apply_b_dec_to_input", True)),
        normalise=str(normalise or "none"),
        hook=None if hook is None else str(hook),
        head=_either(config, "hook_head_index", "hook_point_head_index"),
        k=kwargs.get("k", config.take("k", None)),
        model=config.take("model_name", None),
        prepend_bos=config.take("prepend_bos", True),
        centred=bool(model_kwargs.get("center_writing_weights")),
        where=config.where,
        write_factor=write_factor,
    )
    config.ignore(*_TRAINING)
    return settings


def _write_factor(config: Ledger, tensors: Ledger) -> Tensor | None:
    used = bool(config.take("finetuning_scaling_factor", False))
    if "scaling_factor" not in tensors:
        return None
    factor = tensors.tensor("scaling_factor")
    if torch.allclose(factor, torch.ones_like(factor)):
        return None
    if not used:
        raise FormatError(
            "scaling_factor is not 1, and finetuning_scaling_factor does not say that it is used",
            where=f"{tensors.where}: scaling_factor",
            expected="all ones, or finetuning_scaling_factor: true",
        )
    return factor


def _either(config: Ledger, name: str, older: str) -> Any:
    """A key that had an older name; both are accounted for."""
    value, old = config.take(name, None), config.take(older, None)
    return old if value is None else value
