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

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import Field

from radiograph.core import Context, Refusal, RunPath, UserError, derive, package_of
from radiograph.evidence import Record
from radiograph.evidence.explanations import (
    SCORERS,
    ExplainFeatures,
    ExplainScore,
    FeatureScore,
    JudgeRecord,
    RuleRecord,
    ScorerSummary,
)
from radiograph.methods.explain._endpoint import ChatOptions, chat_of

if TYPE_CHECKING:
    from pathlib import Path

    from radiograph.explanations import Material
    from radiograph.explanations.judging import Answers

_RULES = ("rules", "rule_groups")
_OF = {"simulation": ("simulation_top", "simulation_random")}


class Config(ChatOptions):
    """Which explanations, by which scorers."""

    run: RunPath
    """A run of `explain features`."""
    scorer: tuple[str, ...] = ()
    """detection, fuzzing, simulation, rule; by default rule, and with an endpoint the others too. Repeatable."""
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
    windowed = Windowed(material, told.window)
    seeds = tuple(derive(ctx.seed, "score", n) % 2**31 for n in range(config.seeds))
    listed = [(e.feature, e.feature_id) for e in told.explanations]
    with chat_of(config, ctx) as chat:
        scorers = _scorers(config, told, chat is not None)
        summaries: list[ScorerSummary] = []
        scores: list[FeatureScore] = []
        judged = sorted((name for name in scorers if name != "rule"), key=_place)
        answers: Answers | None = None
        if judged and chat is not None:
            inner = {name: judging.unit_of(name) for outer in judged for name in _OF.get(outer, (outer,))}
            with ctx.measure("judge"):
                answers = _asked(told, windowed, seeds, judged, chat, ctx)
            stopped = None if answers.stopped is None else answers.stopped.code
            more, own = _of_judges(answers.columns, stopped, listed, inner, chat.endpoint.model, seeds[0])
            summaries += more
            scores += own
            ctx.output.table("answers", _numbered(answers, told))
        exchange = None if answers is None or chat is None else judging.exchange(chat, answers.prompts, answers.stopped)
    if "rule" in scorers:
        with ctx.measure("rule"):
            counts = judging.rule_counts(_rules(told), material, windowed, seeds)
            for name, table in zip(_RULES, counts, strict=True):
                ctx.output.table(name, table)
            one, own = _of_rules(counts, listed, len(material.passages.tokens), told.groups["reserved"], seeds[0])
        summaries.append(one)
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
        notes=_notes(told, material, scorers),
    )


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """Does every score, mean and count follow from the answers and from the counts of rules?"""
    import polars

    from radiograph.explanations import judging

    stored = ExplainScore.read(result)
    ids = {s.feature: s.feature_id for s in stored.scores}
    listed = [(p.feature, ids.get(p.feature, "")) for p in stored.proxies]
    names: list[str] = [summary.scorer for summary in stored.summaries]
    place = {feature: n for n, (feature, _) in enumerate(listed)}
    tables = {
        name: polars.read_parquet(path).to_dict(as_series=False)
        for name in ("answers", *_RULES)
        if (path := folder / "tables" / f"{name}.parquet").is_file()
    }
    held = set(tables.get("answers", {}).get("scorer", ())) | ({"rule"} if "rules" in tables else set[str]())
    strange = {f for table in tables.values() for f in table["feature"]} - set(place)
    if strange or held - set(names) or len(set(names)) < len(names) or (("rule" in names) != ("rules" in tables)):
        return [f"the tables are of {', '.join(sorted(held))} and {len(strange)} features that are not in the result"]
    summaries: list[ScorerSummary] = []
    scores: list[FeatureScore] = []
    if judged := [name for name in names if name != "rule"]:
        columns = dict(tables.get("answers", {name: [] for name in judging.COLUMNS}))
        columns["feature"] = [place[feature] for feature in columns["feature"]]
        stopped = None if stored.exchange is None else stored.exchange.stopped
        code = None if stopped is None else stopped.partition(":")[0]
        units = {s.scorer: SCORERS.get(s.scorer, s.unit) for s in stored.summaries if s.scorer in judged}
        if strange := [name for name, unit in units.items() if unit not in judging.CHANCE]:
            return [f"{name} is measured in {units[name]}, which nothing is" for name in strange]
        summaries, scores = _of_judges(columns, code, listed, units, stored.judge.name, stored.judge.seeds[0])
    if "rule" in names:
        counts = tables[_RULES[0]], tables[_RULES[1]]
        try:
            one, own = _of_rules(counts, listed, stored.tokens, stored.groups, stored.judge.seeds[0])
        except (ValueError, IndexError) as error:
            return [f"rules: {error}"]
        summaries.append(one)
        scores += own
    against, own = _against(scores)
    again = {
        "summaries": summaries,
        "scores": scores,
        "scored": len({score.feature for score in scores if score.value is not None}),
        "proxy_against": against,
        "proxy_correlations": judging.agreement(stored.proxies, own),
    }
    return [f"{name}: {text}" for name, value in again.items() if (text := _apart(getattr(stored, name), value))]


