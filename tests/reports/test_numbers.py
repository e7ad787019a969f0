"""Numbers stay numbers, know their place, and look the same to the writer and to the checker."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radiograph.reports._numbers import point, pointed, resolve, shown

DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)


def numbers(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for v in value:
            yield from numbers(v)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


@given(DOCUMENTS)
def test_every_pointer_leads_back(document):
    placed = pointed(document)
    assert placed == document
    for number in numbers(placed):
        assert resolve(document, number.pointer) == number


def test_slashes_and_tildes_in_keys():
    placed = pointed({"a/b": {"~": [1, {"": 2.5}]}})
    assert placed["a/b"]["~"][1][""].pointer == "/a~1b/~0/1/"


@pytest.mark.parametrize("pointer", ["x", "/y", "/a/5", "/a/-1", "/a/x", "/a/0/0", "/t/0"])
def test_dead_pointers(pointer):
    with pytest.raises(LookupError):
        resolve({"a": [1], "t": "text"}, pointer)


@pytest.mark.parametrize(
    ("value", "spec", "text"),
    [
        (0.714, ".2f!", ".71"),
        (-0.05, ".2f!", "−.05"),
        (10.5, ".1f!", "10.5"),
        (-0.0, ".3g", "0"),
        (-0.0001, ".2f", "0.00"),
        (-3, ",d", "−3"),
        (12345, ",d", "12,345"),
        (1e-5, ".3g", "1e−05"),
        (0.0091, ".2%", "0.91%"),
        (None, ".3g", "–"),
        (True, "", "yes"),
        ("a\x1bb", "s", "a\\u001bb"),
    ],
)
def test_shown(value, spec, text):
    assert shown(value, spec) == text
    if isinstance(value, int | float) and not isinstance(value, bool):
        assert shown(json.loads(json.dumps(value)), spec) == shown(pointed(value), spec) == text


def test_a_text_with_its_place():
    assert point({"a": ["word"]}, "/a/0").pointer == "/a/0"
