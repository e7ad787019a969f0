"""The probes of one base as a pack: written, listed, checked against their numbers, or fetched.

1. BASE: a base that has a pack, or any --base ID with --hidden N: then names alone, which give no band. With --probe
   FILE the pack is made of probes that were built. It is written as pack.json, the files of its probes beside it
2. --list: every base that is known, what of it is real, and the command that makes the rest
3. --check DIR: caps first, then hashes; every probe is read, and AUROC, rates and status are derived again from its
   test scores; dictionaries are held to their entries; exit 4 where a part is not here. With --model the texts of the
   card run through it, and the scores have to be those in the file (to .001 of their standard deviation)
4. --fetch BASE: files of the pack's source {repo, revision, path}, only with --allow-download; size and SHA-256 are
   compared before anything is used
Source: the caps of `store.probes`. Units: bytes, shares. Refuses when: over a cap, an unknown key, a control character,
a path where a name belongs (exit 3); exit 2 when a file is not what its pack says.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Context, FilePath, FolderPath, ModelRef, UserError
from radiograph.core.config import Positional
from radiograph.evidence.probes.probe import PackReport

RULES = {"pack": 2}


class Config(Base):
    """Which pack, and what to do with it."""

    target: Annotated[str | None, Positional()] = None
    """A base by id or short name."""
    list_: bool = False
    """List the bases that are known."""
    check: FolderPath | None = None
    """Check the pack in a folder."""
    model: ModelRef | None = None
    """With --check: the model of the pack, to run its probes again."""
    fetch: str | None = None
    """Fetch the files of a base's pack from where its manifest says."""
    allow_download: bool = False
    """Let --fetch use the network."""
    base: str | None = None
    """A base that has no pack: its id."""
    hidden: int | None = Field(default=None, ge=1, le=65_536)
    """Width of that base."""
    probe: tuple[FilePath, ...] = ()
    """Probes that were built, for a pack of your own."""
    dictionary: str | None = None
    """A dictionary that belongs to the pack, by reference."""
    schema_: Literal["radiograph", "soup"] = "radiograph"
    """soup: --output and --json have the keys of soup-cli."""


def run(config: Config, ctx: Context) -> PackReport:
    """Do the one thing that is asked."""
    from radiograph.methods._probe import packs

    asked = [config.list_, config.check is not None, config.fetch is not None, bool(config.target or config.base)]
    if sum(asked) != 1:
        raise UserError("one of BASE, --base, --list, --check and --fetch", got=f"{sum(asked)} of them")
    if config.model is not None and config.check is None:
        raise UserError("--model runs the probes of a pack that is checked", expected="--check DIR", where="--model")
    if config.list_:
        return packs.listed(ctx)
    if config.check is not None:
        folder = ctx.path(config.check, "pack")
        packs.kept(folder, ctx)
        return packs.checked(folder, ctx.label(config.check), ctx, config.model)
    if config.fetch is not None:
        return packs.fetched(config.fetch, ctx, allowed=config.allow_download)
    return packs.written(config.target, config.base, config.hidden, config.probe, config.dictionary, ctx)


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """Whether the packs that lie in the bundle give what is said of them."""
    from radiograph.store import derived

    return derived(lambda: _unlike(PackReport.read(result), folder))


def _unlike(report: PackReport, folder: Path) -> list[str]:
    from radiograph.methods._probe import packs
    from radiograph.store import Bundle

    config = Bundle(folder).manifest.config
    did = "listed" if config["list_"] else "checked" if config["check"] else "fetched" if config["fetch"] else "written"
    if report.did != did:
        return [f"/did is {report.did}, and the pack was {did}"]
    return packs.unlike(report, folder, config["model"])


def as_written(result: dict[str, Any], folder: Path) -> list[str]:
    """What rests on files that are not kept, or on a model."""
    from radiograph.methods._probe import packs

    return packs.as_written(PackReport.read(result), folder)


def soup(result: PackReport) -> dict[str, Any]:
    """The keys of soup-cli."""
    from radiograph.methods._probe.packs import soup_of

    return soup_of(result)
