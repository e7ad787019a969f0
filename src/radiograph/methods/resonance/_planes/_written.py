"""What the conditions of some rows write at the very site that was read: there a result is a tautology.

1. a capture says which columns of which site each write of a condition reached; where a file came without, the names of
   its conditions are read as writes, ranges of sites taken apart
2. columns are taken out of rows and planes. A direction is not among the files, so that it cannot be taken out: unless
   it lies in some columns alone, results are marked
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from radiograph.core import Site, UserError, expand

if TYPE_CHECKING:
    from radiograph.store.planes import VectorRows

_WRITE = re.compile(r"\s*([^\[\]~:\s]+)(?:\[(?:(\d+)(?::(\d+))?|(h\d+))\])?(~[^:@]+)?:[a-z-]+(?:[:@].*)?")


@dataclass(frozen=True)
class Written:
    """Columns of the site of the rows, and whether it is written along directions that reach through all of it."""

    columns: tuple[int, ...] = ()
    along: bool = False


def written(*sides: VectorRows) -> Written:
    """What the conditions of these rows write where the rows were read."""
    columns: set[int] = set()
    along = False
    for rows in sides:
        width = rows.values.shape[1]
        for condition in dict.fromkeys(map(str, rows.columns["condition"])):
            for first, last, direction in _here(rows, condition):
                whole = first <= 0 and last >= width
                along |= direction and whole
                columns |= set() if direction and whole else set(range(max(first, 0), min(last, width)))
    return Written(tuple(sorted(columns)), along)


def _here(rows: VectorRows, condition: str) -> Iterator[tuple[int, int, bool]]:
    """First column, one past the last, and whether along a direction, of each write that reaches the rows' site."""
    width = rows.values.shape[1]
    site = _site(rows.site)
    if site is None:
        return
    whole, shift = Site(site.kind, site.layer), (site.head or 0) * width
    if condition in rows.writes:
        for own in rows.writes[condition]:
            if own.site == str(whole):
                yield own.first - shift, own.last - shift, own.direction
        return
    for part in condition.split(";"):
        match = _WRITE.fullmatch(part)
        if match is None:
            continue
        address, low, high, head, direction = match.groups()
        for target in _targets(f"{address}.{head}" if head else address, site):
            if (target.kind, target.layer) != (whole.kind, whole.layer):
                continue
            if target.head is not None and site.head is not None and target.head != site.head:
                continue
            # A head beside the whole site is some of its columns, but its width is the model's to know.
            first, last = (0, width) if low is None else (int(low), int(high or int(low) + 1))
            yield first, last, direction is not None


def _targets(address: str, read: Site) -> list[Site]:
    """The sites of an address; a layer that is counted from the end may be any."""
    if re.search(r"\.-\d+$", address):
        return [read] if address.rpartition(".")[0] == read.kind else []
    layers = [read.layer or 0, *(int(number) for number in re.findall(r"\d+", address))]
    try:
        return expand(address, max(layers) + 1)
    except UserError:
        return []


def _site(address: str | None) -> Site | None:
    try:
        return None if address is None else Site.parse(address)
    except UserError:
        return None
