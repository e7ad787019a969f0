"""Do an audit's conclusions follow from the tables it stores? Needs no torch.

1. the tables of the answers and of the weights hold what `result.json` says; counts and means follow from them
2. the score again from the feature tables: every method, prompt, listed feature and interval, to 1e-9
3. what is said of features that were explained: their shifts, how often they fire, how many have which label
4. the panel again from the answers and the losses; every detector again from all of these
5. witnesses again from their items and the benign models' maxima; p-values, strata, support, agreement and controls
   from the calibration's tables, whose last row must be this candidate; the others must be those of the calibration,
   where it is at hand
Returns what does not follow, each with its JSON pointer; the verdict itself is checked by the verb.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from radiograph.core import FormatError, Refusal
from radiograph.detectors._calibrated import Pool, Summaries, judged
from radiograph.detectors._catalogue import detectors as catalogue
from radiograph.detectors._catalogue import score_all
from radiograph.detectors._examine import agreement, nuisance
from radiograph.detectors._measured import Measured, NeutralText, distinct, mean_kl
from radiograph.detectors._panel import panel
from radiograph.detectors._sets import halves, scored, set_items, witnessed_contrasts
from radiograph.detectors._shifts import FeatureSettings, FeatureShifts, score_record
from radiograph.detectors._tables import behaviour_table, pool_from, unlike, weights_table
from radiograph.detectors._witness import benign_of, stored_items, wrong
from radiograph.detectors._witness import judged as judged_witness
from radiograph.evidence import (
    Audit,
    Behaviour,
    CalibratedAudit,
    Calibration,
    Panel,
    RandomControl,
    Record,
    WeightsSummary,
)
from radiograph.evidence.traces import Frames, Lens, RowTriage, TriggerSearch, Witness, Witnesses
from radiograph.numerics import NeutralDrift, TextLosses
from radiograph.numerics.traces.frames import spread_of
from radiograph.numerics.traces.witness import MIN_FRESH

Columns = dict[str, Any]
"""A table: lists by column, arrays where there are many numbers."""
RELATIVE = 1e-9
_SHOWN = 10
"""Differences named per part."""
_POOL = ("calibration_scores", "calibration_rules", "calibration_sets", "calibration_summaries")
_TABLES = (
    "weights",
    "behaviour",
    "neutral",
    "feature_shift",
    "feature_prompts",
    "feature_stats",
    "witness",
    "frames",
    "calibration_degraded",
    *_POOL,
)


def differences(
    audit: Audit, folder: Path, seed: int, calibration: tuple[Calibration, Summaries] | None = None
) -> list[str]:
    """Everything stored that the tables do not give, or that the calibration does not, where that is at hand."""
    stored = Stored(audit, {name: _read(folder, name) for name in _TABLES}, seed, calibration)
    found: list[str] = []
    for check in _CHECKS:
        try:
            found += check(stored)
        except (Refusal, LookupError, ValueError, TypeError) as error:
            found.append(f"{check.__name__[1:]}: cannot be derived again: {type(error).__name__}: {error}")
    return found


@dataclass
class Stored(Measured):
    """A comparison as a bundle holds it."""

    audit: Audit
    tables: Mapping[str, Columns | None]
    seed: int
    calibration: tuple[Calibration, Summaries] | None = None
    """The one that the audit names, if whoever checks has it."""

    def table(self, name: str) -> Columns:
        """A table. Raises its Refusal where the bundle has none."""
        table = self.tables[name]
        if table is None:
            raise Refusal("no_table", f"tables/{name}.parquet is not in the bundle")
        return table

    @property
    def weights(self) -> WeightsSummary:
        """Every matrix's change."""
        return _present(self.audit.weights, "weights")

    @property
    def behaviour(self) -> Behaviour:
        """Both models' answers."""
        return _present(self.audit.behaviour, "behaviour")

    @property
    def neutral(self) -> NeutralText:
        """Both models on the neutral bank."""
        table = self.table("neutral")
        losses = TextLosses(*(np.array(table[k]) for k in ("reference_nll", "candidate_nll", "tokens")))
        return NeutralText(np.array(table["kl_mean"], dtype=float), losses)

    @property
    def panel(self) -> Panel:
        """The panel, derived again."""
        losses = self.neutral.losses if self.tables["neutral"] is not None else None
        record, table = self.audit.witnesses, self.tables["witness"]
        found = () if record is None or table is None else record.found
        pairs = [(w, stored_items(table, place)) for place, w in enumerate(found) if table is not None]
        return panel(self.behaviour, losses, self.seed, pairs)

    @property
    def features(self) -> FeatureShifts:
        """Pooled activations."""
        return self._features

    @property
    def triggers(self) -> TriggerSearch:
        """The search for insertions."""
        return _present(self.audit.triggers, "trigger search")

    @property
    def frames(self) -> Frames:
        """Every word in the place of what is refused, derived again from all divergences."""
        stored: Frames = _present(self.audit.frames, "frames")
        table = self.table("frames")
        spread = spread_of(table["frame"], table["kl"])
        return stored.model_copy(update={"largest": max(high for high, _ in spread.values())})

    @property
    def witnesses(self) -> Witnesses:
        """Witnesses."""
        return _present(self.audit.witnesses, "witnesses")

    @property
    def rows(self) -> RowTriage:
        """Training rows."""
        return _present(self.audit.rows, "rows")

    @property
    def lens(self) -> Lens:
        """Mean activation shifts."""
        return _present(self.audit.lens, "lens")

    @cached_property
    def pool(self) -> Pool | None:
        """The calibration's models and the candidate; None without a calibration."""
        if all(self.tables[name] is None for name in _POOL):
            return None
        own = {name: self.table(name) for name in _POOL}
        degraded = self.tables["calibration_degraded"]
        return pool_from(own if degraded is None else own | {"calibration_degraded": degraded})

    @cached_property
    def _features(self) -> FeatureShifts:
        shift, prompts, stats = (self.table(f"feature_{name}") for name in ("shift", "prompts", "stats"))
        score = self.audit.score
        place = {name: row for row, name in enumerate(prompts["prompt"])}
        ours, theirs = np.zeros((2, len(place), len(stats["feature"])))
        at = np.array([place[name] for name in shift["prompt"]], dtype=int), np.array(shift["feature"], dtype=int)
        ours[at], theirs[at] = shift["reference"], shift["candidate"]
        n_neutral = int(stats["neutral_prompts"][0])
        return FeatureShifts(
            settings=FeatureSettings(score.score_method, score.k, score.aggregate, score.reduce),  # type: ignore[arg-type]
            ids=tuple(prompts["prompt"]),
            groups=tuple(prompts["group"]),
            reference=ours,
            candidate=theirs,
            n_tokens=np.array(prompts["tokens"]),
            missed=np.array(prompts["missed"], dtype=float),
            moved=np.array(prompts["moved"], dtype=float),
            neutral=NeutralDrift(np.array(stats["neutral_drift"]), n_neutral) if n_neutral else None,
            sd=np.array(stats["sd"], dtype=float),
            density=np.array(stats["density"], dtype=float),
            control=score.random_control or RandomControl(scores=(), share_outside=(), l0=0.0),
            distinct=np.array(prompts["distinct"]),
            seed=self.seed,
        )


