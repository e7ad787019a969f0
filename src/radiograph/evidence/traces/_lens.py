"""Mean shifts of activations, as tokens and as a push."""

from __future__ import annotations

from radiograph.evidence._record import Record


class LensToken(Record):
    """A token and its logit."""

    token: str
    logit: float


class LensReadout(Record):
    """What the shift at one place says through the unembedding."""

    site: str
    position: str
    """`0` to `4`, or `rest`: the mean over all later positions."""
    norm: float
    relative: float
    """Divided by the mean norm of the reference's own activations there."""
    up: tuple[LensToken, ...]
    """Top tokens of unembed(norm(δ))."""
    down: tuple[LensToken, ...]
    """Top tokens of unembed(norm(−δ))."""
    random: tuple[float, ...]
    """The top logit of random directions of equal norm."""


class LensPush(Record):
    """The shift added to the reference on neutral texts that it was not measured on."""

    site: str
    alpha: float
    """Chosen on the texts that the shift was measured on."""
    closed: float
    """1 − KL(candidate ‖ pushed) / KL(candidate ‖ reference): 1 where the push makes the reference the candidate."""
    random: tuple[float, ...]
    """The same for random directions of equal norm."""
    n: int
    """Held-out texts."""


class Lens(Record):
    """Readout and push at every site."""

    sites: tuple[str, ...]
    texts: int
    readouts: tuple[LensReadout, ...]
    pushes: tuple[LensPush, ...]
