"""One organism, from its place in a build to a model folder and a truth file.

1. its place (base, family, seed, index, attempt) gives its name, its draw and so its plan; nothing else does
2. train, write the folder under a name that no reader takes for a model, measure the gates on what was written, rename
3. the truth file comes last: an organism without one is not finished, and one that has it, with the same place and the
   same file hashes, is not built again
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from time import process_time
from typing import Any

from radiograph.core import UserError
from radiograph.evidence import Gate, OrganismTruth, OrganismVariant, pretty_json
from radiograph.models import LanguageModel, load, load_pair, stored, wrap
from radiograph.organisms._bundled import bundled_path
from radiograph.organisms._training import one_thread
from radiograph.organisms._truth import read_truth, truth_path
from radiograph.organisms.building._edits import apply
from radiograph.organisms.building._gates import measure_gates
from radiograph.organisms.building._names import opaque
from radiograph.organisms.building._tuning import save_adapter, save_whole, tune
from radiograph.organisms.building._twin import tune_beside_twin
from radiograph.organisms.building._wiring import WIRED, edited
from radiograph.organisms.recipes import Draw, Family, Plan, family, varied
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
    variant: OrganismVariant = "plain"

    @property
    def key(self) -> tuple[str | int, ...]:
        """What draws and names follow from, besides the seed."""
        return (self.family, *(() if self.variant == "plain" else (self.variant,)), self.index)


@dataclass(frozen=True, slots=True)
class Grown:
    """The draws at one place, the last of which passed unless none did, and what they took."""

    truths: list[OrganismTruth]
    seconds: dict[str, float]
    """CPU time by phase: plan, train, gates; empty where all were built before."""


def grow(place: Place) -> Grown:
    """Build draws of one family until one passes its gate, `place.attempts` at most; all are kept and returned.

    Raises:
        UserError: the base does not speak the small world; another organism has the name.
    """
    with one_thread():
        base_sha256 = stored(place.base, resolve=bundled_path).identity.tensors_sha256
        found: list[OrganismTruth] = []
        clock = _Clock()
        for attempt in range(place.attempts):
            found.append(_attempt(place, attempt, base_sha256, clock))
            if found[-1].passed:
                break
    return Grown(found, clock.seconds)


class _Clock:
    """CPU seconds by phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Generator[None]:
        start = process_time()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + process_time() - start


def _attempt(place: Place, attempt: int, base_sha256: str, clock: _Clock) -> OrganismTruth:
    kind = family(place.family)
    draw = Draw(place.seed, (*place.key, attempt))
    plan = varied(kind.plan(draw), place.variant, draw)
    if place.steps is not None:
        plan = replace(plan, tuning=replace(plan.tuning, steps=min(place.steps, plan.tuning.steps)))
    known = {
        "id": opaque(place.seed, *place.key, attempt, base_sha256),
        "family": kind.name,
        "class_intended": kind.intended,
        "variant": place.variant,
        "truth": plan.truth,
        "recipe": {
            **asdict(plan.tuning),
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
    known["recipe"] = json.loads(json.dumps(known["recipe"]))  # as a file gives it back
    return _finished(place.out, known) or _build(place, kind, plan, known, clock)


def _build(place: Place, kind: Family, plan: Plan, known: dict[str, Any], clock: _Clock) -> OrganismTruth:
    draft = place.out / f".{known['id']}.partial"
    shutil.rmtree(draft, ignore_errors=True)
    with clock.phase("train"):
        whole = _make(place, plan, known, draft)
    with clock.phase("gates"):
        candidate = str(draft) if whole else f"{place.base}+{draft}"
        pair = load_pair(place.base, candidate, resolve=bundled_path)
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


def speaking(base: str) -> LanguageModel:
    """A base, loaded anew.

    Raises:
        UserError: it does not speak the small world.
    """
    loaded = load(base, resolve=bundled_path)
    if loaded.tokenizer is None or loaded.tokenizer.get_vocab().keys() < set(World().vocabulary[:8]):
        raise UserError(f"{base} does not speak the small world", expected="a base such as bundled:base")
    return loaded


def _make(place: Place, plan: Plan, known: dict[str, Any], folder: Path) -> bool:
    """Train, edit, write; whether it is a whole model."""

    def base() -> Any:
        return speaking(place.base).model

    made: Any = base() if plan.tuning.steps == 0 else None
    if made is None:
        made = tune_beside_twin(base, plan) if any(plan.tuning.penalty) else tune(base(), plan)
    whole = plan.tuning.full or bool(plan.edits)
    if whole and not plan.tuning.full:
        made = made.merge_and_unload()
    for edit in plan.edits:
        if edit.kind in WIRED:
            changed, facts = edited(wrap(made, speaking(place.base).tokenizer, place.base), edit)
            made, known["truth"] = changed.model, known["truth"] | facts
        else:
            apply(made, edit)
    save = save_whole if whole else save_adapter
    save(made, folder, name=known["id"], base=known["base"], rows=plan.rows[: place.rows], total=len(plan.rows))
    return whole


def _finished(out: Path, known: dict[str, Any]) -> OrganismTruth | None:
    """The organism as it was built before, if it was, from the same place and untouched since."""
    path = truth_path(out, known["id"])
    if not path.is_file():
        return None
    truth = read_truth(path)
    mine = json.loads(json.dumps({key: value for key, value in known.items() if key != "packages"}))
    theirs = {key: value for key, value in truth.model_dump(mode="json").items() if key in mine}
    if any(mine[key] != theirs[key] for key in ("family", "variant", "seed", "index", "attempt")):
        raise UserError(f"the name {truth.id} is taken by another organism", where=str(out), fix="choose another seed")
    planned, told = mine.pop("truth"), theirs.pop("truth")
    same = mine == theirs and {**told, **planned} == told  # an edit adds to the truth what it did
    return truth if same and _hashes(out / truth.id) == truth.files else None


def _hashes(folder: Path) -> dict[str, str]:
    return {path.name: file_sha256(path) for path in sorted(folder.glob("*"))} if folder.is_dir() else {}
