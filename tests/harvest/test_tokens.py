"""Which tokens are fed and which rows are kept, option by option."""

from itertools import pairwise

import pytest

from models.make import tokenizer
from radiograph.core import UserError
from radiograph.harvest import Limits, Reading, Text, plan, read

from .make import sentences, with_bos

MARKED = (
    "{% for m in messages %}<|{{ m['role'] }}|>{% if m['role'] == 'assistant' %}"
    "{% generation %}{{ m['content'] }}<|end|>{% endgeneration %}{% else %}{{ m['content'] }}<|end|>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
CHAT = (
    {"role": "user", "content": "the quick fox"},
    {"role": "assistant", "content": "jumps over"},
    {"role": "user", "content": "the dog"},
    {"role": "assistant", "content": "and sits"},
)


def kept(made, number=0):
    window = made.window(number)
    return [token for token, mark in zip(window.ids, window.kept, strict=True) if mark]


def planned(tok, texts, **reading):
    limits = {k: reading.pop(k) for k in list(reading) if k in Limits.__slots__}
    return plan(tok, texts, Reading(**{"length": 64, **reading}), Limits(**limits))


def test_rows_and_bos():
    tok = with_bos()
    (text,) = texts = read([sentences(1)[0]])
    ids = tok(text.text).input_ids
    assert kept(planned(tok, texts)) == ids[1:-1]
    assert kept(planned(tok, texts, bos="keep")) == ids[:-1]
    assert kept(planned(tok, texts, rows="all")) == ids[1:]
    assert kept(planned(tok, texts, rows="all", bos="keep")) == ids
    assert kept(planned(tok, texts, rows="last")) == [ids[-2]]
    assert planned(tok, texts).window(0).ids[0] == tok.bos_token_id, "BOS is fed whatever is kept"


def test_a_text_that_begins_with_bos_is_led_by_one():
    tok = with_bos()
    plain = sentences(1)[0]
    (written,) = (planned(tok, [Text("t", t, "t")]).window(0) for t in [f"{tok.bos_token}{plain}"])
    assert written.ids == planned(tok, read([plain])).window(0).ids


def test_conversations_go_through_the_template_and_its_marks_say_what_the_assistant_says():
    tok = tokenizer(MARKED)
    texts = [Text("c", "", "c", messages=CHAT)]
    everything = planned(tok, texts, rows="all").window(0)
    wanted = tok.apply_chat_template(list(CHAT), return_dict=True)["input_ids"]
    assert list(everything.ids) == wanted
    assert tok.decode(kept(planned(tok, texts, rows="assistant"))) == "jumps overand sits"
    user = [Text("c", "", "c", messages=CHAT[:3])]
    assert planned(tok, user).window(0).ids[-1] == tok.convert_tokens_to_ids("<|assistant|>")
    unfinished = planned(tok, [Text("c", "", "c", messages=CHAT[:2], prefill=True)]).window(0).ids
    assert unfinished[-1] != tok.convert_tokens_to_ids("<|end|>")


@pytest.mark.parametrize("text", [Text("c", "", "c", messages=CHAT), Text("c", "words", "c")])
def test_assistant_rows_need_a_template_that_marks_them(text):
    with pytest.raises(UserError, match="nothing marks"):
        planned(tokenizer(), [text], rows="assistant")


def test_without_a_template_conversations_are_refused_with_the_option_that_helps():
    texts = [Text("c", "", "c", messages=CHAT)]
    with pytest.raises(UserError, match="no chat template") as error:
        planned(tokenizer(None), texts)
    assert "--chat plain" in error.value.fix
    assert "assistant: and sits" in tokenizer(None).decode(planned(tokenizer(None), texts, chat="plain").window(0).ids)


def test_tokens_are_taken_as_they_are():
    made = planned(None, [Text("t", "", "t", tokens=(7, 8, 9))])
    assert made.window(0).ids == (7, 8, 9)
    assert kept(made) == [7, 8, 9]


def test_a_truncated_document_is_counted_and_has_one_window():
    texts = read([" ".join(sentences(9)), "the fox"])
    whole, short = (planned(with_bos(), texts, length=16, window=on) for on in (True, False))
    assert len(whole) > 2
    assert len(short) == 2
    assert short.window(0) == whole.window(0)
    assert (whole.counted.cut, short.counted.cut, short.counted.documents) == (1, 1, 2)


def test_last_of_a_long_document_is_one_row():
    made = planned(with_bos(), read([" ".join(sentences(9))]), length=16, rows="last")
    assert (len(made), made.counted.kept) == (1, 1)


def test_shards_are_cut_from_counts_alone_and_hold_every_window_once():
    made = planned(with_bos(), read(sentences(50)))
    bounds = made.shards(row_bytes=100, shard_bytes=3000).tolist()
    assert bounds[0] == 0
    assert bounds[-1] == len(made)
    assert bounds == sorted(set(bounds))
    for first, last in pairwise(bounds):
        rows = int(made.rows[first:last].sum())
        assert rows * 100 <= 3000 or last == first + 1
        assert last == len(made) or (rows + int(made.rows[last])) * 100 > 3000, "greedy"
    assert made.shards(row_bytes=100, shard_bytes=1).tolist() == list(range(len(made) + 1))


def test_a_subset_is_drawn_by_hash_and_counted():
    texts = read([*sentences(50), ""])
    made = planned(with_bos(), texts, max_prompts=10)
    names = {made.window(n).prompt for n in range(len(made))}
    assert len(names | ({"50"} if made.counted.empty else set())) == 10
    reverse = planned(with_bos(), texts[::-1], max_prompts=10)
    assert {reverse.window(n).prompt for n in range(len(reverse))} == names
    other = planned(with_bos(), texts, max_prompts=10, seed=1)
    assert {other.window(n).prompt for n in range(len(other))} != names
    everything = planned(with_bos(), texts)
    assert (everything.counted.empty, everything.counted.documents, everything.counted.left_out) == (1, 50, 0)
    paid = planned(with_bos(), texts, max_tokens=100)
    assert paid.counted.kept <= 100 < paid.counted.kept + 64
    assert paid.counted.left_out == 50 - paid.counted.documents
