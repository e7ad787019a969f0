"""Floor 0: errors, addresses, seeds, configuration, progress. Nothing here imports torch."""

from radiograph.core.errors import ExitCode, FormatError, MissingExtra, RadiographError, Refusal, UserError, nearest
from radiograph.core.extras import require
from radiograph.core.seeds import derive
from radiograph.core.sites import Site, canonical, expand

__all__ = [
    "ExitCode",
    "FormatError",
    "MissingExtra",
    "RadiographError",
    "Refusal",
    "Site",
    "UserError",
    "canonical",
    "derive",
    "expand",
    "nearest",
    "require",
]
