"""Short rules that say where a feature fires: at most four literals, joined from left to right.

    ((l₁ ∘ l₂) ∘ l₃) ∘ l₄        ∘ one of: or, and, and not

1. l₁ is the literal with the largest F1, F1 = 2·hits / (fired + predicted)
2. each further step takes the literal and the operation with the largest F1, while it gains at least `gain`
3. equal F1: the operation that comes first in (or, and, and not), then the literal with the smallest number
All features and literals at once: with R the tokens that the rule names so far and Y those that fire, the counts of all
continuations are the sparse products R·A, Y·A and (R∧Y)·A, A the table of literals. What a rule is worth is measured on
tokens that it was not learned from.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from radiograph.core.shapes import Float64, Int64
from radiograph.numerics.explanations.sparse import Sparse, ones, scaled

LITERALS = 4
OR, AND, NOT = 1, 2, 3
"""How a literal is joined; the first one has 0."""
_CHUNK = 1 << 23
"""Numbers of a [feature, literal] table at once."""


class Rules:
    """A rule a feature; literals of -1 are not there."""

    def __init__(self, literals: Int64[np.ndarray, "feature place"], joins: Int64[np.ndarray, "feature place"]) -> None:
        self.literals = literals
        self.joins = joins

    def __len__(self) -> int:
        return len(self.literals)

    def take(self, features: Int64[np.ndarray, " taken"]) -> Rules:
        """The rules of some features."""
        return Rules(self.literals[features], self.joins[features])


def learn(fires: Sparse, literals: Sparse, *, most: int = LITERALS, gain: float = 0.02, least: int = 5) -> Rules:
    """The rule of each feature.

    Args:
        fires: [feature, token], an entry where the feature fires.
        literals: [token, literal], an entry where the literal holds.
        most: literals of a rule.
        gain: what another literal has to add to F1.
        least: tokens where literal and feature meet; rarer literals are not considered.
    """
    features = fires.shape[0]
    chosen = np.full((features, most), -1, np.int64)
    joins = np.zeros((features, most), np.int64)
    step = max(1, _CHUNK // max(1, literals.shape[1]))
    for first in range(0, features, step):
        part = slice(first, min(features, first + step))
        chosen[part], joins[part] = _learned(ones(fires[part]), ones(literals), most, gain, least)
    return Rules(chosen, joins)


def applied(rules: Rules, literals: Sparse) -> Sparse:
    """[feature, token], an entry where the rule holds."""
    by_literal: Any = ones(literals).T.tocsr()
    held: Any = None
    for place in range(rules.literals.shape[1]):
        column = _rows_of(by_literal, rules.literals[:, place])
        held = column if held is None else _joined(held, column, rules.joins[:, place])
    return held


def _learned(
    fires: Any, literals: Any, most: int, gain: float, least: int
) -> tuple[Int64[np.ndarray, "feature place"], Int64[np.ndarray, "feature place"]]:
    features = fires.shape[0]
    fired = np.asarray(fires.sum(axis=1)).reshape(-1, 1)
    size = np.asarray(literals.sum(axis=0)).reshape(1, -1)
    together = _dense(fires @ literals)
    by_literal = literals.T.tocsr()
    chosen = np.full((features, most), -1, np.int64)
    joins = np.zeros((features, most), np.int64)
    f1 = _f1(together, size, fired, together >= least)
    chosen[:, 0] = f1.argmax(axis=1)
    best = f1.max(axis=1)
    chosen[best <= 0, 0] = -1
    held = _rows_of(by_literal, chosen[:, 0])
    open_ = best > 0
    for place in range(1, most):
        if not open_.any():
            break
        both = held.multiply(fires).tocsr()
        hits = np.asarray(both.sum(axis=1)).reshape(-1, 1)
        named = np.asarray(held.sum(axis=1)).reshape(-1, 1)
        met, overlap = _dense(both @ literals), _dense(held @ literals)
        joined = np.stack(
            [
                _f1(hits + together - met, named + size - overlap, fired, together - met >= least),
                _f1(met, overlap, fired, met >= least),
                _f1(hits - met, named - overlap, fired, overlap - met >= least),
            ],
            axis=1,
        ).reshape(features, -1)
        at = joined.argmax(axis=1)
        found = joined[np.arange(features), at]
        open_ &= found >= best + gain
        best = np.where(open_, found, best)
        joins[:, place] = np.where(open_, at // literals.shape[1] + 1, 0)
        chosen[:, place] = np.where(open_, at % literals.shape[1], -1)
        held = _joined(held, _rows_of(by_literal, chosen[:, place]), joins[:, place])
    return chosen, joins


def _f1(hits: Any, named: Any, fired: Any, known: Any) -> Float64[np.ndarray, "feature literal"]:
    return np.where(known, 2 * hits / np.maximum(fired + named, 1), 0.0)


def _joined(held: Any, column: Any, joins: Int64[np.ndarray, " feature"]) -> Any:
    """The rule so far with one more literal; where `joins` is 0 it stays."""
    common = held.multiply(column).tocsr()
    kept = scaled(held, joins != AND) + scaled(common, joins == AND)
    found = kept + scaled(column - common, joins == OR) - scaled(common, joins == NOT)
    found = found.tocsr()
    found.eliminate_zeros()
    return found


def _rows_of(by_literal: Any, literals: Int64[np.ndarray, " feature"]) -> Any:
    """[feature, token]: where the literal of each feature holds; nowhere for -1."""
    return scaled(by_literal[np.maximum(literals, 0)], literals >= 0)


def _dense(matrix: Any) -> Float64[np.ndarray, "feature literal"]:
    return np.asarray(matrix.todense(), np.float64)
