"""The vocabulary of findings is closed, and kinds never mix."""

from __future__ import annotations

from typing import get_args

import pytest
from pydantic import ValidationError

from radiograph.core import ExitCode, UserError
from radiograph.evidence.features import CODES, GRADES, Finding, Inspection, Ranking, Requirement, Study
from radiograph.numerics.association import CODES as ASSOCIATION
from radiograph.numerics.association import GRADES as ASSOCIATED
from radiograph.numerics.effects import CausalGrade


def finding(kind="correlational", grade="confirmed", feature="f0", **more):
    return Finding(kind=kind, feature=feature, criterion="c-0", grade=grade, **more)


def test_numerics_and_evidence_use_one_vocabulary():
    assert GRADES["correlational"] == ASSOCIATED
    assert GRADES["causal"] == get_args(CausalGrade)
    assert set(ASSOCIATION) <= set(CODES)


def test_y3_a_ranking_holds_one_kind():
    with pytest.raises(ValidationError, match="cannot hold a causal one"):
        Ranking(kind="correlational", findings=(finding(), finding("causal", "effect", "f1")))


@pytest.mark.parametrize(("kind", "grade"), [("causal", "untested"), ("correlational", "not_measured")])
def test_y3_what_was_not_tested_has_no_rank(kind, grade):
    with pytest.raises(ValidationError, match="it has no rank"):
        Ranking(kind=kind, findings=(finding(kind, grade, codes=("no_outcome",)),))


def test_a_feature_stands_in_a_ranking_once_for_each_outcome():
    effects = [finding("causal", "effect", outcome=name) for name in ("logprob", "rate")]
    Ranking(kind="causal", findings=tuple(effects))
    with pytest.raises(ValidationError, match="once"):
        Ranking(kind="causal", findings=(effects[0], effects[0]))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"grade": "validated"}, "no correlational grade"),
        ({"codes": ("surely",)}, "unknown code"),
        ({"grade": "not_measured"}, "a code that says why"),
    ],
)
def test_words_outside_the_vocabulary_are_refused(changed, said):
    with pytest.raises(ValidationError, match=said):
        finding(**changed)


@pytest.mark.parametrize("text", ["confirmed", "correlational:sure", "causal:untested", "corelational:confirmed"])
def test_an_unknown_requirement_names_the_nearest(text):
    with pytest.raises(UserError, match="no such requirement") as caught:
        Requirement.parse(text)
    assert "correlational:confirmed" in str(caught.value)
    assert caught.value.exit_code is ExitCode.BAD_INPUT


STUDY = Study.model_construct(tested=10, sham=0, smallest_effect=0.7, units_needed=9, design=None)


@pytest.mark.parametrize(
    ("outcome", "grade", "require", "code"),
    [
        ("found", "confirmed", None, 0),
        ("none_adequate", "candidate", None, 0),
        ("none_inconclusive", "candidate", None, 4),
        ("not_measured", None, None, 4),
        ("compiled", None, None, 0),
        ("found", "confirmed", "correlational:confirmed", 0),
        ("found", "confirmed", "correlational:specific", 2),
        ("none_adequate", "candidate", "correlational:confirmed", 2),
        ("none_inconclusive", "candidate", "correlational:confirmed", 4),
        ("not_measured", None, "correlational:confirmed", 4),
        ("found", "confirmed", "causal:effect", 4),
    ],
)
def test_z_exit_codes_tell_unmet_from_not_measured(outcome, grade, require, code):
    found = () if grade is None else (finding(grade=grade),)
    result = Inspection.model_construct(
        model="m",
        criterion=None,
        outcome=outcome,
        correlational=Ranking(kind="correlational", findings=found),
        causal=Ranking(kind="causal"),
        require=None if require is None else Requirement.parse(require),
        study=STUDY if outcome.startswith(("found", "none")) else None,
    )
    assert int(result.exit_code) == code


def test_z_a_causal_gate_is_measured_or_not():
    held = {"model": "m", "criterion": None, "outcome": "found", "require": Requirement.parse("causal:effect")}
    for grade, code in (("no_effect", 2), ("effect", 0), ("validated", 0)):
        ranking = Ranking(kind="causal", findings=(finding("causal", grade),))
        assert int(Inspection.model_construct(**held, causal=ranking).exit_code) == code
