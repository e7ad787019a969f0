"""Which sparse features go with a label or a score: units, rank statistics, held-out confirmation, power, grades.

`columns` makes a table of rows × features from triplets; `associate` runs the whole protocol on it. Where a table does
not fit in memory: `study`, then `screen` for parts of the features, `joined`, `select`, and `conclude` on the rows of
the selected features. Cost: O(n log n) in the entries n. Nothing here knows of files or of models.
"""

from radiograph.numerics.association._columns import Absent, Columns, columns, is_range
from radiograph.numerics.association._grades import (
    CODES,
    GRADES,
    Facts,
    Outcome,
    at_least,
    codes,
    grades,
    named,
    outcome_of,
)
from radiograph.numerics.association._measure import Measured, limits, measured, null_value, resampled_limits, sizes
from radiograph.numerics.association._pooling import RowPool, pool_rows
from radiograph.numerics.association._power import dense_mde, needed_z, units_needed
from radiograph.numerics.association._protocol import (
    Candidates,
    Findings,
    associate,
    chosen_p,
    conclude,
    draws_of,
    family_q,
    held_up,
    rarer_share,
)
from radiograph.numerics.association._study import Screen, Settings, Study, joined, screen, select, study
from radiograph.numerics.association._units import Design, Units, check_sizes, units_of

__all__ = [
    "CODES",
    "GRADES",
    "Absent",
    "Candidates",
    "Columns",
    "Design",
    "Facts",
    "Findings",
    "Measured",
    "Outcome",
    "RowPool",
    "Screen",
    "Settings",
    "Study",
    "Units",
    "associate",
    "at_least",
    "check_sizes",
    "chosen_p",
    "codes",
    "columns",
    "conclude",
    "dense_mde",
    "draws_of",
    "family_q",
    "grades",
    "held_up",
    "is_range",
    "joined",
    "limits",
    "measured",
    "named",
    "needed_z",
    "null_value",
    "outcome_of",
    "pool_rows",
    "rarer_share",
    "resampled_limits",
    "screen",
    "select",
    "sizes",
    "study",
    "units_needed",
    "units_of",
]
