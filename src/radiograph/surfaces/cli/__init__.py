"""The command line."""

from __future__ import annotations

import gc

GARBAGE = (50_000, 20, 20)
"""Objects and collections between two passes over what is alive: a command makes many records at once and drops them
with its process, and a twentieth of its time went into looking through them."""


def main(arguments: list[str] | None = None) -> None:
    """Entry point: run, translate errors into exit codes, exit."""
    gc.set_threshold(*GARBAGE)
    from radiograph.surfaces.cli._main import run

    raise SystemExit(run(arguments))
