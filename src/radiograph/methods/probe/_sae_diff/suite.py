"""`suite:NAME/PATH`: one file of a listed repository, from the local cache; fetched only where that was typed.

PATH begins with the repository's own name where a suite has several, and goes on to the folder or file of one
dictionary: layer, width and L0 are chosen, never "the first file". Nothing that is not listed is fetched here.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from radiograph.core import Context, UserError
from radiograph.dictionaries import suites


def located(ctx: Context, text: str, sides: tuple[str, str]) -> Path:
    """The file or folder of a listed dictionary; `sides` are those that it is asked for.

    Raises:
        UserError: not listed, not confirmed, not cached, or may not be fetched.
    """
    entry, repository, path = suites.resolve(text)
    cached = suites.cached(repository, path)
    if cached is not None:
        return cached
    if entry.status != "confirmed":
        raise UserError(
            f"{repository} is listed but nobody confirmed that it exists",
            expected="a confirmed suite",
            got=f"status {entry.status}",
            fix="try " + ", ".join(entry.instead) if entry.instead else None,
            code="unconfirmed",
        )
    if not ctx.downloads:
        command = shlex.join(["radiograph", "probe", "sae-diff", f"suite:{text}", *sides, "--allow-download"])
        raise UserError(
            f"suite:{text} is not in the local cache",
            expected="a cached file, or leave to fetch it",
            fix=f"{command} fetches one file of {repository} ({entry.licence})",
            code="not_cached",
        )
    return suites.fetch(entry, repository, path, ctx.progress)
