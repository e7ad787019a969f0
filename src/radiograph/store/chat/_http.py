"""A request of JSON: proxies and certificates as the environment says, a deadline, a bound on the answer, no redirect.

`http_proxy`, `https_proxy`, `no_proxy` are those of the standard library. Certificates are the system's, or those of
the first of `SSL_CERT_FILE`, `REQUESTS_CA_BUNDLE`, `CURL_CA_BUNDLE` that is set. A redirect is an answer like any
other: following one would send the key to an address that nobody named.
"""

from __future__ import annotations

import json
import os
import ssl
import time
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request, build_opener

from radiograph.core import UserError
from radiograph.core.limits import CHAT_REPLY_BYTES

CERTIFICATES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_CHUNK = 1 << 16


class Reply(NamedTuple):
    """A status with its headers, lower case, and its body."""

    status: int
    headers: dict[str, str]
    body: bytes


class Unreachable(Exception):
    """No answer: the connection failed or was lost."""


class TimedOut(Exception):
    """No whole answer in time."""


class _Stay(HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: Any) -> None:
        return None


def opener(url: str) -> OpenerDirector:
    """What sends requests to an address, after the environment of this moment.

    Raises:
        UserError: a file of certificates is named that cannot be read.
    """
    if not url.startswith("https:"):  # certificates of the system take 30 ms to read
        return build_opener(ProxyHandler(), _Stay())
    named = next(((name, os.environ[name]) for name in CERTIFICATES if os.environ.get(name)), None)
    try:
        context = ssl.create_default_context(cafile=named[1] if named else None)
    except (OSError, ssl.SSLError) as error:
        assert named is not None
        raise UserError(
            f"the certificates of {named[0]} cannot be read", got=str(error), fix="name a file of PEM certificates"
        ) from error
    return build_opener(ProxyHandler(), HTTPSHandler(context=context), _Stay())


def post(by: OpenerDirector, url: str, payload: dict[str, Any], key: str | None, timeout: float) -> Reply:
    """Send and wait for the whole answer, whatever its status.

    Raises:
        Unreachable: no connection, or one that broke. TimedOut: `timeout` seconds are over.
    """
    request = Request(url, json.dumps(payload, ensure_ascii=False).encode(), method="POST")  # noqa: S310 - `web_address` lets http(s) through alone
    request.add_header("Content-Type", "application/json")
    return _answered(by, request, {"Authorization": f"Bearer {key}"} if key else {}, timeout)


def get(by: OpenerDirector, url: str, secrets: Mapping[str, str], timeout: float) -> Reply:
    """Ask and wait for the whole answer; `secrets` are headers that go to this address alone.

    Raises:
        Unreachable: no connection, or one that broke. TimedOut: `timeout` seconds are over.
    """
    return _answered(by, Request(url), secrets, timeout)  # noqa: S310 - as above


def _answered(by: OpenerDirector, request: Request, secrets: Mapping[str, str], timeout: float) -> Reply:
    request.add_header("Accept", "application/json")
    for name, value in secrets.items():
        request.add_unredirected_header(name, value)
    deadline = time.monotonic() + timeout
    try:
        answer: Any
        try:
            answer = by.open(request, timeout=timeout)
        except HTTPError as error:
            answer = error
        with answer:
            body = _body(answer, deadline)
            return Reply(answer.status, {k.lower(): v for k, v in answer.headers.items()}, body)
    except TimeoutError as error:
        raise TimedOut(f"no whole answer within {timeout:g} s") from error
    except URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise TimedOut(f"no answer within {timeout:g} s") from error
        raise Unreachable(str(error.reason)) from error
    except (OSError, HTTPException) as error:
        raise Unreachable(f"{type(error).__name__}: {error}") from error


def _body(answer: Any, deadline: float) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := answer.read1(_CHUNK):
        size += len(part)
        if size > CHAT_REPLY_BYTES:
            raise HTTPException(f"the answer is larger than {CHAT_REPLY_BYTES // 2**20} MiB")
        if time.monotonic() > deadline:
            raise TimeoutError
        parts.append(part)
    expected = answer.headers.get("Content-Length")
    if expected and expected.isdigit() and size < int(expected):
        raise HTTPException(f"the answer broke off after {size} of {expected} bytes")
    return b"".join(parts)
