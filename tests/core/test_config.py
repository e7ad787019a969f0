"""Configurations are frozen and strict, and say which texts name something outside the run."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from radiograph.core import Config, DictionaryRef, FilePath, ModelRef, RunPath, SuiteRef, inputs_of


class Many(Config):
    """One of each."""

    model: ModelRef
    """The model."""
    suite: SuiteRef | None = None
    files: tuple[FilePath, ...] = ()
    choice: DictionaryRef | int | None = None
    run: RunPath = "."
    plain: str = ""
    number: float = 0.0


def test_inputs_are_found_inside_unions_and_tuples():
    assert inputs_of(Many) == {
        "model": "model",
        "suite": "suite",
        "files": "file",
        "choice": "dictionary",
        "run": "run",
    }


def test_docstrings_are_the_help():
    assert Many.model_fields["model"].description == "The model."


@pytest.mark.parametrize("given", [{}, {"model": "m", "more": 1}, {"model": "m", "number": float("inf")}])
def test_missing_unknown_and_non_finite_values_are_errors(given):
    with pytest.raises(ValidationError):
        Many(**given)


def test_nothing_changes_after_it_is_read():
    with pytest.raises(ValidationError):
        Many(model="m").model = "n"  # type: ignore[misc]
