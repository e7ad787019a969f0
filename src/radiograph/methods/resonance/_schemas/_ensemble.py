"""Schema 06, Bat Country: one group in an ensemble of planes, whose angles are never averaged.

1. rows without the mean of their core (halves of the cores would differ by it); their components span an ensemble of
   planes; the Grey vector of the group in every other core, and in the rest
2. share of planes in which the group stands out (q < .05); agreement of the two halves, Σ z·z / Σ r r, in [−1, 1]
3. flips (opposite sides with both outside their rings), planes that weigh too much, triangulation on all planes
4. null of all of it: labels exchanged within cores. Random planes are none: the components of the very rows hold more
   of any mean than planes that the rows did not decide
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.core import Refusal, Site, derive
from radiograph.methods.resonance._schemas._records import WORDING, Curve, Found, Measure, against
from radiograph.methods.resonance._schemas._study import Study, halves

if TYPE_CHECKING:
    from radiograph.numerics.planes import Labels, Planes, Tested
    from radiograph.numerics.screening import Ensemble

VECTORS, PERMUTATIONS = 8, 999


def run(study: Study) -> Found:
    """One group, many planes."""
    from radiograph.numerics.multiplicity import q_values
    from radiograph.numerics.planes import (
        GroupLength,
        Labels,
        against_null,
        all_pairs,
        coordinates,
        planes_of,
        triangulated,
        unit_rows,
    )
    from radiograph.numerics.screening import ensemble

    site = study.site if study.config.site else Site("resid_post", study.model.n_layers // 2)
    done = study.capture(site=[str(site)], pool="last-prompt", new_tokens=0)
    group, mask = study.group(done)
    cores = done.prompts("core")
    raw = done.by_condition(str(site))[:, 0]
    raw = raw - core_means(raw, cores)
    rows, kept = unit_rows(raw)
    if not kept.all():
        raise Refusal("core_of_one", "a core has one prompt, or one vector", fix="two prompts a core or more")
    count = min(VECTORS, len(rows) - 1, rows.shape[1])
    vectors = np.linalg.svd(raw, full_matrices=False)[2][:count]
    planes, _ = planes_of(vectors @ vectors.T, *all_pairs(count))
    z = coordinates(rows @ vectors.T, planes)
    draws, seed = study.config.draws or PERMUTATIONS, derive(study.ctx.seed, "ensemble")
    labels = Labels([bool(own) for own in mask], cores)
    source = GroupLength(z, labels, True)
    tested = against_null(source.observed(), source, seed=seed, draws=draws, limit=draws)
    q, ring = q_values(tested.p), tested.quantiles[2]
    even, odd = halves(cores)
    one, two = (z[:, :, mask & half].mean(axis=2) for half in (even, odd))
    outside = (np.hypot(*one) > ring) & (np.hypot(*two) > ring)
    own = ensemble(one, two, outside)
    study.ctx.output.table("planes", _table(planes, tested, q, own))
    p_halves, median, high = _relabelled(z, labels, even, odd, draws, seed)
    null = _chance(rows, vectors, z, labels, draws, seed)
    _, share, rank = triangulated(rows[mask].mean(axis=0), vectors)
    n = int(mask.sum())
    facts: dict[str, Any] = {"estimate": own.agreement, "p": p_halves, "null": median, "null_high": high}
    measures = [
        Measure(what="agreement of the halves", statistic="Σ z·z / Σ r r", n=n, **facts),
        against("mean r over planes", "cosine", n, float(tested.observed.mean()), null[:, 0]),
        against("triangulation", f"share of the mean's squared norm in {rank} directions", n, share, null[:, 1]),
    ]
    family = q_values(np.array([measure.p for measure in measures]))
    measures = [m.model_copy(update={"q": float(value)}) for m, value in zip(measures, family, strict=True)]
    return _said(group, measures, q, own, int(outside.sum()), draws).model_copy(update={"curves": (_curve(tested),)})


def _said(group: str, measures: list[Measure], q: np.ndarray, own: Ensemble, outside: int, draws: int) -> Found:
    standing, count = int((q < 0.05).sum()), len(q)
    described = [
        Measure(what="planes beyond the null", statistic="share at q < .05", n=count, estimate=standing / count),
        Measure(what="flips", statistic="planes", n=outside, estimate=float(len(own.flips))),
        Measure(what="outliers of the jackknife", statistic="planes", n=count, estimate=float(len(own.outliers))),
    ]
    holds = measures[0].q is not None and measures[0].q < 0.05 and own.agreement > 0
    return Found(
        kind="correlational",
        null=f"labels exchanged within cores ({draws} times)",
        measures=(*measures, *described),
        sentence=f"{group} stands out in {standing} of {count} planes, and its two halves "
        + ("point the same way." if holds else "point the same way no more than relabelled rows do."),
        family=len(measures),
        smallest_p=1 / (1 + draws),
        notes=(WORDING,),
    )


def _curve(tested: Tested) -> Curve:
    """R of every plane, the largest first."""
    order = np.argsort(-tested.observed, kind="stable")
    return Curve(
        title="every plane of the ensemble",
        across="planes, by r",
        up="r of the group",
        x=tuple(range(1, len(order) + 1)),
        y=tuple(tested.observed[order].tolist()),
        null=tuple(tested.quantiles[1][order].tolist()),
        null_high=tuple(tested.quantiles[2][order].tolist()),
    )


def _table(planes: Planes, tested: Tested, q: np.ndarray, own: Ensemble) -> dict[str, list[Any]]:
    """One row a plane."""
    flips, outliers = set(own.flips.tolist()), set(own.outliers.tolist())
    return {
        "plane": [f"{i}, {j}" for i, j in zip(planes.first.tolist(), planes.second.tolist(), strict=True)],
        "r": tested.observed.tolist(),
        "p": tested.p.tolist(),
        "q": q.tolist(),
        "null_95": tested.quantiles[2].tolist(),
        "agreement_without": own.without.tolist(),
        "flip": [place in flips for place in range(len(planes))],
        "outlier": [place in outliers for place in range(len(planes))],
    }


def core_means(values: np.ndarray, cores: list[str]) -> np.ndarray:
    """The mean of each row's core."""
    names = list(dict.fromkeys(cores))
    places = np.array([names.index(core) for core in cores])
    means = np.stack([values[places == place].mean(axis=0) for place in range(len(names))])
    return means[places]