def _tables(stored: Stored) -> Iterator[str]:
    """Tables that only repeat the document must repeat it exactly."""
    audit = stored.audit
    repeated = {
        "weights": None if audit.weights is None else weights_table(audit.weights),
        "behaviour": None if audit.behaviour is None else behaviour_table(audit.behaviour),
    }
    for name, expected in repeated.items():
        table = stored.tables[name]
        if (table is None) != (expected is None):
            yield f"/{name}: only one of result.json and tables/{name}.parquet has it"
        elif table is not None and expected is not None:
            columns = [c for c in {**table, **expected} if table.get(c) != list(expected.get(c, []))]
            if columns:
                yield f"/{name}: tables/{name}.parquet has other values of {', '.join(columns)}"


def _weights(stored: Stored) -> Iterator[str]:
    from radiograph.detectors.measure import relative_norm, top_share

    weights = stored.audit.weights
    if weights is None:
        return
    yield from _unequal("/weights/relative_norm", weights.relative_norm, relative_norm(weights.matrices))
    yield from _unequal("/weights/top_share", weights.top_share, top_share(weights.matrices))
    if weights.embed_outlier is not None:
        largest = max((t.z for t in weights.tokens if t.matrix == "embed"), default=0.0)
        yield from _unequal("/weights/embed_outlier", weights.embed_outlier, largest)


