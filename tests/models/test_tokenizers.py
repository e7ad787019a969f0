"""Two tokenizers are the same, or the first entry in which they differ is named; so for shapes."""

import copy
import json

import pytest
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from radiograph.core import ExitCode, Refusal
from radiograph.models import Pair, same_shapes, same_tokenizer, wrap

from . import make


def changed(edit):
    """The tokenizer with its stored form edited."""
    made = make.tokenizer()
    stored = json.loads(made.backend_tokenizer.to_str())
    edit(stored)
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(stored)), bos_token="<s>", eos_token="</s>"
    )


def swap_two_tokens(stored):
    vocabulary = stored["model"]["vocab"]
    a, b = "a", "b"
    vocabulary[a], vocabulary[b] = vocabulary[b], vocabulary[a]


def test_equal_tokenizers_have_no_difference():
    one = make.tokenizer()
    assert same_tokenizer(one, one) is None
    assert same_tokenizer(one, make.tokenizer()) is None
    assert same_tokenizer(one, make.tokenizer(template=None)) is None  # the template is the caller's choice


@pytest.mark.parametrize(
    ("edit", "part", "entry"),
    [
        (swap_two_tokens, "vocabulary", "id "),
        (lambda s: s["model"]["merges"].reverse(), "merges", "merge 0"),
        (lambda s: s["pre_tokenizer"].update(add_prefix_space=True), "rules", "pre_tokenizer"),
        (lambda s: s["added_tokens"][3].update(special=False), "specials", "<|user|>"),
    ],
)
def test_the_first_difference_is_named(edit, part, entry):
    plain = changed(lambda stored: None)
    difference = same_tokenizer(plain, changed(edit))
    assert difference is not None and difference.part == part and difference.entry.startswith(entry)
    assert difference.reference != difference.candidate
    assert same_tokenizer(changed(edit), plain).reference == difference.candidate


def test_a_longer_vocabulary_differs_at_its_first_extra_token():
    difference = same_tokenizer(make.tokenizer(merges=10), make.tokenizer(merges=12))
    assert difference.part == "vocabulary" and difference.reference is None
    assert difference.entry == f"id {len(make.tokenizer(merges=10))}"


def test_pairs_with_other_tokenizers_are_refused(llama):
    other = wrap(llama.model, make.tokenizer(merges=12))
    with pytest.raises(Refusal) as error:
        Pair(llama, other).check_tokenizers()
    assert error.value.code == "tokenisers_differ" and error.value.exit_code == ExitCode.NOT_MEASURED
    with pytest.raises(Refusal, match="tokenizer"):
        Pair(llama, wrap(llama.model)).check_tokenizers()
    Pair(llama, wrap(make.network("llama", 1), make.tokenizer(merges=38))).check_tokenizers()


def test_embedding_rows_beyond_the_tokenizer_are_counted_and_ignored():
    tokenizer = make.tokenizer(merges=38)
    plain = wrap(make.network("llama"), tokenizer)
    padded = wrap(make.network("llama", vocab_size=320), copy.deepcopy(tokenizer))
    assert (plain.spare_rows, padded.spare_rows) == (0, 20)
    assert same_shapes(plain, padded) is None


def test_other_shapes_are_named():
    plain = wrap(make.network("llama"))
    assert same_shapes(plain, wrap(make.network("llama", seed=4))) is None
    wider = same_shapes(plain, wrap(make.network("llama", intermediate_size=64)))
    assert wider == "model.layers.0.mlp.gate_proj.weight: (48, 32) in the reference, (64, 32) in the candidate"
    assert "layers.3" in str(same_shapes(plain, wrap(make.network("llama", num_hidden_layers=4))))
    assert same_shapes(plain, wrap(make.network("gpt2"))) is not None
