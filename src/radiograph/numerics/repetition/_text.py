"""What a text looks like by itself: repetition, entropy, symbols, and how natural its letters and words are.

On tokens (the model's, else words and marks), words and characters:
1. rep-n, n 1…4: 1 − distinct n-grams/(T − n + 1) (Welleck et al. 2020, arXiv 1908.04319); distinct-n is 1 − rep-n
2. loop share, tail loop, soft loop: the largest of tokens, words and characters (`_loops`); each level needs 8 elements
3. unigram entropy / log₂ T   4. zlib-9 bytes / bytes
5. largest character share; shares of symbols (neither letters, digits nor spaces) and of control or replacement
   characters; changes of script per character
6. English: articles and possessives that no noun follows, per word (`misplaced`); share of function words (`bound`)
The rule and metrics of the original are in `_legacy`, the score in `_score`.
Refuses nothing: a text of fewer than 8 tokens has numbers, and `scored` is False. Where tokens are not given their
number is estimated (`token_count`): a run of letters without a space is one word and many tokens.
"""

from __future__ import annotations

import math
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from radiograph.numerics.repetition._loops import Loop, Loops, loops

SHORTEST = 8
"""Tokens below which a text is not scored."""
_PIECES = re.compile(r"\w+|[^\w\s]")
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Letters of scripts that put no spaces between words: Thai, Lao, Tibetan, Burmese, Khmer, kana, Han."""
_LONG_WORD, _LETTERS_A_TOKEN = 12, 4
_DIGITS = re.compile(r"\d+")
_FEW_WORDS = 15
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?|[.!?;:]")
_BEFORE_NOUNS = frozenset(["the", "a", "an", "my", "your", "his", "its", "our", "their"])
_NO_NOUN = _BEFORE_NOUNS | frozenset(
    [
        "and",
        "or",
        "but",
        "of",
        "to",
        "in",
        "on",
        "at",
        "for",
        "with",
        "from",
        "by",
        "is",
        "are",
        "was",
        "were",
        "be",
        "been",
        "am",
        "has",
        "have",
        "had",
        "do",
        "does",
        "did",
        "will",
        "would",
        "can",
        "could",
        "he",
        "she",
        "they",
        "it",
        "we",
        "you",
        "i",
        "him",
        "them",
        "us",
        "me",
        "if",
        "because",
        "than",
        "then",
        "that",
        "which",
        "who",
        ".",
        "!",
        "?",
        ";",
        ":",
    ]
)


@dataclass(frozen=True, slots=True)
class TextMetrics:
    """Numbers of one text. `level` says on what the largest loop was found."""

    n_tokens: int
    n_words: int
    n_characters: int
    rep_1: float
    rep_2: float
    rep_3: float
    rep_4: float
    loop: float
    loop_level: str
    loop_period: int
    loop_onset: int
    soft_loop: float
    tail_loop: float
    entropy: float
    compression: float
    """zlib-9 bytes per byte, not yet over that of healthy text."""
    n_bytes: int
    largest_character: float
    symbols: float
    control: float
    script_switches: float
    misplaced: float
    bound: float
    """Share of words that are English function words; 1 below 15 words."""

    @property
    def scored(self) -> bool:
        """Whether there is enough text to judge, or none at all."""
        return self.empty or self.n_tokens >= SHORTEST

    @property
    def empty(self) -> bool:
        """No character but spaces."""
        return self.n_words == 0


def pieces(text: str) -> list[str]:
    """Words and marks: what stands in for tokens where a file holds text alone."""
    return _PIECES.findall(text)


def token_count(text: str) -> int:
    """How many tokens a model may need: pieces, but letters of unspaced scripts one by one, and words beyond 12 letters
    in parts of 4. Text of ordinary words has as many as pieces.
    """
    return sum(map(_tokens, pieces(text)))


def _tokens(piece: str) -> int:
    alone = len(_UNSPACED.findall(piece))
    others = len(piece) - alone
    return alone + (min(others, 1) if others <= _LONG_WORD else others // _LETTERS_A_TOKEN)


def text_metrics(text: str, tokens: Sequence[Hashable] | None = None) -> TextMetrics:
    """Every number of one text; `tokens` are the model's ids of it."""
    own = pieces(text) if tokens is None else tokens
    wrong, bound = _grammar(text)
    words, data = text.split(), text.encode("utf-8", "replace")
    level, exact, tail, soft = _largest(own, words, text)
    counts, n = Counter(text), max(len(text), 1)
    repeated = [_repeated(own, order) for order in (1, 2, 3, 4)]
    return TextMetrics(
        n_tokens=token_count(text) if tokens is None else len(own),
        n_words=len(words),
        n_characters=len(text),
        rep_1=repeated[0],
        rep_2=repeated[1],
        rep_3=repeated[2],
        rep_4=repeated[3],
        loop=exact.share,
        loop_level=level,
        loop_period=exact.period,
        loop_onset=exact.onset,
        soft_loop=soft,
        tail_loop=tail,
        entropy=_entropy(own),
        compression=len(zlib.compress(data, 9)) / len(data) if data else 1.0,
        n_bytes=len(data),
        largest_character=max((c for k, c in counts.items() if not k.isspace()), default=0) / n,
        symbols=sum(c for k, c in counts.items() if not (k.isalnum() or k.isspace())) / n,
        control=sum(c for k, c in counts.items() if _is_control(k)) / n,
        script_switches=_switches(text) / n,
        misplaced=wrong,
        bound=bound,
    )


