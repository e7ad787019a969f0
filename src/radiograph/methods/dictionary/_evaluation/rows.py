"""Where the rows of an evaluation come from, and whose they must be.

Activations on disk are read in stored order, validation rows by default; texts run through the models now. Every row
knows its prompt group, because rows of one text are no independent evidence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from radiograph.core import Context, Refusal, Source, UserError
from radiograph.core.sites import REFERENCE

if TYPE_CHECKING:
    from torch import Tensor

    from radiograph.dictionaries import Dictionary
    from radiograph.dictionaries.measures import Block, Blocks
    from radiograph.harvest import Harvested, Text, Window
    from radiograph.models import LanguageModel

BATCH = 8192
WINDOW = 512
Split = Literal["train", "validation", "all"]


@dataclass(frozen=True)
class Rows:
    """Rows to measure on, in passes that can be repeated."""

    blocks: Blocks
    origin: Literal["activations", "texts"]
    split: Split
    groups: int


@dataclass(frozen=True)
class Runs:
    """Texts to run with the reconstruction in place."""

    models: dict[str, LanguageModel]
    tokens: list[tuple[int, ...]]
    kept: list[tuple[bool, ...]]
    groups: list[str]


def load_models(ctx: Context, dictionary: Dictionary, model: str, candidates: Sequence[str], transfer: bool) -> Any:
    """The models that a dictionary reads, by role; refused where they are not those that it was trained on.

    Raises:
        UserError: a role without a model.
        Refusal: `dictionary_mismatch`, `tokenizers_differ`.
    """
    if candidates:
        pair = ctx.pair(model, candidates[0])
        models = {REFERENCE: pair.reference, "candidate": pair.candidate}
    else:
        models = {REFERENCE: ctx.model(model, "model")}
    for number, other in enumerate(candidates[1:], start=2):
        models[f"candidate{number}"] = ctx.model(other, f"candidate{number}")
    needed = {Source.parse(address).role for address in (*dictionary.sites, *dictionary.targets)}
    if missing := sorted(needed - models.keys()):
        got = f"no model for {', '.join(missing)}"
        raise UserError("the dictionary reads more models", got=got, fix="name each with --candidate, in order")
    _require_tokenizers(models)
    for role, stated in stated_models(dictionary).items():
        if role in needed and not transfer:
            require_same(stated, models[role].identity.tensors_sha256, f"the {role} model")
    return {role: loaded for role, loaded in models.items() if role in needed}


def require_same(stated: str | None, found: str | None, what: str, *, fixable: bool = True) -> None:
    """Refuse a dictionary that was trained on something else. An import that states no hash cannot be compared.

    Raises:
        Refusal: `dictionary_mismatch`.
    """
    if stated is not None and stated != found:
        raise Refusal(
            "dictionary_mismatch",
            f"the dictionary was trained on another model than {what}",
            expected=f"model {stated}",
            got=f"model {found or 'unknown'}",
            fix="give the model that it was trained on, or --transfer to measure it on another one",
            fixable=fixable,
        )


def stated_models(dictionary: Dictionary) -> dict[str, str | None]:
    """The hash of the model that a dictionary was trained on, by role; None where it states none."""
    meta = dictionary.metadata
    named = [(REFERENCE, meta.model), *((_role(i), m) for i, m in enumerate(meta.candidates))]
    return {role: None if identity is None else identity.tensors_sha256 for role, identity in named}


def from_texts(
    ctx: Context,
    dictionary: Dictionary,
    models: dict[str, LanguageModel],
    texts: Sequence[Text],
    max_rows: int,
    split: Split,
) -> tuple[Rows, Runs]:
    """Rows of texts that run through the models now, and the same texts for splicing."""
    from radiograph.harvest import harvest

    shards: dict[str, Harvested] = {}
    for role, model in models.items():
        sites = [Source.parse(a) for a in dict.fromkeys((*dictionary.sites, *dictionary.targets))]
        own = [str(source.site) for source in sites if source.role == role]
        shards[role] = harvest(model, texts, own, max_rows=max_rows, progress=ctx.progress)
    first = next(iter(shards.values()))
    index = None if split == "all" else first.of(split)
    read = [_of(shards, address, index) for address in dictionary.sites]
    written = None if dictionary.target is None else _of(shards, dictionary.target, index)
    owners = first.owners if index is None else first.owners[index]
    positions = first.positions if index is None else first.positions[index]
    groups = [window.group for window in first.windows]
    blocks, count = held(dictionary, read, written, owners=owners, positions=positions, groups=groups)
    runs = _runs(models, [w for w in first.windows if split in ("all", w.split)])
    return Rows(blocks, "texts", split, count), runs


def planned(
    models: dict[str, LanguageModel],
    texts: Sequence[Text],
    max_rows: int,
    split: Split,
    *,
    validation: float,
    salt: int,
) -> Runs:
    """Texts to splice in, on the side of the split that activations of the same texts have.

    Raises:
        UserError: no text is on that side.
    """
    from radiograph.harvest import windows

    first = next(iter(models.values()))
    length = min(WINDOW, *(model.context_length for model in models.values()))
    plan = windows(first.tokenizer, texts, length=length, validation=validation, salt=salt)
    chosen: list[Window] = []
    rows = 0
    for window in plan:
        if split in ("all", window.split):
            rows += sum(window.kept)
            if chosen and rows > max_rows:
                break
            chosen.append(window)
    if not chosen:
        raise UserError(f"no text of --data is on the {split} side of the split", fix="--split all, or more texts")
    return _runs(models, chosen)


def held(
    dictionary: Dictionary,
    read: Sequence[Tensor],
    written: Tensor | None,
    *,
    owners: Tensor,
    positions: Tensor,
    groups: Sequence[str],
) -> tuple[Blocks, int]:
    """Passes over rows in memory, and the number of their groups. `owners` is the place of each row in `groups`."""
    import numpy as np
    import torch

    from radiograph.dictionaries.measures import Block
    from radiograph.numerics.dictionaries.units import deal

    inputs = read[0] if len(read) == 1 else torch.cat([rows.float() for rows in read], 1)
    # A window that gave no row is no unit.
    present, place = np.unique(owners.numpy(), return_inverse=True)
    of_window, _, count = deal(np.array(groups)[present], dictionary.size)
    units, places = of_window[place], positions.numpy()
    targets = inputs if written is None else written

    def blocks() -> Iterator[Block]:
        for start in range(0, len(inputs), BATCH):
            part = slice(start, start + BATCH)
            rows = inputs[part]
            yield Block(rows, rows if targets is inputs else targets[part], units[part], places[part])

    return blocks, count


def sample(blocks: Blocks, most: int = 32_768) -> tuple[Tensor, Tensor]:
    """The first rows of a pass, read and written, to match a random dictionary on."""
    import torch

    parts: list[tuple[Tensor, Tensor]] = []
    for block in blocks():
        parts.append((block.inputs, block.targets))
        if sum(len(inputs) for inputs, _ in parts) >= most:
            break
    return torch.cat([inputs for inputs, _ in parts])[:most], torch.cat([targets for _, targets in parts])[:most]


def _runs(models: dict[str, LanguageModel], windows: Sequence[Window]) -> Runs:
    return Runs(models, [w.ids for w in windows], [w.kept for w in windows], [w.group for w in windows])


def _of(shards: dict[str, Harvested], address: str, index: Tensor | None) -> Tensor:
    source = Source.parse(address)
    rows = shards[source.role].rows(str(source.site))
    return rows if index is None else rows[index]


def _role(place: int) -> str:
    return "candidate" if place == 0 else f"candidate{place + 1}"


def _require_tokenizers(models: dict[str, LanguageModel]) -> None:
    from radiograph.models import same_tokenizer

    reference = models[REFERENCE]
    for role, model in models.items():
        difference = same_tokenizer(reference.tokenizer, model.tokenizer)
        if difference is not None:
            raise Refusal("tokenizers_differ", f"reference and {role} read text differently", got=str(difference))
