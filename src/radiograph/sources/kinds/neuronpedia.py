"""`neuronpedia:MODEL@SOURCE:INDEX`, an address, or `neuronpedia:@LIST`: dashboards; their scores stay their own."""

from __future__ import annotations

from typing import Any, Final

from radiograph.core import UserError
from radiograph.core.sites import Site, canonical
from radiograph.sources._dumped import dump_of
from radiograph.sources._given import Dumped
from radiograph.sources._grammar import Reference
from radiograph.sources._parts import Parts
from radiograph.store.services import NEURONPEDIA, Dashboard, Dashboards, Service

SHOWN: Final = 8
"""Contexts kept of a dashboard."""
SYNCED: Final = "explanations.sqlite"
"""What `explain sync` fills."""
CITATION: Final = "Neuronpedia (Lin 2023), https://www.neuronpedia.org"


def open(reference: Reference, parts: Parts) -> Dumped:
    """Dashboards of some features of one model.

    Raises:
        UserError: no reference, features of several models, or nothing in the cache of a run without network.
        ServiceError: the service does not answer.
    """
    options = parts.options
    service = Service.at(
        "Neuronpedia", options.url or NEURONPEDIA, options.key_env, key_header="x-api-key", key_prefix=""
    )
    wanted = _wanted(reference, parts, {service.host})
    models = sorted({feature.model for feature in wanted})
    if len(models) > 1:
        raise UserError("features of several models", got=", ".join(models), expected="one", code="several_models")
    shelf = Dashboards(
        service,
        parts.cache() / "neuronpedia",
        parts.cache() / SYNCED,
        offline=parts.offline,
        refresh=options.refresh,
    )
    rows = [_row(feature, shelf.fetch(feature), parts) for feature in wanted]
    dump = dump_of(models[0], rows)
    parts.record(parts.role, f"neuronpedia:{models[0]}", "service", dump.sha256)
    listed = reference.where.startswith("@")
    name = reference.named("@" + parts.label(reference.where[1:])) if listed else reference.text
    return Dumped(name, dump, citation=CITATION)


def _wanted(reference: Reference, parts: Parts, hosts: set[str]) -> list[Dashboard]:
    where = reference.where
    if where.startswith("@"):
        path = parts.path(where[1:], f"{parts.role}.list")
        texts = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        texts = [text.strip('",[] ') for text in texts if text and not text.startswith(("#", "//"))]
    else:
        texts = [where]
    out: list[Dashboard] = []
    for text in filter(None, texts):
        found = Dashboard.parse(text, hosts)
        if isinstance(found, Dashboard):
            out.append(found)
            continue
        numbers = reference.numbers
        if numbers is None:
            raise UserError(
                f"{reference.text!r} names no feature",
                expected="neuronpedia:MODEL@SOURCE:INDEX, or numbers after #",
                code="bad_features",
            )
        out += [Dashboard(*found, number) for number in numbers.tolist()]
    if not out:
        raise UserError(f"{reference.text!r} names no feature", expected="at least one", code="no_features")
    return list(dict.fromkeys(out))


def _row(feature: Dashboard, said: dict[str, Any], parts: Parts) -> dict[str, Any]:
    explanations = [one for one in said.get("explanations") or () if isinstance(one, dict)]
    contexts = [one for one in said.get("activations") or () if isinstance(one, dict)][:SHOWN]
    examples = ["".join(map(str, one["tokens"])) for one in contexts if isinstance(one.get("tokens"), list)]
    kept = {
        "max_activation": said.get("maxActApprox"),
        "fraction_active": said.get("frac_nonzero"),
        "promoted": said.get("pos_str"),
        "suppressed": said.get("neg_str"),
        "contexts": [{key: one.get(key) for key in ("tokens", "values")} for one in contexts],
        "explanations": [
            {key: one.get(key) for key in ("description", "explanationModelName", "typeName", "scores")}
            for one in explanations
        ],
        "url": f"{NEURONPEDIA}/{feature.model}/{feature.source}/{feature.index}",
    }
    return {
        "feature_id": str(feature),
        "site": _site(said.get("hookName")),
        "label": parts.preferred(explanations),
        "examples": examples,
        "source": "neuronpedia",
        "extra": {key: value for key, value in kept.items() if value not in (None, [])},
    }


def _site(hook: Any) -> str | None:
    """Our site of a hook name; None for one that we do not know."""
    try:
        return str(Site.parse(canonical(hook))) if isinstance(hook, str) and hook else None
    except UserError:
        return None
