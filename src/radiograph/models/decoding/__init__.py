"""Text from a model: prompts, luck, choice, pools, and the one loop that decodes."""

from radiograph.models.decoding._choice import Chooser
from radiograph.models.decoding._insertions import BATCH_TOKENS, embedding, inserted_scores, proposals, tokens_read
from radiograph.models.decoding._loop import Decoded, Decoder, Line, Measures, Reads, Step, decode
from radiograph.models.decoding._luck import gumbel, luck_key, philox
from radiograph.models.decoding._pools import Pooled, Running
from radiograph.models.decoding._prompts import prompt_ids

__all__ = [
    "BATCH_TOKENS",
    "Chooser",
    "Decoded",
    "Decoder",
    "Line",
    "Measures",
    "Pooled",
    "Reads",
    "Running",
    "Step",
    "decode",
    "embedding",
    "gumbel",
    "inserted_scores",
    "luck_key",
    "philox",
    "prompt_ids",
    "proposals",
    "tokens_read",
]
