"""A public bucket of the S3 kind: what lies under a prefix, and its files, each fetched whole or not at all.

    GET /?list-type=2&prefix=v1/MODEL/SOURCE/        XML, page by page
    GET /v1/MODEL/SOURCE/explanations/batch-0.jsonl.gz

1. a file goes to `NAME.part`; what is there already is asked for no more (`Range`, `If-Range` with the file's tag)
2. whole is what has the listed size and, where the tag is an MD5, that sum; anything else is fetched anew, once
3. 408, 425, 429, 5xx, a lost connection and a time-out are tried again after a growing wait, or after `Retry-After`
   where that is longer; between two requests at least 1/`rate` seconds pass
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlunsplit
from urllib.request import Request
from xml.etree.ElementTree import Element, ParseError, XMLParser

from radiograph.core.limits import CHAT_REPLY_BYTES, DICTIONARY_JSON_BYTES
from radiograph.store.chat._client import retry_after
from radiograph.store.chat._endpoint import redacted, web_address
from radiograph.store.chat._http import opener
from radiograph.store.services import ServiceError

EXPORTS: Final = "https://neuronpedia-datasets.s3.us-east-1.amazonaws.com"
PREFIX: Final = "v1/"
PART: Final = ".part"
_CHUNK: Final = 1 << 18
_PASSING: Final = {408, 409, 425, 429}
_PAGES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Found:
    """A file of the bucket."""

    key: str
    bytes: int
    tag: str
    """Its ETag without quotes; of files that came in one piece, their MD5."""

    @property
    def name(self) -> str:
        """Below the source: `explanations/batch-0.jsonl.gz`."""
        return "/".join(self.key.split("/")[3:])


@dataclass
class Bucket:
    """One bucket."""

    base: str = EXPORTS
    timeout: float = 60.0
    retries: int = 5
    first_wait: float = 0.5
    longest_wait: float = 120.0
    rate: float = 5.0
    """Requests a second, at most."""
    pause: Callable[[float], object] = time.sleep
    _free: float = 0.0

    def __post_init__(self) -> None:
        parts = web_address(self.base)
        self.base = urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
        self._opener = opener(self.base)

    def listed(self, model: str, source: str) -> list[Found]:
        """The files of a source, by name.

        Raises:
            ServiceError: no answer, or one of another shape.
        """
        prefix, token, found = f"{PREFIX}{model}/{source}/", "", list[Found]()
        for _ in range(_PAGES):
            query = {"list-type": "2", "prefix": prefix} | ({"continuation-token": token} if token else {})
            page = _xml(self._whole(f"{self.base}/?{urlencode(query)}"))
            found += [_file(one) for one in _all(page, "Contents")]
            token = _text(page, "NextContinuationToken") if _text(page, "IsTruncated") == "true" else ""
            if not token:
                break
        return sorted((file for file in found if file.key.startswith(prefix)), key=lambda file: file.key)

    def fetch(self, file: Found, folder: Path) -> Path:
        """A file of the bucket in a folder, complete and checked.

        Raises:
            ServiceError: it cannot be had, or is never what the listing says.
        """
        name = hashlib.sha256(f"{self.base}/{file.key}/{file.tag}".encode()).hexdigest()[:16] + _ending(file.key)
        path, part = folder / name, folder / (name + PART)
        folder.mkdir(parents=True, exist_ok=True)
        for again in (False, True):
            self._stream(f"{self.base}/{quote(file.key)}", part, file)
            if (fault := _fault(part, file)) is None:
                part.rename(path)
                return path
            part.unlink(missing_ok=True)
            if again:
                raise ServiceError(
                    "endpoint_failed",
                    f"{file.key} is not what the listing says",
                    expected=f"{file.bytes} bytes",
                    got=fault,
                )
        raise AssertionError("the second try returns or raises")

    def _whole(self, url: str) -> bytes:
        return b"".join(self._persistently(lambda: list(self._read(url, {}, CHAT_REPLY_BYTES)[1])))

    def _stream(self, url: str, part: Path, file: Found) -> None:
        def once() -> None:
            have = part.stat().st_size if part.is_file() else 0
            if have >= file.bytes > 0:
                return
            headers = {"Range": f"bytes={have}-", "If-Range": f'"{file.tag}"'} if have else {}
            status, body = self._read(url, headers, DICTIONARY_JSON_BYTES)
            with part.open("ab" if status == 206 else "wb") as out:
                for data in body:
                    out.write(data)

        self._persistently(once)

    def _persistently(self, attempt: Callable[[], Any]) -> Any:
        for retry in range(self.retries + 1):
            self._wait_turn()
            try:
                return attempt()
            except _Passing as fault:
                longer = fault.after is not None and fault.after > self.longest_wait
                if retry == self.retries or longer:
                    raise fault.error from fault
                self.pause(max(min(self.longest_wait, self.first_wait * 2.0**retry), fault.after or 0.0))
        raise AssertionError("the last try returns or raises")

    def _wait_turn(self) -> None:
        wait = self._free - time.monotonic()
        if wait > 0:
            self.pause(wait)
        self._free = time.monotonic() + 1 / self.rate

    def _read(self, url: str, headers: dict[str, str], most: int) -> tuple[int, Iterator[bytes]]:
        """Status and body; the body is read while it is used, and every fault of it is one that may pass."""
        request = Request(url, headers={"Accept-Encoding": "identity", **headers})  # noqa: S310 - http(s) alone, see `web_address`
        try:
            answer: Any = self._opener.open(request, timeout=self.timeout)
        except HTTPError as error:
            with error:
                raise _refused(error, error.read(2000)) from error
        except (URLError, OSError, HTTPException) as error:
            raise _Passing(
                ServiceError("endpoint_unreachable", "the exports cannot be reached", got=str(error))
            ) from error
        return answer.status, _body(answer, most)


class _Passing(Exception):
    """A fault that may pass."""

    def __init__(self, error: ServiceError, after: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.after = after


def _body(answer: Any, most: int) -> Iterator[bytes]:
    size = 0
    with answer:
        try:
            while data := answer.read(_CHUNK):
                size += len(data)
                if size > most:
                    raise ServiceError(
                        "endpoint_failed", "an export is larger than can be read", got=f"over {most} bytes"
                    )
                yield data
        except (OSError, HTTPException) as error:
            raise _Passing(ServiceError("endpoint_unreachable", "an export broke off", got=str(error))) from error
        expected = answer.headers.get("Content-Length")
        if expected and expected.isdigit() and size < int(expected):
            raise _Passing(
                ServiceError("endpoint_unreachable", "an export broke off", got=f"{size} of {expected} bytes")
            )


def _refused(error: HTTPError, body: bytes) -> Exception:
    got = f"{error.code}: {redacted(body.decode('utf-8', 'replace'), None)}"
    if error.code in _PASSING or error.code >= 500:
        limited = error.code in (429, 503)
        code = "endpoint_rate_limited" if limited else "endpoint_failed"
        said = "the exports limit the rate" if limited else "the exports failed"
        return _Passing(ServiceError(code, said, got=got), retry_after(error.headers.get("retry-after")))
    return ServiceError("endpoint_not_found", "nothing lies there", got=got, fix="check model and source")


def _fault(path: Path, file: Found) -> str | None:
    size = path.stat().st_size if path.is_file() else 0
    if size != file.bytes:
        return f"{size} bytes"
    if len(file.tag) == 32 and all(c in "0123456789abcdef" for c in file.tag):
        with path.open("rb") as handle:
            found = hashlib.file_digest(handle, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if found != file.tag:
            return f"MD5 {found}, listed {file.tag}"
    return None


def _ending(key: str) -> str:
    return next((end for end in (".jsonl.gz", ".jsonl.zst", ".jsonl") if key.endswith(end)), ".bin")


def _xml(body: bytes) -> Element:
    try:
        parser = XMLParser()  # noqa: S314 - no entity is declared in what follows
        if b"<!" in body:
            raise ParseError("a declaration of types")
        parser.feed(body)
        return parser.close()
    except ParseError as error:
        got = body[:200].decode("utf-8", "replace")
        raise ServiceError("endpoint_failed", "the listing has another shape", got=got) from error


def _all(page: Element, name: str) -> list[Element]:
    return [one for one in page if one.tag.rpartition("}")[2] == name]


def _text(page: Element, name: str) -> str:
    found = _all(page, name)
    return (found[0].text or "").strip() if found else ""


def _file(one: Element) -> Found:
    size = _text(one, "Size")
    if not size.isdigit() or not _text(one, "Key"):
        raise ServiceError("endpoint_failed", "the listing has another shape", got=_text(one, "Key")[:200])
    return Found(_text(one, "Key"), int(size), _text(one, "ETag").strip('"'))
