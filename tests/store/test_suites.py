"""Suites are read strictly: every mistake has its line, nothing is guessed, nothing unfolds without bound."""

from __future__ import annotations

import itertools
import json
import time
from contextlib import suppress
from pathlib import Path
from textwrap import dedent

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from radiograph.core import ExitCode, FormatError, UserError
from radiograph.core.limits import SUITE_BYTES, YAML_ALIASES
from radiograph.organisms import world_suite
from radiograph.store import read_suite, suite_from_document, suite_sha256

HEAD = "schema: radiograph.suite/1\nsuite_name: s\n"


@pytest.fixture
def read(tmp_path: Path):
    def call(text: str | bytes, suffix: str = ".yaml"):
        path = tmp_path / f"s{suffix}"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_suite(path)

    return call


@pytest.fixture
def mistakes(read):
    """`line: text` of every mistake, for the part of a suite below its head."""

    def call(body: str, suffix: str = ".yaml") -> list[str]:
        with pytest.raises(UserError) as caught:
            read(HEAD + dedent(body) if suffix == ".yaml" else body, suffix)
        assert caught.value.exit_code is ExitCode.BAD_INPUT
        assert caught.value.where is not None
        return [line.strip().removeprefix(f"s{suffix}:") for line in caught.value.where.splitlines()]

    return call


def check(text: str) -> str:
    return f"prompts:\n  - id: a\n    prompt: hi\n    expect:\n      - {text}\n"


class TestWhatIsRead:
    SPEC = HEAD + dedent(
        """
        generation: {max_new_tokens: 32, seeds: [0, 1]}
        system_prompt: "Answer briefly."
        factors: {core: nominal, type: nominal, level: ordinal}
        prompts:
          - {id: bread-1, prompt: "How do I make bread?", bank: policy, group: bread,
             factors: {core: bread, type: question, level: 1},
             expect: [{kind: refusal, value: false}, {kind: contains_any, value: [flour, water]}]}
          - {id: bread-2, prompt: "Bread, please.", system_prompt: null}
          - {id: sum-7, bank: capability, task: sums, expect: [{kind: number, value: 42}],
             messages: [{role: system, content: "A number."}, {role: user, content: "17 + 25 ="}]}
          - {id: cont, prefill: true, messages: [{role: user, content: Go}, {role: assistant, content: "Well,"}]}
        expand:
          - {id: "wx-{i}", group: weather, template: ["Weather in {town}?", "{town}, weather?"], slots: {town: [A, B]}}
        """
    )

    def test_every_form_of_the_format(self, read):
        suite = read(self.SPEC)
        told = {p.id: [(m.role, m.content) for m in p.messages] for p in suite.prompts}
        assert told["bread-1"] == [("system", "Answer briefly."), ("user", "How do I make bread?")]
        assert told["bread-2"] == [("user", "Bread, please.")]
        assert told["sum-7"] == [("system", "A number."), ("user", "17 + 25 =")]
        assert told["cont"][-1] == ("assistant", "Well,")
        assert [told[f"wx-{i}"][-1][1] for i in range(4)] == [
            "Weather in A?",
            "Weather in B?",
            "A, weather?",
            "B, weather?",
        ]
        assert suite.generation.max_new_tokens == 32
        assert [p.id for p in suite.bank("policy", "capability")] == ["bread-1", "sum-7"]

    def test_name_is_an_alias(self, read):
        assert read("schema: radiograph.suite/1\nname: n\nprompts: [{id: a, prompt: hi}]").suite_name == "n"

    def test_yaml_json_and_plain_data_give_the_same_hash(self, read):
        document = yaml.safe_load(self.SPEC)
        ways = [
            read(self.SPEC),
            read(json.dumps(document), ".json"),
            read(json.dumps(document, indent="\t"), ".json"),
            suite_from_document(document, "memory"),
        ]
        assert len({suite_sha256(suite) for suite in ways}) == 1

    def test_a_template_and_its_prompts_written_out_give_the_same_hash(self, read):
        rows = [f"  - {{id: t-{i}, prompt: '{a} {b}?', group: {a}}}" for i, (a, b) in enumerate(TOWNS)]
        short = "expand:\n  - {id: 't-{i}', template: '{a} {b}?', group: '{a}', slots: {a: [x, y], b: [u, v, w]}}"
        assert suite_sha256(read(HEAD + short)) == suite_sha256(read(HEAD + "prompts:\n" + "\n".join(rows)))

    def test_json_is_read_as_json(self, read):
        """YAML 1.1 reads 1e3 as text and knows no surrogate pairs."""
        row = '{"id": "a", "prompt": "hi \\ud83d\\ude00", "expect": [{"kind": "number", "value": 1e3}]}'
        suite = read(f'{{"schema": "radiograph.suite/1", "suite_name": "s", "prompts": [{row}]}}', ".json")
        assert suite.prompts[0].messages[0].content == "hi \N{GRINNING FACE}"
        assert suite.prompts[0].expect[0].value == 1000.0

    def test_mistakes_in_json_have_lines_too(self, mistakes):
        text = '{\n\t"schema": "radiograph.suite/1",\n\t"suite_name": "\\ud83d\\ude00",\n\t"prmpts": []\n}'
        assert mistakes(text, ".json") == ["4: unknown suite key 'prmpts'; did you mean 'prompts'?"]

    def test_anchors_and_merges_keep_working(self, read):
        text = "prompts:\n  - &a {id: a, prompt: hi, group: g}\n  - {<<: *a, id: b}\n"
        assert [(p.id, p.group) for p in read(HEAD + text).prompts] == [("a", "g"), ("b", "g")]

    def test_the_world_suite_is_read(self):
        document = world_suite()
        assert len(suite_from_document(document, "world").prompts) == len(document["prompts"])

    def test_plain_data_without_lines_has_no_line_zero(self):
        with pytest.raises(UserError, match="1 mistake") as caught:
            suite_from_document({"schema": "radiograph.suite/1", "suite_name": "s", "prompts": []}, "memory")
        assert caught.value.where == "memory: the suite has no prompts"


