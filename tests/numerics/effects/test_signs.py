"""The sign table, every verb and every sign of a dose."""

from __future__ import annotations

import numpy as np
import pytest

from radiograph.core import FormatError
from radiograph.numerics.effects import VERBS, directed, effects, pushes

NAN = float("nan")
TABLE = [
    *((verb, dose, NAN, NAN, -1, "") for verb in VERBS[:8] for dose in (-2.0, 0.0, 2.0, NAN)),
    ("steer", 2.0, NAN, NAN, 1, ""),
    ("steer", -0.5, NAN, NAN, -1, ""),
    ("steer", 0.0, NAN, NAN, 0, "placebo"),
    ("steer", NAN, NAN, NAN, 1, "assumed"),
    ("amplify", 2.0, NAN, NAN, 1, ""),
    ("amplify", 0.5, NAN, NAN, -1, ""),
    ("amplify", -1.0, NAN, NAN, -1, ""),
    ("amplify", 1.0, NAN, NAN, 0, "placebo"),
    ("amplify", NAN, NAN, NAN, 1, ""),
    ("clamp_up", -3.0, NAN, NAN, 1, ""),
    *(
        (verb, 9.0, target, own, push, note)
        for verb in ("clamp", "patch", "patch_in")
        for target, own, push, note in (
            (2.0, 1.0, 1, ""),
            (-2.0, 1.0, -1, ""),
            (1.0, 1.0, 0, "no_push"),
            (NAN, 1.0, 1, "assumed"),
            (1.0, NAN, 1, "assumed"),
        )
    ),
]


def test_y3_8_the_sign_of_every_verb_and_dose():
    assert {row[0] for row in TABLE} == set(VERBS)
    verbs, dose, target, own, push, note = zip(*TABLE, strict=True)
    found = pushes(verbs, dose=np.array(dose), target=np.array(target), own=np.array(own))
    assert found.push.tolist() == list(push)
    for name in ("placebo", "no_push", "assumed"):
        assert getattr(found, name).tolist() == [said == name for said in note], name


def test_y3_8_a_promoting_feature_promotes_at_either_sign():
    """The outcome rises with the feature: +2 raises it, −2 lowers it, ablation lowers it."""
    rng = np.random.default_rng(0)
    dose = np.repeat([2.0, -2.0, NAN], 12)
    verbs = ["steer"] * 24 + ["ablate"] * 12
    moved = np.where(np.isnan(dose), -1.0, dose)
    baseline = rng.normal(size=36)
    change = directed(pushes(verbs, dose=dose).push, baseline, baseline + 0.3 * moved + 0.01 * rng.normal(size=36))
    found = effects(change, np.repeat([0, 1, 2], 12), np.tile(np.arange(12), 3), features=3, seed=0)
    assert (found.low > 0).all() and (found.q <= 0.05).all()
    falling = effects(-change, np.repeat([0, 1, 2], 12), np.tile(np.arange(12), 3), features=3, seed=0)
    assert np.allclose(falling.estimate, -found.estimate) and (falling.high < 0).all()


def test_unknown_verbs_are_named_with_what_is_known():
    with pytest.raises(FormatError, match=r"unknown verb 'clampup'(.|\n)*row 1(.|\n)*did you mean clamp_up"):
        pushes(["steer", "clampup"], dose=np.array([1.0, 1.0]))
    assert len(pushes([]).push) == 0
