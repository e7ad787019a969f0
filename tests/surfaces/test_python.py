"""Verbs as functions: keywords in, a frozen result out, a bundle beside it."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

import radiograph
from radiograph.core import ExitCode, UserError
from running import numbers

pytestmark = pytest.mark.usefixtures("toy", "workspace")


def test_z_a_verb_is_a_function_that_leaves_a_bundle(workspace):
    data = numbers(workspace / "x.txt", 1, 2, 3)
    done = radiograph.toy.mean(data=str(data), limit=3, out="here", seed=2)
    assert done.path == workspace / "here" and done.exit_code is ExitCode.PASS
    assert done.tag == done.result.tag and done.seal and done.headline
    with pytest.raises(dataclasses.FrozenInstanceError):
        done.path = None
    again = radiograph.verify(str(done.path))
    assert again.status == "intact" and again.path is None  # it is about a run, and leaves none
    assert radiograph.verb("toy mean")(data=str(data), limit=1).exit_code is ExitCode.GATE_FAILED


def test_names_are_those_of_the_command_line():
    assert {"inspect", "match", "intervene", "steer", "explain", "run", "doctor", "publish", "records"} <= set(
        dir(radiograph)
    )
    assert "contrast" in dir(radiograph.steer) and "directions" in radiograph.steer.contrast.__doc__.lower()
    with pytest.raises(AttributeError, match="no verb 'inspekt'"):
        _ = radiograph.inspekt
    with pytest.raises(AttributeError, match="no verb"):
        _ = radiograph.steer.contrasts
    with pytest.raises(UserError, match="harvest"):
        radiograph.verb("harvst")


def test_what_has_no_name_is_what_has_none_on_the_command_line(workspace):
    with pytest.raises(UserError, match="takes 1 arguments"):
        radiograph.verify("a", "b")
    with pytest.raises(UserError, match="unknown option"):
        radiograph.doctor(pth=".")


def test_a_package_goes_before_a_verb_of_its_name():
    code = "from radiograph import harvest, organisms; organisms.bundled_names; harvest.Recipe"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_nothing_heavy_is_imported():
    code = "import sys, radiograph; radiograph.inspect; assert not {'torch', 'numpy', 'polars'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
