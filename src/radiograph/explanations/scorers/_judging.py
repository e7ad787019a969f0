"""What judges are asked about explanations, what they said, and the scores that follow from it.

1. for every feature, seed and scorer the same contexts are put three times: with the feature's own explanation, with
   that of another feature, and with none
2. a question that fails takes its contexts with it: they are counted and left out, never scored, and neither is what
   the other explanations got on them: all three are compared on the same contexts. More than a tenth failed: the scorer
   measured nothing
3. a score is over the different contexts of all seeds; its spread is the standard deviation over seeds
Scores follow from the table of answers alone, so anybody can compute them again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from radiograph.core import FormatError, Progress, derive
from radiograph.evidence.explanations import SCORERS, FeatureScore, Limits, ScorerSummary
from radiograph.explanations._find import scorer_module
from radiograph.explanations._study import MAX_FAILED
from radiograph.explanations.texts._contexts import Context, Windowed, scoring
from radiograph.numerics.explanations import balanced_accuracy, correlation, mean_limits
from radiograph.store.chat import Answer, Ask, ChatClient

if TYPE_CHECKING:
    from radiograph.store.chat import ChatError

JUDGED: Final = ("detection", "fuzzing", "simulation")
CHANCE: Final = {"balanced accuracy": 0.5, "correlation": 0.0}
WHOSE: Final = ("own", "other", "empty")
NO_WORDS: Final = "(no explanation)"


@dataclass(frozen=True)
class Question:
    """One question, and the items that its answer is about."""

    scorer: str
    ask: Ask[list[float]]
    items: tuple[str, ...]
    """What is judged, the same name for the same thing."""
    contexts: tuple[int, ...]
    truth: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Judged:
    """The reserved texts, and who says what of them."""

    windowed: Windowed
    typical: Callable[[int], dict[str, float]]
    """Words that are typical of a feature in the texts that explain."""
    words: Sequence[str | None]
    """The explanation of each feature."""
    seeds: tuple[int, ...]
    _drawn: dict[tuple[int, int], list[Context]] = field(default_factory=dict)

    @cached_property
    def others(self) -> dict[int, str]:
        """The explanation of another feature, another text, for each that has one."""
        return others_of(self.words)

    def drawn(self, feature: int, seed: int) -> list[Context]:
        """The contexts of detection and fuzzing, drawn once."""
        key = (feature, seed)
        if key not in self._drawn:
            self._drawn[key] = scoring(self.windowed, feature, self.typical(feature), seed)
        return self._drawn[key]

    def explanation(self, feature: int, whose: str) -> str | None:
        """What is put before the judge; None where there is none to put."""
        if whose == "own":
            return self.words[feature]
        return self.others.get(feature) if whose == "other" else NO_WORDS


def others_of(words: Sequence[str | None]) -> dict[int, str]:
    """For each that has words, those of another one, a different text."""
    told = [n for n, text in enumerate(words) if text is not None]
    found: dict[int, str] = {}
    for place, feature in enumerate(told):
        around = [told[(place + step) % len(told)] for step in range(1 + len(told) // 2, len(told))] + told
        text = next((words[n] for n in around if words[n] != words[feature]), None)
        if text is not None:
            found[feature] = text
    return found


class Scorer(Protocol):
    """A module of `scorers`."""

    def questions(self, judged: Judged, feature: int, seed: int, explanation: str) -> list[Question]:
        """What to ask about a feature; nothing where there are too few contexts."""
        ...


@dataclass(frozen=True, eq=False)
class Answers:
    """A line an item and answer, in the order of the questions."""

    columns: dict[str, list[Any]]
    stopped: ChatError | None = None
    prompts: set[str] = field(default_factory=set)


def unit_of(scorer: str) -> str:
    """What a scorer is measured in.

    Raises:
        UserError: there is no such scorer. FormatError: one of another package does not say it.
    """
    if scorer in SCORERS:
        return SCORERS[scorer]
    unit = getattr(scorer_module(scorer), "UNIT", None)
    if unit not in CHANCE:
        raise FormatError(
            f"the scorer {scorer!r} of another package does not say what its answers are measured in",
            expected=f"UNIT, one of {', '.join(CHANCE)}",
            got=repr(unit),
            fix="mend that package, or leave its scorer out",
        )
    return unit


def ask_judges(judged: Judged, scorers: Sequence[str], client: ChatClient, progress: Progress) -> Answers:
    """Put every question of some scorers."""
    asked: list[tuple[int, int, str, Question]] = []
    for name in scorers:
        module: Scorer = scorer_module(name)
        ours = name in JUDGED
        for feature, text in enumerate(judged.words):
            for seed in judged.seeds if text is not None else ():
                for whose in WHOSE:
                    words = judged.explanation(feature, whose)
                    if words is not None:
                        put = module.questions(judged, feature, seed, words)
                        asked += [(feature, seed, whose, q if ours else replace(q, scorer=name)) for q in put]
    return put_questions(asked, client, progress)


def put_questions(asked: Sequence[tuple[int, int, str, Question]], client: ChatClient, progress: Progress) -> Answers:
    """Put questions: (place of the feature, seed, whose explanation, question)."""
    with progress.task("judge", len(asked)) as task:
        batch = client.ask_all([q.ask for *_, q in asked], tolerated=MAX_FAILED, progress=task)
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for number, ((feature, seed, whose, question), reply) in enumerate(zip(asked, batch.replies, strict=True)):
        answered = isinstance(reply, Answer)
        put = answered or reply.asked
        said = reply.value if answered else [None] * len(question.items)
        rows = zip(question.items, question.contexts, question.truth, said, strict=True)
        for item, context, truth, value in rows:
            line = (feature, question.scorer, seed, whose, item, context, truth, value, put, number)
            for column, cell in zip(columns.values(), line, strict=True):
                column.append(cell)
    prompts = {q.ask.version for *_, q in asked}
    return Answers(columns, batch.stopped, prompts)


COLUMNS: Final = ("feature", "scorer", "seed", "whose", "item", "context", "truth", "said", "asked", "question")


def scores_of(
    columns: dict[str, list[Any]],
    scorer: str,
    features: Sequence[tuple[int, str]],
    *,
    code: str | None,
    unit: str | None = None,
) -> list[FeatureScore]:
    """The scores of one scorer that follow from answers; `features` are number and id, by place.

    `code`: why the scorer measured nothing (`code_of`); `unit`: of one of another package.
    """
    own = np.array([name == scorer for name in columns["scorer"]], bool)
    feature = np.array(columns["feature"], np.int64)[own]
    table = {name: [c for c, kept in zip(columns[name], own, strict=True) if kept] for name in COLUMNS[2:]}
    out: list[FeatureScore] = []
    for place in np.unique(feature).tolist():
        at = np.flatnonzero(feature == place)
        rows = {name: [column[n] for n in at] for name, column in table.items()}
        out.append(_score(rows, scorer, unit or SCORERS[scorer], *features[place], code=code))
    return out


def summary_of(
    scorer: str,
    scores: Sequence[FeatureScore],
    judge: str,
    *,
    questions: int,
    failed: int,
    code: str | None,
    seed: int,
    unit: str | None = None,
) -> ScorerSummary:
    """Means over features; `unit` is that of a scorer of another package."""
    unit = unit or SCORERS[scorer]
    chance = [s.chance for s in scores]
    return ScorerSummary(
        scorer=scorer,
        unit=unit,
        judge=judge,
        chance=CHANCE.get(unit),
        chance_median=float(np.median(chance)) if chance else None,
        own=_mean([s.value for s in scores], seed),
        other=_mean([s.other for s in scores], seed),
        empty=_mean([s.empty for s in scores], seed),
        lift=_mean([s.lift for s in scores], seed),
        questions=questions,
        failed=failed,
        code=code if code is not None or any(s.value is not None for s in scores) else "few_contexts",
    )


def questions_of(columns: dict[str, list[Any]], scorer: str) -> tuple[int, int]:
    """How many questions of a scorer were put, and how many of them failed."""
    own = [name == scorer and put for name, put in zip(columns["scorer"], columns["asked"], strict=True)]
    number = np.array(columns["question"], np.int64)[own]
    lost = [said is None for said, kept in zip(columns["said"], own, strict=True) if kept]
    return len(np.unique(number)), len(np.unique(number[lost]))


def code_of(columns: dict[str, list[Any]], scorer: str, stopped: str | None) -> str | None:
    """Why a scorer measured nothing; `stopped` is the code of what ended the questions early."""
    put, failed = questions_of(columns, scorer)
    if failed > MAX_FAILED * put:
        return "too_many_failed" if stopped is None else stopped
    return stopped if not put else None


def _score(
    rows: dict[str, list[Any]], scorer: str, unit: str, number: int, name: str, *, code: str | None
) -> FeatureScore:
    whose, seeds = np.array(rows["whose"]), np.array(rows["seed"])
    lost = sum(said is None and asked for said, asked in zip(rows["said"], rows["asked"], strict=True))
    base = {"feature": number, "feature_id": name, "scorer": scorer, "chance": CHANCE[unit], "failed": lost}
    if code is not None:
        return FeatureScore(value=None, n=0, code=code, **base)
    shared = _answered_by_all(rows)
    pooled = {w: _value(rows, unit, shared & (whose == w)) for w in WHOSE}
    own = pooled["own"]
    if own is None:
        flat = "flat_truth" if unit == "correlation" else "few_contexts"
        return FeatureScore(value=None, n=0, code=flat if shared.any() else "failed" if lost else "not_asked", **base)
    by_seed = [_value(rows, unit, shared & (whose == "own") & (seeds == seed)) for seed in np.unique(seeds)]
    values = [score.value for score in by_seed if score is not None]
    other, empty = (None if pooled[w] is None else pooled[w].value for w in ("other", "empty"))  # type: ignore[union-attr]
    return FeatureScore(
        value=own.value,
        low=own.low,
        high=own.high,
        n=own.n,
        spread=float(np.std(values, ddof=1)) if len(values) > 1 else None,
        other=other,
        empty=empty,
        lift=None if other is None else own.value - other,
        **base,
    )


def _answered_by_all(rows: dict[str, list[Any]]) -> NDArray[np.bool_]:
    """Where an item of a seed was answered under every explanation that there was to put."""
    put: dict[int, set[str]] = {}
    answered: dict[tuple[int, str], set[str]] = {}
    for seed, whose, item, said in zip(*(rows[name] for name in ("seed", "whose", "item", "said")), strict=True):
        put.setdefault(seed, set()).add(whose)
        if said is not None:
            answered.setdefault((seed, item), set()).add(whose)
    pairs = zip(rows["seed"], rows["item"], strict=True)
    return np.array([answered.get((seed, item)) == put[seed] for seed, item in pairs], bool)


def _value(rows: dict[str, list[Any]], unit: str, kept: NDArray[np.bool_]) -> Any:
    """The score of some answers; an item that was asked about twice counts once."""
    first: dict[str, int] = {}
    for n in np.flatnonzero(kept).tolist():
        if rows["said"][n] is not None:
            first.setdefault(rows["item"][n], n)
    at = list(first.values())
    truth, said = (np.array([rows[name][n] for n in at], np.float64) for name in ("truth", "said"))
    if unit == "balanced accuracy":
        return balanced_accuracy(truth > 0, said > 0)
    context = np.array([rows["context"][n] for n in at], np.int64)
    return correlation(said, truth, context, seed=0)


def _mean(values: Sequence[float | None], seed: int) -> Limits | None:
    known = np.array([value for value in values if value is not None], np.float64)
    found = mean_limits(known, seed=derive(seed, "mean") % 2**32)
    return None if found is None else Limits(value=found.value, low=found.low, high=found.high, n=found.n)


def labels_read(answer: str, n: int) -> list[float]:
    """`{"labels": [{"n", "fires"}]}` as numbers, one for each of 1 to n.

    Raises:
        ValueError: a number without an answer, or one too many.
    """
    from radiograph.store.chat import json_object

    labels = json_object(answer).get("labels")
    found: dict[object, object] = {}
    for entry in labels if isinstance(labels, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("n"), int):
            found[entry["n"]] = entry.get("fires")
    missing = [str(i) for i in range(1, n + 1) if not isinstance(found.get(i), bool)]
    if missing or len(found) != n:
        raise ValueError(
            f'"labels" must hold {{"n", "fires"}} once for each of 1 to {n}; not so: {", ".join(missing[:8])}'
        )
    return [float(bool(found[i])) for i in range(1, n + 1)]


def numbered(texts: Sequence[str]) -> list[dict[str, Any]]:
    """Texts with numbers from 1."""
    return [{"n": n, "text": text} for n, text in enumerate(texts, 1)]


def named(context: Context) -> str:
    """A window by name."""
    return f"w{context.window}"
