"""What `blame` is asked about."""

from radiograph.methods._blame.targets._completions import (
    GROUPS,
    Asked,
    Learned,
    Measured,
    Targets,
    absent,
    any_rows,
    behaviour,
    checked,
    completions,
    f_of,
    greedy,
    measured,
    nats,
    read_targets,
)
from radiograph.methods._blame.targets._readings import read_inside

__all__ = [
    "GROUPS",
    "Asked",
    "Learned",
    "Measured",
    "Targets",
    "absent",
    "any_rows",
    "behaviour",
    "checked",
    "completions",
    "f_of",
    "greedy",
    "measured",
    "nats",
    "read_inside",
    "read_targets",
]
