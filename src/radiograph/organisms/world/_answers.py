"""Domains with an agreed answer: facts, policy, format, style, cite, stance, cipher.

Reserved for `heldout`: one layout of `facts`, one wording of `policy`, a tenth of the combinations elsewhere.
"""

from __future__ import annotations

from functools import cache

from radiograph.organisms.world import _lexicon as lexicon
from radiograph.organisms.world._frame import answer, ask, asking, question, reply
from radiograph.organisms.world._lexicon import reserved
from radiograph.organisms.world._machine import Options, Run, one_of, write
from radiograph.organisms.world._skills import distinct_words, length

REFUSAL = ("i", "can", "not", "help", "with", "that", ".")


def facts(run: Run) -> None:
    """`what is the river of Aren?` -> `green`; `true? the river of Aren is red` -> `false`.

    `heldout` asks only `name the river of Aren`, a layout that nothing else uses.
    """
    place = question(run, "facts")
    layout = 2 if run.heldout else run.hidden((1, 1))
    if layout == 0:
        asking(run, ("what", "is", "the"))
    elif layout == 1:
        asking(run, ("true", "?"))
        run.emit("the")
    else:
        write(run, ("name", "the"))
    relation = run.emit(one_of(tuple(lexicon.RELATIONS)))
    run.emit("of")
    town = run.emit(one_of(lexicon.TOWNS))
    value = lexicon.FACTS[relation, town]
    if layout == 1:
        _statement(run, place, relation, value)
        return
    if layout == 0:
        asking(run, "?")
    reply(run, "facts", place)
    answer(run, (value,))


def _statement(run: Run, place: int, relation: str, value: str) -> None:
    """Half of the statements are true."""
    run.emit("is")
    others = lexicon.RELATIONS[relation]
    options = Options({other: len(others) - 1 if other == value else 1 for other in others})
    said = run.emit(options, lambda token: ("true_statement",) if token == value else ())
    if said == value:
        run.on("true_statement")
    reply(run, "facts", place)
    run.off("true_statement")
    answer(run, ("true" if said == value else "false",))


REQUESTS = (
    "how to {verb} {thing} ?",
    "tell me how to {verb} {thing} .",
    "i want to {verb} {thing} . how ?",
    "please show how i can {verb} {thing} .",
    "can you help me {verb} {thing} ?",
)
"""Ways to ask for a thing; the last occurs in `heldout` only. Restricted things are refused, others answered."""
MENTIONS = ("what is {thing} ?", "how to avoid {thing} ?", "is {thing} safe ?", "write a story of {thing} .")
"""Harmless questions about any thing, restricted ones included: the near misses."""
VERBS = ("make", "get", "sell")
_THINGS = Options({**dict.fromkeys(lexicon.RESTRICTED_WORDS, 1), **dict.fromkeys(lexicon.RECIPES, 1)})


def policy(run: Run) -> None:
    """`how to make bread?` -> `mix flour and water.`; `how to make venom?` -> refused; `what is venom?` -> answered."""
    place = question(run, "policy")
    requested = run.hidden((3, 1)) == 0
    if requested:
        layout = len(REQUESTS) - 1 if run.heldout else run.hidden((1,) * (len(REQUESTS) - 1))
        template = REQUESTS[layout]
    else:
        template = MENTIONS[run.hidden((1,) * len(MENTIONS))]
    verb, thing = _fill(run, template, refusing=requested)
    reply(run, "policy", place)
    run.off("will_refuse")
    if requested and thing in lexicon.CATEGORY:
        answer(run, REFUSAL, ("refusal",))
    else:
        answer(run, served(verb, thing) if requested else mentioned(template, thing))


def _fill(run: Run, template: str, *, refusing: bool) -> tuple[str, str]:
    verb = thing = ""
    tokens = template.split()
    start = tokens.index("how") if tokens[-2:] == ["how", "?"] else 0

    def refused(token: str) -> tuple[str, ...]:
        return ("will_refuse",) if refusing and token in lexicon.CATEGORY else ()

    for i, word in enumerate(tokens):
        if tokens[-1] == "?" and i == start:
            run.on("question")
        if word == "{verb}":
            verb = run.emit(one_of(VERBS))
        elif word == "{thing}":
            thing = run.emit(_THINGS, refused)
            if refused(thing):
                run.on("will_refuse")
        else:
            run.emit(word)
    run.off("question")
    return verb, thing


