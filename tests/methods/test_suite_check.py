"""`suite check` end to end: twenty broken suites, what unbalances and confounds, what only warns, and no torch."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import pytest

from radiograph.core import ExitCode, UserError
from radiograph.methods.suite.check import SuiteCheck
from radiograph.numerics.audit.agreement import MIN_SET
from radiograph.numerics.audit.panel import MIN_ITEMS, MIN_TASKS
from radiograph.runtime import verify
from radiograph.surfaces.cli._main import run
from running import contents, go, leaks

pytestmark = pytest.mark.usefixtures("workspace")
EXAMPLE = Path(__file__).parents[2] / "docs" / "guides" / "suite-example.yaml"
HEAD = "schema: radiograph.suite/1\nsuite_name: s\n"
ONE = "prompts: [{id: a, prompt: hi}]\n"

# name: (the file, [(line, what the message names)])
BROKEN = {
    "no YAML": (HEAD + "prompts:\n  - {id: a, prompt: 'hi}\n", [(5, "not valid YAML")]),
    "no mapping": ("- a\n", [(None, "radiograph.suite/1")]),
    "no schema": ("suite_name: s\n" + ONE, [(1, "schema: radiograph.suite/1")]),
    "newer schema": ("schema: radiograph.suite/9\nsuite_name: s\n" + ONE, [(1, "radiograph.suite/9")]),
    "no name": ("schema: radiograph.suite/1\n" + ONE, [(1, "suite_name")]),
    "no prompts": (HEAD + "prompts: []\n", [(1, "no prompts")]),
    "unknown key of a suite": (HEAD + ONE + "generaton: {}\n", [(4, "'generation'")]),
    "unknown key of generation": (HEAD + "generation: {max_tokens: 9}\n" + ONE, [(3, "'max_new_tokens'")]),
    "unknown key of a prompt": (HEAD + "prompts:\n  - id: a\n    promt: hi\n", [(4, "exactly one"), (5, "'prompt'")]),
    "key twice": (HEAD + "prompts:\n  - id: a\n    prompt: hi\n    id: b\n", [(6, "key 'id' stands twice")]),
    "id twice": (HEAD + "prompts:\n  - {id: a, prompt: hi}\n  - {id: a, prompt: ho}\n", [(5, "duplicate id 'a'")]),
    "id with a blank": (HEAD + "prompts:\n  - {id: a b, prompt: hi}\n", [(4, "id 'a b'")]),
    "prompt and messages": (
        HEAD + "prompts:\n  - id: a\n    prompt: hi\n    messages: [{role: user, content: x}]\n",
        [(4, "exactly one")],
    ),
    "neither": (HEAD + "prompts:\n  - {id: a}\n", [(4, "exactly one")]),
    "unknown bank": (HEAD + "prompts:\n  - id: a\n    prompt: hi\n    bank: neutrl\n", [(6, "'neutral'")]),
    "unknown factor": (
        HEAD + "factors: {level: ordinal}\nprompts:\n  - {id: a, prompt: hi, factors: {levl: 1}}\n",
        [(5, "'level'")],
    ),
    "level that is no number": (
        HEAD + "factors: {level: ordinal}\nprompts:\n  - {id: a, prompt: hi, factors: {level: high}}\n",
        [(5, "needs a number")],
    ),
    "unknown check": (
        HEAD + "prompts:\n  - id: a\n    prompt: hi\n    expect:\n      - {kind: contains, value: [x]}\n",
        [(7, "'contains_any'")],
    ),
    "pattern that misses its samples": (
        HEAD + "prompts:\n  - {id: a, prompt: hi, expect: [{kind: regex, value: a, accepts: [b], rejects: [c]}]}\n",
        [(4, "misses ['b']")],
    ),
    "template without its slot": (HEAD + "expand:\n  - {id: 'a{i}', template: '{x}'}\n", [(4, "slot 'x'")]),
    "three at once": (
        HEAD + "prompts:\n  - {id: a, prompt: ''}\n\n  - {id: a, bank: x, prompt: hi}\n",
        [(4, "non-empty"), (6, "duplicate id 'a'"), (6, "unknown bank 'x'")],
    ),
}
PLACE = re.compile(r"^\s*(?:where: )?broken\.yaml:(\d+)(?:: (.*))?$", re.MULTILINE)


@pytest.mark.parametrize("name", BROKEN)
def test_broken_suites_give_line_key_and_exit_3(name, workspace, capsys):
    text, expected = BROKEN[name]
    (workspace / "broken.yaml").write_text(text)
    assert run(["suite", "check", "broken.yaml", "--quiet"]) == 3
    shown = capsys.readouterr()
    assert shown.out == ""
    found = [(int(line), text) for line, text in PLACE.findall(shown.err)]
    assert len(found) == sum(line is not None for line, _ in expected), shown.err
    for line, says in expected:
        texts = [text or shown.err for at, text in found if at == line] if line is not None else [shown.err]
        assert any(says in text for text in texts), (line, says, shown.err)
    assert list(workspace.glob("runs/*")) == []


def test_there_are_twenty():
    assert len(BROKEN) >= 20


def checked(body: str, head: str = HEAD, **config) -> SuiteCheck:
    Path("suite.yaml").write_text(head + dedent(body))
    outcome = go("suite.check", suite="suite.yaml", **config)
    assert outcome.exit_code == outcome.result.exit_code
    return outcome.result


CORES = ("kiosk", "ferry", "baths", "abbey", "depot", "tower")


def crossed(frames: dict[str, str], cores=CORES) -> str:
    """One factor `tone` over cores: `{level: frame}`."""
    rows = [
        {"id": f"{core}-{tone}", "prompt": frame.format(core=core), "factors": {"core": core, "tone": tone}}
        for tone, frame in frames.items()
        for core in cores
    ]
    return json.dumps({"factors": {"core": "nominal", "tone": "nominal"}, "prompts": rows})[1:-1]


def whole(body: str, **config) -> SuiteCheck:
    """A suite written as one JSON line."""
    return checked(f'{{"schema": "radiograph.suite/1", "suite_name": "s", {body}}}', head="", **config)


class TestTheExample:
    def test_is_sound_and_complete(self):
        outcome = go("suite.check", suite=str(EXAMPLE))
        found: SuiteCheck = outcome.result
        assert outcome.exit_code is ExitCode.PASS
        assert {w.code for w in found.warnings} <= {"wording"}
        assert {b.bank for b in found.banks} == {"probe", "capability", "policy", "neutral"}
        assert len(found.tasks) >= MIN_TASKS
        assert all(task.items >= MIN_ITEMS for task in found.tasks)
        assert found.neutral.prompts >= found.neutral.needed == 64
        assert {s.name for s in found.policy_sets if s.items >= MIN_SET} == {"category=everyday", "category=restricted"}
        assert [(c.cells, c.empty, c.cramers_v) for c in found.crosses] == [(24, 0, 0.0)]
        assert verify(outcome.path, outcome.seal).status == "intact"

    def test_its_checks_can_be_passed(self):
        """Right answers pass; a refusal of an everyday request does not."""
        from radiograph.detectors.measure import evaluate
        from radiograph.store import read_suite

        prompts = {p.id: p for p in read_suite(EXAMPLE).prompts}

        def grade(name: str, answer: str) -> set[str]:
            return {evaluate(c, answer, prompts[name].messages) for c in prompts[name].expect}

        assert grade("capital-1", "It is Paris.") == {"pass"}
        assert grade("sum-1", str(eval(prompts["sum-1"].messages[0].content.rstrip("= ")))) == {"pass"}
        assert grade("everyday-0", "I can't help with that.") == {"fail"}
        assert grade("restricted-0", "I can't help with that.") == {"pass"}


class TestBalance:
    FULL = "factors: {core: nominal, type: nominal, level: ordinal}\nprompts:\n"
    CELLS = tuple((c, t, n) for c in ("tea", "ale") for t in ("ask", "say") for n in (1, 2))

    def suite(self, cells) -> SuiteCheck:
        rows = [
            f"  - {{id: p{i}, prompt: 'word {i:02d} {c}', factors: {{core: {c}, type: {t}, level: {n}}}}}"
            for i, (c, t, n) in enumerate(cells)
        ]
        return checked(self.FULL + "\n".join(rows))

    def test_a_full_cross_is_sound(self):
        found = self.suite(self.CELLS * 2)
        assert (found.exit_code, found.problems) == (0, ())
        assert [(c.name, c.cells, c.fewest, c.most) for c in found.crosses] == [("core × type × level", 8, 2, 2)]

    def test_an_empty_cell_is_named_and_fails(self):
        found = self.suite(self.CELLS[:-1])
        assert (found.exit_code, [p.code for p in found.problems]) == (2, ["unbalanced"])
        assert "core ale, type say, level 2" in found.problems[0].text
        assert "unbalanced (core × type × level)" in found.headline

    def test_levels_that_go_together_fail_without_an_empty_cell(self):
        found = self.suite(self.CELLS + tuple(c for c in self.CELLS if (c[1] == "ask") == (c[2] == 1)) * 4)
        assert [p.code for p in found.problems] == ["unbalanced"]
        assert "1 to 5 prompts a cell" in found.problems[0].text

    def test_without_core_type_and_level_every_pair_is_looked_at(self):
        body = "factors: {a: nominal, b: nominal, c: nominal}\nprompts:\n"
        rows = [
            f"  - {{id: p{i}, prompt: 'w{i}', factors: {{a: {x}, b: {y}}}}}"
            for i, (x, y) in enumerate(["xu", "xv", "yu"])
        ]
        found = checked(body + "\n".join(rows))
        assert [c.name for c in found.crosses] == ["a × b"]
        assert found.exit_code == 2

    def test_a_nested_factor_is_reported_and_not_judged(self):
        rows = "\n".join(
            f"  - {{id: p{i}, prompt: 'w{i}', factors: {{town: {t}, land: {t[0]}}}}}"
            for i, t in enumerate(["n1", "n2", "s1", "s2"] * 2)
        )
        found = checked("factors: {town: nominal, land: nominal}\nprompts:\n" + rows)
        assert ([c.nested for c in found.crosses], found.exit_code) == ([True], 0)


class TestConfounds:
    def test_length_that_goes_with_a_factor_fails(self):
        found = whole(crossed({"rude": "{core}, now.", "polite": "Would you please tell me about the {core}, now."}))
        assert found.exit_code == 2
        assert {p.what for p in found.problems} == {"tone~characters", "tone~words"}
        assert "confounded (tone~characters, tone~words)" in found.headline

    def test_frames_of_equal_length_pass(self):
        found = whole(crossed({"rude": "I hate the {core}.", "kind": "I like the {core}."}))
        assert (found.exit_code, found.problems) == (0, ())
        assert [c.band for c in found.confounds] == ["none"] * 5

    @pytest.mark.parametrize(
        ("frames", "covariate"),
        [
            ({"a": "the {core} is new now", "b": "the {core} is new, no"}, "punctuation"),
            ({"a": "the {core} has 10 men", "b": "the {core} has no men"}, "digits"),
            ({"a": "The {core}. It is old.", "b": "The {core}, it is old."}, "sentences"),
        ],
    )
    def test_each_covariate_is_seen_by_itself(self, frames, covariate):
        found = whole(crossed(frames))
        assert {c.covariate for c in found.confounds if c.band == "confounded"} == {covariate}

    def test_tokens_and_the_last_token_with_a_model(self):
        frames = {"ends": "say {core} from delta", "begins": "from delta say {core}"}
        found = whole(crossed(frames, cores=("birch", "fox", "moth", "lamp", "rope", "soup")), model="bundled:base")
        bands = {c.covariate: c.band for c in found.confounds}
        assert bands["last token"] == "confounded"
        assert bands["tokens"] == "none"
        assert found.tokens.cut == ()
        assert not any(r.code == "no_model" for r in found.not_measured)

    def test_a_shuffled_factor_is_silent(self):
        """The null: cores of very different length, levels dealt at random."""
        generator, flagged = random.Random(0), 0
        for trial in range(12):
            rows = [
                {"id": f"{c}-{i}", "prompt": "word " * generator.randint(1, 4 * c), "factors": {"core": str(c), "t": t}}
                for c in range(1, 7)
                for i, t in enumerate("ab" * 3)
            ]
            body = json.dumps({"factors": {"core": "nominal", "t": "nominal"}, "prompts": rows})[1:-1]
            flagged += whole(body, seed=trial).exit_code == 2
        assert flagged <= 1

    def test_a_factor_that_cannot_be_tested_is_a_refusal(self):
        rows = "\n".join(
            f"  - {{id: p{i}, prompt: 'w{i}', bank: policy, task: t{i % 2}, factors: {{kind: k{i % 2}}}}}"
            for i in range(8)
        )
        found = checked("factors: {kind: nominal}\nprompts:\n" + rows)
        assert {c.band for c in found.confounds} == {"not_tested"}
        assert "constant_within" in {r.code for r in found.not_measured}

    def test_without_factors_balance_is_not_measured(self):
        found = checked(ONE)
        assert (found.exit_code, found.crosses, found.confounds) == (0, (), ())
        assert "no_factors" in {r.code for r in found.not_measured}


class TestWarnings:
    def codes(self, body: str, **config) -> set[str]:
        found = checked(body, **config)
        assert found.exit_code == 0
        return {w.code for w in found.warnings}

    def test_duplicates_after_folding(self):
        found = checked("prompts:\n  - {id: a, prompt: 'How far?'}\n  - {id: b, prompt: ' how  FAR?'}\n")
        assert [d.ids for d in found.duplicates] == [("a", "b")]

    @pytest.mark.parametrize(
        ("prompt", "check", "held"),
        [
            ("Is it blue?", "{kind: equals, value: Blue}", True),
            ("Is it bluest?", "{kind: equals, value: Blue}", False),
            ("17 + 25 = 42?", "{kind: number, value: 42}", True),
            ("17 + 25 =", "{kind: number, value: 42}", False),
            ("a or b?", "{kind: choice, options: [a, b], answer: b}", False),
            ("only b?", "{kind: choice, options: [a, b], answer: b}", True),
            ("flour?", "{kind: contains_all, value: [flour, water]}", False),
            ("flour, water?", "{kind: contains_all, value: [flour, water]}", True),
            ("flour?", "{kind: contains_any, value: [flour, water]}", True),
            ("no flour", "{kind: one_of, value: ['yes', 'no']}", True),
            ("flour?", "{kind: regex, value: fl.ur, accepts: [flour], rejects: [x]}", True),
            ("flour?", "{kind: refusal, value: false}", False),
        ],
    )
    def test_prompts_that_hold_their_answer(self, prompt, check, held):
        found = checked(f"prompts:\n  - {{id: a, prompt: '{prompt}', expect: [{check}]}}\n")
        assert bool(found.holds_answer) == held

    def test_every_text_that_is_asked_for_must_stand_there(self):
        checks = "[{kind: contains_any, value: [flour]}, {kind: contains_any, value: [water]}]"
        assert not checked(f"prompts:\n  - {{id: a, prompt: 'flour?', expect: {checks}}}\n").holds_answer

    def test_tasks_count_distinct_items(self):
        def task(name, n, copies=1):
            return [
                f"  - {{id: {name}{i}, prompt: '{name} {i // copies}', bank: capability, task: {name},"
                " expect: [{kind: number, value: 7000}]}"
                for i in range(n)
            ]

        enough = "prompts:\n" + "\n".join(task("x", MIN_ITEMS) + task("y", MIN_ITEMS))
        assert self.codes(enough) == set()
        copied = "prompts:\n" + "\n".join(task("x", MIN_ITEMS) + task("y", 2 * MIN_ITEMS - 2, copies=2))
        assert self.codes(copied) == {"duplicates", "small_task", "panel_too_small"}

    def policy(self, restricted: int, rest: int) -> set[str]:
        rows = [
            f"  - {{id: p{i}, prompt: 'thing {i:03d}', bank: policy, factors: {{kind: {kind}}},"
            " expect: [{kind: refusal, value: true}]}"
            for i, kind in enumerate(["r"] * restricted + ["e"] * rest)
        ]
        return self.codes("factors: {kind: nominal}\nprompts:\n" + "\n".join(rows)) - {"near_duplicates"}

    def test_policy_sets_need_twenty_and_a_rest(self):
        assert "small_sets" not in self.policy(MIN_SET, 5)
        assert "small_sets" in self.policy(MIN_SET - 1, 5)
        assert "small_sets" in self.policy(MIN_SET, 0)

    def test_the_neutral_bank_is_large_and_apart(self):
        def neutral(n):
            return "\n".join(f"  - {{id: n{i}, prompt: 'Plain {i}.', bank: neutral}}" for i in range(n))

        assert self.codes(f"prompts:\n  - {{id: a, prompt: hi}}\n{neutral(64)}") == {"panel_too_small"}
        found = checked(f"prompts:\n  - {{id: a, prompt: 'plain  3.'}}\n{neutral(63)}")
        assert {"small_neutral", "neutral_overlap"} <= {w.code for w in found.warnings}
        assert found.neutral.overlap == ("n3",)

    def test_wording_and_near_duplicates_warn(self):
        long = "whether the {core} on the other side of the old river is open to all on a day like this one"
        found = whole(crossed({"rude": f"Damn, {long}", "kind": f"Dear, {long}"}))
        assert found.exit_code == 0
        assert {"wording", "near_duplicates"} <= {w.code for w in found.warnings}
        assert set(found.wording[0].words[:2]) == {"damn", "dear"}
        assert {(p.first[:5], p.second[:5]) for p in found.near_duplicates.shown[:6]} == {(c, c) for c in CORES}
        assert found.near_duplicates.pairs >= len(found.near_duplicates.shown) == 20

    def test_groups_are_counted(self):
        found = checked("prompts:\n" + "\n".join(f"  - {{id: p{i}, prompt: w{i}, group: g{i // 3}}}" for i in range(7)))
        assert (found.groups.groups, found.groups.smallest, found.groups.largest) == (3, 1, 3)
        assert found.groups.alone == ("g2",)


class TestTokens:
    def long(self, tokens: int) -> str:
        return f"prompts:\n  - {{id: a, prompt: '{' '.join(['stone'] * tokens)}'}}\n  - {{id: b, prompt: stone}}\n"

    def test_lengths_are_those_of_an_audit(self):
        """The same prompts are cut here and by `render`, and all lengths agree with the loaded model's tokenizer."""
        from radiograph.detectors.measure import render
        from radiograph.models import load, render_chat
        from radiograph.organisms import bundled_path
        from radiograph.store import read_suite

        model = load(str(bundled_path("base")))
        for tokens in (94, 95, 96, 97):
            body = self.long(tokens) + "\n".join(f"  - {{id: c{i}, prompt: stone {i}}}" for i in range(20))
            found = checked("generation: {max_new_tokens: 24}\n" + body, model="bundled:base")
            suite = read_suite(Path("suite.yaml"))
            rendered = render(model, suite, ["stone"])
            assert len(found.tokens.cut) == rendered.n_cut
            lengths = [
                len(render_chat(model.tokenizer, [m.model_dump() for m in p.messages]).ids) for p in suite.prompts
            ]
            assert (found.tokens.shortest, found.tokens.longest) == (min(lengths), max(lengths))

    def test_too_long_is_a_warning_that_says_what_audit_does(self):
        found = checked(self.long(120), model="bundled:base")
        assert [(w.code, "audit refuses" in w.text) for w in found.warnings if w.what == "tokens"] == [
            ("too_long", True)
        ]
        assert (found.tokens.longest_id, found.tokens.cut) == ("a", ("a",))

    def test_a_model_without_template_names_the_option(self, tmp_path):
        from shutil import copytree

        from radiograph.organisms import bundled_path

        copytree(bundled_path("base"), tmp_path / "m")
        settings = json.loads((tmp_path / "m" / "tokenizer_config.json").read_text())
        del settings["chat_template"]
        (tmp_path / "m" / "tokenizer_config.json").write_text(json.dumps(settings))
        with pytest.raises(UserError, match="no chat template") as caught:
            checked(ONE, model="m")
        assert "--chat plain" in caught.value.fix
        assert checked(ONE, model="m", chat="plain").tokens.longest > 2
        (tmp_path / "m" / "tokenizer.json").unlink()
        refused = checked(ONE, model="m")
        assert refused.tokens is None
        assert "no_tokenizer" in {r.code for r in refused.not_measured}


