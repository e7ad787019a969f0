"""What a card shows of one feature beside its findings. Display only: no statistic reads a card."""

from __future__ import annotations

from typing import Literal

from radiograph.evidence._record import Record
from radiograph.evidence.criterion import RowKind
from radiograph.evidence.features._finding import Interval

Role = Literal["top", "decile", "near_miss_fires", "near_miss_silent"]


class Class(Record):
    """Rows of one kind."""

    kind: RowKind
    rows: int
    active: int
    mean_active: float | None = None


class Bar(Record):
    """A bin of values, as counts of positives, near misses, negatives."""

    low: float
    high: float
    counts: tuple[int, int, int]


class Histogram(Record):
    """Values that are not zero, in bins of equal ratio; of a feature with negative values, of equal width."""

    bars: tuple[Bar, ...] = ()
    zeros: tuple[int, int, int]
    """Rows on which it is silent, by kind."""
    logarithmic: bool


class Context(Record):
    """A row with what stands in it."""

    role: Role
    prompt_id: str
    kind: RowKind
    half: Literal["discover", "confirm"] | None = None
    value: float
    decile: int | None = None
    """1 to 10: of its values that are not zero."""
    tokens: tuple[str, ...] = ()
    """Texts of tokens, or the whole text; empty where the source gives none."""
    values: tuple[float, ...] = ()
    """Of each token; empty where only the row was measured."""
    peak: int | None = None
    """Which token the value is of, where it is of one."""
    before: bool = False
    """Whether text before was left out."""
    after: bool = False


class Moved(Record):
    """A token whose logit the write direction raises or lowers, read from the weights: no model was changed."""

    token: str
    change: float


class Neighbour(Record):
    """Another feature that resembles this one."""

    feature: str
    value: float
    label: str | None = None


class Explained(Record):
    """What a source calls the feature."""

    text: str
    score: float | None = None
    author: str | None = None
    source: str


class Band(Record):
    """What controls do at the same doses."""

    low: float
    high: float
    controls: int


class DosePoint(Record):
    """The mean effect at one dose."""

    dose: float
    effect: float
    interval: Interval | None = None
    groups: int
    band: Band | None = None


class Response(Record):
    """How an outcome moves with the dose."""

    outcome: str
    unit: str
    dose_unit: str
    points: tuple[DosePoint, ...]


class Card(Record):
    """One feature."""

    feature: str
    number: int
    """Of its row in the tables."""
    site: str | None = None
    dictionary_sha256: str | None = None
    source: str
    classes: tuple[Class, ...] = ()
    histogram: Histogram | None = None
    contexts: tuple[Context, ...] = ()
    raised: tuple[Moved, ...] = ()
    lowered: tuple[Moved, ...] = ()
    coactive: tuple[Neighbour, ...] = ()
    """By φ of firing, over the rows of the study."""
    similar: tuple[Neighbour, ...] = ()
    """By cosine of write directions."""
    response: Response | None = None
    explanation: Explained | None = None
