"""Patchscopes: the vector stands in for the last token of a prompt that repeats words, and the model repeats it.

The prompt is the identity of Ghandeharioun et al. 2024 ("cat->cat; …; ?->"); vector and prompt meet at the same site,
scaled to the length of what is replaced. What comes first is what the model takes the vector for.
"""

from __future__ import annotations

from radiograph.explanations._protocol import Reconstructor, Verbalizer
from radiograph.explanations.verbalizers._speech import Speech, Voice, placed

PROMPT = "cat->cat; 135->135; hello->hello; black->black; shoe->shoe; ?"
MARKER = "?"
_NEW = 8


def lacks(voice: Voice) -> str | None:
    """Nothing more than the model itself, or one of the same width."""
    return "a site of the residual stream" if not str(voice.site).startswith("resid") else None


def make(voice: Voice) -> tuple[Verbalizer, Reconstructor | None]:
    """A verbalizer without a reconstructor."""
    speaker = voice.speaker or voice.model
    ids, places = placed(speaker, PROMPT, MARKER)
    identity = voice.model.identity.tensors_sha256
    return Speech(
        "patchscopes", voice.site, identity, "unit_norm", speaker, voice.site, ids, places[-1:], _NEW, None
    ), None
