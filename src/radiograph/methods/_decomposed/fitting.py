"""The decomposition of a model that is meant where none is named: the one in the workspace, or the bundled one.

1. what runs have written under `decomposition/`, unfinished runs aside   2. of those whose document names this model's
hash, what can be read whole and is what its own hash says   3. the bundled one beside them
What cannot be read is listed with its place and the reason, and passed over: one broken folder must not block the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from radiograph.core import Context, RadiographError, UserError
from radiograph.store import PARTIAL


@dataclass(frozen=True, slots=True)
class Fitting:
    """What was found."""

    reference: str
    unreadable: tuple[str, ...] = ()
    """Places that were passed over, each with the reason."""


def fitting(ctx: Context, sha256: str) -> Fitting:
    """The one readable decomposition of a model.

    Raises:
        UserError: none, with what could not be read, or several, which are named.
    """
    from radiograph.decompose import DOCUMENT
    from radiograph.organisms import bundled_decomposition

    runs, found, unreadable = ctx.place("runs"), [], []
    for folder in sorted(runs.glob("*/decomposition")) if runs.is_dir() else []:
        name = f"runs/{folder.parent.name}"
        if folder.parent.name.endswith(PARTIAL):
            continue
        try:
            if _is_of(folder, sha256):
                found.append(name)
        except (RadiographError, OSError) as error:
            unreadable.append(f"{name}/decomposition: {_reason(error)}")
    bundled = bundled_decomposition("bundled")
    if bundled is not None and (bundled / DOCUMENT).is_file() and _is_of(bundled, sha256):
        found.append("decomposition:bundled")
    if len(found) == 1:
        return Fitting(found[0], tuple(unreadable))
    passed = "; ".join(unreadable)
    raise UserError(
        f"{len(found)} decompositions of this model" if found else "no decomposition of this model",
        where="--decomposition",
        expected="one of " + ", ".join(found) if found else "a run of decompose train, or decomposition:bundled",
        got=f"unreadable: {passed}" if passed else None,
        code="ambiguous_decomposition" if found else "no_decomposition",
    )


def _is_of(folder: Path, sha256: str) -> bool:
    """Whether a decomposition is of this model; only then its tensors are read.

    Raises:
        RadiographError: it cannot be read, or is not what its hash says. OSError: the file system says no.
    """
    from radiograph.decompose import DOCUMENT, load, read_document

    if read_document(folder / DOCUMENT).target.tensors_sha256 != sha256:
        return False
    load(folder)
    return True


def _reason(error: RadiographError | OSError) -> str:
    if isinstance(error, UserError):
        return error.message if error.got is None else f"{error.message} ({error.got})"
    return str(error)
