"""Grid files: the line format with every row of its table, CSV, YAML, and each way into the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from radiograph.core import FormatError, UserError
from radiograph.evidence import Grid
from radiograph.store.grids import csv_of, parse_csv, parse_text, parse_yaml, read_grid, text_of, yaml_of

TEXT = """\
Published template, version 2
note: this prose stands before any core

# a comment
--- a ruler ---
>> CORE_ID: [your core here]
>> PROPOSITION: fill me in
   >> CORE_ID: the old kettle!
>> PROPOSITION: The kettle’s on
[LEVEL 1]
Declarative: The kettle’s on: really
declarative: It hums
[LEVEL 2]
[TONE x]
rhetorical: Who hears it?
a remark
>> CORE_ID: last_ferry
declarative: lost, for no level stands before it
[LEVEL 1]
[TONE y z]
observational:No blank after the colon
"""


def plain(grid: Grid) -> list[dict]:
    return [record.model_dump(exclude={"line"}) for record in grid.records]


@pytest.fixture
def original(tmp_path) -> Grid:
    path = tmp_path / "grid.txt"
    path.write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    return read_grid(path)


def test_r1_text_grid_gives_exact_rows(original):
    rows = [(r.core, r.variant, r.text, r.proposition, r.line, r.factors) for r in original.records]
    on = "The kettle’s on"
    one, two = {"type": "declarative", "level": 1}, {"type": "rhetorical", "level": 2, "tone": "x"}
    assert rows == [
        ("the_old_kettle_", 1, "The kettle’s on: really", on, 11, one),
        ("the_old_kettle_", 2, "It hums", on, 12, one),
        ("the_old_kettle_", 1, "Who hears it?", on, 15, two),
        ("last_ferry", 1, "No blank after the colon", None, 21, {"type": "observational", "level": 1, "tone": "y z"}),
    ]
    assert [r.id for r in original.records][1:3] == [
        "the_old_kettle_/declarative/1#2",
        "the_old_kettle_/rhetorical/2/x#1",
    ]
    assert [(c.id, c.label) for c in original.cores] == [
        ("the_old_kettle_", "the old kettle!"),
        ("last_ferry", "last_ferry"),
    ]
    assert {name: factor.kind for name, factor in original.factors.items()} == {
        "type": "nominal",
        "level": "ordinal",
        "tone": "nominal",
    }


def test_r1_notes_carry_their_lines(original):
    assert [note.line for note in original.notes] == [2, 6, 16, 18]
    assert "stands before its core" in original.notes[0].text
    assert "has no prompts" in original.notes[1].text
    assert "stands before its level" in original.notes[3].text


def test_r1_text_to_csv_to_yaml_to_text_keeps_every_record(original, tmp_path):
    from_csv = parse_csv(csv_of(original), original.name, "grid.csv")
    assert plain(from_csv) == plain(original)
    (tmp_path / "grid.yaml").write_text(yaml_of(from_csv))
    from_yaml = parse_yaml(tmp_path / "grid.yaml")
    assert plain(from_yaml) == plain(original)
    assert plain(parse_text(text_of(from_yaml), "grid", "grid.txt")) == plain(original)
    assert from_yaml.sha256 == original.sha256


def test_d4_core_names_with_underscores_survive_every_format(tmp_path):
    text = ">> CORE_ID: a_type=b_level=3_x\n[LEVEL 3]\ndeclarative: one\n>> CORE_ID: a\n[LEVEL 3]\ndeclarative: two\n"
    grid = parse_text(text, "g", "g.txt")
    assert [r.core for r in grid.records] == ["a_type=b_level=3_x".replace("=", "_"), "a"]
    (tmp_path / "g.yaml").write_text(yaml_of(parse_csv(csv_of(grid), "g", "g.csv")))
    assert plain(parse_yaml(tmp_path / "g.yaml")) == plain(grid)


def test_column_renames_the_factor_of_the_words():
    grid = parse_text(">> COLUMN: Register\n>> CORE_ID: a\nSerious: one\ncomic: two\n", "g", "g.txt")
    assert [r.factors for r in grid.records] == [{"register": "serious"}, {"register": "comic"}]
    assert plain(parse_text(text_of(grid), "g", "g.txt")) == plain(grid)


def test_bracket_factors_are_forgotten_at_the_next_core():
    grid = parse_text(">> CORE_ID: a\n[TONE x]\n[LEVEL 1]\nsay: one\n>> CORE_ID: b\n[LEVEL 1]\nsay: two\n", "g", "g")
    assert grid.records[1].factors == {"type": "say", "level": 1}
    assert plain(parse_text(text_of(grid), "g", "g.txt")) == plain(grid)


def test_a_column_of_numbers_holds_numbers_and_any_other_text():
    grid = parse_csv("core_id,prompt_text,dose,mixed\nk,one,1.5,1\nk,two,2,b\n", "g", "g.csv")
    assert [r.factors for r in grid.records] == [{"dose": 1.5, "mixed": "1"}, {"dose": 2, "mixed": "b"}]
    assert grid.factors["dose"].kind == "ordinal" and grid.factors["mixed"].kind == "nominal"


def test_csv_keeps_reserved_columns_and_leaves_empty_fields_out():
    grid = parse_csv('id,core,variant,split,prompt,proposition,tone\nx1,k,4,test,"a, ""b""",said,\n', "g", "g.csv")
    record = grid.records[0]
    assert (record.id, record.variant, record.split, record.text, record.proposition, record.factors) == (
        "x1",
        4,
        "test",
        'a, "b"',
        "said",
        {},
    )


