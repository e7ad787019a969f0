"""Texts under conditions, decoded and judged; controls of a chosen write, and other ways of decoding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.core import Context, Site, UserError
from radiograph.evidence import Condition, Decoding, Write
from radiograph.evidence.resonance import CollapseControl
from radiograph.methods.collapse import _judged
from radiograph.methods.collapse._judged import JudgedRow, TextRow
from radiograph.numerics.repetition import CollapseScore

if TYPE_CHECKING:
    from radiograph.evidence import Grid
    from radiograph.interventions import BoundCondition, Statistics, SweptRow
    from radiograph.models import LanguageModel

NATURAL = "world:mixture#400"
"""Natural text of the small world: what doses and matching refer to where nothing else is given."""
PLAIN: Mapping[str, dict[str, Any]] = {
    "temperature 0.7": {"mode": "sample", "temperature": 0.7},
    "temperature 1": {"mode": "sample", "temperature": 1.0},
    "top-p 0.9": {"mode": "sample", "top_p": 0.9},
    "repetition penalty 1.1": {"repetition_penalty": 1.1},
    "repetition penalty 1.3": {"repetition_penalty": 1.3},
    "no repeated 3-gram": {"no_repeat_ngram": 3},
}


@dataclass(frozen=True, eq=False)
class Study:
    """What every sweep of a run shares."""

    model: LanguageModel
    grid: Grid
    ids: list[tuple[int, ...]]
    score: CollapseScore
    batch_rows: int
    ctx: Context
    stops: frozenset[int] | None = None
    """Tokens that end a text; None takes the model's own."""

    def rows(
        self,
        conditions: Sequence[BoundCondition],
        decoding: Decoding,
        prompts: Sequence[int],
        name: str | None = None,
    ) -> list[JudgedRow]:
        """Every prompt under every condition, judged; `name` replaces the condition's."""
        from radiograph.interventions import Sweep, run

        sweep = Sweep(self.model, [self.ids[i] for i in prompts], conditions, decoding, stops=self.stops)
        out: list[TextRow] = []
        with self.ctx.progress.task("decoding", total=len(sweep.rows)) as task:
            for batch in run(sweep, batch_rows=self.batch_rows):
                out += [self._text(conditions[r.row.condition], prompts[r.row.prompt], r, name) for r in batch]
                task.advance(len(batch))
        order = {c.name if name is None else name: k for k, c in enumerate(conditions)}
        place = {record.id: k for k, record in enumerate(self.grid.records)}
        out.sort(key=lambda row: (order[row.condition], place[row.prompt_id]))
        return _judged.judge(out, self.score)

    def _text(self, condition: BoundCondition, prompt: int, row: SweptRow, name: str | None) -> TextRow:
        record = self.grid.records[prompt]
        single = condition.writes[0].told if len(condition.writes) == 1 else None
        special = set(getattr(self.model.tokenizer, "all_special_ids", ()))
        ids = tuple(token for token in row.ids if token not in special)
        return TextRow(
            prompt_id=record.id,
            core=record.core,
            factors=tuple((name, str(record.factors.get(name))) for name in _ordered(self.grid.factors)),
            prompt=record.text,
            condition=condition.name if name is None else name,
            text=row.text or "",
            target="; ".join(write.target for write in condition.condition.writes) or None,
            dose=None if single is None else single.raw,
            dose_sd=None if single is None else single.sd,
            ids=ids,
            broken=row.stop == "non-finite",
        )


def _ordered(factors: Iterable[str]) -> list[str]:
    """`type` and `level` first: the map is drawn over the first two."""
    return sorted(factors, key=lambda name: (name not in ("type", "level"), name == "level"))


def prompt_tokens(model: LanguageModel, grid: Grid, new_tokens: int) -> list[tuple[int, ...]]:
    """Every prompt as tokens.

    Raises:
        UserError: a prompt that leaves no room for the new tokens.
    """
    from radiograph.models import prompt_ids

    out = [prompt_ids(model.tokenizer, record.text) for record in grid.records]
    room = model.context_length - new_tokens
    for ids, record in zip(out, grid.records, strict=True):
        if len(ids) > room:
            raise UserError(
                f"prompt {record.id} and {new_tokens} new tokens do not fit the model's context",
                expected=f"at most {room} prompt tokens",
                got=str(len(ids)),
                fix="fewer --new-tokens",
                code="too_long",
            )
    return out


