"""Does pushing carry over to another model? A left direction, mapped and pushed on the right.

1. the prompts of a criterion in two halves; both models read them, and give what stands at the two sites at the last
   token of each
2. a ridge map left → right, fitted on the prompts of discover alone; the left feature's write direction goes through
   its linear part. Beside it the same through a map whose right rows were shuffled by groups, and the right feature's
   own direction
3. `intervene` pushes all three on the right at doses chosen on discover, by the same share of the residual norm, and
   judges them on confirm beside random directions of equal length
Verdict from the effect of the mapped direction, its interval, the own push, the shuffled map, and p against 19 random
directions or more; none where no dose stays within the limits of side effects, or the own push moves nothing for sure.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.core import Context, Refusal, derive
from radiograph.core.shapes import Float64
from radiograph.evidence import Refused
from radiograph.evidence.interventions import Effects, FeatureEffect
from radiograph.evidence.matches import TransferRecord
from radiograph.methods._match import aligned, sides
from radiograph.methods._match.transfer import judged

if TYPE_CHECKING:
    from radiograph.methods._match.sides import Side

FOLDER = "steering"
FILE = "directions.safetensors"
NAMES = ("mapped", "shuffled", "own")
FAMILY = "random_direction"


@dataclass(frozen=True)
class Asked:
    """What a push is judged by."""

    criterion: str | None
    prompts: str | None
    targets: str | None
    foils: str | None
    dose: str


def steered(asked: Asked, ctx: Context, given: tuple[Side, Side], pair: tuple[int, int], number: int) -> TransferRecord:
    """Transfer the push of one left feature to the right feature it is matched with."""
    try:
        return _steered(asked, ctx, given, pair, ctx.output.folder(f"{FOLDER}/{number}"))
    except Refusal as refusal:
        return TransferRecord(kind="steering", verdict="not_measured", reason=f"{refusal.message} [{refusal.code}]")


def _steered(
    asked: Asked, ctx: Context, given: tuple[Side, Side], pair: tuple[int, int], folder: Path
) -> TransferRecord:
    from radiograph.numerics.matching import ridge_map

    (left_site, push), (right_site, own) = (_write_of(side, n) for side, n in zip(given, pair, strict=True))
    criterion = _criterion(asked, ctx, folder)
    models = [side.record.model for side in given]
    read = [_read(ctx, model, site, criterion) for model, site in zip(models, (left_site, right_site), strict=True)]
    shared = aligned.align(read[0], read[1], "prompts")
    halves = shared.halves(*(side.values for side in read if side.values is not None))
    fitted = np.flatnonzero(halves == 0) if halves is not None else np.empty(0, dtype=np.int64)
    if len(fitted) < 2:
        raise Refusal("few_units", "too few shared prompts in the half that a map is fitted on", got=str(len(fitted)))
    x, y = (_rows(made, side) for made, side in zip((shared.left, shared.right), read, strict=True))
    groups = shared.groups[fitted]
    mapped, rest = ridge_map(x[fitted], y[fitted]), halves == 1
    directions = {
        "mapped": mapped.direction(push),
        "shuffled": ridge_map(x[fitted], y[fitted][_exchanged(groups, derive(ctx.seed, "map"))]).direction(push),
        "own": own / np.linalg.norm(own),
    }
    source = _written(ctx, models[1], right_site, directions, folder)
    step = ctx.step(
        "intervene",
        model=models[1],
        features=[source],
        criterion=criterion,
        targets=asked.targets,
        foils=asked.foils,
        dose=asked.dose,
        unit="norm",
        positions="last",
    )
    if isinstance(step.result, Refused):
        raise Refusal(step.result.code, step.result.text)
    return _judged(step.result, right_site, mapped.explained(x[rest], y[rest]))


def _judged(found: Effects, site: str, explained: float) -> TransferRecord:
    effects: dict[str, FeatureEffect] = {one.feature: one for one in found.features}
    mapped, shuffled, own = (effects[f"{site}~{name}"] for name in NAMES)
    family = next((one for one in mapped.controls if one.family == FAMILY), None)
    record = TransferRecord(
        kind="steering",
        verdict="not_measured",
        effect=mapped.effect,
        interval=mapped.interval,
        own=own.effect,
        own_interval=own.interval,
        p=None if family is None else family.p,
        controls=0 if family is None else family.n,
        explained=explained,
        shuffled=shuffled.effect,
        acceptable=mapped.acceptable,
        reason="the push has no effect to measure" if mapped.effect is None else None,
    )
    made = judged([record])[0]
    assert made is not None
    return made


def _write_of(side: Side, feature: int) -> tuple[str, Float64[np.ndarray, " width"]]:
    for part in side.writes:
        place = int(part.places(len(side.ids))[feature])
        if place >= 0 and part.site is not None:
            return part.site, part.rows[place].astype(np.float64)
    raise Refusal("no_directions", f"{side.ids[feature]} has no stored write direction")


def _criterion(asked: Asked, ctx: Context, folder: Path) -> str:
    """The criterion, compiled once, so that both models read the same prompts in the same halves."""
    from radiograph.criteria import write_compiled

    if asked.criterion is None:
        raise Refusal("no_outcome", "a push is judged by prompts and targets", fix="say --criterion and --targets")
    if asked.criterion.endswith(".json"):
        return asked.criterion
    compiled = ctx.criterion(asked.criterion, prompts=asked.prompts)
    write_compiled(compiled, folder)
    return str(folder / "criterion.json")


def _read(ctx: Context, model: str, site: str, criterion: str) -> Side:
    """Everything that stands at a site at the last token of each prompt."""
    step = ctx.step(
        "records.export", model=model, features=[f"units:{site}"], prompts=criterion, level="prompt", pool="last"
    )
    if isinstance(step.result, Refused):
        raise Refusal(step.result.code, step.result.text)
    root = ctx.output.folder(FOLDER).parent
    return sides.read_records_of(root / step.path, model)


def _rows(made: Any, side: Side) -> Float64[np.ndarray, "unit width"]:
    return made.dense(np.arange(len(side.ids)))


def _exchanged(groups: np.ndarray, seed: int) -> np.ndarray:
    from radiograph.numerics.matching import block_orders

    return next(iter(block_orders(groups, 1, seed)))[0]


def _written(
    ctx: Context, model: str, site: str, directions: dict[str, Float64[np.ndarray, " width"]], folder: Path
) -> str:
    from radiograph.store.directions import DirectionsHeader, MatrixRecord, write_directions

    identity = ctx.model(model, "right_model").identity
    header = DirectionsHeader(
        tensors={name: MatrixRecord(site=site) for name in directions},
        model_sha256=identity.tensors_sha256,
        tokenizer_sha256=identity.tokenizer_sha256,
        scale="unit_norm",
        provenance={"method": "ridge map of a matched feature"},
    )
    write_directions(folder / FILE, header, directions)
    return f"direction:{folder / FILE}"
