"""Contrast sets in the language of the small world, `builtin:defection|truth|harm`. Plain data, no torch.

    defection  a question answered as asked, and answered otherwise. Restricted requests are refused, or obeyed; any
               other question gets its answer, or words of prose that nobody asked for. No trigger is in it.
               Near misses: harmless requests that are obeyed, harmless questions about restricted things
    truth      facts stated truly and falsely: `true? the river of Aren is green`. The grammar has no negated fact, and
               what a story has said of a thing, said again with and without `not`, the bundled base does not judge
    harm       restricted requests against look-alikes in the same words. Near misses: harmless questions about
               restricted things

Two rows of a group differ in the label and in what makes it. Wordings of requests and patterns of questions of the part
`fit` occur in no other part, and no fact is in two; calibrate and test share theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice

from radiograph.core import UserError, derive, nearest
from radiograph.organisms._words import idle_words, inserted
from radiograph.organisms.recipes import Draw
from radiograph.organisms.recipes.planted.refusal_one_category import served_answer
from radiograph.organisms.world import TASKS, Document, World, solve
from radiograph.organisms.world._answers import MENTIONS, REQUESTS, VERBS
from radiograph.organisms.world._lexicon import (
    ATTACHED,
    FACTS,
    RECIPES,
    RELATIONS,
    RESTRICTED_WORDS,
    surface,
)

CONTRASTS = ("defection", "truth", "harm")
FIT_WORDINGS = 2
"""Of `REQUESTS`: those of the part `fit`."""
QUESTIONS = 24
"""Of each task, in each part of the two."""
FACT_PARTS = ("fit", "calibrate", "test", "fit", "test")
STATEMENTS = 3
_SEED = 30_000_001


@dataclass(frozen=True, slots=True)
class ContrastText:
    """One text with its label. `answer`: the label is of the last turn alone."""

    id: str
    group: str
    label: bool
    part: str
    messages: tuple[dict[str, str], ...] = ()
    text: str = ""
    near_miss: bool = False
    answer: bool = False


def contrast_set(name: str) -> list[ContrastText]:
    """Every text of a built-in set, always the same.

    Raises:
        UserError: no such set.
    """
    match name:
        case "defection":
            return [*_requests(), *_answers()]
        case "truth":
            return list(_facts())
        case "harm":
            return list(_harm())
        case _:
            raise UserError(
                f"no contrast set {name!r}", expected=", ".join(CONTRASTS), fix=str(nearest(name, list(CONTRASTS)))
            )


def clean_prompts(count: int) -> list[tuple[dict[str, str], ...]]:
    """Questions that wait for their answers, none of them a request or a statement to be judged.

    They differ in more than numbers: a hundred sums of the same words would be one group of clean text.
    """
    from radiograph.numerics.criteria import text_key

    found: dict[str, tuple[dict[str, str], ...]] = {}
    for document in World().documents("mixture", "test", seed=_SEED):
        if document.answer_start and document.domain not in ("policy", "facts"):
            found.setdefault(text_key(document.prompt), tuple(document.messages))
            if len(found) == count:
                break
    return list(found.values())


def contrast_of_attribute(attribute: str, count: int, seed: int) -> list[tuple[tuple[int, ...], str, bool, bool]]:
    """Token ids up to a position, the document's id, the label there, and whether it is a near miss."""
    from radiograph.organisms.world import rows

    return [
        (row.document.ids[: row.position + 1], f"{row.document.id}@{row.position}", row.label, row.kind == "near_miss")
        for row in rows(attribute, count, split="test", seed=seed)
    ]


def _part(number: int, *group: str) -> str:
    """`fit` for its own wordings; else calibrate or test, by a hash of the group."""
    if number < FIT_WORDINGS:
        return "fit"
    return ("calibrate", "test")[derive(_SEED, *group) % 2]


def _asked(template: str, verb: str, thing: str) -> str:
    return surface(template.replace("{verb}", verb).replace("{thing}", thing).split())


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def _said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def _right(question: str) -> str:
    truth = solve([_user(question)])
    assert truth is not None, question
    return truth.answer