def natural(
    ctx: Context, model: LanguageModel, conditions: Sequence[Condition], sources: Sequence[str], cloud: bool
) -> dict[str, Any]:
    """Site statistics of every written site, and with covariance of `mlp_out` beside it where `cloud` is asked for.

    Raises:
        UserError: no natural text to measure on.
    """
    from radiograph.harvest.statistics import site_statistics
    from radiograph.organisms import reads_world
    from radiograph.store.statistics import statistics_cache

    written = [site for c in conditions for w in c.writes for site in model.sites(w.site)]
    sites = list(dict.fromkeys(str(site).split(".h")[0] for site in written))
    if not sites:
        return {}
    if not sources:
        if model.tokenizer is None or not reads_world(model.tokenizer):
            raise UserError(
                "matched units are those alike on natural text, and none is given",
                fix="give --natural FILE, or --controls 0 and doses in raw numbers",
                code="no_statistics",
            )
        sources = [NATURAL]
    texts = ctx.texts(sources, role="natural")
    known = site_statistics(model, texts, sites, cache=statistics_cache(), progress=ctx.progress)
    if cloud:
        outs = [str(Site("mlp_out", Site.parse(site).layer)) for site in sites if site.startswith("mlp_hidden.")]
        known |= site_statistics(model, texts, outs, covariance=True, cache=statistics_cache()) if outs else {}
    return known


def controls_of(
    study: Study,
    write: Write,
    base: Sequence[JudgedRow],
    net: float,
    decoding: Decoding,
    prompts: Sequence[int],
    *,
    statistics: Statistics,
    units: int,
    directions: int,
) -> tuple[list[CollapseControl], list[dict[str, Any]]]:
    """Matched units and random directions pushed as hard as one write: where it stands, and every control's net."""
    from radiograph.interventions import bind, direction_controls, unit_controls

    found: list[CollapseControl] = []
    table: list[dict[str, Any]] = []
    name = str(write)
    if units:
        chosen = unit_controls(study.model, write, units, statistics=statistics, matching=statistics[write.site])  # type: ignore[arg-type]
        bound = bind(study.model, [c.condition for c in chosen], statistics=statistics)
        nets = _nets(study, bound, base, decoding, prompts)
        table += [
            {"condition": name, "kind": "units", "control": b.name, "distance": c.distance, "net": n}
            for c, b, n in zip(chosen, bound, nets, strict=True)
        ]
        found.append(_placed("units", name, net, nets))
    clouds = ("haar", "covariance") if directions else ()
    for cloud in clouds:
        out = statistics[str(Site("mlp_out", Site.parse(write.site).layer))]
        made = direction_controls(
            study.model,
            write,
            directions,
            statistics=statistics,
            cloud=cloud,
            covariance=getattr(out, "covariance", None),
            seed=study.ctx.seed,
        )
        bound = bind(study.model, made.conditions, statistics=statistics, directions=made.directions)
        nets = _nets(study, bound, base, decoding, prompts)
        table += [
            {"condition": name, "kind": cloud, "control": b.name, "distance": None, "net": n}
            for b, n in zip(bound, nets, strict=True)
        ]
        found.append(_placed(cloud, name, net, nets))
    return found, table


def plain_decoding(
    study: Study, base: Sequence[JudgedRow], decoding: Decoding, prompts: Sequence[int], none: BoundCondition
) -> list[tuple[str, list[tuple[JudgedRow, JudgedRow]]]]:
    """Pairs of baseline and otherwise decoded texts, without a write."""
    out: list[tuple[str, list[tuple[JudgedRow, JudgedRow]]]] = []
    for name, change in PLAIN.items():
        rows = study.rows([none], decoding.model_copy(update=change), prompts, name)
        out.append((name, _judged.paired(base, rows)))
    return out


def _nets(
    study: Study,
    bound: Sequence[BoundCondition],
    base: Sequence[JudgedRow],
    decoding: Decoding,
    prompts: Sequence[int],
) -> list[float]:
    """Net of each control. One without a scored pair broke all texts, and rescued none."""
    if not bound:
        return []
    groups = _judged.conditions(study.rows(bound, decoding, prompts))
    nets = [_judged.net_of(_judged.paired(base, groups[one.name])) for one in bound]
    return [-1.0 if net is None else net for net in nets]


def _placed(kind: Any, condition: str, net: float, nets: Sequence[float]) -> CollapseControl:
    from radiograph.numerics.units import control_test

    test = control_test(net, nets)
    low, median, high = (float(q) for q in np.quantile(nets, [0.05, 0.5, 0.95])) if len(nets) else (None, None, None)
    return CollapseControl(
        kind=kind,
        condition=condition,
        n=test.controls,
        rank=test.rank,
        net=net,
        null_low=low,
        null_median=median,
        null_high=high,
        p=test.p,
        smallest=test.smallest,
        note=test.note,
    )
