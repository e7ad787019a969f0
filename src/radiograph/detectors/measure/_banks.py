"""The texts of a comparison as token ids: the suite through the chat template, the neutral bank as plain text.

Both models see identical ids. A prompt longer than the context is cut from the left of its user turn and counted; when
more than a tenth of the prompts are cut, the suite does not fit the model and the run stops.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from radiograph.core import UserError
from radiograph.evidence import Prompt, Suite, document_sha256
from radiograph.models import LanguageModel, render_chat, tokenize
from radiograph.models import Prompt as Rendered

MAX_CUT_SHARE: Final = 0.10
ANSWER_ROOM: Final = 8
"""Context positions kept free for an answer, at least."""


@dataclass(frozen=True)
class Banks:
    """Prompts and neutral texts, rendered once."""

    suite: Suite
    rendered: tuple[Rendered, ...]
    neutral_texts: tuple[str, ...]
    neutral: tuple[Rendered, ...]
    chat: str

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """The suite's prompts, in order."""
        return self.suite.prompts

    @property
    def tokens(self) -> list[tuple[int, ...]]:
        """Token ids of the suite."""
        return [r.ids for r in self.rendered]

    @property
    def neutral_tokens(self) -> list[tuple[int, ...]]:
        """Token ids of the neutral bank."""
        return [r.ids for r in self.neutral]

    @property
    def n_cut(self) -> int:
        """Prompts that were cut."""
        return sum(r.n_cut > 0 for r in self.rendered)

    @property
    def neutral_sha256(self) -> str:
        """Hash of the neutral texts."""
        return document_sha256(list(self.neutral_texts))


def render(
    model: LanguageModel,
    suite: Suite,
    neutral: Sequence[str],
    *,
    chat: Literal["template", "plain"] = "template",
    system: Literal["separate", "merge"] = "separate",
) -> Banks:
    """Render the suite and the neutral bank with the reference's tokenizer.

    Raises:
        UserError: no tokenizer, no usable template, or too many prompts cut.
    """
    tokenizer = model.tokenizer
    if tokenizer is None:
        raise UserError(f"{model.ref} has no tokenizer", fix="put tokenizer.json into the model folder")
    room = model.context_length - min(max(suite.generation.max_new_tokens, ANSWER_ROOM), model.context_length // 4)
    rendered = tuple(
        render_chat(
            tokenizer,
            [m.model_dump() for m in prompt.messages],
            chat=chat,
            system=system,
            prefill=prompt.prefill,
            max_tokens=room,
        )
        for prompt in suite.prompts
    )
    cut = sum(r.n_cut > 0 for r in rendered)
    if cut > MAX_CUT_SHARE * len(rendered):
        raise UserError(
            f"{cut} of {len(rendered)} prompts are longer than the model's context",
            expected=f"at most {room} tokens and {MAX_CUT_SHARE:.0%} of prompts cut",
            fix="shorten the prompts, or use a suite for this context length",
            code="too_long",
        )
    texts = tuple(dict.fromkeys(neutral))
    plain = tuple(_shortened(tokenize(tokenizer, text), model.context_length) for text in texts)
    merged = "merge" if system == "merge" else chat
    return Banks(suite, rendered, texts, plain, merged)


def ids_sha256(ids: Sequence[int]) -> str:
    """Hash of token ids, as stored with each item."""
    return hashlib.sha256(b"".join(i.to_bytes(4, "little") for i in ids)).hexdigest()


def _shortened(prompt: Rendered, limit: int) -> Rendered:
    if len(prompt.ids) <= limit:
        return prompt
    return Rendered(prompt.ids[:limit], prompt.kinds[:limit], len(prompt.ids) - limit)
