"""Many candidates, each with a small file of scores: whole or not there, so that a killed run goes on.

Whoever measures names the file by a hash of everything that decides the scores; what is there is not measured again.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from radiograph.core import Context, FormatError
from radiograph.core.work.process import spread
from radiograph.evidence import canonical_json

if TYPE_CHECKING:
    from radiograph.dictionaries import Dictionary


class Job(Protocol):
    """A candidate to measure; can be sent to another process."""

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> Path:
        """Where its file is, or will be."""
        ...


AnyJob = TypeVar("AnyJob", bound=Job)


def measure_missing(
    jobs: Sequence[AnyJob], measure: Callable[[AnyJob], float], ctx: Context, workers: int, what: str
) -> None:
    """Measure every candidate that has no file yet; `measure` writes it and returns the seconds it took."""
    left = [job for job in jobs if not job.path.is_file()]
    with ctx.progress.task(f"measuring {what}", total=len(jobs)) as task:
        task.advance(len(jobs) - len(left))
        began = time.perf_counter()
        for done, (place, seconds) in enumerate(spread(measure, left, workers), 1):
            rest = (time.perf_counter() - began) / done * (len(left) - done)
            task.advance()
            task.note(f"{left[place].name} {seconds:.0f} s, {rest / 60:.0f} min to go")


def write_file(path: Path, document: Mapping[str, object], summaries: Mapping[str, np.ndarray]) -> None:
    """One file of plain data and arrays, whole or not at all."""
    packed = {name: {"shape": list(a.shape), "values": a.ravel().tolist()} for name, a in summaries.items()}
    part = path.with_suffix(f".{os.getpid()}.partial")
    part.write_bytes(canonical_json({**document, "summaries": packed}))
    part.replace(path)


def read_file(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The document, and its arrays in single precision.

    Raises:
        FormatError: it is no such file.
    """
    try:
        document = json.loads(path.read_bytes())
        summaries = {
            name: np.array(own["values"], dtype=np.float32).reshape(own["shape"])
            for name, own in document["summaries"].items()
        }
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path.name} holds no scores", where=path.name, got=str(error), fix="delete it") from error
    return document, summaries


@lru_cache(maxsize=1)
def dictionary_at(folder: str | None, sha256: str | None) -> Dictionary | None:
    """The dictionary of a plan, loaded once a process; the hash is asked for because files change."""
    del sha256
    from radiograph import dictionaries

    return None if folder is None else dictionaries.load(Path(folder))
