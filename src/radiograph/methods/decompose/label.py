"""Words for weight components, from what a harvest counted, and how well the words foretell where they fire.

1. components with at least `--least` firings, the most frequent first; others are too few to be called anything
2. `compact`: tokens in and out with their ratios, marked texts. `dual`: the same with the output side first and the
   token after each firing. `graph`: an output pass from late to early with what it acts on, an input pass from early
   to late with what acts on it, then one label of the two; needs --attributions
3. `--with heuristic`: rules and tokens, no endpoint; `llm`: a chat endpoint answers in JSON; `cache`: what others wrote
4. every label is committed at once, with its prompt and the raw answer. A question that fails is counted, its component
   goes without. A label is written from half of the documents
5. `--score` asks a judge, on the other half, where a component fires and where it is silent on every token; beside it
   another component's label and none. Failed questions are never scored

Units: balanced accuracy, .5 is chance; F1 of rules. Refuses when: harvest, attributions and labels do not belong
together; no component fired often enough (exit 4). A budget that is spent leaves a partial result (exit 4); so does a
score that was asked for and found too few texts.
"""

from __future__ import annotations

import shutil
from collections.abc import Container
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from radiograph.core import Context, ExplanationsRef, Refusal, RunPath, UserError, derive
from radiograph.evidence.components import ComponentLabel, ComponentLabels, Intruders, Strategy
from radiograph.methods.explain._endpoint import ChatOptions, chat_of

if TYPE_CHECKING:
    from radiograph.evidence.explanations import FeatureScore, ScorerSummary
    from radiograph.explanations import Material
    from radiograph.methods.decompose._label.kept import Kept, Store
    from radiograph.methods.decompose._label.writers import Writer
    from radiograph.store.chat import ChatClient
    from radiograph.store.components import Attributions, ComponentStatistics

FINAL = {"compact": "compact", "dual": "dual", "graph": "unify"}
PROMPTS = {
    "compact": "component-compact-1",
    "dual": "component-dual-1",
    "output": "component-output-1",
    "input": "component-input-1",
    "unify": "component-unify-1",
}
KEPT = "kept"


class Config(ChatOptions):
    """Which harvest, which strategy, whose words."""

    harvest: RunPath
    """A run of `decompose harvest`."""
    strategy: Strategy = "compact"
    """What a prompt shows and asks for."""
    with_: Literal["heuristic", "llm", "cache"] = "heuristic"
    """Counts alone, a chat endpoint, or labels that somebody else wrote."""
    attributions: RunPath | None = None
    """A run of `decompose attribute`; needed by --strategy graph."""
    metric: Literal["signed", "abs"] = "signed"
    """By which effect related components are chosen."""
    top_k: int = Field(default=8, ge=1)
    """Related components that a prompt shows."""
    shown: int = Field(default=30, ge=1)
    """Most texts that a prompt shows."""
    least: int = Field(default=5, ge=1)
    """Firings below which a component is not labelled."""
    limit: int | None = Field(default=None, ge=1)
    """Most components, the most frequent first."""
    about: str | None = None
    """What the texts are, in words; by default their sources."""
    explanations: ExplanationsRef = "none"
    """With `cache`: cache:FILE#MODEL/SOURCE."""
    score: tuple[Literal["detection", "fuzzing", "intruder"], ...] = ()
    """Ask a judge how well labels foretell; intruder asks of texts alone whether they belong together; repeatable."""
    seeds: int = Field(default=3, ge=1)
    """Times that windows are drawn."""
    score_limit: int | None = Field(default=None, ge=1)
    """Most components that are scored, the most frequent first."""
    show: int = Field(default=50, ge=0)
    """Labels that the report lists; tables hold all."""
    retries: int = Field(default=8, ge=0)
    """Of what may pass: limits of rate, errors of the server, lost connections."""
    resume: RunPath | None = None
    """A run that was killed (.partial), to go on with."""


