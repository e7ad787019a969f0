"""Vectors of every kind that planes are made of.

Kinds that labels decide are written as terms, filters: sums of their means (`means contrast difference sum`), or the
normal of a ridge probe each (`probe`). A sweep rebuilds them inside every relabelling, and a fold fits them without one
core. Components are fitted without it too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from radiograph.core import Refusal, UserError
from radiograph.evidence.resonance import Filter, NullName, RoleName
from radiograph.methods.resonance._planes._groups import filterable, grouped

if TYPE_CHECKING:
    from radiograph.store.planes import VectorRows

ALIKE = 50
"""Features of one firing-rate decile that stand for each other, at most."""
_TERM = re.compile(r"\s*([+-])?\s*(?:(\d+(?:\.\d+)?)\s*\*\s*)?mean\(([^()]*)\)")


@dataclass(eq=False)
class Made:
    """Vectors and what a record says of them."""

    vectors: np.ndarray
    labels: list[str]
    role: RoleName
    null: NullName
    terms: list[str] = field(default_factory=list)
    weights: np.ndarray | None = None
    counts: dict[str, int] = field(default_factory=dict)
    folds: np.ndarray | None = None
    fold_names: list[str] = field(default_factory=list)
    pool: np.ndarray | None = None
    alike: np.ndarray | None = None
    fit: Literal["means", "ridge"] = "means"
    fitted: bool = False
    """Whether rows decided the vectors."""


def means(rows: VectorRows, by: Sequence[str], of: Sequence[str], least: int) -> Made:
    """One mean a group of the factors, or a filter."""
    terms = list(of) or _groups(rows, by)
    return summed(rows, [f"mean({term})" for term in terms], least, labels=terms)


def contrast(rows: VectorRows, by: Sequence[str], least: int) -> Made:
    """Group less grand mean."""
    terms = _groups(rows, by)
    return summed(rows, [f"mean({term}) - mean()" for term in terms], least, labels=[f"{t} − all" for t in terms])


def difference(rows: VectorRows, of: Sequence[str], least: int) -> Made:
    """A less B, and C less D or the first principal component of all rows."""
    if len(of) not in (2, 4):
        wanted = "--of A --of B [--of C --of D]"
        raise UserError("a difference takes two filters or four", expected=wanted, got=str(len(of)))
    made = summed(
        rows,
        [f"mean({a}) - mean({b})" for a, b in zip(of[::2], of[1::2], strict=True)],
        least,
        labels=[f"{a} − {b}" for a, b in zip(of[::2], of[1::2], strict=True)],
    )
    if len(of) == 2:
        first, folds = folded_components(rows, 1)
        made.vectors = np.concatenate([made.vectors, first])
        made.labels.append("component 1 of all rows")
        if made.folds is not None and folds is not None:
            made.folds = np.concatenate([made.folds, folds], axis=1)
        else:
            made.folds, made.fold_names = None, []
    return made


def summed(rows: VectorRows, of: Sequence[str], least: int, labels: Sequence[str] = ()) -> Made:
    """Sums of means, with a basis for each core left out.

    Raises:
        Refusal: a term of fewer than `least` rows. UserError: not a sum of means.
    """
    terms: dict[str, int] = {}
    parsed = [_parsed(text) for text in of]
    for parts in parsed:
        for _, term in parts:
            terms.setdefault(term, len(terms))
    weights = np.zeros((len(of), len(terms)))
    for place, parts in enumerate(parsed):
        for weight, term in parts:
            weights[place, terms[term]] += weight
    masks, counts = _masks(rows, list(terms), least)
    values = rows.values.astype(np.float64)
    cores, names = _cores(rows)
    vectors = weights @ _term_means(values, masks)
    folds = []
    for name in names:
        left = masks & (cores != name)
        if not left.any(axis=1).all():
            folds = []
            break
        folds.append(weights @ _term_means(values, left))
    point = np.allclose(weights.sum(axis=1), 1)
    made = Made(vectors, list(labels) or list(of), "point" if point else "difference", "labels", list(terms), weights)
    made.counts, made.fitted = counts, True
    if folds:
        made.folds, made.fold_names = np.stack(folds), names
    return made


def probes(rows: VectorRows, of: Sequence[str], least: int) -> Made:
    """Normals of ridge probes, each for the rows of a filter against the rest.

    Raises:
        Refusal: a filter, or what is outside it, of fewer than `least` rows.
    """
    from radiograph.numerics.planes import ridge

    masks, counts = _masks(rows, list(of), least)
    _enough({f"not {term}": int((~mask).sum()) for term, mask in zip(of, masks, strict=True)}, least)
    values = rows.values.astype(np.float64)
    products, (cores, names) = values @ values.T, _cores(rows)
    targets = masks.astype(np.float64)
    weights = np.eye(len(of))
    made = Made(targets @ ridge(products, cores != "") @ values, list(of), "covector", "labels", list(of), weights)
    made.counts, made.fit, made.fitted = counts, "ridge", True
    varied = all((masks[:, cores != n].any(axis=1) & ~masks[:, cores != n].all(axis=1)).all() for n in names)
    if varied and len(names) > 1:
        made.folds = np.stack([targets @ ridge(products, cores != name) @ values for name in names])
        made.fold_names = names
    return made


def pca(rows: VectorRows, count: int) -> Made:
    """Components."""
    found, folds = folded_components(rows, count)
    made = Made(found, [f"component {i + 1}" for i in range(count)], "difference", "gaussian", fitted=True)
    if folds is not None:
        made.folds, made.fold_names = folds, _cores(rows)[1]
    return made


def folded_components(rows: VectorRows, count: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Components of all rows, and of all but each core, turned among themselves to lie nearest to those of all.

    Alone they would change places and signs from fold to fold.
    """
    values, (cores, names) = rows.values, _cores(rows)
    whole = components(values, count)
    if min(int((cores != name).sum()) for name in names) <= count:
        return whole, None
    folds = []
    for name in names:
        own = components(values[cores != name], count)
        left, _, right = np.linalg.svd(whole @ own.T)
        folds.append(left @ right @ own)
    return whole, np.stack(folds)


