"""Texts under conditions, by the one engine, in parts that a killed run goes on with; and what controls do.

Parts, each a sweep of its own in `sweeps/`: `texts` (every prompt and condition), `forced` (the claiming prompts once
more, every condition fed the baseline's text, for KL), `controls`, and `plain-1` to `plain-6` (other decoding).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from radiograph.core import Context, Site, UserError
from radiograph.evidence import Condition, Decoding, Follow
from radiograph.methods.collapse import _judged
from radiograph.methods.collapse._judged import Judge, JudgedRow

if TYPE_CHECKING:
    from pathlib import Path

    from radiograph.interventions import BoundCondition, Prompts
    from radiograph.models import LanguageModel
    from radiograph.store.vectors import BatchWriter

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
    prompts: Prompts
    decoding: Decoding
    samples: int
    judge: Judge
    batch_rows: int
    folder: Path
    ctx: Context
    stops: frozenset[int] | None = None
    """Tokens that end a text; None takes the model's own."""
    writers: list[BatchWriter] = field(default_factory=list)

    def swept(
        self,
        name: str,
        conditions: Sequence[BoundCondition],
        places: Sequence[int],
        *,
        decoding: Decoding | None = None,
        follow: Follow = "own",
    ) -> dict[str, Any]:
        """Some prompts under some conditions, in the columns of a capture and `judged_ids`, free of special tokens."""
        from radiograph.interventions import Sweep, rows_table, sweep_into

        sweep = Sweep(
            self.model,
            [self.prompts.ids[place] for place in places],
            conditions,
            self.decoding if decoding is None else decoding,
            samples=self.samples,
            follow=follow,
            divergence=follow == "reference",
            stops=self.stops,
        )
        writer = sweep_into(sweep, self.folder / name, batch_rows=self.batch_rows, progress=self.ctx.progress)
        self.writers.append(writer)
        own = {key: [values[place] for place in places] for key, values in self.prompts.columns.items()}
        table = rows_table(sweep, writer, own)
        special = set(getattr(self.model.tokenizer, "all_special_ids", ()))
        table["judged_ids"] = [[token for token in ids if token not in special] for ids in table["ids"]]
        return table

    def judged(self, table: Mapping[str, Any], *, quickly: bool = False) -> list[JudgedRow]:
        """The texts of such a table."""
        ids = dict(zip(self.prompts.columns["prompt_id"], self.prompts.ids, strict=True))
        return (self.judge.quickly() if quickly else self.judge)(_judged.text_rows(table, ids))

    def forced(self, table: dict[str, Any], conditions: Sequence[BoundCondition], places: Sequence[int]) -> None:
        """Give a table the KL of its claiming rows along the baseline's text."""
        found = self.swept("forced", conditions, places, follow="reference")
        names = ("prompt_id", "condition", "sample")
        own = zip(*(found[name] for name in (*names, "kl", "kl_steps")), strict=True)
        known = {tuple(key): (kl, steps) for *key, kl, steps in own}
        both = [known.get(key, (None, 0)) for key in zip(*(table[name] for name in names), strict=True)]
        table["kl"], table["kl_steps"] = [kl for kl, _ in both], [steps for _, steps in both]

    def finish(self) -> None:
        """Leave of every part its plan alone."""
        for writer in self.writers:
            writer.finish(sites={}, pool="generated", facts={"job": writer.job})


def natural(
    ctx: Context,
    model: LanguageModel,
    conditions: Sequence[Condition],
    *,
    folder: str | None,
    sources: Sequence[str],
    cloud: bool,
) -> dict[str, Any]:
    """Site statistics of every written site, and with covariance of `mlp_out` beside it where `cloud` is asked for.

    Raises:
        UserError: no natural text to measure on; statistics of other sites.
    """
    from radiograph.harvest.statistics import natural_statistics

    written = [site for c in conditions for w in c.writes for site in model.sites(w.site)]
    sites = list(dict.fromkeys(str(site).split(".h")[0] for site in written))
    outs = [str(Site("mlp_out", Site.parse(site).layer)) for site in sites if site.startswith("mlp_hidden.")]
    with ctx.measure("statistics"):
        known = natural_statistics(
            model,
            {site: {} for site in sites},
            folder=None if folder is None else ctx.path(folder, "statistics"),
            texts=(lambda: ctx.corpus(sources, role="natural")) if sources else None,
            covariance=outs if cloud else (),
            progress=ctx.progress,
        )
    if missing := [site for site in (*sites, *(outs if cloud else ())) if site not in known]:
        fix = f"scan {missing[0]} too{', with --covariance' if cloud else ''}"
        raise UserError(f"the statistics hold no {missing[0]}", got=", ".join(known), fix=fix, code="no_statistics")
    return known


def plain_decoding(
    study: Study, base: Sequence[JudgedRow], places: Sequence[int], none: BoundCondition
) -> list[tuple[str, list[tuple[JudgedRow, JudgedRow]]]]:
    """Pairs of baseline and otherwise decoded texts, without a write."""
    out: list[tuple[str, list[tuple[JudgedRow, JudgedRow]]]] = []
    for number, (name, change) in enumerate(PLAIN.items(), 1):
        decoding = study.decoding.model_copy(update=change)
        rows = study.judged(study.swept(f"plain-{number}", [none], places, decoding=decoding))
        out.append((name, _judged.paired(base, rows)))
    return out
