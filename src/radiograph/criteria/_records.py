"""A criterion over records that carry activations already: columns in, columns out, no row is dropped.

The same groups, halves and checks as `compile_criterion`, without an object for each row. Only equal texts are united,
near duplicates are not looked for; a split that chose the features of the records has to be given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from radiograph.core import UserError, visible
from radiograph.criteria._compile import criterion_id
from radiograph.criteria._groups import group_names
from radiograph.criteria._measure import counted, rows_sha256, split_record, surface_of, warnings_of
from radiograph.criteria._rows import Level, Row, agreed, checked_score, labelled
from radiograph.criteria._split import DISCOVER, as_given, halved, numbered, split_of
from radiograph.evidence import Criterion, CriterionRoute, RowKind, Split
from radiograph.store.lines import Mistakes


@dataclass(frozen=True)
class Records:
    """Labelled records, one entry a row in every column."""

    prompt_ids: Sequence[str]
    groups: Sequence[str]
    """As they were given; the prompt id where there was none."""
    kinds: Sequence[RowKind]
    texts: Sequence[str | None] | None = None
    factors: Sequence[Mapping[str, Level]] | None = None
    sha256: str | None = None
    """Of the file they came from."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A criterion, and the group and half of every record."""

    criterion: Criterion
    split: Split
    groups: list[str]
    group: NDArray[np.int64] = field(repr=False)
    """Number of each record's group, in the order of the groups' names."""
    positive: NDArray[np.bool_] = field(repr=False)
    discover: NDArray[np.bool_] = field(repr=False)


def kinds_of(
    labels: Sequence[bool | None] | None = None,
    scores: Sequence[float | None] | None = None,
    kinds: Sequence[str | None] | None = None,
    *,
    threshold: float = 0.5,
    name: str = "records",
    prompts: Sequence[str] | None = None,
) -> list[RowKind]:
    """The kind of each record: its label, else its score against the threshold, else the kind that it names.

    `prompts` are the ids that mistakes are told by where records do not stand in the order of their file.

    Raises:
        FormatError: rows without any of them, scores outside 0 to 1, contradictions: the first five, and a count.
    """
    n = max(len(column) for column in (labels or (), scores or (), kinds or ()))
    alone = all(column is None or set(map(type, column)) == {type(None)} for column in (labels, kinds))
    if alone and scores is not None and set(map(type, scores)) == {float}:
        held = np.array(scores)
        if ((held >= 0) & (held <= 1)).all():
            names: tuple[RowKind, RowKind] = ("negative", "positive")
            return [names[positive] for positive in (held >= threshold).tolist()]
    mistakes = Mistakes(name, lines=prompts is None)
    out: list[RowKind] = []
    for row in range(n):
        label, score = labels[row] if labels else None, scores[row] if scores else None
        try:
            held = None if score is None else checked_score(score)
            out.append(agreed(labelled(label, held, threshold), kinds[row] if kinds else None))
        except ValueError as error:
            place = "" if prompts is None else f"prompt {visible(prompts[row], 60)!r}: "
            mistakes.add(row + 1, place + str(error))
    mistakes.raise_if_any()
    return out


def check_texts(rows: Sequence[Row], texts: Iterable[tuple[str, str]], name: str) -> None:
    """A prompt id names one text in a criterion and in records (prompt id, text), blanks aside.

    Raises:
        UserError: it names two.
    """
    known = {row.prompt_id: row.text for row in rows if row.text is not None and not row.messages}
    for prompt, text in texts:
        own = known.get(prompt)
        if own is not None and text != own and text.split() != own.split():
            raise UserError(
                f"prompt {visible(prompt, 60)!r} of {name} is another text than that of the criterion",
                expected=visible(repr(own), 80),
                got=visible(repr(text), 80),
                fix="give a text the same id in both files, and no other text that id",
                code="two_texts",
            )


def prepare_records(
    text: str,
    records: Records,
    *,
    seed: int = 0,
    split: Split | None = None,
    discover: float = DISCOVER,
    surface: bool = True,
    continuous: bool = False,
) -> Prepared:
    """Group, halve and check; scores that are ranked, `continuous`, need no two classes.

    Raises:
        UserError: columns of unlike length, or a split that does not fit. Refusal: `one_class`, with counts.
    """
    n = len(records.prompt_ids)
    lengths = {len(c) for c in (records.groups, records.kinds, records.texts, records.factors) if c is not None}
    if lengths != {n}:
        raise UserError("every column of the records has one entry a row", expected=str(n), got=str(sorted(lengths)))
    groups = group_names(records.groups, records.texts, near=False, prompts=records.prompt_ids)
    counts = counted(records.kinds, groups, {}, classes=not continuous)
    known = numbered(groups)
    if split is None:
        first = halved(groups, records.kinds, records.factors, seed=seed, discover=discover, known=known)
        split = split_of(groups, records.groups, first, seed=seed, discover=discover)
    else:
        first = as_given(groups, records.groups, split)
    positive = np.array([kind == "positive" for kind in records.kinds], dtype=bool)
    measured = surface_of(records.texts if surface else None, positive, first)
    halves = split_record(groups, first, split)
    held = {"prompt_id": records.prompt_ids, "group": groups, "kind": records.kinds, "discover": first.tolist()}
    sha256 = rows_sha256(held)
    criterion = Criterion(
        id=criterion_id(text, "prompt", sha256),
        text=text,
        level="prompt",
        routes=(CriterionRoute(route="dataset", rows=n, sha256=records.sha256),),
        rows=counts,
        rows_sha256=sha256,
        split=halves,
        surface=measured,
        warnings=warnings_of(groups, counts, halves, measured),
    )
    return Prepared(criterion, split, *known, positive, first)
