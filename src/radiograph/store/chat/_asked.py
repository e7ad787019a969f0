"""What is asked, what came back, and what it cost."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, NoReturn, TypeVar

from radiograph.store.chat._endpoint import ChatError

T = TypeVar("T")
Message = dict[str, str]
"""`{"role": …, "content": …}`."""
_FENCE = re.compile(r"```[a-zA-Z]*\s*\n(.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Ask(Generic[T]):
    """One question. `read` turns the answer into a value, or raises ValueError with a text that a model can act on."""

    messages: tuple[Message, ...]
    version: str
    """Of the prompt: part of the cache's key, so that an edited prompt asks anew."""
    read: Callable[[str], T]


@dataclass(frozen=True)
class Later(Generic[T]):
    """A question that is put together when its turn comes, so that thousands of them take no memory before."""

    make: Callable[[], tuple[Message, ...]]
    version: str
    read: Callable[[str], T]

    @property
    def messages(self) -> tuple[Message, ...]:
        """Made anew each time."""
        return self.make()


@dataclass(frozen=True)
class Answer(Generic[T]):
    """A value that could be read."""

    value: T
    text: str
    cached: bool


@dataclass(frozen=True)
class Failure:
    """A question without an answer."""

    error: ChatError

    @property
    def asked(self) -> bool:
        """Whether the endpoint was given the question; one that was never put does not count as failed."""
        return self.error.code not in ("not_asked", "budget_spent")


@dataclass(frozen=True)
class Usage:
    """Counts of one client, over everything it was asked."""

    calls: int
    """Requests sent, retries included."""
    cached: int
    failed: int
    repaired: int
    """Answers that could be read only after their error was quoted."""
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    """None: unknown, because the price table lacks the model or an answer did not count its tokens."""


@dataclass(frozen=True)
class Batch(Generic[T]):
    """Answers in the order of the questions."""

    replies: tuple[Answer[T] | Failure, ...]
    stopped: ChatError | None
    """Why the batch ended early; what was answered before stands, and is in the cache."""

    @property
    def failed(self) -> int:
        """Questions that were put and not answered."""
        return sum(isinstance(reply, Failure) and reply.asked for reply in self.replies)

    @property
    def asked(self) -> int:
        """Questions that were put."""
        return sum(not isinstance(reply, Failure) or reply.asked for reply in self.replies)

    def values(self) -> Iterator[tuple[int, T]]:
        """Number of the question, value."""
        for number, reply in enumerate(self.replies):
            if isinstance(reply, Answer):
                yield number, reply.value


def json_object(text: str) -> dict[str, Any]:
    """The JSON object of an answer: alone, in a code fence, or between words.

    Raises:
        ValueError: none, a number that JSON has no word for, or text that breaks off.
    """
    fenced = _FENCE.search(text)
    body = (fenced[1] if fenced else text).strip()
    start = body.find("{")
    if start < 0:
        raise ValueError("no JSON object in the answer")
    try:
        found, _ = json.JSONDecoder(parse_constant=_no_number).raw_decode(body[start:])
    except RecursionError as error:
        raise ValueError("the JSON is nested too deep") from error
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
