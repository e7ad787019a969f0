"""What is measured of a prompt, with and without writes: one number each.

| outcome | number | unit |
|---|---|---|
| logprob | logsumexp over targets − logsumexp over foils of whole-sequence log-probabilities | nat |
| choice | P(targets)/(P(targets) + P(foils)); without foils P(targets) | probability |
| rate | 1 where the model says one of the targets next, as whole words, letters folded, else 0 | share |
| rate, with a judge | 1 where what the model says next meets the criterion, as the judge says, else 0 | share |
| probe:FILE | what a probe scores: pooled as it was built, a probe of tokens by its largest score | score |
| feature:SOURCE | the largest code of another feature after the first token; of a unit, that of the last token | code |

A feature that reads where something is written, or before, is no outcome: there it shows the write itself, or nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from radiograph.core import Refusal, Site, UserError
from radiograph.methods._intervene.prompts import Prompt

if TYPE_CHECKING:
    from radiograph.criteria.judging import Judge
    from radiograph.interventions.features import Pushed, Question
    from radiograph.models import LanguageModel
    from radiograph.probing import Probe
    from radiograph.sources import Features

Writes = Sequence[Sequence["Pushed"]]
_BOUNDS = (r"(?<![^\W_])", r"(?![^\W_])")
"""No letter or digit goes on, before and after."""


class Outcome(Protocol):
    """One kind of number."""

    name: str
    unit: str
    codec_sha256: str | None
    """Of the codec that reads it, if one does."""

    def lines(self, prompts: Sequence[int]) -> list[tuple[int, tuple[int, ...]]]:
        """Rows that are read: place in `prompts`, and tokens. Writes come in this order."""
        ...

    def measure(self, prompts: Sequence[int], writes: Writes | None = None, *, hooked: bool = True) -> list[float]:
        """The number of each prompt."""
        ...

    def require_after(self, site: Site) -> None:
        """Refuse writes at a site whose effect it cannot show."""
        ...


class LogProb:
    """`logprob` and `choice`."""

    codec_sha256: str | None = None

    def __init__(self, model: LanguageModel, prompts: Sequence[Prompt], name: str) -> None:
        from radiograph.interventions.features import question_of

        self.model, self.name = model, name
        self.unit = "nat" if name == "logprob" else "probability"
        require_targets(prompts)
        self.questions: list[Question] = [
            question_of(model.tokenizer, one.ids, one.text, one.targets, one.foils) for one in prompts
        ]

    def lines(self, prompts: Sequence[int]) -> list[tuple[int, tuple[int, ...]]]:
        from radiograph.interventions.features import lines_of

        return lines_of([self.questions[one] for one in prompts])

    def measure(self, prompts: Sequence[int], writes: Writes | None = None, *, hooked: bool = True) -> list[float]:
        from radiograph.interventions.features import score

        found = [one.value for one in score(self.model, [self.questions[p] for p in prompts], writes, hooked=hooked)]
        if self.name == "logprob":
            return found
        return [
            (1 + math.tanh(value / 2)) / 2 if self.questions[p].foils else math.exp(value)
            for p, value in zip(prompts, found, strict=True)
        ]

    def require_after(self, site: Site) -> None:
        """The logits come last."""


class ProbeScore:
    """`probe:FILE`, a probe of this model; the first token, which says nothing of a text, is left out."""

    unit = "score"

    def __init__(self, model: LanguageModel, prompts: Sequence[Prompt], probe: Probe) -> None:
        from radiograph.interventions.features import own_site
        from radiograph.probing import check_width

        held = None if probe.card is None else probe.card.model.sha256
        if held not in (None, model.identity.tensors_sha256):
            raise Refusal("another_model", f"{probe.name} is a probe of another model", expected=held)
        self.model, self.prompts, self.probe = model, prompts, probe
        self.site = own_site(model, probe.site)
        check_width(probe, model.site_width(self.site), str(self.site), 0)
        self.codec_sha256: str | None = probe.sha256
        self.name = f"probe:{probe.name}"

    def lines(self, prompts: Sequence[int]) -> list[tuple[int, tuple[int, ...]]]:
        return [(place, self.prompts[one].ids) for place, one in enumerate(prompts)]

    def measure(self, prompts: Sequence[int], writes: Writes | None = None, *, hooked: bool = True) -> list[float]:
        from radiograph.interventions.features import rows_on

        tokens = [self.prompts[one].ids for one in prompts]
        found = rows_on(self.model, self.site, tokens, writes if hooked else None)
        return [self._score(rows[1:] if len(rows) > 1 else rows) for rows in found]

    def _score(self, rows: np.ndarray) -> float:
        from radiograph.probing import normalised

        pooled = {"last": rows[-1:], "mean": rows.mean(axis=0, keepdims=True)}.get(self.probe.pool or "max", rows)
        return float((normalised(pooled, self.probe.normalise).astype(np.float64) @ self.probe.w).max())

    def require_after(self, site: Site) -> None:
        """Refuse writes where the probe reads, or later.

        Raises:
            UserError: it reads there, or earlier.
        """
        if self.site.depth <= site.depth:
            raise UserError(
                f"{self.name} reads {self.site}, written is {site}: that would show the write itself",
                expected="a probe that reads later than what is moved writes",
                code="no_outcome",
            )


class Activation:
    """`feature:SOURCE`, as `feature:dictionary:bundled#12`."""

    unit = "code"

    def __init__(self, model: LanguageModel, prompts: Sequence[Prompt], features: Features, number: int) -> None:
        self.model, self.prompts = model, prompts
        self.features, self.number = features, number
        self.codec_sha256: str | None = features.codec.hash
        self.name = f"feature:{features.address(number)}"

    def lines(self, prompts: Sequence[int]) -> list[tuple[int, tuple[int, ...]]]:
        return [(place, self.prompts[one].ids) for place, one in enumerate(prompts)]

    def measure(self, prompts: Sequence[int], writes: Writes | None = None, *, hooked: bool = True) -> list[float]:
        from radiograph.interventions.features import codes_on

        tokens = [self.prompts[one].ids for one in prompts]
        found = codes_on(self.model, self.features.codec, (self.number,), tokens, writes if hooked else None)
        # The first token says nothing of a text, and in many models its codes are the largest of all.
        values = [own[-1, 0] if self.features.pool == "last" else own[min(1, len(own) - 1) :].max() for own in found]
        return [float(np.float64(value)) for value in values]

    def require_after(self, site: Site) -> None:
        """Refuse writes at a site whose effect it cannot show.

        Raises:
            UserError: it reads there, or earlier.
        """
        from radiograph.interventions.features import own_site

        reads = [own_site(self.model, address) for address in self.features.codec.sites]
        if any(one.depth <= site.depth for one in reads):
            raise UserError(
                f"{self.name} reads {', '.join(map(str, reads))}, written is {site}: that would show the write itself",
                expected="a feature that reads later than what is moved writes",
                code="no_outcome",
            )


class Rate:
    """`rate`: greedy continuations that hold a target, letters folded; “m” is not held by “some”. Or that a judge, who
    was held against the labels of the criterion, says to meet it.
    """

    name, unit = "rate", "share"
    codec_sha256: str | None = None

    def __init__(
        self, model: LanguageModel, prompts: Sequence[Prompt], new: int, carry: bool, judge: Judge | None
    ) -> None:
        self.model, self.prompts, self.new, self.carry, self.judge = model, prompts, new, carry, judge
        if judge is None:
            require_targets(prompts)
        self.wanted = [[said_in(target) for target in one.targets] for one in prompts]

    def lines(self, prompts: Sequence[int]) -> list[tuple[int, tuple[int, ...]]]:
        return [(place, self.prompts[one].ids) for place, one in enumerate(prompts)]

    def measure(self, prompts: Sequence[int], writes: Writes | None = None, *, hooked: bool = True) -> list[float]:
        from radiograph.interventions.features import continued

        tokens = [self.prompts[one].ids for one in prompts]
        found = continued(self.model, tokens, writes if hooked else None, new=self.new, carry=self.carry)
        if self.judge is not None:
            return [float(held) for held in self.judge.holds([one.text or "" for one in found])]
        said = [(one.text or "").casefold() for one in found]
        return [float(any(own.search(text) for own in self.wanted[p])) for p, text in zip(prompts, said, strict=True)]

    def require_after(self, site: Site) -> None:
        """What is said comes last."""


def said_in(target: str) -> re.Pattern[str]:
    """A target where neither letter nor digit goes on at its ends; scripts without blanks have no such ends.

    Raises:
        UserError: nothing but blanks, which every text holds.
    """
    text = target.strip().casefold()
    if not text:
        raise UserError("a target of blanks is said by every text", got=repr(target), code="bad_targets")
    edges = (text[0], text[-1])
    start, end = (bound if e.isdigit() or e != e.upper() else "" for bound, e in zip(_BOUNDS, edges, strict=True))
    return re.compile(start + re.escape(text) + end)


def require_targets(prompts: Sequence[Prompt]) -> None:
    """Refuse prompts that name none.

    Raises:
        Refusal: `no_outcome`.
    """
    missing = [one.id for one in prompts if not one.targets]
    if missing:
        raise Refusal(
            "no_outcome",
            f"{len(missing)} prompts name no target: there is nothing whose probability could move",
            got=", ".join(missing[:3]),
            fix="--targets a,b (or FILE.txt), or a field targets in the prompts; there is no default list",
            fixable=True,
        )


def outcome_of(
    model: LanguageModel,
    prompts: Sequence[Prompt],
    name: str,
    open_features: Any,
    open_probe: Any,
    *,
    new: int,
    carry: bool,
    judge: Judge | None = None,
) -> Outcome:
    """The outcome by its name; `open_features` finds the features of a source, `open_probe` reads a probe's file,
    `new`, `carry` and `judge` concern `rate`.
    """
    if name.startswith("probe:"):
        return ProbeScore(model, prompts, open_probe(name.removeprefix("probe:")))
    if name == "rate":
        return Rate(model, prompts, new, carry, judge)
    if name in ("logprob", "choice"):
        return LogProb(model, prompts, name)
    found = open_features(name.removeprefix("feature:"))
    if len(found.places) != 1:
        raise UserError(
            f"{name} names {len(found.places)} features",
            expected="one, as feature:dictionary:bundled#12 or feature:units:mlp_hidden.2#7",
            code="bad_value",
        )
    (place, number), *_ = found.places.values()
    return Activation(model, prompts, found.parts[place], number)
