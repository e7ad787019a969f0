"""Where the files that ship with the package lie: `bundled:NAME` is a folder under `bundled/`. No torch."""

from __future__ import annotations

import re
from pathlib import Path

from radiograph.core import UserError, nearest

_ROOT = Path(__file__).parent / "bundled"


def bundled_names() -> tuple[str, ...]:
    """The models that ship with the package."""
    return tuple(sorted(path.parent.name for path in _ROOT.glob("*/config.json")))


def bundled_path(name: str) -> Path:
    """The folder of `bundled:NAME`; the prefix may be left out.

    Raises:
        UserError: nothing of that name ships with the package.
    """
    name = name.removeprefix("bundled:")
    folder = _ROOT / name
    if not re.fullmatch(r"[A-Za-z0-9._-]+", name) or name.startswith(".") or not folder.is_dir():
        known = list(bundled_names())
        raise UserError(
            f"nothing bundled is called {name!r}",
            expected=", ".join(f"bundled:{known_name}" for known_name in known),
            fix=", ".join(f"bundled:{near}" for near in nearest(name, known)) or None,
            code="model_not_found",
        )
    return folder
