"""Does a run give the same results again?

1. read the manifest: verb, configuration, seed, hashes of every input
2. run the verb again into a new bundle; a changed or missing input is an error, not a difference
3. compare output by output: identical bytes, equivalent within the verb's stated tolerance, or different

Exit codes: 0 identical or equivalent · 2 different, with the first differing field · 3 an input changed or is gone.
"""

from __future__ import annotations

from radiograph.core import Config as Base
from radiograph.core import Context, RunPath, UserError
from radiograph.evidence import Result

BUNDLE = False
COMMANDS = ()


class Config(Base):
    """What to run again."""

    run: RunPath
    """The folder that a run left."""
    with_: tuple[str, ...] = ()
    """KEY=VALUE: replace a configuration value, for an input that has moved. Repeatable."""


def run(config: Config, ctx: Context) -> Result:
    """Run again and compare."""
    changes: dict[str, str] = {}
    for pair in config.with_:
        key, equals, value = pair.partition("=")
        if not equals:
            raise UserError(f"--with {pair!r}", expected="KEY=VALUE")
        changes[key] = value
    return ctx.service("replay")(ctx.locate(config.run), ctx, changes)
