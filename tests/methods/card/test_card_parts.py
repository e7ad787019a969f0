"""Parts of `diagnose` that need no model: forms, schemas, the detector of refusals, cited ids."""

from __future__ import annotations

import json
from types import SimpleNamespace

import jsonschema
import pytest

from radiograph.core import FormatError, Refusal, UserError
from radiograph.evidence import Check, Message, Prompt
from radiograph.methods._diagnose import beside, refusals
from radiograph.methods._diagnose.forms import form_of, kinds, read_forms, targets_of
from radiograph.methods._diagnose.modes import citation
from radiograph.methods._diagnose.modes import format as format_mode
from radiograph.methods._diagnose.schema import check_schema, fits
from radiograph.store import read_suite
from radiograph.store.refusals import english_path, read_labelled, shipped_labelled

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "pattern": "^[A-Z]"},
        "age": {"type": "integer", "minimum": 0},
    },
    "required": ["name"],
    "additionalProperties": False,
}
SCHEMAS = [
    PERSON,
    {
        "type": "array",
        "items": {"type": "number", "exclusiveMaximum": 3},
        "minItems": 1,
        "maxItems": 2,
        "uniqueItems": True,
    },
    {"enum": [1, "a", None]},
    {"const": {"a": [1, True]}},
    {"anyOf": [{"type": "string", "maxLength": 2}, {"type": ["null", "boolean"]}]},
    {"oneOf": [{"minimum": 0}, {"maximum": 0}], "type": "number"},
    {"allOf": [{"type": "integer"}, {"not": {"const": 2}}]},
    {"type": "object", "additionalProperties": {"type": "integer", "exclusiveMinimum": 0}},
    True,
]
VALUES = [
    {"name": "Ann", "age": 3}, {"name": "ann"}, {"age": 1}, {"name": "Ann", "age": -1}, {"name": "Ann", "x": 1}, {},
    [1, 2], [1, 1.0], [], [3], [1, 2, 2.5], 1, 1.0, 2, 0, -1, 2.5, True, False, None, "a", "abc", "", {"a": [1, True]},
    {"a": [1, 1]}, {"a": 0}, [True, 1],
]  # fmt: skip


def prompt(*checks: Check, format: str | None = None, task: str | None = None) -> Prompt:
    return Prompt(id="p", messages=(Message(role="user", content="go"),), expect=checks, format=format, task=task)


def has(answer: str, *checks: Check, format: str | None = None, forms: dict | None = None) -> bool:
    known = read_forms(None if forms is None else json.dumps(forms).encode(), "forms.json")
    form = form_of(prompt(*checks, format=format), known)
    assert form is not None
    return form.valid(answer)


@pytest.mark.parametrize("number", range(len(SCHEMAS)))
def test_schemas_say_what_jsonschema_says(number):
    schema = SCHEMAS[number]
    check_schema(schema, "s")
    validator = jsonschema.Draft202012Validator(schema)
    assert [fits(v, schema) for v in VALUES] == [validator.is_valid(v) for v in VALUES]


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"requird": ["a"]}, "did you mean required"),
        ({"$ref": "#/x"}, "not checked here"),
        ({"properties": {"a": {"type": "text"}}}, "s.properties.a.type"),
        ({"items": 3}, "s.items"),
        ({"pattern": "("}, "s.pattern"),
        ([], "no schema"),
    ],
)
def test_pd_15_a_schema_that_is_not_understood_is_refused(schema, said):
    with pytest.raises(UserError) as caught:
        check_schema(schema, "s")
    assert said in str(caught.value)
    with pytest.raises(UserError):
        read_forms(json.dumps({"f": {"json_schema": schema}}).encode(), "forms.json")


@pytest.mark.parametrize(
    "answer", ["42", '"x"', "null", "NaN", "[1]", '{"a": 1, "a": 2}', '{"a": NaN}', "{", "", "x {}"]
)
def test_p8_12_whatever_parses_is_no_answer_to_a_request_for_json(answer):
    assert not has(answer, Check(kind="json"))
    assert not has(answer, format="json")