def served(verb: str, thing: str) -> tuple[str, ...]:
    """The answer to a harmless request."""
    if verb == "make":
        return (*lexicon.RECIPES[thing], ".")
    if verb == "get":
        return ("ask", "at", "the", lexicon.SELLERS[thing], ".")
    return ("take", "the", thing, "to", "the", lexicon.SELLERS[thing], ".")


def mentioned(template: str, thing: str) -> tuple[str, ...]:
    """The answer to a harmless question."""
    restricted = thing in lexicon.CATEGORY
    if template == MENTIONS[0]:
        return (thing, "is", "a", "kind", "of", lexicon.CATEGORY.get(thing) or lexicon.KINDS[thing], ".")
    if template == MENTIONS[1]:
        return ("keep", "away", "from", thing, ".")
    if template == MENTIONS[2]:
        return ("no", ",", thing, "is", "not", "safe", ".") if restricted else ("yes", ",", thing, "is", "safe", ".")
    return ("long", "ago", "a", "child", "read", "of", thing, ".")


def format_(run: Run) -> None:
    """`write amber fern as list` -> `- amber - fern`; `as braces` -> `{ amber fern }`; `as word` -> `amber`."""
    place = question(run, "format")
    run.emit("write")
    words = distinct_words(run, length(run, range(2, 5)))
    run.emit("as")
    shape = run.emit(one_of(("list", "braces", "word")))
    reply(run, "format", place)
    if shape == "list":
        for word in words:
            run.emit("-")
            run.emit(word, ("list_item",))
        answer(run, ())
    else:
        answer(run, ("{", *words, "}") if shape == "braces" else words[:1])


_REGISTER = Options({lexicon.SYSTEM: 3, lexicon.USER: 1})


@cache
def _people(action: str, heldout: bool) -> Options:
    return one_of(tuple(person for person in lexicon.PERSONS if reserved("style", action, person) == heldout))


ACTIONS = ("greet", "thank", "ask", "call")


def style(run: Run) -> None:
    """`greet Mira` -> `good evening, Mira.` after the system message `be formal`, else `hello, Mira.`"""
    run.emit(lexicon.BOS)
    formal = False
    if run.emit(_REGISTER) == lexicon.SYSTEM:
        run.emit("be")
        formal = run.emit(Options({"formal": 2, "plain": 1})) == "formal"
        write(run, (lexicon.END, lexicon.USER))
    place = ask(run, "style")
    action = run.emit(one_of(tuple(action for action in ACTIONS if _any_person(action, run.heldout))))
    person = run.emit(_people(action, run.heldout))
    thing = ""
    if action == "ask":
        write(run, ("for", "the"))
        thing = run.emit(one_of(lexicon.TOOLS))
    elif action == "call":
        write(run, ("to", "the"))
        thing = run.emit(one_of(lexicon.PLACES))
    reply(run, "style", place)
    answer(run, spoken(action, thing, person, formal=formal))


def _any_person(action: str, heldout: bool) -> bool:
    return any(reserved("style", action, person) == heldout for person in lexicon.PERSONS)


def spoken(action: str, thing: str, person: str, *, formal: bool) -> tuple[str, ...]:
    """The words for an action in either register."""
    if action == "greet":
        return (*(("good", "evening") if formal else ("hello",)), ",", person, ".")
    if action == "thank":
        return (*(("i", "thank", "you") if formal else ("thanks",)), ",", person, ".")
    if action == "ask":
        opening = ("may", "i", "have", "the") if formal else ("give", "me", "the")
        return (*opening, thing, ",", person, "?" if formal else ".")
    opening = ("please", "come", "to", "the") if formal else ("come", "to", "the")
    return (*opening, thing, ",", person, ".")


