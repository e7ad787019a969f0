"""Floor 1: mathematics on arrays. No files, no models, no state; SciPy is imported where it is used."""

from radiograph.numerics.conformal import Combined, combine, conformal_p, models_needed, resolution_floor
from radiograph.numerics.panel import (
    Degraded,
    PanelResult,
    PerplexityRatio,
    TaskOutcomes,
    TaskRow,
    TextLosses,
    capability_panel,
    degraded_axis,
    paired_table,
    perplexity_ratio,
    task_rows,
)
from radiograph.numerics.proportions import (
    Interval,
    PairedTable,
    clopper_pearson,
    drop_bound,
    fisher_greater,
    holm,
    mcnemar,
    newcombe,
    wilson,
)
from radiograph.numerics.resampling import Bootstrap, bootstrap, weighted_mean

__all__ = [
    "Bootstrap",
    "Combined",
    "Degraded",
    "Interval",
    "PairedTable",
    "PanelResult",
    "PerplexityRatio",
    "TaskOutcomes",
    "TaskRow",
    "TextLosses",
    "bootstrap",
    "capability_panel",
    "clopper_pearson",
    "combine",
    "conformal_p",
    "degraded_axis",
    "drop_bound",
    "fisher_greater",
    "holm",
    "mcnemar",
    "models_needed",
    "newcombe",
    "paired_table",
    "perplexity_ratio",
    "resolution_floor",
    "task_rows",
    "weighted_mean",
    "wilson",
]
