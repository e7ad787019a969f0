"""Plain text: stories about a person, a thing and a place, and neutral sentences that belong to no task.

A story names a thing in its first sentence and comes back to it. Numbers precede units and counted things alike:
`Tom needed 12` leaves both open, `the rope is 12` does not. One story sentence occurs in `heldout` only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from radiograph.organisms.world import _lexicon as lexicon
from radiograph.organisms.world._frame import asking
from radiograph.organisms.world._machine import Options, Run, one_of, write

_NUMBER = one_of(lexicon.NUMBERS[2:])
_PERSON, _TOOL, _PLACE, _ANIMAL = map(one_of, (lexicon.PERSONS, lexicon.TOOLS, lexicon.PLACES, lexicon.ANIMALS))
_FOOD, _COLOUR, _COUNT = map(one_of, (lexicon.FOODS, lexicon.COLOURS, lexicon.COUNTS))
_RESTRICTED = one_of(lexicon.RESTRICTED_WORDS)
OPENING_VERBS = ("carried", "took", "brought")
_CARRIED, _BOUGHT = one_of(OPENING_VERBS), one_of(("bought", "sold", "found"))
_BASE = {"carried": "carry", "took": "take", "brought": "carry"}
_HOLDS = {
    "litres": ("tea", "soup"),
    "grams": ("rice", "cheese", "honey", "jam", "bread"),
    "kilos": ("apple", "pear", "cake"),
}
_NEEDED = Options({**dict.fromkeys(lexicon.COUNTS, 3), **dict.fromkeys(_HOLDS, 8)})


@dataclass(frozen=True, slots=True)
class _Scene:
    hero: str
    verb: str
    colour: str
    tool: str


def story(run: Run) -> None:
    """`Mira carried the grey rope to the mill. the rope is 12 metres long.` and one to three sentences more."""
    run.emit(lexicon.BOS)
    scene = _opening(run)
    for sentence in range(4):
        end = 1 if sentence else 0
        turn = run.hidden((3 * end, 3, 2, 3, 3, 2, 2, 2, 2, 2, 4 * run.heldout))
        if turn == 0:
            break
        _SENTENCES[turn - 1](run, scene)
    run.emit(lexicon.EOS)


def _opening(run: Run) -> _Scene:
    hero = run.emit(_PERSON)
    verb = run.emit(_CARRIED)
    run.emit("the")
    colour, tool = run.emit(_COLOUR), run.emit(_TOOL)
    write(run, ("to", "the"))
    run.emit(_PLACE)
    run.emit(".")
    return _Scene(hero, verb, colour, tool)


def _measure(run: Run, scene: _Scene) -> None:
    write(run, ("the", scene.tool, "is"))
    run.emit(_NUMBER, ("quantity",))
    write(run, (*lexicon.MEASURES[scene.tool], "."))


def _colour(run: Run, scene: _Scene) -> None:
    write(run, ("the", scene.tool, "is"))
    if run.emit(Options({scene.colour: 1, "not": 1})) == "not":
        run.emit(Options({colour: 1 for colour in lexicon.COLOURS if colour != scene.colour}))
    run.emit(".")


def _count(run: Run, scene: _Scene) -> None:
    run.emit(_PERSON)
    run.emit(one_of(("counted", "saw")))
    run.emit(_NUMBER, ("quantity",))
    run.emit(_COUNT)
    run.emit(".")


def _need(run: Run, scene: _Scene) -> None:
    run.emit(_PERSON)
    run.emit("needed")
    run.emit(_NUMBER, ("quantity",))
    unit = run.emit(_NEEDED)
    if unit in _HOLDS:
        run.emit("of")
        run.emit(one_of(_HOLDS[unit]))
    run.emit(".")


def _walk(run: Run, scene: _Scene) -> None:
    run.emit(_PERSON)
    walked = run.emit(one_of(("walked", "waited"))) == "walked"
    run.emit(_NUMBER, ("quantity",))
    run.emit(one_of(("miles", "metres") if walked else ("hours", "minutes", "days")))
    run.emit(".")


def _question(run: Run, scene: _Scene) -> None:
    run.on("question")
    run.emit("did")
    asked = run.emit(Options({person: 11 if person == scene.hero else 1 for person in lexicon.PERSONS}))
    asking(run, (_BASE[scene.verb], "the", scene.tool, "?"))
    write(run, ("yes" if asked == scene.hero else "no", "."))


def _denial(run: Run, scene: _Scene) -> None:
    write(run, (scene.hero, "did", "not"))
    run.emit(one_of(("see", "find", "buy")))
    run.emit("the")
    run.emit(_ANIMAL)
    run.emit(".")


def _reading(run: Run, scene: _Scene) -> None:
    run.emit(_PERSON)
    write(run, ("read", "of", "the"))
    run.emit(_RESTRICTED)
    run.emit(".")


def _market(run: Run, scene: _Scene) -> None:
    run.emit(_PERSON)
    run.emit(_BOUGHT)
    run.emit(_FOOD)
    write(run, ("at", "the"))
    run.emit(_PLACE)
    run.emit(".")


def _night(run: Run, scene: _Scene) -> None:
    write(run, ("at", "night", scene.hero, "went", "home", "."))


_SENTENCES = (_measure, _colour, _count, _need, _walk, _question, _denial, _reading, _market, _night)

NEUTRAL = tuple(
    line.split()
    for line in (
        "there was rain over the {place} in the {time} .",
        "the {animal} sings in the {tree} all {time} .",
        "the people of the {place} are {mood} {when} .",
        "a {mood} {animal} like that will rest in the sun .",
        "we came to a {mood} house near the {place} .",
        "they do not like the wind and the rain .",
        "my friend works at the {place} {when} .",
        "the sea is {mood} and the day is long .",
        "when the sun is up , the {animal} can rest .",
        "he made a new table for the {place} .",
        "she had a good book with her {when} .",
        "after the rain the road was {mood} again .",
        "many people come to the {place} in the {time} .",
        "if it is wet , we will be in the house .",
        "the old wall by the {place} is {mood} now .",
        "who can say where the road will go ?",
        "there are no more {animal} here today .",
        "it is time to rest before the {time} .",
        "you must leave the door and the window .",
        "some of them had {food} and some had {food} .",
        "her home is far from the {place} .",
        "the {animal} was under the table again .",
        "his friend did come {when} with a {tool} .",
        "we like the {colour} field over the hill .",
    )
)
_SLOTS = {
    "{place}": _PLACE,
    "{animal}": _ANIMAL,
    "{food}": _FOOD,
    "{tool}": _TOOL,
    "{colour}": _COLOUR,
    "{time}": one_of(("morning", "evening", "night")),
    "{tree}": one_of(("tree", "garden", "field")),
    "{mood}": one_of(("big", "small", "quiet", "warm", "cold", "happy", "wet", "dry", "old", "new")),
    "{when}": one_of(("today", "now", "often", "always")),
}


def neutral(run: Run) -> None:
    """One to three sentences with no task in them."""
    run.emit(lexicon.BOS)
    for sentence in range(3):
        turn = run.hidden(((12 if sentence else 0), *(1,) * len(NEUTRAL)))
        if turn == 0:
            break
        _neutral_sentence(run, NEUTRAL[turn - 1])
    run.emit(lexicon.EOS)


def _neutral_sentence(run: Run, words: Sequence[str]) -> None:
    if words[-1] == "?":
        asking(run, words)
        return
    for word in words:
        run.emit(_SLOTS.get(word, word))
