"""A small suite, candidates made by editing the bundled base, and one audit of each, for the tests of audits."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from radiograph import organisms
from radiograph.core import RadiographError
from radiograph.evidence import Audit, OutputRecord, pretty_json
from radiograph.runtime import Outcome
from radiograph.store import MANIFEST, SIDECAR, Bundle, evidence_sha256, file_sha256
from running import go

BASE = organisms.bundled_path("base")
DICTIONARY = organisms.bundled_path("dictionary")
TASKS = ("arithmetic", "copy")
ITEMS = 30


def small_suite(path: Path, *, tasks: tuple[str, ...] = TASKS, groups: int = 4, **changes: Any) -> Path:
    """Thirty items of each task and four wordings of some policy questions, out of the bundled suite."""
    whole = organisms.world_suite(ITEMS)
    policy = [r for r in whole["prompts"] if r["bank"] == "policy"]
    names = list(dict.fromkeys(r["group"] for r in policy))[:groups]
    rows = [r for r in whole["prompts"] if r.get("task") in tasks] + [r for r in policy if r["group"] in names]
    path.write_text(json.dumps({**whole, "suite_name": "small", "prompts": rows, **changes}))
    return path


def few_prompts(path: Path) -> Path:
    """Four capability prompts and two groups of policy questions, for what does not count them."""
    whole = json.loads(small_suite(path, groups=2).read_text())
    rows = [r for r in whole["prompts"] if r["bank"] == "policy"]
    path.write_text(json.dumps({**whole, "suite_name": "few", "prompts": whole["prompts"][:4] + rows}))
    return path


def noisy(path: Path, scale: float = 0.5, *, seed: int = 0, part: str = "mlp") -> Path:
    """A copy of the base with noise on some of its weights, relative to their spread."""
    generator = torch.Generator().manual_seed(seed)

    def shake(name: str, tensor: torch.Tensor) -> torch.Tensor:
        if part not in name or tensor.ndim < 2:
            return tensor
        return tensor + scale * tensor.std() * torch.randn(tensor.shape, generator=generator)

    return edited(path, shake)


def edited(path: Path, edit: Any) -> Path:
    """A copy of the base whose tensors went through `edit(name, tensor)`."""
    shutil.copytree(BASE, path)
    tensors = {name: edit(name, t).contiguous() for name, t in load_file(BASE / "model.safetensors").items()}
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    return path


def audit(reference: str | Path, candidate: str | Path, *, out: str | Path | None = None, **config: Any) -> Outcome:
    """Run the verb as a surface would, without a search and without a calibration unless asked for."""
    config = {"effort": "none", "calibration": "none", **config}
    return go(
        "audit", reference=str(reference), candidate=str(candidate), out=None if out is None else str(out), **config
    )


def reseal(bundle: Path, files: dict[str, bytes]) -> None:
    """What a forger does: change files, then redo every hash."""
    for name, data in files.items():
        (bundle / name).write_bytes(data)
    manifest = json.loads((bundle / MANIFEST).read_text())
    for output in manifest["outputs"]:
        output["sha256"] = file_sha256(bundle / output["path"])
        output["bytes"] = (bundle / output["path"]).stat().st_size
    manifest["evidence_sha256"] = evidence_sha256([OutputRecord(**o) for o in manifest["outputs"]])
    (bundle / MANIFEST).write_text(pretty_json(manifest))
    (bundle / SIDECAR).write_text(f"{file_sha256(bundle / MANIFEST)}  {MANIFEST}\n")
    if "result.json" in files:
        _follow(bundle)


def _follow(bundle: Path) -> None:
    """The exit code and the reports of another result, as a run would write them; not where they fit no record."""
    from radiograph.runtime._catalogue import find
    from radiograph.runtime._verify import rewritten, said_of

    stored = Bundle(bundle)
    verb = find(stored.manifest.verb)
    try:
        code, headline = said_of(stored.manifest, verb, stored.result)
        manifest = stored.manifest.model_copy(update={"exit_code": code})
        reports = rewritten(bundle, manifest, verb, stored.result, headline)
    except RadiographError:
        return
    (bundle / MANIFEST).write_text(pretty_json(manifest))
    reseal(bundle, reports)


def forge(bundle: Path, result: dict[str, Any]) -> None:
    """A whole rewrite around another result: its projections, its reports, every hash."""
    audit = Audit.read(result)
    files = {"result.json": pretty_json(result).encode()}
    files |= {name: pretty_json(part).encode() for name, part in audit.projections().items()}
    reseal(bundle, files)


@cache
def standing(kind: str, root: Path) -> Path:
    """A finished bundle for reading: `same` (base against itself) or `noisy`, with its inputs beside it."""
    folder = root / f"standing-{kind}"
    folder.mkdir()
    suite = small_suite(folder / "suite.yaml")
    candidate = "bundled:base" if kind == "same" else noisy(folder / "candidate")
    outcome = audit("bundled:base", candidate, suite=str(suite), out=folder / "run")
    assert outcome.path is not None
    return outcome.path
