"""Texts to judged rows, and judged rows to what a result holds: contingency, pairs, tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.core import Context, UserError
from radiograph.evidence.resonance import CollapsePair, CollapseRow, Rate
from radiograph.methods.collapse._reading import Reader, Said
from radiograph.numerics.multiplicity import q_values
from radiograph.numerics.repetition import (
    CollapseScore,
    Contingency,
    Judged,
    TextMetrics,
    contingency,
    legacy_collapsed,
    legacy_metrics,
    text_metrics,
)

if TYPE_CHECKING:
    from radiograph.numerics import Interval

BASELINE = "none"
FEW_CORES = "under 4 cores: no interval of net"
PAIRS = 200
"""Rescued and broken pairs that a result holds."""


@dataclass(frozen=True, slots=True)
class TextRow:
    """One text to judge."""

    prompt_id: str
    core: str
    factors: tuple[tuple[str, str], ...]
    prompt: str
    condition: str
    text: str
    sample: int = 0
    target: str | None = None
    dose: float | None = None
    dose_sd: float | None = None
    ids: tuple[int, ...] | None = None
    broken: bool = False
    """The model's logits were not finite."""
    prompt_ids: tuple[int, ...] | None = None
    entropy: float | None = None
    """Mean over the tokens, in nats, of what the model gave for the next one."""
    kl: float | None = None
    """Mean over the tokens of the baseline's text: KL(without write ‖ with it), in nats."""

    @property
    def key(self) -> tuple[str, int]:
        """What pairs a row with its baseline."""
        return (self.prompt_id, self.sample)


@dataclass(frozen=True, slots=True)
class JudgedRow:
    """A text with its numbers."""

    row: TextRow
    metrics: TextMetrics
    judged: Judged
    legacy: bool
    said: Said
    """By the model that nothing is written into."""
    judge: Said
    """By another model."""


def score_of(calibrate: str | None, ctx: Context) -> tuple[CollapseScore, dict[str, Any], str]:
    """The shipped score, or one fitted on labels of the user's own; what held-out labels say; its name."""
    from radiograph.store import collapse

    shipped = collapse.shipped_score()
    if calibrate is None:
        return shipped, collapse.shipped_facts(), "shipped"
    rows = collapse.read_labels(ctx.path(calibrate, "labels"))
    score, facts = collapse.fit_labels(rows, letters=shipped.letters, lengths=shipped.lengths, ratios=shipped.ratios)
    ctx.output.json("score.json", {"score": collapse.document_of(score), "facts": facts})
    return score, facts, ctx.label(calibrate)


@dataclass(frozen=True, eq=False)
class Judge:
    """The score, and the models that read along."""

    score: CollapseScore
    own: Reader | None = None
    other: Reader | None = None

    def __call__(self, rows: Sequence[TextRow]) -> list[JudgedRow]:
        """Every text; equal texts are measured once. The band of the own model counts, else that of the other."""
        said = self.own.read(rows) if self.own else [Said()] * len(rows)
        heard = self.other.read(rows) if self.other else [Said()] * len(rows)
        known: dict[Any, tuple[TextMetrics, bool]] = {}
        out: list[JudgedRow] = []
        for row, one, two in zip(rows, said, heard, strict=True):
            key = (row.text, row.ids)
            if key not in known:
                known[key] = (text_metrics(row.text, row.ids), legacy_collapsed(row.text))
            metrics, legacy = known[key]
            band = two.band if one.band is None else one.band
            judged = self.score.judge(row.text, metrics, band)
            if row.broken:
                judged = Judged(None, None, None, {})
            out.append(JudgedRow(row, metrics, judged, legacy, one, two))
        return out

    def quickly(self) -> Judge:
        """The same verdicts, without what has no weight in the score: for controls."""
        weighed = any(self.score.weights.get(name) for name in ("nll_low", "nll_high"))
        return self if weighed else Judge(self.score)