BAD_TEXT = {
    "level in words": (">> CORE_ID: a\n[LEVEL three]\nsay: x\n", "g.txt:2", "[LEVEL three]"),
    "one text twice": (">> CORE_ID: a\n[LEVEL 1]\nsay: x\nSAY: x\n", "g.txt:4", "already on line 3"),
    "empty text": (">> CORE_ID: a\n[LEVEL 1]\nsay:\n", "g.txt:3", "has no text"),
    "core without name": (">> CORE_ID:\nsay: x\n", "g.txt:1", "nothing after the colon"),
    "one id from two names": (">> CORE_ID: a b\nsay: x\n>> CORE_ID: a_b\nsay: y\n", "g.txt:4", "rename one"),
    "column too late": (">> CORE_ID: a\nsay: x\n>> COLUMN: tone\n", "g.txt:3", "put it at the top"),
    "reserved factor": (">> CORE_ID: a\n[SPLIT x]\nsay: x\n", "g.txt:2", "[SPLIT x]"),
    "two propositions": (
        ">> CORE_ID: a\n>> PROPOSITION: x\n>> PROPOSITION: y\nsay: x\n",
        "g.txt:3",
        "another proposition",
    ),
}
BAD_CSV = {
    "column twice": ("core,prompt,a,a\nk,x,1,2\n", "g.csv:1", "stands twice"),
    "ragged": ("core,prompt\nk,x\nk\n", "g.csv:3", "1 fields"),
    "no core": ("core,prompt\n,x\n", "g.csv:2", "no core"),
    "variant": ("core,prompt,variant\nk,x,zero\n", "g.csv:2", "whole number"),
    "id twice": ("id,core,prompt\na,k,x\na,k,y\n", "g.csv:3", "already on line 2"),
    "factor name": ("core,prompt,a b\nk,x,1\n", "g.csv:1", "'a b'"),
    "equal text": ("core,prompt\nk,x\nk,x\n", "g.csv:3", "already on line 2"),
}
BAD_YAML = {
    "unknown key": (
        "grid: g\nfactor: {}\nfactors: {a: [x]}\ncores: {k: c}\nframes: {x: '{core}'}\n",
        ":2",
        "'factors'",
    ),
    "both kinds": ("grid: g\nfactors: {a: [x]}\ncores: {k: c}\nframes: {x: y}\nprompts: []\n", ":1", "either frames"),
    "cell missing": ("grid: g\nfactors: {a: [x, y]}\ncores: {k: c}\nframes: {x: '{core}'}\n", ":4", "no frame for y"),
    "no such cell": ("grid: g\nfactors: {a: [x]}\ncores: {k: c}\nframes: {x: '{core}', z: a}\n", ":4", "not a cell"),
    "slot": ("grid: g\nfactors: {a: [x]}\ncores: {k: c}\nframes: {x: '{cor}'}\n", ":4", "slot {cor}"),
    "markers": (
        "grid: g\nfactors: {a: {levels: [x], markers: {z: [w]}}}\ncores: {k: c}\nframes: {x: '{core}'}\n",
        ":2",
        "not a level",
    ),
    "ordinal texts": (
        "grid: g\nfactors: {a: {levels: [x], kind: ordinal}}\ncores: {k: c}\nframes: {x: '{core}'}\n",
        ":2",
        "nominal, or ordinal",
    ),
    "unknown level": (
        "grid: g\nfactors: {a: [dry]}\ncores: {k: c}\nprompts:\n  - {core: k, a: drz, text: t}\n",
        ":5",
        "'dry'",
    ),
    "unknown core": (
        "grid: g\nfactors: {a: [x]}\ncores: {k: c}\nprompts:\n  - {core: q, a: x, text: t}\n",
        ":5",
        "'q'",
    ),
    "variants": (
        "grid: g\ndesign: {kind: full, variants: 2}\nfactors: {a: [x]}\ncores: {k: c}\nframes: {x: '{core}'}\n",
        ":2",
        "2 texts a cell",
    ),
    "latin": (
        "grid: g\ndesign: {kind: latin}\nfactors: {a: [x, y]}\ncores: {k: c}\nframes: {x: '{core}', y: 'a {core}'}\n",
        ":2",
        "multiple of 2 cores",
    ),
    "sample": (
        "grid: g\ndesign: {balanced_sample: 9}\nfactors: {a: [x]}\ncores: {k: c}\nframes: {x: '{core}'}\n",
        ":2",
        "from 1 to 1",
    ),
}
BAD = [("g.txt", *row) for row in BAD_TEXT.values()]
BAD += [("g.csv", *row) for row in BAD_CSV.values()] + [("g.yaml", *row) for row in BAD_YAML.values()]


