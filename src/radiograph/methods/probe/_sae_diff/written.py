"""From statistics to the evidence and its tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from radiograph.core import Context, Refusal, derive
from radiograph.evidence import RefusalRecord, Requirement
from radiograph.evidence.probes.shift import (
    L2,
    CarriedFeature,
    FeatureShift,
    Fvu,
    MovedCount,
    Rest,
    Shares,
    ShiftCounts,
    ShiftedFeature,
    State,
)
from radiograph.methods.dictionary._evaluation import requirements
from radiograph.methods.probe._sae_diff import labels, sample
from radiograph.numerics.shifts import Carried, Design, Drift, seen_null, shift_length, unseen

if TYPE_CHECKING:
    from radiograph.dictionaries.plain import PlainDictionary
    from radiograph.methods.probe._sae_diff.measure import Found, Sums
    from radiograph.methods.probe._sae_diff.options import Config
    from radiograph.methods.probe._sae_diff.sides import Sides


@dataclass(frozen=True, eq=False)
class Parts:
    """What was measured."""

    config: Config
    ctx: Context
    dictionary: PlainDictionary
    sides: Sides
    sums: Sums
    found: Found
    rebuilt: sample.Rebuilt | None
    directions: NDArray[Any] | None


def shift(
    parts: Parts, stamps: Sequence[str], gaps: list[RefusalRecord], wanted: Sequence[Requirement]
) -> FeatureShift:
    """The result; its tables are written."""
    config, found, sides = parts.config, parts.found, parts.sides
    l2, seen, null = _drift(parts, gaps)
    fvu, outside, random = _reconstruction(parts, gaps)
    chosen, tests = found.carried, found.tests
    moved, sham = tests.moved(config.q) if tests.p is not None else (None, None)
    if tests.p is None:
        stamps = [*stamps, "few_groups"]
        count = parts.sums.design.groups
        text = f"{count} group{'s are' if count != 1 else ' is'} too few for a null"
        gaps.append(RefusalRecord(code="few_groups", what="tests", text=text, fix="12 groups or more; --clusters"))
        chosen = None
    effect = found.shifts.effect
    if effect is None:
        text = "the covariance of the reference does not fit into the memory that is allowed"
        gaps.append(RefusalRecord(code="no_covariance", what="effect", text=text, fix="raise --memory"))
    words = labels.of(parts.ctx, config, parts.dictionary)
    shares = Shares(
        carried=None if chosen is None else chosen.share,
        carried_interval=None if chosen is None else chosen.share_interval,
        seen=seen,
        seen_null=null,
        outside=outside,
        outside_random=random,
    )
    mean = parts.sums.design.weights[0] @ parts.sums.written
    drift = float(np.linalg.norm(mean) / parts.sums.trace**0.5) if parts.sums.trace > 0 else None
    if drift is None:
        text = "the rows of the reference are all the same: a shift has nothing to be measured in"
        gaps.append(RefusalRecord(code="no_variance", what="activation_drift", text=text))
    values = {
        "moved": moved,
        "carried": None if chosen is None else len(chosen.chosen),
        "share_carried": shares.carried,
        "share_seen": seen,
        "share_outside": outside,
        "l2_drift": None if l2 is None else l2.drift,
        "l2_excess": None if l2 is None else l2.excess,
        "effect_rms": None if effect is None else float(np.sqrt(np.square(effect).mean())),
        "activation_drift": drift,
        "fvu_ref": None if fvu is None else fvu.ref,
        "fvu_cand": None if fvu is None else fvu.cand,
    }
    _tables(parts, chosen is not None)
    return FeatureShift(
        reference=sides.inputs[0].name,
        candidate=sides.inputs[1].name,
        dictionary=parts.ctx.label(config.dictionary),
        dictionary_sha256=parts.dictionary.sha256,
        kind=parts.dictionary.kind,
        activation=parts.dictionary.sigma,
        site=sides.inputs[0].site or config.site or next(iter(parts.dictionary.sites), None),
        target=parts.dictionary.target,
        n=_counts(parts),
        features=parts.dictionary.size,
        depth=config.depth,
        moved=MovedCount(level=config.q, count=moved, sham=sham, sham_carried=chosen.sham if chosen else None),
        carried=() if chosen is None else _carried(parts, words),
        rest=rest_of(chosen),
        shown=tuple(_feature(parts, int(j), words) for j in _shown(parts, chosen)),
        changes=_changes(parts, words),
        written=(),
        l2=l2,
        effect_rms=values["effect_rms"],
        activation_drift=drift,
        shares=shares,
        fvu=fvu,
        null=tuple(int(v) for v in tests.null),
        largest=float(np.sqrt(tests.statistic.max(initial=0))),
        stamps=tuple(dict.fromkeys(stamps)),
        notes=parts.dictionary.notes,
        requirements=requirements.answered(wanted, {(k, None): float(v) for k, v in values.items() if v is not None}),
        not_measured=tuple(gaps),
    )


def _counts(parts: Parts) -> ShiftCounts:
    sides, found = parts.sides, parts.found
    return ShiftCounts(
        tokens=sides.inputs[0].rows,
        tokens_cand=sides.inputs[1].rows,
        groups=int((sides.counts.sum(0) > 0).sum()),
        merged=parts.sums.design.groups,
        clusters=sides.clusters,
        codes=found.code_tokens if found.counted is not None else 0,
        sample=0 if parts.rebuilt is None else len(parts.rebuilt.errors[0]),
    )


def rest_of(chosen: Carried | None) -> Rest | None:
    """Why the selection stopped."""
    if chosen is None:
        return None
    return Rest(state=chosen.rest, p=chosen.rest_p, share=chosen.rest_share, chance=chosen.chance)


def soup(result: FeatureShift) -> dict[str, Any]:
    """The keys of soup-cli.

    Raises:
        Refusal: codes were not counted.
    """
    if result.l2 is None:
        raise Refusal("codes_not_counted", "num_features, l2_drift and changes need the codes of every feature")
    return {
        "num_features": result.features,
        "num_tokens": result.n.tokens,
        "l2_drift": result.l2.drift,
        "changes": [
            {"feature_id": c.feature, "delta": c.delta, "pre_mean": c.mean_ref, "post_mean": c.mean_cand}
            for c in result.changes
        ],
    }


def _shown(parts: Parts, chosen: object | None) -> NDArray[np.integer]:
    from radiograph.methods.probe._sae_diff.measure import reported

    return reported(parts.config, parts.found.tests, parts.found.carried if chosen is not None else None)


def _changes(parts: Parts, words: labels.Words) -> tuple[ShiftedFeature, ...]:
    if parts.config.depth != "full" or parts.found.rates is None:
        return ()
    order = np.argsort(-np.abs(parts.found.rates.delta), kind="stable")[: parts.config.top_k]
    return tuple(_feature(parts, int(j), words) for j in order)


def _place(parts: Parts, feature: int) -> int | None:
    """Where a feature stands among those whose codes were counted."""
    counted = parts.found.counted
    if counted is None or parts.found.rates is None:
        return None
    if len(counted) == parts.dictionary.size:
        return feature
    found = np.flatnonzero(counted == feature)
    return int(found[0]) if len(found) else None


def _state(parts: Parts, feature: int) -> State:
    place = _place(parts, feature)
    crossed = 0 if place is None or parts.found.rates is None else int(parts.found.rates.crossed[place])
    if crossed:
        return "recruited" if crossed > 0 else "silenced"
    moved = float(parts.found.shifts.shift[feature])
    return "raised" if moved > 0 else "suppressed" if moved < 0 else "unmoved"


def _rates(parts: Parts, feature: int) -> dict[str, Any]:
    """What is known of a feature's codes."""
    place, rates = _place(parts, feature), parts.found.rates
    if place is None or rates is None:
        return {}
    active = [float(v[place]) for v in (rates.active_ref, rates.active_cand)]
    silent = rates.rate_ref[place] == 0 or rates.rate_cand[place] == 0
    return {
        "rate_ref": float(rates.rate_ref[place]),
        "rate_cand": float(rates.rate_cand[place]),
        "t_rate": float(rates.t_rate[place]) if parts.sums.design.groups > 1 else None,
        "turned_on": None if rates.turned_on is None else int(rates.turned_on[place]),
        "turned_off": None if rates.turned_off is None else int(rates.turned_off[place]),
        "mean_ref": float(rates.mean_ref[place]),
        "mean_cand": float(rates.mean_cand[place]),
        "delta": float(rates.delta[place]),
        "active_ref": None if np.isnan(active[0]) else active[0],
        "active_cand": None if np.isnan(active[1]) else active[1],
        "bound": 3 / min(side.rows for side in parts.sides.inputs) if silent else None,
    }


