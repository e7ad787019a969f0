"""Goodfire's feature search (Ember): features of one of its models, in the order in which it ranks them.

    GET /api/inference/v1/features/search?query=…&page=1&perPage=N&model=…
    {"features": [{"id", "label", "max_activation_strength", "index_in_sae", "relevance"}, …]}

The order is a search rank and says nothing of activations on anybody's prompts.
"""

from __future__ import annotations

from typing import Any, Final

from radiograph.store.services._client import Service, ServiceError

GOODFIRE: Final = "https://api.goodfire.ai"
_PATH: Final = "/api/inference/v1/features/search"


def found_features(service: Service, query: str, model: str, number: int) -> list[dict[str, Any]]:
    """The features found, best first.

    Raises:
        ServiceError: no answer, or one of another shape.
    """
    document = service.json(_PATH, {"query": query, "page": 1, "perPage": number, "model": model})
    listed = document.get("features")
    fits = isinstance(listed, list) and all(
        isinstance(one, dict) and type(one.get("index_in_sae")) is int and isinstance(one.get("label"), str)
        for one in listed
    )
    if not fits:
        raise ServiceError(
            "endpoint_failed",
            f"{service.name} answered in another shape",
            expected='{"features": [{"label", "index_in_sae", …}]}',
            got=", ".join(document)[:200],
        )
    assert isinstance(listed, list)
    return [dict(one) for one in listed[:number]]
