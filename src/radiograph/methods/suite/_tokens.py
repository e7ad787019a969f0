"""Token lengths of a suite under one model, from its tokenizer alone: no weights are read into memory, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any, Literal

from radiograph.core import FormatError, Refusal
from radiograph.evidence import Prompt, Suite
from radiograph.methods.suite._records import Tokens

ANSWER_ROOM = 8
MAX_CUT_SHARE = 0.10
"""Of more prompts than this, `audit` says that the suite does not fit the model."""


@dataclass(frozen=True)
class Tokenised:
    """Every prompt that is asked, under one tokenizer."""

    lengths: dict[str, int]
    last: dict[str, str]
    """The last token of the prompt's own text."""
    summary: Tokens
    nats: dict[str, float] = field(default_factory=dict)
    """Mean log-loss of a token, where the model was run."""

    def measured(self, ids: Sequence[str]) -> dict[str, list[float]]:
        """The covariates of some prompts."""
        found = {"tokens": [float(self.lengths[name]) for name in ids]}
        return found | ({"mean NLL": [self.nats[name] for name in ids]} if self.nats else {})


def tokenise(
    folder: Path,
    config: dict[str, Any],
    suite: Suite,
    *,
    chat: Literal["template", "plain"],
    system: Literal["separate", "merge"],
) -> Tokenised:
    """Render every prompt but the neutral ones as `audit` does.

    Raises:
        Refusal: no tokenizer.json. UserError: the chat template is missing or rejects the messages.
    """
    from radiograph.models import render_chat

    tokenizer = _tokenizer(folder)
    asked = [prompt for prompt in suite.prompts if prompt.bank != "neutral"]
    if not asked:
        raise Refusal("no_prompts", "the suite asks nothing: every prompt is neutral")
    lengths: dict[str, int] = {}
    last: dict[str, str] = {}
    for prompt in asked:
        turns = [message.model_dump() for message in prompt.messages]
        rendered = render_chat(tokenizer, turns, chat=chat, system=system, prefill=prompt.prefill)
        own = [i for i, kind in zip(rendered.ids, rendered.kinds, strict=True) if kind == "content"]
        lengths[prompt.id] = len(rendered.ids)
        last[prompt.id] = str(tokenizer.convert_ids_to_tokens(own[-1])) if own else ""
    return Tokenised(lengths, last, _summary(asked, lengths, room(config, suite.generation.max_new_tokens)))


def tokenise_plain(folder: Path, config: dict[str, Any], suite: Suite) -> Tokenised:
    """The prompts of a grid, which are texts to go on from and no turns of a chat.

    Raises:
        Refusal: no tokenizer.json.
    """
    from radiograph.models import tokenize

    tokenizer = _tokenizer(folder)
    prompts = list(suite.prompts)
    lengths: dict[str, int] = {}
    last: dict[str, str] = {}
    for prompt in prompts:
        ids = tokenize(tokenizer, prompt.messages[0].content).ids
        own = [i for i in ids if i not in (tokenizer.bos_token_id, tokenizer.eos_token_id)]  # unknown words stay
        lengths[prompt.id] = len(ids)
        last[prompt.id] = str(tokenizer.convert_ids_to_tokens(own[-1])) if own else ""
    return Tokenised(lengths, last, _summary(prompts, lengths, room(config, suite.generation.max_new_tokens)))


def with_losses(found: Tokenised, model: Any, suite: Suite) -> Tokenised:
    """Beside lengths the mean log-loss of every prompt of a grid, in nats a token."""
    from radiograph.models import cross_entropy, tokenize

    rows = [tokenize(model.tokenizer, prompt.messages[0].content).ids for prompt in suite.prompts]
    short = [prompt.id for prompt, ids in zip(suite.prompts, rows, strict=True) if len(ids) < 2]
    if short:
        raise Refusal("too_short", f"{short[0]} has one token, which has no log-loss", fix="lengthen it")
    nats = {p.id: float(own.mean()) for p, own in zip(suite.prompts, cross_entropy(model, rows), strict=True)}
    return replace(found, nats=nats)


def room(config: dict[str, Any], max_new_tokens: int) -> int | None:
    """Tokens that a prompt may have, so that an answer fits; None where config.json states no context length."""
    context = next((config[k] for k in ("max_position_embeddings", "n_positions") if config.get(k)), None)
    return None if context is None else context - min(max(max_new_tokens, ANSWER_ROOM), context // 4)


def _summary(asked: list[Prompt], lengths: dict[str, int], limit: int | None) -> Tokens:
    longest = max(asked, key=lambda prompt: lengths[prompt.id]).id
    return Tokens(
        shortest=min(lengths.values()),
        median=float(median(lengths.values())),
        longest=lengths[longest],
        longest_id=longest,
        room=limit,
        cut=tuple(p.id for p in asked if limit is not None and lengths[p.id] > limit),
    )


def _tokenizer(folder: Path) -> Any:
    if not (folder / "tokenizer.json").is_file():
        raise Refusal(
            "no_tokenizer", f"{folder.name} has no tokenizer.json", fix="save the model with its fast tokenizer"
        )
    from transformers import PreTrainedTokenizerFast

    try:
        return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # tokenizers raises bare Exception
        raise FormatError(f"the tokenizer in {folder.name} cannot be read", got=str(error)[:200]) from error
