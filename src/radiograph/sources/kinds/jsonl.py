"""`jsonl:FILE`: a dump of features, a line each: what somebody says of them. Nothing of it is measured here."""

from __future__ import annotations

from dataclasses import replace

from radiograph.core import UserError
from radiograph.sources._given import Dumped
from radiograph.sources._grammar import Reference
from radiograph.sources._parts import Parts
from radiograph.store.foreign import read_dump


def open(reference: Reference, parts: Parts) -> Dumped:
    """Read the dump.

    Raises:
        UserError: no such file, no feature of the model. FormatError: every mistake, with its line.
    """
    if not reference.where:
        raise UserError(f"{reference.text!r} names no file", expected="jsonl:FILE", code="bad_features")
    path = parts.path(reference.where, parts.role)
    dump = read_dump(path, model=parts.options.model, n_layers=parts.options.n_layers)
    if reference.numbers is not None:
        dump = replace(dump, table=dump.table[reference.within(len(dump.table)).tolist()])
    codes = ("claimed_by_source",) if dump.table["claimed_effects"].is_not_null().any() else ()
    return Dumped(reference.named(parts.label(reference.where)), dump, codes)
