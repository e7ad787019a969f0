"""Plain plots as SVG without a plotting library: points, bars, steps and lines on two axes.

A library of plots takes half a second to import, longer than many a verb runs. For figures with one pair of linear axes
this is enough; anything richer is drawn with `_figure.drawing`. The same palette, the same bytes each time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from markupsafe import escape

from radiograph.reports._figure import FAINT, INK, RULE, dressed

LEFT, RIGHT, TOP, BOTTOM = 62, 14, 12, 46
Point = tuple[float, float]


@dataclass(eq=False)
class Plot:
    """Two axes and what is drawn on them."""

    x: tuple[float, float]
    y: tuple[float, float]
    xlabel: str
    ylabel: str
    width: int = 760
    height: int = 260
    parts: list[str] = field(default_factory=list)

    def points(self, where: Iterable[Point], colour: str, radius: float = 2.2, title: Sequence[str] = ()) -> None:
        """Dots; each may say what it is."""
        for number, (x, y) in enumerate(where):
            said = f"<title>{escape(title[number])}</title>" if title else ""
            mark = f'<circle cx="{self._x(x):.1f}" cy="{self._y(y):.1f}" r="{radius}" fill="{colour}"'
            self.parts.append(f"{mark}>{said}</circle>" if said else f"{mark}/>")

    def bars(self, edges: Sequence[float], heights: Sequence[float], colour: str) -> None:
        """A bar between every two edges."""
        base = self._y(max(0.0, self.y[0]))
        for left, right, height in zip(edges[:-1], edges[1:], heights, strict=True):
            if height <= 0:
                continue
            top, x0, x1 = self._y(height), self._x(left), self._x(right)
            self.parts.append(
                f'<rect x="{x0:.1f}" y="{top:.1f}" width="{max(x1 - x0 - 0.6, 0.4):.1f}"'
                f' height="{max(base - top, 0):.1f}" fill="{colour}"/>'
            )

    def line(self, where: Sequence[Point], colour: str, dashed: bool = False) -> None:
        """Straight from point to point."""
        path = " ".join(f"{self._x(x):.1f},{self._y(y):.1f}" for x, y in where)
        dash = ' stroke-dasharray="4 4"' if dashed else ""
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.4"{dash}/>')

    def note(self, x: float, y: float, text: str, anchor: str = "start", colour: str = INK) -> None:
        """Words at a place."""
        place = f'x="{self._x(x):.1f}" y="{self._y(y):.1f}"'
        self.parts.append(f'<text {place} font-size="11" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>')

    def svg(self, title: str) -> bytes:
        """The whole figure."""
        inner = "\n".join([*self._frame(), *self.parts])
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}">'
        return dressed(f"{head}\n{inner}\n</svg>\n", title)

    def _frame(self) -> list[str]:
        parts: list[str] = []
        bottom, left = self.height - BOTTOM, LEFT
        for value in ticks(*self.y):
            y = self._y(value)
            parts.append(f'<line x1="{left}" x2="{self.width - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{RULE}"/>')
            parts.append(_label(left - 7, y + 4, _written(value), "end"))
        parts += [_label(self._x(value), bottom + 17, _written(value), "middle") for value in ticks(*self.x)]
        middle = (left + self.width - RIGHT) / 2
        parts.append(_label(middle, self.height - 8, self.xlabel, "middle"))
        turn = f'transform="rotate(-90 14 {bottom / 2:.0f})"'
        parts.append(
            f'<text x="14" y="{bottom / 2:.0f}" font-size="11" text-anchor="middle" fill="{FAINT}" {turn}>'
            f"{escape(self.ylabel)}</text>"
        )
        return parts

    def _x(self, value: float) -> float:
        share = (value - self.x[0]) / ((self.x[1] - self.x[0]) or 1)
        return LEFT + min(max(share, 0), 1) * (self.width - LEFT - RIGHT)

    def _y(self, value: float) -> float:
        share = (value - self.y[0]) / ((self.y[1] - self.y[0]) or 1)
        return self.height - BOTTOM - min(max(share, 0), 1) * (self.height - BOTTOM - TOP)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers between two, about so many."""
    span = high - low
    if not span > 0:
        return [low]
    raw = span / count
    size = 10 ** math.floor(math.log10(raw))
    step = next(size * m for m in (1, 2, 5, 10) if size * m >= raw)
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


def _label(x: float, y: float, text: str, anchor: str) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}"'
    return f'<text {place} font-size="11" text-anchor="{anchor}" fill="{FAINT}">{escape(text)}</text>'


def _written(value: float) -> str:
    return f"{value:.6g}".replace("-", "\u2212")
