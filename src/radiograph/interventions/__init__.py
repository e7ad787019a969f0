"""Floor 3: change a forward pass, and measure what the change does."""

from radiograph.interventions._attribution import attribute, changes, last_block
from radiograph.interventions._bound import (
    BoundCondition,
    BoundWrite,
    Directions,
    SiteStatistics,
    Statistics,
    Told,
    bind,
)
from radiograph.interventions._commit import sweep_into
from radiograph.interventions._controls import (
    DirectionControls,
    UnitControl,
    direction_controls,
    unit_controls,
)
from radiograph.interventions._grammar import parse_conditions, parse_write
from radiograph.interventions._prompts import Prompts, grid_prompts, recipe_prompts
from radiograph.interventions._recipes import (
    rack_condition,
    recipe_sweep,
    require_statistics,
    run_recipe,
    statistics_sha256,
)
from radiograph.interventions._splice import SpliceLosses, splice_losses, splices
from radiograph.interventions._sweep import (
    BATCH_ROWS,
    Sweep,
    SweepRow,
    SweptRow,
    halved,
    plan,
    references,
    run,
    run_batch,
    sweep_rows,
)
from radiograph.interventions._table import conditions_document, rows_table
from radiograph.interventions._writers import edits_of

__all__ = [
    "BATCH_ROWS",
    "BoundCondition",
    "BoundWrite",
    "DirectionControls",
    "Directions",
    "Prompts",
    "SiteStatistics",
    "SpliceLosses",
    "Statistics",
    "Sweep",
    "SweepRow",
    "SweptRow",
    "Told",
    "UnitControl",
    "attribute",
    "bind",
    "changes",
    "conditions_document",
    "direction_controls",
    "edits_of",
    "grid_prompts",
    "halved",
    "last_block",
    "parse_conditions",
    "parse_write",
    "plan",
    "rack_condition",
    "recipe_prompts",
    "recipe_sweep",
    "references",
    "require_statistics",
    "rows_table",
    "run",
    "run_batch",
    "run_recipe",
    "splice_losses",
    "splices",
    "statistics_sha256",
    "sweep_into",
    "sweep_rows",
    "unit_controls",
]