TOWNS = list(itertools.product("xy", "uvw"))


class TestMistakes:
    """(body, line of the file, what the message must say): the head is lines 1 and 2."""

    CASES = (
        ("prompts: [{id: a, prompt: hi}]\nprompt: x", 4, "unknown suite key 'prompt'; did you mean 'prompts'?"),
        ("prompts:\n  - {id: a, prompt: hi, prompt: ho}", 4, "key 'prompt' stands twice"),
        ("prompts:\n  - {id: a, prompt: hi}\n\n  - {id: a, prompt: ho}", 6, "duplicate id 'a', first on line 4"),
        ("prompts:\n  - {id: 'a b', prompt: hi}", 4, "id 'a b' must be"),
        ("prompts:\n  - id: 007\n    prompt: hi", 4, "id 7 must be text"),
        ("prompts:\n  - prompt: hi", 4, "has no id"),
        ("prompts:\n  - {id: a}", 4, "exactly one of prompt and messages"),
        (
            "prompts:\n  - {id: a, prompt: x, messages: [{role: user, content: x}]}",
            4,
            "exactly one of prompt and messages",
        ),
        ("prompts:\n  - id: a\n    prompt: '  '", 5, "non-empty text"),
        ("prompts:\n  - id: a\n    messages: []", 5, "messages must be a list"),
        ("prompts:\n  - id: a\n    messages:\n      - {role: bot, content: x}", 6, "unknown role 'bot'"),
        ("prompts:\n  - id: a\n    messages:\n      - {rol: user, content: x}", 6, "did you mean 'role'?"),
        ("prompts:\n  - id: a\n    messages:\n      - {role: user, content: ''}", 6, "content must be"),
        ("prompts:\n  - id: a\n    messages: [{role: assistant, content: x}]", 5, "must end in user"),
        ("prompts:\n  - {id: a, prompt: x, prefill: true}", 4, "must end in assistant"),
        ("prompts:\n  - id: a\n    prompt: x\n    prefill: 'no'", 6, "prefill must be true or false"),
        (
            "prompts:\n  - id: a\n    prefill: true\n    messages: [{role: assistant, content: x}]",
            6,
            "hold no user turn",
        ),
        (
            "prompts:\n  - id: a\n    system_prompt: s\n"
            "    messages: [{role: system, content: x}, {role: user, content: y}]",
            5,
            "beside a system message",
        ),
        ("system_prompt: no\nprompts: [{id: a, prompt: hi}]", 3, "system_prompt must be a non-empty text"),
        ("prompts:\n  - id: a\n    prompt: hi\n    bank: polcy", 6, "unknown bank 'polcy'; did you mean 'policy'?"),
        ("prompts:\n  - id: a\n    prompt: hi\n    group: 3", 6, "group must be a non-empty text, got 3"),
        ("prompts:\n  - {id: a, prompt: hi, bank: capability, task: t}", 4, "needs task and expect"),
        ("factors: {level: ordinl}\nprompts: [{id: a, prompt: hi}]", 3, "must be nominal or ordinal"),
        ("factors: {1: nominal}\nprompts: [{id: a, prompt: hi}]", 3, "the name of factor 1 must be text"),
        (
            "factors: {level: ordinal}\nprompts:\n  - {id: a, prompt: hi, factors: {levl: 3}}",
            5,
            "did you mean 'level'?",
        ),
        ("prompts:\n  - {id: a, prompt: hi, factors: {level: 3}}", 4, "declare it at the top"),
        ("factors: {f: ordinal}\nprompts:\n  - {id: a, prompt: hi, factors: {f: x}}", 5, "needs a number, got 'x'"),
        ("factors: {f: ordinal}\nprompts:\n  - {id: a, prompt: hi, factors: {f: .nan}}", 5, "must be finite"),
        ("factors: {f: nominal}\nprompts:\n  - {id: a, prompt: hi, factors: {f: yes}}", 5, "so quote it"),
        ("generation: {max_tokens: 3}\nprompts: [{id: a, prompt: hi}]", 3, "did you mean 'max_new_tokens'?"),
        ("generation:\n  temperature: 0\nprompts: [{id: a, prompt: hi}]", 4, "generation.temperature"),
        ("generation:\n  seeds: []\nprompts: [{id: a, prompt: hi}]", 4, "generation.seeds"),
        ("generation: 3\nprompts: [{id: a, prompt: hi}]", 3, "generation must be a mapping"),
        ("prompts: {a: hi}", 3, "prompts must be a list"),
        ("prompts:\n  - hi", 4, "prompts[0] must be a mapping"),
        ("prompts: []", 1, "no prompts"),
        ("name: t\nprompts: [{id: a, prompt: hi}]", 3, "keep one"),
        ("expand:\n  - {id: 'a{i}', template: '{x}', slots: {y: [1]}}", 4, "slot 'y' is used nowhere"),
        ("expand:\n  - id: 'a{i}'\n    template: '{x} {z}'\n    slots: {x: [1]}", 5, "a slot 'z' that is not there"),
        ("expand:\n  - id: 'a{i}'\n    template: 'set {'", 5, "write {{ and }} for braces"),
        ("expand:\n  - id: 'a{i}'\n    template: '{x.__class__}'\n    slots: {x: [1]}", 5, "and nothing more"),
        ("expand:\n  - id: 'a{i}'\n    template: '{x:>9999999}'\n    slots: {x: [1]}", 5, "and nothing more"),
        ("expand:\n  - id: 'a{i}'\n    template: '{x}'\n    slots:\n      x: [on, off]", 7, "so quote them"),
        ("expand:\n  - id: 'a{i}'\n    template: '{i}'\n    slots:\n      i: [1]", 7, "the counter"),
        ("expand:\n  - {id: 'a{i}', template: '{x}', slots: {x: []}}", 4, "lists of values"),
        ("expand:\n  - {id: 'a{i}', slots: {x: [1]}}", 4, "needs a template"),
        ("expand:\n  - {id: a, template: '{x}', slots: {x: [1, 2]}}", 4, "duplicate id 'a', first on line 4"),
        ("expand:\n  - {id: 'a{i}', template: hi, prompt: ho}", 4, "unknown expand key 'prompt'"),
    )

    @pytest.mark.parametrize(("body", "line", "says"), CASES, ids=[says for *_, says in CASES])
    def test_has_its_line_and_says_what_is_wrong(self, body, line, says, mistakes):
        found = mistakes(body)
        assert [f for f in found if f.startswith(f"{line}: ") and says in f], found

    CHECKS = (
        ("{kind: contain, value: [x]}", "did you mean"),
        ("{value: [x]}", "a mapping with a kind"),
        ("{kind: equals, value: x, tolerence: 1}", "did you mean 'tolerance'?"),
        ("{kind: equals, value: no}", "non-empty text"),
        ("{kind: one_of, value: x}", "list of non-empty texts"),
        ("{kind: contains_any, value: ['']}", "list of non-empty texts"),
        ("{kind: contains_all, value: [4]}", "list of non-empty texts"),
        ("{kind: number, value: '42'}", "finite number"),
        ("{kind: number, value: .inf}", "finite number"),
        (f"{{kind: number, value: 1{'0' * 400}}}", "finite number"),
        ("{kind: number, value: 1, tolerance: -1}", "tolerance"),
        ("{kind: json, value: 2024-01-01}", "plain JSON"),
        ("{kind: json, value: .nan}", "plain JSON"),
        ("{kind: refusal, value: 1}", "true or false"),
        ("{kind: max_words, value: 0}", "positive whole number"),
        ("{kind: choice, options: [a], answer: a}", "two or more"),
        ("{kind: choice, options: [a, a], answer: a}", "different"),
        ("{kind: choice, options: [a, b], answer: c}", "answer among them"),
        ("{kind: oracle, value: delphi}", "the only oracle"),
        ("{kind: regex, value: 'a('}", "brings samples"),
        ("{kind: regex, value: 'a(', accepts: [a], rejects: [b]}", "invalid pattern"),
        ("{kind: regex, value: 'a', accepts: [b], rejects: [a]}", "misses ['b'] and matches ['a']"),
        (f"{{kind: regex, value: '{'a' * 501}', accepts: [a], rejects: [b]}}", "at most 500"),
    )

    @pytest.mark.parametrize(("text", "says"), CHECKS, ids=[text[:50] for text, _ in CHECKS])
    def test_a_check_that_could_not_fail_or_pass_is_one(self, text, says, mistakes):
        found = mistakes(check(text))
        assert len(found) == 1
        assert found[0].startswith("7: ")
        assert says in found[0]

    def test_all_of_them_at_once_in_the_order_of_the_file(self, mistakes):
        rows = "\n".join(f"  - {{id: a{i}, prompt: hi, bnk: probe}}" for i in range(40))
        found = mistakes(f"prompts:\n{rows}")
        assert [int(line.partition(":")[0]) for line in found] == list(range(4, 44))

    def test_the_same_one_in_each_prompt_of_a_template_counts_once(self, mistakes):
        row = "{id: 'a{i}', bank: polcy, template: '{x}', slots: {x: [1, 2, 3]}}"
        assert len(mistakes(f"expand:\n  - {row}")) == 1

    @pytest.mark.parametrize("text", ["", "[]", "hello", "3", "null"])
    def test_what_is_no_mapping_is_no_suite(self, text, read):
        with pytest.raises(FormatError, match="is not a suite"):
            read(text)

    @pytest.mark.parametrize(("schema", "says"), [("", "missing"), ("schema: radiograph.suite/2\n", "suite/2")])
    def test_the_schema_is_asked_for(self, schema, says, read):
        with pytest.raises(UserError) as caught:
            read(f"{schema}suite_name: s\nprompts: [{{id: a, prompt: hi}}]")
        assert says in str(caught.value)

    @pytest.mark.parametrize("body", ["suite_name: ''\n", "suite_name: 3\n", ""])
    def test_the_name_is_asked_for(self, body, read):
        with pytest.raises(UserError, match="1 mistake"):
            read(f"schema: radiograph.suite/1\n{body}prompts: [{{id: a, prompt: hi}}]")


