"""What a feature is called, and how sure that is: direct, proxy, low similarity, or nothing.

1. a feature with an explanation of its own is `direct`
2. otherwise its nearest *explained* neighbours by decoder cosine are listed (the 10 nearest of a search of 200, at
   cosine >= .15; itself and dead rows left out)
3. the first neighbour's text is a `proxy` only if its cosine reaches max(.3, the 95 % quantile of the best cosine that
   random directions find among the explained rows); below it the feature is `low_similarity` and has no label
In narrow models strangers look alike: among 512 directions of width 64 the nearest has a cosine above .44 in 5 % of
cases, which is why the cut-off is that null and not a constant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from radiograph.core.shapes import Float
from radiograph.evidence import Coverage, LabelKind, Neighbour
from radiograph.explanations._preferred import Explanation, preferred
from radiograph.explanations._sources import LabelSource
from radiograph.numerics import Neighbours, chance_cosine, label_kind, nearest_rows

SHOWN_NEIGHBOURS = 3


@dataclass(frozen=True)
class Label:
    """One feature's label."""

    kind: LabelKind
    explanation: Explanation | None = None
    proxy: Explanation | None = None
    cosine: float | None = None
    neighbours: tuple[Neighbour, ...] = ()
    asked: bool = False


@dataclass(frozen=True)
class Labels:
    """Labels of the features that are shown, and how far they reach."""

    of: dict[int, Label]
    null_q95: float | None

    def coverage(self, shown: Sequence[int]) -> Coverage:
        """Counts over distinct features of a list that may name one several times."""
        distinct = sorted(set(shown))
        kinds = Counter(self.of[f].kind for f in distinct)
        cosines = [c for f in distinct if (c := self.of[f].cosine) is not None]
        return Coverage(
            shown=len(shown),
            distinct=len(distinct),
            n_effective=len(distinct),
            direct=kinds["direct"],
            proxy=kinds["proxy"],
            low_similarity=kinds["low_similarity"],
            none=kinds["none"],
            never_asked=sum(not self.of[f].asked for f in distinct),
            cosine_median=float(np.median(cosines)) if cosines else None,
            cosine_min=min(cosines) if cosines else None,
            null_q95=self.null_q95,
        )


def label_features(
    features: Sequence[int], decoder: Float[np.ndarray, "feature width"], source: LabelSource, *, seed: int
) -> Labels:
    """Label every distinct feature of a list."""
    wanted = sorted(set(features))
    texts = {i: text for i, found in source.explanations.items() if (text := preferred(found)) and i < len(decoder)}
    explained = np.zeros(len(decoder), dtype=bool)
    explained[list(texts)] = True
    chance = chance_cosine(decoder, explained, seed=seed) if texts else 0.0
    missing = [f for f in wanted if f not in texts]
    near = dict(zip(missing, nearest_rows(decoder, np.array(missing, dtype=int), candidates=explained), strict=True))
    labels = {
        f: Label("direct", explanation=texts[f], asked=True)
        if f in texts
        else _by_neighbour(near[f], texts, chance, asked=f in source.explanations)
        for f in wanted
    }
    return Labels(labels, chance if texts else None)


def _by_neighbour(near: Neighbours, texts: dict[int, Explanation], chance: float, *, asked: bool) -> Label:
    listed = tuple(
        Neighbour(feature_idx=int(i), cosine=float(c), explanation=texts[int(i)].text)
        for i, c in zip(near.index[:SHOWN_NEIGHBOURS], near.cosine, strict=False)
    )
    cosine = float(near.cosine[0]) if len(near.cosine) else None
    kind = label_kind(False, cosine, chance)
    proxy = texts[int(near.index[0])] if kind == "proxy" else None
    return Label(kind, proxy=proxy, cosine=cosine, neighbours=listed, asked=asked)
