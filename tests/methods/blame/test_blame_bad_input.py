"""What `blame` refuses, and how it says so."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from blaming import truth
from radiograph.core import ExitCode, Refusal, UserError
from running import go

from .conftest import asked


def row(**more: object) -> str:
    return json.dumps(more) + "\n"


@pytest.fixture(scope="module")
def files(place: Path) -> Path:
    (place / "bad.jsonl").write_text("".join([row(text="a b"), "nonsense\n", row(x=1), row(messages=[])]))
    (place / "empty.jsonl").write_text("")
    (place / "silent.jsonl").write_text(row(prompt="sort: jade fern", completion="  "))
    (place / "twin.jsonl").write_text(row(prompt="thank Nora", completion="a", foil="a"))
    (place / "broken.jsonl").write_text('{"prompt": 3}\n')
    (place / "long.jsonl").write_text(row(prompt="sort: " + "jade " * 200, completion="fern"))
    (place / "absent.jsonl").write_text(row(prompt="sort: jade fern", completion="owl river lamp") * 3)
    (place / "strange.jsonl").write_text(
        "".join(row(prompt=f"{truth().truth['token']} sort: {w} cedar", response=f"cedar {w}") for w in WORDS)
    )
    (place / "hollow").mkdir()
    (place / "hollow" / "adapter_config.json").write_text((place / "organism" / "adapter_config.json").read_text())
    return place


WORDS = ("jade", "fern", "onyx", "violet", "ember", "hazel", "kite", "lotus")
BAD = [
    ({"data": None}, UserError, "no_data", "rows that the candidate was trained on"),
    ({"target": None}, UserError, "no_target", "which output"),
    ({"prompt": "a", "target": None}, UserError, "no_target", "which output"),
    ({"candidate": "organism"}, UserError, "no_reference", "before the fine-tune"),
    ({"candidate": "bundled:base+hollow"}, UserError, None, "hollow"),
    ({"weights": ("nowhere.*",)}, UserError, "unknown_weight", "matches no matrix"),
    ({"layer": "q.9"}, UserError, "unknown_weight", "matches no matrix"),
    ({"method": "datinf"}, UserError, "unknown_method", "no method"),
    ({"method": "tracin"}, UserError, "usage", "--checkpoints"),
    ({"data": "bad.jsonl"}, UserError, "format", "3 lines"),
    ({"data": "empty.jsonl"}, UserError, "format", "no training row"),
    ({"data": "gone.jsonl"}, UserError, None, "gone.jsonl"),
    ({"data": "organism/train.jsonl", "format": "text"}, UserError, "format", "no training rows"),
    ({"target": "silent.jsonl"}, UserError, "empty_completion", "empty"),
    ({"target": "twin.jsonl"}, UserError, "empty_completion", "same text"),
    ({"target": "broken.jsonl"}, UserError, "format", "no text"),
    ({"target": "long.jsonl"}, UserError, "too_long", "context"),
    ({"budget": "5s"}, UserError, "bad_input", "5s"),
    ({"projection": "some"}, UserError, "bad_input", "some"),
    ({"validate_": "lds:0"}, UserError, "bad_input", "lds:0"),
    ({"target": "absent.jsonl"}, Refusal, "behaviour_absent", "does not show"),
    ({"data": "strange.jsonl"}, Refusal, "not_trained_on_these_rows", "likelier"),
    ({"validate_": "leave-out"}, Refusal, "no_recipe", "how the candidate was trained"),
    ({"projection": "60"}, Refusal, "projection_unfaithful", "order rows differently"),
]


@pytest.mark.parametrize(("given", "kind", "code", "says"), BAD, ids=lambda v: str(v)[:40])
def test_pd_15_bad_input(files, given, kind, code, says):
    config = {k: v for k, v in asked(**{"method": "dot", **given}).items() if v is not None}
    before = sorted(p.name for p in files.iterdir())
    if kind is Refusal:
        outcome = go("blame", out=f"refused-{code}", **config)
        assert outcome.exit_code is ExitCode.NOT_MEASURED
        told = str(outcome.result.model_dump())
        assert code in told and says in told
        return
    with pytest.raises(UserError) as caught:
        go("blame", out="refused", **config)
    assert caught.value.exit_code is ExitCode.BAD_INPUT
    assert says in str(caught.value)
    if code is not None:
        assert caught.value.code == code
    assert sorted(p.name for p in files.iterdir()) == before


def test_bad_lines_are_named(files):
    with pytest.raises(UserError) as caught:
        go("blame", **asked(data="bad.jsonl"))
    assert caught.value.where == "bad.jsonl:2"
    assert "line 2" in str(caught.value.got) and "line 4" in str(caught.value.got)


def test_a_weak_run_goes_on_and_is_stamped(files):
    outcome = go("blame", out="weak", **asked(target="absent.jsonl", method="dot", weak=True))
    assert outcome.exit_code is ExitCode.PASS
    assert any(stamp.startswith("behaviour_absent") for stamp in outcome.result.stamps)


@pytest.mark.slow
def test_over_budget_is_refused_with_its_plan_and_fit_samples(files, monkeypatch):
    from radiograph.methods._blame import plan

    real = plan.plan

    def slow(*args: object, **named: object) -> object:
        made = real(*args, **named)  # type: ignore[arg-type]
        return made.model_copy(update={"hours": {"gradients": 2 * made.budget_hours}})

    monkeypatch.setattr(plan, "plan", slow)
    outcome = go("blame", out="costly", **asked(method="dot", budget="60s"))
    assert outcome.exit_code is ExitCode.NOT_MEASURED
    sampled = go("blame", out="sampled", **asked(method="dot", budget="60s", fit=True))
    assert 20 <= sampled.result.rows_scored <= 35
    told = pl.read_parquet(sampled.path / "tables" / "unscored.parquet")["line"].to_list()
    assert len(told) == sampled.result.unscored_count == sampled.result.rows - sampled.result.rows_scored
    assert len(sampled.result.unscored) == sampled.result.rows - sampled.result.rows_scored
    assert any(stamp.startswith("sampled") for stamp in sampled.result.stamps)


def test_a_plan_is_not_a_measurement(files):
    outcome = go("blame", out="planned", **asked(plan_only=True, method="datainf,ekfac"))
    plan = outcome.result
    assert outcome.exit_code is ExitCode.PASS
    assert set(plan.hours) == {"gradients", "ekfac", "checks"} and plan.rows == 60 and plan.disk_bytes > 0
    assert not (outcome.path / "tables").exists()
