"""Harvested rows are the model's own, each once, and the split follows groups."""

import pytest
import torch

from models.make import network
from radiograph.core import Site, UserError
from radiograph.harvest import Text, harvest, read, windows
from radiograph.models import capture, pad, wrap
from radiograph.store.shards import Activations

from .make import sentences, with_bos


@pytest.fixture(scope="module")
def model():
    return wrap(network("llama"), with_bos())


@pytest.fixture(scope="module")
def shards(model):
    return harvest(model, read(sentences(60)), ["resid_post.1", "mlp_hidden.0"], validation=0.3)


def test_rows_are_those_of_a_forward_of_one_prompt(model, shards):
    for number in (0, 17, 59):
        window = shards.windows[number]
        own = capture(model, pad([list(window.ids)]), [Site("resid_post", 1)])[Site("resid_post", 1)][0]
        found = shards.rows("resid_post.1")[shards.owners == number]
        assert torch.allclose(found, own[torch.tensor(window.kept)], atol=1e-5)


def test_specials_are_fed_and_not_kept(model, shards):
    bos, eos = model.tokenizer.bos_token_id, model.tokenizer.eos_token_id
    assert all(w.ids[0] == bos and w.ids[-1] == eos for w in shards.windows)
    assert not {bos, eos} & set(shards.tokens.tolist())
    assert int(shards.positions.min()) == 1
    everything = harvest(model, read(sentences(5)), ["resid_post.1"], keep="all")
    assert everything.count() == sum(len(w.ids) for w in everything.windows)


def test_rows_of_all_sites_align_and_do_not_depend_on_the_plan(model, shards):
    assert isinstance(shards, Activations)
    assert shards.widths == {"reference/mlp_hidden.0": 48, "reference/resid_post.1": 32}
    single = harvest(model, read(sentences(60)), ["resid_post.1"], batch_tokens=1, validation=0.3)
    assert torch.equal(single.tokens, shards.tokens)
    assert torch.allclose(single.rows("resid_post.1"), shards.rows("resid_post.1"), atol=1e-5)


def test_validation_rows_are_those_of_validation_windows(shards):
    assert shards.count("train") + shards.count("validation") == shards.count()
    held = torch.tensor([w.split == "validation" for w in shards.windows])[shards.owners]
    assert torch.equal(shards.of("validation"), held.nonzero().flatten())
    assert torch.equal(shards.rows("resid_post.1", "validation"), shards.rows("resid_post.1")[held])


def test_no_group_duplicate_or_window_straddles_the_split():
    """A split by row would put tokens of one prompt on both sides."""
    tokenizer = with_bos()
    long = " ".join(sentences(8))
    texts = [
        *(Text(f"a{i}", s, f"g{i // 3}") for i, s in enumerate(sentences(90))),
        *(Text(f"b{i}", s, f"h{i}") for i, s in enumerate(sentences(30))),
        *(Text(f"c{i}", f"{i} {long}", f"c{i}") for i in range(10)),
    ]
    made = windows(tokenizer, texts, length=20, validation=0.4)
    content = {text.id: text.text for text in texts}
    sides: dict[str, set[str]] = {}
    for w in made:
        for key in (f"group {w.group}", f"prompt {w.prompt}", f"text {content[w.prompt]}"):
            sides.setdefault(key, set()).add(w.split)
    assert all(len(found) == 1 for found in sides.values())
    assert {w.split for w in made} == {"train", "validation"}
    backwards = windows(tokenizer, texts[::-1], length=20, validation=0.4)
    assert {(w.prompt, w.ids, w.split) for w in backwards} == {(w.prompt, w.ids, w.split) for w in made}
    salted = windows(tokenizer, texts, length=20, validation=0.4, salt=1)
    assert any(a.split != b.split for a, b in zip(made, salted, strict=True))


def test_windows_hold_every_token_once_and_lead_with_bos():
    tokenizer = with_bos()
    (text,) = read([" ".join(sentences(9))])
    ids = tokenizer(text.text).input_ids
    made = windows(tokenizer, [text], length=16)
    assert all(w.ids[0] == tokenizer.bos_token_id and len(w.ids) <= 16 for w in made)
    kept = [i for w in made for i, k in zip(w.ids, w.kept, strict=True) if k]
    assert kept == ids[1:-1]


def test_a_budget_of_rows_takes_whole_documents_whatever_their_order(model):
    texts = read(sentences(60))
    some = harvest(model, texts, ["resid_post.1"], max_rows=100)
    assert 100 - 64 < some.count() <= 100
    again = harvest(model, texts[::-1], ["resid_post.1"], max_rows=100)
    assert {w.prompt for w in some.windows} == {w.prompt for w in again.windows}
    assert {w.prompt for w in some.windows} != {t.id for t in texts[: len(some.windows)]}


def test_bad_input_is_named(model):
    texts = read(sentences(4))
    with pytest.raises(UserError, match="no tokenizer"):
        harvest(wrap(network("llama")), texts, ["resid_post.1"])
    with pytest.raises(UserError, match="outside the model"):
        harvest(model, texts, ["resid_post.3"])
    with pytest.raises(UserError, match="one unit") as error:
        harvest(model, texts, ["mlp_hidden.1[3]"])
    assert "mlp_hidden.1" in error.value.fix
    with pytest.raises(UserError, match="a token to keep"):
        harvest(model, read([""]), ["resid_post.1"])
    with pytest.raises(UserError, match="no room"):
        windows(model.tokenizer, texts, length=1)
    with pytest.raises(UserError, match="validation share"):
        windows(model.tokenizer, texts, length=9, validation=1.0)
    with pytest.raises(UserError, match="no rows of"):
        harvest(model, texts, ["resid_post.1"]).rows("resid_post.2")
    with pytest.raises(UserError, match="outside the vocabulary"):
        harvest(model, [Text("x", "", "x", tokens=(5, 300))], ["resid_post.1"])
    with pytest.raises(UserError, match="stands twice"):
        harvest(model, [Text("x", "a", "x"), Text("x", "b", "x")], ["resid_post.1"])
