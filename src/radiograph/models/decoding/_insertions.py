"""Next-token scores after many insertions into one prompt, and which tokens would raise a score most.

1. a prompt is head + insertion + tail; insertions of one call have one length, so no row is padded   2. a head that is
a quarter of the prompt or more runs once, and its keys and values serve every row   3. only the last position's logits
are made
For proposals: the gradient of a scalar of both models' scores with respect to what stands at `embed` on the inserted
positions, times the embedding rows; a first-order estimate of the change when one token takes the place of another.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import DynamicCache

from radiograph.core import Site
from radiograph.core.shapes import Float, Int
from radiograph.models._batching import Batch, pad
from radiograph.models._forward import check_finite, check_tokens
from radiograph.models._hooks import hooked, running
from radiograph.models._model import LanguageModel, Pair

BATCH_TOKENS = 1536
"""Tokens of one forward: rows this short are fastest while the activations stay in the cache of one core."""
_SHARED = 0.25

Score = Callable[
    [Float[Tensor, "row reference_vocabulary"], Float[Tensor, "row candidate_vocabulary"]], Float[Tensor, ""]
]


def inserted_scores(
    model: LanguageModel,
    head: Sequence[int],
    insertions: Int[Tensor, "row length"],
    tail: Sequence[int],
    *,
    batch_tokens: int = BATCH_TOKENS,
) -> Iterator[Float[Tensor, "part vocabulary"]]:
    """Log-probabilities of the token after head + insertion + tail, in nats, in consecutive parts of the rows.

    Raises:
        UserError: a token outside the vocabulary, a prompt longer than the context, a value that is not finite.
    """
    rows, length = insertions.shape
    check_tokens(model, [(*head, *insertions[0].tolist(), *tail), [int(insertions.min()), int(insertions.max())]])
    shared = len(head) >= _SHARED * (len(head) + length + len(tail))
    own = length + len(tail) + (0 if shared else len(head))
    before = torch.tensor([] if shared else list(head), dtype=torch.long)
    after = torch.tensor(list(tail), dtype=torch.long)
    part = max(1, batch_tokens // own)
    options = {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(model.model.forward).parameters else {}
    with torch.inference_mode(), model.session() as network:
        cache = _headed(model, head) if shared else None
        for start in range(0, rows, part):
            chosen = insertions[start : start + part]
            n = len(chosen)
            ids = torch.cat([before.expand(n, -1), chosen, after.expand(n, -1)], 1).to(model.device)
            numbers = tuple(range(start, start + n))
            real = torch.ones(n, 1, dtype=torch.bool)
            past = {"use_cache": False} if cache is None else {"past_key_values": _spread(cache, n), "use_cache": True}
            with running(Batch(numbers, ids, torch.ones_like(ids, dtype=torch.bool))):
                logits = network(input_ids=ids, **past, **options).logits[:, -1:]
            check_finite(logits, Batch(numbers, real.long(), real), "logits")
            yield logits[:, 0].float().log_softmax(-1)


def tokens_read(head: int, length: int, tail: int, rows: int) -> int:
    """Tokens that `inserted_scores` reads."""
    shared = head >= _SHARED * (head + length + tail)
    return rows * (length + tail) + head * (1 if shared else rows)


def proposals(
    pair: Pair, prompts: Sequence[tuple[Sequence[int], Sequence[int]]], insertion: Sequence[int], score: Score
) -> Float[Tensor, "length vocabulary"]:
    """First-order change of `score` if the token at a place of the insertion were another one, for every token.

    `score` sees the last position's log-probabilities of both models, one row a prompt (head, tail).
    """
    rows = [(*head, *insertion, *tail) for head, tail in prompts]
    batch = pad(rows).to(pair.reference.device)
    at = torch.tensor([len(row) - 1 for row in rows])
    spans = torch.tensor([len(head) for head, _ in prompts])[:, None] + torch.arange(len(insertion))
    line = torch.arange(len(rows))
    leaves: list[Tensor] = []
    scores: list[Tensor] = []
    for model in (pair.reference, pair.candidate):
        leaf = torch.zeros(len(insertion), model.width, requires_grad=True, device=model.device, dtype=model.dtype)

        def push(values: Tensor, leaf: Tensor = leaf) -> Tensor:
            whole = torch.zeros_like(values)
            return values + whole.index_put((line[:, None], spans), leaf.expand(len(rows), -1, -1))

        with (
            torch.enable_grad(),
            sdpa_kernel(SDPBackend.MATH),
            model.session() as network,
            running(batch),
            hooked(model, (), {Site("embed"): push}),
        ):
            logits = network(**batch.inputs(), use_cache=False).logits[line, at]
        leaves.append(leaf)
        scores.append(logits.float().log_softmax(-1))
    with torch.enable_grad():
        slopes = torch.autograd.grad(score(scores[0], scores[1]), leaves)
    with torch.no_grad():
        out = torch.zeros(len(insertion), pair.reference.vocab_size)
        for model, slope in zip((pair.reference, pair.candidate), slopes, strict=True):
            table = embedding(model)
            own = table[torch.tensor(list(insertion), device=table.device)]
            gain = slope @ table.T - (slope * own).sum(-1, keepdim=True)
            shared = min(out.shape[1], gain.shape[1])
            out[:, :shared] += gain[:, :shared].float().cpu()
    return out


def embedding(model: LanguageModel) -> Float[Tensor, "row width"]:
    """What stands at `embed` for every token, alone at the first position."""
    ids = torch.arange(model.vocab_size, device=model.device)
    with torch.no_grad(), model.session() as network:
        return network.get_input_embeddings()(ids).detach().clone()


def _headed(model: LanguageModel, head: Sequence[int]) -> DynamicCache:
    cache = DynamicCache(config=model.model.config)
    batch = pad([list(head)], device=model.device)
    backbone = model.model.get_submodule(model.architecture.family.backbone)
    with running(batch):
        backbone(**batch.inputs(), past_key_values=cache, use_cache=True)
    return cache


def _spread(cache: DynamicCache, rows: int) -> DynamicCache:
    """The same keys and values for each of `rows` rows; the cache itself stays as it is."""
    out = copy.deepcopy(cache)
    out.batch_repeat_interleave(rows)
    return out
