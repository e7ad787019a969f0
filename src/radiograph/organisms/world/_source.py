"""Data source strings: `world:DOMAIN[:SPLIT][#N]`, as in `world:story:test#2000`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from radiograph.core import UserError, nearest
from radiograph.organisms.world._world import DOMAINS, SPLITS, Document, World

_FORM = re.compile(r"world:(?P<domain>[a-z_]+)(?::(?P<split>[a-z]+))?(?:#(?P<count>[0-9]+))?")


@dataclass(frozen=True, slots=True)
class Source:
    """Documents of one domain (or `mixture`) and split; `count` None means that there is no end."""

    domain: str
    split: str = "train"
    count: int | None = None

    def documents(self, seed: int = 0) -> Iterator[Document]:
        """The documents that the string names."""
        return World().documents(self.domain, self.split, seed=seed, count=self.count)

    def __str__(self) -> str:
        return f"world:{self.domain}:{self.split}" + ("" if self.count is None else f"#{self.count}")


def parse_source(text: str) -> Source:
    """Read a source string.

    Raises:
        UserError: another form, an unknown domain or split, or a count of 0.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise UserError("not a source of the small world", expected="world:DOMAIN[:SPLIT][#N]", got=repr(text))
    domains = ["mixture", *DOMAINS]
    if match["domain"] not in domains:
        near = nearest(match["domain"], domains)
        raise UserError(f"unknown domain {match['domain']!r}", expected=", ".join(domains), where=text, fix=str(near))
    split = match["split"] or "train"
    if split not in SPLITS:
        raise UserError(f"unknown split {split!r}", expected=", ".join(SPLITS), where=text)
    count = int(match["count"]) if match["count"] else None
    if count == 0:
        raise UserError("a source needs at least one document", where=text, expected="#N with N >= 1")
    return Source(match["domain"], split, count)
