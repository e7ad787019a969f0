"""What a dictionary knows about itself beside its tensors: which model, how trained, how good."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import field_validator

from radiograph.evidence import GuardCheck, Record


class ModelIdentity(Record):
    """The model whose activations the dictionary was trained on."""

    reference: str
    """As the user wrote it, without the folders of an absolute path: for people. Identity is the hash."""
    tensors_sha256: str | None = None
    revision: str | None = None

    @field_validator("reference")
    @classmethod
    def _no_absolute_path(cls, value: str) -> str:
        return Path(value).name if Path(value).is_absolute() else value


class Quality(Record):
    """Reconstruction over a stated number of rows. Sums over the whole set, in float64."""

    n_rows: int
    fvu: float
    """Σ‖x − x̂‖² / Σ‖x − x̄‖²: 0 perfect, 1 no better than the mean."""
    l0: float
    """Mean number of active features per row."""
    dead: int
    """Features that fired on no row; an upper bound of such a feature's density is 3 / n_rows (95 %)."""
    dense: int
    """Features that fired on more than a tenth of the rows."""
    variance: float
    """Mean of ‖x − x̄‖², in squared units of the site: tells a rescaled input from the one trained on."""
    delta_ce: float | None = None
    """Cross-entropy with the reconstruction spliced in minus clean, nats per token. None: not measured."""
    ce_recovered_zero: float | None = None
    ce_recovered_mean: float | None = None

    @property
    def explained_variance(self) -> float:
        """1 − FVU."""
        return 1 - self.fvu


class Training(Record):
    """How the dictionary was made, enough to make it again from the same rows."""

    preset: str
    activation: str
    """That of training: `batchtopk` ends as `jumprelu`."""
    seed: int
    rows: int
    steps: int
    batch: int
    learning_rate: float
    scales: tuple[float, ...]
    """Factor a on each source that is read, during training; already folded into the tensors."""
    target_scales: tuple[float, ...] = ()
    """The same for what is written, where that is another site."""
    prefixes: tuple[int, ...] = ()
    """Matryoshka widths."""
    data_sha256: str | None = None
    """Of the index of the activations."""


class Provenance(Record):
    """Where an imported dictionary comes from, what was done to it, and what was checked."""

    format: str
    """The foreign format."""
    revision: str | None = None
    """The commit of the hub repository."""
    files: dict[str, str]
    """SHA-256 of every file that was read."""
    folded: tuple[str, ...] = ()
    """What was folded into the tensors, and what the reader assumed."""
    checks: tuple[GuardCheck, ...] = ()


class Metadata(Record):
    """Everything in `dictionary.json` that decides no output."""

    model: ModelIdentity | None = None
    """The model in the role of reference: the only one but for a crosscoder over models."""
    candidates: tuple[ModelIdentity, ...] = ()
    """The models in the roles candidate, candidate2, …, in this order."""
    tokenizer_sha256: str | None = None
    bos: Literal["skip", "keep"] | None = None
    """Whether rows of the BOS token were trained on. They are always fed to the model."""
    training: Training | None = None
    quality: Quality | None = None
    """On held-out rows of the data that it was trained on."""
    neutral: Quality | None = None
    """On the standard neutral texts: what the guard measures again before the dictionary may speak."""
    source: str | None = None
    licence: str | None = None
    check: Literal["native", "checked", "doubtful", "unchecked"] = "unchecked"
    """`native`: trained by us on rows of the stated model. The others come from an import."""
    imported: Provenance | None = None