def _largest(tokens: Sequence[Hashable], words: Sequence[str], text: str) -> tuple[str, Loop, float, float]:
    """Level and loop of the largest share, and the largest tail and soft loop of any level."""
    found: list[tuple[str, Loops]] = []
    for name, sequence in (("tokens", tokens), ("words", words), ("characters", text.strip())):
        if len(sequence) >= SHORTEST:
            found.append((name, _loops(sequence)))
    if not found:
        return "none", Loop(), 0.0, 0.0
    level, best = max(found, key=lambda one: one[1].exact.share)
    tail, soft = max(f.tail.share for _, f in found), max(f.soft.share for _, f in found)
    return (level if best.exact.period else "none"), best.exact, tail, soft


def _loops(sequence: Sequence[Hashable]) -> Loops:
    codes = _codes(sequence)
    if not isinstance(sequence[0], str):
        return loops(codes)
    if isinstance(sequence, str):
        plain: Sequence[Hashable] = _DIGITS.sub("0", sequence)
    else:
        plain = [_DIGITS.sub("0", str(one)) for one in sequence]
    if len(plain) == len(sequence):
        return loops(codes, _codes(plain))
    exact, soft = loops(codes), loops(_codes(plain))
    return Loops(exact.exact, exact.tail, soft.soft)


def _codes(sequence: Sequence[Hashable]) -> np.ndarray:
    seen: dict[Hashable, int] = {}
    return np.fromiter((seen.setdefault(one, len(seen)) for one in sequence), np.int32, len(sequence))


def _repeated(tokens: Sequence[Hashable], order: int) -> float:
    total = len(tokens) - order + 1
    if total < 1:
        return 0.0
    return 1 - len(set(zip(*(tokens[k:] for k in range(order)), strict=False))) / total


def _entropy(tokens: Sequence[Hashable]) -> float:
    """Unigram entropy over its largest value; 1 for a text of one token."""
    n = len(tokens)
    if n < 2:
        return 1.0
    return -sum(c / n * math.log2(c / n) for c in Counter(tokens).values()) / math.log2(n)


def _is_control(character: str) -> bool:
    return character == "\ufffd" or (
        unicodedata.category(character) in ("Cc", "Cn", "Co") and character not in "\n\t\r"
    )


def _switches(text: str) -> int:
    """Changes of script between neighbouring letters, spaces and marks left out."""
    scripts = [_script(character) for character in text if character.isalpha()]
    return sum(a != b for a, b in pairwise(scripts))


def _script(character: str) -> str:
    return "LATIN" if character < "\u0250" else unicodedata.name(character, "UNKNOWN").split()[0]


def _grammar(text: str) -> tuple[float, float]:
    """Share of words that are an article or possessive before what is no noun, and share of function words."""
    words = [word.lower() for word in _WORD.findall(text)]
    wrong = sum(a in _BEFORE_NOUNS and b in _NO_NOUN for a, b in pairwise(words))
    letters = [word for word in words if word[0].isalpha()]
    bound = sum(word in _NO_NOUN for word in letters) / len(letters) if len(letters) >= _FEW_WORDS else 1.0
    return wrong / max(len(words), 1), bound
