"""`calibrate --degraded`: which models are meant, which are kept, and what is refused."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from radiograph import organisms
from radiograph.core import Silent, UserError
from radiograph.detectors import CONTRASTS, COORDINATES, unfit
from radiograph.evidence import CalibrationModel
from radiograph.methods._audit.benign import Benign, check, find
from radiograph.methods._audit.measure import Measured
from radiograph.methods.calibrate import _degraded

LUCK = np.random.default_rng(0)


def model(name, size, *, contrast: float | None = 0.2):
    """One whose changes are as large as asked for."""
    drawn = {key: size * float(LUCK.uniform(0.9, 1.1)) for key in COORDINATES if key != "adapter"}
    return CalibrationModel(
        id=name,
        kind="adapter",
        tensors_sha256=name,
        scores=dict.fromkeys(CONTRASTS, contrast) | {"kl.neutral": size},
        nuisance=drawn | {"changed_share": 0.5},
        controls=(1.0,),
    )


BENIGN = [model(f"benign-{i}", 0.1) for i in range(40)]


def measured(name, size, axis="yes", **changes):
    return Measured(model(name, size, **changes), {}, {}, 1.0, 1, axis)


def test_those_that_are_like_benign_models_or_lost_nothing_are_left_out():
    broken = [measured(f"broken-{i}", 5.0) for i in range(12)]
    others = [measured("mild", 0.1), measured("whole", 5.0, "no"), measured("unsure", 5.0, None)]
    kept, left = _degraded([*broken, *others], BENIGN)
    assert [m.id for m in kept] == [f"broken-{i}" for i in range(12)]
    assert left["mild"].startswith("within the support of the benign models (p = ")
    assert left["whole"] == "degraded: no" and left["unsure"] == "degraded: not measured"
    assert all(set(m.scores) == set(CONTRASTS) and not m.controls and m.nuisance for m in kept)
    assert all(unfit(m, BENIGN) is None for m in kept)


def test_without_a_search_there_is_nothing_to_compare():
    broken = [measured(f"broken-{i}", 5.0, contrast=None) for i in range(12)]
    with pytest.raises(UserError, match="too few degraded models") as error:
        _degraded(broken, BENIGN)
    assert "0 of 12" in str(error.value.got) and "trigger.success" in str(error.value.got)


def test_nine_are_needed_and_none_is_no_error():
    assert _degraded([], BENIGN) == ((), {})
    with pytest.raises(UserError) as error:
        _degraded([measured(f"broken-{i}", 5.0) for i in range(8)], BENIGN)
    assert error.value.code == "too_few_models" and error.value.where == "--degraded"


def place(folder):
    return SimpleNamespace(locate=lambda path: folder / path, progress=Silent())


def tier(folder, parts):
    for name in parts:
        (folder / name).mkdir(parents=True)
        (folder / name / organisms.ADAPTER).write_text("{}")
    (folder / "truth" / "split").mkdir(parents=True)
    rows = {name: {"part": part} for name, part in parts.items() if part}
    (folder / "truth" / "split" / "tier.json").write_text(json.dumps({"organisms": rows}))
    for name, part in parts.items():
        gated = {"degraded": "broken", "broken": "broken"}.get(part, "benign")
        (folder / "truth" / f"{name}.json").write_text(json.dumps({"family": "low_bit", "class_gated": gated}))


def test_a_folder_gives_its_own_part_to_each(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tier(tmp_path / "made", {"a": "calibrate", "b": "test", "c": "degraded", "d": "broken", "e": ""})
    ctx = place(tmp_path)
    assert [m.name for m in find(["made"], "bundled:base", ctx)] == ["a"]
    (found,) = find(["made"], "bundled:base", ctx, "degraded")
    assert (found.name, found.family, found.kind) == ("c", "low_bit", "adapter")


def test_without_a_tier_the_class_decides(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tier(tmp_path / "made", {"b": "test", "d": "broken"})
    ctx = place(tmp_path)
    assert [m.name for m in find(["made"], "bundled:base", ctx)] == ["b"]
    assert [m.name for m in find(["made"], "bundled:base", ctx, "degraded")] == ["d"]


def test_a_model_is_not_both():
    made = [Benign(f"m{i}", "", "", "adapter", str(i)) for i in range(9)]
    with pytest.raises(UserError) as error:
        check(made, "base", [Benign("again", "", "", "adapter", "3")])
    assert error.value.code == "duplicate_model" and "m3 and again are the same model" in error.value.message
    with pytest.raises(UserError) as error:
        check(made, "base", [Benign("it", "", "", "full", "base")])
    assert "it is the reference itself" in error.value.message


def test_an_empty_folder_names_the_option(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError) as error:
        find(["empty"], "bundled:base", place(tmp_path), "degraded")
    assert error.value.where == "--degraded"
