"""Which matrices have row gradients: the LoRA factors of an adapter, or weights of the network by address.

An address is that of the weight, `down.3`; its LoRA factors are `down.3.A` and `down.3.B`. Patterns name kinds and
layers: `down.*`, `o.3-5`, `q.1`, `down.*.A`, `*`. A weight that holds several (a joint projection) has one address a
part; a LoRA factor on it has those of all parts, joined by `+`. Embeddings and tied matrices are named in full or left
out. Refuses adapters without LoRA factors, and patterns that match nothing, with what there is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from radiograph.core import UserError, nearest
from radiograph.models._model import LanguageModel

_PATTERN = re.compile(r"(?P<kind>\*|[a-z]+)(?:\.(?P<layers>\*|\d+(?:-\d+)?))?(?:\.(?P<factor>[AB]))?")
_LAYER_OF = re.compile(r"\.(\d+)")


@dataclass(frozen=True, slots=True)
class Tracked:
    """One matrix, [output, input].

    `low_rank`: which side is the rank of a LoRA factor. Rows `start` to `stop` of each of `groups` equal stretches of
    the module's output belong to it.
    """

    name: str
    module: str
    parameter: str
    shape: tuple[int, int]
    low_rank: tuple[bool, bool] = (False, False)
    transposed: bool = False
    """The parameter is stored [input, output]."""
    groups: int = 1
    start: int = 0
    stop: int | None = None
    outputs: int = 0
    """Of the module, where others share it."""

    def place(self, whole: np.ndarray, matrix: np.ndarray) -> None:
        """Write the matrix into its rows of one that holds all parts, [all outputs, input]."""
        grouped = whole.reshape(self.groups, -1, whole.shape[1])[:, self.start : self.stop]
        grouped[...] = matrix.reshape(grouped.shape)

    @property
    def factor(self) -> str:
        """`A` or `B` of a LoRA factor, else empty."""
        return self.name[-1] if any(self.low_rank) else ""

    @property
    def address(self) -> str:
        """The weight that it is, or is a factor of."""
        return self.name[:-2] if any(self.low_rank) else self.name

    @property
    def whole(self) -> bool:
        """The module's output is this matrix's alone."""
        return self.groups == 1 and self.start == 0 and self.stop is None


def tracked_matrices(model: LanguageModel, patterns: Sequence[str] = ()) -> tuple[Tracked, ...]:
    """Matrices in the order of the network: of an adapter its LoRA factors, else weights that `patterns` name.

    Raises:
        UserError: an adapter without LoRA factors; a pattern of another form, or that matches nothing.
    """
    known = _lora(model) if model.adapter_on else _weights(model, named=bool(patterns))
    if not known:
        kind = "no LoRA factors" if model.adapter_on else "no weights with addresses"
        raise UserError(
            f"{model.ref} has {kind}, so there is nothing to take gradients of",
            where=str(model.ref),
            expected="a LoRA adapter, or a model of a known architecture",
            code="no_matrices",
        )
    if not patterns:
        return tuple(m for m in known if _in_block(m))
    kept = {m.name: m for pattern in patterns for m in _matching(known, pattern)}
    return tuple(m for m in known if m.name in kept)


def _matching(known: Sequence[Tracked], pattern: str) -> list[Tracked]:
    match = _PATTERN.fullmatch(pattern.strip())
    found = [] if match is None else [m for m in known if _fits(m, match)]
    if not found:
        names = [m.name for m in known]
        close = nearest(pattern, names)
        raise UserError(
            f"{pattern!r} matches no matrix",
            where="--weights",
            expected="kinds and layers such as down.*, o.3-5; here: "
            + ", ".join(names[:8])
            + (" …" * (len(names) > 8)),
            fix=f"did you mean {', '.join(close)}?" if close else None,
            code="unknown_weight",
        )
    return found


def _fits(matrix: Tracked, match: re.Match[str]) -> bool:
    kinds, _, layer = matrix.address.rpartition(".")
    if not kinds:
        kinds, layer = matrix.address, ""
    if match["factor"] and match["factor"] != matrix.factor:
        return False
    fits = _in_block(matrix) if match["kind"] == "*" else match["kind"] in kinds.split("+")
    wanted = match["layers"]
    if not fits or wanted is None or wanted == "*":
        return fits
    first, _, last = wanted.partition("-")
    return layer.isdecimal() and int(first) <= int(layer) <= int(last or first)


def _in_block(matrix: Tracked) -> bool:
    return _LAYER_OF.search(matrix.module) is not None


def _weights(model: LanguageModel, *, named: bool) -> list[Tracked]:
    """Weights by address; embeddings only where they were named, and an unembedding that is tied never."""
    linear = {f"{name}.weight" for name, module in _named_modules(model) if type(module).__name__ in _LINEAR}
    found: list[Tracked] = []
    for address in model.weights.values():
        if address.parameter not in linear or (address.address == "unembed" and not named):
            continue
        module = address.parameter.removesuffix(".weight")
        outputs = _outputs(model, module)
        part = address.groups > 1 or address.start > 0 or address.shape[0] != outputs
        found.append(
            Tracked(
                address.address,
                module,
                address.parameter,
                address.shape,
                transposed=address.transposed,
                groups=address.groups if part else 1,
                start=address.start if part else 0,
                stop=address.stop if part else None,
                outputs=outputs,
            )
        )
    return found


_LINEAR = ("Linear", "Conv1D")


def _named_modules(model: LanguageModel) -> list[tuple[str, Any]]:
    return list(model.model.named_modules())


def _outputs(model: LanguageModel, path: str) -> int:
    module: Any = model.model.get_submodule(path)
    return int(module.nf if type(module).__name__ == "Conv1D" else module.out_features)


def _lora(model: LanguageModel) -> list[Tracked]:
    """Factors of the view's own adapter; those of embeddings are left out."""
    addresses: dict[str, list[str]] = {}
    for address in model.weights.values():
        addresses.setdefault(address.parameter.removesuffix(".weight"), []).append(address.address)
    name = model.adapter_name
    found: list[Tracked] = []
    for path, module in _named_modules(model):
        factors = getattr(module, "lora_A", None)
        if factors is None or name not in factors:
            continue
        told = _joined(addresses.get(path, []), path)
        for factor, side in (("A", (True, False)), ("B", (False, True))):
            weight = getattr(module, f"lora_{factor}")[name].weight
            place = f"{path}.lora_{factor}.{name}"
            found.append(Tracked(f"{told}.{factor}", place, f"{place}.weight", tuple(weight.shape), side))
    return found


def _joined(addresses: Sequence[str], path: str) -> str:
    """`q+k+v.3` of a joint projection; the path of a module that has no address."""
    if not addresses:
        return path
    layer = addresses[0].partition(".")[2]
    kinds = "+".join(a.partition(".")[0] for a in addresses)
    return f"{kinds}.{layer}" if layer else kinds
