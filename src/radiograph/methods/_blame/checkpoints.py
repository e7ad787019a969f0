"""Checkpoints of a training run: models, learning rates, states of the optimiser; those between which it broke.

A folder of `checkpoint-N` folders, or a comma list. The learning rate is what `trainer_state.json` logged at that step,
unless given; `optimizer.pt` is read with weights only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.core import Context, FormatError, Refusal, UserError, finite_number
from radiograph.evidence.reportcard.bisection import Bisection

if TYPE_CHECKING:
    from radiograph.models import LanguageModel


@dataclass(frozen=True)
class Between:
    """What `bisect` found: checkpoints from the last good to the first broken one, and which rows were read there."""

    names: tuple[str, ...]
    lines: frozenset[int] | None
    """Lines of the data; None where nobody tells, or all."""
    stamps: tuple[str, ...] = ()


STATE, OPTIMISER = "trainer_state.json", "optimizer.pt"
MOST = 4096


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """One of them, loaded."""

    name: str
    model: LanguageModel
    rate: float
    folder: Path

    def preconditioner(self, shapes: Sequence[tuple[int, int]]) -> np.ndarray | None:
        """1/(√v̂ + ε) of every entry, of Adam's second moments; None where they are not there for these matrices.

        Raises:
            FormatError: the file would run code, or is none.
        """
        import torch

        path = self.folder / OPTIMISER
        if not path.is_file():
            return None
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # damaged bytes end the unpickler in any way, struct.error too
            raise FormatError(
                f"{path.name} is no state of an optimiser", where=str(path), got=str(error)[:200]
            ) from error
        return _scales(state, shapes)


def _scales(state: Any, shapes: Sequence[tuple[int, int]]) -> np.ndarray | None:
    try:
        groups = [group for group in state["param_groups"] if group["params"]]
        numbers = [number for group in groups for number in group["params"]]
        moments = [state["state"][number] for number in numbers]
        if [tuple(m["exp_avg_sq"].shape) for m in moments] != list(shapes):
            return None
        beta, eps = float(groups[0]["betas"][1]), float(groups[0]["eps"])
        parts = [
            1 / ((m["exp_avg_sq"].double() / (1 - beta ** float(m["step"]))).sqrt() + eps).flatten().numpy()
            for m in moments
        ]
    except (KeyError, TypeError, IndexError, AttributeError, ZeroDivisionError):
        return None
    return np.concatenate(parts)


def folders_of(ctx: Context, given: str) -> list[str]:
    """Checkpoints of a folder in the natural order of their numbers, or those of a list.

    Raises:
        UserError: none there.
    """
    names = [name.strip() for name in given.split(",") if name.strip()]
    if len(names) != 1:
        found = names
    else:
        place = ctx.locate(names[0])
        inside = [p for p in place.iterdir() if p.is_dir() and re.search(r"\d+$", p.name)] if place.is_dir() else []
        inside.sort(key=lambda p: (int(re.findall(r"\d+", p.name)[-1]), p.name))
        found = [f"{names[0].rstrip('/')}/{p.name}" for p in inside] or names
    if not 1 <= len(found) <= MOST:
        raise UserError("no checkpoints", where="--checkpoints", expected="a folder of checkpoint-N folders, or a list")
    return found


def between(ctx: Context, run: str, order: str | None) -> Between:
    """The interval of a run of `bisect`.

    Raises:
        UserError: the run is none, or its checkpoints lie elsewhere now. Refusal: it found no interval.
    """
    from radiograph.store import finished

    folder = ctx.path(run, "interval")
    bundle = finished(folder)
    if bundle.manifest.verb != "bisect":
        raise UserError(f"{folder.name} is a run of {bundle.manifest.verb}", where="--interval", expected="of bisect")
    found = Bisection.read(bundle.result)
    if found.last_good is None or found.first_broken is None:
        raise Refusal(
            "no_interval",
            "that run of bisect tells no checkpoints between which it broke",
            expected="a last good and a first broken checkpoint",
            got=found.headline,
        )
    places = found.checkpoints.index(found.last_good), found.checkpoints.index(found.first_broken)
    names = found.checkpoints[places[0] : places[1] + 1]
    for name in names:
        if not ctx.locate(name).exists():
            raise UserError(
                f"{name} is not where that run found it",
                where="--interval",
                fix="--checkpoints A,B",
                code="no_checkpoint",
            )
    first, last = (_step(ctx.locate(name)) for name in (names[0], names[-1]))
    if order is not None:
        return Between(names, _seen(ctx.path(order, "order"), first, last))
    epochs = [_state(ctx.locate(name)).get("epoch") for name in (names[0], names[-1])]
    if all(isinstance(e, int | float) for e in epochs) and epochs[1] - epochs[0] >= 1:  # type: ignore[operator]
        return Between(names, None)
    return Between(names, None, (f"all_rows: which rows were read from {names[0]} to {names[-1]} is not known",))


def _state(folder: Path) -> dict[str, Any]:
    try:
        found: Any = json.loads((folder / STATE).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _step(folder: Path) -> int:
    told = _state(folder).get("global_step")
    numbers = re.findall(r"\d+", folder.name)
    if isinstance(told, int):
        return told
    return int(numbers[-1]) if numbers else 0


def _seen(path: Path, first: int, last: int) -> frozenset[int]:
    """Lines that steps after `first` up to `last` read.

    Raises:
        FormatError: a line of another form. UserError: no step in between.
    """
    lines: set[int] = set()
    steps = 0
    with path.open("rb") as handle:
        for number, line in enumerate(handle, start=1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
                step, rows = value["step"], value["rows"]
            except (ValueError, KeyError, TypeError, RecursionError):
                step, rows = None, None
            if type(step) is not int or not isinstance(rows, list) or not all(type(r) is int and r > 0 for r in rows):
                raise FormatError("not a step", where=f"{path.name}:{number}", expected='{"step": 12, "rows": [3, 41]}')
            if first < step <= last:
                steps += 1
                lines.update(rows)
    if not steps:
        raise UserError(f"{path.name} tells no step from {first + 1} to {last}", where="--order", code="no_steps")
    return frozenset(lines)


def opened(ctx: Context, reference: str, names: Sequence[str], rates: Sequence[float]) -> Iterator[Checkpoint]:
    """Every checkpoint with its learning rate, one in memory at a time; rates are known before the first is opened.

    Raises:
        UserError: a rate that nobody tells, or another number of them than of checkpoints.
    """
    if rates and len(rates) not in (1, len(names)):
        raise UserError(
            "learning rates and checkpoints do not match",
            where="--lr",
            expected=f"1 or {len(names)}",
            got=str(len(rates)),
        )
    folders = [ctx.locate(name) for name in names]
    given = list(rates) * (len(names) if len(rates) == 1 else 1)
    found = given or [_rate(folder) for folder in folders]
    return _each(ctx, reference, names, found, folders)


def _each(
    ctx: Context, reference: str, names: Sequence[str], rates: Sequence[float], folders: Sequence[Path]
) -> Iterator[Checkpoint]:
    for number, (name, rate, folder) in enumerate(zip(names, rates, folders, strict=True), start=1):
        ref = f"{reference}+{name}" if (folder / "adapter_config.json").is_file() else name
        yield Checkpoint(Path(name).name, ctx.model(ref, f"checkpoint{number}"), rate, folder)


def _rate(folder: Path) -> float:
    path = folder / STATE
    try:
        state = json.loads(path.read_bytes())
        logged = [
            e["learning_rate"]
            for e in state["log_history"]
            if "learning_rate" in e and e["step"] <= state["global_step"]
        ]
        rate = finite_number(logged[-1])
        if rate is None:
            raise ValueError(f"{str(logged[-1])[:40]} is no finite number")
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(
            f"nobody tells the learning rate of {folder.name}",
            where=str(path),
            expected=f"a learning rate in log_history of {STATE}",
            fix="give --lr RATE, or one rate for each checkpoint",
            code="no_rate",
        ) from error
    if not 0 < rate < float("inf"):
        raise UserError(f"the learning rate of {folder.name} is not above 0", where=str(path), got=str(rate))
    return rate
