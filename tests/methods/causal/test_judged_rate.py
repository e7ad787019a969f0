"""`rate` by a judge: held against the labels first, then asked of every continuation, and never guessed for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chatting import Fault, chatting
from moved import plant, write_prompts
from radiograph.core import ExitCode, Refusal, UserError
from radiograph.methods._intervene.outcomes import said_in
from radiograph.runtime import verify
from radiograph.store.interventions import read_interventions
from running import go

ASKED: dict[str, Any] = {
    "model": "planted",
    "features": ["units:mlp_hidden.2#5"],
    "criterion": "the next token is a unit",
    "prompts": "prompts.jsonl",
    "positions": "last",
    "controls": 0,
    "rows": 12,
    "neutral_texts": 2,
    "dose": "-8,8",
    "max_kl": 9,
    "max_ppl": 99,
    "new_tokens": 2,
    "outcome": "rate",
}
TARGETS = "and,old"
"""What the model says after some of the prompts."""
CHAT = {"chat_model": "tiny", "retries": 0, "concurrency": 2}
RULES = [said_in(target) for target in TARGETS.split(",")]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("judged")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("RADIOGRAPH_BASE_DIR", raising=False)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        plant(folder / "planted")
        write_prompts(folder / "prompts.jsonl")
        yield folder


def answering(holds: Callable[[str], bool]) -> Callable[[dict[str, Any], int], str]:
    def answer(payload: dict[str, Any], number: int) -> str:
        asked = payload["messages"][0]["content"]
        if asked.startswith("You prepare"):
            return '{"definition": "A unit is said, or asked for by a number."}'
        texts = [json.loads(line) for line in asked.splitlines() if line.startswith('{"n"')]
        return json.dumps({"labels": [{"n": one["n"], "holds": holds(one["text"])} for one in texts]})

    return answer


def by_rule(text: str) -> bool:
    """What the labels say of prompts, and what the rule says of continuations."""
    return text.endswith(" 5") or any(rule.search(text.casefold()) for rule in RULES)


def rows_of(run: Path) -> list[Any]:
    table = read_interventions(run / "tables" / "interventions.parquet").table
    return table.select("prompt_id", "dose", "baseline", "intervened").sort("prompt_id", "dose").rows()


def test_a_judge_who_follows_the_rule_gives_the_rates_of_the_rule(place):
    ruled = go("intervene", out="ruled", **ASKED, targets=TARGETS)
    with chatting(answering(by_rule)) as server:
        judged = go("intervene", out="judged", **ASKED, endpoint=server.url, **CHAT)
        asked = len(server.seen)
        again = go("intervene", out="again", **ASKED, endpoint=server.url, **CHAT)
        assert len(server.seen) == asked, "answers are kept"
    assert rows_of(judged.path) == rows_of(ruled.path) == rows_of(again.path)
    assert {value for row in rows_of(judged.path) for value in row[2:]} == {0.0, 1.0}
    order = judged.result.order
    assert (order.judge.model, order.judge.kappa.value, order.judge.kappa.n) == ("tiny", 1.0, 96)
    assert order.judge.kappa.low < 1 and order.judge.kappa.null == 0
    assert server.url not in (judged.path / "order.json").read_text() and order.options["chat_model"] == "tiny"
    assert "tiny judges which continuations meet the criterion" in (judged.path / "report.html").read_text()
    assert verify(judged.path).status == "intact" and judged.exit_code is ruled.exit_code


def test_continuations_are_judged_one_by_one(place):
    with chatting(answering(by_rule)) as server:
        go("intervene", out="single", **ASKED | {"new_tokens": 3}, endpoint=server.url, **CHAT)
    counts = [sum(line.startswith('{"n"') for line in p["messages"][0]["content"].splitlines()) for p in server.seen]
    assert set(counts[1:]) <= {20, 16, 1} and counts.count(1) > 1


def test_a_judge_who_does_not_agree_with_the_labels_measures_nothing(place):
    with chatting(answering(lambda text: len(text) % 2 == 0)) as server:
        done = go("intervene", out="unlike", **ASKED, endpoint=server.url, **CHAT | {"chat_model": "coin"})
    assert done.exit_code is ExitCode.NOT_MEASURED and done.result.code == "low_agreement"
    assert "judge" in done.result.text


def test_what_was_not_judged_is_not_a_zero(place):
    def answer(payload: dict[str, Any], number: int) -> str | Fault:
        said = answering(by_rule)(payload, number)
        return "none" if '{"n": 2' not in payload["messages"][0]["content"] and number else said

    with chatting(answer) as server:
        done = go("intervene", out="lost", **ASKED, endpoint=server.url, **CHAT | {"chat_model": "mute"})
    assert done.exit_code is ExitCode.NOT_MEASURED and done.result.code == "labeller_failed"


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"endpoint": "http://127.0.0.1:9", "chat_model": None}, UserError, "address and a model"),
        ({"endpoint": "http://127.0.0.1:9", "outcome": "logprob"}, UserError, "which continuations"),
        ({"targets": None}, Refusal, "no target"),
    ],
)
def test_half_a_judge_and_a_judge_of_nothing_are_bad_input(place, change, error, text):
    asked = {k: v for k, v in ({**ASKED, **CHAT, **change} if "endpoint" in change else ASKED).items() if v is not None}
    with pytest.raises(error, match=text) as raised:
        go("intervene", out="bad", **asked)
    assert raised.value.exit_code is ExitCode.BAD_INPUT and not list(place.glob("bad*"))
