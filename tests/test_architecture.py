"""The architecture holds, and each gate that says so can fail."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import gates

PROJECT = Path(__file__).parent.parent
PACKAGE = PROJECT / "src" / "radiograph"
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())
NOT_OURS = {"docs", "test", "lint", "all", "dev"}  # extras for people who work on radiograph, not with it


def optional() -> set[str]:
    """Import names of the packages that only an extra installs."""
    extras = PYPROJECT["project"]["optional-dependencies"]
    names = {_name(line) for extra, lines in extras.items() if extra not in NOT_OURS for line in lines}
    return names - {_name(line) for line in PYPROJECT["project"]["dependencies"]}


def _name(requirement: str) -> str:
    import re

    return re.split(r"[^A-Za-z0-9_.-]", requirement)[0].replace("-", "_").lower()


def optional_packages(package: Path) -> list[str]:
    return gates.optional_packages(package, optional() | {"mcp"})


GATES = [
    gates.floors,
    gates.hooks_outside_models,
    gates.prints,
    gates.heavy_at_the_top,
    gates.child_processes,
    optional_packages,
    gates.siblings,
    gates.sizes,
    gates.utils,
]

# (gate, what breaks it: file to content, what the message must name)
VIOLATIONS = [
    (gates.floors, {"core/errors.py": "import radiograph.store"}, "radiograph.core"),
    (gates.floors, {"evidence/x.py": "def f():\n    from radiograph.numerics import y\n"}, "radiograph.evidence"),
    (gates.floors, {"harvest/x.py": "from radiograph.organisms import y"}, "radiograph.harvest"),
    (gates.floors, {"numerics/x.py": "import radiograph.models"}, "radiograph.numerics"),
    (gates.floors, {"runtime/x.py": "import radiograph.surfaces.cli"}, "radiograph.runtime"),
    (gates.floors, {"newcomer/__init__.py": ""}, "newcomer"),
    (gates.hooks_outside_models, {"models/_forward.py": "m.register_forward_hook(f)"}, "_forward.py:1"),
    (gates.hooks_outside_models, {"harvest/x.py": "r = m.register_full_backward_hook"}, "harvest/x.py:1"),
    (gates.prints, {"store/x.py": "def f():\n    print(1)\n"}, "store/x.py:2"),
    (gates.heavy_at_the_top, {"core/x.py": "import torch"}, "core/x.py:1"),
    (gates.heavy_at_the_top, {"reports/x.py": "try:\n    from torch import nn\nexcept ImportError: ...\n"}, "torch"),
    (gates.heavy_at_the_top, {"methods/x.py": "class A:\n    import polars\n"}, "polars"),
    (gates.child_processes, {"store/x.py": "import subprocess"}, "subprocess"),
    (gates.child_processes, {"store/x.py": "import os\nos.system('ls')"}, "store/x.py:2"),
    (
        gates.child_processes,
        {"runtime/x.py": "from concurrent.futures import ProcessPoolExecutor as P"},
        "runtime/x.py",
    ),
    (gates.child_processes, {"store/x.py": "from os import execvp"}, "os.execvp"),
    (gates.child_processes, {"harvest/x.py": "from torch import multiprocessing"}, "torch.multiprocessing"),
    (optional_packages, {"surfaces/a.py": "import mcp", "store/b.py": "import mcp.types"}, "store/b.py"),
    (optional_packages, {"surfaces/a.py": "import mcp", "core/b.py": "require('mcp', 'mcp')"}, "core/b.py"),
    (gates.siblings, {"methods/a.py": "", "methods/b.py": "from radiograph.methods import a"}, "methods/b.py:1"),
    (gates.siblings, {"methods/w/a.py": "", "methods/w/b.py": "from .a import run"}, "methods/w/b.py:1"),
    (gates.siblings, {"detectors/kl/a.py": "", "detectors/w/b.py": "import radiograph.detectors.kl.a"}, "w/b.py:1"),
    (gates.sizes, {"core/x.py": "x = 1\n" * 501}, "501 lines"),
    (gates.sizes, {"core/x.py": "def f():\n" + "    x = 1\n" * 80}, "81 lines"),
    (gates.sizes, {f"core/x{i}.py": "" for i in range(12)}, "13 Python files"),
    (gates.utils, {"core/_utils.py": ""}, "core/_utils.py"),
]

ALLOWED = [
    (gates.hooks_outside_models, {"models/_hooks.py": "m.register_forward_hook(f)"}),
    (gates.heavy_at_the_top, {"core/x.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\n"}),
    (gates.heavy_at_the_top, {"core/x.py": "def f():\n    import torch\n"}),
    (gates.child_processes, {"core/work/process.py": "import subprocess"}),
    (gates.siblings, {"methods/_shared.py": "", "methods/b.py": "from radiograph.methods._shared import a"}),
    (gates.siblings, {"detectors/measure/x.py": "", "detectors/kl/b.py": "from radiograph.detectors.measure import x"}),
    (gates.floors, {"surfaces/x.py": "import radiograph.core", "store/x.py": "import radiograph.evidence"}),
]


def tree(folder: Path, files: dict[str, str]) -> Path:
    """A package of our name with every floor empty but for `files`, under our contracts."""
    package = folder / "src" / "radiograph"
    for path in PACKAGE.iterdir():
        if path.is_dir() and (path / "__init__.py").is_file():
            (package / path.name).mkdir(parents=True)
            (package / path.name / "__init__.py").touch()
    (package / "__init__.py").touch()
    for name, text in files.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        for parent in path.relative_to(package).parents:
            (package / parent / "__init__.py").touch()
        path.write_text(text)
    (folder / "pyproject.toml").write_text((PROJECT / "pyproject.toml").read_text())
    return package


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.__name__)
def test_package_keeps(gate):
    assert gate(PACKAGE) == []


@pytest.mark.parametrize(("gate", "files", "named"), VIOLATIONS, ids=lambda value: getattr(value, "__name__", None))
def test_gate_can_fail(gate, files, named, tmp_path):
    found = gate(tree(tmp_path, files))
    assert found, "the gate did not notice"
    assert any(named in line for line in found), found


@pytest.mark.parametrize(("gate", "files"), ALLOWED, ids=lambda value: getattr(value, "__name__", None))
def test_gate_allows_what_the_rule_allows(gate, files, tmp_path):
    assert gate(tree(tmp_path, files)) == []


def test_every_gate_is_shown_to_fail():
    assert {gate for gate, *_ in VIOLATIONS} == set(GATES)


def test_import_leaves_torch_alone():
    light = (*gates.LIGHT, "surfaces.cli", "numerics", "numerics.audit", "organisms")
    assert heavy_after(*(f"radiograph.{module}" for module in light)) == []


def test_import_check_can_fail():
    assert heavy_after("json", "torch", "radiograph.core")[0] == "torch imports torch"


def heavy_after(*modules: str) -> list[str]:
    """The modules after whose import a heavy package is there; imported one after another in one process."""
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "    for heavy in {'torch', 'transformers', 'peft'} & set(sys.modules):\n"
        "        print(name, 'imports', heavy)\n"
    )
    command = [sys.executable, "-c", code, *modules]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()
