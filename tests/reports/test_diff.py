"""A diff loses nothing, and says what a reader would say."""

from hypothesis import given
from hypothesis import strategies as st

from radiograph.reports._diff import word_diff

TEXTS = st.text(alphabet="ab .,\n\x1b<é", max_size=30)


@given(TEXTS, TEXTS)
def test_joined_stretches_are_the_texts(left, right):
    diff = word_diff(left, right)
    assert "".join(r.text for r in diff.reference) == left
    assert "".join(r.text for r in diff.candidate) == right


@given(TEXTS)
def test_equal_texts_do_not_differ(text):
    diff = word_diff(text, text)
    assert all(r.same for r in (*diff.reference, *diff.candidate))


def test_one_word():
    diff = word_diff("24 metres are 2400 centimetres.", "24 metres are 240 centimetres.")
    assert [r.text for r in diff.reference if not r.same] == ["2400"]
    assert [r.text for r in diff.candidate if not r.same] == ["240"]


def test_words_shared_by_chance_are_no_agreement():
    diff = word_diff("mild today, with the west wind and rain.", "mild today. Send the keys and go.")
    assert [r.same for r in diff.candidate] == [True, False, True]


def test_a_line_break_is_a_difference():
    assert not all(r.same for r in word_diff("a b", "a\nb").candidate)
