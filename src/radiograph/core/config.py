"""The configuration of a verb: frozen, strict, and the one source of its command line, tool schema and docs page.

The docstring under a field is its help text. The `Input` mark on a type says what a text refers to, so that the
runtime can resolve, confine and hash it, and write it into a manifest without an absolute path; a marked field without
default is a positional argument of the command, in the order of declaration.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict

InputKind = Literal[
    "model", "dictionary", "decomposition", "suite", "explanations", "features", "activations", "file", "folder", "run"
]


@dataclass(frozen=True, slots=True)
class Input:
    """Marks a text that names something outside the run."""

    kind: InputKind


@dataclass(frozen=True, slots=True)
class Bare:
    """Marks an option that may stand alone on a command line, and what it then means."""

    value: str


@dataclass(frozen=True, slots=True)
class Positional:
    """Marks a field that stands without a flag though it names nothing outside the run, or may be left out."""


ModelRef = Annotated[str, Input("model")]
"""A local folder, a hub id, or `bundled:NAME`, each optionally `+ADAPTER`."""
DictionaryRef = Annotated[str, Input("dictionary")]
"""A dictionary folder or `dictionary:bundled`."""
DecompositionRef = Annotated[str, Input("decomposition")]
"""A decomposition folder, the run that made it, or `decomposition:bundled`."""
SuiteRef = Annotated[str, Input("suite")]
"""A suite file, or a bundled one as `world:NAME`."""
GridRef = Annotated[str, Input("suite")]
"""A grid file, or the name of a grid that comes with the package."""
ExplanationsRef = Annotated[str, Input("explanations")]
"""`auto`, `none`, or `cache:FILE#MODEL/SOURCE`."""
FeaturesRef = Annotated[str, Input("features")]
"""A source of features, `KIND[:WHERE][#650,700-720]`."""
ActivationsRef = Annotated[str, Input("activations")]
"""Stored activations: a file, or `FOLDER[#SOURCE]`."""
FilePath = Annotated[str, Input("file")]
"""A file to read."""
FolderPath = Annotated[str, Input("folder")]
"""A folder to read or write."""
RunPath = Annotated[str, Input("run")]
"""A bundle that an earlier run left."""


class Config(BaseModel):
    """Base of every verb's configuration. Unknown keys are errors; nothing can be changed after it is read."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        validate_default=True,
    )


def inputs_of(config: type[Config]) -> dict[str, InputKind]:
    """Field name to the kind of thing it names, for every field with an `Input` mark (also inside `X | None`)."""
    found: dict[str, InputKind] = {}
    for name, field in config.model_fields.items():
        mark = next((m for m in _marks(field.annotation, field.metadata)), None)
        if mark is not None:
            found[name] = mark.kind
    return found


def positional(config: type[Config]) -> list[str]:
    """Fields that are given without a name, in order: inputs without a default, and what is marked `Positional`."""
    named = inputs_of(config)
    return [
        name
        for name, field in config.model_fields.items()
        if any(isinstance(mark, Positional) for mark in field.metadata) or (field.is_required() and name in named)
    ]


def _marks(annotation: object, metadata: list[object]) -> list[Input]:
    from typing import get_args

    own = [m for m in metadata if isinstance(m, Input)]
    nested: list[Input] = []
    for argument in get_args(annotation):
        if isinstance(argument, Input):
            nested.append(argument)
        else:
            nested.extend(_marks(argument, []))
    return own + nested


def sides(reference: str, there: Callable[[str], bool]) -> tuple[str, str | None]:
    """Base and adapter of a model reference; folders, which `there` knows, may have a plus in their names.

    What is there as a whole has no adapter. Else the cut is the last plus with something there on both sides, or the
    last with something there before it. Names that are no folders hold no plus, so else it is the first.
    """
    cuts = [place for place, sign in enumerate(reference) if sign == "+"]
    if not cuts or there(reference):
        return reference, None
    before = [cut for cut in cuts if there(reference[:cut])]
    cut = next((cut for cut in reversed(before) if there(reference[cut + 1 :])), before[-1] if before else cuts[0])
    return reference[:cut], reference[cut + 1 :]
