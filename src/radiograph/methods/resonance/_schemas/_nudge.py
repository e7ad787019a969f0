"""Schema 04, small nudge: how fast does the last token answer a small push of one unit, and where to?

1. Δz per sd by Jacobian-vector product: the derivative of the place in a plane downstream, the push at every position
2. checked by a finite difference: the unit at `add:+dose` and `add:−dose`, by the intervention engine
3. null: random directions at the output of the block's MLP, as long as one sd of the unit; interval over cores
"""

from __future__ import annotations

from typing import Any

import numpy as np

from radiograph.core import Refusal, Site, derive
from radiograph.methods.resonance._schemas._records import Arrows, Found, Measure, against
from radiograph.methods.resonance._schemas._study import Captured, Study, positions

DRAWS, FEWEST = 199, 19
DOSE = "0.02sd"
_STRONGEST = 5


def run(study: Study) -> Found:
    """The derivative, its check, its null."""
    from radiograph.interventions import parse_write
    from radiograph.models import prompt_ids
    from radiograph.models.tail import responses
    from radiograph.numerics.planes import core_intervals, haar_vectors

    unit, text = study.unit, study.config.dose or DOSE
    sd = float(study.statistics.sd[unit])
    (asked,) = parse_write(f"{study.site}[{unit}]:add:{text}")
    assert asked.dose is not None, "an add has a dose"
    if asked.dose.unit not in ("sd", "raw") or asked.dose.value == 0:
        raise Refusal("no_small_dose", "a nudge is a dose such as 0.02sd", got=text)
    small = asked.dose.value * (1.0 if asked.dose.unit == "sd" else 1 / sd)
    backwards = f"{study.site}[{unit}]:add:{-small:.9g}sd"
    done = study.capture(
        site=[str(study.read)],
        write=[f"{study.site}[{unit}]:add:{small:.9g}sd", backwards],
        pool="last-prompt",
        new_tokens=0,
    )
    values = done.by_condition(str(study.read))
    centre, axes, plane = study.plane(values[:, 0], done)
    z = positions(values, centre, axes)
    tokens = [prompt_ids(study.model.tokenizer, prompt) for prompt in done.prompts("prompt")]
    tangent = np.zeros((1, study.model.site_width(study.site)))
    tangent[0, unit] = sd
    base, slope = responses(study.model, tokens, study.site, tangent, study.read)
    arrows = _in_plane(base, slope[0], centre, axes)
    finite = (z[:, 1] - z[:, 2]) / (2 * small)
    apart = float(np.abs(arrows - finite).max() / max(1e-12, np.abs(arrows).max()))
    draws = study.config.draws or DRAWS
    seed = derive(study.ctx.seed, "nudge")
    out = Site("mlp_out", study.site.layer)
    pushes = haar_vectors(study.writes.shape[1], draws, seed) * sd * study.norms[unit]
    _, answers = responses(study.model, tokens, out, pushes, study.read)
    null = np.array([np.linalg.norm(_in_plane(base, one, centre, axes).mean(axis=0)) for one in answers])
    own = float(np.linalg.norm(arrows.mean(axis=0)))
    cores = done.prompts("core")
    interval = core_intervals(arrows.T[:, None, :], cores, seed=seed)
    p = (1 + int((null >= own * (1 - 1e-9)).sum())) / (1 + draws) if draws >= FEWEST else None
    lengths = np.linalg.norm(arrows, axis=1)
    study.ctx.output.table("arrows", _table(done, z[:, 0], arrows, finite))
    prompts = done.prompts("prompt")
    strongest = [
        Measure(what=prompts[i], statistic="‖Δz‖ per sd", n=1, estimate=float(lengths[i]))
        for i in np.argsort(-lengths, kind="stable")[:_STRONGEST]
    ]
    mean = against(f"{study.site}[{unit}], mean over prompts", "‖Δz‖ per sd", len(arrows), own, null).model_copy(
        update={
            "low": None if interval is None else float(interval.r[0, 0]),
            "high": None if interval is None else float(interval.r[1, 0]),
            "p": p,
            "q": p,
            "note": "" if interval is not None else "interval not available: fewer than four cores",
        }
    )
    return Found(
        kind="causal",
        null=f"{draws} random directions of the same length at {out}; smallest p {1 / (1 + draws):.2g}"
        + ("" if p is not None else f"; under {FEWEST} no p is given: raise --draws"),
        measures=(mean, *strongest),
        sentence=_said(f"{study.site}[{unit}]", p, draws),
        family=int(p is not None),
        smallest_p=1 / (1 + draws),
        arrows=Arrows(
            title=f"Δz per sd of {study.site}[{unit}], a prompt an arrow",
            x=tuple(z[:, 0, 0].tolist()),
            y=tuple(z[:, 0, 1].tolist()),
            dx=tuple(arrows[:, 0].tolist()),
            dy=tuple(arrows[:, 1].tolist()),
            mean=(float(arrows[:, 0].mean()), float(arrows[:, 1].mean())),
            null_high=float(np.quantile(null, 0.95)),
        ),
        notes=(f"plane: {plane}", f"derivative and finite difference at {small:g} sd differ by {apart:.2%} at most"),
    )


def _said(unit: str, p: float | None, draws: int) -> str:
    if p is None:
        return f"{draws} random directions are too few to say whether a small push of {unit} does more than they do."
    more = "more than" if p < 0.05 else "no more than"
    return f"A small push of {unit} moves the last token {more} one of the same length in a random direction."


def _table(done: Captured, z: np.ndarray, arrows: np.ndarray, finite: np.ndarray) -> dict[str, list[Any]]:
    """One row a prompt."""
    return {
        "prompt": done.prompts("prompt"),
        "core": done.prompts("core"),
        "z1": z[:, 0].tolist(),
        "z2": z[:, 1].tolist(),
        "dz1": arrows[:, 0].tolist(),
        "dz2": arrows[:, 1].tolist(),
        "dz1_finite": finite[:, 0].tolist(),
        "dz2_finite": finite[:, 1].tolist(),
    }


def _in_plane(base: np.ndarray, slope: np.ndarray, centre: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Derivative of (x − c)/‖x − c‖ in the plane, from that of x."""
    moved = base - centre
    length = np.linalg.norm(moved, axis=1, keepdims=True)
    unit = moved / length
    tangent = (slope - unit * (unit * slope).sum(axis=1, keepdims=True)) / length
    return tangent @ axes.T
