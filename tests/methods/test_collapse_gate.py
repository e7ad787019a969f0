"""What `collapse sweep --require rescue` asks for, and the exit codes of both verbs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from radiograph.core import ExitCode
from radiograph.evidence import Condition, Dose, Write
from radiograph.methods.collapse._controls import Control, Effect, Found, _maximum, _placed, deciding
from running import go

pytestmark = pytest.mark.usefixtures("workspace")
FINE = "The ferry leaves at nine, and whoever misses it has an hour to look at the harbour and the gulls."
DOSES, UNITS = 5, 20


def asked() -> list[Condition]:
    writes = [Write(site="mlp_hidden.2", unit=5, op="set", dose=Dose(value=k)) for k in range(1, DOSES + 1)]
    return [Condition(writes=(write,)) for write in writes]


def of_chance(rng: np.random.Generator, units: int, conditions: list[Condition]) -> tuple[Found, str]:
    """A unit that nobody would pick, at its best dose, beside units drawn from the same distribution."""
    nets = rng.normal(size=(units + 1, len(conditions)))
    names = [condition.name for condition in conditions]
    chosen = names[int(nets[0].argmax())]
    found: dict[tuple[str, str], list[Control]] = {}
    effects: dict[str, Effect] = {}
    for place, name in enumerate(names):
        for unit in range(1, units + 1):
            bound: Any = SimpleNamespace(name=f"{unit} at {name}")
            found.setdefault((name, "units"), []).append(Control("units", name, unit, bound, 0.0))
            effects[bound.name] = Effect(float(nets[unit, place]), 0.0, 0.0, frozenset())
    own = {name: Effect(float(net), 0.0, 0.0, frozenset()) for name, net in zip(names, nets[0], strict=True)}
    control = _placed("units", chosen, own[chosen].net, [effects[c.bound.name].net for c in found[chosen, "units"]])
    best = _maximum("here", names, {chosen}, own, found, effects, [])
    assert best is not None and best.condition == chosen
    return Found(controls=(control,), maximum=(best,)), chosen


def share(n: int, *, parted: bool) -> float:
    rng, conditions, below = np.random.default_rng(0), asked(), 0
    for _ in range(n):
        found, chosen = of_chance(rng, UNITS, conditions)
        q = deciding({"here": conditions}, found, {chosen}, parted=parted)[chosen]
        below += q is not None and q < 0.05
    return below / n


@pytest.mark.parametrize("n", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_a_dose_chosen_on_the_claiming_prompts_is_compared_with_the_best_of_each_unit(n: int):
    assert share(n, parted=False) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / n)
    # What the units do at that one dose would have met the gate by luck alone.
    assert share(n, parted=True) > 0.1


def test_without_units_at_every_dose_there_is_nothing_to_meet():
    found, chosen = of_chance(np.random.default_rng(0), UNITS, asked())
    assert deciding({"here": asked()}, Found(controls=found.controls), {chosen}, parted=False) == {chosen: None}
    few, chosen = of_chance(np.random.default_rng(0), 18, asked())
    assert deciding({"here": asked()}, few, {chosen}, parted=False) == {chosen: None}


def test_texts_without_spaces_are_counted_as_collapsed(workspace: Path):
    """A file of texts holds no tokens, and a run of letters is no short text."""
    bad = ["a" * 500, "lol" * 200, "猫" * 400, "小猫在花园里走来走去" * 9]
    lines = ["core_id\ttype\tlevel\tsweep\tprompt\toutput"]
    for k, text in enumerate(bad):
        lines += [f"c{k}\ta\t1\tbaseline\tp{k}\t{text}", f"c{k}\ta\t1\t5\tp{k}\t{FINE}"]
    (workspace / "t.tsv").write_text("\n".join(lines) + "\n")
    found = go("collapse report", tsv="t.tsv").result
    assert (found.baseline_collapsed, found.baseline_n) == (4, 4)
    (row,) = found.rows
    assert (row.rescued, row.not_scored) == (4, 0)


def test_one_dose_is_no_choice():
    only = asked()[:1]
    found, chosen = of_chance(np.random.default_rng(1), UNITS, only)
    both = [deciding({"here": only}, found, {chosen}, parted=parted) for parted in (False, True)]
    assert both[0] == both[1] == {chosen: found.controls[0].p}


def test_one_core_is_counted_and_measures_nothing(workspace: Path):
    lines = ["core_id\ttype\tlevel\tsweep\tprompt\toutput"]
    for core in ("a", "b"):
        for k in range(6):
            lines += [f"{core}\tx\t{k}\tbaseline\tp{k}\t{'no ' * 30}", f"{core}\tx\t{k}\t5\tp{k}\t{FINE}"]
        (workspace / f"{core}.tsv").write_text("\n".join(lines) + "\n")
    one, two = go("collapse report", tsv="a.tsv"), go("collapse report", tsv="b.tsv")
    assert (one.exit_code, one.result.rows[0].rescued) == (ExitCode.NOT_MEASURED, 6)
    assert any("one core" in note for note in one.result.notes)
    assert two.exit_code is ExitCode.PASS
    assert go("collapse report", tsv="a.tsv", require="rescue").exit_code is ExitCode.GATE_FAILED


@pytest.mark.parametrize(("units", "code"), [(18, ExitCode.NOT_MEASURED), (19, ExitCode.PASS)])
def test_too_few_controls_measure_nothing(workspace: Path, units: int, code: ExitCode):
    lines = ["core_id\ttype\tlevel\tsweep\tprompt\toutput"]
    for k in range(4):
        lines += [f"c{k}\tx\t1\tbaseline\tp{k}\t{FINE}", f"c{k}\tx\t1\t5\tp{k}\t{FINE}"]
    (workspace / "t.tsv").write_text("\n".join(lines) + "\n")
    plain = go("collapse report", tsv="t.tsv").result
    beside = plain.model_copy(update={"controls": (_placed("units", "5", 0.0, [0.1] * units),)})
    assert (plain.exit_code, beside.exit_code) == (ExitCode.PASS, code)
    assert beside.model_copy(update={"required": True}).exit_code is ExitCode.GATE_FAILED
