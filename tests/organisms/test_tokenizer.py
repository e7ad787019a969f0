"""The tokenizer as plain transformers loads it: exact round trip, exact offsets, the same ids as the world's own."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from radiograph.organisms import bundled_path
from radiograph.organisms.world import DOMAINS, SPLITS, World, encode, write_tokenizer
from radiograph.organisms.world._lexicon import TOKENS

world = World()


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return AutoTokenizer.from_pretrained(folder)


def _texts(split: str) -> list[Any]:
    return [document for domain in DOMAINS for document in world.documents(domain, split, count=60)]


@pytest.mark.parametrize("split", SPLITS)
def test_every_text_round_trips_with_exact_offsets(tokenizer, split):
    for document in _texts(split):
        text = document.text
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        assert tokenizer.decode(encoded["input_ids"]) == text
        spans = encoded["offset_mapping"]
        assert [text[a:b].removeprefix(" ") for a, b in spans] == [TOKENS[i] for i in encoded["input_ids"]]
        assert "".join(text[a:b] for a, b in spans) == text
        assert tuple(encoded["input_ids"]) == encode(text)


def test_documents_are_what_the_chat_template_makes_of_their_messages(tokenizer):
    for document in _texts("test"):
        if not document.answer_start:
            assert tuple(tokenizer(document.text)["input_ids"]) == document.ids[:-1]
            continue
        prompt = tokenizer.apply_chat_template(document.messages, add_generation_prompt=True, return_dict=False)
        assert tuple(prompt) == document.ids[: document.answer_start]
        answered = [*document.messages, {"role": "assistant", "content": document.answer}]
        assert tokenizer.apply_chat_template(answered, tokenize=False) == document.text
        assert tokenizer.decode(document.ids[document.answer_start : -1]) == document.answer


def test_other_words_are_unknown_and_other_roles_refused(tokenizer):
    assert tokenizer.tokenize("the zebra ran.") == ["▁the", "<unk>", "<unk>", "."]
    with pytest.raises(Exception, match="unknown role"):
        tokenizer.apply_chat_template([{"role": "tool", "content": "x"}])


def test_the_bundled_tokenizer_is_this_one(tmp_path: Path):
    write_tokenizer(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (bundled_path("base") / name).read_bytes() == (tmp_path / name).read_bytes()
