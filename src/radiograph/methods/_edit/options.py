"""Options of every verb that edits: whose parts, what the effect is measured on, when it is accepted, what is written.

`edit apply` and `edit train` take them from here, so that equal options judge alike.
"""

from __future__ import annotations

from pydantic import Field

from radiograph.core import Config, FilePath, ModelRef, RunPath


class EditOptions(Config):
    """Everything but what is done to the parts."""

    model: ModelRef
    """REFERENCE+ADAPTER, or a plain model that has a decomposition."""
    component: tuple[str, ...] = ()
    """Parts, as down.3:17; several by comma. Repeatable."""
    search: RunPath | None = None
    """A run of `edit search`: its selection and its pieces."""
    decomposition: FilePath | None = None
    """Of MODEL; by default that of --search, or the one that fits."""
    examples: FilePath | None = None
    """FILE of {prompt, completion, foil}, or a run of `audit`; by default those of --search."""
    data: tuple[FilePath, ...] = ()
    """Text on which the effect is measured, as world:mixture#200. Repeatable."""
    data_rows: int = Field(default=200, ge=8)
    """Most windows of it."""
    draws: int = Field(default=20, ge=0)
    """Random edits of equal norm."""
    gain: float = Field(default=0.3, ge=0, le=1)
    """Least rise of the probability that is wanted."""
    max_far: float | None = Field(default=None, gt=0)
    """Most far KL, nats; by default the null's 95th percentile, at least 0.01."""
    bake: str | None = None
    """A new folder for a plain copy with the edit in its weights."""
    audit: bool = False
    """Audit the edited model against its reference, as a step."""
    calibration: str = "auto"
    """Of --audit: auto, a run of `calibrate` of the reference, calibration:bundled, or none."""
