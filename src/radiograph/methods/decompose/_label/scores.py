"""How well a label foretells where its component fires: questions on windows that no label was written from.

1. `detection`: one firing window of each tenth by importance, and as many windows in which the component is silent on
   every token, found in the recorded tokens; one token is marked in all of them, the centre, so that a mark's place
   says nothing   2. `fuzzing`: five windows with the true marks, two with as many silent tokens marked
3. each is put with the component's own label, with that of another component, and with none; questions that fail take
   their windows with them. Scores, limits and chance are those of `explain score`
All sampling is by keyed hashes of (seed, component).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from radiograph.core import derive
from radiograph.evidence.components import FEW
from radiograph.explanations import as_data, lines, marked_text, question
from radiograph.explanations.judging import Question, labels_read, numbered
from radiograph.methods.decompose._label.shown import explains
from radiograph.store.chat import Ask

if TYPE_CHECKING:
    from radiograph.explanations import Material
    from radiograph.store.components import ComponentStatistics, Examples

TENTHS: Final = 10
LEAST: Final = 5
"""Firing, and silent, windows that a score needs."""
TRUE, FALSE = 5, 2
NO_WORDS: Final = "(no label)"
DETECT, FUZZ = "component-detect-1", "fuzz-1"


@dataclass(frozen=True, eq=False)
class Recorded:
    """Tokens at which every firing is known, of documents that no label was written from."""

    material: Material
    around: int
    seed: int

    def silent(self, number: int, luck: np.random.Generator, most: int) -> list[tuple[int, int, int]]:
        """(first, centre, last) of windows without a firing, at random."""
        passages = self.material.passages
        own: Any = self.material.fires[number]
        fires = np.zeros(len(passages.tokens) + 1, np.int64)
        fires[own.indices + 1] = 1
        before = np.cumsum(fires)
        centre = np.arange(len(passages.tokens))
        text = passages.text_of
        kept = np.array([not explains(self.seed, name.rpartition("#")[0]) for name in passages.names], bool)
        first = np.maximum(centre - self.around, passages.starts[text])
        last = np.minimum(centre + self.around + 1, passages.ends[text])
        free = np.flatnonzero((before[last] == before[first]) & kept[text] & (last - first > 2))
        chosen = luck.permutation(free)[:most]
        return [(int(first[n]), int(n), int(last[n])) for n in chosen]

    def pieces(self, first: int, last: int) -> tuple[str, ...]:
        """What the tokens look like."""
        passages = self.material.passages
        return tuple(passages.pieces[n] for n in passages.tokens[first:last])


def detection(
    given: ComponentStatistics, recorded: Recorded, number: int, found: Examples, seed: int
) -> Callable[[str], list[Question]] | None:
    """What to ask about a component; None where there are too few windows."""
    luck = _luck(seed, "detection", given.addresses[number])
    own = _reserved(found, recorded.seed)
    firing = [own[n] for n in _tenths(np.array([found.importance[i][found.centres[i]] for i in own]), luck)]
    silent = recorded.silent(number, luck, len(firing))
    if min(len(firing), len(silent)) < LEAST:
        return None
    silent = silent[: len(firing)]
    items: list[tuple[str, str, bool]] = []
    for n in firing:
        marks = np.arange(len(found.tokens[n])) == found.centres[n]
        name = f"{found.documents[n]}#{found.windows[n]}/{found.positions[n]}"
        items.append((name, marked_text(given.pieces(found.tokens[n]), marks.tolist()), True))
    for first, centre, last in silent:
        marks = np.arange(first, last) == centre
        items.append((f"recorded/{centre}", marked_text(recorded.pieces(first, last), marks.tolist()), False))
    return partial(_asked, "detection", DETECT, "label", [items[n] for n in luck.permutation(len(items))])


def fuzzing(
    given: ComponentStatistics, recorded: Recorded, number: int, found: Examples, seed: int
) -> Callable[[str], list[Question]] | None:
    """The same of marks."""
    luck = _luck(seed, "fuzzing", given.addresses[number])
    own = [
        n
        for n in luck.permutation(_reserved(found, recorded.seed)).tolist()
        if 2 * int(found.fires[n].sum()) <= len(found.fires[n])
    ][: TRUE + FALSE]
    if len(own) < TRUE + FALSE:
        return None
    items: list[tuple[str, str, bool]] = []
    for place, n in enumerate(own):
        marks, true = found.fires[n], place < TRUE
        if not true:
            silent = luck.permutation(np.flatnonzero(~marks))[: int(marks.sum())]
            marks = np.isin(np.arange(len(marks)), silent)
        name = f"{found.documents[n]}#{found.windows[n]}/{found.positions[n]}{'+' if true else '-'}"
        items.append((name, marked_text(given.pieces(found.tokens[n]), marks.tolist()), true))
    return partial(_asked, "fuzzing", FUZZ, "explanation", [items[n] for n in luck.permutation(len(items))])


KINDS: Final = {"detection": detection, "fuzzing": fuzzing}


def questions(
    given: ComponentStatistics,
    recorded: Recorded,
    labels: Mapping[int, str],
    kinds: Sequence[str],
    seeds: Sequence[int],
) -> tuple[list[tuple[int, int, str, Question]], dict[str, list[int]]]:
    """Everything to ask, by place of the component in `labels`; and which components had too few windows, by kind."""
    from radiograph.explanations.judging import others_of

    numbers = list(labels)
    words = [labels[n] for n in numbers]
    others = others_of(words)
    asked: list[tuple[int, int, str, Question]] = []
    few: dict[str, list[int]] = {kind: [] for kind in kinds}
    firings = given.summary["firings"].to_numpy()
    for place, number in enumerate(numbers):
        if firings[number] < FEW:
            for kind in kinds:
                few[kind].append(number)
            continue
        found = given.examples(number)
        for kind in kinds:
            for seed in seeds:
                ask = KINDS[kind](given, recorded, number, found, seed)
                if ask is None:
                    few[kind].append(number)
                    break
                put = {"own": words[place], "other": others.get(place), "empty": NO_WORDS}
                asked += [(place, seed, whose, q) for whose, text in put.items() if text for q in ask(text)]
    return asked, few


def _asked(kind: str, version: str, slot: str, items: list[tuple[str, str, bool]], words: str) -> list[Question]:
    texts = lines(numbered([text for _, text, _ in items]))
    ask = Ask(question(version, **{slot: as_data(words), "texts": texts}), version, partial(labels_read, n=len(items)))
    names = tuple(name for name, _, _ in items)
    return [Question(kind, ask, names, tuple(range(len(items))), tuple(float(true) for _, _, true in items))]


def _reserved(found: Examples, seed: int) -> list[int]:
    """Examples of documents that no label was written from."""
    return [n for n in range(len(found)) if not explains(seed, found.documents[n])]


def _tenths(values: np.ndarray, luck: np.random.Generator) -> list[int]:
    """One place of each tenth by value."""
    order = np.lexsort((np.arange(len(values)), -values))
    return [int(luck.choice(part)) for part in np.array_split(order, min(TENTHS, len(order)))] if len(order) else []


def _luck(seed: int, what: str, address: str) -> np.random.Generator:
    return np.random.default_rng(derive(seed, what, address))
