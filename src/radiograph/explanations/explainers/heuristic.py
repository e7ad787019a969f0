"""Words from counts alone: a learned rule, n-grams, tokens. Needs no language model and no network.

1. a rule of at most four literals is learned on two thirds of the texts that explain, and measured on the last third
2. an F1 of at least `least_f1` there: the rule is the explanation
3. else, where one to three n-grams with z ≥ 6 end on at least a third of the tokens that fire it: these n-grams
4. else "no simple description found"; what was counted is shown all the same
"""

from __future__ import annotations

from typing import Any

import numpy as np

from radiograph.evidence.explanations import FeatureExplanation, RuleRecord
from radiograph.explanations._described import described
from radiograph.explanations._rules import Measured, learned, measured, recorded
from radiograph.explanations._study import Explained, Study

NOTHING = "no simple description found"
AUTHOR = "heuristic-1"
_COVERED = 1 / 3


def lacks(study: Study) -> str | None:
    """Nothing."""
    del study
    return None


def explain(study: Study) -> Explained:
    """Learn, check, say."""
    rules, literals = learned(study.learn)
    worth = measured(rules, literals, study.check, seed=study.seed)
    found: list[FeatureExplanation] = []
    for place, base in enumerate(described(study)):
        rule = recorded(rules, literals, place, worth.held(place))
        found.append(base.model_copy(update=_words(study, base, rule, worth, place)))
    return Explained(AUTHOR, tuple(found))


def _words(
    study: Study, base: FeatureExplanation, rule: RuleRecord | None, worth: Measured, place: int
) -> dict[str, Any]:
    if base.statistics is None:
        return {"why": "it never fires on the texts that explain"}
    tokens = tuple(token.token for token in base.statistics.tokens)
    if rule is not None and rule.describes(study.least_f1):
        return {
            "text": f"fires where {rule.text}",
            "fires_on": tokens,
            "not_on": _missed(study, worth, place),
            "rule": rule,
        }
    few = [gram for gram in base.grams if gram.n >= _COVERED * base.statistics.n]
    few = few or _together(base)
    if few:
        return {
            "text": "fires at the end of " + ", ".join(f"“{gram.text}”" for gram in few),
            "fires_on": tokens,
            "rule": rule,
        }
    return {"why": NOTHING, "fires_on": tokens, "rule": rule}


def _together(base: FeatureExplanation) -> list[Any]:
    """Up to three single tokens that cover enough of what fires it; longer n-grams overlap and are not added up."""
    assert base.statistics is not None
    single = [gram for gram in base.grams if " " not in gram.text][:3]
    return single if sum(gram.n for gram in single) >= _COVERED * base.statistics.n else []


def _missed(study: Study, worth: Measured, place: int) -> tuple[str, ...]:
    """The commonest tokens that the rule names and that do not fire the feature."""
    check = study.check
    named: Any = worth.named[place]
    fires: Any = check.fires[place]
    wrong = np.setdiff1d(named.indices, fires.indices)
    words, count = np.unique(check.passages.words[check.passages.tokens[wrong]].astype(str), return_counts=True)
    order = np.lexsort((words, -count))[:3]
    return tuple(str(words[n]) for n in order)
