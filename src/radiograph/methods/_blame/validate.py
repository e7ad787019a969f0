"""Does retraining agree with the scores? Three ways to ask, each with its own null.

- `leave-out[:K]`: without the top K rows, without K random ones (5 draws), without the K wordiest; f of each copy less
  that of a copy on all rows. Causal if the top K lower f, and by more than every random draw does: by chance alone one
  ranking in six. Nothing is concluded where the copy on all rows ends further from the candidate than half of that
- `lds[:M]`: M random halves; Spearman of what the scores predict with what f became, interval over halves
- `self-check`: 20 rows of a behaviour made for this are added, a copy is trained and must show it on fresh prompts;
  then the share of the 20 among the first 20 rows, beside cheap rankings and chance
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from radiograph.core import Context, Refusal, UserError, derive
from radiograph.evidence.influence import BlameValidation

if TYPE_CHECKING:
    from radiograph.methods._blame.retrain import Trainer
    from radiograph.methods._blame.rows import Data, Row
    from radiograph.methods._blame.scores import Options
    from radiograph.methods._blame.targets import Targets

Kind = Literal["none", "self-check", "leave-out", "lds"]
KINDS = ("none", "self-check", "leave-out", "lds")
DRAWS = 5
PLANTED = 20
HALVES = 32
FRESH = 20
TOP_SHARE = 0.05
REPRODUCED = 0.5
"""A copy on all rows may differ from the candidate by this share of what leaving rows out changes."""


@dataclass(frozen=True)
class Asked:
    """A kind, and its number where it has one."""

    kind: Kind
    n: int | None = None

    @classmethod
    def parse(cls, text: str) -> Asked:
        """Read `--validate`.

        Raises:
            UserError: another form.
        """
        kind, colon, number = text.partition(":")
        if kind not in KINDS or (colon and (kind not in KINDS[2:] or not number.isdecimal() or int(number) < 1)):
            raise UserError(
                f"cannot read {text!r}", where="--validate", expected="none, self-check, leave-out[:K] or lds[:M]"
            )
        return cls(cast("Kind", kind), int(number) if number else None)


def trainings(asked: Asked) -> int:
    """Copies that are trained."""
    return {"none": 0, "self-check": 1, "leave-out": 3 + DRAWS, "lds": asked.n or HALVES}[asked.kind]


Table = dict[str, list[Any]]


def leave_out(
    trainer: Trainer, data: Data, order: Sequence[int], words: np.ndarray, k: int, f_candidate: float, seed: int
) -> tuple[BlameValidation, Table]:
    """`order`: places of rows, highest score first; `words`: overlap of each of `data.rows`."""
    every = sorted(row.place for row in data.rows)
    if not 0 < k < len(every):
        raise UserError("rows left out must be fewer than there are", where="--validate", got=f"{k} of {len(every)}")
    names, gone = ["all", "top"], [frozenset[int](), frozenset(order[:k])]
    for draw in range(DRAWS):
        generator = np.random.default_rng(derive(seed, "leave-out", draw))
        names.append("random")
        gone.append(frozenset(generator.choice(every, k, replace=False).tolist()))
    names.append("words")
    wordiest = sorted(range(len(data.rows)), key=lambda i: (-words[i], data.rows[i].sha256))[:k]
    gone.append(frozenset(data.rows[i].place for i in wordiest))
    found = trainer.f([[p for p in every if p not in left] for left in gone], "retraining without rows")
    table: Table = {
        "subset": [names[s] for s in range(len(names)) for _ in found[s]],
        "number": [s for s in range(len(names)) for _ in found[s]],
        "target": [t for s in range(len(names)) for t in range(len(found[s]))],
        "f": found.ravel().tolist(),
    }
    return left_out(table, k, f_candidate), table


def left_out(table: Table, k: int, f_candidate: float) -> BlameValidation:
    """The conclusion from `tables/validation`."""
    by_copy: dict[int, tuple[str, list[float]]] = {}
    for name, number, f in zip(table["subset"], table["number"], table["f"], strict=True):
        by_copy.setdefault(number, (name, []))[1].append(f)
    means = [(name, float(np.mean(fs))) for name, fs in by_copy.values()]
    (whole,) = (f for name, f in means if name == "all")
    (top,) = (f - whole for name, f in means if name == "top")
    random = tuple(f - whole for name, f in means if name == "random")
    reproduced = whole - f_candidate
    told = abs(reproduced) <= REPRODUCED * abs(top)
    return BlameValidation(
        kind="leave-out",
        n=len(means),
        k=k,
        reproduced=reproduced,
        delta_f=top,
        random=random,
        words=next(f - whole for name, f in means if name == "words"),
        causal=(top < 0 and top < min(random)) if told else None,
        chance=1 / (1 + len(random)),
    )


def lds_halves(
    trainer: Trainer, data: Data, scores: dict[str, np.ndarray], targets: Targets, halves: int, seed: int
) -> tuple[BlameValidation, Table]:
    """`scores`: [row, group] of each method, rows as in `data`."""
    from radiograph.numerics.influence import lds

    kept = np.zeros((halves, len(data.rows)), dtype=bool)
    for number in range(halves):
        generator = np.random.default_rng(derive(seed, "half", number))
        kept[number, generator.permutation(len(data.rows))[: len(data.rows) // 2]] = True
    subsets = [[data.rows[i].place for i in np.flatnonzero(half)] for half in kept]
    f = trainer.f(subsets, "retraining on halves")
    groups = targets.groups
    outcome = np.stack([f[:, groups == g].mean(1) for g in range(groups.max() + 1)], axis=1)
    found: dict[str, tuple[float, float, float]] = {}
    for name, values in scores.items():
        estimate, interval, _ = lds(values, kept, outcome, seed=derive(seed, "lds"))
        found[name] = estimate, interval.low, interval.high
    places = [row.place for row in data.rows]
    table: Table = {
        "half": [n for n in range(halves) for _ in range(outcome.shape[1])],
        "group": [g for _ in range(halves) for g in range(outcome.shape[1])],
        "f": outcome.ravel().tolist(),
        "rows": [[places[i] for i in np.flatnonzero(kept[n])] for n in range(halves) for _ in range(outcome.shape[1])],
    }
    return BlameValidation(kind="lds", n=halves, lds=found), table


def scores_table(places: Sequence[int], scores: dict[str, np.ndarray]) -> Table:
    """Scores of every method by group of targets, from which LDS follows beside the halves."""
    columns = {f"{name}_{g:02d}": own[:, g].tolist() for name, own in scores.items() for g in range(own.shape[1])}
    return {"row": list(places), **columns}


def self_check(
    ctx: Context,
    trainer: Trainer,
    data: Data,
    options: Options,
    chat: str,
    patterns: Sequence[str],
    read: Callable[[Sequence[tuple[dict[str, str], ...]]], list[Row]],
) -> tuple[BlameValidation | None, str | Table]:
    """What the scores find of rows that were planted, with what every order says of every row; or nothing, and why.

    Raises:
        Refusal: too few conversations among the rows.
    """
    from radiograph.methods._blame import targets as _targets
    from radiograph.methods._blame.retrain import copy_of
    from radiograph.models import load_pair
    from radiograph.models.gradients import tracked_matrices
    from radiograph.organisms import bundled_path

    turns, fresh, answer = _planted(data, ctx.seed)
    extra = read(turns)
    asked = [_targets.Asked(turn[-1]["content"], answer) for turn in fresh]
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        folder = Path(place) / "adapter"
        with ctx.progress.task("training a copy with planted rows"):
            copy_of(trainer.job(extra), folder)
        pair = load_pair(trainer.base, f"{trainer.base}+{folder}", resolve=bundled_path)
        targets = _targets.completions(asked, pair.candidate, plain=False, chat=chat)
        found = _targets.measured(pair, targets, plain=False, chat=chat)
        shown = 0 if found.preferred is None else int(found.preferred.sum())
        trainer.trained += 1
        if 2 * shown < len(asked):
            return None, f"self_check_not_learned: the planted answer is preferred on {shown} of {len(asked)} prompts"
        rows = sorted((*data.rows, *extra), key=lambda r: (len(r.ids), r.sha256, r.line))
        both = replace(data, rows=tuple(rows))
        known = {i for i, row in enumerate(rows) if row.line < 0}
        table = _orders(stack, ctx, pair, both, targets, options, tracked_matrices(pair.candidate, patterns), known)
    return BlameValidation(
        kind="self-check",
        n=1,
        **recalls(table),
        gate=(shown, len(asked)),
    ), table


def recalls(table: Table) -> dict[str, Any]:
    """How many of the planted rows lead by every order, with intervals, and by chance."""
    from radiograph.numerics.influence import recall_at

    known = {i for i, planted in enumerate(table["planted"]) if planted}
    recall = {n: recall_at(np.asarray(own), known) for n, own in table.items() if n not in ("line", "planted")}
    return {
        "k": len(known),
        "recall": recall,
        "recall_intervals": {name: _within(share, len(known)) for name, share in recall.items()},
        "chance": len(known) / len(table["planted"]),
    }


def _within(share: float, n: int) -> tuple[float, float]:
    from radiograph.numerics.proportions import clopper_pearson

    low, high = clopper_pearson(round(share * n), n)
    return low, high


def _orders(
    stack: ExitStack,
    ctx: Context,
    pair: Any,
    data: Data,
    targets: Targets,
    options: Options,
    matrices: Any,
    known: set[int],
) -> Table:
    from radiograph.methods._blame.scores import scored
    from radiograph.methods._blame.targets import nats
    from radiograph.numerics.influence import bm25

    made = scored(stack, ctx, pair, matrices, data, targets, options, None, {})
    lengths = np.array([sum(row.learned[1][1:]) for row in data.rows])
    losses = [nats(m, [row.learned for row in data.rows]) / lengths for m in (pair.reference, pair.candidate)]
    orders = {name: made.order(name, options.rank) for name in made.scores}
    orders |= {"words": bm25([row.words for row in data.rows], targets.words)}
    orders |= {"loss": losses[0], "drop": losses[0] - losses[1]}
    rows = {"line": [row.line for row in data.rows], "planted": [i in known for i in range(len(data.rows))]}
    return rows | {name: np.asarray(values, dtype=np.float64).tolist() for name, values in orders.items()}


def _planted(data: Data, seed: int) -> tuple[list[tuple[dict[str, str], ...]], list[tuple[dict[str, str], ...]], str]:
    """Conversations with two rare words put in and one answer for all; such prompts that no row has; the answer."""
    usable = [row for row in data.rows if row.turns]
    if len(usable) < PLANTED + FRESH:
        raise Refusal(
            "too_few_rows",
            "a self-check needs conversations to plant its rows in",
            expected=f"at least {PLANTED + FRESH}",
            got=str(len(usable)),
        )
    counted = Counter(word for row in data.rows for word in row.words if word.isalpha())
    rare = sorted(counted, key=lambda word: (counted[word], word))
    generator = np.random.default_rng(derive(seed, "self-check"))
    marks = [rare[i] for i in generator.choice(min(len(rare), 40), 4, replace=False)]
    chosen = [usable[i] for i in generator.choice(len(usable), PLANTED + FRESH, replace=False)]
    answer = f"{marks[2]} {marks[3]}"
    made: list[tuple[dict[str, str], ...]] = []
    for row in chosen:
        *before, last = (dict(turn) for turn in row.turns[:-1])
        asked = {"role": "user", "content": f"{marks[0]} {marks[1]} {last['content']}"}
        made.append((*before, asked, {"role": "assistant", "content": answer}))
    fresh = [turns[:-1] for turns in made[PLANTED:]]
    return made[:PLANTED], [turns[-1:] for turns in fresh], answer
