"""Schema 03, dose–response: what happens as one unit is turned down and up?

1. the unit at −8 … 8 sd and `none`, greedy texts; KL, place in a plane downstream, length there, collapse score
2. the one question is the slope at 0: ‖z(+1 sd) − z(−1 sd)‖/2; the rest describes (Spearman's ρ of doses
   with the first axis, KL and collapse score at the ends)
3. null: matched units at equal push, μ_j + (v − μ)‖w‖/‖w_j‖
"""

from __future__ import annotations

import numpy as np

from radiograph.methods.resonance._schemas._records import Curve, Found, Measure, against
from radiograph.methods.resonance._schemas._study import Captured, Study, positions

DOSES = (-8, -4, -2, -1, 0, 1, 2, 4, 8)
CONTROLS, FEWEST = 39, 19
SHOWN = {
    "kl": ("KL from the text without a write", "nats a token"),
    "r": ("length in the plane", "r"),
    "collapse": ("collapse", "score"),
}
UNSCORED = "at some dose every text of the unit is shorter than 8 tokens, so that collapse is not scored"


def run(study: Study) -> Found:
    """The curves of the unit and of its controls."""
    unit, held = study.unit, study.statistics
    controls = study.matched(study.config.draws or CONTROLS)
    writes = [f"{study.site}[{unit}]:set:{dose}sd" for dose in DOSES]
    for other in controls:
        for dose in DOSES:
            raw = held.mean[other] + dose * held.sd[unit] * study.norms[unit] / study.norms[other]
            writes.append(f"{study.site}[{other}]:set:{raw:.9g}")
    done = study.capture(
        site=[str(study.read)], write=writes, pool="last-prompt", new_tokens=study.config.new_tokens, divergence=True
    )
    curves, plane = _curves(study, done, 1 + len(controls))
    middle = DOSES.index(0)
    slope = np.linalg.norm(curves["z"][:, middle + 1] - curves["z"][:, middle - 1], axis=1) / 2
    table = {"dose_sd": list(DOSES), **{name: curves[name][0].tolist() for name in ("kl", "collapse", "r")}}
    table |= {"z1": curves["z"][0, :, 0].tolist(), "z2": curves["z"][0, :, 1].tolist()}
    table |= {"control_kl_median": np.median(curves["kl"][1:], axis=0).tolist()}
    study.ctx.output.table("doses", table)
    n = len(done.prompts("core"))
    rising = np.array([abs(_spearman(np.array(DOSES), z[:, 0])) for z in curves["z"]])
    measures = [
        _measure("slope at 0", "‖Δz‖ per sd", n, slope),
        _measure("order of the doses", "|Spearman's ρ| with the first axis", n, rising),
        _measure("KL at 8 sd", "nats a token", n, curves["kl"][:, -1]),
        _measure("KL at −8 sd", "nats a token", n, curves["kl"][:, 0]),
    ]
    if scored := _is_scored(curves["collapse"]):
        measures.append(_measure("collapse at 8 sd", "collapse score", n, curves["collapse"][:, -1]))
    measures[0] = measures[0].model_copy(update={"q": measures[0].p})
    own = measures[0]
    more = "answers its doses more than" if own.p is not None and own.p < 0.05 else "answers its doses no more than"
    tested = f"{study.site}[{unit}]"
    said = f"{tested} {more} units like it."
    if own.p is None:
        said = f"{len(controls)} units are too few to say whether {tested} answers its doses more than they do."
    return Found(
        kind="causal",
        null=f"{len(controls)} matched units at equal push; smallest p {1 / (1 + len(controls)):.3g}"
        + ("" if len(controls) >= FEWEST else f"; under {FEWEST} controls no p is given: raise --draws"),
        measures=tuple(measures),
        sentence=said,
        family=int(own.p is not None),
        smallest_p=1 / (1 + len(controls)),
        curves=_drawn(f"{study.site}[{unit}]", curves),
        notes=(f"plane: {plane}", *(() if scored else (UNSCORED,))),
    )


def _drawn(unit: str, curves: dict[str, np.ndarray]) -> tuple[Curve, ...]:
    """What the page draws: the unit beside its controls."""
    return tuple(
        Curve(
            title=title,
            across=f"dose of {unit}, sd",
            up=up,
            x=DOSES,
            y=tuple(curves[name][0].tolist()),
            null=tuple(np.nanmedian(curves[name][1:], axis=0).tolist()),
            null_high=tuple(np.nanquantile(curves[name][1:], 0.95, axis=0).tolist()),
        )
        for name, (title, up) in SHOWN.items()
        if _is_scored(curves[name])
    )


def _is_scored(values: np.ndarray) -> bool:
    """Whether the unit has a value at every dose, and some control beside it."""
    known = np.isfinite(values)
    return bool(known[0].all() and known[1:].any(axis=0).all())


def _curves(study: Study, done: Captured, units: int) -> tuple[dict[str, np.ndarray], str]:
    """[unit, dose] of each number, means over prompts."""
    from radiograph.numerics.repetition import text_metrics
    from radiograph.store.collapse import shipped_score

    values = done.by_condition(str(study.read))
    centre, axes, plane = study.plane(values[:, 0], done)
    z = positions(values[:, 1:], centre, axes)
    shape = (units, len(DOSES))
    texts, ids = done.rows["text"].to_list(), done.rows["ids"].to_list()
    judge = shipped_score().judge
    judged = [judge(text or "", text_metrics(text or "", own)) for text, own in zip(texts, ids, strict=True)]
    scores = np.array([np.nan if own.score is None else own.score for own in judged])
    return {
        "kl": np.nanmean(done.table("kl")[:, 1:], axis=0).reshape(shape),
        "collapse": _mean(scores.reshape(-1, done.conditions)[:, 1:]).reshape(shape),
        "z": z.mean(axis=0).reshape(*shape, 2),
        "r": np.linalg.norm(z, axis=2).mean(axis=0).reshape(shape),
    }, plane


def _mean(values: np.ndarray) -> np.ndarray:
    """Over the prompts that have a value; NaN where none has."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0.0).sum(axis=0) / known.sum(axis=0)


def _measure(what: str, statistic: str, n: int, values: np.ndarray) -> Measure:
    """The first is the unit's, the others its controls'; texts too short to be scored have no value."""
    others = values[1:][np.isfinite(values[1:])]
    found = against(what, statistic, n, float(values[0]), others)
    return found if len(others) >= FEWEST else found.model_copy(update={"p": None})


def _spearman(one: np.ndarray, two: np.ndarray) -> float:
    from scipy.stats import rankdata

    a, b = rankdata(one), rankdata(two)
    a, b = a - a.mean(), b - b.mean()
    whole = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / whole if whole > 0 else 0.0
