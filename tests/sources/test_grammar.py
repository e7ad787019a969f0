"""How a source is written."""

from __future__ import annotations

import numpy as np
import pytest

from radiograph.core import UserError
from radiograph.sources import Reference, kinds


@pytest.mark.parametrize(
    ("text", "kind", "where", "numbers"),
    [
        ("toy", "toy", "", None),
        ("toy#650", "toy", "", [650]),
        ("units:mlp_hidden.2", "units", "mlp_hidden.2", None),
        ("dictionary:runs/a#7,3,700-702,7", "dictionary", "runs/a", [3, 7, 700, 701, 702]),
        ("neuronpedia:https://www.neuronpedia.org/a/b/3", "neuronpedia", "https://www.neuronpedia.org/a/b/3", None),
        ("neuronpedia:gpt2-small@6-res-jb:650", "neuronpedia", "gpt2-small@6-res-jb:650", None),
    ],
)
def test_a_source_is_kind_place_and_numbers(text, kind, where, numbers):
    found = Reference.parse(text)
    assert (found.kind, found.where) == (kind, where)
    assert (None if found.numbers is None else found.numbers.tolist()) == numbers
    assert Reference.parse(found.named(where)) == Reference.parse(found.named(where).replace(" ", ""))


@pytest.mark.parametrize("text", ["", ":x", "toy#", "toy#a", "toy#3-1", "toy#1,,2", "toy#-3", "toy#1-9999999999"])
def test_what_cannot_be_read_is_refused_with_the_form(text):
    with pytest.raises(UserError) as caught:
        Reference.parse(text)
    assert caught.value.code == "bad_features"
    assert "KIND" in str(caught.value.expected)


def test_a_number_that_is_not_there_is_named():
    reference = Reference.parse("toy#3,300")
    assert np.array_equal(reference.within(301), [3, 300])
    with pytest.raises(UserError, match="300"):
        reference.within(300)


def test_every_kind_of_the_spec_is_there():
    named = "toy records jsonl units dictionary direction saelens scope neuronpedia goodfire"
    assert set(named.split()) <= set(kinds())


def test_an_unknown_kind_names_the_nearest(context):
    with pytest.raises(UserError) as caught:
        context.features("dictionry:x")
    assert caught.value.code == "unknown_source"
    assert "dictionary" in str(caught.value.fix)
