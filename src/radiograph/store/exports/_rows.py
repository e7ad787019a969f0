"""Rows of an export, in the shape in which a cache keeps them.

    explanations*   {"modelId", "layer", "index", "description", "explanationModelName", "typeName", "scores", …}
    features        {"modelId", "layer", "index", "frac_nonzero", "maxActApprox", "pos_str", "pos_values", …}
    activations     {"modelId", "layer", "index", "tokens", "values", "maxValue", …}     a row a context

`layer` is the source; rows of another model or source are mistakes. Embeddings of texts are left out; of the contexts
of a feature the strongest are kept.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from radiograph.store.lines import Mistakes, objects, read_lines

KINDS: Final = ("explanations", "features", "activations")
CONTEXTS: Final = 20
_LEFT_OUT: Final = {"embedding", "modelId", "layer", "index"}
_FEATURE: Final = (
    "frac_nonzero",
    "maxActApprox",
    "pos_str",
    "pos_values",
    "neg_str",
    "neg_values",
    "hasVector",
    "hookName",
)
_CONTEXT: Final = ("tokens", "values", "maxValue", "maxValueTokenIndex")


@dataclass
class Read:
    """What a file says, by index of the feature."""

    features: dict[int, dict[str, Any]] = field(default_factory=dict)
    explanations: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    rows: int = 0


def read_file(path: Path, kind: str, model: str, source: str, name: str) -> Read:
    """One file of a kind.

    Raises:
        FormatError: mistakes, with their lines.
    """
    found, mistakes = Read(), Mistakes(name)
    for lines in read_lines(path, name):
        rows, numbers = objects(lines, mistakes)
        for row, number in zip(rows, numbers, strict=True):
            index = _index(row.get("index"))
            own = (str(row.get("modelId", model)), str(row.get("layer", source)))
            if index is None:
                mistakes.add(number, f"index must be a whole number from 0, got {row.get('index')!r}")
            elif own != (model, source):
                mistakes.add(number, f"a row of {own[0]}/{own[1]}")
            else:
                found.rows += 1
                fault = _taken(found, kind, index, row)
                if fault:
                    mistakes.add(number, fault)
    mistakes.raise_if_any()
    for fields in found.features.values():
        if "activations" in fields:
            fields["activations"] = strongest(fields["activations"])
    return found


def strongest(contexts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The contexts that are kept of a feature, each once, in an order of their own."""
    each = {json.dumps(context, sort_keys=True): context for context in contexts}
    order = sorted(each, key=lambda key: (-float(each[key].get("maxValue") or 0.0), key))
    return [each[key] for key in order[:CONTEXTS]]


def _taken(found: Read, kind: str, index: int, row: dict[str, Any]) -> str | None:
    if kind == "explanations":
        if not isinstance(row.get("description"), str):
            return f"description must be a text, got {row.get('description')!r}"
        found.explanations.setdefault(index, []).append({k: v for k, v in row.items() if k not in _LEFT_OUT})
    elif kind == "features":
        found.features.setdefault(index, {}).update({k: row[k] for k in _FEATURE if k in row})
    else:
        tokens, values = row.get("tokens"), row.get("values")
        if not (isinstance(tokens, list) and isinstance(values, list) and len(tokens) == len(values)):
            return "tokens and values must be lists of one length"
        context = {k: row[k] for k in _CONTEXT if k in row}
        found.features.setdefault(index, {}).setdefault("activations", []).append(context)
    return None


def _index(value: Any) -> int | None:
    if isinstance(value, str) and value.isdigit():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
