"""What a reader of a foreign format is told, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from radiograph.core import Refusal, UserError
from radiograph.core.shapes import Float
from radiograph.dictionaries._dictionary import Dictionary
from radiograph.dictionaries._document import Kind, Normalisation, Selection
from radiograph.dictionaries.activations import Activation, activation
from radiograph.dictionaries.formats._places import place_of


@dataclass(frozen=True, eq=False)
class Options:
    """What only the user can know: each settles something that some format does not store."""

    k: int | None = None
    """Features per row, where no file says."""
    input_scale: tuple[float, ...] = ()
    """What rows were multiplied by in training, one number or one for each source."""
    layer: int | None = None
    """Of a set, only this layer; of a file without a layer, its layer."""
    site: str | None = None
    """The site that is read, over what the file says."""
    target: str | None = None
    """The site that a transcoder writes, over what the file says."""
    untrained: bool = False
    """Accept tensors that their own file calls untrained."""
    map: Path | None = None
    """For `generic`: which tensor is what."""
    rows: Callable[[str], Float[Tensor, "row width"]] | None = None
    """Activations at a site, where something is estimated from data (a batch-top-k threshold)."""

    def placed(self, stated: str | None, where: str, *, of: Literal["site", "target"] = "site") -> str:
        """The address of a site: the user's, else what the file states as an address, hook name or module path.

        Raises:
            UserError: the file states none, or none that is known.
        """
        given = getattr(self, of)
        if given is None and not stated:
            raise unsettled(f"the file does not say which {of} it belongs to", where, f"give --{of}, as resid_post.6")
        try:
            return place_of(given or str(stated))[0]
        except UserError as error:
            raise UserError(
                f"no site for {given or stated!r}",
                where=where,
                expected=error.expected,
                fix=f"give --{of}",
                code="unknown_site",
            ) from error

    def scales(self, number: int, where: str) -> tuple[float, ...]:
        """`input_scale` for so many sources.

        Raises:
            Refusal: `input_scale_unknown`, nothing was given. UserError: another number of them, or not above 0.
        """
        if not self.input_scale:
            numbers = ",".join("ABCDEFGH"[:number]) if number <= 8 else "A,B,…"
            raise unsettled("the scale of the inputs is not in the file", where, f"give --input-scale {numbers}")
        if len(self.input_scale) not in (1, number) or min(self.input_scale) <= 0:
            got = ",".join(f"{scale:g}" for scale in self.input_scale)
            raise UserError("input scale", where=where, expected=f"1 or {number} numbers above 0", got=got)
        return self.input_scale * (number if len(self.input_scale) == 1 else 1)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the file itself says about its quality. None: nothing."""

    explained_variance: float | None = None
    l0: float | None = None


@dataclass(frozen=True, eq=False)
class Imported:
    """One dictionary as its file has it. Scales and decoder norms are folded by whoever called the reader."""

    dictionary: Dictionary
    name: str = ""
    """Its place in a set, such as `layer_3`; the name of its folder."""
    input_scales: tuple[float, ...] = ()
    """a of each source: what rows were multiplied by before the encoder saw them. Empty: 1."""
    target_scales: tuple[float, ...] = ()
    """The same for what is written. Empty: as read, and 1 for a transcoder."""
    model: str | None = None
    """The model, as the file names it."""
    bos: Literal["skip", "keep"] | None = None
    licence: str | None = None
    recorded: Recorded | None = None
    notes: tuple[str, ...] = ()
    """What was assumed, dropped or folded, each in a line for the card."""
    rivals: Mapping[str, Dictionary] = field(default_factory=dict)
    """Other readings of the same file, where people disagree: they are compared on data like wrong layers."""


def build(
    sigma: str,
    constants: Mapping[str, object] | None = None,
    *,
    encoder: Float[Tensor, "feature width"],
    decoder: Float[Tensor, "feature target"],
    encoder_bias: Float[Tensor, " feature"] | None = None,
    input_bias: Float[Tensor, " width"] | None = None,
    decoder_bias: Float[Tensor, " target"] | None = None,
    parameters: Mapping[str, Tensor] | None = None,
    skip: Float[Tensor, "target width"] | None = None,
    sites: tuple[str, ...],
    target: str | None = None,
    kind: Kind | None = None,
    widths: tuple[int, ...] = (),
    selection: Selection = "value",
    normalisation: Normalisation = "none",
    denormalise: bool = True,
) -> Dictionary:
    """A dictionary of foreign tensors, feature-major: absent biases are 0, half precision becomes fp32.

    The kind follows from the sites unless it is given: a target makes a transcoder, several sites a crosscoder.
    """
    dtype = torch.float64 if encoder.dtype == torch.float64 else torch.float32

    taken: set[int] = set()

    def own(tensor: Tensor) -> Tensor:
        tensor = tensor.detach().to(dtype).contiguous()
        if tensor.data_ptr() in taken:  # two names of one memory could not be saved
            tensor = tensor.clone()
        taken.add(tensor.data_ptr())
        return tensor

    def bias(tensor: Tensor | None, length: int) -> Tensor:
        return torch.zeros(length, dtype=dtype) if tensor is None else own(tensor)

    act: Activation = activation(sigma, constants)
    return Dictionary(
        encoder=own(encoder),
        decoder=own(decoder),
        encoder_bias=bias(encoder_bias, encoder.shape[0]),
        input_bias=bias(input_bias, encoder.shape[1]),
        decoder_bias=bias(decoder_bias, decoder.shape[1]),
        activation=act,
        sites=sites,
        parameters={name: own(tensor) for name, tensor in (parameters or {}).items()},
        kind=kind or ("transcoder" if target is not None else "crosscoder" if len(sites) > 1 else "sae"),
        target=target,
        widths=widths,
        skip=None if skip is None else own(skip),
        selection=selection,
        normalisation=normalisation,
        denormalise=denormalise,
    )


def unsettled(message: str, where: str, fix: str, *, code: str = "import_unsettled") -> Refusal:
    """The refusal for what a file leaves open: `fix` says which option or data would settle it. Exit 3."""
    return Refusal(code, message, got=where, fix=fix, fixable=True)


def cannot_express(name: str, what: str, *, instead: str = "our own format holds it") -> Refusal:
    """The refusal of a writer: this format has no place for `what`. Exit 3."""
    return Refusal("not_expressible", f"{name} cannot express {what}", fix=instead, fixable=True)


def settings_of(dictionary: Dictionary) -> dict[str, Any]:
    """What a writer must look at before it says that it can express a dictionary."""
    return {
        "kind": dictionary.kind,
        "activation": dictionary.activation.name,
        "normalisation": dictionary.normalisation,
        "selection": dictionary.selection,
        "skip": dictionary.skip is not None,
        "input bias": bool((dictionary.input_bias != 0).any()),
    }
