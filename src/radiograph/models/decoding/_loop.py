"""The decode loop: one batch of rows, one token a step, with a cache; every way to make text goes through it.

1. pad prompts on the left; positions count from the mask   2. one forward over the prompts, then one token per step
3. choose (`_choice`), or take the token that a row is forced to follow   4. pool what is read (`_pools`)
5. a row ends at a stop token or text, at its budget, or at logits that are not finite; rows that ended leave the batch
once they are half of it. Where a pool needs the state at a row's last token, the row stays for one forward more
Writes that are forgotten at the next step (`twice`) cost a second forward: the first, with them, is read and sampled
from and works on a copy of the cache; the second, without them, fills it.
Units: nats; log-probability and entropy are those of the model before penalties, filters and temperature.
"""

from __future__ import annotations

import copy
import inspect
import itertools
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, ParamSpec

import torch
from torch import Tensor
from transformers import DynamicCache

from radiograph.core import Site
from radiograph.core.shapes import Float, Int
from radiograph.evidence import Decoding, Pool
from radiograph.models._batching import Batch, pad
from radiograph.models._forward import check_finite, check_tokens
from radiograph.models._hooks import Edit, hooked, running
from radiograph.models._model import LanguageModel
from radiograph.models.decoding._choice import Chooser
from radiograph.models.decoding._pools import TRAILING, Pooled, Running

_SMALLEST = -1e4
"""Log of a probability that is 0 in float32; keeps 0 · log 0 at 0."""
_ROWS = 4
"""Rows whose scores are made at once on a processor: what they pass over stays in its cache."""
_P = ParamSpec("_P")
Ending = Literal["stop", "length", "context", "non-finite"]


@dataclass(frozen=True, slots=True)
class Line:
    """One row to decode."""

    ids: tuple[int, ...]
    sample: int = 0
    forced: tuple[int, ...] | None = None
    """Tokens that are fed instead of chosen; the row ends with them."""
    baseline: int | None = None
    """Place in the same batch of the row that it is compared with while both hold the same tokens."""


@dataclass(frozen=True, slots=True, eq=False)
class Reads:
    """What is read while rows decode."""

    sites: tuple[Site, ...] = ()
    pool: Pool = "generated"
    before: bool = False
    """State before the writes at the same site, not after."""


@dataclass(frozen=True, slots=True, eq=False)
class Measures:
    """What is kept of the logits, per row and step."""

    scores: bool = False
    """Log-probability, entropy, gap."""
    divergence: bool = False
    """KL(baseline ‖ row), where both hold the same tokens."""
    logits: bool = False


@dataclass(slots=True, eq=False)
class Decoded:
    """One row. `ids` hold new tokens, the stop token included; the lists have one entry a token."""

    ids: list[int] = field(default_factory=list[int])
    ending: Ending = "length"
    text: str | None = None
    """Without the stop token or the stop text."""
    logprob: list[float] = field(default_factory=list[float])
    entropy: list[float] = field(default_factory=list[float])
    gap: list[float] = field(default_factory=list[float])
    divergence: list[float] = field(default_factory=list[float])
    """Shorter than `ids` where the row left its baseline's text."""
    pooled: dict[Site, Pooled] = field(default_factory=dict[Site, Pooled])
    logits: list[Tensor] = field(default_factory=list[Tensor])


@dataclass(frozen=True, slots=True)
class Step:
    """What one step chose: row of the batch to token."""

    number: int
    tokens: Mapping[int, int]


