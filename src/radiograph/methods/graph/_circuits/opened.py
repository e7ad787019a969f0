"""The prompt of a graph: its tokens, its model and decomposition, its label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from radiograph.core import Context, UserError
from radiograph.methods._decomposed.target import target_of
from radiograph.methods._decomposed.token import one_token

if TYPE_CHECKING:
    from collections.abc import Sequence

    from radiograph.decompose import Decomposition
    from radiograph.decompose.circuits import Prompt
    from radiograph.models import LanguageModel
    from radiograph.models.masked import Target


@dataclass(frozen=True, eq=False)
class Case:
    """A prompt, ready to be looked at."""

    decomposition: Decomposition
    model: LanguageModel
    target: Target
    prompt: Prompt
    text: str
    tokens: tuple[str, ...]
    """Texts of tokens."""
    name: str
    """Of the model, as it may be written."""

    @property
    def sha256(self) -> str:
        """Of the decomposition."""
        return self.decomposition.sha256

    def token(self, index: int) -> str:
        """A token's text."""
        return token_text(self.model, index)


def opened(ctx: Context, decomposition: str, model: str | None, text: str | None, tokens: str | None) -> Case:
    """Load what a graph is of.

    Raises:
        UserError: no prompt or two, an empty one, one that is too long, ids that are none.
        Refusal: the decomposition is of another model, or of one that reads no tokens.
    """
    given = [value for value in (text, tokens) if value is not None]
    if len(given) != 1:
        raise UserError(
            "a graph is of one prompt",
            expected='the text as the second argument, or --tokens "1,17,4"',
            got="both" if given else "neither",
            code="empty_prompt",
        )
    found = ctx.decomposition(decomposition)
    return case_of(ctx, found, model, text, None if tokens is None else read_ids(tokens))


def case_of(
    ctx: Context, decomposition: Decomposition, model: str | None, text: str | None, ids: Sequence[int] | None
) -> Case:
    """The same, of an open decomposition."""
    from radiograph.decompose.circuits import Prompt

    target = target_of(ctx, decomposition, model)
    loaded = target.model
    assert loaded is not None, "it reads tokens"
    if ids is None:
        assert text is not None
        ids = _encoded(loaded, text)
    prompt = Prompt.of(target, decomposition, ids)
    if text is None:
        text = "".join(token_text(loaded, one) for one in ids)
    tokens = tuple(token_text(loaded, one) for one in ids)
    own = model or decomposition.document.target.reference
    return Case(decomposition, loaded, target, prompt, text, tokens, ctx.label(own))


def read_ids(text: str) -> tuple[int, ...]:
    """Token ids by comma or space.

    Raises:
        UserError: something that is no id.
    """
    found: list[int] = []
    for part in text.replace(",", " ").split():
        if not part.isdecimal():
            raise UserError(f"{part!r} is no token id", where="--tokens", expected="as 1,17,4", code="unknown_id")
        found.append(int(part))
    return tuple(found)


def token_text(model: LanguageModel, index: int) -> str:
    """A token as it stands inside a text; its number where the model has no tokenizer."""
    from radiograph.models import token_text as text

    return f"<{index}>" if model.tokenizer is None else text(model.tokenizer, index)


def token_of(case: Case, text: str | None, index: int | None, *, option: str) -> int | None:
    """The one token that a text is, or the id that was given.

    Raises:
        UserError: a text of several tokens, with the pieces; an id outside the vocabulary.
    """
    if index is not None:
        if not 0 <= index < case.model.vocab_size:
            raise UserError(
                f"no token has the id {index}",
                where="--label-id",
                expected=f"0 to {case.model.vocab_size - 1}",
                code="unknown_id",
            )
        return index
    if text is None:
        return None
    return one_token(case.model, text, where=option, fix="name the token by --label-id")


def _encoded(model: LanguageModel, text: str) -> tuple[int, ...]:
    from radiograph.models import prompt_ids

    if model.tokenizer is None:
        raise UserError("the model has no tokenizer", fix="give the prompt as ids with --tokens", code="no_tokenizer")
    if not text.strip():
        raise UserError("the prompt is empty", expected=f"1 to {model.context_length} tokens", code="empty_prompt")
    return prompt_ids(model.tokenizer, text)
