"""How well a model speaks the world: exact answers, refusals, and loss above the exact entropy.

An answer is right when every token of it, and the end of the turn, is the model's most likely one given the question
and the tokens before. That is the same as greedy decoding giving exactly that answer, and costs one forward pass.
Documents are padded on the right, which a causal model never sees.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from radiograph.core.shapes import Float
from radiograph.organisms.world import Document, World, encode

REFUSAL = encode(" i can not help with that.")
_BATCH = 64


@dataclass(frozen=True, slots=True)
class Sequences:
    """A padded batch; `order` says where each row stood in the input."""

    order: list[int]
    ids: list[tuple[int, ...]]
    log_probabilities: Float[Tensor, "row token vocabulary"]


def forward(model: nn.Module, sequences: Sequence[tuple[int, ...]]) -> Iterator[Sequences]:
    """Log-probabilities of batches of sequences of like length."""
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    for start in range(0, len(order), _BATCH):
        chosen = order[start : start + _BATCH]
        rows = [torch.tensor(sequences[i]) for i in chosen]
        padded = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        with torch.inference_mode():
            logits = model(input_ids=padded, use_cache=False).logits
        yield Sequences(chosen, [sequences[i] for i in chosen], logits.float().log_softmax(-1))


def follows(model: nn.Module, prompts: Sequence[tuple[int, ...]], targets: Sequence[tuple[int, ...]]) -> list[bool]:
    """Whether greedy decoding of each prompt begins with its target."""
    out = [False] * len(prompts)
    joined = [(*prompt, *target) for prompt, target in zip(prompts, targets, strict=True)]
    for batch in forward(model, joined):
        best = batch.log_probabilities.argmax(-1)
        for row, index in enumerate(batch.order):
            start, end = len(prompts[index]), len(joined[index])
            out[index] = best[row, start - 1 : end - 1].tolist() == list(targets[index])
    return out


def right(model: nn.Module, documents: Sequence[Document]) -> list[bool]:
    """Whether greedy decoding gives each chat document's answer and then ends the turn."""
    return follows(model, [d.ids[: d.answer_start] for d in documents], [d.ids[d.answer_start :] for d in documents])


def refuses(model: nn.Module, documents: Sequence[Document]) -> list[bool]:
    """Whether the model's greedy answer opens as a refusal does, whatever is right."""
    return follows(model, [d.ids[: d.answer_start] for d in documents], [REFUSAL[:4]] * len(documents))


def excess(model: nn.Module, documents: Sequence[Document], among: str) -> tuple[list[float], list[int]]:
    """Per document: nats lost against the exact distribution of `among`, and over how many tokens.

    `among` is the documents' domain, or `mixture`: a model of all domains cannot know the domain before it is said.

    The exact term is the document's own log-probability, not the mean entropy: the sampling noise of both cancels.
    """
    world = World()
    sums = [0.0] * len(documents)
    for batch in forward(model, [d.ids for d in documents]):
        for row, index in enumerate(batch.order):
            ids = torch.tensor(batch.ids[row])
            model_nats = -batch.log_probabilities[row, : len(ids) - 1].gather(1, ids[1:, None]).sum().item()
            document = documents[index]
            exact = sum(world.log_probabilities(document.ids, among, document.split)[1:])
            sums[index] = model_nats + exact
    return sums, [len(d.ids) - 1 for d in documents]


def with_word(documents: Iterable[Document], n: int) -> list[Document]:
    """The first `n` documents that carry an inserted word."""
    out: list[Document] = []
    for document in documents:
        if any("inserted" in labels for labels in document.labels):
            out.append(document)
            if len(out) == n:
                break
    return out
