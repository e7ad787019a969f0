"""The largest of every row, and the largest of a batch, exactly. Equal scores go to the lower index.

1. Maxima of groups of 32 neighbours. k groups have a maximum at or above the k-th largest of these, so k scores do: it
   is a lower bound on the k-th largest score, and close to it while k is a small share of the groups.
2. Only groups whose maximum reaches the bound are read again; on average little more than k scores of a row reach it.
3. Among these few, the k-th largest, then everything above it, then as many of its equals as are missing.
Steps 2 and 3 touch a few per cent of the scores. Rows too narrow for that go to `torch.topk`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from radiograph.core.shapes import Float, Int

GROUP: Final = 32


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Some entries of a table of scores in ascending order of place; place = row · width + column."""

    place: Int[Tensor, " entry"]
    score: Float[Tensor, " entry"]

    def __len__(self) -> int:
        return len(self.place)

    def __getitem__(self, kept: Tensor | slice) -> Places:
        return Places(self.place[kept], self.score[kept])


def top_k(scores: Float[Tensor, "row feature"], k: int) -> tuple[Float[Tensor, "row k"], Int[Tensor, "row k"]]:
    """Values and ascending indices of the k largest entries of each row; ties go to the lower index."""
    rows, size = scores.shape
    if size % GROUP or size < 4 * k * GROUP or not rows:
        return _largest(scores, k)
    maxima = scores.reshape(rows, -1, GROUP).amax(2)
    bound = maxima.topk(k, dim=1, sorted=False).values.amin(1)
    found = _reaching(scores, maxima, bound)
    row = found.place // size
    counts = torch.bincount(row, minlength=rows)
    if int(counts.min()) < k:  # only a score that is not a number makes a bound that too few reach
        return _largest(scores, k)
    slot = torch.arange(len(found), device=scores.device) - (counts.cumsum(0) - counts)[row]
    table = scores.new_full((rows, int(counts.max())), -torch.inf)
    table[row, slot] = found.score
    columns = found.place.new_zeros(table.shape)
    columns[row, slot] = found.place - row * size
    least = table.topk(k, dim=1, sorted=False).values.amin(1, keepdim=True)
    above, equal = table > least, table == least
    taken = above | (equal & (equal.cumsum(1) <= k - above.sum(1, keepdim=True)))
    return table[taken].view(rows, k), columns[taken].view(rows, k)


class BatchTop:
    """The `wanted` largest positive scores of a batch that comes in parts; ties go to the lower place.

    Candidates are kept above a running bound that is never above the final one. A `guess` of the final bound saves
    memory and time where it is a little too low; where it is too high, `finish` finds out.
    """

    def __init__(self, wanted: int, guess: float = 0.0) -> None:
        self.wanted = wanted
        self._guess = self._bound = max(guess, 0.0)
        self._parts: list[Places] = []
        self._rows = self._count = 0

    def add(self, scores: Float[Tensor, "row feature"]) -> None:
        """The next rows of the batch."""
        rows, size = scores.shape
        groups: Tensor | None = None
        if size % GROUP == 0:
            groups = scores.reshape(rows, -1, GROUP).amax(2)
            if self._bound == 0 and groups.numel() > self.wanted:
                self._bound = max(0.0, float(groups.flatten().topk(self.wanted, sorted=False).values.min()))
        # Scores equal to the bound may be among the wanted, those equal to 0 may not.
        bound = max(self._bound, torch.finfo(scores.dtype).smallest_normal)
        found = _reaching(scores, groups, scores.new_full((rows,), bound))
        self._parts.append(Places(found.place + self._rows * size, found.score))
        self._rows += rows
        self._count += len(found)
        if self._count > 2 * self.wanted:
            self._trim()

    def finish(self) -> Places | None:
        """The selection; None if the guess was too high to know it."""
        if self._count < self.wanted and self._guess > 0:
            return None
        self._trim()
        found = self._parts[0]
        surplus = len(found) - self.wanted
        if surplus <= 0:
            return found
        equal = (found.score == self._bound).nonzero().squeeze(1)
        kept = torch.ones(len(found), dtype=torch.bool, device=found.place.device)
        kept[equal[len(equal) - surplus :]] = False
        return found[kept]

    def _trim(self) -> None:
        """Raise the bound to the last wanted score so far, and drop what is below."""
        place = torch.cat([part.place for part in self._parts])
        found = Places(place, torch.cat([part.score for part in self._parts]))
        if len(found) > self.wanted:
            self._bound = float(found.score.topk(self.wanted, sorted=False).values.min())
            found = found[found.score >= self._bound]
        self._parts, self._count = [found], len(found)


def _reaching(
    scores: Float[Tensor, "row feature"], maxima: Float[Tensor, "row group"] | None, bound: Float[Tensor, " row"]
) -> Places:
    """Every score at or above the bound of its row, read only in groups whose maximum is."""
    size = scores.shape[1]
    if maxima is None:
        place = (scores >= bound.unsqueeze(1)).flatten().nonzero().squeeze(1)
        return Places(place, scores.flatten()[place])
    groups = (maxima >= bound.unsqueeze(1)).flatten().nonzero().squeeze(1)
    held = scores.reshape(-1, GROUP).index_select(0, groups)
    inside = (held >= bound[groups * GROUP // size].unsqueeze(1)).flatten().nonzero().squeeze(1)
    return Places(groups[inside // GROUP] * GROUP + inside % GROUP, held.flatten()[inside])


def _largest(scores: Float[Tensor, "row feature"], k: int) -> tuple[Float[Tensor, "row k"], Int[Tensor, "row k"]]:
    values, indices = scores.topk(k, dim=1)
    # topk picks freely among entries equal to the k-th; only such rows pay for a stable sort.
    tied = (scores >= values[:, -1:]).sum(1) != k
    if bool(tied.any()):
        indices[tied] = scores[tied].sort(dim=1, descending=True, stable=True).indices[:, :k]
    indices = indices.sort(dim=1).values
    return scores.gather(1, indices), indices
