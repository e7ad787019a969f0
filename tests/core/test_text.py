"""What a terminal or a page shows of a name cannot move a cursor, recolour a line or reorder it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radiograph.core import visible

ACTIVE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


@given(st.text(st.characters(codec=None)))
def test_nothing_active_is_left(text):
    assert not ACTIVE.search(visible(text))


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\u202e", "\x9b", "\x1b", "\ud800"])
def test_each_kind_of_mischief_is_spelled_out(character):
    assert visible(f"a{character}b") == f"a\\u{ord(character):04x}b"


@given(st.text(st.characters(categories=["L", "N", "P", "S"])))
def test_plain_text_stays_as_it_is(text):
    assert visible(text) == text


@pytest.mark.parametrize("limit", [1, 5, 80])
def test_the_limit_holds_after_escapes_are_spelled_out(limit):
    assert len(visible("\x1b" * 100, limit)) <= limit
    assert visible("ab", 5)[:limit] == "ab"[:limit]


def test_newlines_and_tabs_stay():
    assert visible("a\n\tb\rc") == "a\n\tb\\u000dc"
