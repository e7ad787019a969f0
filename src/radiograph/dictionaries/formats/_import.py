"""From a foreign source to dictionaries of ours, one after the other.

1. the format is named or detected   2. its reader gives each dictionary as stored   3. scales and norms are folded
4. the checks of `_checks`   5. identity and provenance are written into the metadata
A set (several layers, a published collection) is one dictionary a folder, and `set.json` beside them. What fails a
check is reported and never saved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Final

from radiograph.core import FormatError
from radiograph.core import Source as Core
from radiograph.dictionaries._dictionary import Dictionary
from radiograph.dictionaries._files import save
from radiograph.dictionaries._metadata import Metadata, ModelIdentity, Provenance, Quality
from radiograph.dictionaries.formats._checks import Judgement, RowsOf, WidthOf, judge
from radiograph.dictionaries.formats._find import detect, named
from radiograph.dictionaries.formats._fold import fold
from radiograph.dictionaries.formats._imported import Imported, Options, Recorded
from radiograph.dictionaries.formats._source import Source
from radiograph.evidence import Document, Record, pretty_json

SET: Final = "set.json"


@dataclass(frozen=True)
class Known:
    """The model that an import is checked against, as its caller loaded it."""

    model: ModelIdentity
    tokenizer_sha256: str | None
    width_of: WidthOf
    rows_of: RowsOf
    candidates: tuple[ModelIdentity, ...] = ()
    neutral: Callable[[Dictionary], Quality | None] | None = None
    """Quality on the standard neutral texts, for the guard of later audits."""


@dataclass(frozen=True)
class Finished:
    """One imported dictionary, with what is known about it in its metadata."""

    name: str
    dictionary: Dictionary
    judgement: Judgement
    folded: tuple[str, ...]
    recorded: Recorded | None


class SetEntry(Record):
    """One dictionary of a set."""

    folder: str
    sha256: str
    sites: tuple[str, ...]
    target: str | None
    check: str


class DictionarySet(Document):
    """`set.json`: dictionaries that belong together."""

    SCHEMA: ClassVar[str] = "radiograph.dictionary_set/1"

    source: str
    format: str
    revision: str | None
    dictionaries: tuple[SetEntry, ...]


@dataclass(frozen=True)
class Origin:
    """Where a source was found, for people and for the record."""

    label: str
    revision: str | None = None
    licence: str | None = None


def import_source(
    source: Source,
    options: Options | None = None,
    *,
    origin: Origin | None = None,
    format: str | None = None,
    known: Known | None = None,
) -> Iterator[Finished]:
    """Every dictionary of a source; the account of its files is closed after the last one.

    Raises:
        UserError: no format of that name, or two that fit. FormatError: none fits, code in a file, a tensor or key that
        nobody knows, shapes or values that do not fit. Refusal: something that an option would settle.
    """
    options, origin = options or Options(), origin or Origin(source.root.name)
    format = format or ("generic" if options.map else None)
    module = detect(source) if format is None else named(format)
    number = 0
    seen: set[str] = set()
    for imported in module.read(source, options):
        if options.layer is not None and not _of_layer(imported.dictionary, options.layer):
            continue
        number += 1
        yield _finish(imported, source, module.NAME, origin, known, seen)
    source.close()
    if not number:
        layer = "" if options.layer is None else f" of layer {options.layer}"
        raise FormatError(f"no dictionary{layer} in {origin.label}", where=", ".join(source.names[:12]))


def store(finished: Finished, folder: Path, place: str) -> SetEntry:
    """Save one dictionary into `folder/place`, or into `folder` itself where `place` is empty."""
    save(finished.dictionary, folder / place)
    dictionary = finished.dictionary
    return SetEntry(
        folder=place,
        sha256=dictionary.hash,
        sites=dictionary.sites,
        target=dictionary.target,
        check=dictionary.metadata.check,
    )


def write_set(folder: Path, entries: Sequence[SetEntry], origin: Origin, format: str) -> None:
    """`set.json` beside the folders of a set."""
    listed = DictionarySet(source=origin.label, format=format, revision=origin.revision, dictionaries=tuple(entries))
    (folder / SET).write_text(pretty_json(listed), encoding="utf-8")


def _of_layer(dictionary: Dictionary, layer: int) -> bool:
    return any(Core.parse(address).site.layer == layer for address in dictionary.sites)


def _finish(
    imported: Imported, source: Source, format: str, origin: Origin, known: Known | None, seen: set[str]
) -> Finished:
    dictionary, notes = fold(imported.dictionary, imported.input_scales, imported.target_scales)
    files, accounted = source.settle(seen)
    judgement = judge(
        dictionary,
        files=files,
        accounted=accounted,
        recorded=imported.recorded,
        others={name: fold(d, imported.input_scales, imported.target_scales)[0] for name, d in imported.rivals.items()},
        width_of=known.width_of if known else None,
        rows_of=known.rows_of if known else None,
    )
    folded = (*imported.notes, *notes)
    provenance = Provenance(
        format=format, revision=origin.revision, files=files, folded=folded, checks=judgement.checks
    )
    state = judgement.state
    neutral = known.neutral(dictionary) if known and known.neutral and state != "mismatch" else None
    metadata = Metadata(
        model=known.model if known else ModelIdentity(reference=imported.model) if imported.model else None,
        candidates=known.candidates if known else (),
        tokenizer_sha256=known.tokenizer_sha256 if known else None,
        bos=imported.bos,
        quality=judgement.quality,
        neutral=neutral,
        source=origin.label,
        licence=origin.licence or imported.licence,
        check="doubtful" if state == "mismatch" else state,
        imported=provenance,
    )
    return Finished(imported.name, replace(dictionary, metadata=metadata), judgement, folded, imported.recorded)
