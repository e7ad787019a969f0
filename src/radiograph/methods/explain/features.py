"""Give features of a dictionary words, each with a score measured on text that did not choose them.

Route `world` (models of the small world): the words are the world's own token labels and words.
1. encode labelled documents; split them by document into a half that chooses and a half that scores
2. per feature and attribute: AUROC of the activation for the attribute over content tokens (ties at mid-rank, so the
   many zeros count as measured)
3. keep the best attribute of the choosing half if its AUROC on the scoring half is at least `--floor`; else the feature
   is "asked, none"
4. write `labels/labels.sqlite`, bound to the decoder's hash; features outside `--share` stay "never asked"

Units: AUROC, .5 is chance. Refuses when: the model does not read the small world's tokens.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Context, DictionaryRef, ModelRef, Refusal, Site, derive
from radiograph.evidence import Record, Result

if TYPE_CHECKING:
    import numpy as np

    from radiograph.dictionaries import Dictionary
    from radiograph.explanations import Labelled
    from radiograph.models import LanguageModel


class Config(Base):
    """Which features, of which dictionary, by which route."""

    dictionary: DictionaryRef
    """Dictionary folder, or dictionary:bundled."""
    model: ModelRef
    """The model it was trained on."""
    route: Literal["world"] = "world"
    """How words are found."""
    documents: int = Field(default=4000, ge=100)
    """Labelled documents, half to choose, half to score."""
    share: float = Field(default=1.0, gt=0, le=1)
    """Share of the features that are asked; the rest stays unlabelled."""
    floor: float = Field(default=0.8, ge=0.5, le=1)
    """Held-out AUROC below which a feature gets no words."""


class FeatureLabel(Record):
    """One feature's words."""

    feature_idx: int
    attribute: str
    auroc: float
    """On the half that did not choose."""
    auroc_choosing: float
    n_positive: int
    n: int


class FeatureLabels(Result):
    """All labels of a dictionary."""

    SCHEMA: ClassVar[str] = "radiograph.feature_labels/1"

    decoder_sha256: str
    site: str
    asked: int
    labelled: int
    floor: float
    snapshot_sha256: str
    labels: tuple[FeatureLabel, ...]

    @property
    def headline(self) -> str:
        """How many features have words."""
        return f"{self.labelled} of {self.asked} features asked have words (held-out AUROC >= {self.floor:g})"


def run(config: Config, ctx: Context) -> FeatureLabels:
    """Encode, choose, score, write."""
    from radiograph.explanations import LABELS_FILE, SHIPPED, choose
    from radiograph.store import ExplanationCache

    dictionary: Dictionary = ctx.dictionary(config.dictionary)
    model: LanguageModel = ctx.model(config.model, "model")
    with ctx.measure("encode"):
        names, halves = _labelled(model, dictionary, config.documents // 2, ctx.seed)
    with ctx.measure("score"):
        chosen = choose(*halves, floor=config.floor)
    asked = _asked(dictionary.size, config.share, ctx.seed)
    labels = [
        FeatureLabel(
            feature_idx=f,
            attribute=names[chosen[f].attribute],
            auroc=chosen[f].scoring,
            auroc_choosing=chosen[f].choosing,
            n_positive=chosen[f].n_positive,
            n=chosen[f].n,
        )
        for f in asked
        if f in chosen
    ]
    path = ctx.output.folder("labels") / LABELS_FILE
    _write(path, dictionary, asked, labels)
    with ExplanationCache.open(path) as cache:
        snapshot = cache.snapshot_sha256(*SHIPPED)
    return FeatureLabels(
        decoder_sha256=dictionary.decoder_sha256,
        site=dictionary.site,
        asked=len(asked),
        labelled=len(labels),
        floor=config.floor,
        snapshot_sha256=snapshot,
        labels=tuple(labels),
    )


def _labelled(
    model: LanguageModel, dictionary: Dictionary, count: int, seed: int
) -> tuple[list[str], tuple[Labelled, Labelled]]:
    """Names of the attributes, and the content tokens of both halves of the documents."""
    import numpy as np

    from radiograph.explanations import Labelled
    from radiograph.organisms import reads_world
    from radiograph.organisms.world import World

    world = World()
    if model.tokenizer is None or not reads_world(model.tokenizer):
        raise Refusal("no_world", "the model does not read the small world's tokens", fix="use a model of the world")
    documents = list(world.documents("mixture", "test", seed=derive(seed, "labels"), count=2 * count))
    special = set(model.tokenizer.all_special_ids)
    labels = sorted(set().union(*(s for d in documents for s in d.labels)))
    names = labels + [f"the word {w!r}" for w in world.vocabulary]
    place = {name: column for column, name in enumerate(labels)}
    halves: list[Labelled] = []
    for part in (documents[:count], documents[count:]):
        kept = [[t not in special for t in d.ids] for d in part]
        every = [(t, s) for d in part for t, s in zip(d.ids, d.labels, strict=True)]
        tokens = [(t, s) for t, s in every if t not in special]
        truth = np.zeros((len(tokens), len(names)))
        for row, (token, own) in enumerate(tokens):
            truth[row, [len(labels) + token, *(place[n] for n in own)]] = 1
        halves.append(Labelled(_activations(model, dictionary, [d.ids for d in part], kept), truth))
    return names, (halves[0], halves[1])


def _activations(
    model: LanguageModel, dictionary: Dictionary, tokens: list[tuple[int, ...]], kept: list[list[bool]]
) -> np.ndarray:
    """Dense activations of the kept tokens, text after text."""
    import numpy as np

    from radiograph.models import stream

    site = Site.parse(dictionary.site)
    rows: list[np.ndarray] = [np.zeros(0)] * len(tokens)
    for batch, found in stream(model, tokens, [site]):
        for index, row in enumerate(batch.rows):
            own = found[site][index, : len(kept[row])]
            rows[row] = dictionary.encode_dense(own.float()).cpu().numpy()[np.array(kept[row])]
    return np.concatenate(rows)


def _asked(size: int, share: float, seed: int) -> list[int]:
    """The features that are asked: a seeded choice, ascending."""
    order = sorted(range(size), key=lambda feature: derive(seed, "asked", feature))
    return sorted(order[: round(share * size)])


def _write(path: Path, dictionary: Dictionary, asked: list[int], labels: list[FeatureLabel]) -> None:
    from radiograph.explanations import SHIPPED
    from radiograph.store import Binding, ExplanationCache

    words = {label.feature_idx: label for label in labels}
    with ExplanationCache.create(path) as cache:
        cache.bind(*SHIPPED, Binding(dictionary.decoder_sha256, dictionary.site, dictionary.size))
        cache.put(*SHIPPED, ({"index": f, "explanations": [_payload(words[f])] if f in words else []} for f in asked))


def _payload(label: FeatureLabel) -> dict[str, Any]:
    """The public wire shape of one explanation."""
    return {
        "description": label.attribute.replace("_", " "),
        "typeName": "world_attribute",
        "explanationModelName": "small world",
        "scores": [{"value": label.auroc, "explanationScoreTypeName": "held_out_auroc"}],
    }
