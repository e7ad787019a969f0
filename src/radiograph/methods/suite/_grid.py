"""A grid as a suite, so that one checker judges both: each record is a prompt with its core as a factor."""

from __future__ import annotations

from pathlib import Path

from radiograph.core import Context, UserError
from radiograph.evidence import Grid, Message, Prompt, Suite
from radiograph.methods.suite._content import cross_of
from radiograph.methods.suite._records import CrossRecord
from radiograph.numerics.design import MAX_V

CORE = "core"
_FRACTION = 0.5


def is_grid(reference: str, ctx: Context) -> bool:
    """Whether a reference means a grid: a name that comes with the package, text, CSV, or YAML with `grid:`."""
    from radiograph.store import grids, load_yaml

    if reference.startswith("world:"):
        return False
    if reference in grids.shipped_grids():
        return True
    try:
        path = ctx.locate(reference)
    except UserError as error:
        if error.code == "not_found" and Path(reference).name == reference and not Path(reference).suffix:
            return True  # a name, misspelt: the grids that there are will be named
        raise
    ending = path.suffix.lower()
    if ending in (".txt", ".csv"):
        return True
    return ending in (".yaml", ".yml", ".json") and grids.is_grid(load_yaml(path)[0])


def as_suite(grid: Grid) -> Suite:
    """The prompts with `core` and the grid's factors; ids stay as they are."""
    prompts = tuple(
        Prompt.model_construct(
            id=record.id,
            messages=(Message(role="user", content=record.text),),
            factors={CORE: record.core, **record.factors},
        )
        for record in grid.records
    )
    kinds = {name: factor.kind for name, factor in grid.factors.items()}
    return Suite.model_construct(suite_name=grid.name, prompts=prompts, factors={CORE: "nominal", **kinds})


def crosses(suite: Suite) -> tuple[CrossRecord, ...]:
    """Core × all factors; where at most half of those cells are used and every pair of factors is balanced, it is a
    fraction on purpose (a Latin square, a sample), and the pairs stand for it.
    """
    names = tuple(suite.factors)
    found = [cross_of(suite, (a, b)) for i, a in enumerate(names) for b in names[i + 1 :]]
    pairs = tuple(record for record in found if record is not None)
    whole = cross_of(suite, names)
    if whole is None:
        return pairs
    balanced = all(not pair.empty and pair.cramers_v <= MAX_V for pair in pairs)
    return pairs if balanced and whole.cells - whole.empty <= _FRACTION * whole.cells else (whole,)
