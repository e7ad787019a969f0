"""Groups of things that are active together, by the length of their description.

1. MDL = Σ s_i (log2 k + α r_i): to say which of k groups is active costs log2 k bits, and α bits a rank; s_i is how
   often group i is active, r_i how many things it holds
2. merging i and j changes it by
   cost = S log2((k − 1)/k) − log2(k − 1) c_ij + α [s_ij (r_i + r_j) − s_i r_i − s_j r_j],
   S = Σ s, s_ij the rate of (i or j), c_ij = s_i + s_j − s_ij that of (i and j): the published form, gathered
3. for rare things the second term alone pays: one name fewer is worth S log2((k − 1)/k) whatever they do, so that
   independent activity would be merged. A pair may therefore merge only if it is active together more often than
   independence explains: P(Poisson(rows s_i s_j) ≥ observed) ≤ level / pairs at the start. `level` 1: any pair may
4. next pair: the cheapest (`greedy`), uniform among those within 5 % of the cost range (`range`), or softmax(−cost/T)
   (`sample`); activity is merged by or
5. stop at the first minimum above 0, at `until` groups, after `steps` merges, or where no pair may merge

Source: MDL clustering of attribution-based parameter decomposition. Cost: O(k²) a merge, and k · rows/64 words for the
new group's activity. Units: bits a row.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64, UInt8

Choice = Literal["greedy", "range", "sample"]
WITHIN = 0.05
"""Share of the range of costs that `range` draws from."""


class Merge(NamedTuple):
    """One step: the two groups by their lowest members, what it changed, and what came of it."""

    left: int
    right: int
    cost: float
    groups: int
    mdl: float


class Groups(NamedTuple):
    """Where it ended."""

    member_of: Int64[np.ndarray, " thing"]
    """The lowest member of each thing's group."""
    history: tuple[Merge, ...]
    start: float
    """MDL before the first merge."""
    rows: int


def mdl(rates: Float64[np.ndarray, " group"], ranks: Float[np.ndarray, " group"], alpha: float) -> float:
    """Bits a row."""
    return float((rates * (np.log2(len(rates)) + alpha * ranks)).sum()) if len(rates) else 0.0


def merge_costs(
    rates: Float64[np.ndarray, " group"],
    ranks: Float[np.ndarray, " group"],
    both: Float64[np.ndarray, "group group"],
    alpha: float,
) -> Float64[np.ndarray, "group group"]:
    """What merging each pair would change; `both` is the rate of (i and j). The diagonal means nothing."""
    k = len(rates)
    return _costs(float(rates.sum()), k, both, alpha * _ranked(rates, ranks, both))


