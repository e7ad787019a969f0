"""What every verb promises, checked on every verb of the catalogue, those of tomorrow included."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from radiograph.core import ExitCode
from radiograph.evidence import Result, pretty_json
from radiograph.runtime import Outcome, Verb, catalogue, verify
from radiograph.store import TIMED, Bundle
from running import contents, go, impersonate, leaks, perform

from .rows import ROWS, write_files

VERBS = {key: verb for key, verb in catalogue().items() if verb.module_name.startswith("radiograph.")}
KEYS = [key for key, verb in VERBS.items() if not verb.serves and key in ROWS]


def parameters(keys: list[str]) -> list[Any]:
    """Keys, the slow ones marked."""
    return [pytest.param(key, marks=pytest.mark.slow) if ROWS[key].slow else key for key in keys]


RUNNABLE = parameters(KEYS)
BUNDLED = parameters([key for key in KEYS if VERBS[key].writes_bundle])
REPEATABLE = parameters([key for key in KEYS if VERBS[key].writes_bundle and ROWS[key].repeatable])


class Runs:
    """Each verb once, when first asked for, in one workspace of somebody whose name must not be found."""

    def __init__(self, workspace: Path, hooks_before: int) -> None:
        self.workspace = workspace
        self.hooks_before = hooks_before
        self._done: dict[str, Outcome] = {}

    def outcome(self, key: str) -> Outcome:
        if key not in self._done:
            self._done[key] = self.again(key)
        return self._done[key]

    def again(self, key: str) -> Outcome:
        return perform(key, self.fill(ROWS[key].config), seed=3)

    def fill(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {k: self.fill(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self.fill(v) for v in value]
        if isinstance(value, str) and value.startswith("{"):
            key, _, rest = value[1:].partition("}")
            return f"{self.outcome(key).path}{rest}"
        return value


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    with pytest.MonkeyPatch.context() as patch:
        workspace = impersonate(patch, tmp_path_factory.mktemp("homes")) / "work"
        workspace.mkdir()
        patch.chdir(workspace)
        patch.delenv("RADIOGRAPH_BASE_DIR", raising=False)
        write_files(workspace)
        gc.collect()
        yield Runs(workspace, hooks())


def hooks() -> int:
    """Hooks on every module alive."""
    if "torch" not in sys.modules:
        return 0
    from torch.nn import Module

    alive = [o for o in gc.get_objects() if issubclass(type(o), Module)]
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(vars(module).get(kind, ())) for module in alive for kind in kinds)


@pytest.mark.parametrize("key", [key for key, verb in VERBS.items() if not verb.serves])
def test_every_verb_has_a_row(key):
    assert key in ROWS, f"add the least configuration of `{key}` to tests/contract/rows.py"


def test_every_row_has_a_verb():
    assert set(ROWS) <= set(VERBS)


@pytest.mark.parametrize("key", RUNNABLE)
def test_exit_code_is_one_that_the_row_allows(key, runs):
    outcome = runs.outcome(key)
    assert int(outcome.exit_code) in ROWS[key].exits, outcome.result.headline
    assert outcome.exit_code in (ExitCode.PASS, ExitCode.GATE_FAILED, ExitCode.NOT_MEASURED)


@pytest.mark.parametrize("key", RUNNABLE)
def test_result_round_trips_through_json(key, runs):
    result = runs.outcome(key).result
    assert isinstance(result, Result)
    assert "\n" not in result.headline
    text = pretty_json(result)
    again = type(result).read(json.loads(text))
    assert again == result
    assert pretty_json(again) == text


@pytest.mark.parametrize("key", BUNDLED)
def test_bundle_is_intact_and_holds_what_was_returned(key, runs):
    outcome = runs.outcome(key)
    found = verify(outcome.path, outcome.seal)
    assert (found.status, found.problems) == ("intact", ())
    assert (outcome.path / "result.json").read_text() == pretty_json(outcome.result)
    assert Bundle(outcome.path).manifest.exit_code == int(outcome.exit_code)
    assert (outcome.path / "report.html").stat().st_size > 500


@pytest.mark.parametrize("key", BUNDLED)
def test_no_output_names_a_path_a_person_or_a_host(key, runs):
    assert leaks(runs.outcome(key).path, runs.workspace) == []


@pytest.mark.parametrize("key", RUNNABLE)
def test_no_hook_is_left_behind(key, runs):
    runs.outcome(key)
    assert hooks() <= runs.hooks_before


@pytest.mark.parametrize("key", REPEATABLE)
def test_same_seed_same_bytes(key, runs):
    first, second = contents(runs.outcome(key).path), contents(runs.again(key).path)
    timed = {name for name in first if Path(name).name in TIMED}
    assert set(first) == set(second)
    assert [name for name in sorted(first) if first[name] != second[name] and name not in timed] == []


@pytest.mark.parametrize("verb", VERBS.values(), ids=lambda verb: verb.key)
def test_help_says_what_the_verb_and_every_option_does(verb: Verb, capsys):
    from radiograph.surfaces.cli._main import run

    assert verb.summary
    assert verb.doc.count("\n") > 1, "the docstring is the method: numbered steps, source, refusals"
    assert [name for name, field in verb.config.model_fields.items() if not field.description] == []
    assert run([*verb.words, "--help"]) == 0
    shown = capsys.readouterr().out
    for name in verb.config.model_fields:
        assert name.replace("_", "-").strip("-") in shown or name.upper() in shown, name


@pytest.mark.parametrize("verb", VERBS.values(), ids=lambda verb: verb.key)
def test_schema_of_the_configuration_is_valid(verb: Verb):
    from jsonschema import Draft202012Validator

    schema = verb.config.model_json_schema()
    Draft202012Validator.check_schema(schema)
    assert schema.get("additionalProperties") is False
    assert verb.config.model_config.get("frozen")


@pytest.mark.parametrize("verb", VERBS.values(), ids=lambda verb: verb.key)
def test_an_unknown_option_is_bad_input(verb: Verb, runs):
    from radiograph.core import UserError

    with pytest.raises(UserError) as caught:
        go(verb.key, no_such_option=1)
    assert caught.value.exit_code is ExitCode.BAD_INPUT


def test_a_hook_is_seen():
    import torch

    layer = torch.nn.Linear(1, 1)
    before = hooks()
    handle = layer.register_forward_hook(lambda *_: None)
    assert hooks() == before + 1
    handle.remove()
    assert hooks() == before
