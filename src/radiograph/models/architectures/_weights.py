"""Weight addresses (`q.3 k.3 v.3 o.3 gate.3 up.3 down.3 embed unembed`) and the tensors that hold them. No torch.

Works from parameter names, shapes and config alone, so that safetensors files can be compared tensor by tensor without
building the model. Every matrix is given as [output, input], whatever the file holds: GPT-2 stores the transpose, and
joint projections hold several matrices, stacked (GPT-2, Phi-3) or alternating head by head (GPT-NeoX).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from radiograph.models.architectures._families import Fused, family_of

_HEADS = {"q", "k", "v"}
UNEMBEDDINGS = ("lm_head.weight", "embed_out.weight")


@dataclass(frozen=True, slots=True)
class WeightAddress:
    """One matrix inside a stored tensor.

    The output dimension is seen as `groups` equal stretches, of which rows [start, stop) belong to this matrix.
    """

    address: str
    parameter: str
    shape: tuple[int, int]
    transposed: bool = False
    groups: int = 1
    start: int = 0
    stop: int | None = None

    def read(self, stored: Any) -> Any:
        """The [output, input] matrix inside a stored NumPy array or torch tensor (a view where possible)."""
        return self._grouped(stored).reshape(self.shape)

    def write(self, stored: Any, matrix: Any) -> None:
        """Replace the matrix inside `stored`, in place. `stored` must be contiguous."""
        part = self._grouped(stored)
        part[...] = matrix.reshape(part.shape)

    def _grouped(self, stored: Any) -> Any:
        matrix = stored.T if self.transposed else stored
        if self.groups == 1:
            return matrix[self.start : self.stop][None]
        return matrix.reshape(self.groups, -1, matrix.shape[1])[:, self.start : self.stop]


def weight_addresses(config: Mapping[str, Any], shapes: Mapping[str, Sequence[int]]) -> dict[str, WeightAddress]:
    """Address to stored tensor, in forward order, for the parameters that `shapes` names.

    `config` is the dictionary of config.json. Names may lack the backbone's prefix (old GPT-2 files). A tied
    unembedding has the address `unembed` and the embedding's parameter. Empty for an unknown architecture.
    """
    family = family_of(config)
    if family is None:
        return {}
    config = config.get("text_config") or config
    nested = (f"{family.backbone}.language_model.", f"language_model.{family.backbone}.")  # under a vision model
    prefixes = (*nested, f"{family.backbone}.", "")
    prefix = next((p for p in prefixes if f"{p}{family.embed}.weight" in shapes), "")
    found: dict[str, WeightAddress] = {}

    def add(address: str, parameter: str, groups: int = 1, rows: tuple[int, int] | None = None) -> None:
        if parameter not in shapes:
            return
        stored = tuple(shapes[parameter])
        transposed = family.transposed and "." in address
        outputs, inputs = stored[::-1] if transposed else stored
        start, stop = rows or (0, outputs)
        found[address] = WeightAddress(
            address, parameter, (groups * (stop - start), inputs), transposed, groups, start, stop
        )

    embedding = f"{prefix}{family.embed}.weight"
    add("embed", embedding)
    for layer in range(n_layers(config)):
        block = f"{prefix}{family.blocks}.{layer}."
        for kind, place in family.weights.items():
            if isinstance(place, Fused):
                groups, rows = _rows(config, kind, place)
                add(f"{kind}.{layer}", f"{block}{place.module}.weight", groups, rows)
            else:
                add(f"{kind}.{layer}", f"{block}{place}.weight")
    add("unembed", next((name for name in UNEMBEDDINGS if name in shapes), embedding))
    return found


def n_layers(config: Mapping[str, Any]) -> int:
    """Blocks, under any of the names that configs use."""
    return int(config.get("num_hidden_layers", config.get("n_layer", 0)))


def _rows(config: Mapping[str, Any], kind: str, place: Fused) -> tuple[int, tuple[int, int]]:
    heads = int(config.get("num_attention_heads") or config["n_head"])
    width = int(config.get("hidden_size") or config["n_embd"])
    head_dim = int(config.get("head_dim") or width // heads)
    if place.interleaved:
        index = place.parts.index(kind)
        return heads, (index * head_dim, (index + 1) * head_dim)
    if kind in _HEADS:
        shared = int(config.get("num_key_value_heads") or heads)
        sizes = [head_dim * (heads if part == "q" else shared) for part in place.parts]
    else:
        sizes = [int(config["intermediate_size"])] * len(place.parts)
    index = place.parts.index(kind)
    start = sum(sizes[:index])
    return 1, (start, start + sizes[index])
