"""Groups of things that are active together, by the length of their description.

1. MDL = Σ s_i (log2 k + α r_i): to say which of k groups is active costs log2 k bits, and α bits a rank; s_i is how
   often group i is active, r_i how many things it holds
2. merging i and j changes it by
   cost = S log2((k − 1)/k) − log2(k − 1) c_ij + α [s_ij (r_i + r_j) − s_i r_i − s_j r_j],
   S = Σ s, s_ij the rate of (i or j), c_ij = s_i + s_j − s_ij that of (i and j): the published form, gathered
3. for rare things the second term alone pays: one name fewer is worth S log2((k − 1)/k) whatever they do, so that
   independent activity would be merged. A pair may therefore merge only if it is active together more often than
   independence explains: P(Poisson(rows s_i s_j) ≥ observed) ≤ level / pairs at the start. Rows of one text resemble
   each other, so that things which keep to texts meet in runs: with `texts`, the excess over s_i s_j, a sum a block of
   whole texts, has to be above 0 by a t-test over blocks at the same level, too. `level` 1: any pair may
4. next pair: the cheapest (`greedy`), uniform among those within 5 % of the cost range (`range`), or softmax(−cost/T)
   (`sample`); activity is merged by or
5. stop at the first minimum above 0, at `until` groups, after `steps` merges, or where no pair may merge

Source: MDL clustering of attribution-based parameter decomposition. Cost: O(k²) a merge, and k · rows/64 words for the
new group's activity. Units: bits a row.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from radiograph.core.shapes import Bool, Float, Float64, Int64, UInt8

Choice = Literal["greedy", "range", "sample"]
WITHIN = 0.05
"""Share of the range of costs that `range` draws from."""
BLOCKS = 256
"""Most blocks of whole texts over which an excess is tested."""


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
    texts: Int64[np.ndarray, " row"] | None = None,
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
        texts: number of the text of each row; None: rows are independent of each other.
        seed: of `range` and `sample`.
    """
    rows, things = active.shape
    luck = np.random.default_rng(seed)
    held = _Blocks.of(active, texts)
    met = held.pairs(active)
    rates = np.diag(met.seen) / max(rows, 1)
    both = met.seen / max(rows, 1)
    ranks = np.ones(things)
    static = alpha * _ranked(rates, ranks, both)
    name: Int64[np.ndarray, " group"] = np.arange(things, dtype=np.int64)
    member_of = name.copy()
    start = length = mdl(rates, ranks, alpha)
    least = level / max(1, things * (things - 1) // 2)
    apart = held.apart(met, np.outer(rates, rates), least) if level < 1 else np.zeros(both.shape, bool)
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
        ranks[i] += ranks[j]
        keep = np.arange(len(name)) != j
        held.merge(i, j)
        name, ranks, rates = name[keep], ranks[keep], rates[keep]
        both, static, apart = both[keep][:, keep], static[keep][:, keep], apart[keep][:, keep]
        met = held.with_one(i)  # i < j, so its place stays
        shared = met.seen / max(rows, 1)
        rates[i] = shared[i]
        both[i], both[:, i] = shared, shared
        column = alpha * _ranked_one(rates, ranks, shared, i)
        static[i], static[:, i] = column, column
        if level < 1:
            apart[i] = held.apart(met, rates[i] * rates, least)
            apart[:, i] = apart[i]
        length += paid
        history.append(Merge(*pair, paid, len(name), length))
    return Groups(member_of, tuple(history), start, rows)


def shifted(
    active: Bool[np.ndarray, "row thing"], texts: Int64[np.ndarray, " row"], seed: int
) -> Bool[np.ndarray, "row thing"]:
    """Each thing's activity with texts in an order of its own, each turned round by a number of rows of its own.

    Rates stay, and so do runs and what keeps to texts; what is shared goes, also what follows from places in a text.
    """
    luck = np.random.default_rng(seed)
    order = np.argsort(texts, kind="stable")
    size = np.unique(texts, return_counts=True)[1]
    starts = np.cumsum(size) - size
    found = np.empty_like(active)
    for thing in range(active.shape[1]):
        drawn = luck.permutation(len(size))
        lengths = size[drawn]
        place = np.arange(len(active)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        turned = (place + np.repeat(luck.integers(0, lengths), lengths)) % np.repeat(lengths, lengths)
        found[order, thing] = active[order[np.repeat(starts[drawn], lengths) + turned], thing]
    return found


class _Met(NamedTuple):
    """Rows on which pairs are active together; over blocks, their squares, and products with sizes of blocks."""

    seen: Float64[np.ndarray, "..."]
    squares: Float64[np.ndarray, "..."]
    sized: Float64[np.ndarray, "..."]


class _Blocks:
    """Which groups are active on which rows, by blocks of whole texts; a block is whole bytes."""

    def __init__(self, bits: UInt8[np.ndarray, "group byte"], order: Int64[np.ndarray, " row"], ends: Any) -> None:
        self.bits, self.order, self.ends = bits, order, ends
        self.sizes = np.diff(ends, prepend=0).astype(np.float64)
        self.starts = np.cumsum(-(-self.sizes.astype(np.int64) // 8)) - -(-self.sizes.astype(np.int64) // 8)

    @classmethod
    def of(cls, active: Bool[np.ndarray, "row thing"], texts: Int64[np.ndarray, " row"] | None) -> _Blocks:
        """Of single things."""
        if texts is None or not len(texts):
            order, block = np.arange(len(active)), np.zeros(len(active), np.int64)
        else:
            names, number = np.unique(texts, return_inverse=True)
            order = np.argsort(number, kind="stable")
            block = number[order] * min(BLOCKS, len(names)) // len(names)
        ends = np.flatnonzero(np.append(block[1:] != block[:-1], True)) + 1 if len(block) else np.zeros(1, np.int64)
        parts = np.split(active[order], ends[:-1])
        return cls(np.concatenate([np.packbits(part.T, axis=1) for part in parts], axis=1), order, ends)

    def pairs(self, active: Bool[np.ndarray, "row thing"]) -> _Met:
        """Of all of them."""
        held = active[self.order].astype(np.float32)
        things = active.shape[1]
        found = _Met(*(np.zeros((things, things)) for _ in range(3)))
        for first, last in zip(np.append(0, self.ends[:-1]).tolist(), self.ends.tolist(), strict=True):
            both = np.zeros((things, things))
            for start in range(first, last, 1 << 20):  # float32 counts whole numbers up to 2^24
                part = held[start : min(last, start + (1 << 20))]
                both += part.T @ part
            for total, more in zip(found, (both, both * both, both * (last - first)), strict=True):
                total += more
        return found

    def with_one(self, one: int) -> _Met:
        """Of one of them with each."""
        counts = np.bitwise_count(self.bits & self.bits[one])
        both = np.add.reduceat(counts, self.starts, axis=1, dtype=np.int64) if counts.shape[1] else counts[:, :0]
        both = both.astype(np.float64)
        return _Met(both.sum(axis=1), (both * both).sum(axis=1), both @ self.sizes[: both.shape[1]])

    def merge(self, i: int, j: int) -> None:
        """Activity of j is that of i from now on."""
        self.bits[i] |= self.bits[j]
        self.bits = np.delete(self.bits, j, axis=0)

    def apart(self, met: _Met, products: Float64[np.ndarray, "..."], least: float) -> Bool[np.ndarray, "..."]:
        """Pairs that are active together no more often than chance explains; `products` are those of their rates."""
        from scipy.special import gammainc, stdtr  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

        rows, blocks = float(self.sizes.sum()), len(self.sizes)
        expected = rows * products
        # P(Poisson(m) ≥ n) is the regularised gamma function of (n, m); of n = 0 it is 1.
        found = np.where(met.seen > 0, gammainc(np.maximum(met.seen, 1), expected), 1.0) > least
        if blocks < 2:
            return found
        excess = met.seen - expected
        squares = met.squares - 2 * products * met.sized + products**2 * float((self.sizes**2).sum())
        spread = np.sqrt(np.maximum(squares - excess**2 / blocks, 0) * blocks / (blocks - 1))
        with np.errstate(divide="ignore", invalid="ignore"):
            tail = np.where(excess > 0, stdtr(blocks - 1, -excess / spread), 1.0)
        return found | ~(tail <= least)


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