def run(config: Config, ctx: Context) -> ComponentLabels:
    """Read, write, score, keep."""
    from radiograph.methods.decompose._label.kept import Store
    from radiograph.store.components import open_statistics

    _check(config)
    given = open_statistics(ctx.path(config.harvest, "harvest"))
    edges = _attributions(config, ctx, given)
    able = given.alive(config.least)
    if not len(able):
        raise Refusal(
            "too_few",
            f"no component fired {config.least} times",
            got=f"{len(given.alive())} fired at all, on {given.result.tokens:,} tokens",
            fix="harvest more tokens",
        )
    if {"detection", "fuzzing"} & {*config.score} and not given.result.recorded:
        raise Refusal("no_records", "the harvest recorded no tokens, so silence is not known", fix="--record-tokens")
    folder = _kept(config, ctx)
    store = Store(folder, _facts(config, ctx, given, edges))
    numbers = _asked(able.tolist(), config.limit, store.phase(FINAL[config.strategy]))
    material = _material(given)
    with chat_of(config, ctx) as chat:
        writer = _writer(config, ctx, given, store, chat, material, numbers)
        with ctx.measure("label"):
            skipped = _labelled(config, ctx, given, edges, writer, store, numbers)
        final = store.phase(FINAL[config.strategy])
        with ctx.measure("score"):
            scores, summaries, ended = _scored(config, ctx, given, material, final, chat)
            intruders, ended = _intruders(config, ctx, given, numbers, chat, ended)
        exchange = _exchange(chat, writer)
    phases = _tables(ctx, store, config.strategy)
    store.close()
    labels = _labels(given, numbers, final, writer, skipped)
    stopped = writer.tally.stopped
    shutil.rmtree(folder)
    return ComponentLabels(
        harvest=ctx.label(config.harvest),
        harvest_seal=given.seal,
        attributions=None if config.attributions is None else ctx.label(config.attributions),
        attributions_seal=None if edges is None else edges.seal,
        decomposition_sha256=given.result.decomposition_sha256,
        model=given.result.model,
        strategy=config.strategy,
        writer=config.with_,
        author=writer.author,
        asked=len(numbers),
        labelled=len(final),
        unclear=sum((kept.label or "").strip().lower() == "unclear" for kept in final.values()),
        failed=writer.tally.failed,
        too_few=len(given.alive()) - len(able),
        left_out=len(able) - len(numbers),
        skipped=tuple(skipped),
        phases=phases,
        labels=labels[: config.show],
        scores=scores,
        summaries=summaries,
        intruders=intruders,
        exchange=exchange,
        stopped=(f"{stopped.code}: {stopped.message}" if stopped is not None else ended),
        labels_sha256=_shared(ctx, given, config.strategy, final, writer.author),
        notes=_notes(config, skipped, material),
    )


def _asked(able: list[int], limit: int | None, said: Container[int]) -> list[int]:
    """The most frequent components, and those that an unfinished run with a larger limit has a label for."""
    first = set(able[:limit])
    return [n for n in able if n in first or n in said]


def _check(config: Config) -> None:
    if config.strategy == "graph" and config.attributions is None:
        raise UserError(
            "--strategy graph needs --attributions",
            expected="a run of `decompose attribute` of the same decomposition",
            fix="radiograph decompose attribute DECOMPOSITION --data …",
            code="bad_value",
        )
    if (config.with_ == "llm" or config.score) and (config.endpoint is None or config.chat_model is None):
        what = "--with llm" if config.with_ == "llm" else "--score"
        raise UserError(f"{what} needs --endpoint URL --chat-model NAME", code="no_explainer")
    if config.with_ == "cache" and config.explanations in ("none", "auto"):
        raise UserError("--with cache needs --explanations cache:FILE#MODEL/SOURCE", code="no_explainer")


def _attributions(config: Config, ctx: Context, given: ComponentStatistics) -> Attributions | None:
    """Of the same decomposition.

    Raises:
        Refusal: `decomposition_mismatch`, exit 3, both named.
    """
    from radiograph.store.components import open_attributions

    if config.attributions is None:
        return None
    found = open_attributions(ctx.path(config.attributions, "attributions"))
    if found.result.decomposition_sha256 != given.result.decomposition_sha256:
        raise Refusal(
            "decomposition_mismatch",
            "the attributions are of another decomposition than the harvest",
            expected=given.result.decomposition_sha256,
            got=found.result.decomposition_sha256,
            fix="give attributions of the decomposition that was harvested",
            fixable=True,
        )
    return found


