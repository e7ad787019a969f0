"""What `dictionary train` leaves as evidence."""

from __future__ import annotations

from typing import ClassVar, Literal

from radiograph.core import ExitCode
from radiograph.evidence import Estimate, Record, Result


class TrainedModel(Record):
    """A model whose activations took part."""

    role: str
    reference: str
    tensors_sha256: str | None


class TargetQuality(Record):
    """How well one source is rebuilt."""

    source: str
    width: int
    fvu: float


class CautionRecord(Record):
    """Something that a user of the dictionary should know."""

    code: str
    text: str


class CurvePoint(Record):
    """A logged step."""

    step: int
    rows: int
    loss: float
    l0: float
    dead: int
    fvu: float | None = None
    """On validation rows, as the next; None between validations."""
    validation_l0: float | None = None


class Sibling(Record):
    """A dictionary of the same run with another seed."""

    seed: int
    folder: str
    sha256: str
    fvu: float
    l0: float
    n: int
    """Features compared."""
    shared: float
    """Share of the features that both have: decoder and encoder cosine above 0.7 after pairing."""
    shared_null: float
    """The same for random directions with the decoder's covariance."""


class DictionaryTraining(Result):
    """What was trained on what, and how good it is."""

    SCHEMA: ClassVar[str] = "radiograph.dictionary_training/1"

    kind: Literal["sae", "transcoder", "crosscoder"]
    activation: str
    """In training: batchtopk ends as jumprelu."""
    models: tuple[TrainedModel, ...]
    sites: tuple[str, ...]
    """Read, as the dictionary names them."""
    size: int
    width: int
    skip: bool = False
    prefixes: tuple[int, ...] = ()
    active: float | None
    """The L0 asked for: k, or L0*. None where λ alone decides it."""
    sparsity: float | None
    """λ. None where k alone decides."""
    preset: str
    seed: int
    begun_with: str | None = None
    """Hash of the dictionary that training went on from."""
    precision: str
    workers: int
    training_rows: int
    """Different rows in the training split."""
    rows: int
    """Rows trained on, repeats included."""
    steps: int
    batch: int
    learning_rate: float
    dead_after: int
    """Silent rows of training after which a feature is dead."""
    index_sha256: str
    """Of the index of the activations."""
    split_salt: int | None = None
    sha256: str | None
    """Of the dictionary. None: it was worse than the mean, and was not kept."""
    fvu: float
    """On validation rows, as everything below."""
    fvu_random: float | None
    """Of a random dictionary of the same size and L0."""
    l0: float
    dead: int
    """Features that fired on no row; the density of such a feature is below 3 / n (95 %)."""
    dense: int
    """Features that fired on more than a tenth of the rows."""
    n: int
    targets: tuple[TargetQuality, ...]
    ce_recovered_zero: Estimate | None = None
    ce_recovered_mean: Estimate | None = None
    delta_ce: float | None = None
    ce_not_measured: str | None = None
    """Why the three above are missing."""
    cautions: tuple[CautionRecord, ...] = ()
    siblings: tuple[Sibling, ...] = ()
    curve: tuple[CurvePoint, ...]

    @property
    def headline(self) -> str:
        """Size and quality in one line."""
        where = ", ".join(self.sites) if len(self.sites) < 4 else f"{len(self.sites)} sources"
        if self.sha256 is None:
            return f"not kept: {self.size} features at {where} reconstruct worse than the mean (FVU {self.fvu:.3f})"
        null = "" if self.fvu_random is None else f" (random {self.fvu_random:.3f})"
        found = self.ce_recovered_mean
        ce = "" if found is None else f", CE recovered {found.value:.3f}"
        if found is not None and found.null is not None:
            ce += f" (random {found.null:.3f})"
        return f"{self.size} features at {where}: FVU {self.fvu:.3f}{null}, L0 {self.l0:.1f}{ce}, {self.dead} dead"

    @property
    def lines(self) -> tuple[str, ...]:
        """Cautions, for the terminal."""
        return tuple(f"caution: {caution.text}" for caution in self.cautions)

    @property
    def exit_code(self) -> ExitCode:
        """2 if it was worse than the mean."""
        return ExitCode.GATE_FAILED if self.sha256 is None else ExitCode.PASS
