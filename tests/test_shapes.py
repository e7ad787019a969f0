"""A wrong shape is an error where a signature states one, and nothing else is touched."""

from __future__ import annotations

import importlib
import subprocess
import sys

import jaxtyping
import numpy as np
import pytest
from jaxtyping import TypeCheckError

import shapes
from radiograph.core import shapes as named

MODULE = """
from dataclasses import dataclass
import numpy as np
from radiograph.core.shapes import Float

Rows = Float[np.ndarray, "row width"]

def stated(a: Float[np.ndarray, " row"], b: Float[np.ndarray, " row"]): ...
def returned(a: int) -> Float[np.ndarray, "row width"]: return np.zeros(a)
def named(a: Rows): ...
def plain(a: int): return a

class Kept:
    def method(self, a: Float[np.ndarray, " row"]): ...

@dataclass
class Held:
    rows: Rows
"""


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shaped")
    (folder / "shaped_example.py").write_text(MODULE)
    with pytest.MonkeyPatch.context() as patch, shapes.install("shaped_example"):
        patch.syspath_prepend(folder)
        yield importlib.import_module("shaped_example")


def test_what_fits_passes(module):
    module.stated(np.zeros(2), np.ones(2))
    module.named(np.zeros((2, 3)))
    module.Held(np.zeros((2, 3)))


@pytest.mark.parametrize(
    "call",
    [
        lambda m: m.stated(np.zeros(2), np.zeros(3)),
        lambda m: m.stated(np.zeros(2, dtype=int), np.zeros(2)),
        lambda m: m.returned(2),
        lambda m: m.named(np.zeros(2)),
        lambda m: m.Kept().method(np.zeros((2, 2))),
        lambda m: m.Held(np.zeros(2)),
    ],
)
def test_what_does_not_is_an_error(module, call):
    with pytest.raises(TypeCheckError):
        call(module)


def test_plain_types_are_left_to_pyright(module):
    assert module.plain("text") == "text"


def test_no_command_loads_the_library_of_shapes():
    code = "import sys, radiograph.numerics.shifts, radiograph.store; assert 'jaxtyping' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_names_of_shapes_are_those_of_the_library_where_it_is_loaded():
    assert {*named.__all__} <= shapes.SHAPES
    assert all(getattr(named, name) is getattr(jaxtyping, name) for name in named.__all__)
