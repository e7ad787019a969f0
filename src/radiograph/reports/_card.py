"""The card of a published run: what was asked, what was found, what was not, of which model, and how to run it again.

Front matter is what the hub reads (licence, tags, base model); it is YAML, written as JSON values, which YAML contains.
The body takes the run's own report.md over, whose texts are escaped already.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from radiograph.core import visible

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def card(
    document: Mapping[str, Any],
    *,
    title: str,
    verb: str,
    folder: str,
    report: str,
    models: Sequence[tuple[str, str]],
    kind: str,
    licence: str | None,
    tags: Sequence[str],
    version: str,
    seed: int,
) -> str:
    """Write the card of one result; `report` is its report.md, `models` are references with their SHA-256."""
    from radiograph.reports._environment import markdown

    _, _, body = report.partition("\n")
    heading = report.partition("\n")[0].removeprefix("# ").partition(": ")[2]
    return (
        markdown()
        .get_template("card.md.j2")
        .render(
            front=_front(models, kind, licence, tags, title),
            title=title,
            verb=verb,
            folder=visible(folder),
            found=heading,
            report=_demoted(body),
            models=[{"ref": ref, "sha256": sha256} for ref, sha256 in dict(models).items()],
            gaps=list(_gaps(document)),
            licence=licence,
            version=version,
            seed=str(seed),
        )
    )


def _front(models: Sequence[tuple[str, str]], kind: str, licence: str | None, tags: Sequence[str], title: str) -> str:
    fields: dict[str, Any] = {"tags": ["radiograph", "interpretability", *tags]}
    if licence is not None:
        fields = {"license": licence, **fields}
    if kind == "dataset":
        fields["pretty_name"] = visible(title)
    else:
        named = [ref.partition("+")[0] for ref, _ in models]
        known = list(dict.fromkeys(ref for ref in named if _HUB_ID.fullmatch(ref) and not ref.startswith(".")))
        if known:
            fields["base_model"] = known
    return "".join(f"{name}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in fields.items())


def _demoted(report: str) -> str:
    """The report one level down, so that its parts stand under the card's."""
    return re.sub(r"^(#+ )", r"#\1", report, flags=re.MULTILINE).strip()


def _gaps(value: Any) -> Iterator[dict[str, str]]:
    """Every record of something that was not measured, wherever it stands."""
    if isinstance(value, Mapping):
        if {"code", "text", "what", "fix"} <= value.keys():
            yield {name: str(value[name] or "") for name in ("code", "text", "what")}
        for inner in value.values():
            yield from _gaps(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _gaps(inner)
