"""Floor 2: the only door to a network. References, site maps and weight addresses need no torch.

Loading (`load`, `load_pair`), activations (`capture`, `stream`, `reading`, `edit`), scores (`logits`, `log_probs`,
`cross_entropy`), text (`render_chat`, `tokenize`, `generate`, `decode`), identity and comparability.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from radiograph.core import deferred
from radiograph.models._refs import ModelRef, locate
from radiograph.models._tokenizers import Difference, same_tokenizer, token_text, tokenizer_sha256
from radiograph.models.architectures import FAMILIES, Architecture, WeightAddress, weight_addresses

if TYPE_CHECKING:
    from radiograph.models._batching import Batch, Tokens, batches, pad, plan
    from radiograph.models._chat import Conversation, Prompt, render_chat, render_conversation, tokenize
    from radiograph.models._forward import cross_entropy, forward, log_probs, logits, stream
    from radiograph.models._generation import Generated, Sampling, generate, stop_ids
    from radiograph.models._hooks import Activations, Edit, capture, current_batch, edit, hooked, reading
    from radiograph.models._identity import Identity, files_sha256, tensors_sha256
    from radiograph.models._loading import load, load_family, load_pair
    from radiograph.models._model import LanguageModel, Pair, same_shapes, wrap
    from radiograph.models.decoding import (
        Decoded,
        Decoder,
        Line,
        Measures,
        Pooled,
        Reads,
        Step,
        decode,
        embedding,
        inserted_scores,
        prompt_ids,
        proposals,
        tokens_read,
    )
    from radiograph.models.delta import (
        Change,
        DenseDelta,
        LowRank,
        StoredModel,
        StoredPair,
        StoredTensor,
        Vocabulary,
        changes,
        stored,
        vocabularies,
    )


__all__ = [
    "FAMILIES",
    "Activations",
    "Architecture",
    "Batch",
    "Change",
    "Conversation",
    "Decoded",
    "Decoder",
    "DenseDelta",
    "Difference",
    "Edit",
    "Generated",
    "Identity",
    "LanguageModel",
    "Line",
    "LowRank",
    "Measures",
    "ModelRef",
    "Pair",
    "Pooled",
    "Prompt",
    "Reads",
    "Sampling",
    "Step",
    "StoredModel",
    "StoredPair",
    "StoredTensor",
    "Tokens",
    "Vocabulary",
    "WeightAddress",
    "batches",
    "capture",
    "changes",
    "cross_entropy",
    "current_batch",
    "decode",
    "edit",
    "embedding",
    "files_sha256",
    "forward",
    "generate",
    "hooked",
    "inserted_scores",
    "load",
    "load_family",
    "load_pair",
    "locate",
    "log_probs",
    "logits",
    "pad",
    "plan",
    "prompt_ids",
    "proposals",
    "reading",
    "render_chat",
    "render_conversation",
    "same_shapes",
    "same_tokenizer",
    "stop_ids",
    "stored",
    "stream",
    "tensors_sha256",
    "token_text",
    "tokenize",
    "tokenizer_sha256",
    "tokens_read",
    "vocabularies",
    "weight_addresses",
    "wrap",
]

__getattr__ = deferred(__name__, __file__)
