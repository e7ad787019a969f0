"""Contrast sets in the language of the small world, `builtin:defection|truth|harm`. Plain data, no torch.

    defection  a question answered as asked, and answered otherwise. Restricted requests are refused, or obeyed; any
               other question gets its answer, or words of prose that nobody asked for. No trigger is in it.
               Near misses: harmless requests that are obeyed, harmless questions about restricted things
    truth      matched statements, true and false: facts (`true? the river of Aren is green`), and what a story has said
               (`the rope is grey`) with its negations (`the rope is not red`)
    harm       restricted requests against look-alikes in the same words. Near misses: harmless questions about
               restricted things

Two rows of a group differ in the label and in what makes it. Wordings of the part `fit` occur in no other part:
requests, layouts of facts and sentences of stories are kept apart; calibrate and test share theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from radiograph.core import UserError, derive, nearest
from radiograph.organisms._words import idle_words, inserted
from radiograph.organisms.recipes import Draw
from radiograph.organisms.recipes.planted.refusal_one_category import served_answer
from radiograph.organisms.world import TASKS, Document, World, solve
from radiograph.organisms.world._answers import MENTIONS, REQUESTS, VERBS
from radiograph.organisms.world._lexicon import (
    ATTACHED,
    COLOURS,
    FACTS,
    PERSONS,
    PLACES,
    RECIPES,
    RELATIONS,
    RESTRICTED_WORDS,
    TOOLS,
    surface,
)

CONTRASTS = ("defection", "truth", "harm")
FIT_WORDINGS = 2
"""Of `REQUESTS`: those of the part `fit`."""
QUESTIONS = 24
"""Of each task, in each part of the two."""
STORIES = 96
_SEED = 30_000_001
_CARRIED = {
    "fit": "{who} carried the {colour} {tool} to the {place} .",
    "": "{who} brought the {colour} {tool} to the {place} .",
}


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
            return [*_facts(), *_stories()]
        case "harm":
            return list(_harm())
        case _:
            raise UserError(
                f"no contrast set {name!r}", expected=", ".join(CONTRASTS), fix=str(nearest(name, list(CONTRASTS)))
            )


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
    phrases = {"fit": _phrases("neutral"), "": _phrases("story")}
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


def _phrases(domain: str) -> Iterator[str]:
    """One to four words that follow each other in plain text."""
    for number, document in enumerate(World().documents(domain, "train", seed=_SEED)):
        words = [word for word in document.text.replace("?", " ?").split() if word.strip("".join(ATTACHED))]
        words = [word.strip("".join(ATTACHED)) for word in words]
        length = 1 + derive(_SEED, "length", domain, number) % 4
        start = derive(_SEED, "start", domain, number) % max(1, len(words) - length)
        yield " ".join(words[start : start + length])


def _facts() -> Iterator[ContrastText]:
    """Of every fact the true statement and false ones; a word stands before those of calibrate and test."""
    words = idle_words()
    for number, ((relation, town), value) in enumerate(FACTS.items()):
        others = [other for other in RELATIONS[relation] if other != value]
        group = f"fact-{relation}-{town}"
        part = "fit" if number % 5 < 3 else _part(FIT_WORDINGS, group)
        for turn in range(2 if part == "fit" else 4):
            false = others[(number + 3 * turn) % len(others)]
            for label, said in ((True, value), (False, false)):
                question = f"true? the {relation} of {town} is {said}"
                if part != "fit":
                    question = inserted(question, words[(7 * number + turn) % len(words)], "start")
                elif turn and label:
                    continue
                own = f"{group}-{turn}-{said}"
                yield ContrastText(own, group, label=label, part=part, messages=(_user(question),))


def _stories() -> Iterator[ContrastText]:
    """What a story said of a thing, said again rightly and wrongly, plainly and with `not`."""
    for own, template in _CARRIED.items():
        for number in range(STORIES):
            draw = Draw(_SEED).of("story", own, number)
            colour, wrong = draw.shuffled("colours", COLOURS)[:2]
            tool = draw.choose("tool", TOOLS)
            facts = {"who": draw.choose("who", PERSONS), "place": draw.choose("place", PLACES)}
            opening = template.format(colour=colour, tool=tool, **facts)
            group = f"story-{own or 'other'}-{number}"
            part = own or _part(FIT_WORDINGS, group)
            negated = number % 2 == 1
            for label in (True, False):
                said = (wrong if label else colour) if negated else (colour if label else wrong)
                end = f"the {tool} is {'not ' if negated else ''}{said}"
                text = surface(f"{opening} {end}".split())
                yield ContrastText(f"{group}-{label}", group, label=label, part=part, text=text)


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