class Decoder:
    """One batch while it decodes. `steps` can be left at any step; `results` then holds what there is."""

    def __init__(
        self,
        model: LanguageModel,
        lines: Sequence[Line],
        decoding: Decoding,
        rows: Sequence[int] | None = None,
        stops: frozenset[int] = frozenset(),
        writes: Mapping[Site, Edit] | None = None,
        *,
        twice: bool = False,
        reads: Reads = Reads(),
        measures: Measures = Measures(),
        tolerant: bool = False,
    ) -> None:
        """Prepare; nothing runs yet.

        Args:
            model: the model.
            lines: prompts, and what is fed to them.
            decoding: how tokens are chosen.
            rows: the numbers that edits know the lines by (see `current_batch`); their places by default.
            stops: tokens that end a row.
            writes: edits by site.
            twice: some write is forgotten at the next step, and earlier than the last attention.
            reads: activations that are pooled.
            measures: what is kept of the logits.
            tolerant: logits that are not finite end their row instead of the run.

        Raises:
            UserError: an empty prompt, a token or a length outside the model, logits that are not finite.
        """
        prompts = [line.ids for line in lines]
        check_tokens(model, prompts)
        batch = pad(prompts, left=True, device=model.device)
        self.batch = replace(batch, rows=batch.rows if rows is None else tuple(rows))
        self.model, self.lines, self.decoding, self.stops = model, lines, decoding, stops
        self.writes, self.twice, self.reads, self.measures, self.tolerant = writes, twice, reads, measures, tolerant
        self.cache = DynamicCache(config=model.model.config)
        known = inspect.signature(model.model.forward).parameters
        self.options = {"logits_to_keep": 1} if "logits_to_keep" in known else {}
        self.chooser = Chooser(decoding, prompts, [line.sample for line in lines], model.vocab_size, model.device)
        self.pools = {s: Running(reads.pool, len(lines), model.site_width(s), model.device) for s in reads.sites}
        self._past_end = bool(reads.sites) and reads.pool in TRAILING  # past the last token
        self.live = list(range(len(lines)))  # rows still in the cache, in cache order
        self.done = [Decoded() for _ in lines]
        self.budgets = [self._budget(line) for line in lines]
        self.over = [self._ends(row) for row in self.live]
        self.trailing = [False] * len(lines)  # over, but for one forward at the last token
        self.same = [line.baseline is not None for line in lines]
        self.scores: list[tuple[list[int], Tensor]] = []

    def steps(self) -> Generator[Step]:
        """Decode, giving every step's tokens; hooks are gone however this is left."""
        batch, mask = replace(self.batch, at=self.batch.positions), self.batch.mask.long()
        if all(self.over) and not self.pools:
            return
        with self.model.session(), hooked(self.model, self.reads.sites, self.writes, before=self.reads.before) as found:
            for number in itertools.count():
                with torch.inference_mode():
                    logits = self._forward(batch, mask)
                    self._pool(found, number)
                    chosen = self._choose(logits, found, number)
                yield Step(number, chosen)
                going = [p for p, row in enumerate(self.live) if not self.over[row] or self.trailing[row]]
                if not going:
                    return
                with torch.inference_mode():
                    batch, mask = self._next(going, batch, mask)

    def results(self) -> list[Decoded]:
        """Every row."""
        for rows, values in self.scores:
            for row, (logprob, entropy, gap) in zip(rows, values.tolist(), strict=True):
                self.done[row].logprob.append(logprob)
                self.done[row].entropy.append(entropy)
                self.done[row].gap.append(gap)
        self.scores = []
        for site, pool in self.pools.items():
            for done, pooled in zip(self.done, pool.result(), strict=True):
                done.pooled[site] = pooled
        for done in self.done:
            done.text = self._text(done.ids)
        return self.done

    def _budget(self, line: Line) -> int:
        if line.forced is not None:
            return len(line.forced)
        return min(self.decoding.new_tokens, self.model.context_length - len(line.ids))

    def _forward(self, batch: Batch, mask: Int[Tensor, "live all"]) -> Float[Tensor, "live vocabulary"]:
        if not self.twice:
            return self._run(batch, mask, self.cache)
        aside = copy.copy(self.cache)
        aside.layers = [copy.copy(layer) for layer in self.cache.layers]
        return self._run(batch, mask, aside)

    def _run(
        self, batch: Batch, mask: Int[Tensor, "live all"], cache: DynamicCache
    ) -> Float[Tensor, "live vocabulary"]:
        with running(batch):
            output = self.model.model(
                input_ids=batch.ids,
                attention_mask=mask,
                position_ids=batch.positions,
                past_key_values=cache,
                use_cache=True,
                **self.options,
            )
        return output.logits[:, -1]

    def _next(self, going: list[int], batch: Batch, mask: Int[Tensor, "live all"]) -> tuple[Batch, Tensor]:
        """The input of the next step, without the rows that ended if they are half."""
        if self.twice:
            self._run(replace(batch, final=False), mask, self.cache)
        positions = batch.positions[:, -1:]
        if 2 * len(going) <= len(self.live):
            keep = torch.tensor(going, device=mask.device)
            self.cache.batch_select_indices(keep)
            self.live = [self.live[place] for place in going]
            mask, positions = mask[keep], positions[keep]
        # A row that has ended but is still here is fed again what it holds, at a position that exists.
        fed = [(self.done[row].ids or self.lines[row].ids)[-1] for row in self.live]
        ids = torch.tensor(fed, device=mask.device)[:, None]
        at = (positions + 1).clamp(max=self.model.context_length - 1)
        rows = tuple(self.batch.rows[row] for row in self.live)
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], -1)
        return Batch(rows, ids, torch.ones_like(ids, dtype=torch.bool), left=True, at=at), mask

    def _pool(self, found: Mapping[Site, Tensor], number: int) -> None:
        """Positions whose tokens are known to be kept before this step chooses."""
        places = [p for p, row in enumerate(self.live) if not self.over[row] or self.trailing[row]] if number else []
        for site, pool in self.pools.items():
            if not number:
                pool.prompt(self.live, found[site], self.batch.mask)
            elif self.reads.pool in TRAILING:
                pool.add(self.live, found[site][:, -1], places)
        for place in places:
            self.trailing[self.live[place]] = False

    def _choose(
        self, logits: Float[Tensor, "live vocabulary"], found: Mapping[Site, Tensor], number: int
    ) -> dict[int, int]:
        asked = [p for p, row in enumerate(self.live) if not self.over[row]]
        if not asked:
            return {}
        every = len(asked) == len(self.live)
        logits = (logits if every else logits[torch.tensor(asked, device=logits.device)]).float()
        rows = [self.live[place] for place in asked]
        broken = self._broken(logits, rows)
        tokens, gap = self.chooser.choose(logits, rows, number)
        given = [-1 if (f := self.lines[row].forced) is None else f[number] for row in rows]
        if max(given) >= 0:
            fed = torch.tensor(given, device=tokens.device)
            tokens = torch.where(fed >= 0, fed, tokens)
        self._measure(logits, tokens, gap, rows, broken)
        chosen = {row: token for row, token in zip(rows, tokens.tolist(), strict=True) if row not in broken}
        for row in broken:
            self.done[row].ending, self.over[row], self.same[row] = "non-finite", True, False
        for row, token in chosen.items():
            self.done[row].ids.append(token)
            self.chooser.note(row, token)
            self.over[row] = self._ends(row)
            self.trailing[row] = self.over[row] and self._past_end and token not in self.stops
        self._compare(chosen)
        if self.reads.pool == "predicting":
            places = [p for p, row in zip(asked, rows, strict=True) if chosen.get(row, -1) not in {-1, *self.stops}]
            for site, pool in self.pools.items():
                pool.add(self.live, found[site][:, -1], places)
        return chosen

    def _broken(self, logits: Float[Tensor, "asked vocabulary"], rows: Sequence[int]) -> set[int]:
        """Rows whose logits are not finite.

        Raises:
            UserError: there is one, and the decoder is not tolerant.
        """
        if bool(torch.isfinite(logits.sum())):
            return set()
        if not self.tolerant:
            numbers = tuple(self.batch.rows[row] for row in rows)
            real = torch.ones(len(rows), 1, dtype=torch.bool)
            check_finite(logits[:, None], Batch(numbers, real.long(), real), "logits")
        finite = torch.isfinite(logits).all(-1).tolist()
        return {row for row, good in zip(rows, finite, strict=True) if not good}

    def _measure(
        self,
        logits: Float[Tensor, "asked vocabulary"],
        tokens: Int[Tensor, " asked"],
        gap: Float[Tensor, " asked"],
        rows: list[int],
        broken: set[int],
    ) -> None:
        measures = self.measures
        if measures.logits:
            for row, values in zip(rows, logits.cpu(), strict=True):
                self.done[row].logits.append(values)
        if measures.scores:
            kept = [place for place, row in enumerate(rows) if row not in broken]
            values = torch.stack([*_said(logits, tokens), gap], -1)
            values = values[torch.tensor(kept, device=logits.device, dtype=torch.long)]
            self.scores.append(([rows[place] for place in kept], values.cpu()))
        if measures.divergence:
            logs = logits.log_softmax(-1)
            where = {row: place for place, row in enumerate(rows)}
            pairs = [(p, where[b]) for p, row in enumerate(rows) if (b := self._twin(row, broken)) is not None]
            if pairs:
                own, base = torch.tensor(pairs, device=logs.device).T
                nats = (logs[base].exp() * (logs[base] - logs[own])).sum(-1).clamp(min=0)
                for (place, _), value in zip(pairs, nats.tolist(), strict=True):
                    self.done[rows[place]].divergence.append(value)

    def _twin(self, row: int, broken: set[int]) -> int | None:
        """The baseline of a row, while both hold the same tokens and say something."""
        base = self.lines[row].baseline
        gone = base is None or not self.same[row] or self.over[base] or bool({row, base} & broken)
        return None if gone else base

    def _compare(self, chosen: Mapping[int, int]) -> None:
        for row, token in chosen.items():
            base = self.lines[row].baseline
            if base is not None and chosen.get(base) != token:
                self.same[row] = False

    def _ends(self, row: int) -> bool:
        """Whether a row has all its tokens; says in `ending` why."""
        done, budget = self.done[row], self.budgets[row]
        if done.ids and (done.ids[-1] in self.stops or self._stop_at(done.ids) is not None):
            done.ending = "stop"
            return True
        if len(done.ids) < budget:
            return False
        short = self.lines[row].forced is None and budget < self.decoding.new_tokens
        done.ending = "context" if short else "length"
        return True

    def _stop_at(self, ids: list[int]) -> int | None:
        """Where the first stop text begins."""
        if not self.decoding.stop or self.model.tokenizer is None:
            return None
        text = str(self.model.tokenizer.decode(ids, skip_special_tokens=True))
        found = [place for stop in self.decoding.stop if (place := text.find(stop)) >= 0]
        return min(found, default=None)

    def _text(self, ids: list[int]) -> str | None:
        if self.model.tokenizer is None:
            return None
        shown = ids[:-1] if ids and ids[-1] in self.stops else ids
        text = str(self.model.tokenizer.decode(shown, skip_special_tokens=True))
        return text[: self._stop_at(shown)]


def _said(
    logits: Float[Tensor, "row vocabulary"], tokens: Int[Tensor, " row"]
) -> tuple[Float[Tensor, " row"], Float[Tensor, " row"]]:
    """Log-probability of the tokens, and entropy."""
    size = _ROWS if logits.device.type == "cpu" else len(logits)
    said: list[Tensor] = []
    entropy: list[Tensor] = []
    for part, chosen in zip(logits.split(size), tokens.split(size), strict=True):
        below = part - part.amax(-1, keepdim=True)
        shares = below.exp()
        total = shares.sum(-1)
        said.append(below.gather(-1, chosen[:, None])[:, 0] - total.log())
        entropy.append(total.log() - shares.mul_(below.clamp_(min=_SMALLEST)).sum(-1) / total)
    return torch.cat(said), torch.cat(entropy)


def _run_whole(prepare: Callable[_P, Decoder]) -> Callable[_P, list[Decoded]]:
    def decode(*args: _P.args, **options: _P.kwargs) -> list[Decoded]:
        """Decode one batch; arguments are those of `Decoder`."""
        decoder = prepare(*args, **options)
        for _ in decoder.steps():
            pass
        return decoder.results()

    return decode


decode = _run_whole(Decoder)
