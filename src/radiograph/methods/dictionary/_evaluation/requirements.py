"""What a user demands of the numbers: `fvu<0.2`, `ce_recovered_mean@candidate/resid_post.6>=0.9`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

from radiograph.core import UserError, nearest
from radiograph.evidence import Requirement

Sense = Literal["<", "<=", ">", ">="]
_FORM = re.compile(r"\s*([a-z0-9_]+)(?:@(\S+?))?\s*(<=|>=|<|>)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*")


def parse(texts: Sequence[str], known: Sequence[str]) -> list[Requirement]:
    """Requirements without an answer yet.

    Raises:
        UserError: a text of another form, or a metric that does not exist.
    """
    found: list[Requirement] = []
    for text in texts:
        match = _FORM.fullmatch(text)
        if match is None:
            raise UserError("a requirement", expected="METRIC<NUMBER, as fvu<0.2", got=text, where="--require")
        name, source, sense, bound = match.groups()
        if name not in known:
            close = nearest(name, list(known))
            fix = f"did you mean {', '.join(close)}?" if close else None
            raise UserError(f"no metric {name!r}", expected=", ".join(known), where="--require", fix=fix)
        found.append(
            Requirement(
                text=text.strip(),
                metric=name,
                source=source,
                bound=float(bound),
                sense=cast(Sense, sense),
                value=None,
                met=None,
            )
        )
    return found


def met(sense: str, value: float, bound: float) -> bool:
    """Whether a value keeps a bound."""
    return {"<": value < bound, "<=": value <= bound, ">": value > bound, ">=": value >= bound}[sense]


def answered(wanted: Sequence[Requirement], values: Mapping[tuple[str, str | None], float]) -> tuple[Requirement, ...]:
    """The same, with what was measured."""
    out: list[Requirement] = []
    for one in wanted:
        value = values.get((one.metric, one.source))
        kept = None if value is None else met(one.sense, value, one.bound)
        out.append(one.model_copy(update={"value": value, "met": kept}))
    return tuple(out)


def recheck(result: Mapping[str, Any]) -> list[str]:
    """Requirements of a stored result whose answer does not follow from its metrics."""
    values = {(m["name"], m["source"]): m["estimate"]["value"] for m in result["metrics"]}
    problems: list[str] = []
    for one in result["requirements"]:
        value = values.get((one["metric"], one["source"]))
        expected = None if value is None else met(one["sense"], value, one["bound"])
        if (one["value"], one["met"]) != (value, expected):
            problems.append(f"requirement {one['text']!r} says {one['met']}, its metric says {expected}")
    return problems
