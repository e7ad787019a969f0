"""The dictionary: sparse codes of rows, and the rows that codes stand for.

    π = (n(x) − c) Eᵀ + b        z = σ(π)        ŷ = n⁻¹(z D + g) + S x

1. Kinds: an `sae` writes what it reads; a `transcoder` reads one site and writes another, with a skip S where it has
   one; a `crosscoder` reads and writes several sources (sites of one or more models) whose rows stand side by side.
2. Tensors are feature-major: a feature is one contiguous row of the encoder E [F, d] and of the decoder D [F, d], over
   all sources. Their widths may differ, and every product is that of an autoencoder.
3. `encode` goes through the rows in chunks whose pre-activations fit `PREACTIVATION_BYTES`; `decode` sums gathered
   decoder rows. Neither a [rows, F] array of a whole batch nor a dense [rows, F] × [F, d] product exists.
4. A code is in units of its decoder row. `folded` moves decoder norms into the encoder, so that a code is the length
   of what the feature writes; it changes no function. Plain top-k over unequal norms stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final, Literal

import torch
from torch import Tensor

from radiograph.core import FormatError, Source, UserError
from radiograph.core.codec import Codes
from radiograph.core.shapes import Float
from radiograph.dictionaries._document import Kind, Normalisation, Selection
from radiograph.dictionaries._hash import functional_sha256, tensor_sha256
from radiograph.dictionaries._metadata import Metadata
from radiograph.dictionaries._normalisation import Affine, affine
from radiograph.dictionaries.activations import Activation
from radiograph.numerics.sparse import codes_of_dense, dense, gather_sum, linear

PREACTIVATION_BYTES: Final = {"cpu": 32 * 2**20, "cuda": 512 * 2**20}
TENSORS: Final = ("encoder", "decoder", "encoder_bias", "input_bias", "decoder_bias")
UNIT_NORM_TOLERANCE: Final = 1e-4


@dataclass(frozen=True, eq=False)
class Dictionary:
    """A sparse dictionary, a `core.codec.Codec`. Built whole or not at all.

    Raises:
        FormatError: shapes disagree, a value is not finite, a parameter is missing or unknown.
        UserError: sources do not fit the kind, or constants of the activation do not fit.
    """

    encoder: Float[Tensor, "feature width"]
    decoder: Float[Tensor, "feature target"]
    encoder_bias: Float[Tensor, " feature"]
    input_bias: Float[Tensor, " width"]
    decoder_bias: Float[Tensor, " target"]
    activation: Activation
    sites: tuple[str, ...]
    """Sources that are read, in the order of their columns."""
    parameters: Mapping[str, Float[Tensor, " feature"]] = field(default_factory=dict)
    """Per-feature tensors of the activation, such as `threshold`."""
    metadata: Metadata = field(default_factory=Metadata)
    kind: Kind = "sae"
    target: str | None = None
    """What a transcoder writes; the other kinds write what they read."""
    widths: tuple[int, ...] = ()
    """Columns of each source of a crosscoder; by default equal parts."""
    skip: Float[Tensor, "target width"] | None = None
    """S of a transcoder: a dense path from its input to its output."""
    selection: Selection = "value"
    """`decoder_norm`: features are compared by pre-activation × length of what they write."""
    normalisation: Normalisation = "none"
    denormalise: bool = True
    """Whether n is undone on the way out, with the mean and scale of the row that was read."""

    def __post_init__(self) -> None:
        for name in ("encoder", "decoder"):
            if getattr(self, name).ndim != 2:
                raise FormatError(f"shape of {name}", expected="[F, d]", got=str(list(getattr(self, name).shape)))
        if len(self.sites) == 1 or not self.widths:
            object.__setattr__(self, "widths", (self.width // max(1, len(self.sites)),) * len(self.sites))
        _check_sources(self)
        _check_tensors(self)
        self.activation.check(self.size, self.parameters)

    @property
    def size(self) -> int:
        """F, the number of features."""
        return self.encoder.shape[0]

    @property
    def width(self) -> int:
        """Columns of a row that is read, all sources together."""
        return self.encoder.shape[1]

    @property
    def target_width(self) -> int:
        """Columns of a row that is written."""
        return self.decoder.shape[1]

    @property
    def targets(self) -> tuple[str, ...]:
        """Sources that are written, in the order of their columns."""
        return self.sites if self.target is None else (self.target,)

    @property
    def target_widths(self) -> tuple[int, ...]:
        """Columns of each source that is written."""
        return self.widths if self.target is None else (self.target_width,)

    @property
    def site(self) -> str:
        """The one site that is read.

        Raises:
            UserError: a crosscoder reads several.
        """
        if len(self.sites) != 1:
            raise UserError("this needs a dictionary of one site", got=", ".join(self.sites))
        return self.sites[0]

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by its name in `dictionary.safetensors`."""
        skip = {} if self.skip is None else {"skip": self.skip}
        return {name: getattr(self, name) for name in TENSORS} | skip | dict(self.parameters)

    @property
    def functional(self) -> dict[str, object]:
        """What decides, beside the tensors, what encode and decode return: the hashed part of the JSON."""
        return {
            "kind": self.kind,
            "activation": {"name": self.activation.name, **self.activation.constants},
            "selection": self.selection,
            "normalisation": self.normalisation,
            "denormalise": self.denormalise,
            "sites": list(self.sites),
            "widths": list(self.widths),
            "target": self.target,
            "target_width": self.target_width,
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
        """Length of every decoder row; of a crosscoder the mean of its lengths at each target."""
        parts = self.split_targets(self.decoder)
        return torch.stack([part.norm(dim=1) for part in parts]).mean(0)

    @property
    def selection_weights(self) -> Float[Tensor, " feature"] | None:
        """What pre-activations are multiplied by where features are compared; None: nothing."""
        return self.norms if self.selection == "decoder_norm" else None

    @property
    def value_unit(self) -> Literal["write_norm", "raw"]:
        """`write_norm` if a code is the length of what its feature writes."""
        unit = bool(((self.norms - 1).abs() < UNIT_NORM_TOLERANCE).all())
        return "write_norm" if unit else "raw"

    def address(self, feature: int) -> str:
        """`SITE@DICT8#INDEX`, the sites joined by `+`."""
        return f"{'+'.join(self.sites)}@{self.hash[:8]}#{feature}"

    def split(self, rows: Float[Tensor, "row width"]) -> tuple[Float[Tensor, "row _"], ...]:
        """Views of the columns of each source that is read."""
        return rows.split(list(self.widths), dim=1)

    def split_targets(self, rows: Float[Tensor, "row target"]) -> tuple[Float[Tensor, "row _"], ...]:
        """Views of the columns of each source that is written."""
        return rows.split(list(self.target_widths), dim=1)

    def products(self, centred: Float[Tensor, "row width"]) -> Float[Tensor, "row feature"]:
        """π of rows from which the input bias was taken: [row, feature] memory, so for chunks."""
        if torch.is_grad_enabled() and (centred.requires_grad or self.encoder.requires_grad):
            return torch.addmm(self.encoder_bias, centred, self.encoder.T)
        return linear(centred, self.encoder, self.encoder_bias)

    def preactivations(self, rows: Float[Tensor, "row width"]) -> Float[Tensor, "row feature"]:
        """π of all features at once: [row, feature] memory, so for chunks and small cases."""
        return self.products(self._centred(rows))

    def encode(self, rows: Float[Tensor, "row width"]) -> Codes:
        """Codes of rows of the sites.

        Raises:
            UserError: the rows have another width.
        """
        self._check_width(rows)
        if not len(rows):
            return codes_of_dense(self.encoder.new_zeros(0, self.size))
        return self.activation.encode(self._centred(rows), self)

    def encode_dense(self, rows: Float[Tensor, "row width"]) -> Float[Tensor, "row feature"]:
        """The dense table of codes: [row, feature] memory, for small cases."""
        return dense(self.encode(rows))

    def decode(self, codes: Codes, rows: Float[Tensor, "row width"] | None = None) -> Float[Tensor, "row target"]:
        """The rows that the codes stand for, decoder bias included.

        Raises:
            UserError: `rows`, those that were encoded, are needed and were not given.
        """
        out = gather_sum(codes.indices, codes.values, self.decoder, codes.offsets) + self.decoder_bias
        undone = self.denormalise and self.normalisation != "none"
        if not undone and self.skip is None:
            return out
        if rows is None:
            raise UserError("this dictionary decodes only beside the rows that were encoded", fix="pass rows")
        rows = rows.to(self.encoder)
        if undone:
            out = self._affine(rows).undo(out, self.target_widths)
        return out if self.skip is None else out + rows @ self.skip.T

    def reconstruct(self, rows: Float[Tensor, "row width"]) -> Float[Tensor, "row target"]:
        """`decode(encode(rows), rows)`."""
        return self.decode(self.encode(rows), rows)

    def folded(self) -> Dictionary:
        """The same function with decoder rows of length 1; `self` where plain top-k over unequal norms forbids it.

        Rows that have it up to rounding stay as they are, bit for bit, so folding twice is folding once.
        """
        norms = torch.where(self.norms > 0, self.norms, torch.ones_like(self.norms))
        weighted = self.selection == "decoder_norm"
        if not weighted:
            norms = torch.where((norms - 1).abs() < UNIT_NORM_TOLERANCE, torch.ones_like(norms), norms)
        parameters = self.activation.folded(self.parameters, norms, weighted=weighted)
        if parameters is None:
            return self
        column = norms.unsqueeze(1)
        return replace(
            self,
            encoder=self.encoder * column,
            encoder_bias=self.encoder_bias * norms,
            decoder=self.decoder / column,
            parameters=parameters,
            selection="value",
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

    def _centred(self, rows: Float[Tensor, "row width"]) -> Float[Tensor, "row width"]:
        rows = rows.to(self.encoder)
        normal = affine(rows, self.widths, self.normalisation)
        return (rows if normal is None else normal.apply(rows, self.widths)) - self.input_bias

    def _affine(self, rows: Float[Tensor, "row width"]) -> Affine:
        found = affine(rows, self.widths, self.normalisation)
        assert found is not None
        return found

    def _check_width(self, rows: Float[Tensor, "row width"]) -> None:
        if rows.shape[1] != self.width:
            raise UserError(
                f"rows do not fit the dictionary of {', '.join(self.sites)}",
                expected=f"width {self.width}",
                got=f"width {rows.shape[1]}",
                code="dictionary_mismatch",
            )


def _check_sources(dictionary: Dictionary) -> None:
    for address in {*dictionary.sites, *dictionary.targets}:
        Source.parse(address)
    other = dictionary.target is not None and dictionary.target not in dictionary.sites
    count = len(dictionary.sites)
    fits, needed = {
        "sae": (count == 1 and dictionary.target is None, "one site, read and written"),
        "transcoder": (count == 1 and other, "one site read and another written"),
        "crosscoder": (
            count == len(set(dictionary.sites)) > 1 and dictionary.target is None,
            "several sources, each once",
        ),
    }[dictionary.kind]
    if not fits:
        got = f"read {', '.join(dictionary.sites) or 'none'}; written {', '.join(dictionary.targets) or 'none'}"
        raise UserError(f"sources of a dictionary of kind {dictionary.kind}", expected=needed, got=got)
    if dictionary.skip is not None and dictionary.kind != "transcoder":
        raise UserError(f"a dictionary of kind {dictionary.kind} has no skip connection")
    widths = dictionary.widths
    if len(widths) != count or sum(widths) != dictionary.width or min(widths) < 1:
        got = f"{list(widths)} for {dictionary.width} columns"
        raise FormatError("widths of the sources", expected=f"{count} that add up", got=got, where="widths")


def _check_tensors(dictionary: Dictionary) -> None:
    size, width = dictionary.size, dictionary.width
    target = dictionary.target_width if dictionary.kind == "transcoder" else width
    shapes = {
        "encoder": (size, width),
        "decoder": (size, target),
        "encoder_bias": (size,),
        "input_bias": (width,),
        "decoder_bias": (target,),
        **({} if dictionary.skip is None else {"skip": (target, width)}),
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