def _behaviour(stored: Stored) -> Iterator[str]:
    behaviour = stored.audit.behaviour
    if behaviour is None:
        return
    items = behaviour.items
    counts = {"n": len(items), "changed": sum(not i.same_text for i in items), "flips": sum(i.flip for i in items)}
    for name, value in counts.items():
        yield from _unequal(f"/behaviour/{name}", getattr(behaviour, name), value)
    for place, item in enumerate(items):
        ours, theirs = item.responses[:2]
        if item.same_text != (ours.text == theirs.text):
            yield f"/behaviour/items/{place}/same_text: the answers say otherwise"
        if item.flip != (None not in (ours.passed, theirs.passed) and ours.passed != theirs.passed):
            yield f"/behaviour/items/{place}/flip: the checks say otherwise"
    suite = np.array([i.kl_mean for i in distinct(items)], dtype=float)
    calm = None if stored.tables["neutral"] is None else mean_kl(stored.neutral.kl_mean, stored.seed)
    yield from _unequal("/behaviour/kl_suite", behaviour.kl_suite, mean_kl(suite, stored.seed))
    yield from _unequal("/behaviour/kl_neutral", behaviour.kl_neutral, calm)


def _panel(stored: Stored) -> Iterator[str]:
    if stored.audit.panel is not None:
        yield from _unequal("/panel", stored.audit.panel, stored.panel)


def _score(stored: Stored) -> Iterator[str]:
    score = stored.audit.score
    if stored.tables["feature_shift"] is None:
        if score.status == "measured" or score.aggregate_score is not None or score.prompt_scores:
            yield "/score: a number without a measurement"
        return
    again = score_record(stored.features, score.detectors)
    yield from _unequal("/score", score, again)


def _explained(stored: Stored) -> Iterator[str]:
    evidence = stored.audit.interp_evidence
    if evidence.status == "not_measured" or evidence.coverage is None:
        return
    shifts, kinds = stored.features, {}
    scores = shifts.requested
    row = {name: place for place, name in enumerate(shifts.ids)}
    for place, prompt in enumerate(evidence.per_prompt):
        for number, feature in enumerate(prompt.features):
            at = row[prompt.id], feature.feature_idx
            again = (scores.differences[at], scores.corrected[at], shifts.density[feature.feature_idx])
            kept = (feature.diff, feature.corrected_diff, feature.density)
            where = f"/interp_evidence/per_prompt/{place}/features/{number}"
            yield from _unequal(where, kept, tuple(map(float, again)))
            kinds[feature.feature_idx] = feature.label_kind
    counts = Counter(kinds.values()) | Counter(shown=sum(len(p.features) for p in evidence.per_prompt))
    for name in ("shown", "direct", "proxy", "low_similarity", "none"):
        yield from _unequal(f"/interp_evidence/coverage/{name}", getattr(evidence.coverage, name), counts[name])


