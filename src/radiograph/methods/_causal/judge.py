"""What rows of interventions say of each feature: effect, controls, dose-response, side effects, grade.

1. lines (a feature and an outcome) whose rows lie in both halves are judged held out: a condition (verb, dose) is
   chosen on discover, the largest bound of |E| nearest 0 inside the limits of side effects; the effect is measured on
   confirm under it. Where none is acceptable the reasons of each stand in `doses`, and the line is graded under the
   condition that does most on discover, never as validated
2. lines without halves are judged over all their rows together, and never as validated: nothing was held out
3. E, interval, p, q over all lines (`numerics.effects`); each control is an E of its own, compared with E under the
   conditions and in the groups in which both were measured, 6 groups at least. A family without such a control is one
   of 0 controls: nothing is beyond it
4. slope, monotonicity and shape over doses of the half that judges, those of the verb, unit and positions of the graded
   one; without halves where there is one such kind. D on near misses and negatives
5. strong causal score and grade

Rows are sorted before they are summed, so that their order changes no digit. O(rows log rows).
Units: those of the outcome. A number that is not to be had is null.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.core.shapes import Bool, Float64, Int64
from radiograph.methods._causal.controls import by_family, families_of
from radiograph.methods._causal.rows import CONDITION, LINE, Part, Rows, rows_of
from radiograph.numerics import Interval
from radiograph.numerics.effects import (
    BOOTSTRAP_GROUPS,
    CausalVerdict,
    ControlFamily,
    DoseResponse,
    Effects,
    Limits,
    causal_verdict,
    control_families,
    dose_response,
    effects,
    group_means,
    select,
    strong_causal_score,
)
from radiograph.numerics.multiplicity import Fdr

if TYPE_CHECKING:
    import polars

METHODS = ("t", "cluster_bootstrap")


@dataclass(frozen=True, eq=False)
class Causal:
    """Three tables.

    `features`, a line for each feature and outcome: `feature_id outcome outcome_unit`, the graded condition (`verb dose
    dose_unit dose_raw norm_fraction positions`; null where all rows were judged together), `held_out`, `acceptable`
    (a dose was; null where none was looked for), `estimate low high method p p_signs q in_sd groups rows baseline_sd`,
    `discover_estimate discover_low discover_high`, `drift kl ppl side_quoted`, `slope slope_low slope_high monotonicity
    shape`, `score` (strong causal), `placebo_exact grade contradicted codes failing`.
    `doses`, a line for each of them, half and condition: estimate, interval, mean change, side effects, `band` of the
    controls there, reasons, and whether it was graded and chosen.
    `controls`, a line for each of them and family: `n p band largest`.
    """

    features: polars.DataFrame
    doses: polars.DataFrame
    controls: polars.DataFrame


@dataclass(frozen=True, eq=False)
class _Choice:
    """The condition that each line is graded under; -1: all rows together."""

    held_out: Bool[np.ndarray, " line"]
    condition: Int64[np.ndarray, " line"]
    acceptable: Bool[np.ndarray, " line"]
    harmful: Bool[np.ndarray, " line"]
    """A side effect of it exceeds its limit on discover."""


def judge(
    table: polars.DataFrame,
    *,
    seed: int,
    limits: Limits | None = None,
    fdr: Fdr = "bh",
    association: Mapping[str, float] | None = None,
) -> Causal:
    """Judge rows of `store.interventions` (`Interventions.of_criterion` hands them out).

    Args:
        table: the rows; a column `criterion_mismatch` marks lines that were made for another criterion.
        seed: of bootstraps and random signs.
        limits: what a dose may cost.
        fdr: how q is adjusted over lines.
        association: signed association by feature id, for `contradicted`.

    Raises:
        UserError: a number that is not finite.
    """
    rows, allowed = rows_of(table), limits or Limits()
    discover = _doses(rows, seed, "discover")
    choice = _choose(rows, discover, allowed, _present(rows.effects.line[rows.effects.confirm], rows.size))
    graded = _graded(rows.effects, choice)
    found = effects(
        graded.directed, graded.line, graded.group, features=rows.size, seed=seed, baseline=graded.baseline, fdr=fdr
    )
    drift = _drift(_graded(rows.sides, choice), rows.size)
    kl, ppl = (_means(getattr(graded, name), graded.line, rows.size) for name in ("kl", "ppl"))
    families = families_of(rows, _graded(rows.controlled, choice), graded, found)
    responses = _responses(rows, choice, seed)
    exact = _exact(rows)
    signs = association or {}
    verdicts: list[CausalVerdict] = []
    scores: list[float | None] = []
    for line, feature in enumerate(rows.lines["feature_id"].to_list()):
        verdicts.append(
            causal_verdict(
                groups=int(found.groups[line]),
                estimate=float(found.estimate[line]),
                q=float(found.q[line]),
                families=families[line],
                dose=responses[line],
                within_limits=_within(choice, line, found, kl, ppl, drift, allowed),
                placebo_exact=exact[line],
                association=signs.get(feature),
            )
        )
        known = None if np.isnan(found.low[line]) else Interval(float(found.low[line]), float(found.high[line]))
        spill = None if np.isnan(drift[line]) else float(drift[line])
        scores.append(strong_causal_score(known, families[line], spill))
    return Causal(
        _features(rows, choice, found, discover, drift, kl, ppl, responses, scores, exact, verdicts),
        _dose_table(rows, choice, discover, _doses(rows, seed, "confirm"), allowed),
        _control_table(rows, families),
    )


@dataclass(frozen=True, eq=False)
class _Doses:
    """Effects of every line and condition of one half, and what the condition costs there."""

    line: Int64[np.ndarray, " pair"]
    condition: Int64[np.ndarray, " pair"]
    estimate: Float64[np.ndarray, " pair"]
    low: Float64[np.ndarray, " pair"]
    high: Float64[np.ndarray, " pair"]
    change: Float64[np.ndarray, " pair"]
    kl: Float64[np.ndarray, " pair"]
    ppl: Float64[np.ndarray, " pair"]
    negative: Float64[np.ndarray, " pair"]
    groups: Int64[np.ndarray, " pair"]


def _doses(rows: Rows, seed: int, half: str) -> _Doses:
    part, sides = (p.of(getattr(p, half)) for p in (rows.effects, rows.sides))
    wide = max(1, len(rows.conditions))
    pairs, pair = np.unique(part.line * wide + part.condition, return_inverse=True)
    n = len(pairs)
    found = effects(part.directed, pair, part.group, features=n, seed=seed, signs=1)
    moved = group_means(part.change, pair, part.group, n).estimate
    place = np.searchsorted(pairs, sides.line * wide + sides.condition)
    here = place < n
    here[here] = pairs[place[here]] == (sides.line * wide + sides.condition)[here]
    spill = _absolute(sides.of(here), place[here], n)
    kl, ppl = (_means(getattr(part, name), pair, n) for name in ("kl", "ppl"))
    return _Doses(
        pairs // wide, pairs % wide, found.estimate, found.low, found.high, moved, kl, ppl, spill, found.groups
    )


def choose(table: polars.DataFrame, *, seed: int, limits: Limits | None = None) -> polars.DataFrame:
    """What `judge` will grade each line under, from its rows on discover alone.

    A line for each feature and outcome: `LINE`, `CONDITION`, `acceptable`, `bound` (of |E| nearest 0).
    """
    import polars as pl

    rows = rows_of(table.filter(pl.col("split") == "discover"))
    discover = _doses(rows, seed, "discover")
    choice = _choose(rows, discover, limits or Limits(), np.ones(rows.size, dtype=bool))
    at = [
        int(np.flatnonzero((discover.line == line) & (discover.condition == chosen))[0])
        for line, chosen in enumerate(choice.condition.tolist())
    ]
    low, high = discover.low[at], discover.high[at]
    bound = np.where((low > 0) | (high < 0), np.minimum(np.abs(low), np.abs(high)), 0.0)
    return pl.concat(
        [
            rows.lines.select(LINE),
            rows.conditions[choice.condition].select(CONDITION),
            pl.DataFrame({"acceptable": choice.acceptable, "bound": bound}),
        ],
        how="horizontal",
    )


def _present(lines: Int64[np.ndarray, " row"], size: int) -> Bool[np.ndarray, " line"]:
    return np.bincount(lines, minlength=size) > 0


def _choose(rows: Rows, discover: _Doses, limits: Limits, judged: Bool[np.ndarray, " line"]) -> _Choice:
    """Per line the condition of the largest bound among the acceptable ones, else the one that does most."""
    chosen, acceptable, harmful = np.full(rows.size, -1), *np.zeros((2, rows.size), dtype=bool)
    starts = np.searchsorted(discover.line, np.arange(rows.size + 1))
    for line in np.flatnonzero(judged & (np.diff(starts) > 0)).tolist():
        part = slice(starts[line], starts[line + 1])
        picked = _selected(discover, part, limits)
        if picked.chosen is not None:
            acceptable[line], place = True, picked.chosen
        else:
            place = int(np.lexsort((np.abs(discover.estimate[part]), picked.bound))[-1])
        chosen[line] = discover.condition[part][place]
        harmful[line] = _harms(picked.reasons[place])
    held = judged & (chosen >= 0)
    return _Choice(held, np.where(held, chosen, -1), acceptable, harmful)


def _harms(reasons: tuple[str, ...]) -> bool:
    """Whether a cost that was measured exceeds its limit; one that counts in shares of E needs an E."""
    return not {"kl", "ppl"}.isdisjoint(reasons) or ("negative" in reasons and "no_effect" not in reasons)


def _selected(doses: _Doses, part: slice, limits: Limits) -> Any:
    return select(
        doses.estimate[part],
        doses.low[part],
        doses.high[part],
        kl=doses.kl[part],
        ppl=doses.ppl[part],
        negative=doses.negative[part],
        limits=limits,
    )


def _graded(part: Part, choice: _Choice, *, every: bool = False) -> Part:
    """The rows that grade their lines; `every` takes all conditions of the half that judges."""
    held = choice.held_out[part.line]
    fits = np.ones(len(part), dtype=bool) if every else part.condition == choice.condition[part.line]
    return part.of(np.where(held, part.confirm & fits, True))


def _drift(sides: Part, size: int) -> Float64[np.ndarray, " line"]:
    return _absolute(sides, sides.line, size)


def _absolute(sides: Part, of: Int64[np.ndarray, " row"], size: int) -> Float64[np.ndarray, " size"]:
    """Mean over groups of the mean |Δ outcome|; NaN without rows."""
    return group_means(np.abs(sides.change), of, sides.group, size).estimate


def _means(
    values: Float64[np.ndarray, " row"], of: Int64[np.ndarray, " row"], size: int
) -> Float64[np.ndarray, " size"]:
    """Mean of the known values, NaN without one; equal values keep theirs to the last digit."""
    known = ~np.isnan(values)
    own, number = values[known], of[known]
    order = np.lexsort((own, number))
    own, number = own[order], number[order]
    count = np.bincount(number, minlength=size)
    first = np.full(size, np.nan)
    first[number[::-1]] = own[::-1]
    rest = np.bincount(number, own - first[number], minlength=size)
    return first + rest / np.maximum(count, 1)


def _responses(rows: Rows, choice: _Choice, seed: int) -> list[DoseResponse | None]:
    part = _graded(rows.effects, choice, every=True)
    dose = rows.conditions["from_neutral"].fill_null(float("nan")).to_numpy()[part.condition]
    usable = ~np.isnan(dose) & (dose != 0)
    part, dose = part.of(usable), dose[usable]
    kinds = rows.conditions.select("verb", "dose_unit", "positions").rows()
    number = {kind: place for place, kind in enumerate(dict.fromkeys(kinds))}
    kind = np.array([number[one] for one in kinds], np.int64)
    chosen = np.where(choice.condition >= 0, kind[choice.condition], -1) if len(kind) else choice.condition
    alike = (chosen[part.line] == kind[part.condition]) | (chosen[part.line] < 0)
    part, dose = part.of(alike), dose[alike]
    order = np.argsort(part.line, kind="stable")
    starts = np.searchsorted(part.line[order], np.arange(rows.size + 1))
    out: list[DoseResponse | None] = [None] * rows.size
    for line in np.flatnonzero(np.diff(starts)).tolist():
        mine = order[starts[line] : starts[line + 1]]
        if len(np.unique(kind[part.condition[mine]])) > 1:
            continue
        out[line] = dose_response(dose[mine], part.change[mine], part.group[mine], seed=seed)
    return out


def _exact(rows: Rows) -> list[bool | None]:
    """Whether dose 0 left every outcome as it was, to the last bit; None where nobody tried."""
    tried = np.bincount(rows.placebos.line, minlength=rows.size) > 0
    moved = np.bincount(rows.placebos.line[rows.placebos.change != 0], minlength=rows.size) > 0
    return [bool(not m) if t else None for t, m in zip(tried.tolist(), moved.tolist(), strict=True)]


def _within(
    choice: _Choice,
    line: int,
    found: Effects,
    kl: Float64[np.ndarray, " line"],
    ppl: Float64[np.ndarray, " line"],
    drift: Float64[np.ndarray, " line"],
    limits: Limits,
) -> bool | None:
    if not choice.held_out[line]:
        return None
    costs = np.array([kl[line], ppl[line], drift[line]])
    allowed = np.array([limits.kl, limits.ppl, limits.negative * abs(found.estimate[line])])
    exceeded = costs > allowed
    # A share of an effect that is perhaps 0 says nothing.
    exceeded[2] &= bool(found.low[line] > 0 or found.high[line] < 0)
    if choice.harmful[line] or exceeded.any():
        return False
    return True if choice.acceptable[line] and not np.isnan(costs).any() else None


def _features(
    rows: Rows,
    choice: _Choice,
    found: Effects,
    discover: _Doses,
    drift: Float64[np.ndarray, " line"],
    kl: Float64[np.ndarray, " line"],
    ppl: Float64[np.ndarray, " line"],
    responses: list[DoseResponse | None],
    scores: list[float | None],
    exact: list[bool | None],
    verdicts: list[CausalVerdict],
) -> polars.DataFrame:
    import polars as pl

    wide = max(1, len(rows.conditions))
    known = dict(zip((discover.line * wide + discover.condition).tolist(), range(len(discover.line)), strict=True))
    at = [known.get(line * wide + c, -1) if c >= 0 else -1 for line, c in enumerate(choice.condition.tolist())]

    def chosen(name: str) -> list[float | None]:
        values = getattr(discover, name)
        return [_number(values[place]) if place >= 0 else None for place in at]

    picked = _described(rows, np.arange(rows.size), choice.condition)
    codes = [
        (*v.codes, *("push_assumed",) * bool(assumed), *("criterion_mismatch",) * bool(other))
        for v, assumed, other in zip(
            verdicts, rows.lines["push_assumed"], rows.lines["criterion_mismatch"], strict=True
        )
    ]
    numbers = {name: _nulls(getattr(found, name)) for name in ("estimate", "low", "high", "p", "p_signs", "q", "in_sd")}
    bootstrapped = (found.groups >= BOOTSTRAP_GROUPS).astype(int).tolist()
    columns: dict[str, Any] = {
        **{name: rows.lines[name] for name in LINE},
        **{name: picked[name] for name in ("verb", "dose", "dose_unit", "dose_raw", "norm_fraction", "positions")},
        "held_out": choice.held_out.tolist(),
        "acceptable": [
            a if h else None for a, h in zip(choice.acceptable.tolist(), choice.held_out.tolist(), strict=True)
        ],
        **{name: pl.Series(values, dtype=pl.Float64) for name, values in numbers.items()},
        "method": pl.Series(
            [None if low is None else METHODS[b] for low, b in zip(numbers["low"], bootstrapped, strict=True)],
            dtype=pl.String,
        ),
        "groups": found.groups.tolist(),
        "rows": found.rows.tolist(),
        **{f"discover_{name}": pl.Series(chosen(name), dtype=pl.Float64) for name in ("estimate", "low", "high")},
        "drift": pl.Series(_nulls(drift), dtype=pl.Float64),
        "kl": pl.Series(_nulls(kl), dtype=pl.Float64),
        "ppl": pl.Series(_nulls(ppl), dtype=pl.Float64),
        "side_quoted": rows.lines["side_quoted"],
        "slope": _of(responses, lambda r: r.slope),
        "slope_low": _of(responses, lambda r: None if r.interval is None else r.interval.low),
        "slope_high": _of(responses, lambda r: None if r.interval is None else r.interval.high),
        "monotonicity": _of(responses, lambda r: r.monotonicity),
        "shape": pl.Series([None if r is None else r.shape for r in responses], dtype=pl.String),
        "score": pl.Series(scores, dtype=pl.Float64),
        "placebo_exact": pl.Series(exact, dtype=pl.Boolean),
        "grade": [v.grade for v in verdicts],
        "contradicted": [v.contradicted for v in verdicts],
        "codes": [",".join(own) for own in codes],
        "failing": [",".join(v.failing) for v in verdicts],
    }
    return pl.DataFrame(columns)


def _described(rows: Rows, line: Int64[np.ndarray, " pair"], condition: Int64[np.ndarray, " pair"]) -> polars.DataFrame:
    """Conditions of lines, with what their doses are for them; nulls for a condition of -1."""
    import polars as pl

    kinds = [pl.col("line", "condition").cast(pl.Int64)]
    found = pl.DataFrame({"line": line, "condition": condition}).with_columns(kinds)
    for table, on in ((rows.conditions, ["condition"]), (rows.sizes, ["line", "condition"])):
        known = table.with_columns(pl.col(name).cast(pl.Int64) for name in on)
        found = found.join(known, on=on, how="left", maintain_order="left")
    return found.select(*CONDITION, "dose_raw", "norm_fraction", "from_neutral")


def _dose_table(rows: Rows, choice: _Choice, discover: _Doses, confirm: _Doses, limits: Limits) -> polars.DataFrame:
    import polars as pl

    parts: list[pl.DataFrame] = []
    for half, doses in (("discover", discover), ("confirm", confirm)):
        starts = np.searchsorted(doses.line, np.arange(rows.size + 1))
        reasons: list[str] = []
        for low, high in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
            if low < high:
                reasons += [",".join(why) for why in _selected(doses, slice(low, high), limits).reasons]
        graded = choice.condition[doses.line] == doses.condition
        parts.append(
            pl.concat(
                [
                    rows.lines[doses.line].select(LINE),
                    pl.DataFrame({"split": pl.repeat(half, len(doses.line), eager=True, dtype=pl.String)}),
                    _described(rows, doses.line, doses.condition),
                    pl.DataFrame(
                        {
                            **{
                                f.name: pl.Series(_nulls(getattr(doses, f.name)), dtype=pl.Float64)
                                for f in fields(_Doses)
                                if f.name not in ("line", "condition", "groups")
                            },
                            "groups": pl.Series(doses.groups, dtype=pl.Int64),
                            "band": pl.Series(_bands(rows, doses, half), dtype=pl.Float64),
                            "reasons": pl.Series(reasons, dtype=pl.String),
                            "graded": pl.Series(graded, dtype=pl.Boolean),
                            "chosen": pl.Series(graded & choice.acceptable[doses.line], dtype=pl.Boolean),
                        }
                    ),
                ],
                how="horizontal",
            )
        )
    return pl.concat(parts)


def _bands(rows: Rows, doses: _Doses, half: str) -> list[float | None]:
    """What 95 % of the controls of the worst family stay below at each dose, |change|."""
    part = rows.controlled.of(getattr(rows.controlled, half))
    wide = max(1, len(rows.conditions))
    pairs, pair = np.unique(part.control * wide + part.condition, return_inverse=True)
    change = group_means(part.change, pair, part.group, len(pairs)).estimate
    owner, family = (rows.controls[name].to_numpy()[pairs // wide] for name in ("line", "family"))
    place = owner.astype(np.int64) * wide + pairs % wide
    order = np.argsort(place, kind="stable")
    place, family, change = place[order], family[order].astype(str), change[order]
    out: list[float | None] = []
    for key in (doses.line * wide + doses.condition).tolist():
        mine = slice(np.searchsorted(place, key), np.searchsorted(place, key, "right"))
        found = control_families(0.0, by_family(family[mine], change[mine]))
        out.append(max((f.band for f in found if f.band is not None), default=None))
    return out


def _control_table(rows: Rows, families: list[tuple[ControlFamily, ...]]) -> polars.DataFrame:
    import polars as pl

    every = [(line, family) for line, own in enumerate(families) for family in own]
    kinds = {"family": pl.String, "n": pl.Int64, "p": pl.Float64, "band": pl.Float64, "largest": pl.Float64}
    held = {
        name: pl.Series([getattr(f, "name" if name == "family" else name) for _, f in every], dtype=kind)
        for name, kind in kinds.items()
    }
    lines = rows.lines[np.array([line for line, _ in every], dtype=np.int64)].select(LINE)
    return pl.concat([lines, pl.DataFrame(held)], how="horizontal")


def _of(responses: list[DoseResponse | None], read: Any) -> polars.Series:
    import polars as pl

    return pl.Series([None if r is None else read(r) for r in responses], dtype=pl.Float64)


def _nulls(values: Float64[np.ndarray, " any"]) -> list[float | None]:
    return [None if np.isnan(v) else float(v) for v in values]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
