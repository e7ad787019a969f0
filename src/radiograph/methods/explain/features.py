"""Give features words, from one half of the texts; the other half is kept to score them on.

1. texts and features: stored records with the places of their tokens, or a dictionary (units, directions) and its model
   run over `--data`, of a model of the small world its own documents by default
2. unite groups that hold a copy of a text, and part the groups by a keyed hash: half is reserved and kept as
   `reserved/`, of the rest two thirds teach and one third checks. A feature fires above `--above` of the largest value
   it has in the texts that explain; a rule that names a weaker token is wrong there, but no judge is shown a weak
   window as a silent one
3. `--with heuristic`: counts, contrastive n-grams, a learned rule with precision, recall and F1 on the texts that
   check; `llm`: a chat endpoint reads marked contexts and answers in JSON; `verbalizer:NAME`: a model says what the
   write direction means; `cache`: what somebody else wrote; `world`: the small world's own labels of its tokens
4. write `tables/explanations.parquet`, and where the decoder is known `labels/labels.sqlite`, bound to its hash.
   Features outside `--share` stay "never asked"; asked features without words are "asked, none"
Source: log-odds of Monroe et al. 2008; contexts after Bills et al. 2023. Units: F1 of tokens; AUROC (`world`), .5 is
chance. Refuses when: records hold prompts, or no texts; under six groups; an explainer lacks what it needs. Where an
endpoint's budget is spent, or it fails, what was answered stands, and the exit code is 4.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, get_args

from pydantic import Field

from radiograph.core import Context, ExplanationsRef, Input, ModelRef, UserError, derive
from radiograph.core.config import Positional
from radiograph.core.sizes import Count
from radiograph.evidence.explanations import ExplainFeatures, FeatureExplanation, Part
from radiograph.methods.explain._endpoint import ChatOptions, chat_of

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from radiograph.explanations import Explained, LabelSource, Material, Passages
    from radiograph.methods.explain._given import Gathered

FeatureSource = Annotated[str, Input("dictionary")]
DataRef = Annotated[str, Input("file")]


class Config(ChatOptions):
    """Which features, on what texts, in whose words."""

    source: FeatureSource
    """A dictionary, records, or any source of features as KIND:WHERE[#650,700-720]."""
    model: Annotated[ModelRef | None, Positional()] = None
    """The model that the features belong to; not needed for records."""
    with_: str = "heuristic"
    """heuristic, llm, cache, world, or verbalizer:NAME."""
    data: tuple[DataRef, ...] = ()
    """Texts to run the model on: FILE, suite:FILE, world:DOMAIN#N, hf:NAME."""
    documents: int = Field(default=4000, ge=12)
    """Documents of the small world, where no texts are named."""
    max_tokens: Count | None = None
    """Most tokens of the texts; whole documents, drawn by hash."""
    share: float = Field(default=1.0, gt=0, le=1)
    """Share of the features that are asked."""
    above: float = Field(default=0.25, ge=0, lt=1)
    """A feature fires above this share of its largest value; weaker activity counts as neither firing nor silent."""
    window: int = Field(default=32, ge=8, le=256)
    """Tokens of a context."""
    least_f1: float = Field(default=0.5, ge=0, le=1)
    """F1 on checked texts below which a rule describes nothing."""
    floor: float = Field(default=0.8, ge=0.5, le=1)
    """With `world`: held-out AUROC below which a feature gets no words."""
    explanations: ExplanationsRef = "auto"
    """With `cache`: auto (beside the dictionary) or cache:FILE#MODEL/SOURCE."""
    verbalizer: ModelRef | None = None
    """With a verbalizer: the model that speaks, if it is another one."""
    reconstructor: ModelRef | None = None
    """With a verbalizer: the model that reads its texts back."""
    cards: int = Field(default=20, ge=0)
    """Features whose contexts the report shows."""


def run(config: Config, ctx: Context) -> ExplainFeatures:
    """Gather, part, explain, keep."""
    from radiograph.explanations import CHECK, LEARN, RESERVE, Study, explained, explainer, parts
    from radiograph.methods.explain._given import gathered, pushes_of

    kind, _, name = config.with_.partition(":")
    writer = explainer(kind)
    given = gathered(
        ctx,
        config.source,
        config.model,
        config.data,
        config.documents,
        lambda size: _asked(size, config.share, ctx.seed),
        config.max_tokens,
    )
    whole = replace(given.material, passages=given.material.passages.united())
    part = parts(whole.passages.groups, ctx.seed)
    explains = part != RESERVE
    largest = whole.take(explains).fires.max(axis=1).toarray().reshape(-1)
    material = whole.above(config.above * largest)
    teaching = material.take(explains)
    with chat_of(config, ctx) as chat:
        study = Study(
            teaching,
            part[explains],
            derive(ctx.seed, "explain") % 2**32,
            config.window,
            config.least_f1,
            pushes=pushes_of(given.model, given.vectors),
            chat=chat,
            labels=_labels(config, ctx, given) if kind == "cache" else None,
            truth=_truth(given, explains, config.floor) if kind == "world" else None,
            progress=ctx.progress,
            vectors=given.vectors,
            **_verbalizing(config, ctx, given, name) if kind == "verbalizer" else {},
        )
        if lacks := writer.lacks(study):
            raise UserError(f"--with {config.with_} needs {lacks}", code="no_explainer")
        with ctx.measure("explain"):
            said = explained(kind, study)
    limits = (config.above * largest).tolist()
    words = tuple(e.model_copy(update={"threshold": limit}) for e, limit in zip(said.explanations, limits, strict=True))
    reserved = material.take(~explains)
    _keep(ctx, given, reserved)
    _tables(ctx, words, material.passages, part)
    sizes: dict[Part, Any] = {"learn": part == LEARN, "check": part == CHECK, "reserved": part == RESERVE}
    return ExplainFeatures(
        explainer=config.with_,
        author=said.author,
        source=given.name,
        site=given.site,
        dictionary_sha256=given.dictionary_sha256,
        decoder_sha256=given.decoder_sha256,
        model=None if config.model is None else ctx.label(config.model),
        above=config.above,
        window=config.window,
        least_f1=config.least_f1,
        features=given.features,
        asked=len(material),
        explained=sum(e.text is not None for e in words),
        failed=said.failed,
        groups={name: len(set(material.passages.take(own).groups)) for name, own in sizes.items()},
        tokens={name: len(material.passages.take(own).tokens) for name, own in sizes.items()},
        explanations=_shown(words, config.cards),
        exchange=said.exchange,
        labels_sha256=_written(ctx, given, said, config.least_f1),
        notes=said.notes,
        **said.extra,
    )


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """Do the counts follow from the explanations, do result and table say the same, and is no text that explains, nor a
    copy of it, also reserved?
    """
    import polars as pl

    from radiograph.explanations import passages_of
    from radiograph.store.records import open_records

    stored = ExplainFeatures.read(result)
    out: list[str] = []
    explained = sum(e.text is not None for e in stored.explanations)
    if (explained, len(stored.explanations)) != (stored.explained, stored.asked):
        out.append(
            f"{stored.explained} of {stored.asked} explained, the list holds {explained} of {len(stored.explanations)}"
        )
    held = pl.read_parquet(folder / "tables" / "explanations.parquet").to_dict(as_series=False)
    out += [
        f"tables/explanations.parquet: {name} is not that of the result"
        for name, values in _columns(stored.explanations).items()
        if held.get(name) != values
    ]
    table = pl.read_parquet(folder / "tables" / "texts.parquet")
    kept = table["part"] == "reserved"
    for column, what in (("prompt_id", "texts"), ("group_id", "groups"), ("text_sha256", "texts (as copies)")):
        if both := set(table.filter(kept)[column]) & set(table.filter(~kept)[column]):
            out.append(f"{len(both)} {what} explain and are reserved, as {min(both)}")
    shown = {c.prompt_id for e in stored.explanations for c in e.contexts}
    if both := shown - set(table.filter(~kept)["prompt_id"]):
        out.append(f"{len(both)} texts were shown and reserved, or are not known, as {min(both)}")
    kept_texts, _ = passages_of(open_records(folder / "reserved", verify=True))
    rows = zip(kept_texts.names, kept_texts.groups, map(_hashed, kept_texts.keys), strict=True)
    if set(rows) != set(table.filter(kept).select("prompt_id", "group_id", "text_sha256").iter_rows()):
        out.append("the texts that are kept are not those that are listed as reserved")
    many = {name: table.filter(pl.col("part") == name)["group_id"].n_unique() for name in get_args(Part)}
    if many != stored.groups:
        out.append(f"{stored.groups} groups are stated, {many} are listed")
    return out


def _hashed(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


def _asked(size: int, share: float, seed: int) -> list[int]:
    """The features that are asked: a seeded choice, ascending."""
    if share == 1:
        return list(range(size))
    order = sorted(range(size), key=lambda feature: derive(seed, "asked", feature))
    return sorted(order[: max(1, round(share * size))])


def _truth(given: Gathered, explains: np.ndarray, floor: float) -> Any:
    """The small world's labels and words, of the tokens that explain."""
    import numpy as np

    from radiograph.explanations import Truth

    if given.labels is None:
        return None
    passages = given.material.passages
    own = [labels for labels, kept in zip(given.labels, explains, strict=True) if kept for labels in labels]
    names = sorted(set().union(*own))
    place = {name: column for column, name in enumerate(names)}
    tokens = passages.take(explains).tokens
    of = np.zeros((len(own), len(names) + len(passages.pieces)))
    for row, labels in enumerate(own):
        of[row, [place[name] for name in labels]] = 1
    of[np.arange(len(own)), len(names) + tokens] = 1
    return Truth((*names, *(f"the word {str(word)!r}" for word in passages.words)), of, floor)


def _labels(config: Config, ctx: Context, given: Gathered) -> LabelSource:
    from radiograph.explanations import LABELS_FILE, open_labels

    beside = None if given.folder is None else given.folder / LABELS_FILE
    shipped = beside if beside is not None and beside.is_file() else None
    return open_labels(config.explanations, given.decoder_sha256, shipped, lambda text: ctx.path(text, "explanations"))


def _verbalizing(config: Config, ctx: Context, given: Gathered, name: str) -> dict[str, Any]:
    from radiograph.methods.explain._verbalizing import verbalizing

    return verbalizing(ctx, given, name, config.verbalizer, config.reconstructor)


def _shown(explanations: tuple[FeatureExplanation, ...], cards: int) -> tuple[FeatureExplanation, ...]:
    """All of them, those that are not shown without their contexts: first those with words."""
    order = sorted(range(len(explanations)), key=lambda n: (explanations[n].text is None, n))
    shown = set(order[:cards])
    return tuple(e if n in shown else e.model_copy(update={"contexts": ()}) for n, e in enumerate(explanations))


def _keep(ctx: Context, given: Gathered, reserved: Material) -> None:
    from radiograph.explanations import write_material

    write_material(ctx.output.folder("reserved"), reserved, given.header.model_copy(update={"private": ctx.private}))


def _tables(ctx: Context, explanations: tuple[FeatureExplanation, ...], passages: Passages, part: np.ndarray) -> None:
    names = get_args(Part)
    ctx.output.table(
        "texts",
        {
            "prompt_id": list(passages.names),
            "group_id": list(passages.groups),
            "part": [names[n] for n in part.tolist()],
            "text_sha256": [_hashed(key) for key in passages.keys],
        },
    )
    ctx.output.table("explanations", _columns(explanations))


def _columns(explanations: tuple[FeatureExplanation, ...]) -> dict[str, list[Any]]:
    """The table of them."""
    rules = [e.rule for e in explanations]
    return {
        "feature": [e.feature for e in explanations],
        "feature_id": [e.feature_id for e in explanations],
        "text": [e.text for e in explanations],
        "why": [e.why for e in explanations],
        "fires_on": [list(e.fires_on) for e in explanations],
        "not_on": [list(e.not_on) for e in explanations],
        "rule": [None if r is None else r.text for r in rules],
        "rule_f1": [None if r is None else r.check.f1 for r in rules],
        "confidence": [e.confidence for e in explanations],
        "n_active": [0 if e.statistics is None else e.statistics.n for e in explanations],
        "prompt_sha256": [e.prompt_sha256 for e in explanations],
    }


def _written(ctx: Context, given: Gathered, said: Explained, least_f1: float) -> str | None:
    """Labels beside the result, in the shape that others publish theirs in; their hash."""
    from radiograph.explanations import LABELS_FILE, SHIPPED
    from radiograph.store import Binding, ExplanationCache

    if given.decoder_sha256 is None:
        return None
    path = ctx.output.folder("labels") / LABELS_FILE
    with ExplanationCache.create(path) as cache:
        if ctx.private:
            cache.mark_private()
        cache.bind(*SHIPPED, Binding(given.decoder_sha256, given.site or "", given.features))
        answered = (e for e in said.explanations if e.why not in ("failed", "not asked"))
        cache.put(
            *SHIPPED, ({"index": e.feature, "explanations": _payload(e, said.author, least_f1)} for e in answered)
        )
    with ExplanationCache.open(path) as cache:
        return cache.snapshot_sha256(*SHIPPED)


def _payload(explanation: FeatureExplanation, author: str, least_f1: float) -> list[dict[str, Any]]:
    """The public wire shape."""
    if explanation.text is None:
        return []
    scores: list[dict[str, Any]] = []
    if explanation.score is not None:
        scores = [{"value": explanation.score.value, "explanationScoreTypeName": f"held_out_{explanation.score.unit}"}]
    elif explanation.rule is not None and explanation.rule.describes(least_f1):
        scores = [{"value": explanation.rule.check.f1, "explanationScoreTypeName": "checked_rule_f1"}]
    return [
        {
            "description": explanation.text,
            "typeName": "radiograph",
            "explanationModelName": author,
            "scores": scores,
        }
    ]