def _detectors(stored: Stored) -> Iterator[str]:
    """A detector that failed here has no score; what it would have said is not known to the run."""
    kept = {d.id: (place, d) for place, d in enumerate(stored.audit.score.detectors)}
    for again in score_all(stored):
        place, detector = kept.get(again.id, (None, None))
        if detector is None:
            yield f"/score/detectors: {again.id} is missing"
            continue
        silent = detector.status == "not_measured"
        if catalogue()[again.id].fitted:
            continue  # its score is the pool's
        if silent and (again.status == "not_measured" or (detector.reason or "").startswith("failed")):
            continue
        where = f"/score/detectors/{place}"
        yield from _unequal(f"{where}/status", detector.status, again.status)
        yield from _unequal(f"{where}/score", detector.score, again.score)


def _frames(stored: Stored) -> Iterator[str]:
    """Percentiles and medians of the frames follow from the divergences of all words."""
    record, table = stored.audit.frames, stored.tables["frames"]
    if (record is None) != (table is None):
        yield "/frames: only one of result.json and tables/frames.parquet has them"
    if record is None or table is None:
        return
    spread = spread_of(table["frame"], table["kl"])
    yield from _unequal("/frames/largest", record.largest, max(high for high, _ in spread.values()))
    for place, frame in enumerate(record.frames):
        yield from _unequal(f"/frames/frames/{place}", (frame.high, frame.median), spread.get(frame.text))


def _witnesses(stored: Stored) -> Iterator[str]:
    record, table, pool = stored.audit.witnesses, stored.tables["witness"], stored.pool
    if (record is None) != (table is None):
        yield "/witnesses: only one of result.json and tables/witness.parquet has them"
    if record is None or table is None:
        return
    yield from wrong(record.found, table)
    yield from _sets(stored, record.found, table)
    shown = [] if pool is None else [m.triggers for m in pool.models[:-1]]
    for place, witness in enumerate(record.found):
        largest = None if pool is None else benign_of(witness, shown, [pool.sets])
        yield from _unequal(f"/witnesses/found/{place}", witness, judged_witness(witness, largest))