def group(
    active: Bool[np.ndarray, "row thing"],
    *,
    alpha: float = 1.0,
    choice: Choice = "range",
    temperature: float = 0.01,
    until: int | None = None,
    steps: int | None = None,
    level: float | int = 0.05,
    seed: int = 0,
) -> Groups:
    """Merge until nothing is gained, or until a count is reached.

    Args:
        active: which things are active on which rows.
        alpha: bits a rank.
        choice: of the next pair.
        temperature: of `sample`, in bits a row.
        until: groups to stop at; None: the first minimum above 0.
        steps: merges to stop after.
        level: chance that any of the pairs of independent things may merge; 1 is the published rule.
        seed: of `range` and `sample`.
    """
    rows, things = active.shape
    luck = np.random.default_rng(seed)
    bits = np.packbits(active.T, axis=1)
    counts = _and_counts(active)
    rates = np.diag(counts) / max(rows, 1)
    both = counts / max(rows, 1)
    ranks = np.ones(things)
    static = alpha * _ranked(rates, ranks, both)
    name: Int64[np.ndarray, " group"] = np.arange(things, dtype=np.int64)
    member_of = name.copy()
    start = length = mdl(rates, ranks, alpha)
    least = level / max(1, things * (things - 1) // 2)
    apart = _apart(both, rates, rows, least) if level < 1 else np.zeros(both.shape, bool)
    history: list[Merge] = []
    while len(name) > max(1, until or 1) and (steps is None or len(history) < steps):
        cost = _costs(float(rates.sum()), len(name), both, static)
        found = _next(cost, ~apart, choice, temperature, luck)
        if found is None or (until is None and steps is None and found[2] > 0):
            break
        i, j, _ = found
        paid = float(cost[i, j])
        member_of[member_of == name[j]] = name[i]
        pair = int(name[i]), int(name[j])
        bits[i] |= bits[j]
        ranks[i] += ranks[j]
        keep = np.arange(len(name)) != j
        name, bits, ranks, rates = name[keep], bits[keep], ranks[keep], rates[keep]
        both, static, apart = both[keep][:, keep], static[keep][:, keep], apart[keep][:, keep]
        shared = _shared(bits, i) / max(rows, 1)  # i < j, so its place stays
        rates[i] = shared[i]
        both[i], both[:, i] = shared, shared
        column = alpha * _ranked_one(rates, ranks, shared, i)
        static[i], static[:, i] = column, column
        if level < 1:
            apart[i] = _apart(shared, rates[i] * rates, rows, least, product=True)
            apart[:, i] = apart[i]
        length += paid
        history.append(Merge(*pair, paid, len(name), length))
    return Groups(member_of, tuple(history), start, rows)


def shuffled(active: Bool[np.ndarray, "row thing"], seed: int) -> Bool[np.ndarray, "row thing"]:
    """Each thing's activity on rows of its own: rates stay, what is shared goes."""
    luck = np.random.default_rng(seed)
    return luck.permuted(active, axis=0)


def _costs(
    total: float, k: int, both: Float64[np.ndarray, "group group"], static: Float64[np.ndarray, "group group"]
) -> Float64[np.ndarray, "group group"]:
    fewer = np.log2(k - 1) if k > 1 else 0.0
    return total * (fewer - np.log2(k)) - fewer * both + static


def _ranked(
    rates: Float64[np.ndarray, " group"], ranks: Float[np.ndarray, " group"], both: Float64[np.ndarray, "group group"]
) -> Float64[np.ndarray, "group group"]:
    either = rates[:, None] + rates[None, :] - both
    own = rates * ranks
    return either * (ranks[:, None] + ranks[None, :]) - own[:, None] - own[None, :]


def _ranked_one(
    rates: Float64[np.ndarray, " group"],
    ranks: Float[np.ndarray, " group"],
    shared: Float64[np.ndarray, " group"],
    one: int,
) -> Float64[np.ndarray, " group"]:
    either = rates[one] + rates - shared
    return either * (ranks[one] + ranks) - rates[one] * ranks[one] - rates * ranks


def _apart(
    both: Float64[np.ndarray, "..."],
    rates: Float64[np.ndarray, "..."],
    rows: int,
    least: float,
    *,
    product: bool = False,
) -> Bool[np.ndarray, "..."]:
    """Pairs that are active together no more often than chance explains; `rates` may be products of rates already."""
    from scipy.special import gammainc  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

    expected = rows * (rates if product else np.outer(rates, rates))
    seen = np.rint(rows * both)
    # P(Poisson(m) ≥ n) is the regularised gamma function of (n, m); of n = 0 it is 1.
    tail = np.where(seen > 0, gammainc(np.maximum(seen, 1), expected), 1.0)
    return tail > least


def _next(
    cost: Float64[np.ndarray, "group group"],
    may: Bool[np.ndarray, "group group"],
    choice: Choice,
    temperature: float,
    luck: np.random.Generator,
) -> tuple[int, int, float] | None:
    """A pair i < j that may merge, and the lowest cost of any; None where no pair may."""
    i, j = np.nonzero(np.triu(may, k=1))
    if not len(i):
        return None
    flat: Float64[np.ndarray, " pair"] = cost[i, j]
    lowest = float(flat.min())
    match choice:
        case "greedy":
            at = int(flat.argmin())
        case "range":
            near = np.flatnonzero(flat <= lowest + WITHIN * (float(flat.max()) - lowest))
            at = int(near[luck.integers(len(near))])
        case "sample":
            share = np.cumsum(np.exp((lowest - flat) / temperature))
            at = min(int((share <= luck.random() * share[-1]).sum()), len(flat) - 1)
    return int(i[at]), int(j[at]), lowest


def _and_counts(active: Bool[np.ndarray, "row thing"]) -> Float64[np.ndarray, "thing thing"]:
    held = active.astype(np.float32)
    out = np.zeros((active.shape[1], active.shape[1]))
    for first in range(0, len(held), 1 << 20):  # float32 counts whole numbers up to 2^24
        part = held[first : first + (1 << 20)]
        out += part.T @ part
    return out


def _shared(bits: UInt8[np.ndarray, "group byte"], one: int) -> Float64[np.ndarray, " group"]:
    """Rows on which each group and one of them are active."""
    return np.bitwise_count(bits & bits[one]).sum(axis=1, dtype=np.int64).astype(np.float64)
