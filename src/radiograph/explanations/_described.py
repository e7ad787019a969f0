"""What can be counted of a feature without asking anybody: its tokens, its n-grams, its contexts, its pushes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from radiograph.core.shapes import Int64
from radiograph.evidence.explanations import FeatureExplanation, Gram, ShownContext, TokenShare, TokenStatistics
from radiograph.explanations.texts._contexts import explaining
from radiograph.explanations.texts._passages import Material
from radiograph.numerics.explanations import Contrast, contrast, grams

if TYPE_CHECKING:
    from radiograph.explanations._study import Study

LENGTHS: Final = (1, 2, 3)
LEAST_Z: Final = 6.0
"""n-grams with less are not listed: among a million of them chance gives one above 5."""
_TOKENS, _GRAMS = 5, 6


def described(study: Study) -> list[FeatureExplanation]:
    """Everything but words, for each feature; those that never fire have nothing."""
    material = study.material
    found = _grams(material)
    return [
        FeatureExplanation(
            feature=int(material.numbers[place]),
            feature_id=material.ids[place],
            text=None,
            statistics=statistics(material, place),
            grams=found[place],
            contexts=shown(study, place),
            **_pushed(study, place),
        )
        for place in range(len(material))
    ]


def shown(study: Study, place: int) -> tuple[ShownContext, ...]:
    """The contexts that an explainer sees."""
    return tuple(
        ShownContext(
            role=context.role,  # type: ignore[arg-type]  # `explaining` draws these three alone
            prompt_id=context.prompt_id,
            tokens=context.tokens,
            values=tuple(round(float(value), 6) for value in context.values),
        )
        for context in explaining(study.windowed, place)
    )


def statistics(material: Material, place: int) -> TokenStatistics | None:
    """Counts over the tokens that fire a feature."""
    own: Any = material.fires[place]
    at: Int64[np.ndarray, " firing"] = own.indices.astype(np.int64)
    if not len(at):
        return None
    passages = material.passages
    tokens = passages.tokens[at]
    count = np.bincount(tokens, minlength=len(passages.pieces))
    share = count / len(at)
    order = np.lexsort((np.arange(len(count)), -count))[:_TOKENS]
    pieces = [passages.pieces[n] for n in tokens]
    present = share[share > 0]

    def mean(holds: list[bool]) -> float:
        return sum(holds) / len(holds)

    return TokenStatistics(
        n=len(at),
        texts=len(np.unique(passages.text_of[at])),
        tokens=tuple(
            TokenShare(token=str(passages.words[n]), share=float(share[n]), n=int(count[n])) for n in order if count[n]
        ),
        entropy=float(max(0.0, -(present * np.log2(present)).sum())),
        position=float(np.median(at - passages.starts[passages.text_of[at]])),
        capitalised=mean([piece.strip()[:1].isupper() for piece in pieces]),
        number=mean([any(map(str.isdigit, piece)) for piece in pieces]),
        punctuation=mean([bool(piece.strip()) and not any(map(str.isalnum, piece)) for piece in pieces]),
        word_start=mean([piece[:1].isspace() for piece in pieces]),
    )


def _pushed(study: Study, place: int) -> dict[str, Any]:
    if study.pushes is None:
        return {}
    promoted, suppressed = study.pushes(place)
    return {"promoted": promoted, "suppressed": suppressed}


def _grams(material: Material) -> list[tuple[Gram, ...]]:
    """The n-grams of each feature with the largest z, shorter ones first where they say as much."""
    passages = material.passages
    made = {n: grams(passages.tokens, passages.starts, n) for n in LENGTHS}
    lists: list[list[Gram]] = [[] for _ in range(len(material))]
    for numbered in made.values():
        found: Contrast = contrast(material.fires, numbered.of)
        telling = found.z >= LEAST_Z
        for feature, term, z, count in zip(*(column[telling] for column in found), strict=True):
            if sum(len(g.text.split(" ")) == numbered.tokens.shape[1] for g in lists[feature]) < 3:
                text = " ".join(str(passages.words[token]) for token in numbered.tokens[term])
                lists[feature].append(Gram(text=text, z=float(z), n=int(count)))
    return [tuple(sorted(own, key=lambda gram: -gram.z)[:_GRAMS]) for own in lists]
