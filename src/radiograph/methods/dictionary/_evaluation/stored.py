"""Rows of harvested activations, in stored order, shard by shard: nothing is held but one batch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from radiograph.core import Refusal, Source
from radiograph.methods.dictionary._evaluation.rows import BATCH, Rows, Split, require_same, stated_models

if TYPE_CHECKING:
    import numpy as np

    from radiograph.dictionaries import Dictionary
    from radiograph.dictionaries.measures import Block
    from radiograph.store.shards import Activations, Index

SHARD_BITS = 32


def from_activations(path: Path, dictionary: Dictionary, split: Split, *, transfer: bool) -> tuple[Rows, Index]:
    """Rows of a folder of activations or of a harvest's bundle, and what it says about itself.

    Raises:
        Refusal: `dictionary_mismatch` (exit 4): another model, no such source, another width.
    """
    import numpy as np

    from radiograph.numerics.dictionaries.units import deal
    from radiograph.store.shards import open_activations

    activations = open_activations(path)
    _require_sources(dictionary, activations)
    if not transfer:
        found = {model.role: model.sha256 for model in activations.index.models}
        for role, stated in stated_models(dictionary).items():
            if role in found:
                require_same(stated, found[role], f"the {role} of these activations", fixable=False)
    prompts = activations.prompts
    inside = np.ones(len(prompts), dtype=bool) if split == "all" else (prompts["split"] == split).to_numpy()
    unit = np.full(len(prompts), -1, dtype=np.int64)
    unit[inside], _, groups = deal(prompts["group"].to_numpy()[inside], dictionary.size)

    def blocks() -> Iterator[Block]:
        for shard in range(activations.index.shards):
            for ids in _ids(activations, shard, split):
                yield _block(activations, dictionary, ids, unit)

    return Rows(blocks, "activations", split, groups), activations.index


def _ids(activations: Activations, shard: int, split: Split) -> Iterator[np.ndarray]:
    import numpy as np

    sides = ("train", "validation") if split == "all" else (split,)
    rows = np.sort(np.concatenate([activations.shard_rows(shard, side) for side in sides]))
    for start in range(0, len(rows), BATCH):
        yield rows[start : start + BATCH] + (shard << SHARD_BITS)


def _block(activations: Activations, dictionary: Dictionary, ids: np.ndarray, unit: np.ndarray) -> Block:
    import torch

    from radiograph.dictionaries.measures import Block

    read = [str(Source.parse(address)) for address in dictionary.sites]
    written = [] if dictionary.target is None else [str(Source.parse(dictionary.target))]
    *rows, owners, positions = activations.gather([*read, *written, "prompt", "position"], ids)
    inputs = rows[0] if len(read) == 1 else torch.cat([part.float() for part in rows[: len(read)]], 1)
    targets = rows[-1] if written else inputs
    return Block(inputs, targets, unit[owners.numpy()], positions.numpy())


def _require_sources(dictionary: Dictionary, activations: Activations) -> None:
    read = zip((*dictionary.sites, *dictionary.targets), (*dictionary.widths, *dictionary.target_widths), strict=True)
    for address, width in read:
        found = activations.widths.get(str(Source.parse(address)))
        if found != width:
            raise Refusal(
                "dictionary_mismatch",
                "the activations do not fit the dictionary",
                expected=f"{address}, width {width}",
                got=", ".join(f"{s}, width {w}" for s, w in activations.widths.items()),
                fix="harvest the sources that the dictionary reads",
            )
