"""Schema 02, fingerprint: by which factors does a unit's activation differ, and does writing it?

1. mean activation over each prompt; partial η² of two factors and of their interaction, cores as blocks
2. the same of the KL of the next token when the unit is written
3. nulls: cells exchanged within cores; and the same numbers of matched units
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from radiograph.core import derive
from radiograph.methods.resonance._schemas._records import WORDING, CellMap, Found, Measure
from radiograph.methods.resonance._schemas._study import Study

MATCHED = 40
PERMUTATIONS = 999


def run(study: Study) -> Found:
    """The two tables."""
    from radiograph.numerics.multiplicity import q_values
    from radiograph.numerics.screening import factorial, partial_eta_squared

    first, second = study.factors(2)
    unit, dose = study.unit, study.config.dose or "3sd"
    write = f"{study.site}[{unit}]:set:{dose}"
    done = study.capture(site=[str(study.site)], write=[write], pool="prompt", new_tokens=1, divergence=True)
    columns = {name: done.prompts(name) for name in (first, second, "core")}
    values = done.by_condition(str(study.site))[:, 0]
    matched = study.matched(MATCHED)
    terms = (first, second, f"{first} × {second}")
    labels = columns[first], columns[second], columns["core"]
    a, b, core = (_numbered(own) for own in labels)

    def shares(column: np.ndarray) -> np.ndarray:
        blocks = np.bincount(core, weights=column) / np.bincount(core)
        return partial_eta_squared(column - blocks[core], a, b)

    others = np.stack([shares(values[:, j]) for j in matched])
    measures: list[Measure] = []
    tables = {"observed": values[:, unit], "written": done.table("kl")[:, 1]}
    balanced = True
    for name, column in tables.items():
        seed = derive(study.ctx.seed, "fingerprint", name)
        tested = factorial(column, *labels, seed=seed, permutations=study.config.draws or PERMUTATIONS)
        balanced = tested.balanced
        for place, term in enumerate(terms):
            note = ""
            if name == "observed":
                rank = _rank(others[:, place], tested.partial[place])
                note = f"against {len(others)} matched units p {rank:.3g}"
            measures.append(
                Measure(
                    what=f"{name}: {term}",
                    statistic="partial η²",
                    n=len(column),
                    estimate=tested.partial[place],
                    null=tested.null[place][0],
                    null_high=tested.null[place][1],
                    p=tested.p[place],
                    note=note,
                )
            )
    q = q_values(np.array([measure.p for measure in measures]))
    measures = [m.model_copy(update={"q": float(value)}) for m, value in zip(measures, q, strict=True)]
    ranks = {term: _rank(others[:, place], measures[place].estimate) for place, term in enumerate(terms)}
    return Found(
        kind="observed: correlational; written: causal",
        null=f"cells exchanged within cores ({study.config.draws or PERMUTATIONS} times); "
        f"{len(matched)} units matched in push, mean, spread and firing",
        measures=tuple(measures),
        sentence=f"{study.site}[{unit}] differs by {_terms(measures[:3])}, "
        + (
            ", ".join(own) + " more than units like it"
            if (own := _own(measures[:3], ranks))
            else "units like it as much"
        )
        + f"; what writing it does differs by {_terms(measures[3:])}.",
        family=len(measures),
        smallest_p=1 / (1 + (study.config.draws or PERMUTATIONS)),
        maps=tuple(
            _map(title, unit_name, columns[first], columns[second], column)
            for (title, unit_name), column in zip(
                ((f"{study.site}[{unit}]", "mean activation"), (write, "KL of the next token, nats")),
                tables.values(),
                strict=True,
            )
        ),
        notes=(WORDING, *(() if balanced else ("cells differ in size: the shares of factors do not add up",))),
    )


def _rank(others: np.ndarray, own: float) -> float:
    """Share of units that reach it, the unit itself counted."""
    return float((1 + (others >= own).sum()) / (1 + len(others)))


def _terms(measures: Sequence[Measure]) -> str:
    """What stands out at q < .05."""
    found = [m.what.partition(": ")[2] for m in measures if m.q is not None and m.q < 0.05]
    return ", ".join(found) or "no term"


def _own(measures: Sequence[Measure], ranks: Mapping[str, float]) -> list[str]:
    """Terms that stand out, and more than among matched units."""
    found = [(m.what.partition(": ")[2], m.q) for m in measures]
    return [term for term, q in found if q is not None and q < 0.05 and ranks[term] < 0.05]


def _map(title: str, unit: str, rows: list[object], columns: list[object], values: np.ndarray) -> CellMap:
    up, across = list(dict.fromkeys(rows)), list(dict.fromkeys(columns))
    cells = [
        [[v for v, r, c in zip(values, rows, columns, strict=True) if (r, c) == (row, column)] for column in across]
        for row in up
    ]
    means = tuple(tuple(float(np.mean(held)) if held else 0.0 for held in line) for line in cells)
    return CellMap(title=title, unit=unit, rows=tuple(map(str, up)), columns=tuple(map(str, across)), values=means)


def _numbered(names: list[object]) -> np.ndarray:
    known: dict[object, int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names])