def _feature(parts: Parts, feature: int, words: labels.Words) -> ShiftedFeature:
    shifts, tests = parts.found.shifts, parts.found.tests
    return ShiftedFeature(
        feature=feature,
        **words(feature),
        state=_state(parts, feature),
        shift=float(shifts.shift[feature]),
        effect=None if shifts.effect is None else float(shifts.effect[feature]),
        t=float(shifts.t[feature]) if parts.sums.design.groups > 1 else None,
        p=None if tests.p is None else float(tests.p[feature]),
        q=None if tests.q is None else float(tests.q[feature]),
        **_rates(parts, feature),
    )


def _carried(parts: Parts, words: labels.Words) -> tuple[CarriedFeature, ...]:
    chosen = parts.found.carried
    assert chosen is not None, "asked for only where there is one"
    found: list[CarriedFeature] = []
    for one in chosen.chosen:
        rates = _rates(parts, one.row)
        effect = parts.found.shifts.effect
        found.append(
            CarriedFeature(
                feature=one.row,
                **words(one.row),
                coefficient=one.coefficient,
                interval=(one.interval.low, one.interval.high),
                share=one.share,
                q=one.q,
                alternatives=one.alternatives,
                state=_state(parts, one.row),
                effect=None if effect is None else float(effect[one.row]),
                rate_ref=rates.get("rate_ref"),
                rate_cand=rates.get("rate_cand"),
                delta=rates.get("delta"),
            )
        )
    return tuple(found)


