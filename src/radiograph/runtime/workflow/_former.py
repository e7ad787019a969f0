"""Steps of a former run that need not run again.

A step is taken over where verb, resolved configuration, seed, version of the tool and every input are the same, its
own bundle verifies, and it ended as this workflow lets a step end.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radiograph.core import RadiographError, UserError, inputs_of
from radiograph.evidence import InputRecord, Manifest
from radiograph.runtime._catalogue import Verb
from radiograph.runtime._execute import portable, tool_version
from radiograph.runtime._resolve import Resolved
from radiograph.runtime._verify import verify
from radiograph.store import PARTIAL, Bundle, file_sha256, folder_sha256

if TYPE_CHECKING:
    from radiograph.runtime._context import RunContext

_FIXED = ("bundled:", "world:", "dictionary:bundled", "calibration:bundled")
"""What the version of the tool decides."""


def check_former(run: Path) -> Path:
    """The folder of a run's steps.

    Raises:
        UserError: it is no run of a workflow.
    """
    if not (run / "steps").is_dir():
        raise UserError(f"{run.name} has no steps to go on with", expected="a run of `radiograph run`", code="no_run")
    return run / "steps"


def take_over(
    steps: Path, name: str, verb: Verb, resolved: Resolved, context: RunContext, *, any_end: bool
) -> Bundle | None:
    """Copy the step's bundle into this run, if it can be taken over; `name` is its folder."""
    old = steps / name
    if old.name.endswith(PARTIAL) or not (old / "manifest.json").is_file():
        return None
    try:
        manifest = Bundle(old).manifest
    except RadiographError:
        return None
    same = (
        manifest.verb == verb.key
        and manifest.config == portable(resolved.config, context.workspace, context.secrets)
        and manifest.seed == context.seed
        and manifest.tool_version == tool_version()
        and (manifest.exit_code == 0 or any_end)
    )
    if not same or not _same_inputs(manifest, resolved, context) or verify(old).status != "intact":
        return None
    target = context.output.folder("steps") / name
    shutil.copytree(old, target)
    return Bundle(target)


def _same_inputs(manifest: Manifest, resolved: Resolved, context: RunContext) -> bool:
    given = _given(resolved, context)
    records = [r for r in manifest.inputs if r.kind != "tokenizer"]  # it belongs to its model, and is hashed with it
    return all(_same(record, given, context) for record in records)


def _given(resolved: Resolved, context: RunContext) -> dict[str, str]:
    """What each reference of a manifest was written as."""
    found: dict[str, str] = {}
    for name in inputs_of(type(resolved.config)):
        value: Any = getattr(resolved.config, name)
        for one in [value] if isinstance(value, str) else value or ():
            found[context.workspace.portable(one)] = one
    return found


def _same(record: InputRecord, given: dict[str, str], context: RunContext) -> bool:
    if record.ref.startswith(_FIXED):
        return True
    reference = given.get(record.ref, record.ref)
    if reference.startswith("run:"):
        reference = str(context.output.path / reference.removeprefix("run:"))
    try:
        if record.kind == "model":
            identity = context.stored(reference, "model of a former run").identity
            return (identity.files_sha256 or identity.tensors_sha256) == record.sha256
        if record.kind == "dictionary":
            return context.dictionary(reference, "dictionary of a former run").hash == record.sha256
        if record.kind == "activations":
            return context.activations(reference, "activations of a former run").sha256 == record.sha256
        path = context.workspace.resolve(reference)
    except RadiographError:
        return False
    return (folder_sha256(path) if path.is_dir() else file_sha256(path)) == record.sha256
