"""Where a chat model is, who may ask it, and how hard it is asked.

The key comes from an environment variable that is named by whoever starts the run; none is taken unasked, so that no
key reaches a server it was not meant for. It stands in memory and in the `Authorization` header alone: `repr` leaves it
out, and what a server says back is searched for it before anybody reads it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import SplitResult, parse_qsl, urlsplit, urlunsplit

from radiograph.core import FormatError, Refusal, UserError, visible

_ROUTE = "/chat/completions"
_KEY_LIKE = re.compile(r"\b(?:sk|pk|hf|gsk|xai|key)[-_][A-Za-z0-9_-]{12,}|Bearer\s+\S+", re.IGNORECASE)
_SHOWN = 300
_SECRET = {"key", "api_key", "api-key", "apikey", "token", "access_token", "secret", "sig", "signature"}
"""Parameters of an address that carry what no manifest may hold."""


class ChatError(Refusal):
    """An endpoint did not answer, or nothing more may be asked: exit 4.

    Codes: `endpoint_unauthorised` (401, 403) · `endpoint_not_found` (404, 405, 3xx) · `endpoint_refused` (other 4xx) ·
    `endpoint_rate_limited` (429) · `endpoint_failed` (5xx, a reply of another shape) · `endpoint_unreachable` ·
    `endpoint_timeout` · `bad_answer` (not the JSON that was asked for, twice) · `budget_spent` · `offline` ·
    `too_many_failed` · `not_asked` (another call stopped the batch).
    """

    @property
    def final(self) -> bool:
        """Whether no other call of this client can fare better."""
        return self.code in _FINAL


_FINAL = {"endpoint_unauthorised", "endpoint_not_found", "budget_spent", "too_many_failed"}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model behind a URL such as `http://localhost:8000/v1`."""

    url: str
    """With `/chat/completions` at its end."""
    model: str
    key: str | None = field(default=None, repr=False)
    key_env: str | None = None

    @classmethod
    def at(cls, url: str, model: str, key_env: str | None = None) -> Self:
        """Read an address, and the key from the variable `key_env` if one is named.

        Raises:
            UserError: no http(s) address, credentials inside it, or an empty or unset variable.
        """
        parts = web_address(url)
        path = parts.path.rstrip("/")
        path = path if path.endswith(_ROUTE) else path + _ROUTE
        return cls(
            urlunsplit((parts.scheme, parts.netloc, path, parts.query, "")), model, environment_key(key_env), key_env
        )

    def redacted(self, text: str, limit: int = _SHOWN) -> str:
        """What a server said, without the key or anything that looks like one, and without control characters."""
        return redacted(text, self.key, limit)


def web_address(url: str) -> SplitResult:
    """The parts of an http(s) address.

    Raises:
        UserError: another kind of address, or one that holds credentials.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(
            "an endpoint is an http or https address", got=visible(url, 80), expected="http://localhost:8000/v1"
        )
    named = {name.casefold() for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    if parts.username or parts.password or named & _SECRET:
        raise UserError(
            "the address of the endpoint holds credentials",
            fix="put the key into an environment variable and name it with --key-env",
        )
    return parts


def redacted(text: str, key: str | None, limit: int = _SHOWN) -> str:
    """A text without a key or anything that looks like one, and without control characters."""
    own = text.replace(key, "[key]") if key else text
    return visible(_KEY_LIKE.sub("[key]", own), limit)


@dataclass(frozen=True, slots=True)
class Price:
    """What a million tokens cost, in the currency of the user's table."""

    input: float
    output: float


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """How calls are made. Waits in seconds."""

    temperature: float = 0.0
    seed: int = 0
    max_tokens: int | None = None
    timeout: float = 120.0
    """From sending a request to the last byte of its answer."""
    retries: int = 5
    """After the first try, for what may pass: 408, 409, 425, 429, 5xx, a lost connection, a time-out."""
    first_wait: float = 0.5
    """Before retry k: uniform in [½, 1] of min(longest_wait, first_wait·2^k), or `Retry-After` if that is longer."""
    longest_wait: float = 60.0
    """A `Retry-After` above it ends the call instead."""
    concurrency: int = 4
    per_minute: float | None = None
    """Requests that are sent in a minute, retries included, evenly spaced; None: as they come."""
    max_calls: int | None = None
    """Requests sent, retries included; cached answers are free."""
    max_cost: float | None = None
    """Nothing is sent once this is spent; calls already under way (at most `concurrency`) may pass it."""
    prices: Mapping[str, Price] = field(default_factory=dict)
    """Model to price; a model without one costs an unknown amount."""
    offline: bool = False
    """Answers come from the cache alone."""

    def __post_init__(self) -> None:
        wrong = [
            name
            for name, fits in (
                ("timeout", self.timeout > 0),
                ("retries", self.retries >= 0),
                ("first_wait", self.first_wait >= 0),
                ("concurrency", 1 <= self.concurrency <= 64),
                ("per_minute", self.per_minute is None or self.per_minute > 0),
                ("max_calls", self.max_calls is None or self.max_calls >= 0),
                ("max_cost", self.max_cost is None or self.max_cost >= 0),
                ("max_tokens", self.max_tokens is None or self.max_tokens >= 1),
            )
            if not fits
        ]
        if wrong:
            raise UserError(f"{', '.join(wrong)}: out of range", got=", ".join(str(getattr(self, n)) for n in wrong))


def read_prices(path: Path) -> dict[str, Price]:
    """A price table, YAML or JSON: `{MODEL: {input: 0.15, output: 0.6}}`, per million tokens.

    Raises:
        UserError: no such file. FormatError: another shape, or a price that is no number ≥ 0.
    """
    from radiograph.store._located import load_yaml

    document, faults = load_yaml(path)
    if not isinstance(document, dict):
        raise FormatError(
            f"{path.name} is no price table", expected="MODEL: {input: 0.15, output: 0.6}", where=path.name
        )
    return {str(name): _price(value, f"{path.name}:{faults.line((str(name),))}") for name, value in document.items()}


def _price(value: Any, where: str) -> Price:
    fits = isinstance(value, dict) and set(value) == {"input", "output"}
    if fits and all(isinstance(n, int | float) and not isinstance(n, bool) and 0 <= n < 1e9 for n in value.values()):
        return Price(float(value["input"]), float(value["output"]))
    raise FormatError(
        "a price is {input, output}, per million tokens",
        where=where,
        got=visible(str(value), 80),
        expected="numbers ≥ 0",
    )


def environment_key(name: str | None) -> str | None:
    """The key in a variable that was named; None where none was.

    Raises:
        UserError: `no_key`, the variable is empty or not set.
    """
    if name is None:
        return None
    value = os.environ.get(name, "").strip()
    if not value or not value.isprintable():
        raise UserError(
            f"no key in the environment variable {name}" if not value else f"{name} holds a key of more than one line",
            fix=f"export {name}=… before the run, or leave --key-env away for an endpoint that asks for none",
            code="no_key",
        )
    return value
