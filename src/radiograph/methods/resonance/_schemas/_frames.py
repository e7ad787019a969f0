"""Schema 05, frames: one group of rows seen in planes of several kinds, each against planes of its own kind.

1. last-token vectors of the prompts   2. bases: means and contrasts of a factor, components, random directions
3. `resonance sweep` on all of them, groups by the factor; r, φ, lift and p of the one group, plane by plane
"""

from __future__ import annotations

from typing import Any

import numpy as np

from radiograph.core import Site, UserError
from radiograph.evidence import Filter
from radiograph.methods.resonance._schemas._records import WORDING, Found, Measure
from radiograph.methods.resonance._schemas._study import Study

PERMUTATIONS = 999
COMPONENTS, RANDOM = 3, 3


def run(study: Study) -> Found:
    """Chain capture, four bases and a sweep."""
    import polars

    factor = study.factors(1)[0] if study.config.group is None else _factor(study.config.group)
    site = str(study.site if study.config.site else Site("resid_post", study.model.n_layers // 2))
    done = study.capture(site=[site], pool="last-prompt", new_tokens=0)
    group, mask = study.group(done)
    name = str(done.prompts(factor)[int(mask.argmax())])
    kinds: list[dict[str, Any]] = [
        {"kind": "means", "by": factor},
        {"kind": "contrast", "by": factor},
        {"kind": "pca", "of": [str(COMPONENTS)]},
        {"kind": "random", "of": [f"haar {RANDOM}"]},
    ]
    bases: list[str] = []
    for kind in kinds:
        step = study.step("resonance.basis", {**kind, "vectors": done.folder})
        bases.append(str(study.ctx.output.folder(step.path)))
    draws = study.config.draws or PERMUTATIONS
    swept = study.step(
        "resonance.sweep",
        {
            "vectors": done.folder,
            "basis": bases,
            "group_by": factor,
            "transform": ["centred"],
            "permutations": draws,
            "most_permutations": draws,
            "curves": 0,
        },
    )
    table = polars.read_parquet(study.ctx.output.folder(swept.path) / "tables" / "planes.parquet")
    table = table.filter(polars.col("group").str.to_lowercase() == name.casefold()).sort("basis", "plane")
    if not len(table):
        raise UserError(f"no group of the sweep is {factor}={name}", expected="one level of one factor", got=group)
    measures = [_measure(row) for row in table.iter_rows(named=True)]
    from radiograph.numerics.multiplicity import q_values

    q = q_values(np.array([np.nan if m.p is None else m.p for m in measures]))
    measures = [m.model_copy(update={"q": None if m.p is None else float(v)}) for m, v in zip(measures, q, strict=True)]
    tested = [m for m in measures if m.q is not None]
    strong = [m for m in tested if m.q is not None and m.q < 0.05]
    cluster = {
        f"{one.basis}: {name}": f"{one.basis} {number}"
        for one in swept.result.maps
        for name, number in zip(one.names, one.cluster, strict=True)
    }
    distinct = [len({cluster.get(m.what, m.what) for m in several}) for several in (strong, tested)]
    return Found(
        kind="correlational",
        null="; ".join(f"{basis}: {null}" for basis, null in swept.result.nulls.items()) + f" ({draws} draws)",
        measures=tuple(measures),
        sentence=f"{group} points somewhere in {len(strong)} of {len(tested)} planes that can be tested (q < .05), "
        f"{distinct[0]} of {distinct[1]} if planes less than 15° apart count as one; "
        "angles of different planes have no common zero.",
        family=len(tested),
        smallest_p=1 / (1 + draws),
        notes=(WORDING, *swept.result.notes),
    )


def _factor(text: str) -> str:
    """The factor whose groups are compared.

    Raises:
        UserError: anything but one level of one factor.
    """
    clauses = Filter.parse(text).clauses
    if len(clauses) != 1 or clauses[0].op != "=":
        raise UserError(
            "frames compare one group with the other levels of its factor",
            expected="--group FACTOR=LEVEL, one level of one factor",
            got=text,
            fix="choose the rest by --where",
            code="bad_group",
        )
    return clauses[0].factor


def _measure(row: dict[str, Any]) -> Measure:
    return Measure(
        what=f"{row['basis']}: {row['plane']}",
        statistic="r of the mean, centred",
        n=int(row["n"]),
        estimate=float(row["r"]),
        low=row["r_low"],
        high=row["r_high"],
        null=row["null_median"],
        null_high=row["null_high"],
        p=row["p"],
        note=f"φ {_angle(row['theta'])}, lift {row['lift']:.2f}",
    )


def _angle(theta: float | None) -> str:
    return "not defined inside the ring" if theta is None else f"{theta:.0f}°"
