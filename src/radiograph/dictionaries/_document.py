"""`dictionary.json`: how the tensors beside it are used. Needs no torch."""

from __future__ import annotations

import json
from typing import Any, ClassVar, Final, Literal

from radiograph.core import FormatError
from radiograph.dictionaries._metadata import Metadata
from radiograph.evidence import Document

WEIGHTS: Final = "dictionary.safetensors"
DOCUMENT: Final = "dictionary.json"
STORED_TYPES: Final = ("F32", "F64")
Kind = Literal["sae", "transcoder", "crosscoder"]
Selection = Literal["value", "decoder_norm"]
Normalisation = Literal["none", "centre", "layer_norm", "unit_rms"]


class DictionaryDocument(Document):
    """`dictionary.json`."""

    SCHEMA: ClassVar[str] = "radiograph.dictionary/1"

    kind: Kind
    activation: dict[str, Any]
    """Its name, and its constants."""
    selection: Selection
    normalisation: Normalisation
    denormalise: bool
    sites: list[str]
    widths: list[int]
    target: str | None
    target_width: int
    size: int
    value_unit: Literal["write_norm", "raw"]
    sha256: str
    decoder_sha256: str
    metadata: Metadata


def parse_document(data: bytes, where: str) -> DictionaryDocument:
    """The document in the bytes of a file.

    Raises:
        FormatError: not JSON, or not such a document.
    """
    try:
        content = json.loads(data.decode())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise FormatError("not JSON", where=where, got=str(error)) from error
    if not isinstance(content, dict):
        raise FormatError("not a dictionary document", where=where, expected="an object", got=type(content).__name__)
    return DictionaryDocument.read(content, where=where)
