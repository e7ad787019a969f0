"""The page of `probe interference`: the matrix, every pair, the adapters alone, and what their changes share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import escape

from radiograph.core import visible
from radiograph.reports._figure import DOWN, FAINT, INK, RULE, UP, dressed

Document = Mapping[str, Any]
GLYPHS = {"OK": "", "MINOR": "!", "MAJOR": "!!", "HELPS": "+", "INCONCLUSIVE": "?", "NOT-MEASURED": ""}
MEANS = {
    "OK": "below 5 %",
    "MINOR": "below 20 %",
    "MAJOR": "20 % or more",
    "HELPS": "lower loss, by 5 % or more",
    "INCONCLUSIVE": "the interval has 20 % inside",
    "NOT-MEASURED": "hatched, no answer",
}
COMBINE = {
    "given": "as whoever measured the losses did",
    "joint": "both on, weights 1 and 1",
    "linear": "merged: factors added",
    "svd": "merged: the sum of both, cut to the larger rank",
    "ties": "merged: largest entries, signs elected",
    "dare_ties": "merged: entries kept at random, signs elected",
}
STAMPS = {
    "one_seed": "One seed of a random merge: the interval knows rows, not seeds; a band may be that of the draw.",
    "no_interval": "Without n and sd of a loss there is no interval: the point decides, as if it were the truth.",
    "adapter_base_unverified": "The adapters record another base than the one given.",
    "truncated": "Rows longer than the model's context were cut.",
}
CELL, LEFT, FULL, CLIP = 58, 166, 0.4, 21
NAMED = 4


def figures(document: Document) -> dict[str, bytes]:
    """`matrix`."""
    return {"matrix": _matrix(document)}


def view(document: Document) -> dict[str, Any]:
    """Words for codes, cells by reason, and which columns hold anything."""
    cells: Sequence[Mapping[str, Any]] = document["cells"]
    return {
        "combine": COMBINE[str(document["combine"])],
        "stamps": [STAMPS.get(str(name), name) for name in document["stamps"]],
        "order": sorted(cells, key=lambda c: -(float(c["score"]) if c["score"] is not None else float("-inf"))),
        "intervals": any(c["interval"] for c in cells),
        "rows": any(c["n"] is not None for c in cells),
        "repeats": any(c["repeats"] for c in cells),
        "pairs": [c for c in cells if c["overlap"]],
        "shifts": any(c["overlap"] and c["overlap"]["shift_tokens"] for c in cells),
        "moved": any(c["overlap"] and c["overlap"]["moved_both"] is not None for c in cells),
        "based": any(a["base_loss"] is not None for a in document["adapters"]),
        "refs": any(a["ref"] for a in document["adapters"]),
        "gaps": _gaps(document["not_measured"]),
    }


def _gaps(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What has no answer, by reason; a few pairs of each are named."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        found.setdefault(str(record["code"]), []).append(record)
    return [
        {"first": own[0], "pairs": [r["what"] for r in own[:NAMED]], "more": max(0, len(own) - NAMED)}
        for own in found.values()
    ]


def _matrix(document: Document) -> bytes:
    """Signed colours, the band as a glyph too; what has no number is hatched."""
    names = [str(a["name"]) for a in document["adapters"]]
    cells = {(str(c["target"]), str(c["added"])): c for c in document["cells"]}
    side = CELL * len(names)
    top = 30 + 4 * max(min(len(visible(name)), CLIP) for name in names)
    width, height = LEFT + max(side, 230) + 110, top + side + 40 + 17 * len(document["bands"])
    hatch = f'<path d="M0 8L8 0" stroke="{FAINT}" stroke-width="1.2"/>'
    parts = [
        f'<defs><pattern id="matrix-hatch" width="8" height="8" patternUnits="userSpaceOnUse">{hatch}</pattern></defs>'
    ]
    parts.append(_text(LEFT - 8, top - 10, "data of ↓   added →", "end", FAINT))
    for number, name in enumerate(names):
        middle = CELL * number + CELL / 2
        shown, whole = escape(visible(name, CLIP)), escape(visible(name))
        parts.append(_text(LEFT - 8, top + middle + 4, shown, "end", INK, whole))
        x, y = LEFT + middle, top - 10
        turn = f' transform="rotate(-35 {x:.0f} {y:.0f})"'
        parts.append(_text(x, y, shown, "start", INK, whole, turn))
        for column, added in enumerate(names):
            x, y = LEFT + CELL * column, top + CELL * number
            parts.append(_cell(x, y, cells.get((name, added)), f"{name} with {added}"))
    for line, band in enumerate(document["bands"]):
        y = top + side + 22 + 17 * line
        parts.append(_text(LEFT + 8, y, GLYPHS[str(band)], "middle", INK, bold=True))
        parts.append(_text(LEFT + 24, y, f"{band}: {MEANS[str(band)]}", "start", FAINT))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" style="max-width:{width}px">'
    inner = "\n".join(parts)
    return dressed(f"{head}\n{inner}\n</svg>\n", "Change of each adapter's loss when another is added")


def _cell(x: float, y: float, cell: Mapping[str, Any] | None, said: str) -> str:
    frame = f'<rect x="{x + 1}" y="{y + 1}" width="{CELL - 2}" height="{CELL - 2}" stroke="{RULE}"'
    middle = x + CELL / 2
    if cell is None:
        return f'{frame} fill="{RULE}" fill-opacity=".35"/>'
    band, score = str(cell["band"]), cell["score"]
    title = f"<title>{escape(visible(said))}: {band}</title>"
    if band == "NOT-MEASURED":
        fill = 'fill="url(#matrix-hatch)"'
    else:
        value = float(score)
        fill = f'fill="{UP if value > 0 else DOWN}" fill-opacity="{min(1.0, abs(value) / FULL) * 0.75:.2f}"'
    parts = [f"{frame} {fill}>{title}</rect>"]
    if score is not None and band != "NOT-MEASURED":
        number = f"{float(score):+.0%}" if abs(float(score)) >= 0.0995 else f"{float(score):+.1%}"
        shown = number.replace("-", "−") if len(number) < 8 else "≫"
        parts.append(_text(middle, y + CELL / 2 + (4 if not GLYPHS[band] else -1), shown, "middle", INK))
    if GLYPHS[band]:
        parts.append(_text(middle, y + CELL / 2 + 16, GLYPHS[band], "middle", INK, bold=True))
    return "".join(parts)


def _text(
    x: float, y: float, text: str, anchor: str, colour: str, title: str = "", turn: str = "", bold: bool = False
) -> str:
    weight = ' font-weight="700"' if bold else ""
    inner = f"<title>{title}</title>{text}" if title else text
    place = f'x="{x:.0f}" y="{y:.0f}" font-size="12" text-anchor="{anchor}"'
    return f'<text {place} fill="{colour}"{weight}{turn}>{inner}</text>'
