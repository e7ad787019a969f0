"""radiograph: see what changed inside a fine-tuned model, prove it, and undo it.

Every verb of the command line is a function here: `radiograph.inspect(...)`, `radiograph.steer.contrast(...)`, and
`radiograph.verb("harvest")` where a package has the name of the verb. See `radiograph.surfaces.python`.
"""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    from radiograph.surfaces import python

    return python.verb if name == "verb" else python.top(name)


def __dir__() -> list[str]:
    from radiograph.surfaces import python

    return sorted({*globals(), "verb", *python.names()})
