"""A prompt's token ids, by the one rule for the token at the beginning.

`auto`: what the tokenizer adds by itself. `always`: a BOS where it adds none. `never`: none, where it adds one.
A chat prompt is one user turn in the model's own template, which decides by itself.
"""

from __future__ import annotations

from typing import Any

from radiograph.core import UserError
from radiograph.evidence import Bos
from radiograph.models._chat import render_chat, tokenize


def prompt_ids(tokenizer: Any, text: str, *, bos: Bos = "auto", chat: bool = False) -> tuple[int, ...]:
    """Token ids of a prompt.

    Raises:
        UserError: a BOS is asked for and the tokenizer has none; a chat without a template.
    """
    if chat:
        return render_chat(tokenizer, [{"role": "user", "content": text}]).ids
    ids, first = tokenize(tokenizer, text).ids, tokenizer.bos_token_id
    if bos == "auto" or (bos == "never" and (first is None or ids[:1] != (first,))):
        return ids
    if first is None:
        raise UserError("the tokenizer has no BOS token", where="--bos", got="always", fix="leave --bos at auto")
    if bos == "never":
        return ids[1:]
    return ids if ids[:1] == (first,) else (first, *ids)
