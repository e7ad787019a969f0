"""Words that somebody else wrote: from a local cache of explanations, each with its author.

Scores that come with them are the author's and stay with the cache; none of them is a score of ours.
"""

from __future__ import annotations

from radiograph.explanations._described import described
from radiograph.explanations._preferred import preferred
from radiograph.explanations._study import Explained, Study


def lacks(study: Study) -> str | None:
    """A source of labels."""
    has = study.labels is not None and study.labels.mode != "none"
    return None if has else "--explanations cache:FILE#MODEL/SOURCE, or labels beside the dictionary"


def explain(study: Study) -> Explained:
    """Look up."""
    assert study.labels is not None
    known = study.labels.explanations
    found = []
    authors: set[str] = set()
    for base in described(study):
        best = preferred(known.get(base.feature, []))
        if best is None:
            why = "the cache was asked and has none" if base.feature in known else "the cache was never asked"
            found.append(base.model_copy(update={"why": why}))
            continue
        authors.add(best.author or best.type or "unknown author")
        found.append(base.model_copy(update={"text": best.text}))
    said = ", ".join(sorted(authors)[:3]) or "nobody"
    return Explained(f"{said} ({study.labels.name})", tuple(found))
