"""Ask a chat endpoint, and never pay twice for one answer.

1. a question whose answer is in the cache is answered from there; offline it is answered from there or not at all
2. else a budget is checked, and one POST sent: model, messages, temperature, seed, max_tokens
3. 408, 409, 425, 429, 5xx, a reply of another shape, a lost connection and a time-out are tried again: after
   min(longest_wait, first_wait·2^k) · U[½, 1], or `Retry-After` if that is longer. A 429 holds back all threads
4. the text is kept, then read; what cannot be read is asked once more with the answer and its error quoted, and counts
   as failed when that cannot be read either. Two such texts from the cache are no answer: the question is put anew,
   unless nothing may be asked
5. a batch runs `concurrency` questions side by side and returns in the order they were given. It ends early, with what
   was answered, when the key or the address is wrong, the budget is spent, or more than `tolerated` of it have failed
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, Final, TypeVar

from radiograph.core import Task, UserError
from radiograph.store.chat._asked import Answer, Ask, Batch, Failure, Later, Message, Usage
from radiograph.store.chat._cache import ChatCache, question_sha256
from radiograph.store.chat._endpoint import ChatError, ChatSettings, Endpoint
from radiograph.store.chat._http import Reply, TimedOut, Unreachable, opener, post

T = TypeVar("T")
_TRANSIENT: Final = {408, 409, 425, 429}
_REPAIR: Final = "Your last answer could not be read: {error}. Answer again, with the JSON object alone."


@dataclass
class _Counts:
    calls: int = 0
    cached: int = 0
    failed: int = 0
    repaired: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    uncounted: int = 0
    """Answers that did not say how many tokens they took."""


class _Unreadable(Exception):
    """Neither the answer nor the one to its error quoted could be read."""

    def __init__(self, error: str, cached: bool) -> None:
        super().__init__(error)
        self.cached = cached
        """Both were: nobody was asked."""


class _Again(Exception):
    """A try that may fare better later."""

    def __init__(self, error: ChatError, after: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.after = after


class ChatClient:
    """One endpoint, one budget. Safe to use from several threads."""

    def __init__(
        self, endpoint: Endpoint, settings: ChatSettings | None = None, cache: ChatCache | None = None
    ) -> None:
        """Without a cache nothing is kept.

        Raises:
            UserError: a cost limit without a price of this model; certificates that cannot be read.
        """
        self.endpoint = endpoint
        self.settings = settings or ChatSettings()
        self._cache = cache
        self._price = self.settings.prices.get(endpoint.model)
        if self.settings.max_cost is not None and self._price is None:
            raise UserError(
                f"a cost limit needs the price of {endpoint.model!r}",
                got=", ".join(self.settings.prices) or "no price table",
                fix="name a table with --prices FILE, or limit calls with --max-calls",
            )
        self._opener = opener(endpoint.url)
        self._counts = _Counts()
        self._lock = threading.Lock()
        self._held_until = 0.0
        self._next = 0.0
        """When the next request may be sent, where their rate is limited."""
        self._interrupted = threading.Event()
        self._pause: Callable[[float], object] = self._interrupted.wait
        self._luck = random.Random(self.settings.seed)  # noqa: S311 - spreads retries, decides nothing

    @property
    def usage(self) -> Usage:
        """Everything so far."""
        with self._lock:
            c = self._counts
            cost = None if self._price is None or c.uncounted else self._cost()
            if c.calls == 0:
                cost = 0.0
            return Usage(c.calls, c.cached, c.failed, c.repaired, c.prompt_tokens, c.completion_tokens, cost)

    def ask(self, ask: Ask[T] | Later[T]) -> Answer[T]:
        """One question.

        Raises:
            ChatError: no answer, or none that can be read.
        """
        try:
            return self._answer(ask)
        except _Unreadable as error:
            fault = error
        if fault.cached and not self.settings.offline:
            try:
                with self._lock:
                    self._counts.cached -= 2
                return self._answer(ask, anew=True)
            except _Unreadable as error:
                fault = error
            except ChatError as error:
                if error.code != "budget_spent":
                    raise
                with self._lock:
                    self._counts.cached += 2
        with self._lock:
            self._counts.failed += 1
        raise ChatError(
            "bad_answer", "the model's answer could not be read, twice", got=self.endpoint.redacted(str(fault))
        ) from fault

    def _answer(self, ask: Ask[T] | Later[T], *, anew: bool = False) -> Answer[T]:
        """Put a question, and once more with its error; `anew`: whatever the cache has."""
        messages = ask.messages
        text, cached = self._text(messages, ask.version, anew=anew)
        try:
            return Answer(ask.read(text), text, cached)
        except ValueError as error:
            fault = str(error)
        messages = (
            *messages,
            {"role": "assistant", "content": text},
            {"role": "user", "content": _REPAIR.format(error=fault)},
        )
        text, again = self._text(messages, ask.version, anew=anew)
        try:
            value = ask.read(text)
        except ValueError as error:
            raise _Unreadable(str(error), cached and again) from error
        with self._lock:
            self._counts.repaired += 1
        return Answer(value, text, cached and again)

    def ask_all(
        self,
        asks: Sequence[Ask[T] | Later[T]],
        *,
        tolerated: float | None = None,
        after: int | None = None,
        progress: Task | None = None,
    ) -> Batch[T]:
        """Many questions; `tolerated` is the share that may fail before the rest is not asked any more.

        With `after` it is the share of those put so far, once there are so many: a long batch ends early.
        """
        stop: list[ChatError] = []
        failed: list[int] = []
        put: list[int] = []

        def one(ask: Ask[T] | Later[T]) -> Answer[T] | Failure:
            if stop:
                return Failure(ChatError("not_asked", "the batch had ended before this question", got=stop[0].code))
            try:
                put.append(1)
                return self.ask(ask)
            except ChatError as error:
                failed.append(1)
                of = len(asks) if after is None else len(put)
                early = after is not None and of < after
                too_many = tolerated is not None and not early and len(failed) > tolerated * of
                if error.final or (too_many and error.code == "offline"):
                    stop.append(error)
                elif too_many:
                    stop.append(_too_many(len(failed), len(asks), error))
                return Failure(error)
            finally:
                if progress is not None:
                    progress.advance()

        with ThreadPoolExecutor(self.settings.concurrency) as pool:
            try:
                replies = tuple(pool.map(one, asks))
            except BaseException:
                stop.append(ChatError("not_asked", "interrupted"))
                self._interrupted.set()
                raise
        return Batch(replies, stop[0] if stop else None)

    def _text(self, messages: tuple[Message, ...], version: str, *, anew: bool) -> tuple[str, bool]:
        """The text of an answer, and whether the cache had it."""
        parameters = self._parameters()
        key = question_sha256(self.endpoint.model, messages, parameters, version)
        known = self._cache.get(key) if self._cache and not anew else None
        if known is not None:
            with self._lock:
                self._counts.cached += 1
            return known, True
        if self.settings.offline:
            with self._lock:
                self._counts.failed += 1
            raise ChatError(
                "offline", "the answer is not in the cache, and nothing is asked offline", fix="run once with --online"
            )
        payload = {"model": self.endpoint.model, "messages": list(messages), **parameters}
        try:
            text, tokens = self._persistently(payload)
        except ChatError as error:
            with self._lock:
                self._counts.failed += error.code != "budget_spent"
            raise
        if self._cache:
            self._cache.put(key, self.endpoint.model, version, text, tokens, replace=anew)
        return text, False

    def _parameters(self) -> dict[str, Any]:
        s = self.settings
        limit = {} if s.max_tokens is None else {"max_tokens": s.max_tokens}
        return {"temperature": s.temperature, "seed": s.seed, **limit}

    def _persistently(self, payload: dict[str, Any]) -> tuple[str, tuple[int | None, int | None]]:
        """Try, and try again what may pass."""
        attempt = partial(self._attempt, payload)
        for retry in range(self.settings.retries):
            try:
                return attempt()
            except _Again as fault:
                self._wait(fault, retry)
        try:
            return attempt()
        except _Again as fault:
            raise fault.error from fault

    def _wait(self, fault: _Again, retry: int) -> None:
        s = self.settings
        if fault.after is not None and fault.after > s.longest_wait:
            raise fault.error from fault
        with self._lock:
            own = min(s.longest_wait, s.first_wait * 2.0**retry) * self._luck.uniform(0.5, 1)
            wait = max(own, fault.after or 0.0)
            if fault.error.code == "endpoint_rate_limited":
                self._held_until = max(self._held_until, time.monotonic() + wait)
                return
        self._pause(wait)

    def _attempt(self, payload: dict[str, Any]) -> tuple[str, tuple[int | None, int | None]]:
        with self._lock:
            now = time.monotonic()
            until = max(self._held_until, now)
            if self.settings.per_minute is not None:
                until = max(until, self._next)
                self._next = until + 60.0 / self.settings.per_minute
            held = until - now
        if held > 0:
            self._pause(held)
        self._spend()
        s = self.settings
        try:
            reply = post(self._opener, self.endpoint.url, payload, self.endpoint.key, s.timeout)
        except TimedOut as error:
            raise _Again(ChatError("endpoint_timeout", str(error), fix="raise the time-out")) from error
        except Unreachable as error:
            text = self.endpoint.redacted(str(error))
            fix = "is the server running, and is the address right?"
            raise _Again(
                ChatError("endpoint_unreachable", "the endpoint cannot be reached", got=text, fix=fix)
            ) from error
        if reply.status != 200:
            raise self._fault(reply)
        try:
            return self._read(reply.body)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
            got = self.endpoint.redacted(reply.body.decode("utf-8", "replace"))
            raise _Again(
                ChatError(
                    "endpoint_failed",
                    "the endpoint answered in another shape",
                    expected='{"choices": [{"message": {"content": …}}]}',
                    got=got,
                )
            ) from error

    def _spend(self) -> None:
        """Count a request, or refuse to send it."""
        s = self.settings
        with self._lock:
            if s.max_calls is not None and self._counts.calls >= s.max_calls:
                raise self._broke(f"{self._counts.calls} calls were made", "--max-calls")
            if s.max_cost is not None and self._counts.uncounted:
                raise ChatError(
                    "budget_spent",
                    "an answer did not say how many tokens it took, so nobody knows what is spent",
                    fix="limit calls with --max-calls instead: what was answered is in the cache",
                )
            if s.max_cost is not None and (spent := self._cost()) >= s.max_cost:
                raise self._broke(f"{spent:.4g} of {s.max_cost:g} is spent", "--max-cost")
            self._counts.calls += 1

    def _broke(self, what: str, option: str) -> ChatError:
        fix = f"raise {option} and run again: what was answered is in the cache"
        return ChatError("budget_spent", f"the budget is spent: {what}", fix=fix)

    def _cost(self) -> float:
        price, c = self._price, self._counts
        return 0.0 if price is None else (c.prompt_tokens * price.input + c.completion_tokens * price.output) / 1e6

    def _read(self, body: bytes) -> tuple[str, tuple[int | None, int | None]]:
        document = json.loads(body)
        content = document["choices"][0]["message"]["content"]
        if isinstance(content, list):  # some servers answer in parts
            content = "".join(part["text"] for part in content if part.get("type", "text") == "text")
        if not isinstance(content, str):
            raise TypeError("no text")
        usage = document.get("usage")
        used = usage if isinstance(usage, dict) else {}
        tokens = _count(used.get("prompt_tokens")), _count(used.get("completion_tokens"))
        with self._lock:
            self._counts.prompt_tokens += tokens[0] or 0
            self._counts.completion_tokens += tokens[1] or 0
            self._counts.uncounted += None in tokens
        return content.encode("utf-8", "replace").decode(), tokens  # a lone surrogate can be neither kept nor hashed

    def _fault(self, reply: Reply) -> Exception:
        """What a status means: an error, or one to try again."""
        said = self.endpoint.redacted(_said(reply.body))
        status = reply.status
        got = f"{status}: {said}" if said else str(status)
        if status in (401, 403):
            name = self.endpoint.key_env
            fix = f"is the key in {name} the right one?" if name else "name the variable that holds the key: --key-env"
            return ChatError("endpoint_unauthorised", "the endpoint refuses the key", got=got, fix=fix)
        if 300 <= status < 400 or status in (404, 405):
            fix = "check the address and the model's name; redirects are not followed"
            return ChatError("endpoint_not_found", "no chat model at this address", got=got, fix=fix)
        after = retry_after(reply.headers.get("retry-after"))
        if status == 429:
            fix = "lower --concurrency, or run again later: what was answered is in the cache"
            asks = f" and asks to wait {after:.0f} s" if after is not None else ""
            return _Again(
                ChatError("endpoint_rate_limited", f"the endpoint limits the rate{asks}", got=got, fix=fix), after
            )
        if status in _TRANSIENT or status >= 500 or status < 300:
            return _Again(ChatError("endpoint_failed", "the endpoint failed", got=got), after)
        return ChatError("endpoint_refused", "the endpoint refuses the question", got=got)


def _too_many(failed: int, asked: int, last: ChatError) -> ChatError:
    text = f"{failed} of {asked} questions failed; the rest is not asked"
    return ChatError("too_many_failed", text, got=f"last: {last.message}", fix=last.fix)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _said(body: bytes) -> str:
    """The message inside an error's body, or the body."""
    text = body.decode("utf-8", "replace")
    try:
        document = json.loads(text)
        error = document.get("error", document)
        return str(error.get("message", error)) if isinstance(error, dict) else str(error)
    except (ValueError, AttributeError):
        return text


def retry_after(value: str | None) -> float | None:
    """Seconds; the header holds seconds or a date."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())