def _relabelled(
    z: np.ndarray, labels: Labels, even: np.ndarray, odd: np.ndarray, draws: int, seed: int
) -> tuple[float, float, float]:
    """Agreement of the halves under labels exchanged within cores: p, median, 95 %."""
    from radiograph.numerics.screening import agreement

    place = labels.groups.index(True)

    def halved(member: np.ndarray) -> float:
        return agreement(z[:, :, member & even].mean(axis=2), z[:, :, member & odd].mean(axis=2))

    own = halved(labels.codes == place)
    null = np.array([halved(codes == place) for chunk in labels.permuted(draws, seed) for codes in chunk])
    p = (1 + int((null >= own - 1e-12).sum())) / (1 + len(null))
    return p, float(np.median(null)), float(np.quantile(null, 0.95))


def _chance(rows: np.ndarray, vectors: np.ndarray, z: np.ndarray, labels: Labels, draws: int, seed: int) -> np.ndarray:
    """[relabelling, (mean r over planes, share of the squared norm of the mean in the span of the vectors)]."""
    place, count = labels.groups.index(True), len(rows)
    out: list[np.ndarray] = []
    for codes in labels.permuted(draws, derive(seed, "chance")):
        members = (codes == place) / labels.sizes[place]
        along = (members @ z.reshape(-1, count).T).reshape(len(codes), 2, -1)
        means = members @ rows
        held = np.einsum("dv,dv->d", means @ vectors.T, means @ vectors.T)
        out.append(np.stack([np.hypot(along[:, 0], along[:, 1]).mean(axis=1), held / (means**2).sum(axis=1)], axis=1))
    return np.concatenate(out)
