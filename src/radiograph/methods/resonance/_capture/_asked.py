"""What a capture is asked for: prompts as token ids and columns, conditions in the model's own numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from radiograph.core import Context, FormatError
from radiograph.evidence import Condition, Recipe

if TYPE_CHECKING:
    import numpy as np

    from radiograph.evidence import Grid
    from radiograph.interventions import Prompts
    from radiograph.models import LanguageModel

_NATURAL_DOSES = {"sd", "quantile", "norm"}


def confounds(model: LanguageModel, grid: Grid, prompts: Prompts, seed: int) -> dict[str, tuple[str, ...]]:
    """Factor to the covariates that differ with it; factors without one are left out."""
    from radiograph.core import derive
    from radiograph.models import cross_entropy, token_text
    from radiograph.numerics.design import confounded

    measured = {"tokens": [float(len(ids)) for ids in prompts.ids]}
    if min(map(len, prompts.ids)) > 1:  # one token has no log-loss
        measured["mean NLL"] = [float(nats.mean()) for nats in cross_entropy(model, prompts.ids)]
    found = confounded(
        grid.texts,
        prompts.columns["core"],
        {name: prompts.columns[name] for name in grid.factors},
        measured=measured,
        last=[token_text(model.tokenizer, ids[-1]) for ids in prompts.ids],
        seed=derive(seed, "confounds"),
    )
    return {name: named for name, named in found.items() if named}


def read_recipe(ctx: Context, reference: str) -> Recipe:
    """A recipe file.

    Raises:
        FormatError: not JSON, or not a recipe.
    """
    path = ctx.path(reference, "recipe")
    try:
        document = json.loads(path.read_bytes())
    except ValueError as error:
        raise FormatError(f"cannot read {path.name}", got=str(error), expected="radiograph.recipe/1") from error
    if not isinstance(document, dict):
        raise FormatError(f"{path.name} is no recipe", expected="a JSON object with schema radiograph.recipe/1")
    return Recipe.read(document, path.name)


def read_conditions(ctx: Context, reference: str) -> list[str]:
    """The texts of a file of conditions: a list, of which each is a write or writes that act together.

    Raises:
        UserError: not such a list; names the entry.
    """
    from radiograph.store import load_yaml

    path = ctx.path(reference, "conditions")
    document, _ = load_yaml(path)
    entries = document.get("conditions") if isinstance(document, dict) else document
    if not isinstance(entries, list) or not entries:
        expected = "`conditions:` with a list of writes, as `mlp_hidden.3[17]:set:3sd@all`"
        raise FormatError(f"{path.name} holds no conditions", expected=expected)
    texts: list[str] = []
    for number, entry in enumerate(entries, 1):
        writes = entry if isinstance(entry, list) else [entry]
        if not all(isinstance(write, str) for write in writes):
            raise FormatError(f"condition {number} of {path.name} is no text", expected="a write, or a list of writes")
        texts.append("; ".join(writes))
    return texts


def natural_statistics(
    ctx: Context,
    model: LanguageModel,
    conditions: Sequence[Condition],
    *,
    folder: str | None,
    natural: Sequence[str],
    directions: dict[str, np.ndarray],
) -> Mapping[str, Any]:
    """Site statistics for the doses that need them: from a folder, from the cache, or measured now.

    Raises:
        UserError: statistics of another model, or no natural text to measure on.
    """
    from radiograph.harvest.statistics import natural_statistics as measured
    from radiograph.organisms import natural_sources

    wanted = _needed(model, conditions, directions)
    sites = {site: {name: directions[name].astype(float) for name in sorted(names)} for site, names in wanted.items()}
    sources = natural_sources(model.tokenizer, natural)
    with ctx.measure("statistics"):  # where they are cached too: equal runs leave equal files
        return measured(
            model,
            sites,
            folder=None if folder is None else ctx.path(folder, "statistics"),
            texts=(lambda: ctx.corpus(sources, role="natural")) if sources else None,
            progress=ctx.progress,
        )


def _needed(
    model: LanguageModel, conditions: Sequence[Condition], directions: dict[str, np.ndarray]
) -> dict[str, set[str]]:
    """Sites whose statistics a dose refers to, and the single directions along which."""
    wanted: dict[str, set[str]] = {}
    for write in (write for condition in conditions for write in condition.writes):
        if write.op != "ablate-mean" and (write.dose is None or write.dose.unit not in _NATURAL_DOSES):
            continue
        for address in model.sites(write.site):
            site = str(address).split(".h")[0]
            names = wanted.setdefault(site, set())
            known = directions.get(write.direction or "")
            whole = write.units is None and address.head is None
            if known is not None and known.ndim == 1 and whole and write.direction is not None:
                names.add(write.direction)
    return wanted
