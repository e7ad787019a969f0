"""Messages to token ids, exactly as the tokenizer's own chat template makes them.

1. render the template to text   2. tokenise it without adding special tokens, which is what `apply_chat_template` does
3. locate each message's content in the text, so that every token is `content`, `template` or `special`
4. cut a prompt that is too long from the left of the last user turn, counting what was cut
Without a template only `chat="plain"` renders (`role: content` lines); where a template rejects system messages only
`system="merge"` does (the system text opens the first user turn). Neither is chosen silently.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from jinja2.exceptions import TemplateError

from radiograph.core import UserError

Message = Mapping[str, str]
Kind = Literal["special", "template", "content"]
_MARKS = re.compile(r"\{%-?\s*generation\b")


@dataclass(frozen=True, slots=True)
class Prompt:
    """Token ids of one prompt, what each token is, and how many were cut."""

    ids: tuple[int, ...]
    kinds: tuple[Kind, ...]
    n_cut: int = 0


def tokenize(tokenizer: Any, text: str, *, max_tokens: int | None = None) -> Prompt:
    """Plain text, with the special tokens that the tokenizer adds by itself; too long a text is cut from its left."""
    encoded = tokenizer(text, return_offsets_mapping=True)
    prompt = _prompt(tokenizer, encoded, [(0, len(text))])
    if max_tokens is None or len(prompt.ids) <= max_tokens:
        return prompt
    return _cut(prompt, encoded["offset_mapping"], (0, len(text)), max_tokens)


def render_chat(
    tokenizer: Any,
    messages: Sequence[Message],
    *,
    chat: Literal["template", "plain"] = "template",
    system: Literal["separate", "merge"] = "separate",
    prefill: bool = False,
    max_tokens: int | None = None,
) -> Prompt:
    """Render messages that end in a user turn (or, with `prefill`, in the start of the answer).

    Raises:
        UserError: no template (names `--chat plain`), a template that rejects the system role (names `--system merge`)
            or the messages, roles out of place, or a prompt whose user turn is too short to be cut to `max_tokens`.
    """
    _check(messages, prefill)
    if system == "merge":
        messages = _merged(messages)
    if chat == "plain":
        text = _plain(messages, prefill)
    else:
        text = _templated(tokenizer, messages, prefill)
    encoded = tokenizer(text, add_special_tokens=chat == "plain", return_offsets_mapping=True)
    spans = _spans(text, messages)
    prompt = _prompt(tokenizer, encoded, spans)
    if max_tokens is None or len(prompt.ids) <= max_tokens:
        return prompt
    last_user = max(i for i, message in enumerate(messages) if message["role"] == "user")
    return _cut(prompt, encoded["offset_mapping"], spans[last_user], max_tokens)


@dataclass(frozen=True, slots=True)
class Conversation:
    """Token ids of a whole conversation, and which of them the assistant says; None if the template marks no turn."""

    ids: tuple[int, ...]
    assistant: tuple[bool, ...] | None = None


def render_conversation(
    tokenizer: Any, messages: Sequence[Message], *, chat: Literal["template", "plain"] = "template"
) -> Conversation:
    """A conversation as it stands, last assistant turn closed; after a last user turn the answer's start is added.

    A template marks what the assistant says with `{% generation %}`.

    Raises:
        UserError: no template, or one that rejects the messages.
    """
    open_end = bool(messages) and messages[-1]["role"] != "assistant"
    if chat == "plain":
        text = _plain(messages, prefill=not open_end)
        return Conversation(tuple(tokenizer(text)["input_ids"]))
    _require_template(tokenizer)
    marks = _MARKS.search(str(tokenizer.chat_template)) is not None
    try:
        encoded = tokenizer.apply_chat_template(
            [dict(m) for m in messages],
            add_generation_prompt=open_end,
            return_dict=True,
            return_assistant_tokens_mask=marks,
        )
    except TemplateError as error:
        raise UserError("the chat template rejects these messages", got=str(error), code="template_rejects") from error
    said = tuple(bool(m) for m in encoded["assistant_masks"]) if marks else None
    return Conversation(tuple(encoded["input_ids"]), said)


def _check(messages: Sequence[Message], prefill: bool) -> None:
    last = messages[-1]["role"] if messages else None
    wanted = "assistant" if prefill else "user"
    if last != wanted or not any(message["role"] == "user" for message in messages):
        raise UserError(f"messages must end in a {wanted} turn and hold a user turn", got=f"last role {last!r}")


def _merged(messages: Sequence[Message]) -> list[Message]:
    texts = [message["content"] for message in messages if message["role"] == "system"]
    others = [dict(message) for message in messages if message["role"] != "system"]
    if texts:
        first = next(message for message in others if message["role"] == "user")
        first["content"] = "\n\n".join([*texts, first["content"]])
    return list(others)


def _plain(messages: Sequence[Message], prefill: bool) -> str:
    text = "\n".join(f"{message['role']}: {message['content']}" for message in messages)
    return text if prefill else f"{text}\nassistant:"


def _templated(tokenizer: Any, messages: Sequence[Message], prefill: bool) -> str:
    _require_template(tokenizer)
    try:
        return _apply(tokenizer, messages, prefill)
    except TemplateError as error:
        if any(message["role"] == "system" for message in messages) and _renders(tokenizer, _merged(messages), prefill):
            raise UserError(
                "this chat template rejects system messages",
                got=str(error),
                fix="pass --system merge to put the system text in front of the first user turn",
                code="system_role_rejected",
            ) from error
        raise UserError("the chat template rejects these messages", got=str(error), code="template_rejects") from error


def _require_template(tokenizer: Any) -> None:
    if not getattr(tokenizer, "chat_template", None):
        raise UserError(
            "this tokenizer has no chat template",
            fix="pass --chat plain to render messages as `role: content` lines",
            code="no_chat_template",
        )


def _renders(tokenizer: Any, messages: Sequence[Message], prefill: bool) -> bool:
    try:
        _apply(tokenizer, messages, prefill)
    except TemplateError:
        return False
    return True


def _apply(tokenizer: Any, messages: Sequence[Message], prefill: bool) -> str:
    return str(
        tokenizer.apply_chat_template(
            [dict(m) for m in messages],
            tokenize=False,
            add_generation_prompt=not prefill,
            continue_final_message=prefill,
        )
    )


def _spans(text: str, messages: Sequence[Message]) -> list[tuple[int, int]]:
    """Where each message's content stands in the rendered text; templates may strip it, or drop a message."""
    spans, end = [], 0
    for message in messages:
        content = message["content"]
        start = text.find(content, end)
        if start < 0:
            content = content.strip()
            start = text.find(content, end)
        if start < 0 or not content:
            spans.append((end, end))
            continue
        end = start + len(content)
        spans.append((start, end))
    return spans


def _prompt(tokenizer: Any, encoded: Any, spans: Sequence[tuple[int, int]]) -> Prompt:
    special = set(tokenizer.all_special_ids)
    kinds: list[Kind] = []
    for token, (start, stop) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True):
        inside = any(start < b and stop > a for a, b in spans)
        kinds.append("special" if token in special else "content" if inside else "template")
    return Prompt(tuple(encoded["input_ids"]), tuple(kinds))


def _cut(prompt: Prompt, offsets: Sequence[tuple[int, int]], span: tuple[int, int], max_tokens: int) -> Prompt:
    over = len(prompt.ids) - max_tokens
    turn = [i for i, (start, stop) in enumerate(offsets) if start < span[1] and stop > span[0]]
    if over >= len(turn):
        raise UserError(
            "the prompt cannot be cut to fit: everything but its user turn is already too long",
            expected=f"at most {max_tokens} tokens",
            got=f"{len(prompt.ids)} tokens, {len(turn)} of them in the user turn",
            code="too_long",
        )
    gone = set(turn[:over])
    kept = [i for i in range(len(prompt.ids)) if i not in gone]
    return Prompt(tuple(prompt.ids[i] for i in kept), tuple(prompt.kinds[i] for i in kept), over)
