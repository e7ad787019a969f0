"""`probe interference` on a file of losses: bands, gaps, names that attack, and everything that is refused."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from radiograph.core import ExitCode, Refusal, UserError
from radiograph.methods.probe.interference import recompute, soup
from radiograph.reports.pages.probes.interference import figures
from radiograph.runtime import verify
from radiograph.surfaces.cli._main import run as command
from running import go

MAP = {"sql|sql": 0.80, "sql|chat": 1.00, "chat|chat": 1.10, "chat|sql": 1.10}


def write(losses, adapters=("sql", "chat"), name="losses.json"):
    Path(name).write_text(json.dumps({"adapters": list(adapters), "losses": losses}))
    return name


def given(losses, adapters=("sql", "chat"), **config):
    return go("probe.interference", losses=write(losses, adapters), **config)


def entry(target, on, loss, sd=None, n=None):
    return {"target": target, "with": list(on), "loss": loss} | ({} if sd is None else {"sd": sd, "n": n})


def cells(outcome):
    return {(c.target, c.added): c for c in outcome.result.cells}


def test_p8_8_the_original_example(workspace, capsys):
    outcome = given(MAP)
    found = cells(outcome)
    assert found["sql", "chat"].score == pytest.approx((1.00 - 0.80) / 0.80, abs=1e-12)
    assert found["chat", "sql"].score == pytest.approx(0.0, abs=1e-12)
    assert outcome.exit_code == ExitCode.GATE_FAILED
    assert outcome.result.worst_pair.added == "chat"
    assert outcome.result.stamps == ("no_interval",)
    assert verify(outcome.path).status == "intact"
    table = outcome.path / "tables/losses.parquet"
    import polars

    frame = polars.read_parquet(table).with_columns(loss=polars.col("loss") * 1.5 - 0.1)
    frame.write_parquet(table)
    assert verify(outcome.path).status != "intact"
    document = json.loads((outcome.path / "result.json").read_text())
    assert "'sql' with 'chat' does not follow from the tables" in recompute(document, outcome.path)


def test_every_part_of_a_record_follows_from_the_losses(workspace):
    """Each edit with its hashes redone; tables with rows left out or doubled."""
    import polars

    listed = [entry("sql", ["sql"], 0.8, 0.02, 200), entry("sql", ["sql", "chat"], 1.0, 0.03, 200)]
    listed += [entry("chat", ["chat"], 1.1), entry("chat", ["chat", "sql"], 1.12)]
    place = given(listed, out="run").path
    document = json.loads((place / "result.json").read_text())
    assert recompute(document, place) == []
    first, second = document["adapters"], document["cells"]
    edits = {
        "allow_missing": True,
        "worst_pair": None,
        "seed": 3,
        "resamples": 7,
        "stamps": [],
        "notes": [],
        "bands": {"OK": 2},
        "adapters": [first[0] | {"rows": 3}, first[1]],
        "cells": [second[0] | {"band": "OK"}, second[1]],
        "source": "other.json",
    }
    for key, value in edits.items():
        assert recompute(document | {key: value}, place), key
    renamed = [first[0] | {"name": "other"}, first[1]]
    assert recompute(document | {"adapters": renamed}, place), "a name that no table has"
    path = place / "tables/losses.parquet"
    table = polars.read_parquet(path)
    for other in (table[1:], table[:0], polars.concat([table[:1], table]), table.drop("condition")):
        other.write_parquet(path)
        assert recompute(document, place)
    path.unlink()
    assert recompute(document, place)


def test_p9_soup_keys(workspace, capsys):
    assert command(["probe", "interference", write(MAP), "--schema", "soup", "--json", "--quiet"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert found == {
        "adapters": ["sql", "chat"],
        "cells": [
            {"adapter_a": "sql", "adapter_b": "sql", "score": 0.0, "verdict": "OK"},
            {"adapter_a": "sql", "adapter_b": "chat", "score": (1.0 - 0.8) / 0.8, "verdict": "MAJOR"},
            {"adapter_a": "chat", "adapter_b": "sql", "score": 0.0, "verdict": "OK"},
            {"adapter_a": "chat", "adapter_b": "chat", "score": 0.0, "verdict": "OK"},
        ],
        "worst_pair": ["sql", "chat"],
        "worst_score": (1.0 - 0.8) / 0.8,
    }
    assert soup(given(MAP | {"sql|chat": 0.5}).result)["cells"][1]["verdict"] == "OK"
    partial = write({key: loss for key, loss in MAP.items() if key != "sql|chat"})
    assert command(["probe", "interference", partial, "--schema", "soup", "--output", "soup.json", "--quiet"]) == 4
    assert not Path("soup.json").exists()


def test_pd_8_an_improvement_helps(workspace):
    outcome = given(MAP | {"sql|chat": 0.80 * 0.7})
    assert cells(outcome)["sql", "chat"].band == "HELPS"
    assert outcome.exit_code == ExitCode.PASS
    assert outcome.result.worst_pair is None
    assert "none is harmed" in outcome.result.headline


def test_pd_5_pd_9_a_pair_left_out_is_hatched_and_no_pass(workspace, capsys):
    losses = {k: v for k, v in MAP.items() if k != "sql|chat"}
    outcome = given(losses)
    cell = cells(outcome)["sql", "chat"]
    assert (cell.band, cell.score, cell.reason) == ("NOT-MEASURED", None, "missing")
    assert outcome.exit_code == ExitCode.NOT_MEASURED
    assert [gap.code for gap in outcome.result.not_measured] == ["missing"]
    assert "url(#matrix-hatch)" in (outcome.path / "figures/matrix.svg").read_text()
    with pytest.raises(Refusal, match="no band"):
        soup(outcome.result)
    assert given(losses, allow_missing=True).exit_code == ExitCode.PASS
    capsys.readouterr()
    assert command(["probe", "interference", "losses.json", "--quiet"]) == 4
    assert "OK" not in capsys.readouterr().out


def test_pd_10_order_of_a_pair_matters(workspace):
    found = cells(given(MAP))
    assert found["sql", "chat"].score != found["chat", "sql"].score


ATTACKS = ["a|b", "[red]x[/red]", "\x1b[31mred\x1b[0m", "two\nlines", "\u202egnp.exe", "<script>alert(1)</script>"]


def test_pd_11_names_that_attack_are_spelled_out_everywhere(workspace, capsys):
    losses = [entry(a, (a,) if a == b else (a, b), 1.0 + 0.3 * (a != b)) for a, b in product(ATTACKS, ATTACKS)]
    assert command(["probe", "interference", write(losses, ATTACKS), "--out", "run"]) == 2
    said = "".join(capsys.readouterr())
    pages = {name: (Path("run") / name).read_text() for name in ("report.html", "report.md", "figures/matrix.svg")}
    for text in (said, *pages.values()):
        assert "\x1b" not in text
        assert "\u202e" not in text
    for name in ("report.html", "figures/matrix.svg"):
        assert "<script>alert" not in pages[name]
    assert "[red]x[/red]" in pages["report.html"]
    assert "worst: 'two\nlines'" not in said
    stored = json.loads(Path("run/result.json").read_text())
    assert [a["name"] for a in stored["adapters"]] == ATTACKS


def test_intervals_from_means_and_spreads(workspace):
    spread = {"sd": 0.1, "n": 200}
    losses = [
        entry("sql", ["sql"], 0.8, **spread),
        entry("sql", ["chat", "sql"], 1.0, **spread),
        entry("chat", ["chat"], 1.0, **spread),
        entry("chat", ["chat", "sql"], 1.19, sd=1.0, n=50),
        entry("sql", [], 1.2, **spread),
        entry("chat", [], 1.01, **spread),
    ]
    outcome = given(losses)
    found = cells(outcome)
    ratio = 1.0 / 0.8
    half = 1.96 * ratio * math.hypot(0.1 / 0.8, 0.1 / 1.0) / math.sqrt(200)
    low, high = found["sql", "chat"].interval
    assert (low, high) == pytest.approx((ratio - 1 - half, ratio - 1 + half), abs=0.01)
    assert (found["sql", "chat"].band, found["sql", "chat"].n) == ("MAJOR", 200)
    facts = {a.name: a for a in outcome.result.adapters}
    assert (facts["sql"].inert, facts["chat"].inert) == (False, True)
    assert (found["chat", "sql"].band, found["chat", "sql"].reason) == ("NOT-MEASURED", "inert")
    assert outcome.result.stamps == ()
    straddling = given([*losses[:3], losses[3], losses[4]])
    cell = cells(straddling)["chat", "sql"]
    assert (cell.band, cell.reason) == ("INCONCLUSIVE", "straddles")
    unbounded = given([entry("sql", ["sql"], 0.1, 5.0, 9), *losses[1:4]])
    assert cells(unbounded)["sql", "chat"].reason == "unbounded"


def test_extremes_that_are_losses_have_finite_scores(workspace):
    both = [entry(t, list(on), loss, 1e60, 2) for t, on, loss in
            (("sql", ["sql"], 1e-60), ("chat", ["chat"], 1e60), ("sql", ["sql", "chat"], 1e60),
             ("chat", ["sql", "chat"], 1e-60))]  # fmt: skip
    outcome = given(both)
    assert cells(outcome)["sql", "chat"].score == pytest.approx(1e120)
    assert outcome.result.bands == {"INCONCLUSIVE": 2}


def test_one_row_is_said_to_be_one(workspace):
    losses = [entry(t, on, loss, 0.1, 1) for t, on, loss in (("sql", ["sql"], 1.0), ("chat", ["chat"], 1.0))]
    losses += [entry(t, ["sql", "chat"], 1.1, 0.1, 1) for t in ("sql", "chat")]
    result = given(losses).result
    assert result.stamps == ("no_interval",)
    assert any("single row" in note for note in result.notes)


def test_a_bar_in_a_name_is_read_where_it_can_only_be_one(workspace):
    names = ("a|b", "c")
    losses = {f"{x}|{y}": 1.0 for x in names for y in names}
    assert given(losses, names).exit_code == ExitCode.PASS


BAD = {
    "no_diagonal": ({"sql|sql": 0.8, "sql|chat": 1.0, "chat|sql": 1.1}, ("sql", "chat"), "loses alone"),
    "zero": (MAP | {"sql|sql": 0}, ("sql", "chat"), r'losses\["sql|sql"\]'),
    "negative": (MAP | {"sql|chat": -1.0}, ("sql", "chat"), "is no loss"),
    "text": (MAP | {"sql|chat": "0.9"}, ("sql", "chat"), "is no loss"),
    "true": (MAP | {"sql|chat": True}, ("sql", "chat"), "is no loss"),
    "nan": (MAP | {"sql|chat": math.nan}, ("sql", "chat"), "NaN is no loss"),
    "infinite": (MAP | {"sql|chat": math.inf}, ("sql", "chat"), "Infinity is no loss"),
    "tiny": (MAP | {"sql|sql": 1e-320}, ("sql", "chat"), r'losses\["sql|sql"\]'),
    "beyond_products": (MAP | {"sql|chat": 1e308}, ("sql", "chat"), "is no loss"),
    "entry_rows": ([entry("sql", ["sql"], 1.0, 0.1, 10**45)], ("sql", "chat"), "no count"),
    "entry_spread": ([entry("sql", ["sql"], 1.0, 1e200, 10)], ("sql", "chat"), "no spread"),
    "huge": (MAP | {"sql|chat": 10**400}, ("sql", "chat"), "is no loss"),
    "unknown": (MAP | {"sql|cat": 1.0}, ("sql", "chat"), "no pair of declared"),
    "duplicate_name": (MAP, ("sql", "chat", "sql"), "two adapters"),
    "one": ({"sql|sql": 1.0}, ("sql",), "1 adapter"),
    "seventeen": ({}, tuple(f"a{i}" for i in range(17)), "limit adapters"),
    "long_name": ({}, ("x" * 257, "y"), "limit name-characters"),
    "empty_name": ({}, ("", "y"), "is no name"),
    "number_name": ({}, (3, "y"), "is no name"),
    "ambiguous": ({"a|b|c": 1.0}, ("a", "b|c", "a|b", "c"), "2 ways"),
    "no_losses": (None, ("sql", "chat"), "no losses"),
    "entry_unknown": ([entry("sql", ["sql", "cat"], 1.0)], ("sql", "chat"), "no declared adapter"),
    "entry_three": ([entry("sql", ["sql", "chat", "sql"], 1.0)], ("sql", "chat"), "one adapter with one other"),
    "entry_without_target": ([entry("sql", ["chat"], 1.0)], ("sql", "chat"), "one adapter with one other"),
    "entry_half": ([entry("sql", ["sql"], 1.0) | {"sd": 0.1}], ("sql", "chat"), "one of sd and n"),
    "entry_n": ([entry("sql", ["sql"], 1.0, 0.1, 0)], ("sql", "chat"), "no count"),
    "entry_key": ([entry("sql", ["sql"], 1.0) | {"los": 1}], ("sql", "chat"), "has the key"),
    "entry_twice": ([entry("sql", ["sql"], 1.0)] * 2, ("sql", "chat"), "stands twice"),
    "entry_text": (["sql"], ("sql", "chat"), "is no object"),
}


@pytest.mark.parametrize("name", BAD)
def test_pd_15_bad_losses(workspace, name):
    losses, adapters, text = BAD[name]
    with pytest.raises(UserError, match=text) as caught:
        given(losses, adapters)
    assert caught.value.exit_code == ExitCode.BAD_INPUT
    assert caught.value.where
    assert not Path("runs").exists() or not list(Path("runs").iterdir())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "no object"),
        ("{", "not JSON"),
        ('{"losses": {}}', "no adapters"),
        ('{"adapters": ["a","b"], "losses": {"a|a": 1, "a|a": 2}}', "stands twice"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_pd_15_files_that_are_none(workspace, text, said):
    Path("losses.json").write_text(text)
    with pytest.raises(UserError, match=said):
        go("probe.interference", losses="losses.json")


def test_sixteen_adapters_and_the_limits(workspace):
    names = tuple(f"a{i}" for i in range(16))
    losses = {f"{x}|{y}": 1.0 for x in names for y in names}
    outcome = given(losses, names)
    assert (len(outcome.result.cells), outcome.exit_code) == (240, ExitCode.PASS)
    write(losses, (*names, "b"))
    with pytest.raises(UserError, match="--limit adapters=17"):
        go("probe.interference", losses="losses.json")
    assert command(["probe", "interference", "losses.json", "--limit", "losses-bytes=1KiB", "--quiet"]) == 3


def test_two_ways_at_once_or_none(workspace):
    with pytest.raises(UserError, match="adapters to measure"):
        given(MAP, base="bundled:base")
    with pytest.raises(UserError, match="nothing to compare"):
        go("probe.interference")


def test_the_picture_is_the_same_each_time(workspace):
    outcome = given(MAP)
    document = json.loads((outcome.path / "result.json").read_text())
    assert figures(document)["matrix"].decode() == (outcome.path / "figures/matrix.svg").read_text()


def test_p9_losses_need_no_torch(workspace):
    write(MAP)
    code = (
        "import sys\nfrom radiograph.surfaces.cli._main import run\n"
        "run(['probe', 'interference', 'losses.json', '--quiet'])\nsys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
