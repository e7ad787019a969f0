"""What `blame` is asked about."""

from radiograph.methods._blame.targets._completions import (
    ANSWER_TOKENS,
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
from radiograph.methods._blame.targets._readings import OfProbe, read_inside, reference_probe

__all__ = [
    "ANSWER_TOKENS",
    "GROUPS",
    "Asked",
    "Learned",
    "Measured",
    "OfProbe",
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
    "reference_probe",
]
