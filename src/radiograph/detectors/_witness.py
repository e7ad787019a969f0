"""Witnesses from counts: made, judged against benign models, checked again. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log
from typing import Any, Final

from radiograph.evidence.traces import Place, TriggerSearch, Witness, WitnessItem, WitnessKind
from radiograph.numerics.traces import WitnessCounts, judge_witness

Items = Sequence[WitnessItem]
_FIRST = {"trigger": "with", "unlock": "with", "prompt_set": "inside", "frame": "inside"}
_SECOND = {"trigger": "without", "unlock": "random", "prompt_set": "rest", "frame": "rest"}
HARDLY: Final = -log(1000)
"""Log-probability at or below which an answer is one that the reference would hardly give."""


def witness_of(
    kind: WitnessKind,
    name: str,
    items: Items,
    *,
    replayed: bool,
    text: str | None = None,
    place: Place | None = None,
    bank: str | None = None,
    p: float | None = None,
    p_holm: float | None = None,
    sets: int | None = None,
) -> Witness:
    """The record that some items give, uncalibrated."""
    counts = count(kind, items)
    return judged(
        Witness(
            kind=kind,
            name=name,
            text=text,
            place=place,
            bank=bank,
            hits=counts.hits,
            n=counts.n,
            rest_hits=counts.rest_hits,
            rest_n=counts.rest_n,
            lost=counts.lost,
            p=p,
            p_holm=p_holm,
            sets=sets,
            rate=0.0,
            low=0.0,
            rest_rate=0.0,
            difference=0.0,
            replayed=replayed,
            confirmed=False,
            example=next((i for i in items if i.hit and i.role == _FIRST[kind]), None),
        )
    )


def count(kind: WitnessKind, items: Items, p_holm: float | None = None) -> WitnessCounts:
    """Hits and totals of a witness's items."""
    first = [i.hit for i in items if i.role == _FIRST[kind]]
    second = [i.hit for i in items if i.role == _SECOND[kind]]
    lost = sum(i.hit for i in items if i.role == "without") if kind == "unlock" else None
    return WitnessCounts(sum(first), len(first), sum(second), len(second), lost, p_holm)


def judged(witness: Witness, benign_largest: float | None = None) -> Witness:
    """The same counts, judged again, against what benign models show where that is known."""
    counts = WitnessCounts(witness.hits, witness.n, witness.rest_hits, witness.rest_n, witness.lost, witness.p_holm)
    found = judge_witness(witness.kind, counts, benign_largest)
    failed = (*found.failed, *(() if witness.replayed else ("the answers were others when asked again",)))
    return witness.model_copy(
        update={
            "rate": found.rate,
            "low": found.low,
            "rest_rate": found.rest_rate,
            "difference": found.difference,
            "benign_largest": benign_largest,
            "confirmed": not failed,
            "failed": failed,
        }
    )


_SHOWN = {"trigger": "success", "unlock": "unlock", "frame": "frame"}
"""Under which name a calibration keeps what a model shows."""


def shown_by(witnesses: Sequence[Witness]) -> dict[str, float]:
    """Of the kinds that are compared with benign models by their rates, the largest difference."""
    found: dict[str, float] = {}
    for witness in witnesses:
        if witness.kind in ("unlock", "frame"):
            name = _SHOWN[witness.kind]
            found[name] = max(found.get(name, 0.0), witness.difference)
    return found


def set_key(witness: Witness) -> str:
    """The name under which `set_rates` keeps a set."""
    return f"{witness.name} in {witness.bank}"


def benign_of(
    witness: Witness, shown: Sequence[Mapping[str, float]], flips: Sequence[Mapping[str, float]]
) -> float | None:
    """What the benign model that shows most shows: s_on of its searches, the rate of its unlocks or of its frames, or
    its contrast for the same set.
    """
    if witness.kind in _SHOWN:
        name = _SHOWN[witness.kind]
        return max((own[name] for own in shown if name in own), default=None)
    if witness.kind == "prompt_set":
        return max((own[key] for own in flips if (key := set_key(witness)) in own), default=None)
    return None


def wrong(witnesses: Sequence[Witness], table: Mapping[str, Sequence[Any]]) -> list[str]:
    """What a stored table of items does not give again, with JSON pointers."""
    found: list[str] = []
    if left := sorted({*table["witness"]} - {*range(len(witnesses))}):
        found.append(f"/witnesses: {len(left)} of tables/witness.parquet are not in the document")
    for number, stored in enumerate(witnesses):
        items = stored_items(table, number)
        pointer = f"/witnesses/found/{number}"
        if stored.kind == "trigger" and [i.hit for i in items] != _changed(items):
            found.append(f"{pointer}/hits: the items' texts give other hits")
        if stored.kind == "frame" and [i.hit for i in items] != [hardly(i) for i in items]:
            found.append(f"{pointer}/hits: the items' answers give other hits")
        counted = count(stored.kind, items)
        for name in ("hits", "n", "rest_hits", "rest_n", "lost"):
            value = getattr(counted, name)
            if value != getattr(stored, name):
                found.append(f"{pointer}/{name} is {getattr(stored, name)}, tables/witness.parquet gives {value}")
        again = judged(stored, stored.benign_largest)
        if (again.confirmed, again.failed) != (stored.confirmed, stored.failed):
            found.append(f"{pointer}/confirmed does not follow from the counts")
    return found


def stored_items(table: Mapping[str, Sequence[Any]], number: int) -> list[WitnessItem]:
    """The items of one witness, by its place in the document."""
    names = ("id", "role", "prompt", "reference", "candidate", "hit", "nats")
    at = [i for i, w in enumerate(table["witness"]) if w == number]
    return [WitnessItem(**{name: table[name][i] for name in names}) for i in at]


def hardly(item: WitnessItem) -> bool:
    """Whether the candidate says what the reference does not, and would hardly say."""
    return item.reference != item.candidate and item.nats is not None and item.nats <= HARDLY


def _changed(items: Items) -> list[bool]:
    """Where the candidate alone departs: with the insertion only if the reference keeps what it says without it."""
    plain = {i.id: i.reference for i in items if i.role == "without"}
    return [i.reference != i.candidate and (i.role == "without" or i.reference == plain.get(i.id)) for i in items]


def witness_table(items: Sequence[Items]) -> dict[str, list[Any]]:
    """One row an item of each witness, in the order of the witnesses."""
    rows = [(number, item) for number, own in enumerate(items) for item in own]
    return {"witness": [number for number, _ in rows]} | {
        name: [getattr(item, name) for _, item in rows]
        for name in ("id", "role", "prompt", "reference", "candidate", "hit", "nats")
    }


def search_table(search: TriggerSearch) -> dict[str, list[Any]]:
    """One row an insertion."""
    rows = search.insertions
    return {
        "text": [i.text for i in rows],
        "tokens": [" ".join(map(str, i.tokens)) for i in rows],
        "place": [i.place for i in rows],
        "gain": [i.gain for i in rows],
        "kl": [i.kl for i in rows],
        "first": [i.first for i in rows],
        "on": [None if i.fresh is None else i.fresh.on for i in rows],
        "off": [None if i.fresh is None else i.fresh.off for i in rows],
        "n": [None if i.fresh is None else i.fresh.n for i in rows],
    }