def _apart(told: Any, again: Any) -> str | None:
    """Where two values differ by more than rounding."""
    if isinstance(told, Record) and isinstance(again, Record):
        head = [str(getattr(told, name)) for name in ("scorer", "feature") if hasattr(told, name)]
        found = ((name, _apart(getattr(told, name), getattr(again, name))) for name in type(told).model_fields)
        return next((" ".join([*head, f"{name}: {text}"]) for name, text in found if text), None)
    if isinstance(told, Sequence) and isinstance(again, Sequence) and not isinstance(told, str):
        if len(told) != len(again):
            return f"{len(told)} are stated, the tables give {len(again)}"
        return next((text for pair in zip(told, again, strict=True) if (text := _apart(*pair))), None)
    if isinstance(told, dict) and isinstance(again, dict):
        return next(
            (f"{name}: {text}" for name in told | again if (text := _apart(told.get(name), again.get(name)))), None
        )
    same = told == again or (
        isinstance(told, float | int) and isinstance(again, float | int) and abs(told - again) < 1e-9
    )
    return None if same else f"{told} is stated, the tables give {again}"


def _read(folder: Path) -> ExplainFeatures:
    from radiograph.store import finished, is_run

    document = finished(folder).result if is_run(folder) else {}
    if not str(document.get("schema", "")).startswith("radiograph.explain_features/"):
        raise UserError(
            f"{folder.name} is no run of `explain features`",
            got=str(document.get("schema", "no result")),
            code="format",
        )
    finished(folder, "reserved")
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


def _place(scorer: str) -> tuple[int, str]:
    """Ours in their own order, then those of other packages by name."""
    from radiograph.explanations import judging

    ours = judging.JUDGED
    return (ours.index(scorer) if scorer in ours else len(ours), scorer)


def _scorers(config: Config, told: ExplainFeatures, judge: bool) -> list[str]:
    from radiograph.explanations import scorer_module

    for name in config.scorer:
        scorer_module(name)
    rules = any(rule is not None for rule in _rules(told))
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


def _rules(told: ExplainFeatures) -> list[RuleRecord | None]:
    """Those that are explanations; the others were only counted."""
    return [e.rule if e.rule is not None and e.rule.describes(told.least_f1) else None for e in told.explanations]


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
    columns: dict[str, list[Any]],
    stopped: str | None,
    listed: Sequence[tuple[int, str]],
    units: Mapping[str, str],
    judge: str,
    seed: int,
) -> tuple[list[ScorerSummary], list[FeatureScore]]:
    """What follows from answers; their features are places in `listed`, its features number and id."""
    from radiograph.explanations import judging

    summaries: list[ScorerSummary] = []
    scores: list[FeatureScore] = []
    for name, unit in units.items():
        code = judging.code_of(columns, name, stopped)
        own = judging.scores_of(columns, name, listed, code=code, unit=unit)
        known = {score.feature for score in own}
        own += [
            FeatureScore(
                feature=feature,
                feature_id=feature_id,
                scorer=name,
                value=None,
                n=0,
                chance=judging.CHANCE[unit],
                code="few_contexts",
            )
            for feature, feature_id in listed
            if feature not in known and code is None
        ]
        scores += own
        put, failed = judging.questions_of(columns, name)
        summaries.append(
            judging.summary_of(name, own, judge, questions=put, failed=failed, code=code, seed=seed, unit=unit)
        )
    return summaries, scores


def _of_rules(
    counts: tuple[dict[str, list[Any]], dict[str, list[Any]]],
    listed: Sequence[tuple[int, str]],
    tokens: int,
    groups: int,
    seed: int,
) -> tuple[ScorerSummary, list[FeatureScore]]:
    """What follows from counts."""
    from radiograph.explanations import judging

    name = dict(listed)
    own = judging.rule_scores(*counts, [name[feature] for feature in counts[0]["feature"]], tokens, groups)
    return judging.summary_of("rule", own, "none", questions=0, failed=0, code=None, seed=seed), own


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


def _notes(told: ExplainFeatures, material: Material, scorers: Sequence[str]) -> tuple[str, ...]:
    notes = list(told.notes)
    owners = {name: package_of("radiograph.scorers", name) for name in scorers}
    notes += [f"{name} is a scorer of the package {owner}" for name, owner in owners.items() if owner]
    silent = int((material.fires.getnnz(axis=1) == 0).sum())
    if silent:
        notes.append(f"{silent} of {len(material)} features never fire on the reserved texts")
    return tuple(notes)
