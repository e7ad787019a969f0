"""Model references: the string that names a model, and the folder it stands for. No torch.

    FOLDER · OWNER/NAME[@REVISION] on the hub · bundled:NAME
    each optionally +ADAPTER, a PEFT adapter that is named in the same way

1. split base from adapter (`core.text.sides`): folders may have a plus in their names
2. a folder that exists is itself; `bundled:NAME` is asked of the caller; what reads like a hub id is looked for in the
   local hub cache, and on the hub only when the caller allows the network
Refuses (`UserError`, exit 3) with what was looked for, where, and the nearest names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radiograph.core import FormatError, UserError, nearest
from radiograph.core.config import sides

Resolve = Callable[[str], Path]
_HUB_ID = re.compile(r"(?P<id>[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)?)(?:@(?P<revision>[\w./-]+))?")
_DATA = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
_PICKLES = ["*.bin"]


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A parsed reference. `str(ref)` gives back what was parsed."""

    base: str
    adapter: str | None = None

    def __str__(self) -> str:
        return self.base if self.adapter is None else f"{self.base}+{self.adapter}"

    @classmethod
    def parse(cls, text: str | ModelRef, *, base_dir: Path | None = None) -> ModelRef:
        """Split a reference into base and adapter; `base_dir` is where relative folders are looked for.

        Raises:
            UserError: an empty base or adapter, or a NUL byte.
        """
        if isinstance(text, ModelRef):
            return text
        text = text.strip()
        expected = "FOLDER, OWNER/NAME or bundled:NAME, each with +ADAPTER"
        if "\0" in text:
            raise UserError("a model reference with a NUL byte", expected=expected, code="path_outside_workspace")
        if not text:
            raise UserError("empty model reference", expected=expected)
        base, adapter = sides(text, lambda part: _folder(part, base_dir).is_dir())
        if not base or adapter == "":
            raise UserError(f"model reference {text!r} has an empty side", expected="BASE+ADAPTER")
        return cls(base, adapter)


def locate(
    name: str,
    *,
    base_dir: Path | None = None,
    offline: bool = True,
    resolve: Resolve | None = None,
    code: bool = False,
) -> Path:
    """The local folder of one base or adapter name; `code` also fetches the hub repository's Python files.

    Raises:
        UserError: nothing of that name here, in the hub cache, or (when allowed) on the hub.
    """
    if name.startswith("bundled:"):
        if resolve is None:
            raise UserError(f"no bundled models are registered, so {name!r} cannot be resolved", code="model_not_found")
        return resolve(name.removeprefix("bundled:"))
    folder = _folder(name, base_dir)
    if folder.is_dir():
        return folder
    match = _HUB_ID.fullmatch(name)
    if match is None or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise _not_found(name, folder)
    return _snapshot(match["id"], match["revision"], folder, offline=offline, code=code)


def check_adapter(folder: Path) -> None:
    """Say so when an adapter was given where a model belongs."""
    if (folder / "adapter_config.json").is_file():
        raise UserError(
            f"{folder} is an adapter, not a model",
            expected="BASE+ADAPTER",
            fix=f"write BASE+{folder.name} with the model that it was trained on",
            code="adapter_without_base",
        )


def adapter_config(folder: Path) -> dict[str, Any]:
    """The adapter_config.json of an adapter inside the network.

    Raises:
        UserError: no such file, or a prompt adapter. FormatError: not JSON.
    """
    path = folder / "adapter_config.json"
    if not path.is_file():
        raise UserError(f"{folder} is not an adapter", expected="a file adapter_config.json", code="model_not_found")
    try:
        config = json.loads(path.read_text())
    except ValueError as error:
        raise FormatError(f"{path} is not JSON", where=str(path), got=str(error)) from error
    kind = str(config.get("peft_type", "?")).upper()
    if "PROMPT" in kind or kind in {"P_TUNING", "PREFIX_TUNING"}:
        raise UserError(
            f"adapter {folder.name!r} is a prompt adapter ({kind})",
            expected="an adapter inside the network: LoRA, rsLoRA, DoRA, IA3, modules_to_save",
            code="adapter_mismatch",
        )
    return config


def adapter_notes(base: ModelRef, config: Mapping[str, Any]) -> tuple[str, ...]:
    """A remark where the adapter records another base than the one given."""
    recorded = str(config.get("base_model_name_or_path") or "")
    if Path(recorded).name == Path(base.base.split("@")[0]).name and recorded:
        return ()
    return (f"adapter_base_unverified: recorded {recorded or 'nothing'!r}, given {base.base!r}",)


def _folder(name: str, base_dir: Path | None) -> Path:
    path = Path(name).expanduser()
    return path if base_dir is None or path.is_absolute() else base_dir / path


def _not_found(name: str, folder: Path, *, also: str = "", fix: str | None = None) -> UserError:
    parent = folder.parent
    siblings = sorted(p.name for p in parent.iterdir() if p.is_dir()) if parent.is_dir() else []
    close = nearest(folder.name, siblings)
    return UserError(
        f"model {name!r} was not found",
        where=f"folder {folder}{also}",
        expected="a folder with config.json (or adapter_config.json), a hub id, or bundled:NAME",
        fix=f"did you mean {', '.join(close)}?" if close else fix,
        code="model_not_found",
    )


def _snapshot(hub_id: str, revision: str | None, folder: Path, *, offline: bool, code: bool) -> Path:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HFValidationError, HTTPError, LocalEntryNotFoundError

    offline = offline or constants.HF_HUB_OFFLINE
    patterns = _DATA + (["*.py"] if code else [])
    where = f"; hub cache {constants.HF_HUB_CACHE}" + ("" if offline else f"; hub {constants.ENDPOINT}")

    def fetch(allow: list[str]) -> Path:
        return Path(snapshot_download(hub_id, revision=revision, allow_patterns=allow, local_files_only=offline))

    try:
        path = fetch(patterns)
        if not offline and not any(path.rglob("*.safetensors")):
            path = fetch(patterns + _PICKLES)
    except (LocalEntryNotFoundError, HFValidationError) as error:
        off = "the network is off: allow it (--online), or give a local folder"
        raise _not_found(hub_id, folder, also=where, fix=off if offline else str(error).splitlines()[0]) from error
    except (HTTPError, OSError) as error:
        raise _not_found(hub_id, folder, also=where, fix=str(error).splitlines()[0]) from error
    return path
