"""Our own folders as arrays, with every check that `dictionaries.load` makes; and dictionaries of tensors taken over.

The hash is that of the tensors and of the functional part of the document, byte for byte that of the tensors' side.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from radiograph.core import FormatError
from radiograph.core.limits import Limits
from radiograph.dictionaries._document import DOCUMENT, STORED_TYPES, WEIGHTS, DictionaryDocument, parse_document
from radiograph.dictionaries.plain._bare import Open, check_tensors
from radiograph.dictionaries.plain._dictionary import PlainDictionary
from radiograph.evidence import canonical_json
from radiograph.store.opened import Opened, Tensors

if TYPE_CHECKING:
    from radiograph.dictionaries._dictionary import Dictionary

CORE: Final = ("encoder", "decoder", "encoder_bias", "input_bias", "decoder_bias")


def is_native(folder: Path) -> bool:
    """Whether a folder holds a dictionary of ours."""
    return (folder / DOCUMENT).is_file() and (folder / WEIGHTS).is_file()


def read_native(folder: Path, limits: Limits | None = None, opener: Open = Opened.at) -> PlainDictionary:
    """A dictionary that `dictionaries.save` wrote.

    Raises:
        FormatError: what is there is not one, in part or in whole, or is not what its hash says.
    """
    limits = limits or Limits()
    with opener(folder / DOCUMENT, DOCUMENT) as file:
        stated = parse_document(file.read(), f"{folder.name}/{DOCUMENT}")
    with opener(folder / WEIGHTS, WEIGHTS) as file:
        limits.check("dictionary-bytes", file.size, WEIGHTS)
        held = Tensors(file, f"{folder.name}/{WEIGHTS}")
        odd = next((name for name in held.names if held.dtype(name) not in STORED_TYPES), None)
        if odd is not None:
            expected, got = " or ".join(STORED_TYPES), held.dtype(odd)
            raise FormatError(f"type of {odd}", where=held.where, expected=expected, got=got)
        tensors = {name: held.array(name) for name in held.names}
    constants = dict(stated.activation)
    sigma = str(constants.pop("name", ""))
    extra = {name: value for name, value in tensors.items() if name not in (*CORE, "skip")}
    _check_shapes(stated, tensors, extra, held.where)
    found = PlainDictionary(
        encoder=tensors["encoder"],
        sigma=sigma,
        sha256=_sha256(tensors, stated),
        encoder_bias=tensors["encoder_bias"],
        decoder=tensors["decoder"],
        input_bias=_or_none(tensors["input_bias"]),
        decoder_bias=tensors["decoder_bias"],
        parameters=extra,
        constants=constants,
        kind=stated.kind,
        sites=tuple(stated.sites),
        target=stated.target,
        widths=tuple(stated.widths),
        skip=tensors.get("skip"),
        weighted=stated.selection == "decoder_norm",
        normalisation=stated.normalisation,
        denormalise=stated.denormalise,
        metadata=stated.metadata,
    )
    if found.sha256 != stated.sha256:
        raise FormatError(
            "sha256 in the document is not that of the tensors",
            where=f"{folder.name}/{DOCUMENT}: sha256",
            expected=stated.sha256,
            got=found.sha256,
        )
    limits.check("features", found.size, "features of the dictionary", folder.name)
    check_tensors(tensors, folder.name)
    return found


def taken_over(dictionary: Dictionary, notes: tuple[str, ...] = ()) -> PlainDictionary:
    """The arrays of a dictionary of tensors, which they share."""
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in dictionary.tensors.items()}
    return PlainDictionary(
        encoder=arrays["encoder"],
        sigma=dictionary.activation.name,
        sha256=dictionary.hash,
        encoder_bias=arrays["encoder_bias"],
        decoder=arrays["decoder"],
        input_bias=_or_none(arrays["input_bias"]),
        decoder_bias=arrays["decoder_bias"],
        parameters={name: arrays[name] for name in dictionary.parameters},
        constants=dictionary.activation.constants,
        kind=dictionary.kind,
        sites=dictionary.sites,
        target=dictionary.target,
        widths=dictionary.widths,
        skip=arrays.get("skip"),
        weighted=dictionary.selection == "decoder_norm",
        normalisation=dictionary.normalisation,
        denormalise=dictionary.denormalise,
        metadata=dictionary.metadata,
        notes=notes,
    )


def _or_none(bias: NDArray[Any]) -> NDArray[Any] | None:
    return bias if bias.any() else None


def _check_shapes(
    stated: DictionaryDocument, tensors: Mapping[str, NDArray[Any]], extra: Mapping[str, NDArray[Any]], where: str
) -> None:
    width = sum(stated.widths)
    target = stated.target_width
    shapes = {
        "encoder": (stated.size, width),
        "decoder": (stated.size, target),
        "encoder_bias": (stated.size,),
        "input_bias": (width,),
        "decoder_bias": (target,),
        **({"skip": (target, width)} if "skip" in tensors else {}),
        **dict.fromkeys(extra, (stated.size,)),
    }
    for name, shape in shapes.items():
        got = "missing" if name not in tensors else str(list(tensors[name].shape))
        if got != str(list(shape)):
            raise FormatError(f"shape of {name}", where=where, expected=str(list(shape)), got=got)


def _sha256(tensors: Mapping[str, NDArray[Any]], stated: DictionaryDocument) -> str:
    lines: dict[str, str] = {}
    for name, value in tensors.items():
        digest = hashlib.sha256(f"{value.dtype.name}{list(value.shape)}\x00".encode())
        digest.update(np.ascontiguousarray(value).data)
        lines[name] = digest.hexdigest()
    functional = {
        "kind": stated.kind,
        "activation": stated.activation,
        "selection": stated.selection,
        "normalisation": stated.normalisation,
        "denormalise": stated.denormalise,
        "sites": stated.sites,
        "widths": stated.widths,
        "target": stated.target,
        "target_width": stated.target_width,
        "size": stated.size,
    }
    return hashlib.sha256(canonical_json({"tensors": lines, "functional": functional})).hexdigest()
