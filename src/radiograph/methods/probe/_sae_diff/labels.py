"""Words for features: labels that lie beside a dictionary of ours, if they were written for its decoder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.core import Context, Refusal

if TYPE_CHECKING:
    from radiograph.dictionaries.plain import PlainDictionary
    from radiograph.methods.probe._sae_diff.options import Config

Words = Callable[[int], dict[str, Any]]


def of(ctx: Context, config: Config, dictionary: PlainDictionary) -> Words:
    """Name, label and label_source of a feature; without a label all are None."""
    from radiograph.explanations import LABELS_FILE, open_labels, preferred

    if dictionary.names:
        return lambda feature: {"name": dictionary.names[feature]}
    held = None
    if not config.dictionary.startswith(("units:", "suite:", "direction:")) and dictionary.decoder is not None:
        folder = ctx.dictionary_folder(config.dictionary)
        beside = folder / LABELS_FILE
        if folder.is_dir() and beside.is_file():
            try:
                held = open_labels("auto", _sha256(dictionary), beside, ctx.locate)
            except Refusal:  # written for another dictionary
                held = None
    found = {} if held is None else held.explanations

    def words(feature: int) -> dict[str, Any]:
        own = preferred(found[feature]) if feature in found else None
        if own is None:
            return {}
        score = "" if own.score is None else f", score {own.score:.2f}"
        return {"label": own.text, "label_source": f"{own.author or 'unknown author'}{score}"}

    return words


def _sha256(dictionary: PlainDictionary) -> str:
    """What labels are bound to: type, shape and values of the decoder."""
    assert dictionary.decoder is not None, "asked for only where there is one"
    rows = np.ascontiguousarray(dictionary.decoder)
    digest = hashlib.sha256(f"{rows.dtype.name}{list(rows.shape)}\x00".encode())
    digest.update(rows.data)
    return digest.hexdigest()
