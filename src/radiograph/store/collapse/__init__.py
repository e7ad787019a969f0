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
from radiograph.store.collapse._tables import StudyRow, read_study_log, read_study_tsv, study_tsv

__all__ = [
    "Labelled",
    "StudyRow",
    "document_of",
    "fit_labels",
    "labelled_set",
    "read_labels",
    "read_study_log",
    "read_study_tsv",
    "score_of",
    "shipped_facts",
    "shipped_score",
    "study_tsv",
    "write_labelled",
    "write_score",
]
