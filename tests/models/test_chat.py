"""Ids are the template's own, every token knows what it is, and long prompts are cut from the left of the user turn."""

import pytest

from radiograph.core import UserError
from radiograph.models import render_chat, tokenize

from . import make

USER = {"role": "user", "content": "the quick brown fox  "}
SYSTEM = {"role": "system", "content": "read a book"}
ANSWER = {"role": "assistant", "content": "sits down"}
CONVERSATIONS = {
    "user": [USER],
    "system": [SYSTEM, USER],
    "turns": [SYSTEM, USER, ANSWER, {"role": "user", "content": "über den Zaun 🦊"}],
    "repeated": [USER, ANSWER, USER],
}


@pytest.fixture(scope="module")
def tokenizer():
    return make.tokenizer()


@pytest.fixture
def bare():
    return make.tokenizer(template=None)


def content(tokenizer, prompt):
    return tokenizer.decode([i for i, kind in zip(prompt.ids, prompt.kinds, strict=True) if kind == "content"])


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_ids_equal_the_tokenizers_own(tokenizer, name):
    messages = CONVERSATIONS[name]
    prompt = render_chat(tokenizer, messages)
    own = tokenizer.apply_chat_template(messages, tokenize=True, add_generation_prompt=True, return_dict=False)
    assert list(prompt.ids) == own and prompt.n_cut == 0
    assert content(tokenizer, prompt) == "".join(m["content"].strip() for m in messages)
    special = [i for i, kind in zip(prompt.ids, prompt.kinds, strict=True) if kind == "special"]
    assert set(special) <= set(tokenizer.all_special_ids) and len(special) == 2 * len(messages) + 1


def test_prefill_continues_the_answer(tokenizer):
    messages = [USER, ANSWER]
    prompt = render_chat(tokenizer, messages, prefill=True)
    own = tokenizer.apply_chat_template(messages, tokenize=True, continue_final_message=True, return_dict=False)
    assert list(prompt.ids) == own and prompt.kinds[-1] == "content"


def test_template_text_that_is_not_special_is_marked_as_template(bare):
    bare.chat_template = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}[assistant]"
    prompt = render_chat(bare, [SYSTEM, USER])
    assert set(prompt.kinds) == {"template", "content"}
    assert content(bare, prompt).replace(" ", "") == (SYSTEM["content"] + USER["content"]).replace(" ", "")


def test_without_a_template_only_plain_renders_and_only_when_asked(bare):
    with pytest.raises(UserError, match="--chat plain"):
        render_chat(bare, [USER])
    prompt = render_chat(bare, [SYSTEM, USER], chat="plain")
    assert bare.decode(prompt.ids) == "system: read a book\nuser: the quick brown fox  \nassistant:"
    assert render_chat(bare, [USER, ANSWER], chat="plain", prefill=True).kinds[-1] == "content"


def test_a_template_that_rejects_system_names_the_merge(bare):
    bare.chat_template = make.NO_SYSTEM
    with pytest.raises(UserError, match="--system merge"):
        render_chat(bare, [SYSTEM, USER])
    merged = render_chat(bare, [SYSTEM, USER], system="merge")
    assert merged.ids == render_chat(bare, [{"role": "user", "content": "read a book\n\nthe quick brown fox  "}]).ids
    bare.chat_template = "{{ raise_exception('never') }}"
    with pytest.raises(UserError, match="rejects these messages") as error:
        render_chat(bare, [SYSTEM, USER])
    assert "--system" not in str(error.value)


def test_messages_out_of_place_are_refused(tokenizer):
    for messages, prefill in (([], False), ([USER, ANSWER], False), ([USER], True), ([SYSTEM], False)):
        with pytest.raises(UserError, match="must end in"):
            render_chat(tokenizer, messages, prefill=prefill)


def test_a_long_prompt_loses_the_left_of_its_user_turn_and_nothing_else(tokenizer):
    messages = [SYSTEM, {"role": "user", "content": make.WORDS * 3}]
    whole = render_chat(tokenizer, messages)
    limit = len(whole.ids) - 20
    cut = render_chat(tokenizer, messages, max_tokens=limit)
    assert len(cut.ids) == len(cut.kinds) == limit and cut.n_cut == 20
    first = next(i for i, (a, b) in enumerate(zip(whole.ids, cut.ids, strict=False)) if a != b)
    turn = whole.kinds.index("content", whole.kinds.index("content") + len(tokenize(tokenizer, SYSTEM["content"]).ids))
    assert first >= turn and cut.ids == whole.ids[:turn] + whole.ids[turn + 20 :]
    assert render_chat(tokenizer, messages, max_tokens=len(whole.ids)) == whole
    with pytest.raises(UserError, match="cannot be cut"):
        render_chat(tokenizer, messages, max_tokens=8)


def test_plain_text_gets_what_the_tokenizer_adds(tokenizer):
    prompt = tokenize(tokenizer, "the fox</s>")
    assert list(prompt.ids) == tokenizer("the fox</s>")["input_ids"]
    assert prompt.kinds[-1] == "special" and set(prompt.kinds[:-1]) == {"content"}
    whole = tokenize(tokenizer, make.WORDS)
    cut = tokenize(tokenizer, make.WORDS, max_tokens=7)
    assert cut.ids == whole.ids[-7:] and cut.n_cut == len(whole.ids) - 7
