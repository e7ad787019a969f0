"""What an edit leaves: an adapter on the reference, a plain copy if asked for, the stack, and the result.

Everything is measured before anything is written outside the bundle, and a failed run leaves nothing there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from radiograph.core import Context, UserError
from radiograph.evidence.edits import Answers, Continuation, DistanceEffect, Edit, StepLoss
from radiograph.interventions.edits import bake, write_adapter
from radiograph.methods._edit import measure
from radiograph.methods._edit.parts import sides_of
from radiograph.methods._edit.specs import norm, whole
from radiograph.models import ModelRef
from radiograph.models.lowrank import added
from radiograph.numerics.distances import FLOOR, LEAST_DRAWS, LEAST_UNITS, Effect, gain, judged, limit_of
from radiograph.numerics.proportions import Interval

if TYPE_CHECKING:
    from radiograph.core.components import Component
    from radiograph.methods._edit.examples import Examples, Row
    from radiograph.methods._edit.measure import Positions
    from radiograph.methods._edit.parts import Parts
    from radiograph.models.lowrank import Factors

ADAPTER: Final = "adapter"
SHOWN: Final = 6
SAID: Final = 16


@dataclass(frozen=True, eq=False)
class Asked:
    """An edit and everything it is judged by."""

    how: str
    model: str
    edit: str
    parts: Parts
    chosen: Sequence[Component]
    additions: Mapping[str, Factors]
    examples: Examples | None
    plain: Sequence[Row]
    target: Sequence[Row]
    """Rows whose answer is to become likely; of examples with foils the foils."""
    draws: int
    gain: float
    max_far: float | None
    bake: str | None = None
    token: int | None = None
    """What the edit writes: its probability where a chosen part fires is the gain, unless another target is given."""
    steps: tuple[StepLoss, ...] = ()
    own_examples: bool = False
    """The edit was made from these examples: what they gain says nothing about others."""


def finished(ctx: Context, asked: Asked) -> Edit:
    """Measure, write, judge."""
    parts, additions = asked.parts, dict(asked.additions)
    rows = (*(asked.examples.own if asked.examples is not None else ()), *asked.plain)
    with ctx.measure("distances"):
        before = measure.firings(parts, asked.chosen, rows)
        measure.check_alive(before)
        positions = measure.measured(parts, asked.chosen, additions, rows, asked.token)
        after = measure.firings(parts, asked.chosen, rows, additions)
    with ctx.measure("null"):
        null = measure.null(ctx, parts, asked.chosen, additions, rows, asked.draws)
    distances = measure.at_distances(positions, ctx.seed)
    changes, values = _answers(asked, additions, positions, ctx.seed)
    table = {"document": positions.document, "kind": positions.kind, "kl": positions.kl, "rise": positions.rise}
    ctx.output.table("positions", {name: values.tolist() for name, values in table.items()})
    ctx.output.table("answers", values)
    ctx.output.table("null", {"far": list(null)})
    limit = limit_of(null) if asked.max_far is None else asked.max_far
    wanted = next((a for a in reversed(changes) if a.what in ("foil", "target")), None)
    judgement = judged(
        before,
        None if wanted is None else wanted.rise,
        None if wanted is None or wanted.interval is None else Interval(*wanted.interval),
        distances["far"],
        least_gain=asked.gain,
        max_far=limit,
    )
    said = _continuations(asked, additions)
    adapter, rank, after_sha = _written(ctx, asked, additions)
    return Edit(
        how="train" if asked.how == "train" else "apply",
        model=ctx.label(asked.model),
        base=ctx.label(sides_of(ctx, asked.model)[0]),
        before=parts.model.identity.tensors_sha256,
        after=after_sha,
        kind=parts.kind,
        parts_sha256=parts.sha256,
        components=tuple(str(c) for c in asked.chosen),
        edit=asked.edit,
        rank=rank,
        adapter=adapter,
        norm=norm(additions),
        firings=before,
        firings_after=after,
        distances=tuple(_distance(name, effect) for name, effect in distances.items()),
        null_far=tuple(null),
        max_far=limit,
        max_far_given=asked.max_far,
        least_gain=asked.gain,
        answers=changes,
        continuations=said,
        judgement=judgement,
        steps=asked.steps,
        own_examples=asked.own_examples and any(a.what == "completion" for a in changes),
        notes=(*_unjudged(judgement, wanted, distances["far"]), *_notes(asked, null)),
    )


def _unjudged(judgement: str, wanted: Answers | None, far: Effect) -> tuple[str, ...]:
    """What is missing where nothing is said of an edit."""
    if judgement != "not_judged":
        return ()
    found: list[str] = []
    if wanted is None:
        found.append("nothing is wanted of this edit: give --examples with foils, or --target")
    elif wanted.interval is None:
        found.append(f"what is wanted was measured on {wanted.n}: an interval takes {LEAST_UNITS}")
    if far.kl_interval is None:
        found.append(f"{far.documents} texts hold no firing of what was edited: an interval takes {LEAST_UNITS}")
    return tuple(found)


def _notes(asked: Asked, null: Sequence[float]) -> tuple[str, ...]:
    found = asked.parts.notes()
    if asked.own_examples and asked.examples is not None:
        found.append("the gain is measured on the examples that the edit was made from: on others it may be smaller")
    if asked.max_far is None and len(null) < LEAST_DRAWS:
        found.append(
            f"{len(null)} blind edits could be measured far from where they fire, and a 95th percentile takes "
            f"{LEAST_DRAWS}: the limit far away is {FLOOR}"
        )
    return tuple(found)


def _distance(name: str, effect: Any) -> DistanceEffect:
    return DistanceEffect(
        distance=name,  # type: ignore[arg-type]
        positions=effect.positions,
        documents=effect.documents,
        kl=effect.kl,
        kl_interval=None if effect.kl_interval is None else tuple(effect.kl_interval),
        perplexity=effect.perplexity,
        perplexity_interval=None if effect.perplexity_interval is None else tuple(effect.perplexity_interval),
    )


def _answers(
    asked: Asked, additions: dict[str, Factors], positions: Positions, seed: int
) -> tuple[tuple[Answers, ...], dict[str, list[Any]]]:
    """How likely completions and what is wanted instead are, before and after; and the table behind it."""
    rows: list[tuple[Any, Sequence[Row]]] = []
    if asked.examples is not None:
        rows.append(("completion", asked.examples.own))
        foils = [row for row in asked.examples.foils if row is not None]
        if foils:
            rows.append(("foil", foils))
    if asked.target:
        rows.append(("target", asked.target))
    parts = asked.parts
    kinds: list[tuple[Any, Any, Any, Any]] = [
        (what, np.arange(len(own)), measure.answers(parts, own), measure.answers(parts, own, additions))
        for what, own in rows
    ]
    if asked.token is not None and not asked.target and positions.near.any():
        kinds.append(("target", *measure.near_by_document(positions)))
    out: list[Answers] = []
    table: dict[str, list[Any]] = {"what": [], "example": [], "before": [], "after": []}
    for what, units, was, now in kinds:
        rise, interval = gain(was, now, seed=seed)
        out.append(
            Answers(
                what=what,
                n=len(units),
                before=float(was.mean()),
                after=float(now.mean()),
                rise=rise,
                interval=None if interval is None else (interval.low, interval.high),
            )
        )
        table["what"] += [what] * len(units)
        table["example"] += units.tolist()
        table["before"] += was.tolist()
        table["after"] += now.tolist()
    return tuple(out), table


def _continuations(asked: Asked, additions: dict[str, Factors]) -> tuple[Continuation, ...]:
    """What is said greedily to the first examples."""
    if asked.examples is None:
        return ()
    from radiograph.models import generate

    model, given = asked.parts.model, asked.examples
    prompts = [list(row.ids[: row.start]) for row in given.own[:SHOWN]]
    was = generate(model, prompts, max_new_tokens=SAID)
    with added(asked.parts.target, additions):
        now = generate(model, prompts, max_new_tokens=SAID)
    return tuple(
        Continuation(prompt=one.prompt, before=(a.text or "").strip(), after=(b.text or "").strip(), wanted=one.foil)
        for one, a, b in zip(given.asked, was, now, strict=False)
    )


def _written(ctx: Context, asked: Asked, additions: dict[str, Factors]) -> tuple[str, int, str]:
    """The adapter in the bundle, its directions, and the hash of the model with it."""
    from radiograph.models import load

    parts, (base, _) = asked.parts, sides_of(ctx, asked.model)
    folder = ctx.output.folder(ADAPTER)
    rank = write_adapter(folder, parts.target, whole(parts, additions), ctx.label(base))
    edited = load(ModelRef(str(parts.model.folder), str(folder)))
    return ADAPTER, rank, edited.identity.tensors_sha256


def baked(ctx: Context, asked: Asked, edit: Edit) -> Edit:
    """The edit with a plain copy of the model, where one is asked for: last of all, since it lies outside the bundle.

    Raises:
        UserError: the model is in memory alone; the folder exists; a tied matrix; pickles or quantised weights.
    """
    if asked.bake is None:
        return edit
    source = asked.parts.model.folder
    if source is None:
        raise UserError("the model is in memory alone", fix="save it to a folder first")
    place, originals = ctx.place(asked.bake), ctx.output.folder("originals")
    own = asked.parts.model.identity
    bake(
        asked.parts.target,
        whole(asked.parts, dict(asked.additions)),
        Path(source),
        place,
        originals,
        run=originals.resolve().parent.name.removesuffix(".partial"),
        # The copy is of the base: an adapter that the model had is baked with the edit, and comes off with it.
        before=own.base_tensors_sha256 or own.tensors_sha256,
    )
    return edit.model_copy(update={"baked": ctx.label(asked.bake)})
