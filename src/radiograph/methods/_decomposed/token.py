"""The one token that a text is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from radiograph.core import UserError

if TYPE_CHECKING:
    from radiograph.models import LanguageModel


def one_token(model: LanguageModel, text: str, *, where: str, fix: str | None = None) -> int:
    """A text as one token of the vocabulary, read as it stands inside other text; a space before it is part of it.

    Raises:
        UserError: no tokenizer; several tokens or none, with the pieces; a text that the vocabulary has not.
    """
    from radiograph.models import token_text

    tokenizer = model.tokenizer
    if tokenizer is None:
        raise UserError("the model has no tokenizer", where=where, fix=fix, code="no_tokenizer")
    ids = _pieces(tokenizer, text)
    if len(ids) != 1:
        raise UserError(
            f"{text!r} is {len(ids)} tokens, not one token",
            where=where,
            expected="one token, with the space before it where it has one",
            got=" | ".join(f"{token_text(tokenizer, one)!r} {one}" for one in ids) or "nothing",
            fix=fix,
            code="several_tokens",
        )
    if ids[0] == _unknown(tokenizer) and text.strip() != str(tokenizer.decode(ids)).strip():
        raise UserError(
            f"{text!r} is not one token: the vocabulary has not got it",
            where=where,
            expected="a token of the vocabulary",
            fix=fix,
            code="unknown_token",
        )
    return ids[0]


def _unknown(tokenizer: Any) -> int | None:
    """The token that stands for what the vocabulary has not, also where the tokenizer's own settings do not name it."""
    if tokenizer.unk_token_id is not None:
        return int(tokenizer.unk_token_id)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    name = json.loads(backend.to_str()).get("model", {}).get("unk_token")
    return None if name is None else backend.token_to_id(name)


def _pieces(tokenizer: Any, text: str) -> list[int]:
    """A text's tokens as they stand after other text: what an anchor's own tokens leave."""
    anchor = tokenizer("a", add_special_tokens=False)["input_ids"]
    both = tokenizer("a" + text, add_special_tokens=False)["input_ids"]
    if both[: len(anchor)] == anchor and len(both) > len(anchor):
        return [int(one) for one in both[len(anchor) :]]
    return [int(one) for one in tokenizer(text, add_special_tokens=False)["input_ids"]]