class TestLimits:
    def test_syntax_has_its_line(self, read):
        with pytest.raises(FormatError) as caught:
            read(HEAD + "prompts:\n  - {id: a, prompt: 'hi}\n")
        assert caught.value.where == "s.yaml:5"
        with pytest.raises(FormatError) as caught:
            read('{\n "schema": \n}', ".json")
        assert caught.value.where == "s.json:3"

    @pytest.mark.parametrize("byte", [b"\xff", b"\x07"])
    def test_bytes_that_are_no_text_have_their_line(self, byte, read):
        with pytest.raises(FormatError) as caught:
            read(HEAD.encode() + b'prompts:\n  - {id: a, prompt: "' + byte + b'"}\n')
        assert caught.value.where == "s.yaml:4"

    def test_no_objects_are_built(self, read):
        with pytest.raises(FormatError, match="not valid YAML"):
            read(HEAD + "prompts: !!python/object/apply:os.getcwd []")

    def test_size(self, read):
        with pytest.raises(FormatError, match="larger than 8 MiB"):
            read(b"#" * (SUITE_BYTES + 1))

    def test_number_of_aliases(self, read):
        rows = "\n".join(f"  - {{id: a{i}, prompt: *t}}" for i in range(YAML_ALIASES))
        one = f"prompts:\n  - {{id: a, prompt: &t hi}}\n{rows}\n"
        assert len(read(HEAD + one).prompts) == YAML_ALIASES + 1
        with pytest.raises(FormatError, match="101 aliases"):
            read(HEAD + one + "  - {id: b, prompt: *t}\n")

    def test_few_aliases_that_unfold_to_very_much(self, read):
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
        began = time.perf_counter()
        with pytest.raises(FormatError, match="unfold"):
            read(HEAD + "\n".join(lines))
        assert time.perf_counter() - began < 5

    @pytest.mark.parametrize(("text", "suffix"), [("[" * 9000 + "]" * 9000, ".yaml"), ("[" * 99999, ".json")])
    def test_nesting(self, text, suffix, read):
        with pytest.raises(FormatError, match="nested too deep"):
            read(text, suffix)

    def test_an_alias_of_itself(self, read):
        with pytest.raises(FormatError, match="nested too deep"):
            read(HEAD + "prompts: &p [*p]")

    def test_a_template_that_makes_too_many_prompts_is_not_filled(self, mistakes):
        slots = ", ".join(f"{c}: [{', '.join(map(str, range(100)))}]" for c in "uvwxyz")
        began = time.perf_counter()
        found = mistakes(
            f"expand:\n  - {{id: 'a{{i}}', template: '{{u}}{{v}}{{w}}{{x}}{{y}}{{z}}', slots: {{{slots}}}}}"
        )
        assert "makes 1000000000000 prompts, at most 20000" in found[0]
        assert time.perf_counter() - began < 1

    def test_too_many_prompts(self, mistakes):
        row = "{{id: '{name}{{i}}', template: '{{x}}', slots: {{x: [{values}]}}}}"
        values = ", ".join(map(str, range(10_001)))
        found = mistakes("expand:\n" + "\n".join("  - " + row.format(name=n, values=values) for n in "ab"))
        assert "20002 prompts, at most 20000" in found[0]

    def test_a_pattern_that_never_ends_is_stopped(self, mistakes):
        body = check(f"{{kind: regex, value: '(a|aa)+$', accepts: [a], rejects: ['{'a' * 60}b']}}")
        began = time.perf_counter()
        assert "too long" in mistakes(body)[0]
        assert time.perf_counter() - began < 2

    def test_a_folder_and_nothing_are_no_suites(self, tmp_path):
        for path in (tmp_path, tmp_path / "absent.yaml"):
            with pytest.raises(UserError, match="is not a file"):
                read_suite(path)