def _drift(parts: Parts, gaps: list[RefusalRecord]) -> tuple[L2 | None, float | None, float | None]:
    """Drift of mean codes with its floor, and the share of the shift that it writes, with its null."""
    codes, found = parts.found.codes, parts.found
    if parts.config.depth != "full" or codes is None:
        code, fix = ("standard_depth", "--depth full") if parts.dictionary.encodes else ("no_codes", None)
        gaps.append(
            RefusalRecord(code=code, what="l2, share_seen", text="codes of all features were not counted", fix=fix)
        )
        return None, None, None
    del found
    change = codes.values
    drift: Drift = shift_length(change, parts.sums.design)
    parts.ctx.output.table("drift", _products(change))
    l2 = L2(drift=drift.drift, floor_median=drift.median, floor_q95=drift.q95, p=drift.p, excess=drift.excess)
    if parts.rebuilt is None or parts.dictionary.decoder is None:
        return l2, None, None
    rest = unseen(parts.sums.written, change, parts.dictionary.decoder)
    parts.ctx.output.table("unseen", _products(rest))
    return l2, *seen_null(_squared(parts.sums.written), _squared(rest), parts.sums.design)


def _squared(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return sums @ sums.T


def _sums(sums: NDArray[np.float64]) -> dict[str, Any]:
    """Sums of groups, as a table: a column a group."""
    return {f"g{i}": np.ascontiguousarray(own) for i, own in enumerate(sums)}


def _products(sums: NDArray[np.float64]) -> dict[str, list[float]]:
    """Products of group sums, as a table."""
    gram = _squared(sums)
    return {f"g{i}": gram[:, i].tolist() for i in range(len(gram))}


def _reconstruction(parts: Parts, gaps: list[RefusalRecord]) -> tuple[Fvu | None, float | None, tuple[float, ...]]:
    if parts.rebuilt is None:
        return None, None, ()
    fvu = sample.compared(parts.rebuilt, parts.sides.paired, derive(parts.ctx.seed, "fvu") % 2**32)
    if isinstance(fvu, Refusal):
        gaps.append(RefusalRecord(code=fvu.code, what="fvu", text=fvu.message))
        fvu = None
    outside, random = parts.rebuilt.outside, ()
    if parts.config.depth != "full" or not parts.sides.paired:
        text = "share_outside stands beside random dictionaries, which standard depth leaves out"
        text = text if parts.sides.paired else "the sides hold other tokens, so no token moved"
        gaps.append(RefusalRecord(code="standard_depth", what="share_outside", text=text, fix="--depth full"))
        outside = None
    elif outside is None:
        gaps.append(RefusalRecord(code="no_shift", what="share_outside", text="no activation moved"))
    else:
        random = sample.random_outside(parts.dictionary, parts.sums.sample, parts.rebuilt.l0, parts.ctx.seed)
    columns = {
        "group": parts.rebuilt.groups[0].tolist(),
        "error_ref": parts.rebuilt.errors[0].tolist(),
        "distance_ref": parts.rebuilt.distances[0].tolist(),
    }
    other = {
        "group": parts.rebuilt.groups[1].tolist(),
        "error_cand": parts.rebuilt.errors[1].tolist(),
        "distance_cand": parts.rebuilt.distances[1].tolist(),
    }
    if parts.sides.paired:
        if parts.rebuilt.missed is not None and parts.rebuilt.moved is not None:
            columns |= {"missed": parts.rebuilt.missed.tolist(), "moved": parts.rebuilt.moved.tolist()}
        parts.ctx.output.table("sample", columns | {k: v for k, v in other.items() if k != "group"})
    else:
        parts.ctx.output.table("sample_reference", columns)
        parts.ctx.output.table("sample_candidate", other)
    return fvu, outside, random


def _tables(parts: Parts, with_carried: bool) -> None:
    """Every feature, and the group sums along the chosen rows."""
    found, size = parts.found, parts.dictionary.size
    alone = parts.sums.design.groups < 2  # of one group no spread is known
    t = np.full(size, np.nan) if alone else found.shifts.t
    columns: dict[str, Any] = {"feature": np.arange(size), "shift": found.shifts.shift, "t": t}
    if found.shifts.effect is not None:
        columns["effect"] = found.shifts.effect
    columns["statistic"] = found.tests.statistic.astype(np.float64)
    if found.tests.p is not None and found.tests.q is not None and found.tests.sham_q is not None:
        columns |= {"p": found.tests.p, "q": found.tests.q, "sham_q": found.tests.sham_q}
    if found.rates is not None and found.counted is not None:
        fields = ("rate_ref", "rate_cand", "t_rate", "mean_ref", "mean_cand", "delta", "active_ref", "active_cand")
        for name in fields:
            whole = np.full(size, np.nan)
            if name != "t_rate" or not alone:
                whole[found.counted] = getattr(found.rates, name)
            columns[name] = whole
        crossed = np.zeros(size, np.int64)
        crossed[found.counted] = found.rates.crossed
        columns["crossed"] = crossed
        for name in ("turned_on", "turned_off"):
            if (counts := getattr(found.rates, name)) is not None:
                whole = np.zeros(size, np.int64)
                whole[found.counted] = counts
                columns[name] = whole
    parts.ctx.output.table("features", columns)
    rows = None if parts.directions is None or not with_carried else parts.directions
    if parts.sums.read is not parts.sums.written:
        parts.ctx.output.table("read", _sums(parts.sums.read))
    group_tables(parts.ctx, parts.sums.design, parts.sums.written, parts.sums.trace, found.carried, rows)


def group_tables(
    ctx: Context,
    design: Design,
    sums: NDArray[np.float64],
    trace: float,
    chosen: Carried | None,
    rows: NDArray[Any] | None,
) -> None:
    """Groups, the sums of what is written, and these along the rows that were chosen: from these the shift as a whole,
    coefficients, shares and intervals follow.
    """
    groups: dict[str, Any] = {"weight": design.weights[0], "tokens": design.counts}
    ctx.output.table("written", _sums(sums))
    ctx.output.table("scale", {"trace": [float(trace)], "width": [sums.shape[1]]})
    if chosen is not None and chosen.chosen and rows is not None:
        names = [one.row for one in chosen.chosen]
        basis = rows[names].astype(np.float64)
        along, products = sums @ np.linalg.pinv(basis), basis @ basis.T
        groups |= {f"c{name}": along[:, i] for i, name in enumerate(names)}
        own: dict[str, Any] = {f"c{n}": products[:, i] for i, n in enumerate(names)}
        ctx.output.table("basis", {"feature": names, **own})
    ctx.output.table("groups", groups)
