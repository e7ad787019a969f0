"""`suite:NAME/PATH`: one file of a listed repository, from the local cache; fetched only where that was typed.

PATH begins with the repository's own name where a suite has several, and goes on to the folder or file of one
dictionary: layer, width and L0 are chosen, never "the first file". Nothing that is not listed is fetched here.
"""

from __future__ import annotations

from pathlib import Path

from radiograph.core import Context, UserError
from radiograph.dictionaries import suites


def located(ctx: Context, text: str) -> Path:
    """The file or folder of a listed dictionary.

    Raises:
        UserError: not listed, not cached, or may not be fetched.
    """
    entry, repository, path = suites.resolve(text)
    cached = suites.cached(repository, path)
    if cached is not None:
        return cached
    command = f"radiograph probe sae-diff suite:{text} … --allow-download"
    if not ctx.downloads:
        raise UserError(
            f"suite:{text} is not in the local cache",
            expected="a cached file, or leave to fetch it",
            fix=f"{command} fetches one file of {repository} ({entry.licence})",
            code="not_cached",
        )
    if entry.status != "confirmed":
        raise UserError(
            f"{repository} is listed but nobody confirmed that it exists",
            expected="a confirmed suite",
            got=f"status {entry.status}",
            fix="try " + ", ".join(entry.instead) if entry.instead else None,
            code="unconfirmed",
        )
    return suites.fetch(entry, repository, path, ctx.progress)
