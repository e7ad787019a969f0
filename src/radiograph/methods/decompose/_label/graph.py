"""Labels from two sides, along the graph of effects.

1. output pass, from the last weight to the first: what it acts on, with labels of the later ones
2. input pass, from the first weight to the last: what acts on it, with labels of the earlier ones; what fires with it
3. unification of the two; a component without one of them is skipped

Each pass is a fold over weights; calls inside one weight are side by side. What was said so far is a plain dict, filled
from the store once, before the pass, and never read back. The two passes share nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from radiograph.core import RadiographError
from radiograph.core.components import in_order
from radiograph.methods.decompose._label.kept import Store
from radiograph.methods.decompose._label.writers import Job, Shown, Slots, Writer
from radiograph.store.components import Attributions

Metric = Literal["signed", "abs"]
SlotsOf = Callable[[int, Shown], Slots]


def by_weight(addresses: Sequence[str], numbers: Sequence[int]) -> dict[str, list[int]]:
    """Components by weight, weights in forward order, inside one as they come."""
    found: dict[str, list[int]] = {}
    for number in numbers:
        found.setdefault(addresses[number].rpartition(":")[0], []).append(number)
    return {weight: found[weight] for weight in in_order(found)}


def related(
    attributions: Attributions,
    address: str,
    side: Literal["sources", "targets"],
    k: int,
    metric: Metric,
    so_far: Mapping[str, str],
) -> Shown:
    """The k strongest of 2k positive and 2k negative effects whose other end has a label; strengths relative.

    Raises:
        RadiographError: an effect inside one weight, which cannot be.
    """
    found = [
        effect for sign in (1, -1) for effect in getattr(attributions, side)(address, 2 * k, variant=metric, sign=sign)
    ]
    weight = address.rpartition(":")[0]
    for effect in found:
        if effect.address.rpartition(":")[0] == weight:
            raise RadiographError(f"an effect of {effect.address} on {address}, which is of the same weight")
    told = sorted((e for e in found if e.address in so_far), key=lambda e: (-abs(e.value), e.address))[:k]
    largest = max((abs(e.value) for e in told), default=1.0)
    return tuple((e.address, e.value / largest, so_far[e.address]) for e in told)


def tokens_of(attributions: Attributions, address: str, k: int, metric: Metric, text: Callable[[int], str]) -> Shown:
    """The k tokens that act on a component most by themselves; they need no label."""
    found = attributions.tokens(address, k, variant=metric)
    largest = max((abs(value) for _, value in found), default=1.0)
    return tuple((f"token {token}", value / largest, repr(text(token))) for token, value in found)


def fold(
    phase: str,
    weights: Sequence[str],
    members: Mapping[str, Sequence[int]],
    addresses: Sequence[str],
    writer: Writer,
    store: Store,
    edges: Callable[[str, Mapping[str, str]], Shown],
    slots: SlotsOf,
) -> None:
    """One pass."""
    so_far = {kept.address: kept.label for kept in store.phase(phase).values() if kept.label}
    known = set(so_far)
    for weight in weights:
        own = [number for number in members.get(weight, ()) if addresses[number] not in known]
        jobs = [_job(number, addresses[number], edges, slots, so_far) for number in own]
        said = writer.write(phase, jobs)  # no question of a weight sees a label of the same weight
        so_far.update({addresses[number]: label for number, label in said.items() if label})
        if writer.tally.stopped is not None:
            return


def _job(
    number: int,
    address: str,
    edges: Callable[[str, Mapping[str, str]], Shown],
    slots: SlotsOf,
    so_far: Mapping[str, str],
) -> Job:
    def show() -> tuple[Slots, Shown]:
        shown = edges(address, so_far)
        return slots(number, shown), shown

    return Job(number, address, show)


def unify(
    numbers: Sequence[int],
    addresses: Sequence[str],
    writer: Writer,
    store: Store,
    slots: Callable[[int, str, str], Slots],
) -> list[str]:
    """The third phase; returns the components that were skipped."""
    inputs, outputs, done = store.phase("input"), store.phase("output"), store.phase("unify")
    jobs: list[Job] = []
    skipped: list[str] = []
    for number in numbers:
        one, other = inputs.get(number), outputs.get(number)
        if one is None or other is None or not one.label or not other.label:
            skipped.append(addresses[number])
            continue
        if number in done:
            continue

        def show(number: int = number, one: str = _said(one), other: str = _said(other)) -> tuple[Slots, Shown]:
            return slots(number, one, other), ()

        jobs.append(Job(number, addresses[number], show, one.label, other.label))
    writer.write("unify", jobs)
    return skipped


def _said(kept: object) -> str:
    import json

    label, reasoning = (getattr(kept, name) for name in ("label", "reasoning"))
    return json.dumps({"label": label, "reasoning": reasoning}, ensure_ascii=False)
