"""The page of `probe sae-diff`: what carries the shift, what merely moved, and what the dictionary sees of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radiograph.reports._figure import CANDIDATE, FAINT, REFERENCE
from radiograph.reports._sketch import Plot

Document = Mapping[str, Any]
RESTS = {
    "nothing": "nothing of the shift is left",
    "noise": "what is left is no more than relabelled groups give",
    "diffuse": "what is left is real, but no single feature stands out of what a random direction would explain",
    "limit": "the largest number of features was reached",
}
STAMPS = {
    "clusters_assumed": "no prompt ids: blocks of rows were taken for groups, so long that neighbours are not alike",
    "pairing_assumed": "neither side has ids: row r was taken for the same token on both",
    "unpaired": "the sides hold other tokens",
    "groups_merged": "groups were merged so that their sums fit into the memory that was allowed",
    "few_groups": "too few groups for a test",
    "unchecked_dictionary": "nothing is recorded of the dictionary, and it reconstructs the reference badly",
    "transferred": "THE DICTIONARY WAS TRAINED ON ANOTHER MODEL OR SITE",
}
STEP = 0.125


def figures(document: Document) -> dict[str, bytes]:
    """`features`, `null`, `share`: those that show something."""
    drawn = {"features": _features(document), "null": _null(document), "share": _share(document)}
    return {name: image for name, image in drawn.items() if image is not None}


def view(document: Document) -> dict[str, Any]:
    """Words for codes, and which columns hold anything."""
    carried = {row["feature"] for row in document["carried"]}
    return {
        "rest": RESTS.get(document["rest"]["state"]) if document["rest"] else None,
        "stamps": [STAMPS.get(name, name) for name in document["stamps"]],
        "rates": any(row["rate_ref"] is not None for row in document["shown"]),
        "labels": any(row["label"] or row["name"] for row in (*document["shown"], *document["carried"])),
        "others": [row for row in document["shown"] if row["feature"] not in carried],
        "near": any(row["alternatives"] for row in document["carried"]),
        "exclusive": [row for row in document["written"] if row["state"] == "exclusive"],
    }


def _features(document: Document) -> bytes | None:
    """Effect against the change of the rate, of the features that are shown."""
    rows = [r for r in document["shown"] if r["effect"] is not None and r["rate_ref"] is not None]
    if not rows:
        return None
    carried = {c["feature"] for c in document["carried"]}
    effects = [float(r["effect"]) for r in rows]
    changes = [float(r["rate_cand"]) - float(r["rate_ref"]) for r in rows]
    x, y = (max(map(abs, values)) * 1.1 or 1 for values in (effects, changes))
    plot = Plot((-x, x), (-y, y), "effect, in sd of the reference", "change of the rate")
    plot.line([(0, -y), (0, y)], FAINT, dashed=True)
    plot.line([(-x, 0), (x, 0)], FAINT, dashed=True)
    for own, colour, radius in ((False, FAINT, 2.4), (True, CANDIDATE, 4.2)):
        picked = [i for i, r in enumerate(rows) if (r["feature"] in carried) == own]
        said = [f"feature {int(rows[i]['feature'])}" for i in picked]
        plot.points([(effects[i], changes[i]) for i in picked], colour, radius, said)
    return plot.svg("Effect and change of rate of the features shown; larger marks carry the shift")


def _null(document: Document) -> bytes | None:
    """What relabelled groups give, and the largest statistic of the data."""
    counts = [int(n) for n in document["null"]]
    if not any(counts):
        return None
    whole = sum(counts)
    shares = [n / whole for n in counts]
    largest = float(document["largest"])
    last = max(i for i, n in enumerate(counts) if n)
    right = max(min(largest * 1.05, 14.0), STEP * (last + 2), 4.0)
    edges = [STEP * i for i in range(len(shares))] + [10.0 + STEP]
    plot = Plot((0, right), (0, max(shares) * 1.15), "|t| of a feature", "share of relabellings")
    plot.bars(edges, shares, REFERENCE)
    place = min(largest, right)
    plot.line([(place, 0), (place, max(shares) * 1.15)], CANDIDATE)
    beyond = largest > right
    text = f"largest of the data: {largest:.3g}{' (beyond the axis)' if beyond else ''}"
    plot.note(place - right * 0.008, max(shares) * 1.06, text, anchor="end")
    return plot.svg("Statistics of relabelled groups, and the largest of the data")


def _share(document: Document) -> bytes | None:
    """Share of the shift that the first k carried features explain."""
    shares = [float(one["share"]) for one in document["carried"]]
    if len(shares) < 2:
        return None
    total, points = 0.0, [(0.0, 0.0)]
    for number, share in enumerate(shares, start=1):
        total += share
        points.append((float(number), total))
    plot = Plot((0, len(shares)), (0, 1), "features chosen", "share of the shift", height=220)
    plot.line(points, CANDIDATE)
    plot.points(points[1:], CANDIDATE, 3)
    return plot.svg("Share of the shift that the chosen features explain together")
