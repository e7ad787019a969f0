"""From what was read to the record of a reading; `verify` comes back here with the rows of the bundle."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radiograph.evidence import Estimate, RefusalRecord
from radiograph.evidence.probes.probe import (
    ProbeKind,
    ProbeReading,
    ProbeSupport,
    ReadCounts,
    TopRow,
)
from radiograph.methods._probe.tokens import Tokens
from radiograph.probing import Judged, Probe, Read, judged, paired, separated, shift

TOP = 20
CONTEXT = 6
BINS = 40


@dataclass(frozen=True)
class Asked:
    """What a reading is of, in words, and what its numbers are held to."""

    question: ProbeKind
    target: str
    base: str
    reference: str
    edges: tuple[float, float]
    seed: int


@dataclass(frozen=True)
class Origin:
    """What rows say of where they come from."""

    stored: bool
    """Read from a store, not through a model."""
    models: tuple[str, ...] = ()
    """SHA-256 of the tensors of their model, and of its base."""
    site: str | None = None
    named: bool = True
    """Their groups, where they are stored."""
    truncated: int = 0
    """Texts that did not fit."""

    def stamps(self, probe: Probe) -> tuple[str, ...]:
        """What has to be said of rows beside what a probe says of them."""
        card = probe.card
        unknown = self.stored if card is None else card.model.sha256 not in self.models
        said = {
            "origin_declared": unknown,
            "site_declared": self.stored and self.site is None,
            "clusters_assumed": not self.named and probe.level == "token",
            "rows_as_prompts": not self.named and probe.level == "sequence",
            f"truncated:{self.truncated}": self.truncated > 0,
        }
        return tuple(name for name, holds in said.items() if holds)


@dataclass(frozen=True, eq=False)
class Evidence:
    """What was read, and what its rows are called."""

    name: str
    read: Read
    groups: tuple[str, ...]
    """Names of the groups, by number."""
    position: NDArray[np.int64] | None
    """Of every row that was read."""
    texts: tuple[Tokens, ...] = ()
    label: NDArray[np.bool_] | None = None
    """By group, where rows are labelled."""
    origin: Origin = Origin(stored=False)


def recorded(asked: Asked, probe: Probe, own: Evidence, other: Read | None) -> ProbeReading:
    """All numbers of a reading."""
    found = judged(probe, own.read, asked.edges)
    card = probe.card
    trait = probe.kind == "custom"
    labelled = own.label is not None
    moved = both = apart = None
    if labelled:
        assert own.label is not None
        apart = separated(own.label, own.read, other)
    elif other is not None:
        moved = shift(probe, own.read, other, asked.seed)
        if found.rate is not None:
            both = paired(probe, own.read, other, asked.reference, asked.seed)
    no_band = labelled or (trait and found.why is None)
    refused = (
        None if found.why is None or labelled else RefusalRecord(code=found.why[0], text=found.why[1], what="band")
    )
    return ProbeReading(
        probe=probe.name,
        kind=probe.kind,
        question=asked.question,
        target=asked.target,
        base=asked.base,
        evidence=own.name,
        status=probe.status,
        level=probe.level,
        site=probe.site,
        weights_sha256=probe.sha256,
        probe_auroc=None if card is None else card.auroc.interval,
        probe_fpr=None if card is None else card.fpr.interval,
        probe_tpr=None if card is None else card.tpr.estimate,
        stamps=(*own.origin.stamps(probe), *(card.stamps if card else ())),
        counts=_counts(own.read, found),
        support=_support(found),
        threshold=probe.threshold,
        card_rho=None if card is None else card.fpr.rho,
        rate=_rate(found),
        worst_case_rate=found.worst,
        rho=found.rho,
        edges=asked.edges,
        band=None if no_band else found.band,
        point_band=None if no_band else found.point_band,  # type: ignore[arg-type]
        rows_needed=None if no_band else found.needed,
        groups_needed=None if no_band else _groups_needed(own.read, found),
        max_score=float(own.read.score.max()),
        top=_top(own, probe),
        histogram=_histogram(own.read, probe.negatives),
        paired=both,
        shift=moved,
        separated=apart,
        refusal=refused,
    )


def _counts(found: Read, numbers: Judged) -> ReadCounts:
    inside = int((~found.outside).sum())
    return ReadCounts(
        rows=len(found),
        inside=inside,
        counted=int((~found.outside & found.distinct).sum()),
        flagged=0 if numbers.rate is None else numbers.rate.flagged,
        groups=len(np.unique(found.group)),
        effective=0.0 if numbers.rate is None else numbers.rate.effective,
    )


def _groups_needed(found: Read, numbers: Judged) -> int | None:
    if numbers.needed is None or numbers.rate is None:
        return None
    groups = len(np.unique(found.group[~found.outside & found.distinct]))
    return math.ceil(numbers.needed * groups / numbers.rate.n)


def _support(numbers: Judged) -> ProbeSupport | None:
    own = numbers.support
    if own is None:
        return None
    return ProbeSupport(
        outside=own.outside,
        distance=own.distance,
        log_variance=own.log_variance,
        mean_off=own.mean_off,
        distinct=own.distinct,
        broken=own.broken,
    )


def _rate(numbers: Judged) -> Estimate | None:
    if numbers.rate is None:
        return None
    low, high = numbers.rate.interval
    return Estimate(
        value=numbers.rate.estimate,
        low=low,
        high=high,
        n=numbers.rate.n,
        unit="share",
        method="Clopper-Pearson at the effective number of rows",
    )


def _top(own: Evidence, probe: Probe) -> tuple[TopRow, ...]:
    found = own.read
    order = np.lexsort((found.place, -found.score))[:TOP]
    out: list[TopRow] = []
    for row in order.tolist():
        text = before = after = None
        position = None if own.position is None else int(own.position[row])
        if own.texts and position is not None:
            before, text, after = _context(own.texts[row], position)
        out.append(
            TopRow(
                row=int(found.place[row]),
                group=own.groups[int(found.group[row])],
                position=position,
                score=float(found.score[row]),
                flagged=probe.threshold is not None and bool(found.score[row] > probe.threshold),
                outside=bool(found.outside[row]),
                text=text,
                before=before,
                after=after,
            )
        )
    return tuple(out)


def _context(text: Tokens, position: int) -> tuple[str, str, str]:
    assert text.spell is not None
    before = text.spell(text.ids[max(0, position - CONTEXT) : position])
    after = text.spell(text.ids[position + 1 : position + 1 + CONTEXT])
    return before, text.spell(text.ids[position : position + 1]), after


def _histogram(found: Read, negatives: NDArray[np.float64] | None) -> tuple[tuple[float, float, float, float], ...]:
    low, high = float(found.score.min()), float(found.score.max())
    if negatives is not None:
        low, high = min(low, float(negatives.min())), max(high, float(negatives.max()))
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    own = np.histogram(found.score, edges)[0] / len(found)
    clean = np.zeros(BINS) if negatives is None else np.histogram(negatives, edges)[0] / len(negatives)
    return tuple((float(edges[i]), float(edges[i + 1]), float(own[i]), float(clean[i])) for i in range(BINS))
