"""Write a dictionary in the format of another library, and prove it by reading it back.

1. the writer refuses by name what its format has no place for; nothing is approximated
2. the files are read by our own importer   3. codes and reconstructions of 1,024 rows agree to 1e-6 of the largest
An input bias that a format cannot hold moves into the biases of the encoder, which changes no function; the dictionary
then reads back equal up to rounding and not bit for bit.

Refuses when: the format cannot express the dictionary, or gives something else back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from radiograph.core import Config as Base
from radiograph.core import Context, DictionaryRef
from radiograph.evidence import Result

if TYPE_CHECKING:
    from radiograph.dictionaries import Dictionary


class Config(Base):
    """Which dictionary, in which format."""

    dictionary: DictionaryRef
    """Dictionary folder, or dictionary:bundled."""
    to: str
    """The format, such as saelens; a wrong name lists them all."""


class DictionaryExport(Result):
    """What was written."""

    SCHEMA: ClassVar[str] = "radiograph.dictionary_export/1"

    sha256: str
    format: str
    folder: str
    files: dict[str, int]
    """Bytes of each file."""
    difference: float
    """Largest difference of codes or reconstructions on 1,024 rows, as a share of the largest value."""
    identical: bool
    """What was read back has the same hash."""

    @property
    def headline(self) -> str:
        """Format, size, and how it reads back."""
        back = "bit for bit" if self.identical else f"within {self.difference:.1e}"
        return f"{self.format}: {len(self.files)} files, {sum(self.files.values()):,} bytes, reads back {back}"


def run(config: Config, ctx: Context) -> DictionaryExport:
    """Write and read back."""
    from radiograph.dictionaries.formats import export

    dictionary: Dictionary = ctx.dictionary(config.dictionary)
    with ctx.measure("export"):
        exported = export(dictionary, config.to, ctx.output.folder("export"))
    return DictionaryExport(
        sha256=dictionary.hash,
        format=exported.format,
        folder="export",
        files=exported.files,
        difference=exported.difference,
        identical=exported.identical,
    )
