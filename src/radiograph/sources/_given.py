"""What a source gives: features that a model can be run through, stored records, or what others say of features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from radiograph.core.codec import Codec
from radiograph.core.shapes import Bool, Float

if TYPE_CHECKING:
    import polars

    from radiograph.models import LanguageModel
    from radiograph.store.foreign import Dump
    from radiograph.store.records import Records


@dataclass(frozen=True, eq=False)
class Features:
    """Features of one codec, of all or of some of its numbers. Position i below is the i-th of `numbers`."""

    codec: Codec
    numbers: NDArray[np.int64]
    """Ascending numbers inside the codec."""
    address: Callable[[int], str]
    """Address of a number."""
    write: Callable[[NDArray[np.int64]], Float[np.ndarray, "feature target"]]
    """Write directions of some numbers, float32, in the unit of one code."""
    pool: Literal["max", "last"] = "max"
    """How tokens of a prompt are put together where nobody says: the largest code, the last value of a unit."""
    dictionary_sha256: str | None = None
    labels: Mapping[int, str] = field(default_factory=dict)
    """By number."""

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def ids(self) -> list[str]:
        """Addresses, in order."""
        return [self.address(number) for number in self.numbers.tolist()]

    @property
    def site(self) -> str:
        """What is read; several joined by `+`."""
        return "+".join(self.codec.sites)

    @property
    def directions(self) -> Float[np.ndarray, "feature target"]:
        """Write directions, in order."""
        return self.write(self.numbers)


@dataclass(frozen=True, eq=False)
class Live:
    """Features that a model is run through. Nothing is loaded before `features` is called."""

    kind: ClassVar[str] = "live"

    name: str
    """The source as it may be stored."""
    open: Callable[[LanguageModel], tuple[Features, ...]]
    """The features, one entry a codec.

    Raises: UserError, a site or number that is not there. Refusal: `dictionary_mismatch`, made for another model.
    """
    codes: tuple[str, ...] = ()
    """Codes that every finding on them carries."""
    citation: str | None = None


@dataclass(frozen=True, eq=False)
class Stored:
    """Records that were measured already."""

    kind: ClassVar[str] = "records"

    name: str
    records: Records
    chosen: Bool[np.ndarray, " feature"] | None = None
    """Which of the features of the records; None: all."""
    codes: tuple[str, ...] = ()
    citation: str | None = None
    notes: tuple[str, ...] = ()
    """What the run that measured them said."""


@dataclass(frozen=True, eq=False)
class Dumped:
    """What a source says of features: ids, labels, examples, claims. Nothing of it was measured here."""

    kind: ClassVar[str] = "dump"

    name: str
    dump: Dump
    """`claimed_effects` and the scores under `extra` are those of the source and stay so."""
    codes: tuple[str, ...] = ("claimed_by_source",)
    citation: str | None = None

    @property
    def table(self) -> polars.DataFrame:
        """A line a feature: the columns of `store.foreign.Dump`."""
        return self.dump.table


Given = Live | Stored | Dumped
