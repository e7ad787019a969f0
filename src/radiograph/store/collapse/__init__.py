"""Labels and scores of collapse, and the tables and logs of the original study."""

from radiograph.store.collapse._labels import (
    Labelled,
    document_of,
    fit_labels,
    labelled_set,
    read_labels,
    score_of,
    shipped_facts,
    shipped_score,
    write_labelled,
    write_score,
)

__all__ = [
    "Labelled",
    "document_of",
    "fit_labels",
    "labelled_set",
    "read_labels",
    "score_of",
    "shipped_facts",
    "shipped_score",
    "write_labelled",
    "write_score",
]
