"""Where labels come from: the file that lies beside a dictionary, or a cache.

`auto` means the `labels.sqlite` in the dictionary's own folder, if there is one; `none` means none;
`cache:FILE#MODEL/SOURCE` names a local cache. A source that is bound to another decoder than this dictionary's is
refused: labels of another dictionary are worse than none.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from radiograph.core import Refusal, UserError
from radiograph.store import ExplanationCache

_CACHE = re.compile(r"cache:(?P<file>.+)#(?P<model>[^/]+)/(?P<source>.+)")
SHIPPED = ("shipped", "dictionary")
"""Model and source under which the labels beside a dictionary are stored."""
LABELS_FILE = "labels.sqlite"


@dataclass(frozen=True)
class LabelSource:
    """Every explanation of one source."""

    name: str
    mode: str
    snapshot_sha256: str | None
    explanations: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    """Asked features only; an empty list means "asked, there is none"."""
    features: dict[int, dict[str, Any]] = field(default_factory=dict)

    @property
    def explained(self) -> list[int]:
        """Features with at least one explanation, ascending."""
        return sorted(index for index, found in self.explanations.items() if found)


NO_LABELS = LabelSource("none", "none", None)


def open_labels(
    spec: str, decoder_sha256: str | None, shipped: Path | None, resolve: Callable[[str], Path]
) -> LabelSource:
    """Read a source of labels for a dictionary; None: its decoder is not known, and a named source is believed.

    Raises:
        UserError: not a source, or no such file or source.
        Refusal: `explanations_mismatch` (exit 3): written for another dictionary, both sides are named; or nobody has
            said for which.
    """
    if spec == "none":
        return NO_LABELS
    if spec == "auto":
        return NO_LABELS if shipped is None else _read(shipped, *SHIPPED, decoder_sha256, "shipped labels")
    match = _CACHE.fullmatch(spec)
    if match is None:
        raise UserError(
            f"explanations {spec!r} is not a source",
            expected="auto, none, or cache:FILE#MODEL/SOURCE",
            code="bad_value",
        )
    path = resolve(match["file"])
    return _read(path, match["model"], match["source"], decoder_sha256, f"cache {path.name}")


def _read(path: Path, model: str, source: str, decoder_sha256: str | None, name: str) -> LabelSource:
    with ExplanationCache.open(path) as cache:
        binding = cache.binding(model, source)
        if binding.decoder_sha256 is None and decoder_sha256 is not None:
            raise Refusal(
                "explanations_mismatch",
                f"nobody has said for which dictionary the explanations {model}/{source} were written",
                expected=f"decoder {decoder_sha256}",
                got=f"{binding.size} features at {binding.site or 'an unknown site'}",
                fix=f"if they belong to it: radiograph explain sync {model}/{source} --bind DICTIONARY",
                fixable=True,
            )
        if decoder_sha256 is not None and binding.decoder_sha256 != decoder_sha256:
            raise Refusal(
                "explanations_mismatch",
                f"the explanations {model}/{source} were written for another dictionary",
                expected=f"decoder {decoder_sha256}",
                got=f"decoder {binding.decoder_sha256} at {binding.site}, {binding.size} features",
                fix="use the explanations of this dictionary, or --explanations none",
                fixable=True,
            )
        return LabelSource(
            name=f"{name}: {model}/{source}",
            mode="cache_only",
            snapshot_sha256=cache.snapshot_sha256(model, source),
            explanations=cache.explanations(model, source),
            features=cache.features(model, source),
        )