def _kept(config: Config, ctx: Context) -> Path:
    if config.resume is None:
        return ctx.output.folder(KEPT)
    return ctx.output.adopt(ctx.locate(config.resume), KEPT)


def _facts(config: Config, ctx: Context, given: ComponentStatistics, edges: Attributions | None) -> dict[str, Any]:
    """Everything that changes what is said: neither price, nor concurrency, nor limits."""
    names = ("strategy", "with_", "metric", "top_k", "shown", "about", "chat_model", "explanations")
    return {
        **{name: getattr(config, name) for name in names},
        "harvest": given.seal,
        "attributions": None if edges is None else edges.seal,
        "prompts": PROMPTS,
        "seed": ctx.seed,
    }


def _material(given: ComponentStatistics) -> Material | None:
    """Recorded tokens, where silence is known; None: none were recorded."""
    from radiograph.explanations import material_of
    from radiograph.store.records import open_records

    return material_of(open_records(given.folder)) if given.result.recorded else None


def _writer(
    config: Config,
    ctx: Context,
    given: ComponentStatistics,
    store: Store,
    chat: ChatClient | None,
    material: Material | None,
    numbers: list[int],
) -> Writer:
    from radiograph.methods.decompose._label.offline import rules_of, tokens_said
    from radiograph.methods.decompose._label.writers import Asking, Counting, Known

    if config.with_ == "llm":
        assert chat is not None, "checked before"
        return Asking(chat, store, ctx.progress, PROMPTS)
    if config.with_ == "cache":
        from radiograph.explanations import open_labels, preferred

        sha256 = given.result.decomposition_sha256
        source = open_labels(config.explanations, sha256, None, lambda text: ctx.path(text, "explanations"))
        best = {number: preferred(found) for number, found in source.explanations.items()}
        return Known(store, {n: e.text for n, e in best.items() if e is not None}, source.name)
    told = rules_of(material, numbers, ctx.seed)
    return Counting(store, ctx.progress, told.get, lambda number, side: tokens_said(given, number, side))


def _labelled(
    config: Config,
    ctx: Context,
    given: ComponentStatistics,
    edges: Attributions | None,
    writer: Writer,
    store: Store,
    numbers: list[int],
) -> list[str]:
    """All phases; returns the components that the last one skipped."""
    from radiograph.methods.decompose._label import graph
    from radiograph.methods.decompose._label.slots import Slotted
    from radiograph.methods.decompose._label.writers import Job

    about = config.about or ", ".join(sorted(given.result.data))
    slotted = Slotted(given, about, ctx.seed, config.shown)
    addresses = given.addresses
    if config.strategy != "graph":
        done = store.phase(config.strategy)
        left = [n for n in numbers if n not in done]
        writer.write(config.strategy, [Job(n, addresses[n], slotted.plain(n)) for n in left])
        return []
    assert edges is not None, "checked before"
    members = graph.by_weight(addresses, numbers)
    weights = list(members)
    k, metric = config.top_k, config.metric

    def later(address: str, so_far: Any) -> Any:
        return graph.related(edges, address, "targets", k, metric, so_far)

    def earlier(address: str, so_far: Any) -> Any:
        tokens = graph.tokens_of(edges, address, k, metric, lambda token: given.vocabulary[token])
        return (*graph.related(edges, address, "sources", k, metric, so_far), *tokens)

    graph.fold("output", weights[::-1], members, addresses, writer, store, later, slotted.output)
    graph.fold("input", weights, members, addresses, writer, store, earlier, slotted.input)
    return graph.unify(numbers, addresses, writer, store, slotted.unify)


