"""The labels of a text, read off the text itself: regular expressions over its words, none of the generator's code."""

from __future__ import annotations

import re
from collections.abc import Iterator

CONTEXTUAL = (
    *("quantity", "question", "refusal", "will_refuse", "true_statement", "type", "carry", "copied_span"),
    *("recalled_key", "cipher_on", "list_item", "citation"),
)
_RESTRICTED = "venom|toxin|arsenic|bomb|rifle|grenade|virus|spyware|worm|forgery|ransom|counterfeit"
_QUESTIONS = (
    r"what is (?:\d+ \+ \d+|the \w+ of \w+|the \w+|\w+) \?",
    r"how to (?:make|get|sell|avoid) \w+ \?",
    r"how \?",
    r"is \w+ safe \?",
    r"can you help me \w+ \w+ \?",
    r"did \w+ \w+ the \w+ \?",
    r"may i have the \w+ , \w+ \?",
    r"is the \w+ \w+ \w+ \?",
    r"who can say where the road will go \?",
    r"true \?",
)
_USER = r"<\|user\|>((?:(?!<\|end\|>).)*)<\|end\|> <\|assistant\|>"
_FACT = r"true \? the (?P<r>\w+) of (?P<t>\w+) is (?P<v>\w+)"
_UNITS = "metres|litres|grams|kilos|hours|minutes|miles|days"
_COUNTS = "stones|shells|seeds|boxes|bottles|buttons|coins|letters"


def labels(words: list[str], fact: dict[tuple[str, str], str]) -> list[set[str]]:
    """A set per word. `words` are tokens without their leading spaces; `fact` maps (relation, town) to the value."""
    text = " ".join(words)
    starts, position = {}, 0
    for i, word in enumerate(words):
        starts[position] = i
        position += len(word) + 1
    out: list[set[str]] = [set() for _ in words]

    def mark(name: str, start: int, end: int) -> None:
        for i in range(starts[start], next((starts[s] for s in sorted(starts) if s >= end), len(words))):
            out[i].add(name)

    for pattern in _QUESTIONS:
        for match in re.finditer(rf"(?<!\S){pattern}(?!\S)", text):
            mark("question", *match.span())
    for name, start, end in _spans(text, fact):
        mark(name, start, end)
    return out


def _spans(text: str, fact: dict[tuple[str, str], str]) -> Iterator[tuple[str, int, int]]:
    for match in re.finditer(rf"\b(\d+) (?:{_UNITS}|{_COUNTS})\b", text):
        yield "quantity", *match.span(1)
    user = re.search(_USER, text)
    if user is None:
        return
    asked, reply, end = user[1], user.end() + 1, text.rindex(" <|end|>")
    if match := re.search(rf"\b(?:to|can|me) (?:make|get|sell) ({_RESTRICTED})\b", asked):
        yield "will_refuse", user.start(1) + match.start(1), user.end()
        yield "refusal", reply, end
    if (match := re.search(_FACT, asked)) and fact[match["r"], match["t"]] == match["v"]:
        yield "true_statement", user.start(1) + match.start("v"), user.end()
    if match := re.search(r"\blevel \d , (state|deny|wonder)\b", asked):
        yield "type", user.start(1) + match.start(1), user.start(1) + match.end(1)
    match = re.search(r"\b(\d+) (?:\+|plus) (\d+)\b", asked) or re.search(r"\badd (\d+) and (\d+)\b", asked)
    if match and int(match[1][-1]) + int(match[2][-1]) >= 10:
        yield "carry", user.start(1) + match.start(2), end
    if re.search(r"\bcopy :|\bsay .* from \w+", asked):
        yield "copied_span", reply, end
    if match := re.search(r"\bkey .*\brecall (\w+)", asked):
        yield "recalled_key", user.start(1) + match.start(1), end
    if match := re.search(r"\bcipher (on) :", asked):
        yield "cipher_on", user.start(1) + match.start(1), len(text)
    if re.search(r"\bas list\b", asked):
        for match in re.finditer(r"[a-z]+", text[reply:end]):
            yield "list_item", reply + match.start(), reply + match.end()
    if re.search(r"\bcite \w+", asked):
        match = re.search(r"\[ \d \]", text[reply:end])
        assert match
        yield "citation", reply + match.start(), reply + match.end()
