"""Floor 3: change a forward pass, and measure what the change does."""

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
from radiograph.interventions._grammar import parse_conditions, parse_write
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
from radiograph.interventions._writers import edits_of

__all__ = [
    "BATCH_ROWS",
    "BoundCondition",
    "BoundWrite",
    "Directions",
    "SiteStatistics",
    "SpliceLosses",
    "Statistics",
    "Sweep",
    "SweepRow",
    "SweptRow",
    "Told",
    "bind",
    "edits_of",
    "halved",
    "parse_conditions",
    "parse_write",
    "plan",
    "references",
    "run",
    "run_batch",
    "splice_losses",
    "splices",
    "sweep_into",
    "sweep_rows",
]
