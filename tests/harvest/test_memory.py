"""Harvested rows are the model's own, each once, and the split follows groups."""

from collections import Counter

import pytest
import torch

from dictionaries.make import HeldRows
from models.make import network
from radiograph.core import Site, UserError
from radiograph.dictionaries.training import Rows
from radiograph.harvest import Text, harvest, read, windows
from radiograph.models import capture, pad, wrap

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
    assert shards.widths == {"resid_post.1": 32, "mlp_hidden.0": 48}
    assert len({len(rows) for rows in shards.sites.values()} | {len(shards.tokens), len(shards.owners)}) == 1
    single = harvest(model, read(sentences(60)), ["resid_post.1"], batch_tokens=1, validation=0.3)
    assert torch.equal(single.tokens, shards.tokens)
    assert torch.allclose(single.rows("resid_post.1"), shards.rows("resid_post.1"), atol=1e-5)


def test_shards_are_what_a_trainer_reads(shards):
    assert isinstance(shards, Rows)
    assert isinstance(HeldRows(torch.randn(10, 2)), Rows)
    assert shards.count("train") + shards.count("validation") == shards.count()
    own = shards.rows("resid_post.1", "train").double()
    assert shards.variance("resid_post.1") == pytest.approx(float(own.var(0, correction=0).sum()), rel=1e-9)


def test_every_epoch_reads_every_row_once_in_its_own_order(shards):
    def read_all(**where):
        return torch.cat(list(shards.batches("resid_post.1", **where)))

    stored = shards.rows("resid_post.1", "train")
    first, again = (read_all(split="train", batch=b, seed=3) for b in (7, 64))
    assert torch.equal(first, again)
    assert not torch.equal(first, stored)
    assert Counter(map(tuple, first.tolist())) == Counter(map(tuple, stored.tolist()))
    assert not torch.equal(first, read_all(split="train", batch=7, seed=3, epoch=1))
    held = read_all(split="validation", batch=7, seed=5)
    assert torch.equal(held, shards.rows("resid_post.1", "validation"))


def test_no_group_duplicate_or_window_straddles_the_split():
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


def test_a_budget_of_rows_takes_whole_windows(model):
    some = harvest(model, read(sentences(60)), ["resid_post.1"], max_rows=100)
    assert 100 - 64 < some.count() <= 100


def test_bad_input_is_named(model):
    texts = read(sentences(4))
    with pytest.raises(UserError, match="no tokenizer"):
        harvest(wrap(network("llama")), texts, ["resid_post.1"])
    with pytest.raises(UserError, match="outside the model"):
        harvest(model, texts, ["resid_post.3"])
    with pytest.raises(UserError, match="a token to keep"):
        harvest(model, read([""]), ["resid_post.1"])
    with pytest.raises(UserError, match="no room"):
        windows(model.tokenizer, texts, length=1)
    with pytest.raises(UserError, match="validation share"):
        windows(model.tokenizer, texts, length=9, validation=1.0)
    with pytest.raises(UserError, match="no rows of"):
        harvest(model, texts, ["resid_post.1"]).rows("resid_post.2")
