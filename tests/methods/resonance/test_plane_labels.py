"""Labels of rows that share a prompt: what is exchanged with what, and how often nothing is taken for something."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from radiograph.methods.resonance._planes import _groups
from radiograph.numerics.planes import LabelBasis, PseudoF, Terms, against_null, coordinates, planes_of, unit_rows
from radiograph.store.planes import VectorRows

WIDTH, CORES, TYPES, VARIANTS = 12, 6, ("plain", "loud"), 2


def captured(seed: int, conditions: int = 1, samples: int = 1, within: float = 0.3) -> VectorRows:
    """Each prompt is somewhere of its own; its rows lie around it. Types, conditions and samples mean nothing."""
    generator = np.random.default_rng(seed)
    prompts = [(f"c{c}", t, v) for c in range(CORES) for t in TYPES for v in range(VARIANTS)]
    rows = [(p, k, s) for k in range(conditions) for s in range(samples) for p in range(len(prompts))]
    centres = generator.standard_normal((len(prompts), WIDTH))
    values = centres[[p for p, _, _ in rows]] + within * generator.standard_normal((len(rows), WIDTH))
    columns: dict[str, list[Any]] = {
        "id": [f"{'/'.join(map(str, prompts[p]))}" for p, _, _ in rows],
        "core": [prompts[p][0] for p, _, _ in rows],
        "type": [prompts[p][1] for p, _, _ in rows],
        "variant": [prompts[p][2] for p, _, _ in rows],
        "condition": [f"w{k}" if k else "none" for _, k, _ in rows],
        "sample": [s for _, _, s in rows],
    }
    return VectorRows(values.astype(np.float32), columns, ("type",), None, None, None, "x", 0)


def share(count: int, by: tuple[str, ...], rebuilt: bool = False, **config: Any) -> float:
    """How often p of nothing is below .05."""
    first, below = np.array([0]), 0
    planes, _ = planes_of(np.eye(2), first, first + 1)
    for seed in range(count):
        rows = captured(seed, **config)
        own = _groups.grouped(rows, by)
        unit, _ = unit_rows(rows.values.astype(float))
        labels = own.labels()
        source: Any = PseudoF(coordinates(unit @ np.eye(2, WIDTH).T, planes), labels)
        if rebuilt:
            source = LabelBasis.of(rows.values, labels, own.cores, Terms.means(2), (first, first + 1))
        below += against_null(source.observed(), source, seed=seed, draws=99, limit=0).p[0] < 0.0501
    return below / count


CASES: list[tuple[tuple[str, ...], bool, dict[str, Any]]] = [
    (("type",), False, {}),
    (("type",), False, {"conditions": 10}),
    (("type",), False, {"samples": 10}),
    (("type",), True, {"samples": 6}),
    (("condition",), False, {"conditions": 4, "samples": 2}),
    (("type", "condition"), False, {"conditions": 3}),
]


@pytest.mark.parametrize(("by", "rebuilt", "config"), CASES)
def test_prompts_under_many_conditions_are_no_more_than_prompts(by, rebuilt, config):
    assert share(40, by, rebuilt, **config) <= 0.16


@pytest.mark.slow
@pytest.mark.parametrize(("by", "rebuilt", "config"), CASES)
def test_p_is_even_however_often_a_prompt_is_captured(by, rebuilt, config):
    # A tested condition whose samples stay together has few exchanges in the rows of a prompt, and is no less even.
    assert 0.02 <= share(500, by, rebuilt, **config) <= 0.08


def relabelled(rows: VectorRows, by: tuple[str, ...], draws: int = 20) -> tuple[np.ndarray, np.ndarray, Any]:
    labels = _groups.grouped(rows, by).labels()
    return labels.codes, np.concatenate(list(labels.permuted(draws, 0))), labels


def test_a_label_of_a_prompt_moves_with_all_its_rows_and_never_leaves_its_core():
    rows = captured(0, conditions=3, samples=2)
    own, drawn, labels = relabelled(rows, ("type",))
    ids, cores = np.array(rows.columns["id"]), np.array(rows.columns["core"])
    assert (drawn != own).any()
    for codes in drawn:
        assert all(len(set(codes[ids == name])) == 1 for name in set(ids))
        assert all(sorted(codes[cores == core]) == sorted(own[cores == core]) for core in set(cores))
    # Two of four prompts in each of six cores.
    assert labels.arrangements == pytest.approx(CORES * np.log(6))


def test_a_tested_condition_is_exchanged_inside_prompt_and_sample():
    rows = captured(0, conditions=3, samples=2)
    own, drawn, labels = relabelled(rows, ("condition",))
    places = list(zip(rows.columns["id"], rows.columns["sample"], strict=True))
    for codes in drawn:
        for place in set(places):
            mine = [p == place for p in places]
            assert sorted(codes[mine]) == sorted(own[mine])
    assert labels.arrangements == pytest.approx(48 * np.log(6))


def test_a_tested_sample_moves_with_its_conditions():
    rows = captured(0, conditions=3, samples=2)
    _, drawn, labels = relabelled(rows, ("sample",))
    places = list(zip(rows.columns["id"], rows.columns["sample"], strict=True))
    for codes in drawn:
        assert all(len({c for c, p in zip(codes, places, strict=True) if p == place}) == 1 for place in set(places))
    assert labels.arrangements == pytest.approx(24 * np.log(2))


def test_a_prompt_that_lacks_a_row_is_exchanged_with_its_like_alone():
    rows = captured(0, conditions=2)
    own, drawn, labels = relabelled(rows.at(range(1, len(rows.values))), ("type",))
    assert (np.bincount(own) == np.array([np.bincount(codes) for codes in drawn])).all()
    # One core has three whole prompts, and one that nothing is exchanged with.
    assert labels.arrangements == pytest.approx((CORES - 1) * np.log(6) + np.log(3))


def test_labels_of_two_levels_count_their_orbit():
    rows = captured(0, conditions=2)
    _, drawn, labels = relabelled(rows, ("type", "condition"), 4000)
    first = [i for i, core in enumerate(rows.columns["core"]) if core == "c0"]
    assert len({tuple(codes[first]) for codes in drawn}) == 6 * 2**4
    assert labels.arrangements == pytest.approx(CORES * np.log(6 * 2**4))