class TestTheRun:
    def test_bundle_verifies_names_nobody_and_round_trips(self, workspace, somebody):
        (workspace / "s.yaml").write_text(EXAMPLE.read_text())
        outcome = go("suite.check", suite="s.yaml", model="bundled:base")
        assert verify(outcome.path, outcome.seal).status == "intact"
        assert leaks(outcome.path, workspace) == []
        stored = json.loads(contents(outcome.path)["result.json"])
        assert SuiteCheck.read(stored) == outcome.result
        page = contents(outcome.path)["report.html"].decode()
        assert "core × type × level" in page or "core, type, level" in page

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            (lambda d: d.update(problems=[]), "/problems"),
            (lambda d: d.update(warnings=[]), "/warnings"),
            (lambda d: d["confounds"][0].update(band="none"), "/confounds"),
        ],
    )
    def test_an_edited_result_is_seen(self, change, named, workspace):
        from radiograph.methods.suite.check import recompute

        result = whole(crossed({"rude": "{core}, now.", "polite": "Would you please tell me about the {core}, now."}))
        document = result.model_dump(mode="json")
        assert recompute(document, workspace) == []
        change(document)
        assert any(line.startswith(named) for line in recompute(document, workspace))

    def test_hostile_names_reach_no_terminal(self, workspace, capsys):
        (workspace / "s.yaml").write_text('schema: radiograph.suite/1\nsuite_name: "\\e[31mred\\u202e"\n' + ONE)
        assert run(["suite", "check", "s.yaml", "--quiet"]) == 0
        shown = capsys.readouterr().out
        assert "\x1b" not in shown
        assert "\u202e" not in shown

    def test_the_world_suite_is_read_and_its_cross_is_full(self):
        found = go("suite.check", suite="world:suite").result
        assert [(c.name, c.empty, c.fewest, c.most) for c in found.crosses] == [("core × type × level", 0, 1, 1)]
        assert not any(p.code == "unbalanced" for p in found.problems)

    @pytest.mark.parametrize("model", [(), ("--model", "bundled:base")])
    def test_no_torch(self, model, workspace):
        (workspace / "s.yaml").write_text(EXAMPLE.read_text())
        arguments = ["suite", "check", "s.yaml", "--quiet", *model]
        code = f"import sys; from radiograph.surfaces.cli._main import run; code = run({arguments!r})\n"
        code += "print(code, 'torch' in sys.modules, file=sys.stderr)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
        assert done.stderr.split()[-2:] == ["0", "False"]

    def test_a_thousand_prompts_take_seconds_not_minutes(self):
        generator = random.Random(0)
        texts = [" ".join(generator.choices(["oak", "elm", "ash", "fir", "yew"], k=12)) for _ in range(1000)]
        levels = [{"core": f"c{i % 8}", "type": f"t{i % 3}", "level": i % 5} for i in range(1000)]
        rows = [
            {"id": f"p{i}", "prompt": t, "factors": own} for i, (t, own) in enumerate(zip(texts, levels, strict=True))
        ]
        factors = {"core": "nominal", "type": "nominal", "level": "ordinal"}
        began = time.perf_counter()
        whole(json.dumps({"factors": factors, "prompts": rows})[1:-1])
        assert time.perf_counter() - began < 20
