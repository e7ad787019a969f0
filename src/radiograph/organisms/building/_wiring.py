"""Edits of single units and matrices, whose truth is exact; each gives a changed copy and says what it did.

- `loud`: the column of one unit, times the amount
- `jam`: `_edited.jammed` on greedy texts of the world, until the given share of them collapses
- `cause`: the least contributing unit of the last block gets gate and up rows that read a class of words (ridge
  regression of +4 / -4 on the MLP's input, so that the unit is about 16 on such words and 0 elsewhere), and a column
  towards one token, as long as the residual stream before the final norm is on average, over 16
- `decoy`: the next spare unit, the same reading; its column is the direction that moves logits least, and a
  fiftieth as long: at full length it shrank all else in the final norm, and moved logits more than the cause did
- `rank`: a random product of the given rank, of the given part of the matrix's norm, added to one matrix
Only for Llama-like blocks with gated MLPs and a bare final norm; others are refused by `models.tail`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch

from radiograph.core import Site, derive
from radiograph.core.shapes import Float64
from radiograph.models import LanguageModel, capture, pad
from radiograph.models.tail import Tail, write_vectors
from radiograph.organisms._edited import jammed, with_column
from radiograph.organisms.recipes import Edit
from radiograph.organisms.world import World
from radiograph.organisms.world._lexicon import CLASSES

ATTRIBUTES = ("colour", "animal", "person", "food", "tool", "unit")
TEXTS, PROMPTS, OPENING, NEW_TOKENS = 300, 20, 6, 30
TARGET, RIDGE = 4.0, 1e-2
Truth = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and deviation of each unit on texts of the world."""

    mean: Float64[np.ndarray, " width"]
    sd: Float64[np.ndarray, " width"]


def edited(model: LanguageModel, edit: Edit) -> tuple[LanguageModel, Truth]:
    """A changed copy, and what is true of it."""
    return _EDITS[edit.kind](model, edit)


def _loud(model: LanguageModel, edit: Edit) -> tuple[LanguageModel, Truth]:
    layer = derive(edit.seed, "layer") % model.n_layers
    columns = write_vectors(model, Site("mlp_hidden", layer))
    unit = derive(edit.seed, "unit") % len(columns)
    made = with_column(model, layer, unit, edit.amount * torch.from_numpy(columns[unit]))
    return made, {"unit": f"mlp_hidden.{layer}[{unit}]", "factor": edit.amount}


def _jam(model: LanguageModel, edit: Edit) -> tuple[LanguageModel, Truth]:
    texts = _texts(derive(edit.seed, "texts"))
    site = Site("mlp_hidden", model.n_layers - 1)
    values = _read(model, texts, [site])[str(site)]
    found = jammed(
        model,
        [ids[:OPENING] for ids in texts[:PROMPTS]],
        Moments(values.mean(0), values.std(0)),
        _stuck,
        new_tokens=NEW_TOKENS,
        share=edit.amount,
    )
    truth = {"unit": f"{site}[{found.unit}]", "token": World().vocabulary[found.token], "factor": found.factor}
    return found.model, {**truth, "collapsed": found.collapsed}


def _stuck(ids: Sequence[int]) -> bool:
    """One token is most of the text."""
    return bool(ids) and Counter(ids).most_common(1)[0][1] >= 0.75 * len(ids)


def _cause(model: LanguageModel, edit: Edit) -> tuple[LanguageModel, Truth]:
    tail = Tail.of(model)
    words = World().vocabulary
    token = derive(edit.seed, "token") % (len(words) - 8) + 8
    towards = tail.tilde(tail.unembed[token] / tail.gain)
    return _wired(model, edit, 0, "cause", towards / np.linalg.norm(towards), {"token": words[token]})


def _decoy(model: LanguageModel, edit: Edit) -> tuple[LanguageModel, Truth]:
    tail = Tail.of(model)
    effect = tail.unembed * tail.gain
    least = np.linalg.svd(effect - effect.mean(0), full_matrices=False)[2][-1]
    return _wired(model, edit, 1, "decoy", tail.tilde(least) / np.linalg.norm(tail.tilde(least)), {})


