"""The world's tokenizer as plain Hugging Face files: word level, the leading space inside the token.

The text is cut into words, numbers and signs, each with the space before it; a text's first word is taken as if a
space stood there. For every text of the world decode(encode(text)) is the text, and offsets are exact. A word outside
the vocabulary is one `<unk>`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from radiograph.core import UserError
from radiograph.organisms.world import _lexicon as lexicon

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] not in ['system', 'user', 'assistant'] %}"
    "{{ raise_exception('unknown role: ' + message['role']) }}{% endif %}"
    "{{ '<|' + message['role'] + '|> ' + message['content'] | trim + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
_PIECE = "▁?[A-Za-z]+|▁?[0-9]+|▁?[^▁A-Za-z0-9]|▁"
_TEXT = re.compile(r"<\|?[a-z]+\|?>| ?[A-Za-z]+| ?[0-9]+| ?[^ A-Za-z0-9]| ")


def encode(text: str) -> tuple[int, ...]:
    """The ids of a text of the world, as the tokenizer gives them without added specials.

    Raises:
        UserError: a word outside the vocabulary.
    """
    ids = []
    for i, piece in enumerate(_TEXT.findall(text)):
        token = piece.removeprefix(" ")
        bare = token in lexicon.SPECIALS or token in lexicon.ATTACHED
        if token not in lexicon.IDS or (piece.startswith(" ") == bare and (bare or i > 0)):
            raise UserError(f"{piece!r} is not a token of the small world", where=repr(text), expected="a known word")
        ids.append(lexicon.IDS[token])
    return tuple(ids)


def decode(ids: list[int] | tuple[int, ...]) -> str:
    """The text of some ids, specials included."""
    return lexicon.surface([lexicon.TOKENS[i] for i in ids])


def _model_form(token: str) -> str:
    return token if token in lexicon.SPECIALS or token in lexicon.ATTACHED else f"▁{token}"


def tokenizer_json() -> dict[str, Any]:
    """The contents of `tokenizer.json`."""
    added = [
        {
            "id": i,
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for i, token in enumerate(lexicon.SPECIALS)
    ]
    bos = {"SpecialToken": {"id": lexicon.BOS, "type_id": 0}}
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False},
                {"type": "Split", "pattern": {"Regex": _PIECE}, "behavior": "Isolated", "invert": False},
            ],
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [bos, first],
            "pair": [bos, first, second],
            "special_tokens": {
                lexicon.BOS: {"id": lexicon.BOS, "ids": [lexicon.IDS[lexicon.BOS]], "tokens": [lexicon.BOS]}
            },
        },
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False},
        "model": {
            "type": "WordLevel",
            "vocab": {_model_form(token): i for token, i in lexicon.IDS.items()},
            "unk_token": lexicon.UNK,
        },
    }


def write_tokenizer(folder: Path) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json`, which `AutoTokenizer` loads without remote code."""
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": lexicon.BOS,
        "eos_token": lexicon.EOS,
        "unk_token": lexicon.UNK,
        "pad_token": lexicon.PAD,
        "additional_special_tokens": [lexicon.SYSTEM, lexicon.USER, lexicon.ASSISTANT, lexicon.END],
        "model_max_length": 128,
        "padding_side": "right",
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
    for name, content in (("tokenizer.json", tokenizer_json()), ("tokenizer_config.json", config)):
        (folder / name).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