def text_rows(
    columns: Mapping[str, Sequence[Any]], prompts: Mapping[str, tuple[int, ...]] | None = None
) -> list[TextRow]:
    """Columns of `tables/rows.parquet`, of a capture or a sweep, as rows; `prompts` are token ids by prompt."""
    names = list(columns)
    factors = names[names.index("core") + 1 : names.index("variant")]
    held = {name: list(columns[name]) for name in names}
    ids = held.get("judged_ids") or [
        # A stop token ends the text and is none of it.
        tuple(own or ())[: -1 if stop == "stop" else None]
        for own, stop in zip(held["ids"], held["stop"], strict=True)
    ]
    nothing = [None] * len(ids)
    return [
        TextRow(
            prompt_id=held["prompt_id"][i],
            core=held["core"][i],
            factors=tuple((name, str(held[name][i])) for name in ordered(factors)),
            prompt=held["prompt"][i] if "prompt" in held else "",
            condition=held["condition"][i],
            text=held["text"][i] or "",
            sample=held["sample"][i],
            target=held["target"][i],
            dose=held["dose_raw"][i],
            dose_sd=held["dose_sd"][i],
            ids=tuple(ids[i]),
            broken=held["stop"][i] == "non-finite",
            prompt_ids=None if prompts is None else prompts[held["prompt_id"][i]],
            entropy=held.get("entropy", nothing)[i],
            kl=held.get("kl", nothing)[i],
        )
        for i in range(len(ids))
    ]


def ordered(factors: Iterable[str]) -> list[str]:
    """`type` and `level` first: the map is drawn over the first two."""
    return sorted(factors, key=lambda name: (name not in ("type", "level"), name == "level"))


def conditions(rows: Sequence[JudgedRow]) -> dict[str, list[JudgedRow]]:
    """Rows by condition, in order of appearance.

    Raises:
        UserError: one prompt under one condition twice.
    """
    out: dict[str, dict[tuple[str, int], JudgedRow]] = {}
    for row in rows:
        own = out.setdefault(row.row.condition, {})
        if row.row.key in own:
            raise UserError("one prompt under one condition twice", got=f"{row.row.prompt_id} at {row.row.condition}")
        own[row.row.key] = row
    return {name: list(own.values()) for name, own in out.items()}


def paired(before: Sequence[JudgedRow], after: Sequence[JudgedRow]) -> list[tuple[JudgedRow, JudgedRow]]:
    """Baseline and intervened row of each prompt and sample that has both."""
    own = {row.row.key: row for row in before}
    return [(own[row.row.key], row) for row in after if row.row.key in own]


def scored(pairs: Sequence[tuple[JudgedRow, JudgedRow]]) -> list[tuple[JudgedRow, JudgedRow]]:
    """Pairs of which both texts have a verdict."""
    return [pair for pair in pairs if pair[0].judged.collapsed is not None and pair[1].judged.collapsed is not None]


def counted(pairs: Sequence[tuple[JudgedRow, JudgedRow]], seed: int) -> Contingency:
    """The contingency of scored pairs."""
    kept = scored(pairs)
    before = np.array([bool(one.judged.collapsed) for one, _ in kept], dtype=bool)
    after = np.array([bool(two.judged.collapsed) for _, two in kept], dtype=bool)
    return contingency(before, after, [one.row.core for one, _ in kept], seed=seed)


def net_of(pairs: Sequence[tuple[JudgedRow, JudgedRow]]) -> float | None:
    """(rescued − broken)/n of scored pairs; None where there is none."""
    kept = scored(pairs)
    if not kept:
        return None
    return sum(int(bool(a.judged.collapsed)) - int(bool(b.judged.collapsed)) for a, b in kept) / len(kept)


