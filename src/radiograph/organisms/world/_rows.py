"""Labelled token positions for one attribute: positives, near misses matched in surface, plain negatives.

1. draw documents; every position has a surface key: the word itself for an attribute of the context, the word before
   for one that belongs to words (`unit`) or looks ahead (`next_unit`: the word itself)
2. a near miss shares its key with a positive and lacks the label: "12 stones" against "12 metres"
3. half of the rows are positive; the others are near misses, filled up with any unlabelled position
One document gives at most one row, so rows are independent. `next_NAME` comes with its exact probability.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from radiograph.core import UserError, nearest
from radiograph.organisms.world import _lexicon as lexicon
from radiograph.organisms.world._world import Document, World

CONTEXT = {
    "quantity": "a number that counts or measures something in a story; not an operand, a key's value, a level, a tag",
    "question": "every token of a question sentence, from its first word to its question mark",
    "will_refuse": "from the word that makes a request a restricted one to the opening of the answer",
    "refusal": "the words of a refusal",
    "true_statement": "from the last word of a true statement that is to be judged to the opening of the answer",
    "type": "the word that says what to do with a statement: state, deny, wonder",
    "carry": "from the second operand of a sum whose units exceed nine through the answer",
    "copied_span": "the words of an answer that repeats words of the question in their order (copy, echo)",
    "recalled_key": "from the key that is asked for through the answer",
    "cipher_on": "from the word that switches the cipher on to the end",
    "list_item": "a word of a list in an answer",
    "citation": "the source tag of an answer, brackets included",
}
"""Attributes of the context: what the label covers."""
ATTRIBUTES = (*lexicon.CLASSES, *CONTEXT)
"""What tokens are labelled with; `next_NAME` asks whether the following token is."""
_DRAWN_PER_ROW = 80


@dataclass(frozen=True, slots=True)
class Row:
    """One position of one document. `kind`: `positive`, `near_miss` or `negative`."""

    document: Document
    position: int
    kind: str
    probability: float | None

    @property
    def label(self) -> bool:
        """Whether the attribute holds here."""
        return self.kind == "positive"


def rows(attribute: str, n: int, *, split: str = "train", seed: int = 0) -> list[Row]:
    """`n` rows, half positive; positives first, then near misses, then other negatives.

    Raises:
        UserError: unknown attribute, or too rare to fill the rows.
    """
    name = attribute.removeprefix("next_")
    if name not in ATTRIBUTES:
        known = list(ATTRIBUTES)
        raise UserError(f"unknown attribute {attribute!r}", expected=", ".join(known), fix=str(nearest(name, known)))
    ahead = attribute.startswith("next_")
    positive, other = _spots(name, ahead, n, split, seed)
    chosen, need = positive[: n // 2], n - n // 2
    keys = {_key(spot, name, ahead) for spot in chosen}
    near = [spot for spot in other if _key(spot, name, ahead) in keys]
    far = [spot for spot in other if _key(spot, name, ahead) not in keys]
    near = near[: max(2 * need // 3, need - len(far))]
    far = far[: need - len(near)]
    if len(chosen) < n // 2 or len(near) + len(far) < need:
        raise UserError(f"{attribute!r} is too rare for {n} rows", got=f"{len(chosen)} positive", fix="ask for fewer")
    kinds = (("positive", chosen), ("near_miss", near), ("negative", far))
    return [_row(spot, kind, name, ahead) for kind, spots in kinds for spot in spots]


_Spot = tuple[Document, int]


def _spots(name: str, ahead: bool, n: int, split: str, seed: int) -> tuple[list[_Spot], list[_Spot]]:
    """One position of each document: a labelled one where there is one, in every other such document an unlabelled."""
    positive: list[_Spot] = []
    other: list[_Spot] = []
    seen: dict[int, int] = defaultdict(int)
    for number, document in enumerate(World().documents("mixture", split, seed=seed, count=2000 + _DRAWN_PER_ROW * n)):
        labelled = document.labels[1:] if ahead else document.labels
        places = range(1, len(document.ids) - 1)
        held = [i for i in places if name in labelled[i]]
        free = [i for i in places if name not in labelled[i]]
        if held and (len(positive) <= len(other) or not free) and len(positive) < n:
            spot = held[number % len(held)]
            positive.append((document, spot))
            seen[_key((document, spot), name, ahead)] += 1
        elif free:
            alike = [i for i in free if seen.get(_key((document, i), name, ahead))]
            other.append((document, alike[number % len(alike)] if alike else free[number % len(free)]))
        if len(positive) >= n and len(other) >= 4 * n:
            break
    return positive, other


def _key(spot: _Spot, name: str, ahead: bool) -> int:
    document, position = spot
    return document.ids[position - 1 if name in lexicon.CLASSES and not ahead else position]


def _row(spot: _Spot, kind: str, name: str, ahead: bool) -> Row:
    document, position = spot
    probability = None
    if ahead:
        probability = World().next_label(document.ids[: position + 1], name, "mixture", document.split)
    return Row(document, position, kind, probability)