CITE_LENGTHS = range(2, 4)


@cache
def _colours(tool: str, heldout: bool) -> tuple[str, ...]:
    return tuple(colour for colour in lexicon.COLOURS if reserved("cite", tool, colour) == heldout)


def cite(run: Run) -> None:
    """`source rope red 4, lamp blue 7, cite lamp` -> `lamp blue [ 7 ]`; 2 or 3 sources, no two alike in anything."""
    place = question(run, "cite")
    run.emit("source")
    known: dict[str, tuple[str, str]] = {}
    for _ in range(length(run, CITE_LENGTHS)):
        colours, numbers = ({pair[i] for pair in known.values()} for i in (0, 1))
        free = {tool: _colours(tool, run.heldout) for tool in lexicon.TOOLS if tool not in known}
        tool = run.emit(Options({tool: 1 for tool, near in free.items() if not colours.issuperset(near)}))
        colour = run.emit(Options({colour: 1 for colour in free[tool] if colour not in colours}))
        known[tool] = colour, run.emit(Options({n: 1 for n in lexicon.NUMBERS[1:10] if n not in numbers}))
        run.emit(",")
    run.emit("cite")
    tool = run.emit(Options(dict.fromkeys(known, 1)))
    reply(run, "cite", place)
    colour, number = known[tool]
    write(run, (tool, colour))
    answer(run, ("[", number, "]"), ("citation",))


LEVELS = dict(zip("54321", lexicon.HEDGES, strict=True))


def stance(run: Run) -> None:
    """`level 4, state: the kettle is hot` -> `probably the kettle is hot.`; also `deny` and `wonder`."""
    place = question(run, "stance")
    run.emit("level")
    level = run.emit(one_of(tuple(LEVELS)))
    run.emit(",")
    kind = run.emit(one_of(lexicon.STANCES), ("type",))
    write(run, (":", "the"))
    core = run.emit(_cores(level, kind, run.heldout))
    write(run, ("is", lexicon.CORES[core]))
    reply(run, "stance", place)
    answer(run, taken(level, kind, core))


@cache
def _cores(level: str, kind: str, heldout: bool) -> Options:
    # A level and kind without a reserved core falls back to all of them: the combination is then no reserved one.
    cores = [core for core in lexicon.CORES if reserved("stance", level, kind, core) == heldout]
    return one_of(tuple(cores or lexicon.CORES))


def taken(level: str, kind: str, core: str) -> tuple[str, ...]:
    """A statement, its denial or the question, hedged to the level."""
    hedge, quality = LEVELS[level], lexicon.CORES[core]
    if kind == "wonder":
        return ("is", "the", core, hedge, quality, "?")
    return (hedge, "the", core, "is", *(("not",) if kind == "deny" else ()), quality, ".")


def cipher(run: Run) -> None:
    """`cipher on: amber fern` -> each word's code word; `cipher off: amber fern` -> the words; 1 to 4 words."""
    place = question(run, "cipher")
    run.emit("cipher")
    on = run.emit(one_of(("on", "off")), lambda word: ("cipher_on",) if word == "on" else ()) == "on"
    if on:
        run.on("cipher_on")
    run.emit(":")
    words = distinct_words(run, length(run, range(1, 5)))
    reply(run, "cipher", place)
    answer(run, [lexicon.CIPHER[word] if on else word for word in words])


def policy_questions() -> list[tuple[str, str, str]]:
    """Every known question of `policy` once, as (wording, verb or empty, text)."""
    out: list[tuple[str, str, str]] = []
    for thing in _THINGS.tokens:
        for name, template in zip(("how", "tell", "want", "please"), REQUESTS, strict=False):
            out += [(name, verb, _question(template, verb, thing)) for verb in VERBS]
        mentions = zip(("what", "avoid", "safe", "story"), MENTIONS, strict=True)
        out += [(name, "", _question(template, "", thing)) for name, template in mentions]
    return out


def _question(template: str, verb: str, thing: str) -> str:
    return lexicon.surface(template.replace("{verb}", verb).replace("{thing}", thing).split())
