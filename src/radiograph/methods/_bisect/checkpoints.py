"""The checkpoints of a history, oldest first."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from radiograph.core import Context, UserError

if TYPE_CHECKING:
    from radiograph.methods._bisect.options import Config

_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Checkpoint:
    """One of them: as typed, as it is written into evidence, and where it lies."""

    reference: str
    name: str
    path: Path


def read_checkpoints(config: Config, ctx: Context) -> list[Checkpoint]:
    """Those that were typed, or the entries of a folder in the order of the numbers in their names.

    Raises:
        UserError: both, neither, fewer than two, one twice, or two with the same step.
    """
    if bool(config.checkpoint) == (config.folder is not None):
        raise UserError("which checkpoints?", expected="two or more paths, or --folder DIR", code="no_checkpoints")
    given = _inside(config.folder, config.pattern, ctx) if config.folder is not None else config.checkpoint
    if len(given) < 2:
        raise UserError(
            "a history has two checkpoints or more",
            got=str(len(given)),
            where=None if config.folder is None else f"{config.folder}: {config.pattern}",
            code="few_checkpoints",
        )
    ctx.limits.check("checkpoints", len(given), "the history")
    found = [Checkpoint(one, ctx.label(one), ctx.locate(one)) for one in given]
    seen: dict[Path, str] = {}
    for one in found:
        place = one.path.resolve()
        if place in seen:
            raise UserError(f"{one.name} is given twice", got=f"{seen[place]} and {one.name}", code="duplicate")
        seen[place] = one.name
    return found


def _inside(folder: str, pattern: str, ctx: Context) -> list[str]:
    root = ctx.locate(folder)
    if not root.is_dir():
        raise UserError(f"{folder} is not a folder", where="--folder")
    if "/" in pattern or ".." in pattern:
        raise UserError(f"cannot read {pattern!r}", where="--pattern", expected="a pattern of names, as checkpoint-*")
    keys: dict[tuple[int, ...], str] = {}
    for entry in sorted(root.glob(pattern)):
        key = tuple(int(n) for n in _NUMBER.findall(entry.name))
        if key in keys:
            said = "no number" if not key else f"step {'.'.join(map(str, key))}"
            raise UserError(
                f"{entry.name} and {keys[key]} have the same place in the order",
                where=f"--folder {folder}",
                got=said,
                fix="give the checkpoints by hand, oldest first",
                code="duplicate",
            )
        keys[key] = entry.name
    return [f"{folder.rstrip('/')}/{keys[key]}" for key in sorted(keys)]
