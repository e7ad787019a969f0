"""`edits.json`: what lies on top of what, in a folder of baked weights or in the workspace for adapters.

Each layer names the run that made it and the model's tensors before and after. The last one is on top; a layer may be
taken off only there. A layer that was taken off stays in the list of the workspace as `undone`, and leaves a baked
folder's file, which goes when it is empty: then every byte of the folder is the original's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from radiograph.core import FormatError
from radiograph.evidence import Document, Record, pretty_json
from radiograph.store import write_whole

STACK: Final = "edits.json"


class Layer(Record):
    """One edit."""

    run: str
    """Folder name of the run that made it."""
    kind: Literal["adapter", "baked"]
    before: str
    """Tensors of the model that was edited."""
    after: str
    """Tensors of the edited one."""
    state: Literal["on", "undone"] = "on"


class Stack(Document):
    """Layers, the first one undermost."""

    SCHEMA: ClassVar[str] = "radiograph.edits/1"

    layers: tuple[Layer, ...] = ()

    def on_top_of(self, after: str) -> list[Layer]:
        """Layers that are on and rest on this state, the topmost first."""
        found: list[Layer] = []
        states = {after}
        # In whatever order the layers are listed: names of runs say nothing about what rests on what.
        while more := [own for own in self.layers if own.state == "on" and own.before in states and own not in found]:
            found += more
            states = {layer.after for layer in more}
        return found[::-1]

    def with_layer(self, layer: Layer) -> Stack:
        """One more on top; a layer of the same run takes the place of the older one."""
        return Stack(layers=(*(own for own in self.layers if own.run != layer.run), layer))

    def undone(self, run: str) -> Stack:
        """The layer of a run, taken off."""
        return Stack(layers=tuple(o.model_copy(update={"state": "undone"}) if o.run == run else o for o in self.layers))


def read_stack(folder: Path) -> Stack:
    """The stack of a folder; empty where there is no file.

    Raises:
        FormatError: a file that is not one.
    """
    path = folder / STACK
    if not path.is_file():
        return Stack()
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise FormatError("not JSON", where=str(path), got=str(error)) from error
    if not isinstance(content, dict):
        raise FormatError("not a stack of edits", where=str(path), expected="an object")
    return Stack.read(content, where=str(path))


def write_stack(folder: Path, stack: Stack) -> None:
    """Write it whole or not at all; no layers, no file."""
    path = folder / STACK
    if not stack.layers:
        path.unlink(missing_ok=True)
        return
    data = pretty_json(stack).encode()
    write_whole(path, (data,), len(data))
