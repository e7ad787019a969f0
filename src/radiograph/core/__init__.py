"""Floor 0: errors, addresses, seeds, configuration, progress. Nothing here imports torch."""

from radiograph.core.config import (
    ActivationsRef,
    Config,
    DecompositionRef,
    DictionaryRef,
    ExplanationsRef,
    FeaturesRef,
    FilePath,
    FolderPath,
    GridRef,
    Input,
    ModelRef,
    RunPath,
    SuiteRef,
    inputs_of,
    positional,
)
from radiograph.core.context import Context, Output
from radiograph.core.errors import (
    ExitCode,
    FormatError,
    MissingExtra,
    RadiographError,
    Refusal,
    UserError,
    WorkerLost,
    nearest,
)
from radiograph.core.extras import deferred, held, package_of, plugins, require
from radiograph.core.progress import Progress, Silent, Task
from radiograph.core.seeds import derive, derive_many
from radiograph.core.sites import REFERENCE, FeatureAddress, Site, Source, canonical, expand, hidden_state
from radiograph.core.sizes import finite_number
from radiograph.core.text import visible
from radiograph.core.work.cluster import Workers

__all__ = [
    "REFERENCE",
    "ActivationsRef",
    "Config",
    "Context",
    "DecompositionRef",
    "DictionaryRef",
    "ExitCode",
    "ExplanationsRef",
    "FeatureAddress",
    "FeaturesRef",
    "FilePath",
    "FolderPath",
    "FormatError",
    "GridRef",
    "Input",
    "MissingExtra",
    "ModelRef",
    "Output",
    "Progress",
    "RadiographError",
    "Refusal",
    "RunPath",
    "Silent",
    "Site",
    "Source",
    "SuiteRef",
    "Task",
    "UserError",
    "WorkerLost",
    "Workers",
    "canonical",
    "deferred",
    "derive",
    "derive_many",
    "expand",
    "finite_number",
    "held",
    "hidden_state",
    "inputs_of",
    "nearest",
    "package_of",
    "plugins",
    "positional",
    "require",
    "visible",
]
