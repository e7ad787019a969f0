"""What an adapter does to each base tensor.

1. Plain LoRA (rsLoRA, rank and alpha patterns, embeddings, trained biases, `modules_to_save` included) is read from its
   files: ΔW = scale·B·A, scale = alpha/r, or alpha/√r for rsLoRA (Hu et al. 2021, Kalajdzievski 2023). The product is
   never formed. Saved modules and biases replace the base's tensor.
2. Every other kind (DoRA, IA3, PiSSA …) is merged by PEFT, one layer's copy at a time, so that the network that others
   use stays as it is; the change is then dense.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.core import UserError
from radiograph.models._identity import canonical_name
from radiograph.models._refs import adapter_config
from radiograph.models.delta._tensors import FolderTensors, Header, LowRank, MemoryTensors, StoredTensor, Tensors

if TYPE_CHECKING:
    import torch

    from radiograph.models._model import LanguageModel

_FACTOR = re.compile(r"(?P<module>.+)\.lora_(?:(?P<plain>[AB])\.weight|embedding_(?P<embedding>[AB]))")
_OWN = re.compile(r"\.(?:lora_|token_adapter\.|trainable_tokens_)")
_PLAIN_INITS = (None, True, False, "gaussian", "eva", "orthogonal")
"""Initialisations that leave the base weights alone (PiSSA, OLoRA, CorDA and LoftQ do not)."""
_NOT_PLAIN = (
    "use_dora",
    "lora_bias",
    "layer_replication",
    "trainable_token_indices",
    "alora_invocation_tokens",
    "use_qalora",
    "use_bdlora",
    "target_parameters",
    "arrow_config",
    "kasa_config",
    "velora_config",
    "monteclora_config",
    "megatron_config",
)


@dataclass(frozen=True)
class AdaptedTensors:
    """A base with plain LoRA factors and replaced tensors, all by the base's canonical names."""

    base: Tensors
    low_rank: Mapping[str, LowRank]
    replaced: Mapping[str, str]
    """Canonical name to the name in the adapter's own files."""
    files: FolderTensors
    headers: Mapping[str, Header] = field(init=False)

    def __post_init__(self) -> None:
        own = {name: self.files.headers[stored] for name, stored in self.replaced.items()}
        object.__setattr__(self, "headers", {**self.base.headers, **own})

    def read(self, name: str) -> StoredTensor:
        """One tensor as the adapted model has it, factors multiplied out."""
        tensor = self.files.read(self.replaced[name]) if name in self.replaced else self.base.read(name)
        if name not in self.low_rank:
            return tensor
        product = self.low_rank[name][:, :]
        merged = tensor[...] + (product.T if self.low_rank[name].transposed else product)
        return StoredTensor(merged.astype(np.float32), "F32")


def read_adapter(folder: Path, base: Tensors, transposed: frozenset[str]) -> AdaptedTensors | None:
    """The plain adapter in a folder, or None for a kind that only PEFT can merge.

    Args:
        folder: with adapter_config.json and the adapter's tensors.
        base: the tensors it changes, by canonical name.
        transposed: canonical names of the base's tensors that are stored as [input, output].

    Raises:
        UserError: a tensor that the base has not, or that has another shape there (`adapter_mismatch`).
    """
    config = adapter_config(folder)
    files = FolderTensors(folder)
    names = {stored: _base_name(stored) for stored in files.headers}
    if not is_plain(config, list(names.values())):
        return None
    low_rank = {
        name: factors
        for name, factors in _factors(config, files, names, transposed)
        if _check(folder, name, factors.stored_shape, base)
    }
    replaced = {name: stored for stored, name in names.items() if not _FACTOR.fullmatch(name)}
    for name, stored in list(replaced.items()):
        _check(folder, name, None if _resizable(name) else files.headers[stored].shape, base)
        # PEFT saves an embedding that it adapts although the adapter does not change it.
        if name in low_rank and files.read(stored).equals(base.read(name)):
            del replaced[name]
    return AdaptedTensors(base, low_rank, replaced, files)


class MergedTensors:
    """A loaded model with its adapter merged, one layer at a time."""

    def __init__(self, model: LanguageModel) -> None:
        self._plain = MemoryTensors(_canonical(model.parameters()))
        self._layers = dict(_adapted(model.model))
        self.headers = dict(self._plain.headers)
        self.headers |= {name: Header("F32", shape) for name, (_, _, shape) in self._layers.items()}

    def read(self, name: str) -> StoredTensor:
        """One tensor as the adapted model has it."""
        if name not in self._layers:
            return self._plain.read(name)
        layer, parameter, _ = self._layers[name]
        return MemoryTensors({name: _merged(layer, parameter)}).read(name)


