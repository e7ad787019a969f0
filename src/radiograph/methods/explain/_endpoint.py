"""Options of what asks a chat endpoint, and the client they stand for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pydantic import Field

from radiograph.core import Config, Context, FilePath, UserError

if TYPE_CHECKING:
    from radiograph.store.chat import ChatClient


class ChatOptions(Config):
    """Which endpoint, and how hard it is asked."""

    endpoint: str | None = None
    """A chat endpoint of the OpenAI shape, as http://localhost:8000/v1."""
    chat_model: str | None = None
    """The model to ask for there."""
    key_env: str | None = None
    """The environment variable that holds the key."""
    concurrency: int = Field(default=4, ge=1, le=64)
    """Questions side by side."""
    timeout: float = Field(default=120.0, gt=0)
    """Seconds for a whole answer."""
    retries: int = Field(default=5, ge=0)
    """Of what may pass: limits of rate, errors of the server, lost connections."""
    per_minute: float | None = Field(default=None, gt=0)
    """Most requests a minute; by default as many as come."""
    max_calls: int | None = Field(default=None, ge=0)
    """Stop cleanly after so many calls; run again to go on, answers are kept."""
    max_cost: float | None = Field(default=None, ge=0)
    """Stop cleanly once so much is spent; needs --prices."""
    prices: FilePath | None = None
    """YAML or JSON: MODEL: {input: 0.15, output: 0.6} per million tokens."""
    offline: bool = False
    """Take answers from the cache alone."""


@contextmanager
def chat_of(config: ChatOptions, ctx: Context) -> Iterator[ChatClient | None]:
    """The client, with the workspace's cache of answers; None where no endpoint is named.

    Raises:
        UserError: half an endpoint, no key where one is named, no price where a cost is limited.
    """
    from radiograph.store.chat import ChatCache, ChatClient, ChatSettings, Endpoint, chat_cache, read_prices

    if config.endpoint is None or config.chat_model is None:
        if config.endpoint is not None or config.chat_model is not None:
            raise UserError("an endpoint needs its address and a model", fix="give --endpoint and --chat-model")
        yield None
        return
    settings = ChatSettings(
        seed=ctx.seed % 2**31,
        timeout=config.timeout,
        retries=config.retries,
        concurrency=config.concurrency,
        per_minute=config.per_minute,
        max_calls=config.max_calls,
        max_cost=config.max_cost,
        prices={} if config.prices is None else read_prices(ctx.path(config.prices, "prices")),
        # Whoever names an endpoint on a command line wants it asked; an agent needs leave.
        offline=config.offline or (ctx.caller == "mcp" and ctx.offline),
    )
    endpoint = Endpoint.at(config.endpoint, config.chat_model, config.key_env)
    with ChatCache.open(chat_cache()) as cache:
        yield ChatClient(endpoint, settings, cache)
