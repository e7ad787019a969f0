"""Lines of a causal table as findings."""

from __future__ import annotations

from radiograph.evidence.features import Finding, Statistic, StatisticN
from radiograph.methods._causal.judge import Causal

NULL = "signs of groups are a matter of chance: the outcome does not move with the feature"


def findings(causal: Causal, criterion: str) -> tuple[Finding, ...]:
    """One finding for each feature and outcome, in the order of the table."""
    lines = list(causal.features.iter_rows(named=True))
    family = sum(line["q"] is not None for line in lines)
    out: list[Finding] = []
    for line in lines:
        codes = tuple(code for code in line["codes"].split(",") if code)
        statistic = None
        if line["estimate"] is not None:
            statistic = Statistic(
                name="effect",
                estimate=line["estimate"],
                interval=None if line["low"] is None else (line["low"], line["high"]),
                method=line["method"],
                n=StatisticN(units=line["groups"], groups=line["groups"]),
                null=NULL,
                p=line["p"],
                q=line["q"],
                family=family or None,
            )
        untested = line["grade"] == "untested" and not codes
        out.append(
            Finding(
                kind="causal",
                feature=line["feature_id"],
                criterion=criterion,
                grade=line["grade"],
                codes=("no_outcome",) if untested else codes,
                outcome=line["outcome"],
                contradicted=line["contradicted"],
                statistic=statistic,
                strong_score=line["score"],
            )
        )
    return tuple(out)
