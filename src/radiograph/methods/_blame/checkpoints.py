"""Checkpoints of a training run: models, learning rates, states of the optimiser.

A folder of `checkpoint-N` folders, or a comma list. The learning rate is what `trainer_state.json` logged at that step,
unless given; `optimizer.pt` is read with weights only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from radiograph.core import Context, FormatError, UserError

if TYPE_CHECKING:
    from radiograph.models import LanguageModel

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
        import pickle

        import torch

        path = self.folder / OPTIMISER
        if not path.is_file():
            return None
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
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


def opened(ctx: Context, reference: str, names: Sequence[str], rates: Sequence[float]) -> list[Checkpoint]:
    """Every checkpoint with its learning rate.

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
    adapters = [(folder / "adapter_config.json").is_file() for folder in folders]
    refs = [f"{reference}+{name}" if own else name for name, own in zip(names, adapters, strict=True)]
    loaded = ctx.models(reference, refs)
    models = [model for role, model in loaded.items() if role != "reference"]
    given = list(rates) * (len(names) if len(rates) == 1 else 1)
    found = given or [_rate(folder) for folder in folders]
    return [
        Checkpoint(Path(name).name, model, rate, folder)
        for name, model, rate, folder in zip(names, models, found, folders, strict=True)
    ]


def _rate(folder: Path) -> float:
    path = folder / STATE
    try:
        state = json.loads(path.read_bytes())
        logged = [
            e["learning_rate"]
            for e in state["log_history"]
            if "learning_rate" in e and e["step"] <= state["global_step"]
        ]
        rate = float(cast("float", logged[-1]))
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
