"""radiograph: see what changed inside a fine-tuned model, prove it, and undo it.

Every verb of the command line is a function here: `radiograph.inspect(...)`, `radiograph.steer.contrast(...)`, and
`radiograph.verb("harvest")` where a package has the name of the verb. See `radiograph.surfaces.python`.
"""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    from importlib import import_module
    from importlib.util import find_spec

    if find_spec(f"{__name__}.{name}") is not None:  # a package goes before a verb of its name
        return import_module(f"{__name__}.{name}")
    python = import_module(f"{__name__}.surfaces.python")
    return python.verb if name == "verb" else python.top(name)


def __dir__() -> list[str]:
    from radiograph.surfaces import python

    return sorted({*globals(), "verb", *python.names()})
