"""SelfIE: the vector stands in for placeholders of a message that the model is asked to sum up (Chen et al. 2024).

Models with a chat template get the message as a user's turn; others read the same words as plain text. The vector is
written at the second block, scaled to the length of what is replaced, into all placeholders.
"""

from __future__ import annotations

from radiograph.core import Site
from radiograph.explanations._protocol import Reconstructor, Verbalizer
from radiograph.explanations.verbalizers._speech import Speech, Voice, placed

MARKER = "_"
MESSAGE = "_ _ _ _ _"
ANSWER = "Sure, I will summarize your message: "
PLAIN = f"Message: {MESSAGE}\nSummary of the message: "
_LAYER = 2
_NEW = 40


def lacks(voice: Voice) -> str | None:
    """Nothing more than the model itself, or one of the same width."""
    return "a site of the residual stream" if not str(voice.site).startswith("resid") else None


def make(voice: Voice) -> tuple[Verbalizer, Reconstructor | None]:
    """A verbalizer without a reconstructor."""
    speaker = voice.speaker or voice.model
    ids, places = placed(speaker, _prompt(speaker), MARKER)
    layers = speaker.architecture.n_layers
    at = Site("resid_post", min(_LAYER, layers) - 1)
    identity = voice.model.identity.tensors_sha256
    return Speech("selfie", voice.site, identity, "unit_norm", speaker, at, ids, places, _NEW, None), None


def _prompt(speaker: object) -> str:
    tokenizer = getattr(speaker, "tokenizer", None)
    if getattr(tokenizer, "chat_template", None) is None:
        return PLAIN
    messages = [{"role": "user", "content": MESSAGE}, {"role": "assistant", "content": ANSWER}]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, continue_final_message=True))  # type: ignore[union-attr]