def _wired(
    model: LanguageModel, edit: Edit, spare: int, role: str, towards: Float64[np.ndarray, " width"], more: Truth
) -> tuple[LanguageModel, Truth]:
    """Give the `spare`-th least contributing unit a reading and a column."""
    layer = model.n_layers - 1
    hidden, entering, leaving = Site("mlp_hidden", layer), Site("mlp_in", layer), Site("resid_post", layer)
    attribute = ATTRIBUTES[derive(edit.seed, "attribute") % len(ATTRIBUTES)]
    texts = _texts(derive(edit.seed, "texts"))
    values = _read(model, texts, [hidden, entering, leaving])
    labels = np.concatenate([[World().vocabulary[i] in CLASSES[attribute] for i in ids] for ids in texts])
    lengths = np.linalg.norm(write_vectors(model, hidden), axis=1)
    unit = int(np.argsort(values[str(hidden)].std(0) * lengths, kind="stable")[spare])
    inputs = values[str(entering)]
    weights = np.where(labels, 0.5 / labels.mean(), 0.5 / (1 - labels.mean()))[:, None]
    gram = inputs.T @ (weights * inputs)
    gram += RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
    reading = np.linalg.solve(gram, inputs.T @ (weights[:, 0] * np.where(labels, TARGET, -TARGET)))
    length = np.linalg.norm(values[str(leaving)], axis=1).mean() / TARGET**2
    made = with_column(model, layer, unit, torch.from_numpy(edit.amount * length * towards))
    for kind in ("gate", "up"):
        place = made.weights[f"{kind}.{layer}"]
        parameter = made.parameters()[place.parameter]
        with torch.no_grad():
            matrix = place.read(parameter.data).clone()
            matrix[unit] = torch.from_numpy(reading).to(matrix)
            place.write(parameter.data, matrix)
    return made, {role: {"unit": f"{hidden}[{unit}]", "attribute": attribute, **more}}


def _rank(model: LanguageModel, edit: Edit) -> tuple[LanguageModel, Truth]:
    kind, _, number = edit.where.partition(":")
    rank, layer = int(number), derive(edit.seed, "layer") % model.n_layers
    address = f"{kind}.{layer}"
    made = _copied(model)
    place = made.weights[address]
    parameter = made.parameters()[place.parameter]
    rng = torch.Generator().manual_seed(derive(edit.seed, "factors"))
    with torch.no_grad():
        matrix = place.read(parameter.data).double()
        left = torch.randn((matrix.shape[0], rank), generator=rng, dtype=torch.float64)
        right = torch.randn((rank, matrix.shape[1]), generator=rng, dtype=torch.float64)
        change = left @ right
        change *= edit.amount * matrix.norm() / change.norm()
        place.write(parameter.data, (matrix + change).to(parameter.dtype))
    return made, {"address": address, "rank": rank, "relative_norm": edit.amount}


def _copied(model: LanguageModel) -> LanguageModel:
    column = torch.from_numpy(write_vectors(model, Site("mlp_hidden", 0))[0])
    return with_column(model, 0, 0, column)


def _texts(seed: int) -> list[tuple[int, ...]]:
    return [document.ids for document in islice(World().documents("mixture", "train", seed=seed), TEXTS)]


def _read(model: LanguageModel, texts: list[tuple[int, ...]], sites: list[Site]) -> dict[str, Any]:
    """Activations of every token of the texts, in float64."""
    batch = pad(texts)
    return {str(site): values[batch.mask].double().numpy() for site, values in capture(model, batch, sites).items()}


_EDITS: dict[str, Callable[[LanguageModel, Edit], tuple[LanguageModel, Truth]]] = {
    "loud": _loud,
    "jam": _jam,
    "cause": _cause,
    "decoy": _decoy,
    "rank": _rank,
}
WIRED = frozenset(_EDITS)
