"""Where the files that ship with the package lie. No torch.

`bundled:NAME` is a folder under `bundled/`, or, for an adapter, under `bundled/organisms/`.
"""

from __future__ import annotations

import re
from pathlib import Path

from radiograph.core import UserError, nearest
from radiograph.evidence import OrganismTruth
from radiograph.organisms._truth import read_truth

_ROOT = Path(__file__).parent / "bundled"
_ADAPTERS = _ROOT / "organisms"


def bundled_names() -> tuple[str, ...]:
    """The models that ship with the package, then the adapters."""
    found = [*sorted(_ROOT.glob("*/config.json")), *sorted(_ADAPTERS.glob("*/adapter_config.json"))]
    return tuple(path.parent.name for path in found)


def bundled_path(name: str) -> Path:
    """The folder of `bundled:NAME`; the prefix may be left out.

    Raises:
        UserError: nothing of that name ships with the package.
    """
    name = name.removeprefix("bundled:")
    plain = re.fullmatch(r"[A-Za-z0-9._-]+", name) is not None and not name.startswith(".")
    folder = next((root / name for root in (_ROOT, _ADAPTERS) if plain and (root / name).is_dir()), None)
    if folder is None:
        known = list(bundled_names())
        raise UserError(
            f"nothing bundled is called {name!r}",
            expected=", ".join(f"bundled:{known_name}" for known_name in known),
            fix=", ".join(f"bundled:{near}" for near in nearest(name, known)) or None,
            code="model_not_found",
        )
    return folder


def bundled_decomposition(name: str) -> Path | None:
    """The folder of `decomposition:bundled` (of `bundled:base`), or `decomposition:NAME` of a model that brings one."""
    if name == "bundled":
        return bundled_path("decomposition")
    plain = re.fullmatch(r"[A-Za-z0-9_-]+", name) is not None
    folder = _ROOT / name / "decomposition"
    return folder if plain and folder.is_dir() else None


def bundled_organism(family: str) -> OrganismTruth:
    """What is known of the bundled organism of a family.

    Raises:
        UserError: no bundled organism is of that family.
    """
    truths = [read_truth(path) for path in sorted((_ADAPTERS / "truth").glob("*.json"))]
    for truth in truths:
        if truth.family == family:
            return truth
    raise UserError(f"no bundled organism of family {family!r}", expected=", ".join(t.family for t in truths))
