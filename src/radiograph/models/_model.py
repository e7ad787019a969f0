"""A loaded causal language model: the network, its tokenizer, and what its config says in one vocabulary.

A model with a PEFT adapter is a view: it shares the base weights with its reference, and each view sets the adapter
switch for the time of a `session`. One lock per network lets several threads use it in turn.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from radiograph.core import Refusal, Site, UserError, expand, nearest
from radiograph.models._identity import Identity, identify
from radiograph.models._refs import ModelRef
from radiograph.models._tokenizers import same_tokenizer
from radiograph.models.architectures import FAMILIES, Architecture, WeightAddress, family_of, weight_addresses

_WRAPPERS = re.compile(r"\.(?:base_layer|original_module|token_adapter)(?=\.)")
"""What PEFT puts into the names of base parameters."""


class AdapterSwitch:
    """Chooses among the adapters inside a shared network, or none, and leaves every `requires_grad` flag alone."""

    def __init__(self) -> None:
        self._layers: list[Any] = []
        self._members: dict[str, list[str]] = {}
        self.active: str | None = None

    def know(self, layers: list[Any], active: str) -> None:
        """All adapter layers of the network, one adapter of which has just been put in and is on."""
        self._layers, self.active = layers, None
        self.set(active)

    @property
    def layers(self) -> list[Any]:
        """The adapter layers of the network."""
        return self._layers

    def join(self, name: str, members: list[str]) -> None:
        """From now on `name` stands for several adapters that are on at once."""
        self._members[name] = members

    def set(self, active: str | None) -> None:
        """PEFT's own switch without its side effect: `set_adapter`, `enable_adapters` also rewrite `requires_grad`."""
        if active != self.active:
            for layer in self._layers:
                layer._disable_adapters = active is None
                if active is not None:
                    layer._active_adapter = self._members.get(active, [active])
            self.active = active