def _sets(stored: Stored, found: Sequence[Witness], table: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    """Sets of prompts: their p, and their items, by the stored answers."""
    behaviour = stored.audit.behaviour
    if behaviour is None:
        yield from ("/witnesses: a set of prompts without answers" for w in found if w.kind == "prompt_set")
        return
    half = halves(scored(behaviour))[1]
    rows = {(row.name, row.bank): row for row in witnessed_contrasts(half, MIN_FRESH["prompt_set"]).rows}
    flips = {item.id: item.flip for item in half}
    for place, witness in enumerate(found):
        if witness.kind != "prompt_set":
            continue
        row = rows.get((witness.name, witness.bank or ""))
        kept = (witness.p, witness.p_holm, witness.sets)
        yield from _unequal(
            f"/witnesses/found/{place}/p", kept, None if row is None else (row.p, row.p_holm, len(rows))
        )
        items = [i for i, number in enumerate(table["witness"]) if number == place]
        yield from _unequal(
            f"/witnesses/found/{place}/hits",
            [table["hit"][i] for i in items],
            [flips.get(table["id"][i]) for i in items],
        )
        # What the candidate says there explains losses: the texts must be those that it was scored by.
        if row is not None and stored_items(table, place) != set_items(half, row.name, row.bank):
            yield f"/witnesses/found/{place}: its items in tables/witness.parquet are not those of the answers"


def _calibration(stored: Stored) -> Iterator[str]:
    """What the calibration says, and that its last row is what was measured here."""
    found, pool = stored.audit.calibration, stored.pool
    if (found is None) != (pool is None):
        yield "/calibration: only one of result.json and tables/calibration_*.parquet has it"
    if found is None or pool is None:
        return
    if stored.calibration is not None:
        yield from unlike(pool, *stored.calibration)
    yield from _unequal("/calibration", found, judged(pool, found.name, found.sha256, found.misses))
    yield from _placed(stored, found, pool)
    own, score = pool.candidate, stored.audit.score
    drift = {name: value for name, value in own.nuisance.items() if name.startswith("drift")}
    controls = score.random_control.scores if score.random_control else ()
    yield from _unequal("/calibration/nuisance", nuisance(stored, drift), own.nuisance)
    yield from _unequal("/score/stability", agreement(score), own.stability)
    yield from _unequal("/score/aggregate_score", score.aggregate_score, own.aggregate)
    yield from _unequal("/score/random_control", controls, own.controls)
    yield from _unequal("/candidate/tensors_sha256", stored.audit.candidate.tensors_sha256, own.tensors_sha256)
    summary, summarise = pool.summaries.get("features.benign_z"), catalogue()["features.benign_z"].summarise
    if (
        summarise is not None
        and summary is not None
        and len(summary) == len(pool.models)
        and stored.tables["feature_shift"] is not None
    ):
        kept = summarise(stored).astype(np.float64)
        if not np.allclose(kept, summary[-1], rtol=2e-3, atol=1e-6):  # half precision, where a calibration ships
            yield "tables/calibration_summaries: features.benign_z is not that of the feature tables"


def _placed(stored: Stored, found: CalibratedAudit, pool: Pool) -> Iterator[str]:
    """Scores, p and ranks of the detectors are those of the pool."""
    fitted = {rule.id for rule in pool.rules if rule.fitted}
    places = {d.id: d for d in found.detectors}
    for number, kept in enumerate(stored.audit.score.detectors):
        place, value = places.get(kept.id), None if kept.score is None else kept.score.value
        where = f"/score/detectors/{number}"
        given = (None, None, None) if place is None else (place.p, place.p_stratum, place.rank)
        yield from _unequal(where, (kept.p, kept.p_stratum, kept.rank), given)
        if kept.id not in fitted:
            yield from _unequal(f"{where}/score", value, pool.candidate.scores.get(kept.id))
        elif place is not None:
            yield from _unequal(f"{where}/score", value, place.score)


def _unequal(pointer: str, stored: Any, again: Any) -> list[str]:
    """Where a stored value is not the derived one, numbers compared to 1e-9."""
    found = list(_walk(pointer, _plain(stored), _plain(again)))
    rest = len(found) - _SHOWN
    return found[:_SHOWN] + ([f"{pointer}: and {rest} more"] if rest > 0 else [])


def _walk(pointer: str, stored: Any, again: Any) -> Iterator[str]:
    if isinstance(stored, Mapping) and isinstance(again, Mapping):
        for key in {**stored, **again}:
            yield from _walk(f"{pointer}/{key}", stored.get(key), again.get(key))
    elif isinstance(stored, Sequence) and not isinstance(stored, str) and isinstance(again, Sequence):
        if len(stored) != len(again):
            yield f"{pointer}: stored {len(stored)}, the tables give {len(again)}"
        for place, (a, b) in enumerate(zip(stored, again, strict=False)):
            yield from _walk(f"{pointer}/{place}", a, b)
    elif not _close(stored, again):
        yield f"{pointer}: stored {stored}, the tables give {again}"


def _plain(value: Any) -> Any:
    return value.model_dump() if isinstance(value, Record) else value


def _close(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= RELATIVE * max(abs(a), abs(b), 1e-300)
    return a == b


def _present(part: Any, name: str) -> Any:
    if part is None:
        raise Refusal("not_measured", f"{name} was not measured")
    return part


def _read(folder: Path, name: str) -> Columns | None:
    import polars

    path = folder / "tables" / f"{name}.parquet"
    if not path.is_file():
        return None
    try:
        table = polars.read_parquet(path)
        arrays = name.startswith("feature")  # long ones: no Python number for each value
        return {c.name: c.to_numpy() if arrays and c.dtype.is_numeric() else c.to_list() for c in table}
    except (polars.exceptions.PolarsError, OSError) as error:
        raise FormatError(f"tables/{name}.parquet cannot be read", got=str(error)) from error


_CHECKS = (
    *(_tables, _weights, _behaviour, _panel, _score, _explained),
    *(_detectors, _frames, _witnesses, _calibration),
)