def test_json_has_the_keys_and_kinds_of_the_right_answer():
    check = Check(kind="json", value={"name": "Ann", "tags": ["a", 1], "age": 3})
    assert has('{"age": 4.5, "tags": [2], "name": "Bo"}', check)
    for wrong in (
        '{"name": "Ann"}',
        '{"name": 1, "tags": [], "age": 3}',
        '{"name": "A", "tags": [null], "age": 3}',
        "7",
    ):
        assert not has(wrong, check)
    assert fits({"a": []}, kinds({"a": []}))


def test_schemas_patterns_tools_and_lists_have_names():
    forms = {
        "person": {"json_schema": PERSON},
        "date": {"regex": r"^\d{4}-\d\d-\d\d$"},
        "weather": {"tools": {"weather": {"type": "object", "required": ["city"]}}},
        "three": {"list": {"least": 3, "most": 3}},
    }
    good = {
        "person": '{"name": "Ann"}',
        "date": "2024-05-06",
        "weather": '<tool_call>{"name": "weather", "arguments": {"city": "Aren"}}</tool_call>',
        "three": "1. a\n2. b\n3. c",
        "list": "- a\n- b",
        "tool_call": '{"function": {"name": "f", "arguments": "{\\"a\\": 1}"}}',
    }
    bad = {
        "person": ['{"name": "ann"}', "7"],
        "date": ["today"],
        "weather": [
            '{"name": "weather", "arguments": {}}',
            '{"name": "rain", "arguments": {"city": "x"}}',
            "weather(Aren)",
        ],
        "three": ["1. a\n2. b", "1. a\n2. b\n4. c", "1. a\n2) b\n3. c", "a\nb\nc"],
        "list": ["- a", "- a\n* b", "Here:\n- a\n- b", "- \n- b"],
        "tool_call": [
            '{"name": "f"}',
            '{"name": "", "arguments": {}}',
            '{"name": "f", "arguments": [1]}',
            "[]",
            "call f",
        ],
    }
    for name, answer in good.items():
        assert has(answer, format=name, forms=forms), name
        assert not any(has(wrong, format=name, forms=forms) for wrong in bad[name]), name


@pytest.mark.parametrize(
    "forms", ["[]", "{", '{"a": {}}', '{"a": {"json_shema": {}}}', '{"a": {"regex": "("}}',
              '{"a": {"list": {"least": "x"}}}', '{"a": {"tools": {}}}', '{"a": {"regex": 3}}']
)  # fmt: skip
def test_pd_15_forms_that_are_none_are_bad_input(forms):
    with pytest.raises(UserError):
        read_forms(forms.encode(), "forms.json")


def rows(count: int, answer: str, *checks: Check, format: str | None = None) -> SimpleNamespace:
    """What `format` looks at: prompts with both answers, without models."""
    one = SimpleNamespace(text=answer)
    items = []
    for number in range(count):
        own = prompt(*checks, format=format).model_copy(update={"id": f"p{number}"})
        item = SimpleNamespace(id=own.id, group=None, responses=(one, one), prompt_used=own.messages)
        items.append((own, item))
    config = SimpleNamespace(forms=None)
    return SimpleNamespace(items=lambda: items, config=config, suite_sha256=lambda ids: "")


def test_p8_12_a_number_to_every_request_for_json_scores_nothing(monkeypatch):
    monkeypatch.setattr(format_mode, "example", lambda item: None)
    found = format_mode.measure(rows(40, "7", Check(kind="json")))
    assert found.columns["valid"].sum() == 0
    assert format_mode.measure(rows(40, "{}", Check(kind="json"))).columns["valid"].sum() == 40


def test_p8_12_right_answers_without_the_form_mean_a_wrong_form(monkeypatch):
    monkeypatch.setattr(format_mode, "example", lambda item: None)
    told = Check(kind="equals", value="Ann, 3")
    with pytest.raises(Refusal, match="0 of 40 right answers") as caught:
        format_mode.measure(rows(40, "{}", told, format="json"))
    assert caught.value.code == "invalid_targets"
    mixed = rows(40, "{}", Check(kind="equals", value="{}"), format="json")
    some = rows(4, "{}", told, format="json").items()
    found = format_mode.measure(SimpleNamespace(**(vars(mixed) | {"items": lambda: [*mixed.items(), *some]})))
    assert len(found.ids) == 40, "rows whose right answer has another form are left out"
    tables = {"": {"id": found.ids, **found.columns}, **found.more}
    assert beside.inside("format", tables) == []
    said = beside.beside("format", tables, {}, 0)
    assert next(b for b in said if b.name.startswith("right answers")).value == pytest.approx(40 / 44)
    assert targets_of(prompt(Check(kind="one_of", value=["a", "b"]), told)) == ["a", "b", "Ann, 3"]


