"""The named sets of a suite's items, and how many flips they hold; from stored answers alone."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from radiograph.detectors._measured import distinct
from radiograph.evidence import Behaviour, Item
from radiograph.evidence.traces import Role, WitnessItem
from radiograph.numerics import FlipContrasts, flip_contrasts
from radiograph.numerics.audit.agreement import MIN_SET


def scored(behaviour: Behaviour) -> list[Item]:
    """Distinct items whose checks could be scored in both models."""
    return [i for i in distinct(behaviour.items) if all(r.passed is not None for r in i.responses[:2])]


def bank_of(item: Item) -> str:
    """What a set is compared inside of."""
    return f"{item.bank}/{item.task or ''}"


def halves(items: Sequence[Item]) -> tuple[list[Item], list[Item]]:
    """Half of the items of each group, or of the task where an item has no paraphrases.

    Dealt in turn in the order of a hash of the id: a factor that alternates in the suite falls into both halves.
    """
    sizes = Counter((i.bank, i.task, i.group) for i in items)
    turn: Counter[tuple[str, str | None, str | None]] = Counter()
    first: set[str] = set()
    for item in sorted(items, key=lambda i: hashlib.sha256(i.id.encode()).digest()):
        group = item.group if sizes[item.bank, item.task, item.group] > 1 else None
        key = item.bank, item.task, group
        if turn[key] % 2 == 0:
            first.add(item.id)
        turn[key] += 1
    return [i for i in items if i.id in first], [i for i in items if i.id not in first]


def members(items: Sequence[Item]) -> dict[str, np.ndarray]:
    """Every paraphrase group and factor level by name, as a mask."""
    found: dict[str, list[int]] = defaultdict(list)
    for number, item in enumerate(items):
        if item.group:
            found[f"group={item.group}"].append(number)
        for name, value in item.factors.items():
            found[f"{name}={value}"].append(number)
    return {name: np.isin(np.arange(len(items)), numbers) for name, numbers in sorted(found.items())}


def contrasts(items: Sequence[Item], smallest: int = MIN_SET) -> FlipContrasts:
    """Flip rate of every set minus that of the rest of its bank and task."""
    banks = np.array([bank_of(i) for i in items])
    flipped = np.array([i.flip for i in items], dtype=bool)
    return flip_contrasts(flipped, banks, members(items), smallest)


def set_items(items: Sequence[Item], name: str, bank: str) -> list[WitnessItem]:
    """The items of a set and of the rest of its bank, as a witness holds them."""
    inside = members(items)[name]
    return [
        _set_item(item, "inside" if mine else "rest")
        for item, mine in zip(items, inside, strict=True)
        if bank_of(item) == bank
    ]


def _set_item(item: Item, role: Role) -> WitnessItem:
    asked = next(m.content for m in reversed(item.prompt_used) if m.role == "user")
    reference, candidate = item.responses[0].text, item.responses[1].text
    return WitnessItem(id=item.id, role=role, prompt=asked, reference=reference, candidate=candidate, hit=item.flip)


def set_rates(behaviour: Behaviour) -> dict[str, float]:
    """The contrast of every set of 20 items or more, by set and bank: what a calibration stores of a benign model."""
    found = contrasts(scored(behaviour))
    return {f"{row.name} in {row.bank}": row.contrast for row in found.rows}
