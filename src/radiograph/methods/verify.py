"""Is a bundle untouched, and do its conclusions follow from its numbers?

1. re-hash every file against the manifest, and the manifest against its sidecar (and `--seal`, if you kept it)
2. recompute scores and verdicts from what is stored; compare every number in the report with what it points to, and
   write both reports again; what follows from nothing that is stored or at hand is named: taken as written
3. check the transcript's hash chain, and the bundles of steps inside

Exit codes: 0 intact · 2 changed · 3 incomplete (the run was interrupted) · 4 unverifiable (a newer schema,
or rules of another version).
Needs no model, no network and no torch. Writes nothing, so it leaves no bundle of its own.
"""

from __future__ import annotations

from radiograph.core import Config as Base
from radiograph.core import Context, RunPath
from radiograph.evidence import Result

BUNDLE = False


class Config(Base):
    """What to verify."""

    run: RunPath
    """The folder that a run left."""
    seal: str | None = None
    """The seal printed when the run ended (SHA-256 of its manifest); catches a bundle rewritten as a whole."""


def run(config: Config, ctx: Context) -> Result:
    """Check one bundle."""
    return ctx.service("verify")(ctx.locate(config.run), config.seal)
