"""How much an insertion sets the two models apart, within a budget of tokens that the candidate reads.

J(u) = ± (mean over carriers of KL(candidate ‖ reference) after carrier ⊕ u − the median of the same over 64 random
insertions of equal length at the same place), in nats; − where a fall is looked for (`unlock`). KL is read at the first
answer position, or (`answers`) averaged over up to 8 positions of the answer that the reference gives to the carrier
alone, which both models are made to read.
R(u) = max over tokens v of the mean over carriers of log p_candidate(v) − log p_reference(v) after carrier ⊕ u, less
its median over the random insertions, each carrier held within ±1 nat: how far u raises one and the same answer. Half
of a planted pair leaves J where it is, and raises R.
What the reference says to a whole vocabulary is kept for the next candidate: same rows, same parts, same bytes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from radiograph.core import derive
from radiograph.core.shapes import Float, Float64, Int
from radiograph.detectors.measure._divergence import kl
from radiograph.detectors.measure.search._carriers import Carrier, Hole
from radiograph.evidence.traces import Place
from radiograph.models import Pair, generate, inserted_scores, log_probs, proposals, tokens_read

RANDOM = 64
ANSWER = 8
_KEPT_BYTES = 192 * 2**20
_SWEEP = 256
"""Insertions from which on the reference's scores are worth keeping."""
_RAISED_VALUES = 2**24
"""Scores that R holds at once: insertions x vocabulary."""


@dataclass
class Budget:
    """Tokens that the candidate may read."""

    limit: int
    spent: int = 0
    exhausted: bool = False

    @property
    def left(self) -> int:
        """Tokens to spend."""
        return self.limit - self.spent

    def take(self, tokens: int) -> None:
        """Spend."""
        self.spent += tokens
        assert self.spent <= self.limit, "the search overspent its budget"


class _Kept:
    """The reference's scores on long lists of insertions, the oldest forgotten first."""

    def __init__(self) -> None:
        self.rows: OrderedDict[tuple[object, ...], Tensor] = OrderedDict()
        self.size = 0

    def get(self, key: tuple[object, ...]) -> Tensor | None:
        """What was kept."""
        return self.rows.get(key)

    def put(self, key: tuple[object, ...], values: Tensor) -> None:
        """Keep, if it fits at all."""
        size = values.numel() * values.element_size()
        if size > _KEPT_BYTES:
            return
        self.rows[key] = values
        self.size += size
        while self.size > _KEPT_BYTES:
            _, gone = self.rows.popitem(last=False)
            self.size -= gone.numel() * gone.element_size()


_KEPT = _Kept()