class TestTemplates:
    def test_order_is_template_then_slots_as_written(self, read):
        text = "expand:\n  - {id: 'p-{i}', template: ['1{a}{b}', '2{a}{b}'], slots: {b: [x, y], a: [u, v]}}"
        found = {p.id: p.messages[0].content for p in read(HEAD + text).prompts}
        expected = [f"{t}{a}{b}" for t in "12" for b in "xy" for a in "uv"]
        assert list(found.values()) == expected
        assert list(found) == [f"p-{i}" for i in range(8)]

    def test_slots_reach_id_group_format_and_factors_and_keep_numbers(self, read):
        text = dedent(
            """
            factors: {level: ordinal, core: nominal}
            expand:
              - {id: "{c}-{n}", group: "g-{c}", format: "f{n}", factors: {level: "{n}", core: "the {c}"},
                 template: "{c} {{kept}} {n}", slots: {c: [tea], n: [3]}}
            """
        )
        prompt = read(HEAD + text).prompts[0]
        assert (prompt.id, prompt.group, prompt.format) == ("tea-3", "g-tea", "f3")
        assert prompt.factors == {"level": 3, "core": "the tea"}
        assert prompt.messages[0].content == "tea {kept} 3"

    def test_checks_are_taken_as_written(self, read):
        text = "expand:\n  - {id: a, template: '{x}', slots: {x: [1]}, expect: [{kind: equals, value: '{x}'}]}"
        assert read(HEAD + text).prompts[0].expect[0].value == "{x}"

    @given(st.text(max_size=30))
    def test_no_template_raises_anything_but_a_mistake(self, template):
        row = {"id": "a{i}", "template": template, "slots": {"x": ["1"]}}
        document = {"schema": "radiograph.suite/1", "suite_name": "s", "expand": [row]}
        with suppress(UserError):
            suite_from_document(document, "memory")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["id", "prompt", "messages", "bank", "task", "group", "factors", "expect", "prefill", "slots"])


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "factors": JSON,
            "generation": JSON,
            "system_prompt": JSON,
            "prompts": st.lists(st.dictionaries(KEYS, JSON, max_size=5), max_size=3) | JSON,
            "expand": st.lists(st.dictionaries(KEYS | st.just("template"), JSON, max_size=5), max_size=3) | JSON,
        },
    )
)
def test_no_document_raises_anything_but_a_mistake(document):
    with suppress(UserError):
        suite_from_document({"schema": "radiograph.suite/1", "suite_name": "s", **document}, "memory")
