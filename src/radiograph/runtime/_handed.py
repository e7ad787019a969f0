"""A result handed to somebody who did not ask for a bundle: `--json`, `--output FILE`, `--schema soup`.

1. the text is `result.json`, or, where a verb has an option `--schema` that says `soup`, what the verb's own
   `soup(result)` makes of it: the keys of soup-cli, sorted, two blanks
2. what those keys cannot say (not measured, inconclusive, refused) is not written with them: `soup` refuses, exit 4
3. a file is written beside its place, synced and renamed; a link at its place is refused, never followed
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from radiograph.core import Config, Refusal, UserError, visible
from radiograph.evidence import Refused, pretty_json
from radiograph.runtime._catalogue import Verb
from radiograph.store import Workspace, write_whole


def document_text(verb: Verb, config: Config, result: Any) -> str:
    """The JSON of a result in the schema that was asked for.

    Raises:
        Refusal: the other schema has no words for this result.
    """
    if getattr(config, "schema_", None) != "soup":
        return pretty_json(result)
    if isinstance(result, Refused):
        raise Refusal(result.code, result.text, expected=result.expected, got=result.got, fix=result.fix)
    return json.dumps(verb.module.soup(result), indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"


def check_place(workspace: Workspace, output: str) -> Path:
    """Where a result may be written.

    Raises:
        UserError: no such folder, a folder, or a link.
    """
    place = workspace.base / output
    workspace.resolve(output, must_exist=False)
    if place.is_symlink() or place.is_dir():
        raise UserError(
            f"{visible(output)!r} is a {'link' if place.is_symlink() else 'folder'}",
            expected="a file, or nothing there",
            fix="choose another --output",
            code="bad_output",
        )
    if not place.parent.is_dir():
        raise UserError(f"no folder for {visible(output)!r}", fix="make it first", code="not_found")
    return place


def hand_over(text: str, place: Path) -> None:
    """Write a result to a file.

    Raises:
        RadiographError: the disk refuses.
    """
    data = text.encode()
    write_whole(place, (data,), len(data))
