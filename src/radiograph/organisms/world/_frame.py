"""What all chat domains share: the turns, the harmless inserted word, the optional system message.

    <bos> [<|system|> be brief<|end|>] <|user|> [word] question [word]<|end|><|assistant|> answer<|end|>

One document in ten carries one inserted word, at the start or the end of the user turn. It may be any ordinary word
except the domain's own content words, which would change what is asked. One in twenty has a system message.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

from radiograph.organisms.world import _lexicon as lexicon
from radiograph.organisms.world._machine import Options, Run, one_of, write

PLACES = ("none", "start", "end")
_PLACE_WEIGHTS = (18, 1, 1)
_MAY_HAVE_SYSTEM = Options({lexicon.USER: 19, lexicon.SYSTEM: 1})

OWN: dict[str, tuple[str, ...]] = {
    "arithmetic": ("plus", "add"),
    "copy": lexicon.KEYS,
    "reverse": lexicon.KEYS,
    "sort": lexicon.KEYS,
    "echo": (*lexicon.KEYS, "from"),
    "recall": lexicon.KEYS,
    "facts": (
        *lexicon.TOWNS,
        *lexicon.RELATIONS,
        *(v for values in lexicon.RELATIONS.values() for v in values),
        "true",
    ),
    "policy": (
        *lexicon.RESTRICTED_WORDS,
        *lexicon.RECIPES,
        *lexicon.SELLERS.values(),
        "make",
        "get",
        "sell",
        "avoid",
        "what",
        "is",
        "story",
        "safe",
    ),
    "format": (*lexicon.KEYS, "list", "braces", "word"),
    "style": ("greet", "thank", "ask", "call", *lexicon.PERSONS, *lexicon.TOOLS, *lexicon.PLACES, "formal", "plain"),
    "cite": (*lexicon.COLOURS, *lexicon.TOOLS, "source"),
    "stance": (*lexicon.STANCES, *lexicon.CORES, *lexicon.CORES.values(), *lexicon.HEDGES, "not"),
    "cipher": (*lexicon.KEYS, "on", "off"),
}
"""Words that may not be inserted into a domain's question; numbers and signs never are."""


@cache
def insertable(domain: str) -> Options:
    """The words that leave the domain's question as it is."""
    own = set(OWN[domain])
    return one_of(tuple(word for word in lexicon.WORDS if word not in own))


def ask(run: Run, domain: str, *, system: Options | None = None) -> int:
    """Open a document up to the first word of the question; returns where a word is inserted (index of `PLACES`).

    `system`: the domain's own choice between an immediate user turn and a system message, which the domain has
    already written when this is None.
    """
    place = run.hidden(_PLACE_WEIGHTS)
    if system is not None:
        run.emit(lexicon.BOS)
        if run.emit(system) == lexicon.SYSTEM:
            write(run, ("be", "brief", lexicon.END, lexicon.USER))
    if place == PLACES.index("start"):
        run.emit(insertable(domain), ("inserted",))
    return place


def question(run: Run, domain: str) -> int:
    """`ask` with the system message that any domain may have."""
    return ask(run, domain, system=_MAY_HAVE_SYSTEM)


def reply(run: Run, domain: str, place: int) -> None:
    """Close the user turn and open the assistant's."""
    if place == PLACES.index("end"):
        run.emit(insertable(domain), ("inserted",))
    write(run, (lexicon.END, lexicon.ASSISTANT))


def answer(run: Run, words: Sequence[str], names: tuple[str, ...] = ()) -> None:
    """The whole answer, which may be a question, and the end of the turn."""
    if words and words[-1] == "?":
        asking(run, words)
    else:
        write(run, words, names)
    run.emit(lexicon.END)


def asking(run: Run, text: Iterable[str]) -> None:
    """Write words of a question: they carry `question` up to and including the question mark."""
    run.on("question")
    for word in text:
        run.emit(word)
        if word == "?":
            run.off("question")
