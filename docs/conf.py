"""Sphinx: hand-written guides, and one page a verb made from its docstring and configuration."""

from __future__ import annotations

import sys
from pathlib import Path

from radiograph import __version__

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "radiograph"
author = "the radiograph authors"
release = version = __version__
extensions = ["myst_parser", "verb_pages"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "_ext"]
html_theme = "furo"
html_title = "radiograph"
