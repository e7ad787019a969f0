"""The dictionary: sparse codes of a site's rows, and the rows that codes stand for.

    π = (x − c) Eᵀ + b        z = σ(π)        x̂ = z D + g

1. Tensors are feature-major: a feature is one contiguous row of the encoder E [F, d] and of the decoder D [F, d].
2. `encode` goes through the rows in chunks whose pre-activations fit `PREACTIVATION_BYTES`; `decode` sums gathered
   decoder rows. Neither a [rows, F] array of a whole batch nor a dense [rows, F] × [F, d] product exists.
3. A code is in units of its decoder row. `folded` moves decoder norms into the encoder, so that a code is the length
   of what the feature writes; it changes no function. Plain top-k over unequal norms stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from radiograph.core import FormatError, Site, UserError
from radiograph.core.codec import Codes
from radiograph.dictionaries._hash import functional_sha256, tensor_sha256
from radiograph.dictionaries._metadata import Metadata
from radiograph.dictionaries.activations import Activation
from radiograph.numerics.sparse import codes_of_dense, concatenate, dense, gather_sum

PREACTIVATION_BYTES: Final = {"cpu": 32 * 2**20, "cuda": 512 * 2**20}
TENSORS: Final = ("encoder", "decoder", "encoder_bias", "input_bias", "decoder_bias")
UNIT_NORM_TOLERANCE: Final = 1e-4


@dataclass(frozen=True, eq=False)
class Dictionary:
    """A sparse autoencoder of one site, a `core.codec.Codec`. Built whole or not at all.

    Raises:
        FormatError: shapes disagree, a value is not finite, a parameter is missing or unknown.
        UserError: constants of the activation do not fit.
    """

    encoder: Float[Tensor, "feature width"]
    decoder: Float[Tensor, "feature width"]
    encoder_bias: Float[Tensor, " feature"]
    input_bias: Float[Tensor, " width"]
    decoder_bias: Float[Tensor, " width"]
    activation: Activation
    sites: tuple[str, ...]
    """Addresses whose rows are read and written."""
    parameters: Mapping[str, Float[Tensor, " feature"]] = field(default_factory=dict)
    """Per-feature tensors of the activation, such as `threshold`."""
    metadata: Metadata = field(default_factory=Metadata)
    kind: Literal["sae"] = "sae"

    def __post_init__(self) -> None:
        if len(self.sites) != 1:
            raise UserError("an sae has one site", got=", ".join(self.sites) or "none")
        Site.parse(self.sites[0])
        _check_tensors(self)
        self.activation.check(self.size, self.parameters)

    @property
    def size(self) -> int:
        """F, the number of features."""
        return self.encoder.shape[0]

    @property
    def width(self) -> int:
        """d, the width of the site."""
        return self.encoder.shape[1]

    @property
    def site(self) -> str:
        """The one site of an autoencoder."""
        return self.sites[0]

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by its name in `dictionary.safetensors`."""
        return {name: getattr(self, name) for name in TENSORS} | dict(self.parameters)

    @property
    def functional(self) -> dict[str, object]:
        """What decides, beside the tensors, what encode and decode return: the hashed part of the JSON."""
        return {
            "kind": self.kind,
            "activation": {"name": self.activation.name, **self.activation.constants},
            "selection": "value",
            "normalisation": "none",
            "sites": list(self.sites),
            "width": self.width,
            "size": self.size,
        }

    @property
    def hash(self) -> str:
        """SHA-256 of tensors and functional JSON. File names, cards and quality do not enter."""
        return self._sha256

    @cached_property
    def _sha256(self) -> str:
        return functional_sha256(self.tensors, self.functional)

    @cached_property
    def decoder_sha256(self) -> str:
        """SHA-256 of the decoder alone: what explanations of features are bound to."""
        return tensor_sha256(self.decoder)

    @cached_property
    def norms(self) -> Float[Tensor, " feature"]:
        """Length of every decoder row."""
        return self.decoder.norm(dim=1)

    @property
    def value_unit(self) -> Literal["write_norm", "raw"]:
        """`write_norm` if a code is the length of what its feature writes."""
        unit = bool(((self.norms - 1).abs() < UNIT_NORM_TOLERANCE).all())
        return "write_norm" if unit else "raw"

    def address(self, feature: int) -> str:
        """`SITE@DICT8#INDEX`."""
        return f"{self.site}@{self.hash[:8]}#{feature}"

    def preactivations(self, rows: Float[Tensor, "row width"]) -> Float[Tensor, "row feature"]:
        """π of all features at once: [row, feature] memory, so for chunks and small cases."""
        return torch.addmm(self.encoder_bias, rows.to(self.encoder) - self.input_bias, self.encoder.T)

    def encode(self, rows: Float[Tensor, "row width"]) -> Codes:
        """Codes of rows of the site.

        Raises:
            UserError: the rows have another width.
        """
        self._check_width(rows)
        if not len(rows):
            return codes_of_dense(self.encoder.new_zeros(0, self.size))
        return concatenate(
            [self.activation.codes(self.preactivations(part), self.parameters) for part in self.chunks(rows)]
        )

    def encode_dense(self, rows: Float[Tensor, "row width"]) -> Float[Tensor, "row feature"]:
        """The dense table of codes: [row, feature] memory, for small cases."""
        return dense(self.encode(rows))

    def decode(self, codes: Codes) -> Float[Tensor, "row width"]:
        """The rows that the codes stand for, decoder bias included."""
        return gather_sum(codes.indices, codes.values, self.decoder, codes.offsets) + self.decoder_bias

    def folded(self) -> Dictionary:
        """The same function with unit decoder rows; `self` where plain top-k over unequal norms forbids it."""
        norms = torch.where(self.norms > 0, self.norms, torch.ones_like(self.norms))
        parameters = self.activation.folded(self.parameters, norms)
        if parameters is None:
            return self
        column = norms.unsqueeze(1)
        return replace(
            self,
            encoder=self.encoder * column,
            encoder_bias=self.encoder_bias * norms,
            decoder=self.decoder / column,
            parameters=parameters,
        )

    def to(self, device: str | torch.device) -> Dictionary:
        """A copy whose tensors live on another device."""
        moved = {name: tensor.to(device) for name, tensor in self.tensors.items()}
        return replace(self, parameters={n: moved.pop(n) for n in self.parameters}, **moved)

    def with_parameters(self, **parameters: Float[Tensor, " feature"]) -> Dictionary:
        """The same dictionary with other parameters of its activation."""
        return replace(self, parameters={**self.parameters, **parameters})

    def chunks(self, rows: Float[Tensor, "row width"]) -> tuple[Float[Tensor, "_ width"], ...]:
        """The rows in parts whose pre-activations fit the budget of their device."""
        budget = PREACTIVATION_BYTES.get(rows.device.type, PREACTIVATION_BYTES["cpu"])
        return rows.split(max(1, budget // (self.size * self.encoder.element_size())))

    def _check_width(self, rows: Float[Tensor, "row width"]) -> None:
        if rows.shape[1] != self.width:
            raise UserError(
                f"rows do not fit the dictionary of {self.site}",
                expected=f"width {self.width}",
                got=f"width {rows.shape[1]}",
                code="dictionary_mismatch",
            )


def _check_tensors(dictionary: Dictionary) -> None:
    size, width = dictionary.size, dictionary.width
    shapes = {
        "encoder": (size, width),
        "decoder": (size, width),
        "encoder_bias": (size,),
        "input_bias": (width,),
        "decoder_bias": (width,),
        **dict.fromkeys(dictionary.activation.PARAMETERS, (size,)),
    }
    tensors = dictionary.tensors
    if tensors.keys() != shapes.keys():
        raise FormatError(
            f"tensors of a {dictionary.activation.name} dictionary",
            expected=", ".join(sorted(shapes)),
            got=", ".join(sorted(tensors)),
        )
    if size < 2:
        raise UserError("a dictionary has at least two features", got=str(size))
    for name, shape in shapes.items():
        tensor = tensors[name]
        if tuple(tensor.shape) != shape:
            raise FormatError(f"shape of {name}", expected=str(list(shape)), got=str(list(tensor.shape)), where=name)
        if tensor.dtype != dictionary.encoder.dtype:
            raise FormatError(f"dtype of {name}", expected=str(dictionary.encoder.dtype), got=str(tensor.dtype))
        if not bool(tensor.isfinite().all()):
            at = (~tensor.isfinite()).nonzero()[0].tolist()
            raise FormatError(f"{name} is not finite", where=f"{name}{at}", got=str(float(tensor[tuple(at)])))
