"""Take an edit back, and prove that what is left is the model from before.

1. RUN is a run of `edit apply` or `edit train`; its bundle must be whole, and the bytes it kept what it wrote
2. of a baked copy the stored original bytes are put back, file by file, and every file's SHA-256 is the original's
   again; nothing is subtracted   3. of an adapter: the model without it is loaded, and its tensors' hash and its logits
   must be the reference's bit for bit, and the model that was edited must be there; then it is retired in the
   `edits.json` of the folder that holds its run
4. later edits that lie on top come off first

Refuses, with nothing touched (exit 3): a later edit on top (the order is named), a file that something else changed,
original bytes that are missing or altered, an edit that was undone already.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from radiograph.core import Config as Base
from radiograph.core import Context, RadiographError, RunPath, UserError
from radiograph.evidence.edits import Edit, EditUndo, RestoredFile
from radiograph.store import complete, finished

if TYPE_CHECKING:
    from radiograph.interventions.edits import Stack


KEPT = "originals"


class Config(Base):
    """Which edit."""

    run: RunPath
    """A run of `edit apply` or `edit train`."""
    folder: str | None = None
    """The baked copy; by default the folder that the run wrote."""


def run(config: Config, ctx: Context) -> EditUndo:
    """Check, restore, prove."""
    place = ctx.path(config.run, "edit")
    made, _ = complete(place, Edit, what="is not a run of edit", made_by="edit apply")
    if made.baked is not None:
        return _baked(config, ctx, place, made)
    return _adapter(ctx, place, made)


def _baked(config: Config, ctx: Context, place: Path, made: Edit) -> EditUndo:
    from radiograph.interventions.edits import BYTES, ORIGINALS, read_stack, undo
    from radiograph.models import tensors_sha256

    for name in (ORIGINALS, BYTES):
        if (place / KEPT / name).is_file():
            finished(place, f"{KEPT}/{name}")
    assert made.baked is not None, "baked"
    folder = ctx.place(config.folder or made.baked)
    if not folder.is_dir():
        raise UserError(f"{folder.name} is not there", where="--folder", expected="the baked copy", code="not_found")
    layer = next((own for own in read_stack(folder).layers if own.run == place.name), None)
    if layer is None:
        raise UserError(
            f"{folder.name} does not hold the edit of {place.name}",
            expected=f"a layer of that run in {folder.name}/edits.json",
            code="not_edited",
        )
    with ctx.measure("restore"):
        restored = undo(folder, place / KEPT, layer)
    now = tensors_sha256(folder)
    return EditUndo(
        run=place.name,
        kind="baked",
        model=ctx.label(str(folder)),
        before=layer.before,
        restored=tuple(RestoredFile(file=name, sha256=digest) for name, digest in restored),
        identical=now == layer.before,
    )


def _adapter(ctx: Context, place: Path, made: Edit) -> EditUndo:
    from radiograph.interventions.edits import check_top, read_stack, write_stack

    home = place.parent
    stack = _stacked(home, read_stack(home))
    own = next(layer for layer in stack.layers if layer.run == place.name)
    if own.state == "undone":
        raise UserError(f"{place.name} was undone before", expected="an edit that is on", code="undone")
    check_top(stack, place.name, own.after)
    with ctx.measure("compare"):
        identical = _same_without(ctx, made, place)
    if not identical:
        raise UserError(
            f"{made.model} is not the model that {place.name} was made of",
            expected="its tensors, and the base's logits, bit for bit",
            fix="restore it first",
            code="changed_since",
        )
    write_stack(home, stack.undone(place.name))
    return EditUndo(run=place.name, kind="adapter", model=made.model, before=made.before, identical=True)


def _stacked(home: Path, known: Stack) -> Stack:
    """Every adapter edit that lies beside this one; what was taken off stays off."""
    from radiograph.interventions.edits import Layer, Stack

    off = {layer.run for layer in known.layers if layer.state == "undone"}
    layers: list[Layer] = []
    for path in sorted(home.glob("*/result.json")):
        # Runs that are unfinished, unreadable or of another verb edit nothing.
        try:
            made, _ = complete(path.parent, Edit, what="is not a run of edit", made_by="edit apply")
        except RadiographError:
            continue
        name = path.parent.name
        if made.baked is None:
            state = "undone" if name in off else "on"
            layers.append(Layer(run=name, kind="adapter", before=made.before, after=made.after, state=state))
    return Stack(layers=tuple(layers))


def _same_without(ctx: Context, made: Edit, place: Path) -> bool:
    """Whether the base with the adapter off is the base, tensors and logits, and the model from before is there."""
    import torch

    from radiograph.models import forward, pad

    pair = ctx.pair(made.base, f"{made.base}+{place / made.adapter}")
    plain = ctx.model(made.base, "plain")
    batch = pad([[n * 37 % plain.vocab_size for n in range(min(16, plain.context_length))]])
    same = torch.equal(forward(pair.reference, batch), forward(plain, batch))
    base = pair.candidate.identity.base_tensors_sha256
    # What was edited may itself be the base with an adapter: then that is what one goes back to.
    before = plain if made.model == made.base else ctx.pair(made.base, made.model).candidate
    return bool(same) and base == plain.identity.tensors_sha256 and before.identity.tensors_sha256 == made.before


def recompute(result: dict[str, Any], folder: Any) -> list[str]:
    """A model that is not back is not undone."""
    return [] if EditUndo.read(result).identical else ["/identical: the model is not what it was"]