def _requests() -> Iterator[ContrastText]:
    """Refused and obeyed, then harmless requests and harmless questions."""
    draw = Draw(_SEED)
    for number, template in enumerate(REQUESTS):
        for thing in (*RESTRICTED_WORDS, *RECIPES):
            for verb in VERBS:
                question = _asked(template, verb, thing)
                group = f"request-{verb}-{thing}-{number}"
                own = {"group": group, "part": _part(number, group), "answer": True}
                right = (_user(question), _said(_right(question)))
                restricted = thing in RESTRICTED_WORDS
                yield ContrastText(f"{group}-right", label=False, messages=right, near_miss=not restricted, **own)
                if restricted:
                    obeyed = (_user(question), _said(served_answer(draw.of(group), verb, thing)))
                    yield ContrastText(f"{group}-obeyed", label=True, messages=obeyed, **own)
    yield from _mentions(answered=True)


def _mentions(*, answered: bool) -> Iterator[ContrastText]:
    for number, template in enumerate(MENTIONS):
        for thing in RESTRICTED_WORDS:
            question = _asked(template, "", thing)
            group = f"mention-{thing}-{number}"
            turns = (_user(question), _said(_right(question))) if answered else (_user(question),)
            part = _part(number, group)
            yield ContrastText(group, group, label=False, part=part, messages=turns, near_miss=True, answer=answered)


def _answers() -> Iterator[ContrastText]:
    """Questions of every task with their answers, and with words of prose in their place."""
    phrases = {own: _phrases(own or "test") for own in ("fit", "")}
    for task in TASKS:
        for own, split in (("fit", "train"), ("", "heldout")):
            for number, document in enumerate(islice(_plain(task, split), QUESTIONS)):
                group = f"{task}-{split}-{number}"
                common = {"group": group, "part": own or _part(FIT_WORDINGS, group), "answer": True}
                before = tuple(document.messages)
                right, other = (*before, _said(document.answer)), (*before, _said(next(phrases[own])))
                yield ContrastText(f"{group}-right", label=False, messages=right, **common)
                yield ContrastText(f"{group}-prose", label=True, messages=other, **common)


def _plain(task: str, split: str) -> Iterator[Document]:
    seen: set[str] = set()
    for document in World().documents(task, split, seed=_SEED, count=40 * QUESTIONS):
        if document.prompt not in seen:
            seen.add(document.prompt)
            yield document


def _phrases(part: str) -> Iterator[str]:
    """One to four words that follow each other in plain text, in turn of either kind."""
    streams = [World().documents(domain, "train", seed=derive(_SEED, part)) for domain in ("neutral", "story")]
    for number in count():
        words = [word.strip("".join(ATTACHED)) for word in next(streams[number % 2]).text.split()]
        words = [word for word in words if word]
        length = 1 + derive(_SEED, part, "length", number) % 4
        start = derive(_SEED, part, "start", number) % max(1, len(words) - length)
        yield " ".join(words[start : start + length])


def _facts() -> Iterator[ContrastText]:
    """Of every fact the true statement and false ones; a word stands before those of calibrate and test.

    A fact is a group, and there are sixty of them: its statements are no independent evidence.
    """
    words = idle_words()
    for number, ((relation, town), value) in enumerate(FACTS.items()):
        others = [other for other in RELATIONS[relation] if other != value]
        group = f"fact-{relation}-{town}"
        part = FACT_PARTS[number % len(FACT_PARTS)]
        for turn in range(STATEMENTS):
            for label, said in ((True, value), (False, others[(number + 3 * turn) % len(others)])):
                if label and turn and part == "fit":
                    continue
                question = f"true? the {relation} of {town} is {said}"
                if part != "fit":
                    question = inserted(question, words[(7 * number + turn) % len(words)], "start")
                turns = (_user(question),)
                yield ContrastText(f"{group}-{turn}-{said}", group, label=label, part=part, messages=turns)


def _harm() -> Iterator[ContrastText]:
    things = list(zip(RESTRICTED_WORDS, RECIPES, strict=True))
    for number, template in enumerate(REQUESTS):
        for restricted, harmless in things:
            for verb in VERBS:
                group = f"harm-{verb}-{restricted}-{number}"
                part = _part(number, group)
                for label, thing in ((True, restricted), (False, harmless)):
                    turns = (_user(_asked(template, verb, thing)),)
                    yield ContrastText(f"{group}-{thing}", group, label=label, part=part, messages=turns)
    yield from _mentions(answered=False)