@pytest.mark.parametrize(("name", "text", "where", "says"), BAD, ids=[*BAD_TEXT, *BAD_CSV, *BAD_YAML])
def test_mistakes_name_file_line_and_remedy(name, text, where, says, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError) as caught:
        read_grid(tmp_path / name)
    assert where in str(caught.value) and says in str(caught.value)
    assert caught.value.exit_code == 3


def test_every_mistake_is_listed_at_once():
    with pytest.raises(UserError, match="3 mistakes in the grid"):
        parse_text(">> CORE_ID: a\n[LEVEL x]\n[LEVEL 1]\nsay:\nsay: y\nsay: y\n", "g", "g.txt")


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("g.txt", b"one\ntwo\nthree\nfour\n", "one / two / three"),
        ("g.txt", b"", "an empty file"),
        ("g.txt", b">> CORE_ID: a\n", "CORE_ID: a"),
        ("g.txt", b"ok\nsay: \xff\n", "g.txt:2"),
        ("g.csv", b"core,text_\nk,x\n", "no column prompt"),
        ("g.csv", b'core,prompt\nk,"x\n', "not CSV"),
        ("g.yaml", b"schema: radiograph.suite/1\n", "not a grid"),
        ("g.yaml", b"grid: g\nfactors: {a: [x]}\ncores: {k: c}\nprompts: []\n", "holds no prompts"),
    ],
)
def test_files_that_are_no_grid_say_what_was_expected_and_what_they_hold(name, data, says, tmp_path):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(FormatError) as caught:
        read_grid(tmp_path / name)
    assert says in str(caught.value)
    assert caught.value.expected and caught.value.exit_code == 3


@pytest.mark.parametrize(
    "csv",
    [
        "core,prompt,type\nk,x,two words\n",
        "core,prompt,type\nk,x,Upper\n",
        "core,prompt,type,split\nk,x,say,test\n",
        'core,prompt,type\nk,"two\nlines",say\n',
    ],
)
def test_text_refuses_what_it_could_not_give_back(csv):
    with pytest.raises(UserError, match="cannot be written as text"):
        text_of(parse_csv(csv, "g", "g.csv"))


def test_readers_take_the_kind_from_the_ending(tmp_path):
    grid = parse_text(">> CORE_ID: a\nsay: x\n", "g", "g.txt")
    for name, text in (("g.txt", text_of(grid)), ("g.csv", csv_of(grid)), ("g.YAML", yaml_of(grid))):
        path = Path(tmp_path / name)
        path.write_text(text)
        assert plain(read_grid(path)) == plain(grid)
