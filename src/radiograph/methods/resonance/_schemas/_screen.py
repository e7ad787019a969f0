"""Schema 01, neuron screen: every unit of a site is written; which of them move the next token?

1. each unit at `--dose` on every prompt, one batch; KL(none ‖ written) of the next token; ‖mean Δz‖ downstream
2. ranked on half the cores; everything else is said of the other half
3. null: random directions with the same push, prompt by prompt, through the model's own tail (last block) or the
   network (other blocks). Two questions, q over all units for each: is it *loud*, above random directions pushed as
   hard as the other units; is its *direction* special, above random directions pushed as hard as itself (effects
   standardised by the unit's own draws, and pooled)

The displacement has no p: rows hold what units wrote into them, so their components lean towards loud columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from radiograph.core import Refusal
from radiograph.methods.resonance._schemas._records import Found, Measure
from radiograph.methods.resonance._schemas._study import Captured, Study, halves, positions

TAIL_DRAWS, NETWORK_DRAWS = 99, 24
TOP = 10
ONE_CORE = "one core: units are ranked and tested on the same prompts, so that the first ones are a choice"
_AGREES = 0.02


def run(study: Study) -> Found:
    """Screen the units."""
    from radiograph.models.tail import follows_norm
    from radiograph.numerics.multiplicity import q_values
    from radiograph.numerics.screening import above_others, pooled_p

    statistics, dose = study.statistics, study.config.dose or "3sd"
    living = np.flatnonzero((statistics.sd > 0) & (study.norms > 0))
    sites = [str(study.read), str(study.site)]
    written = [f"{study.site}[{unit}]:set:{dose}" for unit in living]
    done = study.capture(site=sites, write=written, pool="last-prompt", new_tokens=1, divergence=True)
    kl = done.table("kl")[:, 1:]
    chosen, confirm = halves(done.prompts("core"))
    after = done.by_condition(str(study.read))
    centre, axes, plane = study.plane(after[:, 0], done)
    moved = (positions(after[:, 1:], centre, axes) - positions(after[:, :1], centre, axes))[confirm].mean(axis=0)
    doses = done.table("dose_raw")[0, 1:]
    push = (doses - done.by_condition(str(study.site))[:, 0, living]) * study.norms[living]
    downstream = _Plane(centre, axes)
    if study.site.layer == study.model.n_layers - 1 and not follows_norm(study.model):
        null, null_moved = _through_tail(study, done, living, push, confirm, downstream)
        notes: tuple[str, ...] = ()
    else:
        null, null_moved = _through_network(study, done, living, doses, confirm, downstream)
        notes = (f"{len(null)} random directions a unit through the network: raise --draws for a smaller p",)
    observed = kl[confirm].mean(axis=0)
    p = above_others(observed, null)
    p_direction, t = pooled_p(observed, null)
    chance = np.median(null_moved, axis=0)
    q, q_direction = q_values(p), q_values(p_direction)
    order = np.argsort(-kl[chosen].mean(axis=0), kind="stable")
    study.ctx.output.table(
        "units",
        {
            "unit": living[order].tolist(),
            "kl_chosen": kl[chosen].mean(axis=0)[order].tolist(),
            "kl_confirmed": observed[order].tolist(),
            "null_median": np.median(null, axis=0)[order].tolist(),
            "push": np.abs(push).mean(axis=0)[order].tolist(),
            "p": p[order].tolist(),
            "q": q[order].tolist(),
            "t_direction": t[order].tolist(),
            "p_direction": p_direction[order].tolist(),
            "q_direction": q_direction[order].tolist(),
            "displacement": np.linalg.norm(moved, axis=1)[order].tolist(),
            "displacement_null": chance[order].tolist(),
        },
    )
    measures = [
        Measure(
            what=f"{study.site}[{living[place]}]",
            statistic="KL of the next token, nats",
            n=int(confirm.sum()),
            estimate=float(observed[place]),
            null=float(np.median(null)),
            null_high=float(np.quantile(null, 0.95)),
            p=float(p[place]),
            q=float(q[place]),
            note=f"at its own strength: null {np.median(null[:, place]):.3g}, q {q_direction[place]:.2g}; moves "
            f"{np.linalg.norm(moved[place]):.3f} in the plane, random directions {chance[place]:.3f}",
        )
        for place in order[:TOP]
    ]
    loud, special = int((q < 0.05).sum()), int((q_direction < 0.05).sum())
    most = f"{study.site}[{living[order[0]]}]"
    return Found(
        kind="causal",
        null=f"random directions pushed as hard as the other units, prompt by prompt ({len(null)} of each of "
        f"{len(living)}); beside it as hard as the unit itself; smallest p {1 / (1 + null.size):.2g}",
        measures=tuple(measures),
        sentence=f"{loud} of {len(living)} units of {study.site} move the next token more than random pushes as strong "
        f"as other units' (q < .05), {special} more than random pushes of their own strength; {most}, first on the "
        + ("same prompts" if chosen.all() else "other half of the cores")
        + (", is loud." if q[order[0]] < 0.05 else ", is not loud."),
        family=len(living),
        smallest_p=1 / (1 + null.size),
        notes=(f"plane: {plane}", *notes, *((ONE_CORE,) if chosen.all() else ())),
    )


@dataclass(frozen=True, eq=False, slots=True)
class _Plane:
    centre: np.ndarray
    axes: np.ndarray


def _through_tail(
    study: Study, done: Captured, living: np.ndarray, push: np.ndarray, confirm: np.ndarray, place: _Plane
) -> tuple[np.ndarray, np.ndarray]:
    """KL and displacement of random pushes at the last residual: [draw, unit] each."""
    from radiograph.core import derive
    from radiograph.models.tail import Tail
    from radiograph.numerics.planes import haar_vectors
    from radiograph.numerics.screening import displaced, pushed

    tail = Tail.of(study.model).logits
    rows = done.by_condition(str(study.read))[confirm, 0]
    own = study.writes[living] / study.norms[living][:, None]
    exact = pushed(rows, push[confirm], own, tail).mean(axis=0)
    network = done.table("kl")[confirm, 1:].mean(axis=0)
    if np.abs(exact - network).max() > _AGREES * max(1.0, float(network.max())):
        raise Refusal("tail_disagrees", "the tail does not give the KL that the network gave", fix="another --site")
    draws = study.config.draws or TAIL_DRAWS
    kl, moved = [], []
    for draw in range(draws):
        directions = haar_vectors(rows.shape[1], len(living), derive(study.ctx.seed, "push", draw))
        kl.append(pushed(rows, push[confirm], directions, tail).mean(axis=0))
        shift = displaced(rows, push[confirm], directions, place.centre, place.axes).mean(axis=0)
        moved.append(np.linalg.norm(shift, axis=1))
    return np.stack(kl), np.stack(moved)


def _through_network(
    study: Study, done: Captured, living: np.ndarray, doses: np.ndarray, confirm: np.ndarray, place: _Plane
) -> tuple[np.ndarray, np.ndarray]:
    """The same by running the network with `follow:` pushes at the output of the block's MLP."""
    from safetensors.numpy import save

    from radiograph.core import Site, derive
    from radiograph.numerics.planes import haar_vectors

    if study.site.kind != "mlp_hidden":
        raise Refusal("no_null", f"random pushes beside {study.site} are not defined", fix="--site mlp_hidden.L")
    draws, width = study.config.draws or NETWORK_DRAWS, study.writes.shape[1]
    out = Site("mlp_out", study.site.layer)
    named = {
        f"d{draw}u{unit}": vector.astype(np.float32)
        for draw in range(draws)
        for unit, vector in zip(
            living, haar_vectors(width, len(living), derive(study.ctx.seed, "push", draw)), strict=True
        )
    }
    study.ctx.output.data("directions/random.safetensors", save(named))
    writes = [
        f"{out}~d{draw}u{unit}:add:follow:{study.site}[{unit}]->{dose}"
        for draw in range(draws)
        for unit, dose in zip(living, doses, strict=True)
    ]
    path = str(study.ctx.output.folder("directions") / "random.safetensors")
    cores = np.array(done.prompts("core"))
    others = [f"core!={core}" for core in dict.fromkeys(cores[~confirm].tolist())]
    ran = study.capture(
        where=",".join([*filter(None, [study.where]), *others]) or None,
        site=[str(study.read)],
        write=writes,
        directions=path,
        pool="last-prompt",
        new_tokens=1,
        divergence=True,
    )
    assert ran.prompts("prompt_id") == [
        name for name, own in zip(done.prompts("prompt_id"), confirm, strict=True) if own
    ]
    kl = ran.table("kl")[:, 1:].mean(axis=0).reshape(draws, len(living))
    after = ran.by_condition(str(study.read))
    there, here = (positions(part, place.centre, place.axes) for part in (after[:, 1:], after[:, :1]))
    return kl, np.linalg.norm((there - here).mean(axis=0), axis=1).reshape(draws, len(living))
