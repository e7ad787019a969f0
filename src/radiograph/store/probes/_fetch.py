"""One file of a pack from where its manifest says: bounded, hashed before anybody reads it, no token sent.

The address is ENDPOINT/REPO/resolve/REVISION/PATH/FILE, ENDPOINT that of `HF_ENDPOINT`, else the public hub. Refuses an
answer that is larger or smaller than the manifest says, or has another hash.
"""

from __future__ import annotations

import hashlib
import os
import re
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from radiograph.core import FormatError, Refusal, UserError, visible
from radiograph.evidence.probes.probe import PackedProbe, PackSource

PUBLIC: Final = "https://huggingface.co"
_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_TIMEOUT = 60.0


def address_of(source: PackSource, name: str) -> str:
    """Where a file lies.

    Raises:
        UserError: no name of a repository, or a path that leaves it.
    """
    parts = [part for part in source.path.split("/") if part]
    if _REPO.fullmatch(source.repo) is None or ".." in (*parts, *source.revision.split("/")):
        raise UserError("no place of a hub", expected="OWNER/NAME at a revision", got=visible(source.repo, 80))
    endpoint = os.environ.get("HF_ENDPOINT", PUBLIC).rstrip("/")
    inside = "/".join(quote(part, safe="") for part in (*parts, name))
    return f"{endpoint}/{source.repo}/resolve/{quote(source.revision, safe='')}/{inside}"


def _secure(url: str) -> bool:
    """Whether an address is https, or of this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1"))


class _Redirects(HTTPRedirectHandler):
    """Hubs send to where their files lie; what leads away from https is not followed."""

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        if not _secure(newurl):
            raise URLError(f"it was sent on to {visible(newurl, 120)}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch_file(source: PackSource, entry: PackedProbe) -> bytes:
    """The bytes of an entry, as its manifest describes them.

    Raises:
        FormatError: other bytes than the manifest says. Refusal: `hub_unreachable`.
    """
    if entry.file is None or entry.sha256 is None or entry.bytes is None:
        raise FormatError(f"{entry.name} has no file, size and hash to fetch", where="pack.json")
    url = address_of(source, entry.file)
    if not _secure(url):
        raise UserError("weights are fetched over https", got=visible(url, 120), where="HF_ENDPOINT")
    try:
        with build_opener(ProxyHandler(), _Redirects()).open(url, timeout=_TIMEOUT) as answer:
            data = answer.read(entry.bytes + 1)
    except (HTTPError, URLError, OSError, HTTPException) as error:
        raise Refusal(
            "hub_unreachable",
            f"{visible(entry.file)} could not be fetched: {error}",
            fix="check the network, and the pack",
        ) from error
    found = hashlib.sha256(data).hexdigest()
    if len(data) != entry.bytes or found != entry.sha256:
        raise FormatError(
            f"{visible(entry.file)} is not the file that the pack names",
            expected=f"{entry.bytes:,} bytes, {entry.sha256}",
            got=f"{'more' if len(data) > entry.bytes else f'{len(data):,}'} bytes, {found}",
            fix="nothing of it was used",
        )
    return data
