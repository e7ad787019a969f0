"""Everything that scores explanations, in one place to import."""

from radiograph.explanations._asking import exchange
from radiograph.explanations.scorers._judging import (
    CHANCE,
    JUDGED,
    Answers,
    Judged,
    Question,
    ask_judges,
    code_of,
    scores_of,
    summary_of,
)
from radiograph.explanations.scorers._proxies import agreement, proxies
from radiograph.explanations.scorers.rule import scores as rule_scores

__all__ = [
    "CHANCE",
    "JUDGED",
    "Answers",
    "Judged",
    "Question",
    "agreement",
    "ask_judges",
    "code_of",
    "exchange",
    "proxies",
    "rule_scores",
    "scores_of",
    "summary_of",
]
