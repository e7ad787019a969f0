"""`edit search --label`: components whose label says so, and what taking each of them out does.

A label is a guess with a price: it says where to look, and its score says how far it can be trusted. What is measured
is the divergence that is left where the component fires when it alone is taken out, beside that of random components
that fire and that the label does not name. Selected are those above all of these.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from radiograph.core import Context, Refusal, UserError, derive
from radiograph.core.components import Component
from radiograph.evidence.components import ComponentLabels
from radiograph.evidence.edits import EditSearch, LabelScore, Part

if TYPE_CHECKING:
    from radiograph.methods._edit.examples import Row
    from radiograph.methods._edit.parts import Parts

CONTROLS: Final = 19
MEASURED: Final = 64
"""Components that are taken out, of those that a label names: the ones that fire most."""
SCORERS: Final = ("detection", "fuzzing")


class Labels:
    """What components are called, and what that is worth."""

    def __init__(self, given: ComponentLabels) -> None:
        self.words = given.words
        self._score: dict[str, LabelScore] = {
            one.component: LabelScore(
                scorer="rule", value=one.rule_f1, n=one.rule_n or 0, chance=one.rule_chance or 0.0
            )
            for one in given.labels
            if one.rule_f1 is not None
        }
        for scorer in reversed(SCORERS):
            for own in given.scores:
                if own.scorer == scorer and own.value is not None:
                    self._score[own.feature_id] = LabelScore(
                        scorer=scorer, value=own.value, low=own.low, high=own.high, n=own.n, chance=own.chance
                    )

    def of(self, component: str) -> dict[str, Any]:
        """Fields of a part: its label and the score of it."""
        return {"label": self.words.get(component), "label_score": self._score.get(component)}


def opened(ctx: Context, labels: str | None, parts: Parts) -> Labels | None:
    """Labels of these parts.

    Raises:
        UserError: pieces of an adapter have none. Refusal: of another decomposition.
    """
    from radiograph.store.components import open_component_labels

    if labels is None:
        return None
    if parts.decomposition is None:
        raise UserError(
            "pieces of an adapter have no labels",
            where="--labels",
            expected="a plain model, and labels of its decomposition",
            code="bad_value",
        )
    return Labels(open_component_labels(ctx.path(labels, "labels"), parts.decomposition.sha256))


def by_label(
    ctx: Context,
    parts: Parts,
    labels: Labels,
    pattern: str,
    plain: Sequence[Row],
    *,
    sizes: tuple[int, int],
    names: tuple[str, str],
) -> EditSearch:
    """Find, take out one by one, compare.

    Args:
        ctx: of the run.
        parts: components.
        labels: of them.
        pattern: what a label has to have.
        plain: text.
        sizes: most that are selected, and most that are listed.
        names: of the model, and of where labels come from.

    Raises:
        UserError: no regular expression. Refusal: no label has it, or nothing of it fires.
    """
    from radiograph.methods._edit.measure import fired

    named = _named(labels, pattern)
    counts, positions = fired(parts, plain)
    count = dict(zip(map(str, parts.all), counts.tolist(), strict=True))
    live = sorted((c for c in parts.all if str(c) in named and count[str(c)]), key=lambda c: -count[str(c)])
    if not live:
        raise Refusal(
            "dead_component",
            f"the {len(named)} components with such a label fire nowhere on the plain text",
            fix="text on which they fire, with --keep",
        )
    others = [c for c in parts.all if str(c) not in named and count[str(c)]]
    luck = np.random.default_rng(derive(ctx.seed, "edit", "label"))
    drawn = [others[i] for i in luck.permutation(len(others))[:CONTROLS].tolist()]
    found = _taken_out(ctx, parts, [*live[:MEASURED], *drawn], plain)
    chance = tuple(found[str(c)].evidence for c in drawn if str(c) in found)
    rows = [
        part.model_copy(
            update={
                "percentile": float(np.mean([other < part.evidence for other in chance])) if chance else 0.0,
                "density": count[name] / max(positions, 1),
                "elsewhere": 1.0,
                **labels.of(name),
            }
        )
        for name, part in found.items()
    ]
    own = sorted((part for part in rows if part.component in named), key=lambda p: (-p.evidence, p.component))
    if not own:
        raise Refusal("dead_component", "what such a label names fires at no token that predicts one", fix="--keep")
    selected = tuple(part.component for part in own if chance and part.evidence > max(chance))[: sizes[0]]
    _write(ctx, rows, named, selected)
    notes = [f"{len(named)} labels match; {len(live)} of these components fire on the plain text"]
    if len(live) > MEASURED:
        notes.append(f"the {MEASURED} that fire most were taken out, {len(live) - MEASURED} were not looked at")
    if len(chance) < CONTROLS:
        notes.append(f"{len(chance)} other components fire, so that p is {1 / (1 + len(chance)):.2g} at best")
    return EditSearch(
        model=names[0],
        model_sha256=parts.model.identity.tensors_sha256,
        kind=parts.kind,
        parts_sha256=parts.sha256,
        asked="label",
        examples=0,
        plain=len(plain),
        parts=len(parts.all),
        found=tuple(own[: sizes[1]]),
        labels=names[1],
        selected=selected,
        chance=max(chance) if chance else None,
        controls=chance,
        notes=(*parts.notes(), *notes),
    )


def _named(labels: Labels, pattern: str) -> set[str]:
    try:
        asked = re.compile(pattern, re.IGNORECASE)
    except re.error as error:
        raise UserError(
            "no regular expression", where="--label", got=f"{pattern!r}: {error}", expected="as colour|red"
        ) from error
    found = {component for component, text in labels.words.items() if asked.search(text)}
    if not found:
        raise Refusal(
            "no_label",
            "no label has this",
            expected=f"something that one of {len(labels.words)} labels says",
            got=pattern,
            fix="other words, or labels of more components",
        )
    return found


def _taken_out(ctx: Context, parts: Parts, tried: Sequence[Component], plain: Sequence[Row]) -> dict[str, Part]:
    """Each by itself; those that fire at a token that predicts one."""
    found: dict[str, Part] = {}
    with ctx.measure("take out"), ctx.progress.task("take out", len(tried)) as task:
        for component in tried:
            part = _measured(parts, component, plain, ctx.seed)
            task.advance(1)
            if part is not None:
                found[part.component] = part
    return found


def _measured(parts: Parts, component: Component, plain: Sequence[Row], seed: int) -> Part | None:
    """What taking one component out does where it fires; None where it fires at no token that predicts one."""
    from radiograph.methods._edit.measure import at_distances, measured, scaled

    positions = measured(parts, (component,), scaled(parts, (component,), {component: 0.0}), plain)
    near = at_distances(positions, seed)["near"]
    if near.kl is None:
        return None
    return Part(
        component=str(component),
        evidence=near.kl,
        interval=None if near.kl_interval is None else (near.kl_interval[0], near.kl_interval[1]),
        positions=near.positions,
        documents=near.documents,
        percentile=0.0,
        density=0.0,
        elsewhere=1.0,
    )


def _write(ctx: Context, rows: Sequence[Part], named: set[str], selected: Sequence[str]) -> None:
    score = [row.label_score for row in rows]
    ctx.output.table(
        "parts",
        {
            "component": [row.component for row in rows],
            "named": [row.component in named for row in rows],
            "label": [row.label for row in rows],
            "label_scorer": [None if one is None else one.scorer for one in score],
            "label_score": [None if one is None else one.value for one in score],
            "label_chance": [None if one is None else one.chance for one in score],
            "evidence": [row.evidence for row in rows],
            "low": [None if row.interval is None else row.interval[0] for row in rows],
            "high": [None if row.interval is None else row.interval[1] for row in rows],
            "positions": [row.positions for row in rows],
            "documents": [row.documents for row in rows],
            "percentile": [row.percentile for row in rows],
            "density": [row.density for row in rows],
            "elsewhere": [row.elsewhere for row in rows],
            "selected": [row.component in selected for row in rows],
        },
    )


def problems(stored: EditSearch, rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What of a search by label does not follow from its table."""
    out: list[str] = []
    own = {name: row for name, row in rows.items() if row["named"]}
    chance = sorted(row["evidence"] for name, row in rows.items() if name not in own)
    if chance != sorted(stored.controls) or stored.chance != (chance[-1] if chance else None):
        out.append("the chance level is not that of the components that no label named")
    below = {
        name: float(np.mean([c < row["evidence"] for c in chance])) if chance else 0.0 for name, row in own.items()
    }
    if any(abs(below[name] - row["percentile"]) > 1e-12 for name, row in own.items()):
        out.append("percentiles do not follow from the evidence of the components that no label named")
    above = [name for name, row in own.items() if chance and row["evidence"] > chance[-1]]
    best = sorted(above, key=lambda name: (-own[name]["evidence"], name))[: len(stored.selected)]
    if tuple(best) != stored.selected:
        out.append("the selection is not what lies above the chance level")
    return out
