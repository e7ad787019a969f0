"""Take a baked edit back: put the stored bytes where they were. Nothing is ever subtracted.

1. every file must be as the edit left it, or already as it was before (an undo that was killed goes on)
2. the folder's stack must have this edit on top   3. each file is written beside itself, its SHA-256 compared with the
original's, and renamed; then the layer leaves the stack
Refuses before anything is touched: a later edit on top (with the order in which to undo), another state, bytes that are
missing or altered.
"""

from __future__ import annotations

from pathlib import Path, PurePath

from radiograph.core import FormatError, UserError, visible
from radiograph.interventions.edits._baked import read_originals, sha256
from radiograph.interventions.edits._stack import Layer, Stack, read_stack, write_stack
from radiograph.store import PARTIAL, write_whole


def check_top(stack: Stack, run: str, after: str) -> None:
    """Refuse while other edits rest on this one.

    Raises:
        UserError: `out_of_order`, with the edits in the order in which they come off.
    """
    above = stack.on_top_of(after)
    if above:
        order = " → ".join([*(layer.run for layer in above), run])
        raise UserError(
            f"{len(above)} later edits lie on top of {run}" if len(above) > 1 else f"a later edit lies on top of {run}",
            expected="the edit on top first",
            fix=f"undo in this order: {order}",
            code="out_of_order",
        )


def undo(folder: Path, originals: Path, layer: Layer) -> list[tuple[str, str]]:
    """Restore a baked folder; returns each file with its SHA-256, which is that of before the edit.

    Raises:
        UserError: a later edit on top, or files that this edit did not write. FormatError: original bytes altered.
    """
    found, kept = read_originals(originals)
    stack = read_stack(folder)
    check_top(stack, layer.run, layer.after)
    if not any(own.run == layer.run for own in stack.layers):
        raise UserError(
            f"{folder.name} does not hold the edit of {layer.run}",
            expected=f"a layer of that run in {folder.name}/edits.json",
            got=", ".join(own.run for own in stack.layers) or "no layer",
            code="not_edited",
        )
    restored: list[tuple[Path, bytes | None, str]] = []
    for file in found.files:
        if not file.file or PurePath(file.file).name != file.file:
            raise FormatError(
                "the original bytes name a file that is not of the model's folder",
                where=str(originals),
                got=visible(file.file, 80),
                code="path_outside",
            )
        path = folder / file.file
        data = bytearray(path.read_bytes()) if path.is_file() else bytearray()
        now = sha256(data)
        if now not in (file.before, file.after):
            raise UserError(
                f"{file.file} is not what the edit left",
                where=str(path),
                expected=file.after,
                got=now if data else "no such file",
                fix="something else changed it: restore that first",
                code="changed_since",
            )
        if now == file.before:
            restored.append((path, None, file.before))
            continue
        for tensor in file.tensors:
            if not 0 <= tensor.start <= tensor.stop <= len(data):
                raise FormatError(
                    f"{tensor.name} does not lie in {file.file}",
                    where=str(originals),
                    expected=f"0 to {len(data)}",
                    got=f"{tensor.start} to {tensor.stop}",
                )
            data[tensor.start : tensor.stop] = kept[tensor.kept : tensor.kept + tensor.stop - tensor.start]
        if sha256(data) != file.before:
            raise FormatError(f"{file.file} would not be the original", where=str(path), expected=file.before)
        restored.append((path, bytes(data), file.before))
    for path, data, _ in restored:
        for stale in folder.glob(f"{path.name}.*{PARTIAL}"):
            stale.unlink()  # of an undo that was killed
        if data is not None:
            write_whole(path, (data,), len(data))
    write_stack(folder, Stack(layers=tuple(own for own in stack.layers if own.run != layer.run)))
    return [(path.name, digest) for path, _, digest in restored]
