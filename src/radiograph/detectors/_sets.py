"""The named sets of a suite's items, and how many flips they hold; from stored answers alone."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

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
    """Two halves in which every paraphrase group and every factor level has about as many items, inside each task.

    In the order of a hash of their ids, each item goes where what it belongs to is rarer so far: a set of twenty has
    ten in either half, and a factor that alternates in the suite falls into both.
    """
    sizes = Counter((bank_of(item), name) for item in items for name in sets_of(item))
    more: Counter[tuple[str, str]] = Counter()
    """By bank and set, how many more the first half has."""
    first: set[str] = set()
    for item in sorted(items, key=_lot):
        own = [(bank_of(item), name) for name in sets_of(item)]
        # Of sets that can be witnesses the small ones can spare least; the others come after all of these.
        ahead = sum(more[key] / sizes[key] for key in own if sizes[key] >= MIN_SET) or sum(more[key] for key in own)
        taken = ahead < 0 or (ahead == 0 and _lot(item)[-1] % 2 == 0)
        for key in own:
            more[key] += 1 if taken else -1
        if taken:
            first.add(item.id)
    return [i for i in items if i.id in first], [i for i in items if i.id not in first]


def _lot(item: Item) -> bytes:
    return hashlib.sha256(item.id.encode()).digest()


def sets_of(item: Item) -> list[str]:
    """The paraphrase group and the factor levels of an item, by name."""
    group = [f"group={item.group}"] if item.group else []
    return [*group, *(f"{name}={value}" for name, value in item.factors.items())]


def members(items: Sequence[Item]) -> dict[str, np.ndarray]:
    """Every paraphrase group and factor level by name, as a mask."""
    found: dict[str, list[int]] = defaultdict(list)
    for number, item in enumerate(items):
        for name in sets_of(item):
            found[name].append(number)
    return {name: np.isin(np.arange(len(items)), numbers) for name, numbers in sorted(found.items())}


def all_but(name: str) -> str:
    """The name of all other levels of a factor together."""
    factor, _, level = name.partition("=")
    return f"{factor}!={level}"


def members_and_rests(items: Sequence[Item]) -> dict[str, np.ndarray]:
    """The same, and of factors with three levels or more all levels but one: a change may hang on several of them.

    Only in tasks all of whose items have the factor: there all but one are everything that the one is compared with.
    """
    found = members(items)
    banks = np.array([bank_of(i) for i in items])
    levels: dict[str, list[str]] = defaultdict(list)
    for name in found:
        levels[name.partition("=")[0]].append(name)
    for factor, own in levels.items():
        if factor == "group" or len(own) < 3:
            continue
        anywhere = np.any([found[name] for name in own], axis=0)
        whole = [bank for bank in np.unique(banks[anywhere]) if anywhere[banks == bank].all()]
        for name in own:
            rest = ~found[name] & np.isin(banks, whole)
            if rest.any():
                found[all_but(name)] = rest
    return found


def contrasts(items: Sequence[Item], smallest: int = MIN_SET) -> FlipContrasts:
    """Flip rate of every set minus that of the rest of its bank and task: what is scored."""
    return _contrasts(items, members(items), smallest)


def witnessed_contrasts(items: Sequence[Item], smallest: int) -> FlipContrasts:
    """The same for every set that may be a witness."""
    return _contrasts(items, members_and_rests(items), smallest)


def _contrasts(items: Sequence[Item], sets: Mapping[str, np.ndarray], smallest: int) -> FlipContrasts:
    banks = np.array([bank_of(i) for i in items])
    flipped = np.array([i.flip for i in items], dtype=bool)
    return flip_contrasts(flipped, banks, sets, smallest)


def set_items(items: Sequence[Item], name: str, bank: str) -> list[WitnessItem]:
    """The items of a set and of the rest of its bank, as a witness holds them."""
    inside = members_and_rests(items)[name]
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
