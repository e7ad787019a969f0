"""Prompts as token ids: cut and counted, never silently."""

from __future__ import annotations

import pytest

from radiograph.core import UserError
from radiograph.detectors import render
from radiograph.evidence import Generation, Message, Prompt, Suite
from radiograph.models import render_chat, wrap


def asked(*texts, **generation):
    prompts = tuple(Prompt(id=f"p{i}", messages=(Message(role="user", content=t),)) for i, t in enumerate(texts))
    return Suite(suite_name="s", prompts=prompts, generation=Generation(**generation))


LONG = " ".join(["the kettle is hot ."] * 60)


def test_a_long_prompt_loses_the_left_of_its_user_turn(pair):
    model = pair.reference
    banks = render(model, asked(LONG, *["what is the river of Aren?"] * 10, max_new_tokens=16), [])
    room = model.context_length - 16
    whole = render_chat(model.tokenizer, [{"role": "user", "content": LONG}])
    cut = banks.rendered[0]
    assert len(cut.ids) == room and cut.n_cut == len(whole.ids) - room and banks.n_cut == 1
    head = next(i for i, kind in enumerate(whole.kinds) if kind == "content")
    assert cut.ids == whole.ids[:head] + whole.ids[head + cut.n_cut :]
    assert [r.n_cut for r in banks.rendered[1:]] == [0] * 10


def test_more_than_a_tenth_cut_stops(pair):
    with pytest.raises(UserError) as caught:
        render(pair.reference, asked(LONG, *["short"] * 8), [])
    assert caught.value.code == "too_long" and "1 of 9" in caught.value.message


def test_room_for_the_answer_is_kept_but_no_more_than_a_quarter(pair):
    model = pair.reference
    banks = render(model, asked(LONG, *["short"] * 10, max_new_tokens=4096), [])
    assert len(banks.rendered[0].ids) == model.context_length - model.context_length // 4


def test_neutral_texts_count_once_and_fit_the_context(pair):
    banks = render(pair.reference, asked("hello"), ["the rope is grey .", "the rope is grey .", LONG])
    assert len(banks.neutral) == 2
    assert len(banks.neutral_tokens[1]) == pair.reference.context_length
    assert banks.neutral_sha256 != render(pair.reference, asked("hello"), ["another ."]).neutral_sha256


def test_how_messages_became_tokens_is_recorded(pair):
    assert [render(pair.reference, asked("hello"), [], chat=c).chat for c in ("template", "plain")] == [
        "template",
        "plain",
    ]
    assert render(pair.reference, asked("hello"), [], system="merge").chat == "merge"


def test_a_model_without_a_tokenizer_cannot_be_asked(pair):
    with pytest.raises(UserError, match="no tokenizer"):
        render(wrap(pair.reference.model), asked("hello"), [])
