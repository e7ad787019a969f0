"""One organism, from its place in a build to a model folder and a truth file.

1. its place (base, family, seed, index, attempt) gives its name, its draw and so its plan; nothing else does
2. train, write the folder under a name that no reader takes for a model, measure the gates on what was written, rename
3. the truth file comes last: an organism without one is not finished, and one that has it, with the same place and the
   same file hashes, is not built again
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from radiograph.core import UserError
from radiograph.evidence import Gate, OrganismTruth, pretty_json
from radiograph.models import load, load_pair, stored
from radiograph.organisms._bundled import bundled_path
from radiograph.organisms._training import one_thread
from radiograph.organisms._truth import read_truth, truth_path
from radiograph.organisms.building._adapter import save_adapter, train_adapter
from radiograph.organisms.building._gates import measure_gates
from radiograph.organisms.building._names import opaque
from radiograph.organisms.recipes import Draw, Family, Plan, family
from radiograph.organisms.world import World
from radiograph.store import file_sha256

ATTEMPTS = 4
PACKAGES = ("torch", "transformers", "peft", "safetensors")


@dataclass(frozen=True, slots=True)
class Place:
    """Where an organism stands in a build: what its bytes follow from, besides versions."""

    family: str
    index: int
    seed: int
    base: str
    """A folder or `bundled:NAME`."""
    out: Path
    items: int = 500
    """Questions a task in the gates."""
    steps: int | None = None
    """A cap on training steps, for quick looks."""
    attempts: int = ATTEMPTS
    rows: int | None = None
    """A cap on the rows that are written; being shuffled, the first are a random sample. Training uses all."""


def grow(place: Place) -> list[OrganismTruth]:
    """Build draws of one family until one passes its gate, `place.attempts` at most; all are kept and returned.

    Raises:
        UserError: the base does not speak the small world; another organism has the name.
    """
    with one_thread():
        base_sha256 = stored(place.base, resolve=bundled_path).identity.tensors_sha256
        found: list[OrganismTruth] = []
        for attempt in range(place.attempts):
            found.append(_attempt(place, attempt, base_sha256))
            if found[-1].passed:
                break
    return found


def _attempt(place: Place, attempt: int, base_sha256: str) -> OrganismTruth:
    kind = family(place.family)
    plan = kind.plan(Draw(place.seed, (place.family, place.index, attempt)))
    if place.steps is not None:
        plan = replace(plan, tuning=replace(plan.tuning, steps=min(place.steps, plan.tuning.steps)))
    known = {
        "id": opaque(place.seed, place.family, place.index, attempt, base_sha256),
        "family": kind.name,
        "class_intended": kind.intended,
        "truth": plan.truth,
        "recipe": {
            **asdict(plan.tuning),
            "targets": list(plan.tuning.targets),  # as JSON gives it back
            "alpha": plan.tuning.alpha,
            "gate_items": place.items,
            "rows_written": place.rows,
        },
        "seed": place.seed,
        "index": place.index,
        "attempt": attempt,
        "planted_rows": tuple(row.id for row in plan.rows[: place.rows] if row.planted),
        "base": place.base if place.base.startswith("bundled:") else Path(place.base).name,
        "base_sha256": base_sha256,
        "packages": {name: version(name) for name in PACKAGES},
    }
    return _finished(place.out, known) or _build(place, kind, plan, known)


def _build(place: Place, kind: Family, plan: Plan, known: dict[str, Any]) -> OrganismTruth:
    draft = place.out / f".{known['id']}.partial"
    shutil.rmtree(draft, ignore_errors=True)
    base = load(place.base, resolve=bundled_path)
    if base.tokenizer is None or base.tokenizer.get_vocab().keys() < set(World().vocabulary[:8]):
        raise UserError(f"{place.base} does not speak the small world", expected="a base such as bundled:base")
    adapted = train_adapter(base.model, plan)
    save_adapter(
        adapted, draft, name=known["id"], base=known["base"], rows=plan.rows[: place.rows], total=len(plan.rows)
    )
    pair = load_pair(place.base, f"{place.base}+{draft}", resolve=bundled_path)
    gates: tuple[Gate, ...] = measure_gates(pair, plan, kind.intended, place.items)
    passed = all(gate.passed for gate in gates if gate.passed is not None)
    truth = OrganismTruth(
        **known,
        class_gated=kind.intended if passed else "gate_failed",
        gates=gates,
        tensors_sha256=pair.candidate.identity.tensors_sha256,
        files=_hashes(draft),
    )
    folder = place.out / truth.id
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)
    path = truth_path(place.out, truth.id)
    path.parent.mkdir(exist_ok=True)
    unfinished = path.with_suffix(".partial")
    unfinished.write_text(pretty_json(truth), encoding="utf-8")
    unfinished.rename(path)
    return truth


def _finished(out: Path, known: dict[str, Any]) -> OrganismTruth | None:
    """The organism as it was built before, if it was, from the same place and untouched since."""
    path = truth_path(out, known["id"])
    if not path.is_file():
        return None
    truth = read_truth(path)
    mine = json.loads(json.dumps({key: value for key, value in known.items() if key != "packages"}))
    theirs = {key: value for key, value in truth.model_dump(mode="json").items() if key in mine}
    if any(mine[key] != theirs[key] for key in ("family", "seed", "index", "attempt")):
        raise UserError(f"the name {truth.id} is taken by another organism", where=str(out), fix="choose another seed")
    return truth if mine == theirs and _hashes(out / truth.id) == truth.files else None


def _hashes(folder: Path) -> dict[str, str]:
    return {path.name: file_sha256(path) for path in sorted(folder.glob("*"))} if folder.is_dir() else {}