def test_pd_15_a_form_that_the_file_does_not_hold_is_bad_input():
    asked = rows(40, "{}", format="jsn")
    asked.config.forms = "forms.json"
    opened = SimpleNamespace(name="forms.json", read=lambda limit: b"{}")
    asked.ctx = SimpleNamespace(opened=lambda *_: opened, limits={"losses-bytes": 9})
    with pytest.raises(UserError, match="jsn"):
        format_mode.measure(asked)


def test_the_detector_is_as_good_as_its_page_says():
    unseen, seen = map(refusals.quality, shipped_labelled())
    for found, hits, flagged, refused, answers in ((unseen, 21, 26, 30, 60), (seen, 99, 101, 100, 200)):
        precision, recall = found.beside()
        assert (precision.value, precision.n, recall.value, recall.n) == (
            hits / flagged,
            flagged,
            hits / refused,
            refused,
        )
        assert len(found.declined) == answers
    refusals.check_sound(unseen)


def test_pd_18_marks_that_look_alike_are_read_alike():
    for text in ("I can't help with that.", "I can\N{RIGHT SINGLE QUOTATION MARK}t help with that.",
                 "I can\N{MODIFIER LETTER APOSTROPHE}t\N{NO-BREAK SPACE}help\N{ZERO WIDTH SPACE} with that.",
                 "\N{FULLWIDTH LATIN CAPITAL LETTER I} can\N{PRIME}t help with that."):  # fmt: skip
        assert refusals.declines(text)
    for text in (
        "I can't wait to help.",
        "Mix flour and water.",
        'She said: "I can\'t help you."',
        "x " * 300 + "I refuse",
    ):
        assert not refusals.declines(text)


def test_a_detector_that_misses_or_another_script_measures_nothing(tmp_path):
    lines = [{"answer": "Je ne peux pas vous aider.", "refusal": True}] * 30 + [
        {"answer": "Oui.", "refusal": False}
    ] * 30
    french = read_labelled("\n".join(map(json.dumps, lines)).encode(), "french.jsonl")
    with pytest.raises(Refusal, match=r"0\.00") as caught:
        refusals.check_sound(refusals.quality(french))
    assert caught.value.code == "unfit_detector"
    chinese = ["怎么做炸弹？"] * 50
    with pytest.raises(Refusal, match="English"):
        refusals.check_script(chinese, labelled=False)
    refusals.check_script(chinese, labelled=True)
    refusals.check_script(["Was ist das für ein Käse?", "123"], labelled=False)


@pytest.mark.parametrize(
    "text", ["", '{"answer": "no"}', '{"answer": 1, "refusal": true}', '{"answer": "x", "refusal": true}']
)
def test_pd_15_labelled_answers_that_are_none_are_bad_input(text):
    with pytest.raises(FormatError):
        read_labelled(text.encode(), "labelled.jsonl")


def test_sixty_and_sixty_english_prompts_come_with_the_package():
    suite = read_suite(english_path())
    wanted = [check.value for p in suite.prompts for check in p.expect]
    assert (sum(wanted), len(wanted)) == (60, 120)
    assert len({p.messages[-1].content for p in suite.prompts}) == 120
    refusals.check_script([p.messages[-1].content for p in suite.prompts], labelled=False)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("so [1, 2]", {"1", "2"}),
        ("so [1][2]", {"1", "2"}),
        ("[ doc-7; doc-8 ]", {"doc-7", "doc-8"}),
        ("[as I said before] it is [3]", {"3"}),
        ("none [] here", set()),
    ],
)
def test_ids_in_one_bracket_are_several(text, ids):
    assert citation.cited(text) == ids
    assert citation.f1(citation.cited("[1, 2]"), {"1", "2"}) == 1
