"""What a training run is told, and the presets."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from radiograph.core import UserError, nearest
from radiograph.evidence import Record

DEAD_AFTER: Final = (65_536, 10_000_000)
REFERENCE_SIZE: Final = 16_384


class TrainingConfig(Record):
    """One dictionary, one seed."""

    preset: str = "custom"
    activation: Literal["topk"] = "topk"
    size: int | None = Field(default=None, ge=2)
    """F. None: `expansion` × width."""
    expansion: int = Field(default=4, ge=1)
    k: int = Field(default=16, ge=1)
    """Features that may fire on a row."""
    batch: int = Field(default=1024, ge=1)
    tokens: int = Field(default=1_000_000, ge=1)
    """Rows drawn in training, repeats included, rounded up to whole batches."""
    learning_rate: float | None = Field(default=None, gt=0)
    """None: 2e-4 · √(16384 / F)."""
    dead_after: int | None = Field(default=None, ge=1)
    """Rows without firing after which a feature is dead. None: 5 % of the run, within 65,536 and 10 million."""
    auxiliary: float = Field(default=1 / 32, ge=0)
    """Weight of the loss in which dead features reconstruct what the others leave over."""
    clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient."""
    seed: int = 0

    @property
    def steps(self) -> int:
        """Number of batches."""
        return -(-self.tokens // self.batch)

    def features(self, width: int) -> int:
        """F at a site of `width`.

        Raises:
            UserError: k does not fit.
        """
        size = self.size or self.expansion * width
        if self.k > size:
            raise UserError("more active features than features", expected=f"k <= {size}", got=f"k = {self.k}")
        return size

    def rate(self, size: int) -> float:
        """Peak learning rate for `size` features."""
        return self.learning_rate or 2e-4 * (REFERENCE_SIZE / size) ** 0.5

    @property
    def patience(self) -> int:
        """Rows without firing after which a feature is dead."""
        low, high = DEAD_AFTER
        return self.dead_after or min(max(self.tokens // 20, low), high)


PRESETS: Final[dict[str, TrainingConfig]] = {
    "minimal": TrainingConfig(preset="minimal", expansion=4, k=16, batch=1024, learning_rate=1e-3, tokens=1_000_000),
}


def preset(name: str, **changes: object) -> TrainingConfig:
    """A preset with some fields changed.

    Raises:
        UserError: unknown preset.
    """
    if name not in PRESETS:
        close = nearest(name, list(PRESETS)) or list(PRESETS)
        raise UserError(f"unknown preset {name!r}", expected=", ".join(PRESETS), fix=f"did you mean {close[0]}?")
    return TrainingConfig.model_validate(PRESETS[name].model_dump() | changes)
