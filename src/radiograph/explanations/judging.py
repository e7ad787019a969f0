"""Everything that scores explanations, in one place to import."""

from radiograph.explanations._asking import exchange
from radiograph.explanations.scorers._judging import (
    CHANCE,
    COLUMNS,
    JUDGED,
    Answers,
    Judged,
    Question,
    ask_judges,
    code_of,
    labels_read,
    numbered,
    others_of,
    put_questions,
    questions_of,
    scores_of,
    summary_of,
    unit_of,
)
from radiograph.explanations.scorers._proxies import agreement, proxies
from radiograph.explanations.scorers.rule import counts as rule_counts
from radiograph.explanations.scorers.rule import scores as rule_scores

__all__ = [
    "CHANCE",
    "COLUMNS",
    "JUDGED",
    "Answers",
    "Judged",
    "Question",
    "agreement",
    "ask_judges",
    "code_of",
    "exchange",
    "labels_read",
    "numbered",
    "others_of",
    "proxies",
    "put_questions",
    "questions_of",
    "rule_counts",
    "rule_scores",
    "scores_of",
    "summary_of",
    "unit_of",
]