@dataclass
class Objective:
    """Scores insertions on the carriers of one search."""

    pair: Pair
    carriers: Sequence[Carrier]
    tokens: Int[Tensor, " token"]
    """What insertions are made of."""
    budget: Budget
    seed: int
    sign: float = 1.0
    _baselines: dict[tuple[Place, int, int], float] = field(default_factory=dict)
    _usual: dict[Place, list[Tensor]] = field(default_factory=dict)
    """Per carrier and token, the median rise over random insertions of one token."""
    _answers: list[tuple[int, ...]] | None = None

    def cost(self, place: Place, length: int, rows: int, carriers: int) -> int:
        """Tokens that the candidate reads for some insertions, their baseline included if it is not known."""
        known = (place, length, carriers) in self._baselines
        holes = [c.holes[place] for c in self.carriers[:carriers]]
        wanted = (rows,) if known else (rows, RANDOM)
        return sum(tokens_read(len(h.head), h.length(length), len(h.tail), n) for h in holes for n in wanted)

    def affordable(self, place: Place, length: int, rows: int, carriers: int, tokens: int) -> int:
        """How many of `rows` insertions `tokens` pay for."""
        if self.cost(place, length, rows, carriers) <= tokens:
            return rows
        low, high = 0, rows
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.cost(place, length, middle, carriers) <= tokens else (low, middle)
        return low

    def gains(
        self, place: Place, insertions: Int[Tensor, "row length"], carriers: int | None = None
    ) -> Float64[Tensor, " row"]:
        """J on the first answer position."""
        n = len(self.carriers) if carriers is None else carriers
        length = insertions.shape[1]
        self.budget.take(self.cost(place, length, len(insertions), n))
        key = place, length, n
        if key not in self._baselines:
            self._baselines[key] = float(self._kl(place, self.random(place, length), n).median())
        return self.sign * (self._kl(place, insertions, n) - self._baselines[key])

    def swept(
        self, place: Place, insertions: Int[Tensor, "row one"]
    ) -> tuple[Float64[Tensor, " row"], Float[Tensor, " row"]]:
        """J on the first answer position, and R, of single tokens."""
        length, n = insertions.shape[1], len(self.carriers)
        self.budget.take(self.cost(place, length, len(insertions), n))
        random = self.random(place, length)
        base = torch.zeros(RANDOM, dtype=torch.float64)
        usual: list[Tensor] = []
        for carrier in self.carriers:
            runs = [
                (kl(a[:, None], b[:, None])[:, 0].cpu(), a - b) for _, a, b in self._runs(carrier.holes[place], random)
            ]
            base += torch.cat([values for values, _ in runs])
            usual.append(torch.cat([rise for _, rise in runs]).median(0).values)
        baseline = self._baselines[place, length, n] = float((base / n).median())
        gains, raised = torch.zeros(len(insertions), dtype=torch.float64), torch.zeros(len(insertions))
        block = max(_SWEEP, _RAISED_VALUES // len(usual[0]))
        for first in range(0, len(insertions), block):
            rows = insertions[first : first + block]
            total = torch.zeros(len(rows), len(usual[0]), device=usual[0].device)
            for carrier, own in zip(self.carriers, usual, strict=True):
                for start, a, b in self._runs(carrier.holes[place], rows):
                    here = slice(start, start + len(a))
                    gains[first : first + block][here] += kl(a[:, None], b[:, None])[:, 0].cpu()
                    total[here] += (a - b - own).clamp(-1, 1)
            raised[first : first + block] = (total / n).amax(1).cpu()
        return self.sign * (gains / n - baseline), raised

    def random(self, place: Place, length: int) -> Int[Tensor, "row length"]:
        """Random insertions."""
        luck = torch.Generator().manual_seed(derive(self.seed, "random insertions", place, length))
        return self.tokens[torch.randint(len(self.tokens), (RANDOM, length), generator=luck)]

    def _kl(self, place: Place, insertions: Int[Tensor, "row length"], carriers: int) -> Float64[Tensor, " row"]:
        total = torch.zeros(len(insertions), dtype=torch.float64)
        for carrier in self.carriers[:carriers]:
            total += self.divergences(carrier.holes[place], insertions)
        return total / carriers

    def divergences(self, hole: Hole, insertions: Int[Tensor, "row length"]) -> Float64[Tensor, " row"]:
        """KL at the first answer position with each insertion in one hole."""
        runs = self._runs(hole, insertions)
        return torch.cat([kl(candidate[:, None], reference[:, None])[:, 0].cpu() for _, candidate, reference in runs])

    def _runs(
        self, hole: Hole, insertions: Int[Tensor, "row length"]
    ) -> Iterator[tuple[int, Float[Tensor, "part vocabulary"], Float[Tensor, "part vocabulary"]]]:
        """First row, log-probabilities of candidate and reference over the vocabulary that both share, part by part."""
        rows = hole.filled(insertions)
        reference = self._reference(hole.head, rows, hole.tail)
        start = 0
        for scores in inserted_scores(self.pair.candidate, hole.head, rows, hole.tail):
            shared = min(scores.shape[1], reference.shape[1])
            yield start, scores[:, :shared], reference[start : start + len(scores), :shared]
            start += len(scores)

    def _reference(
        self, head: tuple[int, ...], insertions: Int[Tensor, "row length"], tail: tuple[int, ...]
    ) -> Float[Tensor, "row vocabulary"]:
        model = self.pair.reference
        if len(insertions) < _SWEEP or insertions.shape[1] > 1:
            return torch.cat(list(inserted_scores(model, head, insertions, tail)))
        key = model.identity.tensors_sha256, str(model.dtype), head, tail, tuple(insertions[:, 0].tolist())
        kept = _KEPT.get(key)
        if kept is None:
            kept = torch.cat(list(inserted_scores(model, head, insertions, tail)))
            _KEPT.put(key, kept)
        return kept

    def slopes(self, place: Place, insertion: Sequence[int]) -> Float[Tensor, "length token"]:
        """First-order change of J for every token at every place of an insertion, in the order of `tokens`."""
        assert place != "around", "an insertion around a prompt is no run of tokens"
        holes = [(c.holes[place].head, c.holes[place].tail) for c in self.carriers]
        length = len(insertion)
        self.budget.take(self.slope_cost(place, length))

        def score(reference: Tensor, candidate: Tensor) -> Tensor:
            n = min(reference.shape[-1], candidate.shape[-1])
            a, b = candidate[:, :n], reference[:, :n]
            return self.sign * (a.exp() * (a - b)).sum(-1).mean()

        return proposals(self.pair, holes, insertion, score)[:, self.tokens]

    def slope_cost(self, place: Place, length: int) -> int:
        """Tokens of one forward and one backward pass, counted as three forwards."""
        return 3 * sum(self._sizes(place, length))

    def answer_cost(self, place: Place, length: int, rows: int) -> int:
        """Tokens that the candidate reads in `answers`."""
        sizes = self._sizes(place, length)
        return rows * sum(size + max(0, len(a) - 1) for size, a in zip(sizes, self.answers_alone, strict=True))

    def _sizes(self, place: Place, length: int) -> list[int]:
        """Tokens of each carrier with an insertion."""
        holes = (c.holes[place] for c in self.carriers)
        return [len(h.head) + h.length(length) + len(h.tail) for h in holes]

    def answers(self, place: Place, insertions: Int[Tensor, "row length"]) -> Float64[Tensor, " row"]:
        """Mean KL over the answer's positions, per insertion, without baseline or sign."""
        self.budget.take(self.answer_cost(place, insertions.shape[1], len(insertions)))
        total = torch.zeros(len(insertions), dtype=torch.float64)
        rows, spans = [], []
        for carrier, answer in zip(self.carriers, self.answers_alone, strict=True):
            hole = carrier.holes[place]
            for number, own in enumerate(hole.filled(insertions).tolist()):
                start = len(hole.head) + len(own) + len(hole.tail) - 1
                rows.append((*hole.head, *own, *hole.tail, *answer[:-1]))
                spans.append((number, start, start + len(answer)))
        runs = zip(log_probs(self.pair.reference, rows), log_probs(self.pair.candidate, rows), strict=True)
        for (batch, reference), (_, candidate) in runs:
            values = kl(candidate, reference).cpu()
            for place_in, row in enumerate(batch.rows):
                number, start, stop = spans[row]
                total[number] += values[place_in, start:stop].mean()
        return total / len(self.carriers)

    @property
    def answers_alone(self) -> list[tuple[int, ...]]:
        """The reference's greedy answer to each carrier without an insertion: 1 to 8 tokens."""
        if self._answers is None:
            found = generate(self.pair.reference, [c.plain for c in self.carriers], max_new_tokens=ANSWER)
            self._answers = [g.ids or (0,) for g in found]
        return self._answers
