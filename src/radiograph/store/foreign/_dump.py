"""Feature dumps in JSON Lines: what a source says of features, a line each.

`feature_id` and `model` are required; `layer` or `site`, `label`, `examples`, `activation_signature`, `prompt_ids`,
`decoder_signature`, `basis`, `causal_effects`, `source`, `metadata` may be there; other keys are kept under `extra`.
An activation signature can be compared where it has `prompt_ids`, one each; a decoder signature where it names the hash
of its `basis`. `causal_effects` are a claim of the source: they stand in a column of that name and enter no statistic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from radiograph.core import FeatureAddress, FormatError, Site, UserError, hidden_state
from radiograph.store._hashing import file_sha256
from radiograph.store.foreign._names import natural, no_such_model
from radiograph.store.lines import Mistakes, objects, read_lines, texts, whole_numbers

if TYPE_CHECKING:
    import polars

_TEXTS: Final = ("feature_id", "model", "site", "label", "basis", "source")
_OWN: Final = frozenset(
    {*_TEXTS, "layer", "examples", "activation_signature", "prompt_ids", "decoder_signature", "causal_effects"}
)


@dataclass(frozen=True, eq=False)
class Dump:
    """Features of one model, by id."""

    model: str
    table: polars.DataFrame
    """feature_id, site, layer, label, examples, activation_signature, prompt_ids, decoder_signature, basis,
    claimed_effects (JSON), source, extra (JSON); lists are null where the source gives none."""
    sha256: str


def read_dump(path: Path, *, model: str | None = None, n_layers: int | None = None) -> Dump:
    """The features of one model in a dump.

    Args:
        path: JSON Lines (`.gz` and `.zst` too).
        model: whose features are wanted; None where there is only one.
        n_layers: blocks of the model, where known: `layer` is a hidden state, and gets a site.

    Raises:
        UserError: not a file, or no feature of the model. FormatError: every mistake, with its line.
    """
    import polars as pl

    mistakes = Mistakes(path.name)
    rows: list[dict[str, Any]] = []
    numbers: list[int] = []
    for lines in read_lines(path):
        found, own = objects(lines, mistakes)
        rows += found
        numbers += own
    columns = {name: texts([row.get(name) for row in rows], numbers, name, mistakes) for name in _TEXTS}
    for name in ("feature_id", "model"):
        for value, number in zip(columns[name], numbers, strict=True):
            if value is None:
                mistakes.add(number, f"no {name}")
    layers = whole_numbers([row.get("layer") for row in rows], numbers, "layer", mistakes)
    lists = {
        "examples": _lists(rows, numbers, "examples", str, mistakes),
        "prompt_ids": _lists(rows, numbers, "prompt_ids", str, mistakes),
        "activation_signature": _lists(rows, numbers, "activation_signature", float, mistakes),
        "decoder_signature": _lists(rows, numbers, "decoder_signature", float, mistakes),
    }
    for number, values, prompts in zip(numbers, lists["activation_signature"], lists["prompt_ids"], strict=True):
        if prompts is not None and len(values or ()) != len(prompts):
            mistakes.add(number, f"{len(values or ())} values in activation_signature, {len(prompts)} prompt_ids")
    _twice(columns, numbers, mistakes)
    claimed = [_claims(row.get("causal_effects"), number, mistakes) for row, number in zip(rows, numbers, strict=True)]
    mistakes.raise_if_any()
    if not rows:
        raise FormatError(f"{path.name} holds no features", where=path.name, expected="an object a line")
    models = sorted({name for name in columns["model"] if name is not None})
    wanted = model if model is not None else models[0]
    if wanted not in models or (model is None and len(models) > 1):
        raise _which(path.name, model, models)
    sites = [
        _site(name or "", site, layer, n_layers)
        for name, site, layer in zip(columns["feature_id"], columns["site"], layers, strict=True)
    ]
    table = pl.DataFrame(
        {
            "feature_id": pl.Series(columns["feature_id"], dtype=pl.String),
            "site": pl.Series(sites, dtype=pl.String),
            "layer": pl.Series(layers, dtype=pl.Int64),
            "label": pl.Series([label or None for label in columns["label"]], dtype=pl.String),
            "examples": pl.Series(lists["examples"], dtype=pl.List(pl.String)),
            "activation_signature": pl.Series(lists["activation_signature"], dtype=pl.List(pl.Float64)),
            "prompt_ids": pl.Series(lists["prompt_ids"], dtype=pl.List(pl.String)),
            "decoder_signature": pl.Series(lists["decoder_signature"], dtype=pl.List(pl.Float64)),
            "basis": pl.Series(columns["basis"], dtype=pl.String),
            "claimed_effects": pl.Series(claimed, dtype=pl.String),
            "source": pl.Series(columns["source"], dtype=pl.String),
            "extra": pl.Series([_rest(row) for row in rows], dtype=pl.String),
        }
    )
    own = [place for place, name in enumerate(columns["model"]) if name == wanted]
    own.sort(key=lambda place: natural(columns["feature_id"][place] or ""))
    return Dump(wanted, table[own], file_sha256(path))


def _lists(
    rows: Sequence[dict[str, Any]], numbers: Sequence[int], key: str, kind: type, mistakes: Mistakes
) -> list[list[Any] | None]:
    out: list[list[Any] | None] = []
    for row, number in zip(rows, numbers, strict=True):
        values = row.get(key)
        own = (str,) if kind is str else (float, int)
        if not (values is None or (isinstance(values, list) and all(type(value) in own for value in values))):
            mistakes.add(
                number, f"{key} must be a list of {'texts' if kind is str else 'finite numbers'}, got {values!r}"
            )
            values = None
        out.append([kind(value) for value in values] if values else None)
    return out


def _twice(columns: dict[str, list[str | None]], numbers: Sequence[int], mistakes: Mistakes) -> None:
    first: dict[tuple[str | None, str | None], int] = {}
    for name, model, number in zip(columns["feature_id"], columns["model"], numbers, strict=True):
        if name is not None and (before := first.setdefault((name, model), number)) != number:
            mistakes.add(number, f"feature {name!r} stands already on line {before}")


def _claims(value: Any, number: int, mistakes: Mistakes) -> str | None:
    from pydantic_core import to_json

    if not isinstance(value, dict | None) or not all(type(v) in (float, int) for v in (value or {}).values()):
        mistakes.add(number, f"causal_effects must be a map of name to finite number, got {value!r}")
        return None
    return to_json(dict(sorted(value.items()))).decode() if value else None


def _site(name: str, site: str | None, layer: int | None, n_layers: int | None) -> str | None:
    address = FeatureAddress.parse(name, n_layers)
    if address is not None:
        return address.site
    if site is not None:
        try:
            return str(Site.parse(site))
        except UserError:
            return site
    if layer is None or n_layers is None or not 0 <= layer <= n_layers:
        return None
    return str(hidden_state(layer, n_layers))


def _rest(row: dict[str, Any]) -> str | None:
    from pydantic_core import to_json

    rest = {key: row[key] for key in sorted(row.keys() - _OWN) if row[key] not in (None, {})}
    return to_json(rest).decode() if rest else None


def _which(name: str, model: str | None, known: list[str]) -> UserError:
    if model is not None:
        return no_such_model(name, model, known)
    return UserError(
        f"{name} holds features of several models", expected="the id of one: " + ", ".join(known), code="several_models"
    )
