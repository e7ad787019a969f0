"""Packs by the name of their base: those that ship with probes, those that others install, and bases known by name.

    entry-point group `radiograph.packs`: a function that gives the folder of a pack

Of the bases in `NAMED` no calibrated public weights are known: their packs hold names alone and give no band.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Final

from radiograph.core import UserError, nearest, visible
from radiograph.evidence.probes.probe import PackBase, PackedProbe, ProbePack
from radiograph.store.opened import Opened
from radiograph.store.probes._packs import MANIFEST, read_pack

GROUP: Final = "radiograph.packs"
NAMED: Final = {
    "meta-llama/Llama-3-8B": (4096, ("llama-3-8b", "meta-llama/Meta-Llama-3-8B")),
    "meta-llama/Llama-2-7b-hf": (4096, ("llama-2-7b", "meta-llama/Llama-2-7B")),
    "mistralai/Mistral-7B-v0.1": (4096, ("mistral-7b-v0.1", "mistral-7b")),
    "Qwen/Qwen2-7B": (3584, ("qwen2-7b",)),
    "google/gemma-2-9b": (3584, ("gemma-2-9b",)),
    "google/gemma-2-2b": (2304, ("gemma-2-2b",)),
}
_KINDS = ("defection", "truth", "harm")


@dataclass(frozen=True)
class KnownPack:
    """A pack, and the folder of its files; None for names alone."""

    pack: ProbePack
    folder: Path | None

    @property
    def names(self) -> tuple[str, ...]:
        """What its base is called."""
        return (self.pack.base.id, *self.pack.base.aliases)


def named_pack(base: str, hidden: int, aliases: Sequence[str] = ()) -> ProbePack:
    """A pack of names alone: what could be built, and nothing that measures."""
    said = f"no calibrated weights are known: radiograph probe build {base} --contrast FILE.jsonl"
    return ProbePack(
        base=PackBase(id=base, aliases=tuple(aliases), hidden_size=hidden),
        version=version("radiograph"),
        probes=tuple(
            PackedProbe(name=kind, kind=kind, hidden_dim=hidden, status="schema_only", description=said)
            for kind in _KINDS
        ),
    )


def known_packs(shipped: Path) -> tuple[KnownPack, ...]:
    """Every pack: shipped ones, installed ones, names."""
    return (*_shipped(shipped), *_installed(), *_named())


def find_pack(name: str, packs: Sequence[KnownPack]) -> KnownPack:
    """The pack of a base by its id or a short name, in any case.

    Raises:
        UserError: no such base; the nearest are named.
    """
    wanted = name.casefold()
    for known in packs:
        if wanted in (own.casefold() for own in known.names):
            return known
    names = [own for known in packs for own in known.names]
    close = nearest(name, names)
    raise UserError(
        f"no pack for the base {visible(name, 80)!r}",
        expected=", ".join(known.pack.base.id for known in packs),
        fix=f"did you mean {', '.join(close)}?"
        if close
        else "name a base with --base ID --hidden N, or give --probe FILE",
        code="unknown_base",
    )


@cache
def _shipped(folder: Path) -> tuple[KnownPack, ...]:
    return tuple(_at(path.parent) for path in sorted(folder.glob(f"*/{MANIFEST}")))


@cache
def _installed() -> tuple[KnownPack, ...]:
    return tuple(_at(Path(point.load()())) for point in sorted(entry_points(group=GROUP), key=lambda p: p.name))


@cache
def _named() -> tuple[KnownPack, ...]:
    return tuple(KnownPack(named_pack(base, hidden, aliases), None) for base, (hidden, aliases) in NAMED.items())


def _at(folder: Path) -> KnownPack:
    with Opened.at(folder / MANIFEST) as file:
        return KnownPack(read_pack(file), folder)
