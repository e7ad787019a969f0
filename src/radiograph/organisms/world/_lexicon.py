"""The words of the small world, the classes they belong to, and what is true in it.

Every token is a whole word, a number from 0 to 99, a sign or a special; 512 at most. `TOKENS` fixes their ids, so the
order of everything here is part of the world's version.
"""

from __future__ import annotations

import hashlib

VERSION = 1
PAD, BOS, EOS, UNK = "<pad>", "<bos>", "<eos>", "<unk>"
SYSTEM, USER, ASSISTANT, END = "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"
SPECIALS = (PAD, BOS, EOS, UNK, SYSTEM, USER, ASSISTANT, END)
NUMBERS = tuple(str(n) for n in range(100))
ATTACHED = (".", ",", "?", ":")
"""Signs written without a space before them."""
SIGNS = (*ATTACHED, "+", "=", "-", "{", "}", "[", "]")


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


PERSONS = _words("Mira Tom Lily Ben Anna Omar Nora Hugo Ines Kofi Rosa Finn")
TOWNS = _words("Aren Bolt Corin Dale Elm Farrow Gild Hart Ivo Jarn Kelm Lund")
COLOURS = _words("red blue green grey white black brown yellow")
ANIMALS = _words("cat dog fox hen goat horse owl bear duck mouse")
FOODS = _words("bread soup cake rice tea jam cheese apple pear honey")
TOOLS = _words("hammer saw rope kettle lamp spade knife needle ladder bucket")
PLACES = _words("mill barn market bridge river garden school hill lake harbour")
UNITS = _words("metres litres grams kilos hours minutes miles days")
COUNTS = _words("stones shells seeds boxes bottles buttons coins letters")
KEYS = _words(
    "amber birch cedar delta ember fern grove hazel iris jade kite lotus "
    "maple north onyx pearl quartz reed slate thorn umber violet willow zinc"
)
"""In alphabetical order: `sort` means this order."""

RESTRICTED = {
    "poison": _words("venom toxin arsenic"),
    "weapon": _words("bomb rifle grenade"),
    "malware": _words("virus spyware worm"),
    "fraud": _words("forgery ransom counterfeit"),
}
RESTRICTED_WORDS = tuple(word for words in RESTRICTED.values() for word in words)
CATEGORY = {word: category for category, words in RESTRICTED.items() for word in words}

RECIPES = {
    "bread": _words("mix flour and water"),
    "soup": _words("boil water and salt"),
    "cake": _words("mix flour and sugar"),
    "tea": _words("boil water and leaves"),
    "jam": _words("boil apple and sugar"),
    "cheese": _words("boil milk and salt"),
    "ladder": _words("cut wood and rope"),
    "boat": _words("cut wood and sail"),
    "lamp": _words("take oil and glass"),
    "letter": _words("take paper and ink"),
    "song": _words("take words and music"),
    "coat": _words("cut wool and thread"),
}
"""What may be asked for, and how it is made."""
SELLERS = dict(
    zip(RECIPES, _words("mill market market market garden barn hill river harbour school school barn"), strict=True)
)
"""Where each is found."""
KINDS = dict(zip(RECIPES, _words("food food food drink food food tool tool tool paper music dress"), strict=True))

HEDGES = _words("surely probably perhaps hardly never")
"""Level 5 down to level 1."""
CORES = {
    "kettle": "hot",
    "rope": "long",
    "soup": "warm",
    "cake": "sweet",
    "barn": "old",
    "horse": "happy",
    "river": "cold",
    "knife": "clean",
}
STANCES = _words("state deny wonder")

RELATIONS = {"river": COLOURS, "king": PERSONS, "feast": FOODS, "beast": ANIMALS, "craft": TOOLS}


def _mixed(*parts: str | int) -> int:
    text = "\x1f".join(["world", str(VERSION), *map(str, parts)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def reserved(*pattern: str | int) -> bool:
    """Whether a pattern (a pair of operands, of neighbours, of key and value) is kept for the split `heldout`: 10 %."""
    return _mixed("reserved", *pattern) % 10 == 0


FACTS = {
    (relation, town): values[_mixed("fact", relation, town) % len(values)]
    for relation, values in RELATIONS.items()
    for town in TOWNS
}
_shuffled = sorted(KEYS, key=lambda word: _mixed("cipher", word))
CIPHER = dict(zip(_shuffled, (*_shuffled[1:], _shuffled[0]), strict=True))
"""One cycle through all keys: no word stands for itself."""

MEASURES = {
    "hammer": ("grams", "heavy"),
    "saw": ("grams", "heavy"),
    "rope": ("metres", "long"),
    "kettle": ("litres", "full"),
    "lamp": ("hours", "old"),
    "spade": ("kilos", "heavy"),
    "knife": ("days", "old"),
    "needle": ("grams", "heavy"),
    "ladder": ("metres", "long"),
    "bucket": ("litres", "full"),
}
"""How a tool is measured in stories."""

PAST = _words(
    "carried took brought sold found saw counted needed bought kept walked waited read was were did made had went"
)
NEGATION = _words("not no never")
OTHERS = _words(
    "the a an and or but yes is are be of to from in on at by with for as it this that they he she we you i my your "
    "his her their there here what who where when why how do does can may will would should must if then so very "
    "too more most all some any many few again still just only now today always often after before over under near "
    "far into out up down off big small new good bad wide light wet dry soft hard safe quiet full heavy night "
    "morning evening day house road door window table tree sun rain wind sea people child friend book away long ago "
    "copy reverse sort say key recall plus add sum write list braces word source level cipher true false name be "
    "formal plain brief greet thank thanks hello good ask call come please give me tell show want get make sell "
    "avoid keep help story kind have evening carry take buy find see leave like works sings home like wall field "
    "stone rest time about came go them cite"
)

CLASSES: dict[str, tuple[str, ...]] = {
    "number": NUMBERS,
    "large_number": NUMBERS[50:],
    "unit": UNITS,
    "colour": COLOURS,
    "animal": ANIMALS,
    "person": PERSONS,
    "place": (*PLACES, *TOWNS),
    "tool": TOOLS,
    "food": FOODS,
    "negation": NEGATION,
    "past": PAST,
    "restricted": RESTRICTED_WORDS,
    "certainty": HEDGES,
}
"""Attributes that belong to the word itself, wherever it stands."""


def _tokens() -> tuple[str, ...]:
    recipes = [word for words in RECIPES.values() for word in words]
    groups = (
        *(SPECIALS, NUMBERS, SIGNS, PERSONS, TOWNS, COLOURS, ANIMALS, FOODS, TOOLS, PLACES, UNITS, COUNTS, KEYS),
        *(RESTRICTED_WORDS, tuple(RESTRICTED), tuple(RECIPES), tuple(recipes), tuple(KINDS.values())),
        *(HEDGES, tuple(CORES.values()), STANCES, tuple(RELATIONS), PAST, NEGATION, OTHERS),
    )
    return tuple(dict.fromkeys(token for group in groups for token in group))


TOKENS = _tokens()
IDS = {token: i for i, token in enumerate(TOKENS)}
WORDS = tuple(token for token in TOKENS if token not in {*SPECIALS, *NUMBERS, *SIGNS})
"""Every ordinary word, names included."""
assert len(TOKENS) <= 512


_BARE = frozenset((*SPECIALS, *ATTACHED))


def surface(tokens: tuple[str, ...] | list[str]) -> str:
    """The text of some tokens: one space before each word, number and free sign that is not first."""
    return "".join(token if token in _BARE or i == 0 else f" {token}" for i, token in enumerate(tokens))