def components(values: np.ndarray, count: int) -> np.ndarray:
    """The first principal components, signs so that the largest entry is positive."""
    centred = values.astype(np.float64) - values.mean(axis=0, dtype=np.float64)
    if not 1 <= count <= min(centred.shape):
        raise UserError("more components than there are", expected=f"1 to {min(centred.shape)}", got=str(count))
    axes = np.linalg.svd(centred, full_matrices=False)[2][:count]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
    return axes * np.sign(largest)


def one_hot(units: Sequence[int], width: int) -> Made:
    """Unit axes."""
    outside = [unit for unit in units if not 0 <= unit < width]
    if outside or len(set(units)) < len(units):
        wanted, got = f"different numbers from 0 to {width - 1}", ", ".join(map(str, units))
        raise UserError("not units of the site", expected=wanted, got=got, code="bad_unit")
    vectors = np.zeros((len(units), width))
    vectors[np.arange(len(units)), list(units)] = 1
    return Made(vectors, [f"[{unit}]" for unit in units], "difference", "matched")


def decoder(directions: np.ndarray, chosen: Sequence[int], rates: np.ndarray | None, seed: int) -> Made:
    """Write directions of features; with firing rates, beside them features of the same decile, which share a null."""
    outside = [i for i in chosen if not 0 <= i < len(directions)]
    if outside:
        raise UserError("not features of the dictionary", expected=f"0 to {len(directions) - 1}", got=str(outside))
    made = Made(directions[list(chosen)], [f"feature {i}" for i in chosen], "difference", "pool")
    if rates is None:
        return made
    silent = [i for i in chosen if rates[i] <= 0]
    if silent:
        raise UserError("features that never fire have no decile", expected="features that fire", got=str(silent))
    alive = np.flatnonzero((rates > 0) & (np.linalg.norm(directions, axis=1) > 0))
    ranks = np.argsort(np.argsort(rates[alive], kind="stable"), kind="stable")
    decile = dict(zip(alive.tolist(), (ranks * 10 // len(alive)).tolist(), strict=True))
    mixed = np.random.default_rng(seed).permutation(alive)
    like = [[i, *(j for j in mixed.tolist() if j != i and decile[j] == decile[i])] for i in chosen]
    count = min(ALIKE, *(len(row) for row in like))
    pool = sorted({i for row in like for i in row[:count]})
    made.pool = directions[pool]
    made.alike = np.array([[pool.index(i) for i in row[:count]] for row in like])
    return made


def drawn(kind: str, count: int, width: int, rows: VectorRows | None, seed: int) -> Made:
    """Isotropic, covariance-shaped, or differences of random halves."""
    from radiograph.numerics.planes import gaussian_vectors, haar_vectors, half_vectors

    if kind == "haar":
        return Made(haar_vectors(width, count, seed), [f"haar {i}" for i in range(count)], "difference", "haar")
    if kind not in ("gaussian", "split") or rows is None:
        raise UserError(
            "random vectors are haar, or gaussian or split of VECTORS",
            expected="--of haar|gaussian|split --of N",
            got=kind,
        )
    made = (gaussian_vectors if kind == "gaussian" else half_vectors)(rows.values.astype(np.float64), count, seed)
    return Made(made, [f"{kind} {i}" for i in range(count)], "difference", "haar", fitted=kind == "split")


def _groups(rows: VectorRows, by: Sequence[str]) -> list[str]:
    if not by:
        raise UserError("which factor?", expected="--by FACTOR[,FACTOR]", got="no --by")
    grouped(rows, by)
    columns = filterable(rows)
    seen = dict.fromkeys(zip(*(columns[name] for name in by), strict=True))
    return [",".join(f"{name}={value}" for name, value in zip(by, values, strict=True)) for values in seen]


def _masks(rows: VectorRows, terms: Sequence[str], least: int) -> tuple[np.ndarray, dict[str, int]]:
    columns = filterable(rows)
    masks = np.array([Filter.parse(term).mask(columns) for term in terms])
    counts = {term or "all": int(mask.sum()) for term, mask in zip(terms, masks, strict=True)}
    _enough(counts, least)
    return masks, counts


def _enough(counts: dict[str, int], least: int) -> None:
    few = {term: n for term, n in counts.items() if n < least}
    if few:
        raise Refusal(
            "group_too_small",
            "a vector of so few rows is mostly noise",
            expected=f"at least {least} rows a group",
            got=", ".join(f"{term}: {n}" for term, n in few.items()),
            fix="add rows, or lower --min-per-group",
        )


def _cores(rows: VectorRows) -> tuple[np.ndarray, list[str]]:
    """The core of each row as text, and every core once."""
    held: Sequence[Any] = filterable(rows).get("core", ["all"] * len(rows.values))
    cores = np.array([str(core) for core in held])
    return cores, list(dict.fromkeys(cores.tolist()))


def _parsed(text: str) -> list[tuple[float, str]]:
    parts, at = [], 0
    for match in _TERM.finditer(text):
        if match.start() != at or (at and match[1] is None):
            break
        parts.append(((-1.0 if match[1] == "-" else 1.0) * float(match[2] or 1), match[3].strip()))
        at = match.end()
    if not parts or text[at:].strip():
        raise UserError(
            "not a sum of means",
            where=text[at:] or text,
            expected="such as mean(type=declarative,level=5) - mean(level=1)",
            got=text,
            code="bad_sum",
        )
    return parts


def _term_means(values: np.ndarray, masks: np.ndarray) -> np.ndarray:
    return (masks @ values) / masks.sum(axis=1, keepdims=True)
