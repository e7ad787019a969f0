"""Rows of interventions as tables, ours and interp-lab's, column by column.

| column | ours | interp-lab |
|---|---|---|
| verb | `verb` | `intervention`, case folded |
| dose | `dose.value`, `unit`, `raw`, `norm_fraction` | `metadata.steer_strength` × `steer_sign` (`amplify`: `factor`) |
| target and own value | – | `metadata.target_value`, else `clamp_value`, else `source_value`; `metadata.own_value` |
| baseline, intervened | `baseline` `intervened` | `baseline_score` `intervention_score` |
| criterion | `criterion_id`, else `criterion` | `criterion` |
| control | `control.type`, `of`, `index` | `metadata.control_type`, `control_index`; of the feature itself |
| side effects | `side.kl`, `side.nll_ratio`, `side.quoted` | `side_effect_score`, one number a run, quoted |

`push` follows the verb (`numerics.effects.pushes`); where a row states one, the two must agree, but for verbs whose
push depends on values that the row does not hold. A dose of 0 makes a row a `placebo` of its feature.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from radiograph.core import nearest
from radiograph.evidence.interventions import CONTROLS
from radiograph.numerics.effects import VERBS, pushes
from radiograph.store.interventions._columns import COLUMNS, SCHEMA, TEXTS, WHOLE, column_types
from radiograph.store.lines import Mistakes, floats, texts, whole_numbers

if TYPE_CHECKING:
    import polars

FOREIGN_CONTROLS: Final = {
    "control": "random_direction",
    "negative_control": "random_direction",
    "random": "random_direction",
    "random_feature": "norm_matched",
    "matched_frequency": "frequency_matched",
}
_OURS: Final[dict[str, tuple[str, ...]]] = {
    "model": ("model",),
    "model_sha256": ("model_sha256",),
    "feature_id": ("feature_id",),
    "verb": ("verb",),
    "dose": ("dose", "value"),
    "dose_unit": ("dose", "unit"),
    "dose_raw": ("dose", "raw"),
    "norm_fraction": ("dose", "norm_fraction"),
    "push": ("push",),
    "positions": ("positions",),
    "criterion_id": ("criterion_id",),
    "criterion": ("criterion",),
    "prompt_id": ("prompt_id",),
    "group_id": ("group_id",),
    "split": ("split",),
    "kind": ("kind",),
    "outcome": ("outcome", "name"),
    "outcome_unit": ("outcome", "unit"),
    "baseline": ("baseline",),
    "intervened": ("intervened",),
    "kl": ("side", "kl"),
    "nll_ratio": ("side", "nll_ratio"),
    "side_quoted": ("side", "quoted"),
    "control": ("control", "type"),
    "control_of": ("control", "of"),
    "control_index": ("control", "index"),
    "seed": ("seed",),
}
_THEIRS: Final[dict[str, tuple[str, ...]]] = {
    "model": ("model",),
    "feature_id": ("feature_id",),
    "verb": ("intervention",),
    "dose": ("metadata", "steer_strength"),
    "sign": ("metadata", "steer_sign"),
    "factor": ("metadata", "factor"),
    "own": ("metadata", "own_value"),
    "criterion": ("criterion",),
    "prompt_id": ("prompt_id",),
    "group_id": ("group_id",),
    "kind": ("kind",),
    "outcome": ("metadata", "behavior_score"),
    "baseline": ("baseline_score",),
    "intervened": ("intervention_score",),
    "side_quoted": ("side_effect_score",),
    "control": ("metadata", "control_type"),
    "control_index": ("metadata", "control_index"),
    "seed": ("metadata", "seed"),
}
_TARGETS: Final = ("target_value", "clamp_value", "source_value")
_KINDS: Final = ("positive", "near_miss", "negative", "neutral")
_OWN_KEYS: Final = {path[0] for path in _OURS.values()} | {"schema"}
_THEIR_KEYS: Final = {path[0] for path in _THEIRS.values()} - {"metadata"}
_READ: Final = {path[1] for path in _THEIRS.values() if len(path) > 1} | {*_TARGETS}
BY_VALUE: Final = ("clamp", "patch", "patch_in")
"""Verbs whose push depends on the values of the row."""


def tables(rows: Sequence[dict[str, Any]], numbers: Sequence[int], mistakes: Mistakes) -> list[polars.DataFrame]:
    """The rows of either kind; `no_push` marks those whose feature was where it was put."""
    ours = [place for place, row in enumerate(rows) if "verb" in row or "schema" in row]
    theirs = [place for place in range(len(rows)) if place not in set(ours)] if len(ours) < len(rows) else []
    found: list[polars.DataFrame] = []
    for places, make in ((ours, _of_ours), (theirs, _of_theirs)):
        if places:
            found.append(make([rows[place] for place in places], [numbers[place] for place in places], mistakes))
    return found


def _of_ours(rows: Sequence[dict[str, Any]], numbers: Sequence[int], mistakes: Mistakes) -> polars.DataFrame:
    for row, number in zip(rows, numbers, strict=True):
        if row.get("schema", SCHEMA) != SCHEMA:
            mistakes.add(number, f"schema must be {SCHEMA}, got {row['schema']!r}")
    columns = _columns(rows, numbers, _OURS, mistakes)
    columns["control_said"] = [None] * len(rows)
    rest = _Rest(_OWN_KEYS)
    columns["extra"] = [_extra(rest.of(row)) for row in rows]
    return finished(columns, numbers, mistakes)


def _of_theirs(rows: Sequence[dict[str, Any]], numbers: Sequence[int], mistakes: Mistakes) -> polars.DataFrame:
    columns = _columns(rows, numbers, _THEIRS, mistakes)
    said = _objects(rows, numbers, "metadata", Mistakes(mistakes.name))
    targets = [next((meta[key] for key in _TARGETS if meta.get(key) is not None), None) for meta in said]
    columns["verb"] = [None if verb is None else verb.lower() for verb in columns["verb"]]
    signs = columns.pop("sign")
    # A direction without a strength: the push is known, the dose is not.
    columns["push"] = [
        (1 if sign > 0 else -1) if verb == "steer" and dose is None and sign else None
        for verb, dose, sign in zip(columns["verb"], columns["dose"], signs, strict=True)
    ]
    columns["dose"] = [
        factor
        if verb == "amplify" and factor is not None
        else None
        if dose is None
        else dose * (1.0 if sign is None else sign)
        for verb, dose, sign, factor in zip(columns["verb"], columns["dose"], signs, columns.pop("factor"), strict=True)
    ]
    columns["dose_unit"] = [None if dose is None else "raw" for dose in columns["dose"]]
    columns["control_said"] = [None if word is None else word.lower() for word in columns["control"]]
    columns["control"] = [FOREIGN_CONTROLS.get(word or "", word) for word in columns["control_said"]]
    columns["control_of"] = [None] * len(rows)
    outer, inner = _Rest(_THEIR_KEYS | {"metadata"}), _Rest(_READ)
    columns["extra"] = [_extra(outer.of(row) | inner.of(meta)) for row, meta in zip(rows, said, strict=True)]
    own, aims = columns.pop("own"), floats(targets, numbers, "metadata.target_value", mistakes)
    return finished(columns, numbers, mistakes, target=aims, own=own)


def _columns(
    rows: Sequence[dict[str, Any]], numbers: Sequence[int], paths: dict[str, tuple[str, ...]], mistakes: Mistakes
) -> dict[str, list[Any]]:
    outer = sorted({path[0] for path in paths.values() if len(path) > 1})
    inner = {key: _objects(rows, numbers, key, mistakes) for key in outer}
    found: dict[str, list[Any]] = {}
    for name, path in paths.items():
        key = path[len(path) - 1]
        values: list[Any] = [row.get(key) for row in (inner[path[0]] if len(path) > 1 else rows)]
        read: Callable[..., list[Any]] = texts if name in TEXTS else whole_numbers if name in WHOLE else floats
        found[name] = read(values, numbers, ".".join(path), mistakes)
    return found


def _objects(
    rows: Sequence[dict[str, Any]], numbers: Sequence[int], key: str, mistakes: Mistakes
) -> list[dict[str, Any]]:
    """What a key holds, an empty object where it holds none."""
    values: list[Any] = [row.get(key) for row in rows]
    for place, (value, number) in enumerate(zip(values, numbers, strict=True)):
        if type(value) is not dict:
            if value is not None:
                mistakes.add(number, f"{key} must be an object or null, got {value!r}")
            values[place] = {}
    return values


def finished(
    columns: dict[str, list[Any]],
    numbers: Sequence[int],
    mistakes: Mistakes,
    *,
    target: list[float | None] | None = None,
    own: list[float | None] | None = None,
) -> polars.DataFrame:
    """The table of columns that have their types: words looked up, pushes found and compared."""
    import polars as pl

    _require(columns, numbers, mistakes)
    _known(columns["verb"], numbers, "verb", VERBS, mistakes)
    _known(columns["control"], numbers, "control type", CONTROLS, mistakes)
    _known(columns["kind"], numbers, "kind", _KINDS, mistakes)
    verbs = [verb if verb in VERBS else "steer" for verb in columns["verb"]]
    found = pushes(verbs, dose=_array(columns["dose"]), target=_array(target), own=_array(own))
    push, assumed = found.push.tolist(), columns.get("push_assumed") or found.assumed.tolist()
    for place, said in enumerate(columns.get("push", ())):
        if said is None:
            continue
        free = found.assumed[place] or verbs[place] in BY_VALUE
        if said not in (-1, 0, 1) or (not free and said != push[place]):
            given = f"{columns['verb'][place]} at dose {columns['dose'][place]}"
            mistakes.add(numbers[place], f"push {said} contradicts {given}, whose push is {push[place]}")
        push[place] = max(-1, min(1, said))
        assumed[place] = bool("push_assumed" in columns and assumed[place])
    control, of = columns["control"], columns["control_of"]
    for place in np.flatnonzero(found.placebo).tolist():
        control[place] = control[place] or "placebo"
    of = [
        name or feature if kind else None
        for name, feature, kind in zip(of, columns["feature_id"], control, strict=True)
    ]
    columns |= {"push": push, "push_assumed": assumed, "control_of": of}
    kind = column_types()
    table = {
        name: pl.Series(name, columns.get(name) or [None] * len(numbers), dtype=kind[name], strict=False)
        for name in COLUMNS
    }
    still = [p == 0 and not zero for p, zero in zip(push, found.placebo.tolist(), strict=True)]
    return pl.DataFrame(table).with_columns(
        pl.coalesce("group_id", "prompt_id").alias("group_id"), pl.Series("no_push", still, dtype=pl.Boolean)
    )


def _require(columns: dict[str, list[Any]], numbers: Sequence[int], mistakes: Mistakes) -> None:
    for name in ("feature_id", "verb", "baseline", "intervened"):
        if None in columns[name]:
            for value, number in zip(columns[name], numbers, strict=True):
                if value is None:
                    mistakes.add(number, f"no {name}")
    hashes = columns.get("model_sha256") or [None] * len(numbers)
    for model, digest, number in zip(columns["model"], hashes, numbers, strict=True):
        if model is None and digest is None:
            mistakes.add(number, "no model and no model_sha256")


def _known(
    values: Sequence[str | None], numbers: Sequence[int], what: str, known: Sequence[str], mistakes: Mistakes
) -> None:
    if set(values) <= {None, *known}:
        return
    for value, number in zip(values, numbers, strict=True):
        if value is not None and value not in known:
            close = nearest(value, list(known))
            meant = f"; did you mean {' or '.join(close)}?" if close else ""
            mistakes.add(number, f"unknown {what} {value!r}{meant} Known: {' '.join(known)}")


def _array(values: list[float | None] | None) -> np.ndarray | None:
    return None if values is None else np.array(values, np.float64)


class _Rest:
    """What an object holds beside some keys; most rows have the same keys, so these are compared once."""

    def __init__(self, known: Set[str]) -> None:
        self._known = known
        self._seen: dict[tuple[str, ...], list[str]] = {}

    def of(self, row: dict[str, Any]) -> dict[str, Any]:
        keys = tuple(row)
        if keys not in self._seen:
            self._seen[keys] = sorted(row.keys() - self._known)
        return {key: row[key] for key in self._seen[keys]}


def _extra(rest: dict[str, Any]) -> str | None:
    from pydantic_core import to_json

    return to_json(rest).decode() if rest else None