def _scored(
    config: Config,
    ctx: Context,
    given: ComponentStatistics,
    material: Material | None,
    final: dict[int, Kept],
    chat: ChatClient | None,
) -> tuple[tuple[FeatureScore, ...], tuple[ScorerSummary, ...], str | None]:
    """Scores of each component, summaries, and why it ended early."""
    from radiograph.explanations import judging
    from radiograph.methods.decompose._label.scores import Recorded, questions

    kinds = [kind for kind in config.score if kind != "intruder"]
    if not kinds or chat is None:
        return (), (), None
    assert material is not None, "checked before"
    firings = given.summary["firings"].to_numpy()
    order = sorted(final, key=lambda n: (-int(firings[n]), n))[: config.score_limit]
    words = {n: label for n in order if (label := final[n].label)}
    recorded = Recorded(material, given.result.around, ctx.seed)
    seeds = [derive(ctx.seed, "score", n) % 2**31 for n in range(config.seeds)]
    asked, few = questions(given, recorded, words, kinds, seeds)
    answers = judging.put_questions(asked, chat, ctx.progress)
    ctx.output.table("answers", answers.columns)
    listed = [(n, given.addresses[n]) for n in words]
    stopped = None if answers.stopped is None else answers.stopped.code
    scores: list[FeatureScore] = []
    summaries: list[ScorerSummary] = []
    for kind in kinds:
        code = judging.code_of(answers.columns, kind, stopped)
        own = judging.scores_of(answers.columns, kind, listed, code=code)
        own += [_too_few(kind, n, given.addresses[n]) for n in few[kind]]
        put, failed = judging.questions_of(answers.columns, kind)
        author = chat.endpoint.model
        summaries.append(judging.summary_of(kind, own, author, questions=put, failed=failed, code=code, seed=ctx.seed))
        scores += own
    return tuple(scores), tuple(summaries), stopped


def _intruders(
    config: Config,
    ctx: Context,
    given: ComponentStatistics,
    numbers: list[int],
    chat: ChatClient | None,
    ended: str | None,
) -> tuple[Intruders | None, str | None]:
    """Whether texts of one component belong together, whatever it is called; and why it ended early."""
    from radiograph.methods.decompose._label.intruder import TABLE, asked, summary

    if "intruder" not in config.score or chat is None or ended is not None:
        return None, ended
    seeds = [derive(ctx.seed, "intruder", n) % 2**31 for n in range(config.seeds)]
    columns, few, stopped = asked(given, numbers[: config.score_limit], seeds, chat, ctx.progress)
    ctx.output.table(TABLE, columns)
    return summary(columns, few, ctx.seed), stopped


def _too_few(kind: Any, number: int, address: str) -> FeatureScore:
    from radiograph.evidence.explanations import FeatureScore

    return FeatureScore(
        feature=number, feature_id=address, scorer=kind, value=None, n=0, chance=0.5, failed=0, code="too_few"
    )


def _exchange(chat: ChatClient | None, writer: Writer) -> Any:
    from radiograph.explanations import exchange

    return None if chat is None else exchange(chat, set(PROMPTS.values()), writer.tally.stopped)


def _tables(ctx: Context, store: Store, strategy: str) -> dict[str, int]:
    """Everything that was said; how many labels each phase gave."""
    phases = ["output", "input", "unify"] if strategy == "graph" else [strategy]
    rows = [kept for phase in phases for kept in store.phase(phase).values()]
    names = ("phase", "number", "address", "label", "confidence", "reasoning", "raw", "prompt", "prompt_sha256")
    columns: dict[str, list[Any]] = {name: [getattr(row, name) for row in rows] for name in (*names, "f1", "chance")}
    ctx.output.table("labels", columns)
    edges: dict[str, list[Any]] = {"phase": [], "component": [], "other": [], "strength": [], "called": []}
    for row in rows:
        for other, strength, called in row.shown:
            for column, cell in zip(edges.values(), (row.phase, row.address, other, strength, called), strict=True):
                column.append(cell)
    ctx.output.table("edges_shown", edges)
    return {phase: columns["phase"].count(phase) for phase in phases}


