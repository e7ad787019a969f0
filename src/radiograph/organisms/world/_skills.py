"""Domains that need a rule and nothing remembered: arithmetic, copy, reverse, sort, echo, recall.

Reserved for `heldout`: a tenth of the operand pairs, of the neighbouring words, and of the pairs of key and value.
"""

from __future__ import annotations

from functools import cache

from radiograph.organisms.world._frame import answer, asking, question, reply
from radiograph.organisms.world._lexicon import KEYS, NUMBERS, reserved
from radiograph.organisms.world._machine import Options, Run, one_of, write

OPERANDS = range(21)
_KEY_WEIGHT = 8
"""A given key is so much more likely in `echo` than a given number: three words in five are keys."""
_SUM_LAYOUTS = (14, 2, 2, 2)
COPY_LENGTHS, SORT_LENGTHS, ECHO_LENGTHS, RECALL_LENGTHS = range(2, 6), range(2, 5), range(6, 14), range(2, 6)


@cache
def _second_operands(first: int, heldout: bool) -> tuple[str, ...]:
    return tuple(str(b) for b in OPERANDS if reserved("sum", first, b) == heldout)


@cache
def _first_operands(heldout: bool) -> Options:
    return Options({str(a): len(_second_operands(a, heldout)) for a in OPERANDS})


def _operands(run: Run, sign: str) -> int:
    first = int(run.emit(_first_operands(run.heldout)))
    run.emit(sign)

    def carry(token: str) -> tuple[str, ...]:
        return ("carry",) if first % 10 + int(token) % 10 >= 10 else ()

    second = run.emit(Options(dict.fromkeys(_second_operands(first, run.heldout), 1)), carry)
    if carry(second):
        run.on("carry")
    return first + int(second)


def arithmetic(run: Run) -> None:
    """`14 + 5 =`, `what is 14 + 5?`, `add 14 and 5`, `14 plus 5` -> `19`; operands 0 to 20."""
    place = question(run, "arithmetic")
    layout = run.hidden(_SUM_LAYOUTS)
    if layout == 1:
        asking(run, ("what", "is"))
    elif layout == 2:
        run.emit("add")
    total = _operands(run, ("+", "+", "and", "plus")[layout])
    if layout == 0:
        run.emit("=")
    elif layout == 1:
        asking(run, "?")
    reply(run, "arithmetic", place)
    run.emit(str(total))
    run.off("carry")
    answer(run, ())


@cache
def _neighbours(word: str, heldout: bool) -> tuple[str, ...]:
    return tuple(other for other in KEYS if other != word and reserved("pair", word, other) == heldout)


@cache
def _first_words(heldout: bool) -> Options:
    return Options({word: 1 for word in KEYS if not heldout or _neighbours(word, True)})


def distinct_words(run: Run, count: int) -> list[str]:
    """`count` different keys; in `heldout` the first two are a reserved pair of neighbours, elsewhere none are."""
    words = [run.emit(_first_words(run.heldout and count > 1))]
    while len(words) < count:
        near = _neighbours(words[-1], run.heldout and len(words) == 1)
        words.append(run.emit(Options({word: 1 for word in near if word not in words})))
    return words


def length(run: Run, lengths: range) -> int:
    """A hidden length, each equally likely."""
    return lengths[run.hidden((1,) * len(lengths))]


def _listed(run: Run, task: str, lengths: range) -> tuple[list[str], int]:
    place = question(run, task)
    write(run, (task, ":"))
    return distinct_words(run, length(run, lengths)), place


def copy(run: Run) -> None:
    """`copy: birch delta fern` -> `birch delta fern`; 2 to 5 words."""
    words, place = _listed(run, "copy", COPY_LENGTHS)
    reply(run, "copy", place)
    answer(run, words, ("copied_span",))


def reverse(run: Run) -> None:
    """`reverse: birch delta fern` -> `fern delta birch`; 2 to 4 words."""
    words, place = _listed(run, "reverse", SORT_LENGTHS)
    reply(run, "reverse", place)
    answer(run, words[::-1])


def sort(run: Run) -> None:
    """`sort: fern birch delta` -> `birch delta fern`; 2 to 4 words, alphabetical."""
    words, place = _listed(run, "sort", SORT_LENGTHS)
    reply(run, "sort", place)
    answer(run, sorted(words))


def echo(run: Run) -> None:
    """`say birch delta 7 moth from delta` -> `delta 7 moth`; 6 to 13 words and numbers, at least two said."""
    place = question(run, "echo")
    run.emit("say")
    words = distinct_words(run, 2)
    for _ in range(length(run, ECHO_LENGTHS) - 2):
        near = _neighbours(words[-1], False) if words[-1] in KEYS else KEYS
        weights = {**dict.fromkeys(near, _KEY_WEIGHT), **dict.fromkeys(NUMBERS, 1)}
        words.append(run.emit(Options({word: weight for word, weight in weights.items() if word not in words})))
    run.emit("from")
    asked = [word for word in words[1:-1] if word in KEYS]
    start = words.index(run.emit(one_of(tuple(asked))))
    reply(run, "echo", place)
    answer(run, words[start:], ("copied_span",))


@cache
def _values(key: str, heldout: bool) -> Options:
    return Options({n: 1 for n in NUMBERS if reserved("key", key, n) == heldout})


def recall(run: Run) -> None:
    """`key amber 7, cedar 3, recall amber` -> `amber 7`; 2 to 5 keys, one document in ten without commas."""
    place = question(run, "recall")
    run.emit("key")
    count = length(run, RECALL_LENGTHS)
    commas = run.hidden((9, 1)) == 0
    pairs: dict[str, str] = {}
    for _ in range(count):
        key = run.emit(Options({word: 1 for word in KEYS if word not in pairs}))
        pairs[key] = run.emit(_values(key, run.heldout))
        if commas:
            run.emit(",")
    run.emit("recall")
    run.on("recalled_key")
    asked = run.emit(Options(dict.fromkeys(pairs, 1)))
    reply(run, "recall", place)
    write(run, (asked, pairs[asked]))
    run.off("recalled_key")
    answer(run, ())