def condition_row(name: str, pairs: Sequence[tuple[JudgedRow, JudgedRow]], seed: int) -> CollapseRow | None:
    """One line of the contingency table; None where no pair is scored."""
    kept = scored(pairs)
    if not kept:
        return None
    found, first = counted(kept, seed), kept[0][1].row
    return CollapseRow(
        condition=name,
        target=first.target,
        dose=first.dose,
        dose_sd=first.dose_sd,
        n=len(kept),
        not_scored=len(pairs) - len(kept),
        fine=found.fine,
        rescued=found.rescued,
        broken=found.broken,
        collapsed=found.collapsed,
        rescue=_rate(found.rescue, found.rescued + found.collapsed),
        breakage=_rate(found.breakage, found.fine + found.broken),
        net=found.net,
        net_low=found.net_interval.low if found.net_interval else None,
        net_high=found.net_interval.high if found.net_interval else None,
        identical=sum(a.row.text == b.row.text for a, b in pairs) / len(pairs),
        p=found.p,
        p_cores=found.p_cores,
        smallest_cores=found.smallest_cores,
        legacy_rescued=sum(a.legacy and not b.legacy for a, b in pairs),
        legacy_broken=sum(b.legacy and not a.legacy for a, b in pairs),
        means=means([two for _, two in pairs]),
    )


def means(rows: Sequence[JudgedRow]) -> dict[str, float | None]:
    """Mean metrics of texts, over those that have a number."""
    found: dict[str, list[float | None]] = {
        "score": [row.judged.score for row in rows],
        "loop": [row.metrics.loop for row in rows],
        "kl": [row.row.kl for row in rows],
        "nll_band": [row.said.band if row.said.band is not None else row.judge.band for row in rows],
        "relevance": [row.said.relevance for row in rows],
        "next_token_entropy": [row.row.entropy for row in rows],
    }
    known = {name: [value for value in values if value is not None] for name, values in found.items()}
    return {name: float(np.mean(values)) if values else None for name, values in known.items()}


def core_notes(table: Sequence[CollapseRow]) -> list[str]:
    """What too few cores leave unsaid."""
    if not table or table[0].net_low is not None:
        return []
    one = table[0].smallest_cores == 1
    return ["one core: no interval of net, and no p over cores; take two or more" if one else FEW_CORES]


def with_q(rows: Sequence[CollapseRow]) -> tuple[CollapseRow, ...]:
    """Adjusted p over conditions, by Benjamini and Hochberg."""
    q = q_values(np.array([row.p for row in rows])) if rows else []
    return tuple(row.model_copy(update={"q": float(value)}) for row, value in zip(rows, q, strict=True))


def moved_pairs(pairs: Sequence[tuple[JudgedRow, JudgedRow]]) -> list[CollapsePair]:
    """Every rescued and every broken prompt, both texts."""
    out: list[CollapsePair] = []
    for one, two in scored(pairs):
        if one.judged.collapsed == two.judged.collapsed:
            continue
        bad = one if one.judged.collapsed else two
        out.append(
            CollapsePair(
                prompt_id=one.row.prompt_id,
                core=one.row.core,
                condition=two.row.condition,
                outcome="rescued" if bad is one else "broken",
                prompt=one.row.prompt,
                before=one.row.text,
                after=two.row.text,
                kind=bad.judged.kind,
                loop=_loop(bad.metrics),
            )
        )
    return out


def by_factor(groups: Mapping[str, Sequence[JudgedRow]]) -> tuple[dict[str, str | float], ...]:
    """Collapsed share per cell of the first two factors, under each of some conditions."""
    out: list[dict[str, str | float]] = []
    for name, rows in groups.items():
        cells: dict[tuple[str, ...], list[bool]] = {}
        for row in rows:
            if row.judged.collapsed is not None and row.row.factors:
                cells.setdefault(tuple(v for _, v in row.row.factors[:2]), []).append(row.judged.collapsed)
        for cell, flags in sorted(cells.items()):
            share = sum(flags) / len(flags)
            out.append(
                {
                    "condition": name,
                    "a": cell[0],
                    "b": cell[1] if len(cell) > 1 else "",
                    "n": len(flags),
                    "share": share,
                }
            )
    return tuple(out)


def kinds(rows: Sequence[JudgedRow]) -> dict[str, int]:
    """Collapsed rows by kind."""
    return dict(sorted(Counter(row.judged.kind for row in rows if row.judged.kind).items()))


