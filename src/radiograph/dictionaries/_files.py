"""Our format, `radiograph.dictionary/1`: a folder of three files, loaded only if every part of it is accounted for.

    dictionary.safetensors   encoder decoder encoder_bias input_bias decoder_bias [skip] [threshold …], F32 or F64
    dictionary.json          how the tensors are used, hashes, model, training, quality, source
    card.md                  the same for people; never read

1. The JSON is validated against its schema: an unknown key is an error.   2. Tensors: exactly those that kind and
activation need, of the stated shapes, finite.   3. The stored hash must be that of what was read. Nothing is unpickled
and no code runs. File and folder names mean nothing: identity is the hash, and the model hash inside the JSON.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from radiograph.core import FormatError, UserError
from radiograph.dictionaries._card import card
from radiograph.dictionaries._dictionary import TENSORS, Dictionary
from radiograph.dictionaries._document import DOCUMENT, STORED_TYPES, WEIGHTS, DictionaryDocument, parse_document
from radiograph.dictionaries.activations import activation
from radiograph.evidence import pretty_json

CARD: Final = "card.md"


def save(dictionary: Dictionary, folder: Path) -> None:
    """Write a dictionary to a new folder: whole, or not at all.

    Raises:
        UserError: the folder exists and is not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UserError("a dictionary is written to a new folder", got=f"{folder} is not empty", fix="choose another")
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in dictionary.tensors.items()}
    save_file(tensors, partial / WEIGHTS, metadata={"format": "pt"})
    (partial / DOCUMENT).write_text(pretty_json(document(dictionary)), encoding="utf-8")
    (partial / CARD).write_text(card(dictionary), encoding="utf-8")
    partial.replace(folder)


def document(dictionary: Dictionary) -> DictionaryDocument:
    """The JSON of a dictionary."""
    return DictionaryDocument.model_validate(
        dictionary.functional
        | {
            "value_unit": dictionary.value_unit,
            "sha256": dictionary.hash,
            "decoder_sha256": dictionary.decoder_sha256,
            "metadata": dictionary.metadata,
        }
    )


def load(folder: Path) -> Dictionary:
    """Read and validate a dictionary that `save` wrote.

    Raises:
        UserError: no dictionary there.
        FormatError: what is there is not one, in part or in whole, or is not what its hash says.
    """
    for name in (DOCUMENT, WEIGHTS):
        if not (folder / name).is_file():
            raise UserError(f"no dictionary in {folder}", expected=f"{DOCUMENT} and {WEIGHTS}", got=f"no {name}")
    stated = parse_document((folder / DOCUMENT).read_bytes(), str(folder / DOCUMENT))
    tensors = _read_tensors(folder / WEIGHTS)
    constants = dict(stated.activation)
    sigma = activation(str(constants.pop("name", "")), constants)
    skip = ("skip",) if "skip" in tensors and stated.kind == "transcoder" else ()
    _expect_tensors(tensors, (*sigma.PARAMETERS, *skip), folder / WEIGHTS)
    dictionary = Dictionary(
        **{name: tensors[name] for name in TENSORS},
        parameters={name: tensors[name] for name in sigma.PARAMETERS},
        activation=sigma,
        sites=tuple(stated.sites),
        metadata=stated.metadata,
        kind=stated.kind,
        target=stated.target,
        widths=tuple(stated.widths),
        skip=tensors.get("skip"),
        selection=stated.selection,
        normalisation=stated.normalisation,
        denormalise=stated.denormalise,
    )
    _expect_equal(stated, document(dictionary), folder / DOCUMENT)
    return dictionary


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as handle:
            for name in handle.keys():  # noqa: SIM118 (the handle is no mapping)
                stored = handle.get_slice(name).get_dtype()
                if stored not in STORED_TYPES:
                    raise FormatError(
                        f"type of {name}", where=str(path), expected=" or ".join(STORED_TYPES), got=stored
                    )
            return {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise FormatError("not a safetensors file", where=str(path), got=str(error)) from error


def _expect_tensors(tensors: dict[str, Tensor], parameters: tuple[str, ...], path: Path) -> None:
    expected = {*TENSORS, *parameters}
    for word, odd in (("missing", expected - tensors.keys()), ("unknown", tensors.keys() - expected)):
        if odd:
            raise FormatError(
                f"{word} tensor {', '.join(sorted(odd))}",
                where=str(path),
                expected=", ".join(sorted(expected)),
                got=", ".join(sorted(tensors)),
            )


def _expect_equal(stated: DictionaryDocument, found: DictionaryDocument, path: Path) -> None:
    for name in ("size", "widths", "target_width", "value_unit", "decoder_sha256", "sha256"):
        if getattr(stated, name) != getattr(found, name):
            raise FormatError(
                f"{name} in the document is not that of the tensors",
                where=f"{path}: {name}",
                expected=str(getattr(stated, name)),
                got=str(getattr(found, name)),
            )
