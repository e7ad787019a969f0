"""GET of JSON from a service: retries, deadlines, a bound on the answer, no redirects, and no key in anything kept.

1. the key comes from an environment variable that is named; it goes into one header and nowhere else
2. what may pass is tried again (408, 409, 425, 429, 5xx, a lost connection, a time-out), after a wait that grows, or
   after `Retry-After` where that is longer; a longer one than `longest_wait` ends the call
3. an answer that is no JSON object is a failure like any other
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode, urlsplit, urlunsplit

from radiograph.core import Refusal
from radiograph.store.chat._client import retry_after
from radiograph.store.chat._endpoint import environment_key, redacted, web_address
from radiograph.store.chat._http import TimedOut, Unreachable, get, opener

_PASSING: Final = {408, 409, 425, 429}


class ServiceError(Refusal):
    """A service did not answer: exit 4.

    Codes: `endpoint_unauthorised` (401, 403) · `endpoint_not_found` (404, 405, 3xx) · `endpoint_refused` (other 4xx) ·
    `endpoint_rate_limited` (429) · `endpoint_failed` (5xx, an answer that is no JSON) · `endpoint_unreachable` ·
    `endpoint_timeout`.
    """


@dataclass(frozen=True)
class Service:
    """One service behind an address."""

    name: str
    """For people."""
    base: str
    """Scheme and host, and a path where the service lies below one."""
    key: str | None = field(default=None, repr=False)
    key_env: str | None = None
    key_header: str = "Authorization"
    key_prefix: str = "Bearer "
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 30.0
    retries: int = 5
    first_wait: float = 0.5
    longest_wait: float = 60.0

    @classmethod
    def at(cls, name: str, url: str, key_env: str | None = None, **settings: Any) -> Service:
        """A service by its address, with the key of a variable if one is named.

        Raises:
            UserError: no http(s) address, credentials inside it, or an empty or unset variable.
        """
        parts = web_address(url)
        base = urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
        return cls(name, base, environment_key(key_env), key_env, **settings)

    @property
    def host(self) -> str:
        """Host and port."""
        return urlsplit(self.base).netloc

    def json(self, path: str, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The object at a path.

        Raises:
            ServiceError: no answer, or another one.
        """
        query = f"?{urlencode(parameters)}" if parameters else ""
        url = f"{self.base}{path}{query}"
        luck = random.Random(path)  # noqa: S311 - spreads retries, hides nothing
        for retry in range(self.retries + 1):
            error, after = self._attempt(url)
            if not isinstance(error, ServiceError):
                return error
            own = min(self.longest_wait, self.first_wait * 2.0**retry) * luck.uniform(0.5, 1)
            if after is None or after > self.longest_wait or retry == self.retries:
                raise error
            time.sleep(max(own, after))
        raise AssertionError("the last try returns or raises")

    def _attempt(self, url: str) -> tuple[dict[str, Any] | ServiceError, float | None]:
        """The answer, or what went wrong and after how many seconds it may be tried again (None: never)."""
        secrets = dict(self.headers)
        if self.key:
            secrets[self.key_header] = f"{self.key_prefix}{self.key}"
        try:
            reply = get(opener(url), url, secrets, self.timeout)
        except TimedOut as error:
            return self._error("endpoint_timeout", str(error)), 0.0
        except Unreachable as error:
            return self._error("endpoint_unreachable", "cannot be reached", str(error)), 0.0
        said = reply.body.decode("utf-8", "replace")
        if reply.status == 200:
            try:
                document = json.loads(said)
            except (ValueError, RecursionError):
                document = None
            if isinstance(document, dict):
                return document, None
            return self._error("endpoint_failed", "answered in another shape", said), 0.0
        got = f"{reply.status}: {said}"
        if reply.status in (401, 403):
            fix = f"is the key in {self.key_env} the right one?" if self.key_env else "name its variable: --key-env"
            return self._error("endpoint_unauthorised", "refuses the key", got, fix), None
        if 300 <= reply.status < 400 or reply.status in (404, 405):
            fix = "check the reference; redirects are not followed"
            return self._error("endpoint_not_found", "has nothing there", got, fix), None
        if reply.status in _PASSING or reply.status >= 500 or reply.status < 300:
            code = "endpoint_rate_limited" if reply.status == 429 else "endpoint_failed"
            after = retry_after(reply.headers.get("retry-after")) or 0.0
            return self._error(code, "limits the rate" if reply.status == 429 else "failed", got), after
        return self._error("endpoint_refused", "refuses the question", got), None

    def _error(self, code: str, what: str, got: str | None = None, fix: str | None = None) -> ServiceError:
        shown = None if got is None else redacted(got, self.key)
        return ServiceError(code, f"{self.name} {what}", got=shown, fix=fix)
