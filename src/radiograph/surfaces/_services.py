"""Functions that verbs about runs and surfaces ask their context for. Looked up by name, imported when called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def services() -> Mapping[str, Callable[..., Any]]:
    """Name to function."""
    return {
        "verify": _verify,
        "replay": _replay,
        "workflow": _workflow,
        "workflow_place": _workflow_place,
        "mcp": _mcp,
        "verb": _verb,
    }


def _verify(*args: Any, **kwargs: Any) -> Any:
    from radiograph.runtime import verify

    return verify(*args, **kwargs)


def _replay(*args: Any, **kwargs: Any) -> Any:
    from radiograph.runtime import replay

    return replay(*args, **kwargs)


def _workflow(*args: Any, **kwargs: Any) -> Any:
    from radiograph.runtime import run_workflow

    return run_workflow(*args, **kwargs)


def _workflow_place(*args: Any, **kwargs: Any) -> Any:
    from radiograph.runtime import place_of

    return place_of(*args, **kwargs)


def _mcp(*args: Any, **kwargs: Any) -> Any:
    from radiograph.surfaces.mcp import serve

    return serve(*args, **kwargs)


def _verb(*args: Any, **kwargs: Any) -> Any:
    from radiograph.runtime import find_line

    return find_line(*args, **kwargs)
