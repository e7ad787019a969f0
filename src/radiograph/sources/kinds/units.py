"""`units:SITE`: coordinates of a site, as `units:mlp_hidden.2`, `units:resid_post.*` or `units:mlp_hidden.2#373`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from radiograph.core import UserError
from radiograph.core.shapes import Float
from radiograph.sources._chosen import chosen
from radiograph.sources._given import Features, Live
from radiograph.sources._grammar import Reference
from radiograph.sources._parts import Parts

if TYPE_CHECKING:
    from radiograph.models import LanguageModel


def open(reference: Reference, parts: Parts) -> Live:
    """Units of one site or of several; a site is looked for when there is a model.

    Raises:
        UserError: no site.
    """
    where, bracket, unit = reference.where.partition("[")
    if not where or (bracket and not (unit.endswith("]") and unit[:-1].isdigit())):
        raise UserError(
            f"{reference.text!r} names no site", expected="units:SITE, as units:mlp_hidden.2", code="bad_features"
        )
    if bracket:
        reference = Reference.parse(f"units:{where}#{unit[:-1]}")

    def features(model: LanguageModel) -> tuple[Features, ...]:
        return tuple(_of_site(str(site), model.site_width(site), reference, parts) for site in model.sites(where))

    return Live(reference.named(where), features)


def _of_site(site: str, width: int, reference: Reference, parts: Parts) -> Features:
    from radiograph.sources._codecs import Units

    codec = Units(site, width)

    def write(numbers: NDArray[np.int64]) -> Float[np.ndarray, "feature target"]:
        out = np.zeros((len(numbers), width), np.float32)
        out[np.arange(len(numbers)), numbers] = 1
        return out

    return Features(codec, chosen(reference, width, parts), codec.address, write, pool="last")