def _labels(
    given: ComponentStatistics, numbers: list[int], final: dict[int, Kept], writer: Writer, skipped: list[str]
) -> tuple[ComponentLabel, ...]:
    firings = given.summary["firings"].to_numpy()
    failures = {address: why for _, address, why in writer.tally.failures}
    out: list[ComponentLabel] = []
    for n in numbers:
        address, kept = given.addresses[n], final.get(n)
        base: dict[str, Any] = {"component": address, "firings": int(firings[n])}
        if kept is None:
            why = failures.get(address) or ("skipped" if address in skipped else "not_asked")
            out.append(ComponentLabel(label=None, why=why, **base))
            continue
        out.append(
            ComponentLabel(
                label=kept.label,
                confidence=kept.confidence,
                reasoning=kept.reasoning,
                rule_f1=kept.f1,
                rule_chance=kept.chance,
                rule_n=kept.n,
                **base,
            )
        )
    return tuple(out)


def _shared(ctx: Context, given: ComponentStatistics, strategy: str, final: dict[int, Kept], author: str) -> str | None:
    """Labels in the shape of every other source of them, bound to the decomposition; their hash."""
    from radiograph.explanations import LABELS_FILE, SHIPPED
    from radiograph.store import Binding, ExplanationCache

    if not final:
        return None
    path = ctx.output.folder("labels") / LABELS_FILE
    weights = "+".join(given.sizes)
    with ExplanationCache.create(path) as cache:
        cache.bind(*SHIPPED, Binding(given.result.decomposition_sha256, weights, given.size))
        rows = (
            {
                "index": n,
                "explanations": [
                    {
                        "description": kept.label,
                        "typeName": f"decompose/{strategy}",
                        "explanationModelName": author,
                        "scores": [],
                    }
                ],
            }
            for n, kept in final.items()
            if kept.label
        )
        cache.put(*SHIPPED, rows)
    with ExplanationCache.open(path) as cache:
        return cache.snapshot_sha256(*SHIPPED)


def _notes(config: Config, skipped: list[str], material: Material | None) -> tuple[str, ...]:
    notes = ["ratios of tokens are over all documents; texts shown and rules are from half of them"]
    if skipped:
        notes.append(f"{len(skipped)} components without a label from both passes were skipped")
    if material is None and config.with_ == "heuristic":
        notes.append("the harvest recorded no tokens, so no rules were learned")
    return tuple(notes)


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """Do counts, labels and scores follow from the tables?"""
    import polars as pl

    from radiograph.explanations import judging

    stored = ComponentLabels.read(result)
    out: list[str] = []
    table = pl.read_parquet(folder / "tables" / "labels.parquet")
    found = {name: table.filter(pl.col("phase") == name).height for name in stored.phases}
    if found != stored.phases:
        out.append(f"{stored.phases} labels are stated, {found} are listed")
    final = table.filter(pl.col("phase") == FINAL[stored.strategy])
    if final.height != stored.labelled:
        out.append(f"{stored.labelled} labelled, {final.height} are listed")
    words = dict(final.select("address", "label").iter_rows())
    other = [label.component for label in stored.labels if label.label != words.get(label.component)]
    out += [f"{name} is called otherwise in the table" for name in other]
    from radiograph.methods.decompose._label.intruder import recount

    out += recount(stored, folder)
    path = folder / "tables" / "answers.parquet"
    if path.is_file():
        columns = pl.read_parquet(path).to_dict(as_series=False)
        for summary in stored.summaries:
            put, failed = judging.questions_of(columns, summary.scorer)
            if (put, failed) != (summary.questions, summary.failed):
                out.append(f"{summary.scorer}: {put} questions and {failed} failures are listed")
            kept = {s.feature_id: s for s in stored.scores if s.scorer == summary.scorer and s.code != "too_few"}
            listed = [(n, str(n)) for n in range(max(columns["feature"], default=-1) + 1)]
            again = judging.scores_of(columns, summary.scorer, listed, code=summary.code)
            if sorted(s.value or -1.0 for s in again) != sorted(s.value or -1.0 for s in kept.values()):
                out.append(f"{summary.scorer}: the scores do not follow from the answers")
    return out
