"""The candidate's place in a calibration: what binds the two, and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from radiograph.core import Context, Refusal
from radiograph.evidence import Binding, CalibratedAudit, DetectorScore, Estimate
from radiograph.evidence.traces import Witness, Witnesses

if TYPE_CHECKING:
    from radiograph.detectors import Examined, Measurement, Pool
    from radiograph.store.calibration import StoredCalibration

_MENDED = {
    "reference_sha256": "calibrate this reference",
    "tokenizer_sha256": "calibrate this reference",
    "suite_sha256": "pass the calibration's own --suite",
    "neutral_sha256": "pass the calibration's own --neutral",
    "dictionary_sha256": "pass the calibration's own --dictionary",
    "rows_sha256": "pass the calibration's own --train-data",
    "versions": "calibrate again with this version",
}


def shipped(sha256: str | None) -> StoredCalibration | None:
    """The calibration that ships, if it is the one of this hash: whoever verifies has it without being given it."""
    from radiograph import organisms
    from radiograph.store.calibration import SHIPPED, read_calibration

    folder = organisms.bundled_path("base").parent / "calibration"
    if sha256 is None or not (folder / SHIPPED).is_file():
        return None
    stored = read_calibration(folder, "calibration:bundled")
    return stored if stored.sha256 == sha256 else None


def check_binding(stored: StoredCalibration, binding: Binding) -> None:
    """Refuse a calibration that was measured in another way.

    Raises:
        Refusal: `calibration_mismatch`, exit 3, both sides named.
    """
    found = [(name, *_sides(theirs, ours)) for name, theirs, ours in stored.record.binding.differences(binding)]
    if found:
        name = found[0][0]
        raise Refusal(
            "calibration_mismatch",
            f"{stored.name} was measured in another way: {', '.join(label(n) for n, _, _ in found)}",
            expected="; ".join(f"{label(n)} {theirs}" for n, theirs, _ in found),
            got="; ".join(f"{label(n)} {ours}" for n, _, ours in found),
            fix=_MENDED.get(name, f"pass --{name.replace('_', '-')} {found[0][1]}"),
            fixable=True,
        )


def check_apart(stored: StoredCalibration, candidate_sha256: str) -> None:
    """Refuse a calibration that holds the candidate: it would judge itself.

    Raises:
        Refusal: `calibration_mismatch`, exit 3.
    """
    models = (*stored.record.models, *stored.record.degraded)
    twin = next((m.id for m in models if m.tensors_sha256 == candidate_sha256), None)
    if twin is not None:
        raise Refusal(
            "calibration_mismatch",
            f"the candidate is one of the models of {stored.name} ({twin}): it would judge itself",
            fix="calibrate without it, or pass --calibration none",
            fixable=True,
        )


def label(name: str) -> str:
    """A key of a binding in words."""
    return name.removesuffix("_sha256").replace("_", " ")


def _sides(theirs: Any, ours: Any) -> tuple[str, str]:
    """Both values, of a table only what differs."""
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
        names = sorted(key for key in {**theirs, **ours} if theirs.get(key) != ours.get(key))
        return tuple(", ".join(f"{n} {side.get(n, 'absent')}" for n in names) for side in (theirs, ours))  # type: ignore[return-value]
    return tuple(str(side)[:16] if side is not None else "none" for side in (theirs, ours))  # type: ignore[return-value]


def pool_for(stored: StoredCalibration, measurement: Measurement, found: Examined, kind: Any) -> Pool:
    """The calibration's models and the candidate."""
    from radiograph.detectors import pool_of

    identity = measurement.pair.candidate.identity
    candidate = found.model("candidate", "", kind, identity.tensors_sha256)
    return pool_of(stored.record, stored.summaries, candidate, found.summaries)


def scored(scores: tuple[DetectorScore, ...], place: CalibratedAudit, pool: Pool) -> tuple[DetectorScore, ...]:
    """Detector scores with their p; fitted detectors get their score by the pool."""
    ranks = {d.id: d for d in place.detectors}
    rows: list[DetectorScore] = []
    for score in scores:
        rank, rule = ranks.get(score.id), next((r for r in pool.rules if r.id == score.id), None)
        if rank is None:
            rows.append(score)
            continue
        update: dict[str, Any] = {"p": rank.p, "p_stratum": rank.p_stratum, "rank": rank.rank}
        if rule is not None and rule.fitted:
            value = Estimate(value=rank.score, n=pool.n, unit="against benign models", null=None)
            update |= {"status": "measured", "score": value, "reason": None, "unit": value.unit}
        rows.append(score.model_copy(update=update))
    return tuple(rows)


def witnessed(record: Witnesses, pool: Pool) -> Witnesses:
    """Witnesses judged against what benign models show."""
    from radiograph.detectors._witness import benign_of, judged

    shown = [m.triggers for m in pool.models[:-1]]
    again: list[Witness] = [judged(w, benign_of(w, shown, [pool.sets])) for w in record.found]
    return record.model_copy(update={"found": tuple(again)})


def open_calibration(asked: str, reference_sha256: str, ctx: Context) -> StoredCalibration | None:
    """The calibration that is meant; `auto` takes the first that was made of this reference."""
    return ctx.calibration(asked, reference_sha256)
