"""A small inspection of the bundled model, compared with what it gave where the package was made.

Features, halves and decisions are exact; AUROC may differ by `TOLERANCE`, because kernels of other processors round
otherwise, and a token near a threshold may then fire or not.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from radiograph.core import Context, UserError
from radiograph.evidence import Record

STORED = Path(__file__).parent / "self_test.json"
TOLERANCE = 0.02
LEADING = 5
INSPECTION: dict[str, Any] = {
    "model": "bundled:base",
    "criterion": "world:unit",
    "features": ("toy",),
    "count": 160,
    "candidates": 20,
    "permutations": 0,
    "bootstrap": 0,
    "causal": 0,
    "cards": 0,
}


class Number(Record):
    """One number, stored and measured here."""

    name: str
    stored: float
    here: float | None


class SelfTest(Record):
    """Whether this machine computes what others do."""

    status: Literal["agrees", "differs"]
    tolerance: float
    numbers: tuple[Number, ...]
    run: str


def numbers(inspection: dict[str, Any]) -> dict[str, float]:
    """What is compared: rows, units, features confirmed, and the AUROC of the leading features by their address."""
    findings = inspection["correlational"]["findings"]
    leading = {f["feature"]: f["statistic"]["estimate"] for f in findings[:LEADING]}
    rows = inspection["criterion"]["rows"]
    counts = {"positives": rows["positive"], "groups": rows["groups"], "tested": inspection["study"]["tested"]}
    return {**{k: float(v) for k, v in counts.items()}, **leading}


def self_test(ctx: Context) -> SelfTest:
    """Run it and compare.

    Raises:
        UserError: another seed than that of the stored numbers.
    """
    if ctx.seed != 0:
        raise UserError("the numbers of the self-test are of seed 0", got=str(ctx.seed), fix="leave out --seed")
    step = ctx.step("inspect", **INSPECTION)
    here, stored = numbers(step.result.model_dump(mode="json")), json.loads(STORED.read_text(encoding="utf-8"))
    compared = tuple(Number(name=name, stored=value, here=here.get(name)) for name, value in stored.items())
    agrees = all(
        n.here is not None and abs(n.here - n.stored) <= (TOLERANCE if "#" in n.name else 0.0) for n in compared
    )
    return SelfTest(status="agrees" if agrees else "differs", tolerance=TOLERANCE, numbers=compared, run=step.path)
