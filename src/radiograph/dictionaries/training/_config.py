"""What a training run is told, what it must not be told, and the presets. Needs no torch.

An option that the chosen kind or activation would ignore is an error, and so is every size that does not fit; both are
found before any work, from the widths alone (`check`).
"""

from __future__ import annotations

from typing import Final, Literal, get_args

from pydantic import Field

from radiograph.core import UserError, nearest
from radiograph.evidence import Record

DEAD_AFTER: Final = (65_536, 10_000_000)
REFERENCE_SIZE: Final = 16_384
ROWS_PER_FEATURE: Final = 10
"""Fewer training rows than that for each feature: too few to place them."""
SPARSITY: Final = {"jumprelu": 1.0, "relu": 0.1, "gated": 1.0}
DEFAULT_K: Final = 16

Kind = Literal["sae", "transcoder", "crosscoder"]
Trainable = Literal["topk", "batchtopk", "jumprelu", "relu", "gated"]
Precision = Literal["fp32", "fp64"]
BY_K: Final = ("topk", "batchtopk")
BY_L0: Final = ("jumprelu",)
BY_SPARSITY: Final = ("jumprelu", "relu", "gated")
BY_RESAMPLING: Final = ("relu", "gated")


class TrainingConfig(Record):
    """One dictionary, one seed."""

    preset: str = "custom"
    kind: Kind = "sae"
    activation: Trainable = "topk"
    input: str | None = None
    """Source that an autoencoder or transcoder reads. None: the only one there is."""
    target: str | None = None
    """Source that a transcoder writes."""
    sources: tuple[str, ...] = ()
    """Sources of a crosscoder, read and written. (): all there are."""
    skip: bool = False
    """A dense path from input to target beside a transcoder's features, zero at the start."""
    matryoshka: tuple[int, ...] = ()
    """Widths at which the first features must reconstruct alone, the last F. (): off."""
    size: int | None = Field(default=None, ge=1)
    """F. None: `expansion` × width."""
    expansion: int = Field(default=4, ge=1)
    k: int | None = Field(default=None, ge=1)
    """topk: features that may fire on a row. batchtopk: their mean over a batch. None: 16."""
    l0: float | None = Field(default=None, gt=0)
    """jumprelu: the mean number of active features L0* that λ (L0 / L0* − 1)² holds. None: 16."""
    sparsity: float | None = Field(default=None, gt=0)
    """λ of jumprelu, relu and gated. None: 1, 0.1, 1."""
    batch: int = Field(default=1024, ge=1)
    """Rows of a step, all workers together."""
    tokens: int | None = Field(default=1_000_000, ge=1)
    """Rows drawn in training, repeats included, rounded up to whole batches. None: every training row once."""
    learning_rate: float | None = Field(default=None, gt=0)
    """None: 2e-4 · √(16384 / F)."""
    dead_after: int | None = Field(default=None, ge=1)
    """Rows without firing after which a feature is dead. None: 5 % of the run, within 65,536 and 10 million."""
    auxiliary: float = Field(default=1 / 32, ge=0)
    """topk, batchtopk: weight of the loss in which dead features reconstruct what the others leave over."""
    resample: bool = False
    """relu, gated: at 20, 40 and 60 % of the run dead features start again from rows with a large error."""
    k_anneal: float = Field(default=0.0, ge=0, lt=1)
    """topk, batchtopk: share of the run over which k falls from four times its value."""
    ema: float = Field(default=0.0, ge=0, lt=1)
    """Decay of the running average of the weights that is kept in the end. 0: the last weights."""
    clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient."""
    precision: Precision = "fp32"
    seed: int = 0

    @property
    def active(self) -> float:
        """The L0 asked for; 0 where λ alone decides it."""
        if self.activation in BY_K:
            return float(self.k or DEFAULT_K)
        return float(self.l0 or DEFAULT_K) if self.activation in BY_L0 else 0.0

    @property
    def strength(self) -> float:
        """λ; 0 where there is none."""
        return self.sparsity or SPARSITY.get(self.activation, 0.0)

    def features(self, width: int) -> int:
        """F at a site of `width`."""
        return self.size or self.expansion * width

    def rate(self, size: int) -> float:
        """Peak learning rate for `size` features."""
        return self.learning_rate or 2e-4 * (REFERENCE_SIZE / size) ** 0.5

    def steps(self, rows: int) -> int:
        """Number of batches, where `rows` stand in the training split."""
        return -(-(self.tokens or rows) // self.batch)

    def patience(self, rows: int) -> int:
        """Rows without firing after which a feature is dead, where `rows` stand in the training split."""
        low, high = DEAD_AFTER
        return self.dead_after or min(max((self.tokens or rows) // 20, low), high)

    def check(self, width: int) -> None:
        """Refuse, before any work, what does not fit together at sources of `width` (of a crosscoder one of them).

        Raises:
            UserError: an option that nothing reads; k, size or prefix widths that do not fit.
        """
        self._unread("skip", self.skip, self.kind == "transcoder", "--kind transcoder")
        self._unread("target", self.target, self.kind == "transcoder", "--kind transcoder")
        self._unread("sources", self.sources, self.kind == "crosscoder", "--kind crosscoder")
        self._unread("input", self.input, self.kind != "crosscoder", "--sources")
        self._unread("k", self.k, self.activation in BY_K, "--l0" if self.activation in BY_L0 else "--sparsity")
        self._unread("l0", self.l0, self.activation in BY_L0, "--k" if self.activation in BY_K else "--sparsity")
        self._unread("sparsity", self.sparsity, self.activation in BY_SPARSITY, "--k")
        self._unread("resample", self.resample, self.activation in BY_RESAMPLING, "--auxiliary")
        self._unread("k_anneal", self.k_anneal, self.activation in BY_K, "--sparsity, whose ramp is built in")
        size = self.features(width)
        if size < 2:
            raise UserError("a dictionary has at least two features", got=f"size {size}", where="--size")
        if self.active > size:
            got = f"{'k' if self.activation in BY_K else 'l0'} = {self.active:g}"
            raise UserError("more active features than features", expected=f"at most {size}", got=got)
        widths = self.matryoshka
        if widths and (sorted(set(widths)) != list(widths) or widths[0] < 1 or widths[-1] != size):
            raise UserError(
                "matryoshka widths",
                expected=f"increasing, the last {size} (the features there are)",
                got=", ".join(map(str, widths)),
                where="--matryoshka",
            )

    def _unread(self, name: str, value: object, read: bool, instead: str) -> None:
        if value and not read:
            raise UserError(
                f"--{name.replace('_', '-')} means nothing for {self.kind} dictionaries with {self.activation}",
                fix=f"leave it out, or use {instead}",
                code="unread_option",
            )


PRESETS: Final[dict[str, TrainingConfig]] = {
    "minimal": TrainingConfig(preset="minimal", expansion=4, batch=1024, learning_rate=1e-3, tokens=1_000_000),
    "production": TrainingConfig(
        preset="production", activation="batchtopk", expansion=16, k=32, batch=4096, tokens=None, ema=0.999
    ),
}


def preset(name: str, **changes: object) -> TrainingConfig:
    """A preset with some fields changed; its k becomes the L0* of an activation that has one, and is dropped otherwise.

    Raises:
        UserError: unknown preset.
    """
    if name not in PRESETS:
        close = nearest(name, list(PRESETS)) or list(PRESETS)
        raise UserError(f"unknown preset {name!r}", expected=", ".join(PRESETS), fix=f"did you mean {close[0]}?")
    values = PRESETS[name].model_dump() | changes
    if values["activation"] not in BY_K and "k" not in changes:
        k, values["k"] = values["k"], None
        if values["activation"] in BY_L0 and "l0" not in changes:
            values["l0"] = k
    return TrainingConfig.model_validate(values)


assert set(BY_K) | set(BY_SPARSITY) == set(get_args(Trainable))
