"""Which benign or degraded models are meant by what was typed, and whether they can calibrate anything.

MODEL: as everywhere; an adapter's folder stands for the reference with that adapter. DIR: every model folder in it;
where the truth about them lies beside (`truth/NAME.json`), those alone that are benign (or broken), or of the part
`calibrate` (or `degraded`) of a tier. FILE: one model a line, and its family after a tab or spaces.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from radiograph.core import Context, FormatError, UserError
from radiograph.core.config import sides
from radiograph.evidence import ModelKind
from radiograph.organisms import ADAPTER, MODEL

MIN_MODELS = 9
Kind = Literal["benign", "degraded"]
_MEANT = {"benign": ("calibrate", "benign"), "degraded": ("degraded", "broken")}
"""Part of a tier, and class of an organism."""


@dataclass(frozen=True)
class Benign:
    """One benign or degraded model."""

    name: str
    reference: str
    """What to load."""
    family: str
    kind: ModelKind
    tensors_sha256: str = ""


def find(asked: Sequence[str], reference: str, ctx: Context, kind: Kind = "benign") -> list[Benign]:
    """Every model that is meant, in order.

    Raises:
        UserError: nothing is there.
    """
    return [found for text in asked for found in _find(text, reference, ctx, kind)]


def _find(text: str, reference: str, ctx: Context, meant: Kind, family: str = "") -> Iterator[Benign]:
    # A folder's own name may hold a plus.
    _, added = sides(text, lambda part: not part.startswith("bundled:") and ctx.locate(part).is_dir())
    if text.startswith("bundled:") or added is not None:
        from radiograph import organisms

        name = text if added is None else added
        adapter = added is not None or (organisms.bundled_path(name.removeprefix("bundled:")) / ADAPTER).is_file()
        whole = f"{reference}+{text}" if adapter and added is None else text
        yield Benign(name.removeprefix("bundled:").rsplit("/", 1)[-1], whole, family, "adapter" if adapter else "full")
        return
    path = ctx.locate(text)
    if path.is_file():
        for model, kin in _listed(path, meant):
            beside = path.parent / model
            if beside.is_file():
                raise FormatError(
                    f"{path.name} names {model}, which is a file",
                    expected="a model a line",
                    where=f"--{meant}",
                    fix="a list of models cannot hold another list",
                )
            yield from _find(str(beside) if beside.exists() else model, reference, ctx, meant, kin)
        return
    if (path / ADAPTER).is_file():
        yield Benign(path.name, f"{reference}+{path}", family or _family(path), "adapter")
    elif (path / MODEL).is_file():
        yield Benign(path.name, str(path), family or _family(path), "full")
    else:
        yield from _folder(path, text, reference, ctx, meant)


def _listed(path: Path, meant: Kind) -> Iterator[tuple[str, str]]:
    """(model, family) of every line: after a tab the family; a folder's name may hold spaces."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise FormatError(
            f"{path.name} is no list of models",
            expected="UTF-8 text, a model a line and its family after a tab; or a model's folder",
            where=f"--{meant}",
            got=str(error),
        ) from error
    for line in filter(None, map(str.strip, lines)):
        if line.startswith("#"):
            continue
        parts = line.partition("\t") if "\t" in line else line.partition(" ")
        whole = "\t" not in line and (path.parent / line).exists()
        yield (line, "") if whole else (parts[0].strip(), parts[2].strip())


def _folder(path: Path, text: str, reference: str, ctx: Context, meant: Kind) -> Iterator[Benign]:
    from radiograph import organisms

    inside = organisms.model_folders(path)
    if not inside:
        raise UserError(
            f"no model in {text}",
            expected=f"folders with {MODEL} or {ADAPTER}",
            where=f"--{meant}",
            code="model_not_found",
        )
    chosen = [p for p in inside if _is(meant, p)]
    if len(chosen) < len(inside):
        ctx.progress.say(f"{text}: {len(chosen)} of {len(inside)} models are taken, by the truth that lies beside them")
    for one in chosen:
        yield from _find(str(one), reference, ctx, meant)


def _truth(path: Path) -> dict[str, str]:
    beside = path.parent / "truth" / f"{path.name}.json"
    if not beside.is_file():
        return {}
    try:
        found = json.loads(beside.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FormatError(f"{beside.name} is not JSON", where=path.name, got=str(error)) from error
    return {key: str(found.get(key, "")) for key in ("family", "class_gated", "class_intended")}


def _family(path: Path) -> str:
    return _truth(path).get("family", "")


def _is(meant: Kind, path: Path) -> bool:
    part, gated = _MEANT[meant]
    split = path.parent / "truth" / "split" / "tier.json"
    if split.is_file():
        parts = {name: own["part"] for name, own in json.loads(split.read_text(encoding="utf-8"))["organisms"].items()}
        if part in parts.values():
            return parts.get(path.name) == part
    return _truth(path).get("class_gated", gated) == gated


def check(models: Sequence[Benign], reference_sha256: str, degraded: Sequence[Benign] = ()) -> None:
    """Refuse what cannot calibrate.

    Raises:
        UserError: fewer than nine benign ones, one equal to the reference, or two that are equal.
    """
    seen: dict[str, str] = {}
    for model in (*models, *degraded):
        if model.tensors_sha256 == reference_sha256:
            raise UserError(
                f"{model.name} is the reference itself",
                expected="fine-tunes of it",
                got=f"tensors {reference_sha256[:16]}",
                fix="leave it out",
                code="duplicate_model",
            )
        if model.tensors_sha256 in seen:
            raise UserError(
                f"{seen[model.tensors_sha256]} and {model.name} are the same model",
                expected="distinct fine-tunes: a copy is no second model",
                got=f"tensors {model.tensors_sha256[:16]}",
                fix="leave one out",
                code="duplicate_model",
            )
        seen[model.tensors_sha256] = model.name
    if len(models) < MIN_MODELS:
        raise UserError(
            "too few benign models",
            expected=f"≥ {MIN_MODELS}: 19 for p = .05, 99 for p = .01",
            got=str(len(models)),
            fix="give more, or --make N --data FILE to train them",
            code="too_few_models",
        )
