"""The forward passes: untouched outcomes once a prompt, then every condition and every control, packed in batches.

1. untouched: the outcome of every prompt, the codes of the tested features at every position
2. discover: every condition on positives and others; the cost of every condition on neutral text
3. a condition is chosen from these alone (`_causal.choose`)
4. confirm: every condition on positives and others, dose 0 beside the very same batches without a write, and every
   control on positives under the chosen condition (`--band`: under all), at the same length position by position
Rows come in chunks of a fixed plan that commit one by one: a run that is resumed does the missing ones, and ends with
the same bytes. Where a write adds nothing to a row its outcome is the untouched one.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from radiograph.core import Context
from radiograph.evidence import document_sha256
from radiograph.evidence.interventions import OrderedCondition
from radiograph.methods._causal.guards import Guard
from radiograph.methods._causal.judge import choose
from radiograph.methods._intervene.outcomes import Outcome
from radiograph.methods._intervene.prompts import Prompt
from radiograph.methods._intervene.tested import Tested
from radiograph.numerics.effects import Limits, check_placebo, pushes

if TYPE_CHECKING:
    import polars

    from radiograph.evidence import CriterionLabeller
    from radiograph.interventions.features import Control, FeatureWrite, Naturals, Pushed
    from radiograph.models import LanguageModel
    from radiograph.store.vectors import BatchWriter

    Writer = Callable[[int, int, Sequence[tuple[int, ...]]], list[list[Pushed]]]

CHUNK: Final = 512
"""Rows that commit together."""
OPS: Final = {"steer": "add", "amplify": "scale", "ablate": "set", "clamp": "set", "patch": "set"}
ENGINE: Final = "radiograph.feature_writes/1"


@dataclass(eq=False)
class Study:
    """Everything that the numbers of a feature depend on, beside the feature."""

    ctx: Context
    model: LanguageModel
    prompts: Sequence[Prompt]
    outcome: Outcome
    neutral: Sequence[tuple[int, ...]]
    reference: Sequence[tuple[int, ...]]
    """Texts that doses refer to."""
    verb: str
    positions: str
    limits: Limits
    controls: int
    band: bool
    guards: Sequence[Guard]
    continued: int
    """Positives of confirm that are continued."""
    new_tokens: int
    carry: bool
    """New tokens get what the last one of the prompt got."""
    folder: Path
    identity: Mapping[str, Any]
    """Columns that are the same in every row."""
    judged: CriterionLabeller | None
    """Who says which continuations meet the criterion."""
    naturals: dict[str, Naturals] = field(default_factory=dict)
    _codes: dict[tuple[str, tuple[int, ...]], list[np.ndarray]] = field(default_factory=dict)

    def natural(self, tested: Tested) -> Naturals:
        """What is natural for its codec; measured once."""
        from radiograph.interventions.features import naturals_of

        key = f"{tested.codec.hash} {tested.site}"
        if key not in self.naturals:
            self.naturals[key] = naturals_of(self.model, tested.codec, tested.site, self.reference)
        return self.naturals[key]

    def half(self, name: str, *, positive: bool | None = None) -> list[int]:
        """Prompts of a half, in the order in which they were given."""
        return [
            place
            for place, one in enumerate(self.prompts)
            if one.half == name and positive in (None, one.kind == "positive")
        ]

    def rows_of(self, places: Iterable[int]) -> int:
        """Rows that the outcome of these prompts reads: one a prompt, and one for each longer continuation."""
        return sum(self._rows[place] for place in places)

    @cached_property
    def _rows(self) -> Counter[int]:
        return Counter(place for place, _ in self._lines)

    @cached_property
    def baseline(self) -> list[float]:
        """Untouched outcomes."""
        return self._values("untouched", [(p, 0) for p in range(len(self.prompts))], {})

    def discover(self, tested: Tested, conditions: Sequence[OrderedCondition], name: str) -> polars.DataFrame:
        """Rows of the discover half, with what each condition costs on neutral text."""
        return self._effects(tested, conditions, "discover", name)

    def confirm(
        self,
        tested: Tested,
        conditions: Sequence[OrderedCondition],
        discovered: polars.DataFrame,
        controls: Sequence[Control],
        name: str,
        seed: int,
    ) -> polars.DataFrame:
        """Rows of the confirm half: effects, placebo, controls under the condition that discover chose."""
        import polars as pl

        picked = choose(discovered, seed=seed, limits=self.limits).row(0, named=True)
        graded = [c for c in conditions if self.band or c.dose == picked["dose"]]
        parts = [self._effects(tested, conditions, "confirm", name), self._placebo(tested, name)]
        if controls:
            parts.append(self._controlled(tested, graded, controls, name))
        return pl.concat([part for part in parts if len(part)])

    def costs(self, tested: Tested, conditions: Sequence[OrderedCondition], name: str) -> list[dict[str, Any]]:
        """What each condition costs on neutral text; writes act wherever they can, there is no prompt's last token.

        Neutral text has no partner to be patched from: every position gets the mean of what positives of discover get.
        """
        from radiograph.interventions.features import neutral_costs
        from radiograph.numerics.effects import side_effects

        ids = [c.id for c in conditions]
        writer = self._writer(f"{name}-costs", {"feature": tested.id, "codec": tested.codec.hash, "conditions": ids})
        if not writer.batches:
            writer.plan([tuple(range(len(ids)))])
        if not writer.done(0):
            codes = self._codes_of(tested, self.neutral, "neutral")
            found = neutral_costs(
                self.model, self.neutral, [[[self._pushed(tested, c, own, None)] for own in codes] for c in conditions]
            )
            sides = [side_effects(cost.kl, cost.baseline_nll, cost.nll) for cost in found]
            rows = [{"kl": s.kl, "kl_q95": s.kl_q95, "ppl": s.ppl, "tokens": s.tokens} for s in sides]
            writer.commit(0, [{"row": number, **row} for number, row in enumerate(rows)], {})
        return [facts for facts, _ in writer.rows()]

    def continuations(self, tested: Tested, condition: OrderedCondition) -> dict[str, Any]:
        """How varied and how long continuations are, with and without the write; nulls where none was asked for."""
        from radiograph.interventions.features import continued

        places = self.half("confirm", positive=True)[: self.continued]
        if not places:
            return dict.fromkeys(("texts", "distinct2", "distinct2_untouched", "length", "length_untouched"))
        ids = [self.prompts[place].ids for place in places]
        codes = self._codes_of(tested, ids, "continued")
        writes = [
            [self._pushed(tested, condition, own, self._acting(place), prompt=place)]
            for place, own in zip(places, codes, strict=True)
        ]
        found: dict[str, Any] = {"texts": len(places)}
        for name, acting in (("", writes), ("_untouched", None)):
            made = [one.ids for one in continued(self.model, ids, acting, new=self.new_tokens, carry=self.carry)]
            varied = [len({*pairwise(own)}) / (len(own) - 1) for own in made if len(own) > 1]
            found[f"distinct2{name}"] = float(np.mean(varied)) if varied else None
            found[f"length{name}"] = float(np.mean([len(own) for own in made]))
        return found

    def guarded(self, tested: Tested, condition: OrderedCondition) -> list[dict[str, Any]]:
        """Whether answers to the suites of --guard still pass."""
        facts = {"feature_id": tested.id, "verb": condition.verb, "dose": condition.dose, "dose_unit": condition.unit}
        rows: list[dict[str, Any]] = []
        for guard in self.guards:
            codes = self._codes_of(tested, guard.tokens, f"guard {guard.name}")
            writes = [[self._pushed(tested, condition, own, self._last(len(own)))] for own in codes]
            rows += guard.rows(self.model, writes, facts, carry=self.carry)
        return rows

    def _last(self, length: int) -> tuple[int, int] | None:
        """Where a prompt without labels may be written."""
        return (length - 1, length) if self.positions == "last" or self.verb == "patch" else None

    def _effects(
        self, tested: Tested, conditions: Sequence[OrderedCondition], half: str, name: str
    ) -> polars.DataFrame:
        places = self.half(half)
        jobs = [(p, c) for p in self._by_length(places) for c in range(len(conditions))]
        writes = dict(enumerate(conditions))
        found = self._measured(tested, f"{name}-{half}", jobs, writes, None)
        costs = self.costs(tested, conditions, name)
        return self._table(tested, jobs, found, [conditions[c] for _, c in jobs], costs=[costs[c] for _, c in jobs])

    def _placebo(self, tested: Tested, name: str) -> polars.DataFrame:
        """Dose 0 through the same hooks, beside the same batches without them.

        Raises:
            Refusal: it moves an outcome (`placebo_leak`).
        """
        none = OrderedCondition(id="placebo", verb="steer", dose=0.0, unit="raw", raw=0.0, norm_fraction=0.0)
        jobs = [(p, 0) for p in self._by_length(self.half("confirm", positive=True))]
        idle = self._measured(tested, f"{name}-idle", jobs, {0: none}, None, hooked=False)
        found = self._measured(tested, f"{name}-placebo", jobs, {0: none}, None)
        check_placebo(np.array(found) - np.array(idle))
        return self._table(tested, jobs, found, [none] * len(jobs), control="placebo", baseline=idle)

    def _controlled(
        self, tested: Tested, conditions: Sequence[OrderedCondition], controls: Sequence[Control], name: str
    ) -> polars.DataFrame:
        import polars as pl

        places = self._by_length(self.half("confirm", positive=True))
        many = len(controls)
        jobs = [(p, c) for p in places for c in range(len(conditions) * many)]
        writes = {c: conditions[c // many] for c in range(len(conditions) * many)}
        found = self._measured(tested, f"{name}-controls", jobs, writes, controls)
        parts: list[pl.DataFrame] = []
        for number, control in enumerate(controls):
            mine = [i for i, (_, c) in enumerate(jobs) if c % many == number]
            parts.append(
                self._table(
                    tested,
                    [jobs[i] for i in mine],
                    [found[i] for i in mine],
                    [writes[jobs[i][1]] for i in mine],
                    control=control.family,
                    index=control.index,
                    name=tested.id if control.feature is None else _address(tested, control.feature),
                )
            )
        return pl.concat(parts)

    def _measured(
        self,
        tested: Tested,
        name: str,
        jobs: Sequence[tuple[int, int]],
        conditions: Mapping[int, OrderedCondition],
        controls: Sequence[Control] | None,
        *,
        hooked: bool = True,
    ) -> list[float]:
        facts = {
            "feature": tested.id,
            "codec": tested.codec.hash,
            "conditions": [conditions[c].id for c in sorted(conditions)],
            "controls": None
            if controls is None
            else [document_sha256(c.direction.round(12).tolist()) for c in controls],
            "hooked": hooked,
        }

        def writes(p: int, c: int, lines: Sequence[tuple[int, ...]]) -> list[list[Pushed]]:
            own = [
                self._pushed(tested, conditions[c], codes, self._acting(p), prompt=p)
                for codes in self._line_codes(tested, p, lines)
            ]
            if controls is None:
                return [[one] for one in own]
            direction = controls[c % len(controls)].direction
            return [[one.along(direction)] for one in own]

        return self._values(name, jobs, facts, writes, hooked=hooked)

    def _values(
        self,
        name: str,
        jobs: Sequence[tuple[int, int]],
        facts: Mapping[str, Any],
        writes: Writer | None = None,
        *,
        hooked: bool = True,
    ) -> list[float]:
        """Outcomes of (prompt, condition), chunk by chunk; what a folder holds is not done again."""
        writer = self._writer(name, {"jobs": list(jobs), **facts})
        if not writer.batches:
            writer.plan([tuple(range(start, min(start + CHUNK, len(jobs)))) for start in range(0, len(jobs), CHUNK)])
        with self.ctx.progress.task(name, total=len(jobs)) as task:
            for number, batch in enumerate(writer.batches):
                if not writer.done(number):
                    found = self._chunk([jobs[i] for i in batch], writes, hooked)
                    writer.commit(number, [{"row": i, "value": v} for i, v in zip(batch, found, strict=True)], {})
                task.advance(len(batch))
        return [row["value"] for row, _ in writer.rows()]

    def _writer(self, name: str, facts: Mapping[str, Any]) -> BatchWriter:
        from radiograph.store.vectors import BatchWriter

        document = {"engine": ENGINE, "study": self.sha256, "name": name, **facts}
        return BatchWriter(self.folder / name, document_sha256(document))

    def _chunk(self, jobs: Sequence[tuple[int, int]], writes: Writer | None, hooked: bool) -> list[float]:
        prompts = [p for p, _ in jobs]
        if writes is None:
            return self.outcome.measure(prompts)
        lines: list[list[tuple[int, ...]]] = [[] for _ in jobs]
        for place, ids in self.outcome.lines(prompts):
            lines[place].append(ids)
        acting = [writes(p, c, own) for (p, c), own in zip(jobs, lines, strict=True)]
        still = [all(one.still for row in own for one in row) for own in acting]
        placebo = all(still)
        moved = [place for place in range(len(jobs)) if placebo or not still[place]]
        found = self.outcome.measure(
            [prompts[place] for place in moved], [row for place in moved for row in acting[place]], hooked=hooked
        )
        values = [self.baseline[p] for p in prompts]
        for place, value in zip(moved, found, strict=True):
            values[place] = value
        return values

    def _by_length(self, places: Sequence[int]) -> list[int]:
        return sorted(places, key=lambda p: (len(self.prompts[p].ids), p))

    def _acting(self, p: int) -> tuple[int, int] | None:
        """Positions that may be written; None: all."""
        one = self.prompts[p]
        return self._last(len(one.ids)) or (one.span if self.positions == "span" else None)

    def _pushed(
        self,
        tested: Tested,
        condition: OrderedCondition,
        codes: np.ndarray,
        span: tuple[int, int] | None,
        *,
        prompt: int | None = None,
    ) -> Pushed:
        from radiograph.interventions.features import pushed

        write = self._write(tested, condition, prompt)
        return pushed(write, codes, span)

    def _write(self, tested: Tested, condition: OrderedCondition, prompt: int | None) -> FeatureWrite:
        from radiograph.interventions.features import FeatureWrite

        value: float | tuple[float, ...] = condition.raw or 0.0
        if condition.verb == "patch":
            put = self.sources(tested)
            places = self.half("discover", positive=True) if prompt is None else [prompt]
            value = tuple(np.mean([put[place] for place in places], axis=0).tolist())
        return FeatureWrite(
            tested.codec,
            tested.site,
            tested.numbers,
            tested.directions,
            OPS[condition.verb],  # type: ignore[arg-type]  # one of the three
            value,
            "active" if self.positions == "active" else "all",
        )

    def sources(self, tested: Tested) -> dict[int, tuple[float, ...]]:
        """Of `patch`: the codes at the last token of the first prompt of the group that has the other label."""
        partner: dict[tuple[str, bool], int] = {}
        for place, one in enumerate(self.prompts):
            partner.setdefault((one.group, one.kind == "positive"), place)
        codes = self._codes_of(tested, [one.ids for one in self.prompts], "prompts")
        out: dict[int, tuple[float, ...]] = {}
        for place, one in enumerate(self.prompts):
            other = partner.get((one.group, one.kind != "positive"))
            # Without a partner the own value is put back: nothing is pushed, and the row is left out.
            out[place] = tuple(codes[place if other is None else other][-1].astype(float).tolist())
        return out

    def _line_codes(self, tested: Tested, p: int, lines: Sequence[tuple[int, ...]]) -> Iterator[np.ndarray]:
        codes = self._codes_of(tested, [ids for _, ids in self._lines], "lines")
        for ids in lines:
            yield codes[self._line_places[p, ids]]

    @cached_property
    def _lines(self) -> list[tuple[int, tuple[int, ...]]]:
        """Every row that the outcome reads of any prompt."""
        return self.outcome.lines(range(len(self.prompts)))

    @cached_property
    def _line_places(self) -> dict[tuple[int, tuple[int, ...]], int]:
        return {line: place for place, line in enumerate(self._lines)}

    def _codes_of(self, tested: Tested, tokens: Sequence[tuple[int, ...]], name: str) -> list[np.ndarray]:
        from radiograph.interventions.features import codes_on

        key = (f"{name} {tested.codec.hash}", tested.numbers)
        if key not in self._codes:
            self._codes[key] = codes_on(self.model, tested.codec, tested.numbers, tokens)
        return self._codes[key]

    def forget(self) -> None:
        """Drop codes of features that are done."""
        self._codes.clear()

    def clear(self) -> None:
        """Remove what only a resumed run needs."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _table(
        self,
        tested: Tested,
        jobs: Sequence[tuple[int, int]],
        values: Sequence[float],
        conditions: Sequence[OrderedCondition],
        *,
        costs: Sequence[Mapping[str, Any]] | None = None,
        control: str | None = None,
        index: int | None = None,
        name: str | None = None,
        baseline: Sequence[float] | None = None,
    ) -> polars.DataFrame:
        import polars as pl

        from radiograph.store.interventions import column_types

        prompts = [self.prompts[p] for p, _ in jobs]
        n = len(jobs)
        columns: dict[str, Any] = {
            **{key: [value] * n for key, value in self.identity.items()},
            "feature_id": [name or tested.id] * n,
            "verb": [c.verb for c in conditions],
            "dose": [c.dose for c in conditions],
            "dose_unit": [c.unit for c in conditions],
            "dose_raw": [c.raw for c in conditions],
            "norm_fraction": [c.norm_fraction for c in conditions],
            "push": [0] * n if control == "placebo" else self._pushes(tested, jobs, conditions),
            "push_assumed": [False] * n,
            "positions": [self.positions] * n,
            "prompt_id": [one.id for one in prompts],
            "group_id": [one.group for one in prompts],
            "split": [one.half for one in prompts],
            "kind": [one.kind for one in prompts],
            "outcome": [self.outcome.name] * n,
            "outcome_unit": [self.outcome.unit] * n,
            "baseline": list(baseline or [self.baseline[p] for p, _ in jobs]),
            "intervened": list(values),
            "control": [control] * n,
            "control_of": [None if control is None else tested.id] * n,
            "control_index": [index] * n,
        }
        if costs is not None:
            columns |= {"kl": [c["kl"] for c in costs], "nll_ratio": [c["ppl"] for c in costs]}
        schema = column_types()
        columns = {key: columns.get(key) or [None] * n for key in schema}
        table = pl.DataFrame({key: pl.Series(key, value, schema[key]) for key, value in columns.items()})
        # Whose feature was where it was put was not moved: no row of effects.
        return table if control == "placebo" else table.filter(pl.col("push") != 0)

    def _pushes(
        self, tested: Tested, jobs: Sequence[tuple[int, int]], conditions: Sequence[OrderedCondition]
    ) -> list[int]:
        verbs = [c.verb for c in conditions]
        if self.verb not in ("clamp", "patch"):
            return pushes(
                verbs, dose=np.array([np.nan if c.dose is None else c.dose for c in conditions])
            ).push.tolist()
        codes = self._codes_of(tested, [one.ids for one in self.prompts], "prompts")
        moved: list[float] = []
        for (p, _), condition in zip(jobs, conditions, strict=True):
            span = self._acting(p)
            write = self._write(tested, condition, p)
            change = write.change(codes[p])
            moved.append(float((change if span is None else change[slice(*span)]).sum()))
        return pushes(verbs, target=np.array(moved), own=np.zeros(len(moved))).push.tolist()

    @cached_property
    def sha256(self) -> str:
        """Of everything that decides an outcome, beside what is written."""
        identity = self.model.identity
        judge = {} if self.judged is None else {"judge": self.judged.model_dump(mode="json")}
        return document_sha256(
            judge
            | {
                "model": identity.tensors_sha256,
                "adapter": identity.adapter_tensors_sha256,
                "dtype": str(self.model.dtype),
                "outcome": self.outcome.name,
                "read_by": self.outcome.codec_sha256,
                "new_tokens": self.new_tokens if self.outcome.name == "rate" else None,
                "prompts": [[one.id, list(one.ids), list(one.targets), list(one.foils)] for one in self.prompts],
                "neutral": [list(ids) for ids in self.neutral],
                "positions": self.positions,
                "verb": self.verb,
            }
        )


def _address(tested: Tested, number: int) -> str:
    address = getattr(tested.codec, "address", None)
    return f"{tested.id}#{number}" if address is None else str(address(number))
