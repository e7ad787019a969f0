"""What a capture is asked for: prompts as token ids and columns, conditions in the model's own numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from radiograph.core import Context, FormatError, UserError
from radiograph.evidence import Bos, Condition, Recipe, document_sha256

if TYPE_CHECKING:
    import numpy as np

    from radiograph.evidence import Grid
    from radiograph.models import LanguageModel

NATURAL = "world:mixture#400"
"""Natural text of the small world: what doses refer to where nothing else is given."""
_NATURAL_DOSES = {"sd", "quantile", "norm"}


@dataclass(frozen=True)
class Prompts:
    """Token ids, and columns with one value a prompt."""

    ids: list[tuple[int, ...]]
    columns: dict[str, list[Any]]

    @property
    def truncated(self) -> int:
        """Prompts that were cut."""
        return sum(n > 0 for n in self.columns["truncated"])


def grid_prompts(model: LanguageModel, grid: Grid, *, bos: Bos, chat: bool, new_tokens: int, truncate: bool) -> Prompts:
    """The prompts of a grid.

    Raises:
        UserError: a prompt that leaves no room for the new tokens.
    """
    from radiograph.models import prompt_ids

    records = grid.records
    every = [prompt_ids(model.tokenizer, record.text, bos=bos, chat=chat) for record in records]
    cut = [_fit(model, ids, new_tokens, truncate, record.id) for ids, record in zip(every, records, strict=True)]
    columns: dict[str, list[Any]] = {
        "prompt_id": [record.id for record in records],
        "core": [record.core for record in records],
        **{name: [record.factors.get(name) for record in records] for name in grid.factors},
        "variant": [record.variant for record in records],
        "prompt": grid.texts,
        "truncated": [len(whole) - len(ids) for whole, ids in zip(every, cut, strict=True)],
    }
    return Prompts(cut, columns)


def confounds(model: LanguageModel, grid: Grid, prompts: Prompts, seed: int) -> dict[str, tuple[str, ...]]:
    """Factor to the covariates that differ with it; factors without one are left out."""
    from radiograph.core import derive
    from radiograph.models import token_text
    from radiograph.numerics.design import confounded

    found = confounded(
        grid.texts,
        prompts.columns["core"],
        {name: prompts.columns[name] for name in grid.factors},
        measured={"tokens": [float(len(ids)) for ids in prompts.ids]},
        last=[token_text(model.tokenizer, ids[-1]) for ids in prompts.ids],
        seed=derive(seed, "confounds"),
    )
    return {name: named for name, named in found.items() if named}


def recipe_prompts(model: LanguageModel, recipe: Recipe) -> Prompts:
    """The one prompt of a recipe."""
    from radiograph.models import prompt_ids

    ids = prompt_ids(model.tokenizer, recipe.prompt, bos=recipe.bos, chat=recipe.chat)
    facts = {"prompt_id": recipe.sha256[:12], "core": "recipe", "variant": 1, "prompt": recipe.prompt, "truncated": 0}
    fitting = _fit(model, ids, recipe.decoding.new_tokens, False, "of the recipe")
    return Prompts([fitting], {name: [value] for name, value in facts.items()})


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
    from radiograph.store.statistics import cached_statistics, keep_statistics, read_statistics, statistics_key

    identity = model.identity
    if folder is not None:
        place = ctx.path(folder, "statistics")
        place = place / "statistics" if (place / "statistics").is_dir() else place
        return read_statistics(place, model_sha256=identity.tensors_sha256)[0]
    wanted = _needed(model, conditions, directions)
    if not wanted:
        return {}
    texts = ctx.corpus(_sources(model, natural), role="natural")
    along = {site: sorted(names) for site, names in wanted.items()}
    key = statistics_key(
        model_sha256=identity.tensors_sha256,
        tokenizer_sha256=identity.tokenizer_sha256,
        data_sha256=document_sha256(texts.hashes),
        options={"sites": {s: {n: directions[n].tolist() for n in names} for s, names in along.items()}},
    )
    with ctx.measure("statistics"):  # where they are cached too: equal runs leave equal files
        found = cached_statistics(key)
        if found is None:
            from radiograph.harvest.statistics import site_statistics

            named = {site: {n: directions[n].astype(float) for n in names} for site, names in along.items() if names}
            found = site_statistics(model, texts, list(wanted), directions=named, progress=ctx.progress)
            keep_statistics(
                key,
                found,
                model_sha256=identity.tensors_sha256,
                tokenizer_sha256=identity.tokenizer_sha256,
                data_sha256=document_sha256(texts.hashes),
            )
    return found


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


def _sources(model: LanguageModel, natural: Sequence[str]) -> Sequence[str]:
    from radiograph.organisms import reads_world

    if natural:
        return natural
    if model.tokenizer is not None and reads_world(model.tokenizer):
        return [NATURAL]
    raise UserError(
        "doses in sd, quantiles and norms refer to natural text, and none is given",
        fix="give --natural FILE, or --statistics RUN of `neurons scan`, or doses in raw numbers",
        code="no_statistics",
    )


def _fit(model: LanguageModel, ids: tuple[int, ...], new_tokens: int, truncate: bool, name: str) -> tuple[int, ...]:
    room = model.context_length - new_tokens
    if len(ids) <= room:
        return ids
    if not truncate or room < 2:
        raise UserError(
            f"prompt {name} and {new_tokens} new tokens do not fit the model's context",
            expected=f"at most {room} prompt tokens",
            got=f"{len(ids)}",
            fix="fewer --new-tokens, or --truncate to keep the end of the prompt",
            code="too_long",
        )
    bos = model.tokenizer is not None and ids[0] == model.tokenizer.bos_token_id
    return (ids[0], *ids[1 - room :]) if bos else ids[-room:]