@dataclass(frozen=True, eq=False, repr=False)
class LanguageModel:
    """A model, ready to run: in eval mode, on one device.

    Attributes:
        model: the Hugging Face network; call it only inside `session()`.
        tokenizer: its tokenizer, or None for a bare network.
        ref: the reference it was loaded from.
        folder: where base and adapter lie on disk; None in memory.
        switch: the adapter switch that views of one network share; `adapter_name` is this view's position.
        notes: remarks for the report, such as `adapter_base_unverified`.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None
    ref: ModelRef
    folder: Path | None = None
    adapter_folder: Path | None = None
    switch: AdapterSwitch | None = None
    adapter_name: str | None = None
    notes: tuple[str, ...] = ()
    lock: Any = field(default_factory=threading.RLock)

    def __repr__(self) -> str:
        return f"LanguageModel({self.ref}, {self.config.get('model_type')}, {self.device})"

    @contextmanager
    def session(self) -> Iterator[PreTrainedModel]:
        """The network with this view's adapter state, for this thread alone."""
        with self.lock:
            if self.switch is None:
                yield self.model
                return
            before = self.switch.active
            self.switch.set(self.adapter_name)
            try:
                yield self.model
            finally:
                self.switch.set(before)

    @property
    def is_current(self) -> bool:
        """Whether the network is in this view's adapter state now."""
        return self.switch is None or self.switch.active == self.adapter_name

    @property
    def adapter_on(self) -> bool:
        """Whether this view has an adapter."""
        return self.adapter_name is not None

    @cached_property
    def config(self) -> dict[str, Any]:
        """The text model's config.json as a dictionary."""
        return self.model.config.get_text_config().to_dict()

    @cached_property
    def architecture(self) -> Architecture:
        """The site map.

        Raises:
            UserError: the architecture is not in the table (`unknown_architecture`), with its module tree.
        """
        family, name = family_of(self.config), str(self.config.get("model_type"))
        if family is None:
            close = nearest(name, list(FAMILIES))
            raise UserError(
                f"architecture {name!r} has no site map; its modules are\n{_tree(self.model)}",
                expected="one of " + ", ".join(FAMILIES),
                fix=f"nearest: {', '.join(close)}" if close else "generation and logits work without a site map",
                code="unknown_architecture",
            )
        inside = f"{family.backbone}.language_model"  # under a vision model
        if any(path == inside for path, _ in self.model.named_modules()):
            family = replace(family, backbone=inside)
        return Architecture(name, family, self.n_layers, self.n_heads, self.head_dim)

    def sites(self, text: str) -> list[Site]:
        """Every site that an address, list, range or `*` names in this model, in forward order."""
        sites = expand(text, self.n_layers)
        for site in sites:
            self.architecture.point(site)
        return sites

    def site_width(self, site: Site) -> int:
        """Length of the vectors at a site."""
        match site.kind:
            case "attn_z":
                return self.head_dim * (1 if site.head is not None else self.n_heads)
            case "mlp_hidden":
                return self.mlp_width
            case _:
                return self.width

    @cached_property
    def weights(self) -> dict[str, WeightAddress]:
        """Weight addresses of the base network (adapter tensors are not among them)."""
        return weight_addresses(self.config, {name: tuple(p.shape) for name, p in self.parameters().items()})

    def parameters(self) -> dict[str, torch.nn.Parameter]:
        """Base parameters under the names they have without an adapter; ties once."""
        return {
            _WRAPPERS.sub("", name): parameter
            for name, parameter in self.model.named_parameters()
            if self.switch is None or not _belongs_to_adapter(name)
        }

    @property
    def n_layers(self) -> int:
        """Blocks."""
        return int(self._text.num_hidden_layers)

    @property
    def width(self) -> int:
        """Width of the residual stream."""
        return int(self._text.hidden_size)

    @property
    def n_heads(self) -> int:
        """Query heads per block."""
        return int(self._text.num_attention_heads)

    @property
    def head_dim(self) -> int:
        """Width of one head's output."""
        return int(getattr(self._text, "head_dim", None) or self.width // self.n_heads)

    @property
    def mlp_width(self) -> int:
        """Units of one MLP."""
        inner = getattr(self._text, "intermediate_size", None) or getattr(self._text, "n_inner", None)
        return int(inner or 4 * self.width)

    @property
    def vocab_size(self) -> int:
        """Rows of the unembedding; may exceed the tokenizer's vocabulary."""
        return int(self._text.vocab_size)

    @property
    def spare_rows(self) -> int:
        """Embedding rows beyond the tokenizer's vocabulary: never fed, ignored in comparisons, counted here."""
        return 0 if self.tokenizer is None else max(0, self.vocab_size - len(self.tokenizer))

    @property
    def context_length(self) -> int:
        """Most positions the model was built for; no bound where its config states none."""
        return int(getattr(self._text, "max_position_embeddings", None) or sys.maxsize)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        """What the weights are stored in while running."""
        return self.model.dtype

    @cached_property
    def identity(self) -> Identity:
        """Hashes of files, tensors and tokenizer; of both parts for a model with an adapter (see `_identity`)."""
        return identify(self.folder, self.adapter_folder if self.adapter_on else None, self.parameters, self.tokenizer)

    @cached_property
    def _text(self) -> Any:
        return self.model.config.get_text_config()


@dataclass(frozen=True, eq=False)
class Pair:
    """A reference and a candidate; where the candidate is the reference with an adapter they share one network."""

    reference: LanguageModel
    candidate: LanguageModel

    @property
    def shares_base(self) -> bool:
        """Whether the base weights are in memory once."""
        return self.reference.model is self.candidate.model

    def check_tokenizers(self) -> None:
        """Refuse token-by-token comparison of models that read text differently.

        Raises:
            Refusal: `tokenisers_differ`, with the first differing entry.
        """
        difference = same_tokenizer(self.reference.tokenizer, self.candidate.tokenizer)
        if difference is not None:
            raise Refusal("tokenisers_differ", f"the tokenisers differ: {difference}")

    def shape_difference(self) -> str | None:
        """None if every matrix has the same shape in both, else the first that has not: then behaviour alone compares.

        Embedding rows beyond the tokenizer do not count.
        """
        return same_shapes(self.reference, self.candidate)


def same_shapes(reference: LanguageModel, candidate: LanguageModel) -> str | None:
    """None, or the first parameter whose name or shape differs, with both sides."""
    ours, theirs = _shapes(reference), _shapes(candidate)
    for name in [*ours, *(name for name in theirs if name not in ours)]:
        if ours.get(name) != theirs.get(name):
            return f"{name}: {ours.get(name)} in the reference, {theirs.get(name)} in the candidate"
    return None


def _shapes(model: LanguageModel) -> dict[str, tuple[int, ...]]:
    """Shapes by parameter name; vocabulary rows only up to the tokenizer's last id."""
    shapes = {name: tuple(parameter.shape) for name, parameter in model.parameters().items()}
    ends = (model.model.get_input_embeddings(), model.model.get_output_embeddings())
    vocabulary = {id(end.weight) for end in ends if end is not None}
    for name, parameter in model.parameters().items():
        if id(parameter) in vocabulary:
            shapes[name] = (shapes[name][0] - model.spare_rows, *shapes[name][1:])
    return shapes


def wrap(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None = None, ref: str = "memory"
) -> LanguageModel:
    """A network that is already in memory (built by a recipe or a test), put into eval mode."""
    return LanguageModel(model.eval(), tokenizer, ModelRef(ref))


def check_weights(network: torch.nn.Module, folder: Path) -> None:
    """Refuse weights that hold a NaN or an infinity, naming tensor and index."""
    for name, parameter in network.named_parameters():
        finite = torch.isfinite(parameter)
        if not bool(finite.all()):
            index = (~finite).nonzero()[0].tolist()
            raise UserError(
                f"weight {name} is not finite",
                where=f"{folder}, index {index}",
                got=str(float(parameter.detach()[tuple(index)])),
                code="non_finite",
            )


def _belongs_to_adapter(name: str) -> bool:
    from peft.mapping import PEFT_TYPE_TO_PREFIX_MAPPING

    prefixes = (*PEFT_TYPE_TO_PREFIX_MAPPING.values(), "modules_to_save.", "trainable_tokens_")
    return any(f".{prefix}" in name for prefix in prefixes)


def _tree(model: torch.nn.Module, lines: int = 24) -> str:
    """Module names down to the first block's parts, one block shown for all."""
    rows = [
        f"  {name}: {type(module).__name__}"
        for name, module in model.named_modules()
        if name and not any(part.isdigit() and part != "0" for part in name.split("."))
    ]
    return "\n".join(rows[:lines] + ([f"  … {len(rows) - lines} more"] if len(rows) > lines else []))
