"""Filters against a row-by-row reading; designs are balanced, seeded and refuse what they cannot fill."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from radiograph.core import UserError
from radiograph.evidence import Filter, Grid

COLUMNS = {
    "type": ["Declarative", "rhetorical", "declarative", None],
    "level": [1, 4, 5, 2],
    "core": ["kettle", "kettle", "ferry", "ferry"],
}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", [1, 1, 1, 1]),
        ("type=DECLARATIVE", [1, 0, 1, 0]),
        ("type=declarative,level>=4,core!=kettle", [0, 0, 1, 0]),
        ("type!=declarative", [0, 1, 0, 1]),
        (" level = 4.0 ", [0, 1, 0, 0]),
        ("level<4", [1, 0, 0, 1]),
        ("level>1, level<=4", [0, 1, 0, 1]),
        ("level!=4", [1, 0, 1, 1]),
    ],
)
def test_filters_keep_rows(text, kept):
    assert Filter.parse(text).mask(COLUMNS).tolist() == [bool(k) for k in kept]


def test_filters_read_back_what_they_say():
    text = "type=declarative,level>=4,core!=kettle"
    assert str(Filter.parse(text)) == text
    assert Filter.parse(str(Filter.parse(text))) == Filter.parse(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tipe=declarative", "did you mean type?"),
        ("type=declaratife", "did you mean declarative?"),
        ("type=x", "rhetorical"),
        ("level=9", "1, 2, 4, 5"),
        ("level=three", "1, 2, 4, 5"),
        ("type>declarative", "no order"),
        ("type", "is not a filter"),
        ("type=", "is not a filter"),
        ("type=declarative,,level=1", "is not a filter"),
    ],
)
def test_filters_name_what_is_known(text, says):
    with pytest.raises(UserError) as caught:
        Filter.parse(text).mask(COLUMNS)
    assert says in str(caught.value) and caught.value.exit_code == 3


def grid(cores: int = 4, design: dict | None = None, frames: dict | None = None) -> Grid:
    return Grid.cross(
        "g",
        factors={"a": ["x", "y"], "b": {"levels": [1, 2, 3, 4]}},
        cores={f"c{i}": f"core {i}" for i in range(cores)},
        frames=frames or {f"{a}/{b}": f"{a} {b}: {{core}}" for a in "xy" for b in (1, 2, 3, 4)},
        design=design,
    )


def test_full_crosses_every_core_with_every_cell():
    made = grid()
    assert [(r.core, r.factors["a"], r.factors["b"]) for r in made.records] == [
        (f"c{i}", a, b) for i, a, b in itertools.product(range(4), "xy", (1, 2, 3, 4))
    ]
    assert made.records[0].text == "x 1: core 0" and made.records[0].proposition == "core 0"
    assert made.factors["b"].kind == "ordinal"


def test_latin_uses_every_cell_equally_and_no_core_twice_with_a_level():
    made = grid(8, {"kind": "latin"})
    cells = Counter(tuple(r.factors.values()) for r in made.records)
    assert set(cells.values()) == {2} and len(cells) == 8
    levels = Counter((r.core, r.factors["b"]) for r in made.records)
    assert set(levels.values()) == {1}
    assert set(Counter((r.core, r.factors["a"]) for r in made.records).values()) == {1}


@pytest.mark.parametrize("n", [1, 7, 8, 16, 24, 32])
def test_balanced_samples_have_even_margins(n):
    made = grid(4, {"kind": "balanced_sample", "n": n, "seed": 3})
    assert len(made.records) == n
    for key in (lambda r: r.core, lambda r: r.factors["a"], lambda r: r.factors["b"]):
        counts = Counter(map(key, made.records))
        assert max(counts.values()) - min(counts.values()) <= 1


def test_same_seed_same_sample():
    one, two, other = (grid(8, {"balanced_sample": 20, "seed": s}) for s in (1, 1, 2))
    assert one == two and one.sha256 != other.sha256


def test_variants_and_slots():
    made = Grid.cross(
        "g",
        factors={"a": ["x"]},
        cores={"k": {"proposition": "it rains", "noun": "rain"}},
        frames={"x": ["{core} ({a})", "{noun}"]},
        design={"variants": 2},
    )
    assert [(r.variant, r.text) for r in made.records] == [(1, "it rains (x)"), (2, "rain")]


def test_cross_lists_every_mistake():
    with pytest.raises(UserError) as caught:
        grid(3, {"kind": "latin", "sed": 1}, {"x/1": "a", "x/9": "b"})
    said = str(caught.value)
    assert all(part in said for part in ("multiple of 4", "'sed'", "'x/9' is not a cell", "no frame for x/2"))


def test_where_keeps_the_records_and_their_cores():
    made = grid().where("core=c1,b>=3")
    assert [(r.core, r.factors["b"]) for r in made.records] == [("c1", 3), ("c1", 4)] * 2
    assert [core.id for core in made.cores] == ["c1"]
    with pytest.raises(UserError, match="no prompt"):
        grid().where("b>4")