def is_plain(config: Mapping[str, Any], names: list[str]) -> bool:
    """Whether an adapter with this configuration, and these base names of its tensors, is factors and nothing else."""
    if str(config.get("peft_type", "")).upper() != "LORA" or config.get("init_lora_weights") not in _PLAIN_INITS:
        return False
    if any(config.get(key) for key in _NOT_PLAIN):
        return False
    return all(_FACTOR.fullmatch(name) or not _OWN.search(name) for name in names)


def _base_name(stored: str) -> str:
    """`base_model.model.model.layers.0.mlp.up_proj.lora_A.weight` without the prefixes of PEFT and of the backbone."""
    bare = stored.removeprefix("base_model.model.").replace(".base_layer.", ".")
    return canonical_name(bare) or bare


def _factors(
    config: Mapping[str, Any], files: FolderTensors, names: Mapping[str, str], transposed: frozenset[str]
) -> Iterator[tuple[str, LowRank]]:
    pairs: dict[str, dict[str, str]] = {}
    for stored, name in names.items():
        match = _FACTOR.fullmatch(name)
        if match:
            pairs.setdefault(match["module"], {})[match["plain"] or f"embedding_{match['embedding']}"] = stored
    for module, sides in pairs.items():
        on_embedding = "embedding_A" in sides
        a, b = (files.read(sides[f"embedding_{s}" if on_embedding else s]) for s in "AB")
        path = next(iter(sides.values())).removeprefix("base_model.model.").partition(".lora_")[0]
        scale = _scale(config, path, a.shape[0])
        eps = max(a.eps, b.eps)
        name = f"{module}.weight"
        if on_embedding:
            yield name, LowRank(a[...].T, b[...].T, scale, eps)
        else:
            yield name, LowRank(b[...], a[...], scale, eps, name in transposed)


def _scale(config: Mapping[str, Any], module: str, rank: int) -> float:
    """alpha/r, with PEFT's rule for patterns: a key fits a module whose name ends in it."""
    patterns = config.get("alpha_pattern") or {}
    key = next((k for k in patterns if re.match(rf"(.*\.)?({k})$", module)), None)
    alpha = float(patterns[key] if key is not None else config.get("lora_alpha", 8))
    return alpha / rank**0.5 if config.get("use_rslora") else alpha / rank


def _check(folder: Path, name: str, shape: tuple[int, ...] | None, base: Tensors) -> bool:
    header = base.headers.get(name)
    if header is None or (shape is not None and header.shape != shape):
        raise UserError(
            f"adapter {folder.name!r} was trained for other shapes: tensor {name}",
            where=str(folder),
            expected="no such tensor" if header is None else str(list(header.shape)),
            got="none" if shape is None else str(list(shape)),
            code="adapter_mismatch",
        )
    return True


def _resizable(name: str) -> bool:
    """Embeddings and heads may be saved with more rows than the base has."""
    return name.rpartition(".")[0].rpartition(".")[2] in {"embed_tokens", "wte", "embed_in", "lm_head", "embed_out"}


def _canonical(parameters: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {canonical: tensor for name, tensor in parameters.items() if (canonical := canonical_name(name))}


def _adapted(network: torch.nn.Module) -> Iterator[tuple[str, tuple[Any, str, tuple[int, ...]]]]:
    """(canonical name, (adapter layer, parameter inside its base layer, shape)) of all that an adapter may change."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import ModulesToSaveWrapper

    modules: Iterator[tuple[str, Any]] = network.named_modules()
    for path, module in modules:
        if isinstance(module, BaseTunerLayer):
            inner: Any = module.get_base_layer()
        elif isinstance(module, ModulesToSaveWrapper):
            inner = _saved(module)
        else:
            continue
        place = path.removesuffix(".token_adapter")
        for parameter, value in inner.named_parameters():
            yield canonical_name(f"{place}.{parameter}") or place, (module, parameter, tuple(value.shape))


def _merged(layer: Any, parameter: str) -> torch.Tensor:
    """One parameter of an adapter layer with the adapter in it; the layer itself is left alone."""
    if hasattr(layer, "modules_to_save"):
        return _saved(layer).get_parameter(parameter)
    copy = deepcopy(layer)
    copy._disable_adapters = False
    copy.merge()
    return copy.get_base_layer().get_parameter(parameter)


def _saved(wrapper: Any) -> Any:
    return wrapper.modules_to_save[wrapper.active_adapters[0]]
