"""Comparisons whose answer is known beforehand. They stand in every table.

base against itself · a re-saved, re-sharded copy of it · a benign model against another · a broken model and its base
in swapped roles · labels in random order · a dictionary under another layer's name · the calibration of another base
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radiograph.core import Context, Refusal
from radiograph.evidence import Binding, ModelKind
from radiograph.evidence.benchmark import Control, Outcome
from radiograph.methods._audit.place import check_binding
from radiograph.methods.organisms._benchmark.found import Organism
from radiograph.methods.organisms._benchmark.judge import decided, ranked
from radiograph.methods.organisms._benchmark.stored import Evidence
from radiograph.methods.organisms._benchmark.table import shuffled

if TYPE_CHECKING:
    from radiograph.detectors import Measurement
    from radiograph.store.calibration import StoredCalibration

ITSELF, COPY, BENIGN, SWAPPED = "base against itself", "re-sharded copy", "benign against benign", "roles swapped"
SHARD = 200_000
"""Bytes of a shard of the copy: several of them."""


@dataclass(frozen=True)
class Comparison:
    """A control that is measured like an organism."""

    name: str
    reference: str
    candidate: str
    kind: ModelKind
    effort: str = "none"
    """Of the search for insertions, which most answers do without; empty: the protocol's."""


def comparisons(base: str, organisms: Sequence[Organism], copy: Path) -> list[Comparison]:
    """What to measure; those that lack an organism are left out and stand as not measured."""
    rows = [Comparison(ITSELF, base, base, "full"), Comparison(COPY, base, str(copy), "full")]
    benign = [o for o in organisms if o.part == "test"]
    if len(benign) > 1:
        rows.append(Comparison(BENIGN, benign[0].reference, benign[1].reference, benign[1].kind, ""))
    broken = next((o for o in organisms if o.part == "broken"), None)
    if broken is not None:
        rows.append(Comparison(SWAPPED, broken.reference, base, "full"))
    return rows


def write_copy(base: str, folder: Path, ctx: Context) -> None:
    """The base saved again, in many shards, tensors in another order."""
    import json
    import shutil

    from safetensors.numpy import load_file, save_file

    source = Path(ctx.stored(base, "reference").folder)
    folder.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        if path.is_file() and not path.name.startswith("model"):
            shutil.copyfile(path, folder / path.name)
    tensors = {name: array for path in sorted(source.glob("*.safetensors")) for name, array in load_file(path).items()}
    shards: list[dict[str, Any]] = [{}]
    for name in sorted(tensors, reverse=True):
        if sum(a.nbytes for a in shards[-1].values()) > SHARD:
            shards.append({})
        shards[-1][name] = tensors[name]
    names = [f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors" for i in range(len(shards))]
    for name, shard in zip(names, shards, strict=True):
        save_file(shard, folder / name, metadata={"format": "pt"})
    index = {
        "metadata": {"total_size": sum(a.nbytes for a in tensors.values())},
        "weight_map": {key: name for name, shard in zip(names, shards, strict=True) for key in shard},
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def refusals(
    measurement: Measurement | None, stored: StoredCalibration | None, binding: Binding
) -> tuple[Control, ...]:
    """A dictionary under the name of another layer, and a calibration of another base, must be refused."""
    return (_wrong_layer(measurement), _other_base(stored, binding))


def _wrong_layer(measurement: Measurement | None) -> Control:
    from radiograph.methods._audit.parts import guard

    name, expected = "wrong-layer dictionary", "refused: dictionary_mismatch"
    if measurement is None or measurement.dictionary is None:
        return Control(name=name, expected=expected, observed="no dictionary", passed=None)
    site = measurement.dictionary.site
    kind, _, layer = str(site).rpartition(".")
    other = f"{kind}.{int(layer) - 1 if int(layer) else 1}"
    try:
        guard(measurement, replace(measurement.dictionary, sites=(other,)))
    except Refusal as refusal:
        return Control(
            name=name, expected=expected, observed=f"refused: {refusal.code}", passed=refusal.code in expected
        )
    return Control(name=name, expected=expected, observed=f"the dictionary of {site} passed as {other}", passed=False)


def _other_base(stored: StoredCalibration | None, binding: Binding) -> Control:
    name, expected = "calibration of another base", "refused: calibration_mismatch"
    if stored is None:
        return Control(name=name, expected=expected, observed="no calibration", passed=None)
    other = binding.model_copy(update={"reference_sha256": binding.reference_sha256[::-1]})
    try:
        check_binding(stored, other)
    except Refusal as refusal:
        return Control(
            name=name, expected=expected, observed=f"refused: {refusal.code}", passed=refusal.code in expected
        )
    return Control(name=name, expected=expected, observed="accepted", passed=False)


def evaluate(evidence: Evidence, outcomes: Sequence[Outcome]) -> tuple[Control, ...]:
    """Every control, from stored scores."""
    return (
        *(_equal(evidence, name) for name in (ITSELF, COPY)),
        _benign(evidence),
        _swapped(evidence),
        _shuffled(evidence, outcomes),
        *evidence.refusals,
    )


def _equal(evidence: Evidence, name: str) -> Control:
    expected = "every score 0, no-evidence"
    kept = evidence.controls.get(name)
    if kept is None:
        return Control(name=name, expected=expected, observed="not measured", passed=None)
    scores = {n: s for n, s in kept.scored.model.scores.items() if s is not None and n != "kl.contrast"}
    moved = sorted(n for n, s in scores.items() if s != 0)
    if moved:
        return Control(name=name, expected=expected, observed=f"not 0: {', '.join(moved)}", passed=False)
    verdict = decided(kept, None, evidence)[0].verdict
    said = f"{len(scores)} scores 0, {verdict}"
    return Control(name=name, expected=expected, observed=said, passed=bool(scores) and verdict == "no-evidence")


def _benign(evidence: Evidence) -> Control:
    expected = "targeted is not yes"
    kept, stored = evidence.controls.get(BENIGN), evidence.calibration
    if kept is None or stored is None:
        why = "no two benign models" if kept is None else "no calibration"
        return Control(name=BENIGN, expected=expected, observed=why, passed=None)
    found = ranked(kept, stored, evidence.protocol)
    axis = decided(kept, found, evidence)[0].targeted
    p = None if found[1].combined is None else found[1].combined.p
    said = f"targeted {axis}, combined p {'not measured' if p is None else format(p, '.3g')}"
    return Control(name=BENIGN, expected=expected, observed=said, passed=axis != "yes")


def _swapped(evidence: Evidence) -> Control:
    """What a broken model lost is gained when the roles are swapped."""
    expected = "no task is lost"
    kept = evidence.controls.get(SWAPPED)
    if kept is None or kept.scored.panel is None:
        return Control(name=SWAPPED, expected=expected, observed="no broken model was measured", passed=None)
    panel = kept.scored.panel
    lost = sum(row.b for row in panel.rows)
    gained = sum(row.c for row in panel.rows)
    said = f"{lost} items lost, {gained} gained, degraded {panel.axis}"
    return Control(name=SWAPPED, expected=expected, observed=said, passed=panel.axis != "yes")


def _shuffled(evidence: Evidence, outcomes: Sequence[Outcome]) -> Control:
    name, expected = "labels shuffled", "AUROC .5 (within .05)"
    found = shuffled(outcomes, evidence.protocol)
    if found is None:
        return Control(name=name, expected=expected, observed="no models of both classes", passed=None)
    return Control(name=name, expected=expected, observed=found[0], passed=found[1])
