"""Run a bundle again and compare, output by output.

`identical`: the same bytes. `equivalent`: numbers agree within the tolerance that the verb's file states (`TOLERANCE`,
relative; another device or version). `different`: they do not; the first differing field is named. Reports and
figures are drawn from the evidence and do not count by themselves. An input that changed or is gone is bad input.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

from radiograph.core import ExitCode, UserError
from radiograph.evidence import Record, Result
from radiograph.runtime._catalogue import find
from radiograph.runtime._context import RunContext
from radiograph.runtime._execute import Outcome, execute
from radiograph.runtime._resolve import resolve
from radiograph.store import REPORTS, TIMED, Bundle

Status = Literal["identical", "equivalent", "different"]


class Compared(Record):
    """One output of both runs."""

    path: str
    status: Status
    text: str = ""


class Replay(Result):
    """What `replay` found."""

    SCHEMA: ClassVar[str] = "radiograph.replay/1"

    status: Status
    run: str
    again: str
    tolerance: float
    outputs: tuple[Compared, ...]

    @property
    def headline(self) -> str:
        """Status, and the first difference."""
        first = next((f": {o.path}: {o.text}" for o in self.outputs if o.status == "different"), "")
        return f"{self.run}: {self.status}{first}"

    @property
    def exit_code(self) -> ExitCode:
        """0, or 2 if different."""
        return ExitCode.GATE_FAILED if self.status == "different" else ExitCode.PASS


def replay(path: Path, context: RunContext, changes: dict[str, Any] | None = None) -> Replay:
    """Run again and compare. `changes` replaces configuration values, for inputs that moved.

    Raises:
        UserError: an input changed or is missing.
    """
    before = Bundle(path)
    manifest = before.manifest
    verb = find(manifest.verb)
    given = {
        k: v for k, v in {**manifest.config, **(changes or {})}.items() if manifest.config_origins.get(k) or changes
    }
    given.pop("resume", None)  # what it went on with is part of this run now, and gives the bytes of one without it
    _require_named(given)
    outcome = execute(verb, resolve(verb, given, environment=False), replace(context.settings, seed=manifest.seed))
    after = Bundle(_path(outcome))
    _require_same_inputs(before, after)
    tolerance = float(getattr(verb.module, "TOLERANCE", 0.0))
    skip = TIMED | REPORTS
    names = [o.path for o in manifest.outputs if PurePosixPath(o.path).name not in skip]
    compared = tuple(_compare(path, after.path, name, tolerance) for name in names)
    return Replay(status=_worst(compared), run=path.name, again=after.path.name, tolerance=tolerance, outputs=compared)


def _path(outcome: Outcome) -> Path:
    if outcome.path is None:
        raise UserError("this verb leaves no bundle to compare")
    return outcome.path


def _require_named(config: dict[str, Any]) -> None:
    for key, value in config.items():
        if isinstance(value, str) and value.startswith("external:"):
            raise UserError(
                f"the run read {key} from a place whose path is not stored",
                got=value,
                fix=f"radiograph replay RUN --with {key}=PATH",
                code="input_missing",
            )


def _require_same_inputs(before: Bundle, after: Bundle) -> None:
    new = {i.role: i for i in after.manifest.inputs}
    for old in before.manifest.inputs:
        now = new.get(old.role)
        same = now is not None and (now.tensors_sha256 or now.sha256) == (old.tensors_sha256 or old.sha256)
        if not same:
            raise UserError(
                f"the {old.role} is not the one that the run read",
                expected=old.tensors_sha256 or old.sha256,
                got=(now.tensors_sha256 or now.sha256) if now else "nothing",
                where=old.ref,
                code="input_changed",
            )


def _worst(compared: tuple[Compared, ...]) -> Status:
    found = {c.status for c in compared if not c.path.startswith("figures/")}
    drawn = {c.status for c in compared if c.path.startswith("figures/")}
    if "different" in found:
        return "different"
    return "equivalent" if "equivalent" in found or drawn - {"identical"} else "identical"


def _compare(left: Path, right: Path, name: str, tolerance: float) -> Compared:
    a, b = left / name, right / name
    if not b.is_file():
        return Compared(path=name, status="different", text="missing in the second run")
    if a.read_bytes() == b.read_bytes():
        return Compared(path=name, status="identical")
    if name.endswith(".json"):
        difference = _first_difference(json.loads(a.read_bytes()), json.loads(b.read_bytes()), tolerance)
    elif name.endswith(".parquet"):
        difference = _first_difference(_rows(a), _rows(b), tolerance)
    else:
        difference = "bytes differ"
    return Compared(path=name, status="different" if difference else "equivalent", text=difference or "")


def _rows(path: Path) -> dict[str, list[Any]]:
    import polars

    return polars.read_parquet(path).to_dict(as_series=False)


def _first_difference(a: Any, b: Any, tolerance: float, place: str = "") -> str | None:
    """Where two documents differ by more than the tolerance, or None."""
    if isinstance(a, dict) and isinstance(b, dict):
        if list(a) != list(b):
            return f"{place or '/'}: keys differ"
        pairs = ((f"{place}/{k}", a[k], b[k]) for k in a)
    elif isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            return f"{place}: {len(a)} items against {len(b)}"
        pairs = ((f"{place}/{i}", x, y) for i, (x, y) in enumerate(zip(a, b, strict=True)))
    else:
        return None if _close(a, b, tolerance) else f"{place}: {a!r} against {b!r}"
    return next((d for p, x, y in pairs if (d := _first_difference(x, y, tolerance, p))), None)


def _close(a: Any, b: Any, tolerance: float) -> bool:
    if isinstance(a, float | int) and isinstance(b, float | int) and not isinstance(a, bool):
        return abs(a - b) <= tolerance * max(abs(a), abs(b))
    return a == b
