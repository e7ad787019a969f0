"""Nodes and edges as they are read from runs, a function a kind of result.

Features are told apart by model and id, so that equal ids of two models are two nodes and one feature in several runs
is one. Models are told apart by their weights, where runs name them: what was trained on under one name is another one.
What has no edge is counted with its reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radiograph.core import Context, FeatureAddress
from radiograph.evidence.explanations import SCORERS, ExplainFeatures, ExplainScore, FeatureScore
from radiograph.evidence.features import Card, Finding, Inspection, at_least
from radiograph.evidence.graph import GraphEdge, GraphNode, GraphRun, InterventionRows, NodeKind, node_id
from radiograph.evidence.interventions import Effects, FeatureEffect, Steering
from radiograph.evidence.matches import Matches
from radiograph.store import Bundle, file_sha256

if TYPE_CHECKING:
    import polars

Reader = Callable[["Draft", "Opened"], None]
OF_FEATURE = "feature:"
"""What an outcome is called that is the activation of another feature."""


@dataclass(frozen=True, eq=False)
class Opened:
    """A bundle that is read."""

    path: Path
    record: GraphRun
    result: dict[str, Any]
    ctx: Context
    weights: str | None = None
    """Of the model that the run was given; None where it was given none."""

    def rows(self) -> tuple[polars.DataFrame, str, str] | None:
        """Intervention rows that the run made or was given, the name of their table, and its hash; None without any.

        A file that was given counts while it still is what it was.
        """
        from radiograph.core import UserError
        from radiograph.store.interventions import read_interventions

        places = [self.path / "tables", *sorted(self.path.glob("steps/*/tables"))]
        for place in places:
            if (file := place / "interventions.parquet").is_file():
                table = f"{self.record.name}/{file.relative_to(self.path).as_posix()}"
                return read_interventions(file).table, table, file_sha256(file)
        for given in Bundle(self.path).manifest.inputs:
            if given.role != "interventions":
                continue
            try:
                file = self.ctx.locate(given.ref)
            except UserError:
                return None
            if file.is_file() and file_sha256(file) == given.sha256:
                return read_interventions(file).table, given.ref, given.sha256
        return None


@dataclass(frozen=True, eq=False)
class Claim:
    """That a feature moves an outcome, and how surely."""

    feature: str
    outcome: str | None
    said: dict[str, Any]
    label: str | None = None


@dataclass(frozen=True, eq=False)
class Words:
    """What a run of `explain features` says of a feature."""

    run: GraphRun
    model: str
    feature: str
    text: str
    author: str


@dataclass(eq=False)
class Draft:
    """A graph that grows."""

    least: Mapping[str, str]
    """Lowest grade of an edge, by kind of evidence."""
    similarity: float
    """Least φ or cosine of an edge."""
    nodes: dict[str, GraphNode] = field(default_factory=dict)
    edges: dict[GraphEdge, None] = field(default_factory=dict)
    """In the order in which they were found, each once."""
    left_out: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    words: list[Words] = field(default_factory=list)
    """Drawn when all runs are read (`explained`)."""
    scores: dict[tuple[str, str], FeatureScore] = field(default_factory=dict)
    """Of the words of a run on a feature, by the first scorer of `SCORERS` that measured any."""
    weights: dict[str, str] = field(default_factory=dict)
    """Of every model, those that were met first under its name."""

    def node(self, kind: NodeKind, label: str, *parts: Any, **attributes: Any) -> str:
        """A node, or the one that stands there already, with what is newly known of it."""
        own = node_id(kind, *parts)
        known = {name: value for name, value in attributes.items() if value is not None}
        if own in self.nodes:
            before = self.nodes[own]
            known = {**known, **before.attributes}
            label = before.label
        self.nodes[own] = GraphNode(id=own, kind=kind, label=label, attributes=dict(sorted(known.items())))
        return own

    def model(self, name: str, weights: str | None) -> str:
        """What a model is called here: its name, with a hash where other weights had that name before."""
        if weights is None or self.weights.setdefault(name, weights) == weights:
            return name
        return f"{name} ({weights[:8]})"

    def edge(self, **fields: Any) -> None:
        """An edge, once."""
        self.edges[GraphEdge(**fields)] = None

    def feature(self, run: GraphRun, model: str, name: str, **attributes: Any) -> str:
        """A feature with the place that its address names."""
        own = self.node("feature", name, model, name, model=model, **attributes)
        address = FeatureAddress.parse(name)
        site = attributes.get("site") or (None if address is None else address.site)
        parts: list[tuple[str, str]] = []
        home = self.node("model", model, model)
        if site is not None:
            place = self.node("site", str(site), model, site)
            parts += [(own, place), (place, home)]
        else:
            parts.append((own, home))
        if address is not None and address.dictionary is not None:
            book = self.node("dictionary", address.dictionary, address.dictionary)
            parts += [(own, book), (book, home)]
        for source, target in parts:
            self.edge(source=source, target=target, edge="part_of", kind="structural", run=run.name)
        return own


def inspection(draft: Draft, run: Opened) -> None:
    """What goes with a criterion, what moves an outcome, what resembles what."""
    found = Inspection.read(run.result)
    model = draft.model(next((source.model for source in found.sources if source.model), found.model), run.weights)
    if found.criterion is not None and found.correlational.findings:
        rows = found.criterion.rows
        target = draft.node(
            "criterion", found.criterion.text, found.criterion.id, positive=rows.positive, groups=rows.groups
        )
        for finding in _good(draft, found.correlational.findings, "correlational"):
            own = draft.feature(run.record, model, finding.feature)
            draft.edge(source=own, target=target, edge="associates", run=run.record.name, **_said(finding))
    good = _good(draft, found.causal.findings, "causal")
    _affects(draft, run, model, [Claim(one.feature, one.outcome, _said(one)) for one in good])
    for card in found.cards:
        _card(draft, run.record, model, card)


def effects(draft: Draft, run: Opened) -> None:
    """What moving features did."""
    _moved(draft, run, Effects.read(run.result))


def steering(draft: Draft, run: Opened) -> None:
    """What pushing along a fitted direction did."""
    _moved(draft, run, Steering.read(run.result).effects)


def _moved(draft: Draft, run: Opened, found: Effects) -> None:
    least = draft.least["causal"]
    claims: list[Claim] = []
    for own in found.features:
        if own.effect is None or not at_least("causal", own.grade, least):
            draft.left_out[f"causal grade below {least}"] += 1
            continue
        said: dict[str, Any] = {"kind": "causal", "weight": own.effect, "statistic": "effect", "grade": own.grade}
        said |= {"interval": own.interval, "n": own.groups, "p": own.p, "q": own.q, "codes": _codes(own)}
        claims.append(Claim(own.feature, found.order.outcome, said, own.label))
    _affects(draft, run, draft.model(found.order.model, found.order.model_sha256), claims)


def _affects(draft: Draft, run: Opened, model: str, claims: Sequence[Claim]) -> None:
    """Edges from features to outcomes, each with the rows that it rests on."""
    import polars as pl

    held = run.rows() if claims else None
    for claim in claims:
        rows = None
        if held is not None:
            table, name, sha256 = held
            own = table.filter(
                (pl.col("feature_id") == claim.feature)
                & pl.col("control").is_null()
                & pl.col("outcome").eq_missing(pl.lit(claim.outcome, pl.String))
            )
            rows = InterventionRows.of(name, sha256, own["row"].sort().to_list()) if len(own) else None
        if rows is None:
            draft.left_out["no intervention rows at hand, so no edge `affects`"] += 1
            continue
        source, outcome = draft.feature(run.record, model, claim.feature, said=claim.label), claim.outcome or "outcome"
        if outcome.startswith(OF_FEATURE):
            target = draft.feature(run.record, model, outcome.removeprefix(OF_FEATURE))
        else:
            target = draft.node("outcome", outcome, model, outcome)
        draft.edge(source=source, target=target, edge="affects", run=run.record.name, rows=rows, **claim.said)


def _good(draft: Draft, findings: Sequence[Finding], kind: str) -> list[Finding]:
    """Findings of the grade that is asked for; of causal ones those that show an effect."""
    out: list[Finding] = []
    for finding in findings:
        if finding.statistic is not None and at_least(finding.kind, finding.grade, draft.least[kind]):
            out.append(finding)
        else:
            draft.left_out[f"{kind} grade below {draft.least[kind]}"] += 1
    return out


def _said(finding: Finding) -> dict[str, Any]:
    statistic = finding.statistic
    assert statistic is not None
    return {
        "kind": finding.kind,
        "weight": statistic.estimate,
        "statistic": statistic.name,
        "interval": statistic.interval,
        "n": statistic.n.groups,
        "p": statistic.p,
        "q": statistic.q,
        "grade": finding.grade,
        "codes": _codes(finding),
    }


def _codes(found: Finding | FeatureEffect) -> tuple[str, ...]:
    return (*found.codes, *(("contradicted",) if found.contradicted else ()))


def _card(draft: Draft, run: GraphRun, model: str, card: Card) -> None:
    own = node_id("feature", model, card.feature)
    for near, edge, statistic in ((card.coactive, "coactivates", "phi"), (card.similar, "resembles", "cosine")):
        for other in near:
            if abs(other.value) < draft.similarity or own not in draft.nodes:
                continue
            ends = sorted((own, draft.feature(run, model, other.feature)))
            draft.edge(
                source=ends[0], target=ends[1], edge=edge, kind="structural", weight=other.value, statistic=statistic,
                run=run.name,
            )  # fmt: skip
    if card.explanation is not None and own in draft.nodes:
        said = card.explanation
        words = draft.node("explanation", said.text, model, card.feature, said.text, author=said.author, of=said.source)
        draft.edge(
            source=words, target=own, edge="explains", kind="correlational", weight=said.score,
            statistic=None if said.score is None else "score", run=run.name,
        )  # fmt: skip


def matches(draft: Draft, run: Opened) -> None:
    """Which feature is which."""
    found = Matches.read(run.result)
    models = [draft.model(side.model, side.model_sha256) for side in (found.left, found.right)]
    if models[0] == models[1]:  # two seeds, two dictionaries: told apart by what was read
        models = [f"{model} ({side.ref})" for model, side in zip(models, (found.left, found.right), strict=True)]
    for pair in found.matches:
        source = draft.feature(run.record, models[0], pair.left, said=pair.left_label)
        target = draft.feature(run.record, models[1], pair.right, said=pair.right_label)
        draft.edge(
            source=source,
            target=target,
            edge="corresponds",
            kind=found.kind,
            weight=pair.score,
            statistic=found.similarity,
            interval=pair.interval,
            n=None if found.aligned is None else found.aligned.groups,
            p=pair.p,
            q=pair.q,
            codes=("ambiguous",) if pair.ambiguous else (),
            run=run.record.name,
        )
    if found.found > len(found.matches):
        draft.left_out["matches beyond those that a result lists"] += found.found - len(found.matches)


def explanations(draft: Draft, run: Opened) -> None:
    """What features were called."""
    found = ExplainFeatures.read(run.result)
    model = found.source if found.model is None else draft.model(found.model, run.weights)
    for one in found.explanations:
        if one.text is not None:
            draft.words.append(Words(run.record, model, one.feature_id, one.text, found.author))


def scores(draft: Draft, run: Opened) -> None:
    """How far words hold on texts that nobody who wrote them has seen."""
    found = ExplainScore.read(run.result)
    order = {name: place for place, name in enumerate(SCORERS)}
    for one in sorted(found.scores, key=lambda score: order.get(score.scorer, len(order))):
        if one.value is not None:
            draft.scores.setdefault((Path(found.run).name, one.feature_id), one)


def explained(draft: Draft) -> None:
    """Edges from words to features: to those that other runs name, or to all where no other run names any."""
    others = {node.id for node in draft.nodes.values() if node.kind == "feature"}
    for said in draft.words:
        if others and node_id("feature", said.model, said.feature) not in others:
            draft.left_out["words for a feature that no other run names"] += 1
            continue
        own = draft.feature(said.run, said.model, said.feature)
        words = draft.node("explanation", said.text, said.model, said.feature, said.text, author=said.author)
        score = draft.scores.get((said.run.name, said.feature))
        measured: dict[str, Any] = {}
        if score is not None:
            limits = None if score.low is None or score.high is None else (score.low, score.high)
            measured = {"weight": score.value, "statistic": score.scorer, "interval": limits, "n": score.n}
        draft.edge(source=words, target=own, edge="explains", kind="correlational", run=said.run.name, **measured)


READERS: dict[str, Reader] = {
    "radiograph.explain_features": explanations,
    "radiograph.explain_score": scores,
    "radiograph.features_effects": effects,
    "radiograph.features_steering": steering,
    "radiograph.inspection": inspection,
    "radiograph.matches": matches,
}
"""By the schema of a result, without its major."""
