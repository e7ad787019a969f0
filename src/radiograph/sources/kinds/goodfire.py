"""`goodfire:N`: the N features that Goodfire's search finds for the criterion's words; their order is a search rank."""

from __future__ import annotations

from radiograph.core import UserError
from radiograph.sources._dumped import dump_of
from radiograph.sources._given import Dumped
from radiograph.sources._grammar import Reference
from radiograph.sources._parts import Parts
from radiograph.store.services import GOODFIRE, Service, found_features


def open(reference: Reference, parts: Parts) -> Dumped:
    """Features found by words.

    Raises:
        UserError: no number, no words, no model, no key, or no network. ServiceError: the service does not answer.
    """
    options = parts.options
    if not reference.where.isdigit() or int(reference.where) < 1:
        raise UserError(f"{reference.text!r}: how many features?", expected="goodfire:N", code="bad_features")
    lacking = [
        name for name, given in (("words to search for", options.search), ("a model", options.model)) if not given
    ]
    if lacking:
        raise UserError(f"goodfire needs {' and '.join(lacking)}", fix="give a criterion in words, and MODEL")
    if options.key_env is None:
        raise UserError(
            "goodfire answers only with a key",
            fix="name the environment variable that holds it: --key-env",
            code="no_key",
        )
    if parts.offline:
        raise UserError(
            "goodfire lies on the network, and this run may not use it", fix="pass --online", code="offline"
        )
    url = options.url or GOODFIRE
    service = Service.at("Goodfire", url, options.key_env, headers={"X-Base-Url": url})
    query, model = str(options.search), str(options.model)
    found = found_features(service, query, model, int(reference.where))
    rows = [
        {
            "feature_id": f"goodfire:{one['index_in_sae']}",
            "label": one["label"],
            "source": "goodfire",
            "extra": {
                "search_rank": rank,
                "query": query,
                **{key: one[key] for key in ("id", "relevance", "max_activation_strength") if key in one},
            },
        }
        for rank, one in enumerate(found, 1)
    ]
    if not rows:
        raise UserError(f"goodfire finds no feature for {query!r}", code="no_features")
    dump = dump_of(model, rows)
    parts.record(parts.role, f"goodfire:{model}", "service", dump.sha256)
    return Dumped(reference.text, dump)