def metrics_table(rows: Sequence[JudgedRow]) -> dict[str, list[Any]]:
    """Columns of `tables/metrics.parquet`."""
    names = sorted({name for row in rows for name, _ in row.row.factors})
    columns: dict[str, list[Any]] = {}

    def put(name: str, values: list[Any]) -> None:
        columns[name] = values

    for name in ("prompt_id", "core", "condition", "sample", "target", "dose", "dose_sd", "prompt", "text"):
        put(name, [getattr(row.row, name) for row in rows])
    for name in names:
        put(f"factor_{name}", [dict(row.row.factors).get(name) for row in rows])
    numbers = [asdict(row.metrics) for row in rows]
    for name in numbers[0] if numbers else ():
        put(name, [one[name] for one in numbers])
    for n in (1, 2, 3, 4):
        put(f"distinct_{n}", [1 - one[f"rep_{n}"] for one in numbers])
    legacy = [legacy_metrics(row.row.text) for row in rows]
    for name in legacy[0] if legacy else ():
        put(name, [one[name] for one in legacy])
    put("next_token_entropy", [row.row.entropy for row in rows])
    put("kl", [row.row.kl for row in rows])
    for prefix, of in (("", [row.said for row in rows]), ("judge_", [row.judge for row in rows])):
        put(f"{prefix}nll", [one.nll for one in of])
        put(f"{prefix}nll_band", [one.band for one in of])
        # Loops lie below the band of healthy text, salad above.
        put(f"{prefix}nll_low", [None if one.band is None else max(-one.band, 0.0) for one in of])
        put(f"{prefix}nll_high", [None if one.band is None else max(one.band, 0.0) for one in of])
        put(f"{prefix}relevance", [one.relevance for one in of])
    put("legacy_collapsed", [row.legacy for row in rows])
    put("score", [row.judged.score for row in rows])
    put("collapsed", [row.judged.collapsed for row in rows])
    put("kind", [row.judged.kind for row in rows])
    return columns


def contingency_table(rows: Sequence[CollapseRow]) -> dict[str, list[Any]]:
    """Columns of `tables/contingency.parquet`."""
    plain = [row.model_dump(mode="json", exclude={"rescue", "breakage", "means"}) for row in rows]
    columns: dict[str, list[Any]] = {name: [one[name] for one in plain] for name in (plain[0] if plain else ())}
    for name in ("rescue", "breakage"):
        rates = [getattr(row, name) for row in rows]
        for part in ("value", "low", "high"):
            columns[f"{name}_{part}"] = [None if rate is None else getattr(rate, part) for rate in rates]
    for name in rows[0].means if rows else ():
        columns[f"mean_{name}"] = [row.means[name] for row in rows]
    return columns


def recomputed(rows: Sequence[CollapseRow], table: Any) -> list[str]:
    """Do a, b, c, d follow from the stored verdicts?"""
    problems: list[str] = []
    verdict: dict[str, dict[tuple[str, int], bool | None]] = {}
    names = ("condition", "prompt_id", "sample", "collapsed")
    for condition, prompt, sample, collapsed in zip(*(table[name].to_list() for name in names), strict=True):
        verdict.setdefault(condition, {})[(prompt, sample)] = collapsed
    base = verdict.get(BASELINE, {})
    for row in rows:
        pairs = [(base.get(key), after) for key, after in verdict.get(row.condition, {}).items()]
        kept = [(b, a) for b, a in pairs if b is not None and a is not None]
        found = tuple(sum(pair == want for pair in kept) for want in _CELLS)
        if found != (row.fine, row.rescued, row.broken, row.collapsed):
            problems.append(f"{row.condition}: the table gives a, b, c, d = {found}")
    return problems


_CELLS = ((False, False), (True, False), (False, True), (True, True))


def _rate(rate: tuple[float, Interval] | None, n: int) -> Rate | None:
    return None if rate is None else Rate(value=rate[0], low=rate[1].low, high=rate[1].high, n=n)


def _loop(metrics: TextMetrics) -> str | None:
    if metrics.loop < 0.2:  # where the score begins to count it
        return None
    return f"period {metrics.loop_period} {metrics.loop_level}, from {metrics.loop_onset}, {metrics.loop:.0%}"
