"""Do the texts of one component belong together? Asked without any label.

1. five texts with marks: four drawn from a component's examples, one from those of another component, in an order that
   says nothing   2. a judge names the odd one; chance is one in five   3. a question that fails is counted, not scored
Low values say that a component has no meaning that its texts show, whatever it is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from radiograph.core import Progress, derive
from radiograph.evidence.components import ComponentLabels, Intruders
from radiograph.explanations import lines, marked_text, question
from radiograph.explanations.judging import numbered
from radiograph.numerics.explanations import mean_limits
from radiograph.store.chat import Answer, Ask, ChatClient, json_object

if TYPE_CHECKING:
    from radiograph.store.components import ComponentStatistics

OWN: Final = 4
VERSION: Final = "component-intruder-1"
TABLE: Final = "intruders"
CHANCE: Final = 1 / (OWN + 1)


def asked(
    given: ComponentStatistics, numbers: Sequence[int], seeds: Sequence[int], client: ChatClient, progress: Progress
) -> tuple[dict[str, list[Any]], int, str | None]:
    """Answers a line; components with too few texts; why it ended early."""
    able = [n for n in numbers if len(given.examples(n)) >= OWN]
    puts: list[tuple[str, int, int, Ask[int]]] = []
    for n in able:
        for seed in seeds if len(able) > 1 else ():
            luck = np.random.default_rng(derive(seed, "intruder", given.addresses[n]))
            other = int(luck.choice([m for m in able if m != n]))
            texts = [_text(given, n, int(i)) for i in luck.permutation(len(given.examples(n)))[:OWN]]
            texts.append(_text(given, other, int(luck.integers(len(given.examples(other))))))
            order = luck.permutation(OWN + 1)
            place = int(np.flatnonzero(order == OWN)[0]) + 1
            shown = lines(numbered([texts[i] for i in order]))
            puts.append((given.addresses[n], seed, place, Ask(question(VERSION, texts=shown), VERSION, _read)))
    with progress.task("intruder", len(puts)) as task:
        batch = client.ask_all([ask for *_, ask in puts], tolerated=0.1, progress=task)
    columns: dict[str, list[Any]] = {"component": [], "seed": [], "truth": [], "said": [], "asked": []}
    for (address, seed, place, _), reply in zip(puts, batch.replies, strict=True):
        said = reply.value if isinstance(reply, Answer) else None
        put = isinstance(reply, Answer) or reply.asked
        for column, cell in zip(columns.values(), (address, seed, place, said, put), strict=True):
            column.append(cell)
    return columns, len(numbers) - len(able), None if batch.stopped is None else batch.stopped.code


def summary(columns: dict[str, list[Any]], too_few: int, seed: int) -> Intruders:
    """Mean over components, limits over components drawn with replacement."""
    rows = zip(*(columns[name] for name in ("component", "truth", "said", "asked")), strict=True)
    by: dict[str, list[bool]] = {}
    failed = 0
    for component, truth, said, put in rows:
        if said is None:
            failed += bool(put)
        else:
            by.setdefault(component, []).append(said == truth)
    found = mean_limits(np.array([np.mean(own) for own in by.values()], np.float64), seed=derive(seed, "mean") % 2**32)
    return Intruders(
        right=sum(sum(own) for own in by.values()),
        n=sum(len(own) for own in by.values()),
        failed=failed,
        components=len(by),
        too_few=too_few,
        chance=CHANCE,
        value=None if found is None else found.value,
        low=None if found is None else found.low,
        high=None if found is None else found.high,
    )


def recount(stored: ComponentLabels, folder: Path) -> list[str]:
    """Does the summary follow from the answers?"""
    import polars as pl

    path = folder / "tables" / f"{TABLE}.parquet"
    if stored.intruders is None or not path.is_file():
        return []
    found = summary(pl.read_parquet(path).to_dict(as_series=False), stored.intruders.too_few, 0)
    same = (found.right, found.n, found.failed, found.components, found.value)
    told = stored.intruders
    if same != (told.right, told.n, told.failed, told.components, told.value):
        return ["the intruders that were found do not follow from the answers"]
    return []


def _text(given: ComponentStatistics, number: int, place: int) -> str:
    found = given.examples(number)
    return marked_text(given.pieces(found.tokens[place]), found.fires[place].tolist())


def _read(answer: str) -> int:
    said = json_object(answer).get("n")
    if not isinstance(said, int) or isinstance(said, bool) or not 1 <= said <= OWN + 1:
        raise ValueError(f'"n" must be a number from 1 to {OWN + 1}')
    return said
