"""A probe that is ready to read rows, from a file of ours or from a vector of others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radiograph.core import UserError
from radiograph.core.shapes import Float
from radiograph.evidence.probes.probe import ProbeCard, ProbeKind, ProbeLevel, ProbeNormalise, ProbePool, ProbeStatus
from radiograph.numerics.probes import Support
from radiograph.store.probes import ForeignProbe, StoredProbe


@dataclass(frozen=True, eq=False)
class Probe:
    """What reading takes. `card`, `support` and `negatives` are those of a probe that was built here."""

    name: str
    kind: ProbeKind
    status: ProbeStatus
    level: ProbeLevel
    pool: ProbePool | None
    normalise: ProbeNormalise
    site: str
    w: NDArray[np.float32]
    threshold: float | None
    sha256: str
    card: ProbeCard | None = None
    support: Support | None = None
    negatives: NDArray[np.float64] | None = None
    """Quantiles of the calibration negatives' scores."""
    stored: StoredProbe | None = None
    """As it lies in its file."""

    @classmethod
    def of(cls, stored: StoredProbe) -> Probe:
        """From a file of ours."""
        card, tensors = stored.card, stored.tensors
        *distance, length = tensors["support_quantiles"].astype(np.float64)
        return cls(
            name=card.name,
            kind=card.kind,
            status=card.status,
            level=card.level,
            pool=card.pool,
            normalise=card.normalise,
            site=card.site,
            w=tensors["w"],
            threshold=float(tensors["threshold"]),
            sha256=card.weights_sha256,
            card=card,
            support=Support(tensors["mean"], tensors["whiten"], np.stack(distance), length),
            negatives=tensors["calibration_negatives"].astype(np.float64),
            stored=stored,
        )

    @classmethod
    def foreign(cls, found: ForeignProbe, kind: ProbeKind, site: str, normalise: ProbeNormalise) -> Probe:
        """From a vector of others: uncalibrated."""
        return cls(
            found.name, kind, "uncalibrated", "token", None, normalise, site, found.w, found.threshold, found.sha256
        )

    @property
    def width(self) -> int:
        """Of the rows that it reads."""
        return len(self.w)

    @property
    def matrix(self) -> Float[np.ndarray, "width column"]:
        """The direction, then the axes of the support: one product with rows gives everything."""
        if self.support is None:
            return self.w[:, None]
        return np.column_stack([self.w, self.support.whiten])


def check_width(probe: Probe, width: int, where: str, rows: int) -> None:
    """Hold evidence to the width of a probe.

    Raises:
        UserError: another width; says whether the other axis would fit.
    """
    if width != probe.width:
        turned: dict[str, Any] = {"fix": "transposed? the other axis fits"} if rows == probe.width else {}
        raise UserError(
            f"{where} and the probe {probe.name} have different widths",
            expected=str(probe.width),
            got=str(width),
            code="width",
            **turned,
        )
