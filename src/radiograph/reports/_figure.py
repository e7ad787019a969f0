"""Figures as SVG, the same bytes each time, readable on light and dark paper.

Colours are drawn as fixed marks (`INK`, `REFERENCE` …) and written as CSS variables whose fallback is that mark: the
file alone shows the light palette, or the dark one where the reader's system is dark; inside a page, the page's own.
Text stays text, so it is searched, selected and read aloud. No pyplot: nothing global outlives a figure.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from markupsafe import escape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, FAINT, RULE, PAPER = "#1c2127", "#5f6b7a", "#d5dbe3", "#fdfefe"
REFERENCE, CANDIDATE, UP, DOWN = "#3d6fa8", "#c05a1d", "#b5472f", "#2f6f9f"
_NAMES = {
    INK: "ink",
    FAINT: "faint",
    RULE: "rule",
    PAPER: "paper",
    REFERENCE: "reference",
    CANDIDATE: "candidate",
    UP: "up",
    DOWN: "down",
}
_DARK = {
    INK: "#e6eaf0",
    FAINT: "#98a4b3",
    RULE: "#36404d",
    PAPER: "#161b22",
    REFERENCE: "#7fb0e6",
    CANDIDATE: "#f0965a",
    UP: "#ef8570",
    DOWN: "#6db3e0",
}
_STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": FAINT,
    "axes.edgecolor": RULE,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.titlesize": 10,
    "axes.labelsize": 9.5,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "figure.facecolor": "none",
    "axes.unicode_minus": True,
}
_FONT = "font-family: ui-sans-serif, system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
_OWN_FONT = re.compile(r" ?font-family: [^;\"]*'DejaVu Sans'[^;\"]*;")
_PROLOGUE = re.compile(r"\A.*?(?=<svg\b)", re.DOTALL)


@contextmanager
def drawing(width: float, height: float) -> Iterator[Figure]:
    """A figure of a size in inches, in the house style."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        yield Figure(figsize=(width, height), layout="constrained")


def svg(figure: Figure, name: str, title: str) -> bytes:
    """The figure as SVG: no date, no program name, ids that begin with `name`, and a title for readers who see none."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    out = io.StringIO()
    nothing: dict[str, Any] = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with rc_context({**_STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        # The reader's fonts draw the text; a glyph that our own measuring font lacks is no fault.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        FigureCanvasSVG(figure).print_svg(out, metadata=nothing)
    text = _PROLOGUE.sub("", out.getvalue(), count=1)
    text = re.sub(r'\b(id="|href="#|url\(#)', rf"\1{name}-", text)
    return dressed(_OWN_FONT.sub("", text), title)


def dressed(text: str, title: str) -> bytes:
    """An SVG drawn in the fixed marks, with colours that follow the reader's, a font, and a title."""
    for mark, variable in _NAMES.items():
        text = text.replace(mark, f"var(--fig-{variable}, {mark})")
    head, tail = text.split(">", 1)
    return f'{head} role="img" aria-label="{escape(title)}" style="{_FONT}">\n {_palette()}{tail}'.encode()


def inlined(text: str, name: str) -> str:
    """A figure's SVG as an element of a page: no namespaces, no palette of its own."""
    body = re.sub(r"<style\b.*?</style>", "", _PROLOGUE.sub("", text, count=1), flags=re.DOTALL)
    body = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", body).replace("xlink:href", "href")
    return body.replace("<svg", f'<svg class="figure figure-{name}"', 1).strip()


def _palette() -> str:
    dark = "".join(f"--fig-{_NAMES[mark]}:{colour};" for mark, colour in _DARK.items())
    return f"<style>@media (prefers-color-scheme: dark){{svg{{{dark}background:{_DARK[PAPER]}}}}}</style>"
