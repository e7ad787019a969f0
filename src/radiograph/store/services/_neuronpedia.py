"""Neuronpedia's dashboards of features, from its API or from what was fetched before.

    MODEL@SOURCE:INDEX      https://www.neuronpedia.org/MODEL/SOURCE/INDEX      …/api/feature/MODEL/SOURCE/INDEX

1. a dashboard that was fetched before is taken from the cache, unless it is to be fetched again
2. else what the public exports say of the feature, where `explain sync` has filled a cache
3. else `GET /api/feature/MODEL/SOURCE/INDEX`; what comes must name the feature that was asked for, and is kept as it is
An address of another host is refused: nobody named it as the service.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from radiograph.core import FormatError, UserError
from radiograph.evidence import canonical_json
from radiograph.store._atomic import write_whole
from radiograph.store._explanations import ExplanationCache
from radiograph.store.services._client import Service, ServiceError

NEURONPEDIA: Final = "https://www.neuronpedia.org"
_HOSTS: Final = {"www.neuronpedia.org", "neuronpedia.org"}
_SHORT = re.compile(r"(?P<model>[^@/\s]+)@(?P<source>[^:/\s]+)(?::(?P<index>\d+))?")


@dataclass(frozen=True)
class Dashboard:
    """The address of a feature."""

    model: str
    source: str
    index: int

    def __post_init__(self) -> None:
        """Raises: UserError, a model or source that is no name: both are folders of the cache."""
        for name in (self.model, self.source):
            if name.strip() in ("", ".", ".."):
                raise UserError(f"{self} names no feature of Neuronpedia", got=repr(name), code="bad_features")

    def __str__(self) -> str:
        return f"{self.model}@{self.source}:{self.index}"

    @classmethod
    def parse(cls, text: str, hosts: set[str] | None = None) -> Dashboard | tuple[str, str]:
        """A reference of any of the three forms; without an index, model and source.

        Raises:
            UserError: none of them, or an address of another host.
        """
        text = text.strip()
        if text.startswith(("http://", "https://")):
            parts = urlsplit(text)
            path = [unquote(part) for part in parts.path.strip("/").split("/")]
            if path[:2] == ["api", "feature"]:
                path = path[2:]
            allowed = _HOSTS | (hosts or set())
            if len(path) == 3 and path[2].isdigit() and parts.netloc in allowed:
                return cls(path[0], path[1], int(path[2]))
            if parts.netloc not in allowed:
                raise UserError(
                    f"{parts.netloc} is not the service",
                    expected=", ".join(sorted(allowed)),
                    fix="name another one with --neuronpedia-url",
                    code="bad_features",
                )
        elif match := _SHORT.fullmatch(text):
            if match["index"] is None:
                return match["model"], match["source"]
            return cls(match["model"], match["source"], int(match["index"]))
        raise UserError(
            f"{text!r} names no feature of Neuronpedia",
            expected="MODEL@SOURCE:INDEX, or the address of a feature's page",
            code="bad_features",
        )


@dataclass(frozen=True)
class Dashboards:
    """A service and the cache before it."""

    service: Service
    cache: Path
    """Folder of fetched dashboards."""
    synced: Path | None = None
    """The cache of exports; None, or no file: there is none."""
    offline: bool = True
    refresh: bool = False

    def fetch(self, feature: Dashboard) -> dict[str, Any]:
        """The dashboard of a feature, as the service gives it.

        Raises:
            UserError: `offline`, not in the cache and nothing may be asked. ServiceError: no answer, or another one.
            FormatError: the cache is damaged.
        """
        path = self.cache / quote(self.service.host, safe="") / quote(feature.model, safe="")
        path = path / quote(feature.source, safe="") / f"{feature.index}.json"
        if path.is_file() and not self.refresh:
            return _read(path)
        if self.synced is not None and self.synced.is_file() and not self.refresh:
            with ExplanationCache.open(self.synced) as exports:
                held = exports.payload(feature.model, feature.source, feature.index)
            if held is not None:
                return held
        if self.offline:
            raise UserError(
                f"{feature} is not in the cache, and this run may not use the network",
                fix="pass --online, or fill the cache with explain sync",
                code="offline",
            )
        where = "/".join(quote(part, safe="") for part in (feature.model, feature.source, str(feature.index)))
        found = self.service.json(f"/api/feature/{where}")
        if str(found.get("modelId")) != feature.model or str(found.get("index")) != str(feature.index):
            raise ServiceError(
                "endpoint_failed",
                f"{self.service.name} answered with another feature",
                expected=str(feature),
                got=f"{found.get('modelId')} {found.get('index')}",
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        data = canonical_json(found)
        write_whole(path, [data], len(data))
        return found


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except ValueError as error:
        raise FormatError(f"{path.name} in the cache is not JSON", where=path.name, fix="fetch it again") from error
    if not isinstance(document, dict):
        raise FormatError(f"{path.name} in the cache is no object", where=path.name, fix="fetch it again")
    return document
