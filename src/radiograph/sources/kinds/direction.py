"""`direction:FILE`: directions of a file that `steer contrast` or somebody else wrote (`radiograph.directions/1`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from radiograph.core import UserError
from radiograph.core.shapes import Float
from radiograph.core.sites import Source
from radiograph.sources._given import Features, Live
from radiograph.sources._grammar import Reference
from radiograph.sources._parts import Parts
from radiograph.store.directions import open_directions

if TYPE_CHECKING:
    from radiograph.models import LanguageModel


def open(reference: Reference, parts: Parts) -> Live:
    """The directions of a file, each at its site; numbers after `#` count them in the file's order.

    Raises:
        UserError: no such file.
    """
    if not reference.where:
        raise UserError(f"{reference.text!r} names no file", expected="direction:FILE", code="bad_features")
    path = parts.path(reference.where, parts.role)

    def features(model: LanguageModel) -> tuple[Features, ...]:
        identity = model.identity
        header, found = open_directions(
            path, model_sha256=identity.tensors_sha256, tokenizer_sha256=identity.tokenizer_sha256
        )
        sites: list[str] = []
        names: list[str] = []
        vectors: list[np.ndarray] = []
        for name, array in found.items():
            record, many = header.tensors[name], np.atleast_2d(array)
            sites += [str(Source.parse(record.site).site)] * len(many)
            own = record.names or (tuple(f"{name}.{row}" for row in range(len(many))) if array.ndim == 2 else (name,))
            names += [_plain(text) for text in own]
            vectors += list(many)
        parted: dict[str, list[int]] = {}
        for number in reference.within(len(names)).tolist():
            parted.setdefault(sites[number], []).append(number)
        return tuple(
            _of_site(site, model, [names[n] for n in own], np.stack([vectors[n] for n in own]))
            for site, own in parted.items()
        )

    return Live(reference.named(parts.label(reference.where)), features)


def _of_site(site: str, model: LanguageModel, names: list[str], vectors: np.ndarray) -> Features:
    import torch

    from radiograph.sources._codecs import Directions

    (place,) = model.sites(site)
    if vectors.shape[1] != model.site_width(place):
        raise UserError(
            f"directions do not fit {site}",
            expected=f"width {model.site_width(place)}",
            got=f"width {vectors.shape[1]}",
            code="dictionary_mismatch",
        )
    unit = vectors.astype(np.float64)
    unit = (unit / np.linalg.norm(unit, axis=1, keepdims=True)).astype(np.float32)
    codec = Directions(site, tuple(names), torch.from_numpy(unit))

    def write(numbers: NDArray[np.int64]) -> Float[np.ndarray, "feature target"]:
        return unit[numbers]

    return Features(codec, np.arange(len(names)), codec.address, write, pool="last")


def _plain(name: str) -> str:
    """A name as an address can hold it; what stands before the last mark of an address is left out."""
    return name.rpartition("~")[2].replace(" ", "-").replace(":", "-").replace("@", "-") or "direction"
