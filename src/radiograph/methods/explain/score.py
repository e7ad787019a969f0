"""Score explanations on the texts that were reserved for it: how well do they foretell where features fire?

1. read a run of `explain features` and its reserved texts; nobody who explained has seen them
2. `detection` which windows fire? ten of each kind, half of the silent ones hard · `fuzzing` are the marked tokens the
   right ones? · `simulation` how strongly does each token fire? · `rule` the learned rule on tokens, without any judge
3. each with the feature's own explanation, with that of another feature on the same contexts, and with none; lift, own
   less other, is what an explanation is worth
4. failed questions are counted and left out; above a tenth of them a scorer measured nothing (exit 4). Contexts are
   drawn anew for each of `--seeds`; the spread over seeds is given beside the interval
5. proxies (entropy of tokens, likeness of contexts, promoted tokens) with their rank correlation to a measured score

Source: detection and fuzzing after EleutherAI's Delphi, simulation after Bills et al. 2023. Units: balanced accuracy
(.5 by chance), Pearson's r (0), F1 (by chance the rate at which a feature fires). Scores of judges and of rules are
never averaged. Refuses when: nothing was explained; no scorer can be used.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from radiograph.core import Context, Refusal, RunPath, UserError, derive
from radiograph.evidence.explanations import (
    SCORERS,
    ExplainFeatures,
    ExplainScore,
    FeatureScore,
    JudgeRecord,
    ScorerSummary,
)
from radiograph.methods.explain._endpoint import ChatOptions, chat_of

if TYPE_CHECKING:
    from pathlib import Path

    from radiograph.explanations import Material
    from radiograph.explanations.judging import Answers

Scorer = Literal["detection", "fuzzing", "simulation", "rule"]
_OF = {"simulation": ("simulation_top", "simulation_random")}


class Config(ChatOptions):
    """Which explanations, by which scorers."""

    run: RunPath
    """A run of `explain features`."""
    scorer: tuple[Scorer, ...] = ()
    """Repeatable; by default rule, and with an endpoint detection, fuzzing and simulation too."""
    seeds: int = Field(default=3, ge=1, le=20)
    """How many times contexts are drawn."""
    most: int | None = Field(default=None, ge=1)
    """Most features that are scored, drawn with the seed."""


def run(config: Config, ctx: Context) -> ExplainScore:
    """Read, ask, score, compare."""
    from radiograph.explanations import Windowed, judging, material_of
    from radiograph.store.records import open_records

    folder = ctx.path(config.run, "run")
    told = _read(folder)
    reserved = material_of(open_records(folder / "reserved", verify=True))
    chosen = _chosen(told, config.most, ctx.seed)
    material, told = _narrowed(reserved, told, chosen)
    windowed = Windowed(material)
    seeds = tuple(derive(ctx.seed, "score", n) % 2**31 for n in range(config.seeds))
    with chat_of(config, ctx) as chat:
        scorers = _scorers(config, told, chat is not None)
        summaries: list[ScorerSummary] = []
        scores: list[FeatureScore] = []
        judged = [name for name in judging.JUDGED if name in scorers]
        answers: Answers | None = None
        if judged and chat is not None:
            with ctx.measure("judge"):
                answers = _asked(told, windowed, seeds, judged, chat, ctx)
            more, own = _of_judges(answers, told, judged, chat.endpoint.model, ctx.seed)
            summaries += more
            scores += own
            ctx.output.table("answers", _numbered(answers, told))
        exchange = None if answers is None or chat is None else judging.exchange(chat, answers.prompts, answers.stopped)
    if "rule" in scorers:
        with ctx.measure("rule"):
            more, own = _of_rules(told, material, windowed, seeds, ctx)
        summaries += more
        scores += own
    found = judging.proxies(told.explanations, windowed)
    against, own = _against(scores)
    return ExplainScore(
        run=ctx.label(config.run),
        explainer=told.explainer,
        author=told.author,
        judge=JudgeRecord(name="none" if config.chat_model is None else config.chat_model, seeds=seeds),
        groups=told.groups["reserved"],
        tokens=len(material.passages.tokens),
        explained=told.explained,
        scored=len({score.feature for score in scores if score.value is not None}),
        summaries=tuple(summaries),
        scores=tuple(scores),
        proxies=tuple(found),
        proxy_correlations=judging.agreement(found, own),
        proxy_against=against,
        exchange=exchange,
        notes=_notes(told, material),
    )


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """Do scores and means follow from the answers and the counts?"""
    import polars

    from radiograph.explanations import judging
    from radiograph.numerics.explanations import f1

    stored = ExplainScore.read(result)
    out: list[str] = []
    by_name = {(s.scorer, s.feature): s for s in stored.scores}
    names = {s.feature: s.feature_id for s in stored.scores}
    answers = folder / "tables" / "answers.parquet"
    if answers.is_file():
        table = polars.read_parquet(answers)
        order = table["feature"].unique(maintain_order=True).to_list()
        place = {number: n for n, number in enumerate(order)}
        columns = {**table.to_dict(as_series=False), "feature": [place[n] for n in table["feature"].to_list()]}
        listed = [(n, names.get(n, "")) for n in order]
        for summary in stored.summaries:
            if summary.scorer == "rule":
                continue
            why = None if summary.code == "few_contexts" else summary.code
            for again in judging.scores_of(columns, summary.scorer, listed, code=why):
                out += _differs(by_name.get((summary.scorer, again.feature)), again)
    rules = folder / "tables" / "rules.parquet"
    if rules.is_file():
        table = polars.read_parquet(rules)
        values = f1(*(table[name].to_numpy().astype(float) for name in ("hits", "fired", "named")))
        for feature, value in zip(table["feature"].to_list(), values.tolist(), strict=True):
            told = by_name.get(("rule", feature))
            if told is None or (told.value is not None and abs(told.value - value) > 1e-9):
                out.append(f"rule of feature {feature}: the counts give F1 {value:.4f}")
    for summary in stored.summaries:
        known = [s.value for s in stored.scores if s.scorer == summary.scorer and s.value is not None]
        mean = sum(known) / len(known) if known else None
        if (mean is None) != (summary.own is None) or (
            mean is not None and summary.own is not None and abs(mean - summary.own.value) > 1e-9
        ):
            out.append(f"{summary.scorer}: the mean of the features is {mean}, not what is stated")
    return out


def _differs(told: FeatureScore | None, again: FeatureScore) -> list[str]:
    for name in ("value", "low", "high", "other", "empty", "lift", "spread", "n"):
        ours, stated = getattr(again, name), None if told is None else getattr(told, name)
        if (ours is None) != (stated is None) or (
            ours is not None and stated is not None and abs(ours - stated) > 1e-9
        ):
            return [f"{again.scorer} of feature {again.feature}: the answers give {name} {ours}, stated is {stated}"]
    return []


def _read(folder: Path) -> ExplainFeatures:
    path = folder / "result.json"
    document = json.loads(path.read_bytes()) if path.is_file() else {}
    if not str(document.get("schema", "")).startswith("radiograph.explain_features/"):
        raise UserError(
            f"{folder.name} is no run of `explain features`",
            got=str(document.get("schema", "no result")),
            code="format",
        )
    return ExplainFeatures.read(document)


def _chosen(told: ExplainFeatures, most: int | None, seed: int) -> list[int]:
    """Places of the explained features that are scored; all features stay where none is left out."""
    named = [n for n, e in enumerate(told.explanations) if e.text is not None]
    if not named:
        raise Refusal("nothing_explained", "no feature has words, so there is nothing to score")
    if most is None or most >= len(named):
        return named
    return sorted(sorted(named, key=lambda n: derive(seed, "scored", n))[:most])


def _narrowed(reserved: Material, told: ExplainFeatures, chosen: list[int]) -> tuple[Material, ExplainFeatures]:
    import numpy as np

    if reserved.ids != tuple(e.feature_id for e in told.explanations):
        raise UserError("the reserved texts are of other features than the explanations", code="format")
    kept = [told.explanations[n] for n in chosen]
    material = replace(reserved.choose(chosen), numbers=np.array([e.feature for e in kept], np.int64))
    return material.above(np.array([e.threshold for e in kept])), told.model_copy(
        update={"explanations": tuple(told.explanations[n] for n in chosen)}
    )


def _scorers(config: Config, told: ExplainFeatures, judge: bool) -> list[str]:
    rules = any(e.rule is not None for e in told.explanations)
    wanted: list[str] = list(config.scorer)
    if not wanted:
        wanted = (["detection", "fuzzing", "simulation"] if judge else []) + (["rule"] if rules else [])
    needs = [name for name in wanted if name != "rule"]
    if needs and not judge:
        raise UserError(f"{', '.join(needs)} needs a judge", fix="--endpoint URL --chat-model NAME", code="no_judge")
    if "rule" in wanted and not rules:
        raise UserError("no feature has a learned rule", fix="explain features --with heuristic", code="no_rule")
    if not wanted:
        raise Refusal("no_scorer", "without a judge only learned rules can be scored, and there are none")
    return list(dict.fromkeys(wanted))


def _asked(
    told: ExplainFeatures, windowed: Any, seeds: tuple[int, ...], names: list[str], chat: Any, ctx: Context
) -> Answers:
    from radiograph.explanations import judging

    explanations = told.explanations

    def typical(place: int) -> dict[str, float]:
        statistics = explanations[place].statistics
        return {} if statistics is None else {token.token: token.share for token in statistics.tokens}

    judged = judging.Judged(windowed, typical, [e.text for e in explanations], seeds)
    return judging.ask_judges(judged, names, chat, ctx.progress)


def _of_judges(
    answers: Answers, told: ExplainFeatures, names: list[str], judge: str, seed: int
) -> tuple[list[ScorerSummary], list[FeatureScore]]:
    from radiograph.explanations import judging

    listed = [(e.feature, e.feature_id) for e in told.explanations]
    summaries: list[ScorerSummary] = []
    scores: list[FeatureScore] = []
    for name in (inner for outer in names for inner in _OF.get(outer, (outer,))):
        code = judging.code_of(answers, name)
        own = judging.scores_of(answers.columns, name, listed, code=code)
        known = {score.feature for score in own}
        own += [
            FeatureScore(
                feature=e.feature,
                feature_id=e.feature_id,
                scorer=name,  # type: ignore[arg-type]  # one of the scorers
                value=None,
                n=0,
                chance=judging.CHANCE[SCORERS[name]],
                code="few_contexts",
            )
            for e in told.explanations
            if e.feature not in known and code is None
        ]
        scores += own
        put, failed = answers.questions[name], answers.failed[name]
        summaries.append(judging.summary_of(name, own, judge, questions=put, failed=failed, code=code, seed=seed))
    return summaries, scores


def _of_rules(
    told: ExplainFeatures, material: Material, windowed: Any, seeds: tuple[int, ...], ctx: Context
) -> tuple[list[ScorerSummary], list[FeatureScore]]:
    from radiograph.explanations import judging

    own, counts = judging.rule_scores([e.rule for e in told.explanations], material, windowed, seeds)
    ctx.output.table("rules", counts)
    return [judging.summary_of("rule", own, "none", questions=0, failed=0, code=None, seed=ctx.seed)], own


def _numbered(answers: Answers, told: ExplainFeatures) -> dict[str, list[Any]]:
    """Answers with the numbers of features instead of their places."""
    number = [e.feature for e in told.explanations]
    return {**answers.columns, "feature": [number[n] for n in answers.columns["feature"]]}


def _against(scores: list[FeatureScore]) -> tuple[str | None, list[FeatureScore]]:
    """What proxies are compared with: detection, else the rule."""
    for name in ("detection", "rule"):
        own = [score for score in scores if score.scorer == name and score.value is not None]
        if own:
            return name, own
    return None, []


def _notes(told: ExplainFeatures, material: Material) -> tuple[str, ...]:
    notes = list(told.notes)
    silent = int((material.fires.getnnz(axis=1) == 0).sum())
    if silent:
        notes.append(f"{silent} of {len(material)} features never fire on the reserved texts")
    return tuple(notes)
