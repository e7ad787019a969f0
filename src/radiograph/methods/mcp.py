"""Offer every verb as a tool to an agent, over the Model Context Protocol, with a tamper-evident transcript.

1. a session is a folder: `session_open` makes it, every other tool names it, `session_close` seals its transcript
2. a tool is a verb: its configuration is the input schema, its bundle lies in the session's folder, its result comes
   back as structured content with the bundle's path, exit code and headline
3. profiles offer less (`whitebox`, `behavior_only`, `data_only`), so that the worth of access can be measured
4. with `--config` the server is an investigation: its models are the only ones, known by their roles `ref` and `cand`

Paths in arguments are confined to the workspace, links followed. stdout carries the protocol alone over stdio; HTTP
listens on 127.0.0.1 only, and prints its address as JSON. `radiograph verify SESSION` checks a transcript.
Refuses when: the extra `mcp` is not installed; the configuration file names a model outside the workspace.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Context, FilePath

BUNDLE = False
SERVES = True


class Config(Base):
    """What to offer, and over what."""

    profile: Literal["full", "whitebox", "behavior_only", "data_only"] = "full"
    """Which tools there are."""
    transport: Literal["stdio", "http"] = "stdio"
    """How the client is connected."""
    config: FilePath | None = None
    """An investigation: models behind roles, and budgets of a session. YAML, TOML or JSON."""
    port: int = Field(default=0, ge=0, le=65535)
    """For HTTP; 0 takes a free one."""


def run(config: Config, ctx: Context) -> None:
    """Serve until the client leaves."""
    file = ctx.locate(config.config) if config.config is not None else None
    ctx.service("mcp")(config.profile, ctx, transport=config.transport, config=file, port=config.port)
