"""Somebody's package as pip leaves it: a module, and a `dist-info` that names its entry points."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

import pytest

from radiograph.core import plugins

PACKAGE = "somebodys-parts"


@contextmanager
def installed(site: Path, points: dict[str, str], modules: dict[str, str]) -> Iterator[None]:
    """A package whose entry points (`GROUP NAME` -> module) can be found while the block runs."""
    info = site / "somebodys_parts-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 1.2\n")
    groups: dict[str, list[str]] = {}
    for point, value in points.items():
        group, name = point.split()
        groups.setdefault(group, []).append(f"{name} = {value}")
    (info / "entry_points.txt").write_text("".join(f"[{g}]\n" + "\n".join(n) + "\n" for g, n in groups.items()))
    for name, text in modules.items():
        (site / f"{name}.py").write_text(dedent(text))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        plugins.cache_clear()
        try:
            yield
        finally:
            plugins.cache_clear()
            for name in modules:
                sys.modules.pop(name, None)
