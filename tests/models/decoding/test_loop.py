"""Penalties, filters, stop texts, forced tokens and the rule for the beginning, against plain derivations."""

import pytest
import torch

from models.make import network, prompts, tokenizer
from radiograph.core import Site, UserError
from radiograph.evidence import Decoding
from radiograph.models import Line, Measures, Reads, decode, forward, pad, prompt_ids, wrap


@pytest.fixture(scope="module")
def llama():
    return wrap(network("llama"), tokenizer(merges=38))


def plain(model, ids, steps, change):
    """Greedy decoding by whole forwards; `change(scores, tokens)` edits the scores in place."""
    tokens = list(ids)
    for _ in range(steps):
        scores = forward(model, pad([tokens]))[0, -1].clone()
        change(scores, tokens)
        tokens.append(int(scores.argmax()))
    return tokens[len(ids) :]


def test_a_repetition_penalty_is_that_of_keskar(llama):
    def penalise(scores, tokens):
        for token in set(tokens):
            scores[token] = scores[token] / 1.5 if scores[token] > 0 else scores[token] * 1.5

    for ids in prompts(3):
        (found,) = decode(llama, [Line(tuple(ids))], Decoding(new_tokens=10, repetition_penalty=1.5))
        assert found.ids == plain(llama, ids, 10, penalise)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_no_ngram_comes_twice(llama, n):
    def forbid(scores, tokens):
        seen = {tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)}
        for token in range(len(scores)):
            if (*tokens[len(tokens) - n + 1 :], token) in seen:
                scores[token] = -torch.inf

    for ids in prompts(3):
        (found,) = decode(llama, [Line(tuple(ids))], Decoding(new_tokens=12, no_repeat_ngram=n))
        assert found.ids == plain(llama, ids, 12, forbid)


def test_top_k_and_top_p_keep_what_they_say(llama):
    ids = tuple(prompts(1)[0])
    share = forward(llama, pad([ids]))[0, -1].softmax(-1)
    order = share.argsort(descending=True)
    lines = [Line(ids, sample=n) for n in range(600)]

    def drawn(**options):
        found = decode(llama, lines, Decoding(mode="sample", new_tokens=1, **options))
        return {row.ids[0] for row in found}

    assert drawn(top_k=3) == set(order[:3].tolist())
    mass = share[order].cumsum(0)
    p = float(mass[4]) - 1e-4
    assert drawn(top_p=p) == set(order[:5].tolist())
    assert drawn(top_k=2, top_p=0.99) <= set(order[:2].tolist())


def test_a_stop_text_ends_the_row_and_is_left_out(llama):
    ids = tuple(prompts(1)[0])
    (free,) = decode(llama, [Line(ids)], Decoding(new_tokens=12))
    word = llama.tokenizer.decode(free.ids[4:6])
    (found,) = decode(llama, [Line(ids)], Decoding(new_tokens=12, stop=(word,)))
    assert found.ending == "stop" and len(found.ids) < 12
    assert word not in found.text and free.text.startswith(found.text)


def test_forced_tokens_are_fed_and_scored(llama):
    ids, given = tuple(prompts(1)[0]), (7, 11, 13)
    (found,) = decode(llama, [Line(ids, forced=given)], Decoding(), measures=Measures(scores=True))
    logs = forward(llama, pad([[*ids, *given]]))[0].log_softmax(-1)
    wanted = [float(logs[len(ids) - 1 + step, token]) for step, token in enumerate(given)]
    assert tuple(found.ids) == given
    assert found.logprob == pytest.approx(wanted, abs=1e-5)
    shares = logs[len(ids) - 1 : len(ids) + 2].exp()
    assert found.entropy == pytest.approx((-(shares * shares.log()).sum(-1)).tolist(), abs=1e-4)


@pytest.mark.parametrize(("pool", "sites", "more"), [("generated", 0, 0), ("generated", 1, 1), ("predicting", 1, 0)])
def test_no_forward_is_run_that_nobody_reads(llama, pool, sites, more):
    calls = []
    handle = llama.model.register_forward_pre_hook(lambda *_: calls.append(1))
    reads = Reads((Site("resid_post", 0),) * sites, pool)
    decode(llama, [Line(tuple(ids)) for ids in prompts(6)], Decoding(new_tokens=5), reads=reads)
    handle.remove()
    assert len(calls) == 5 + more


def test_the_end_of_the_context_ends_a_row_while_others_go_on():
    model = wrap(network("gpt2"))
    long, short = tuple([5] * 60), (5, 6, 7)
    found = decode(model, [Line(long), Line(short)], Decoding(new_tokens=20))
    assert [(row.ending, len(row.ids)) for row in found] == [("context", 4), ("length", 20)]


def test_d14_one_rule_for_the_token_at_the_beginning(llama):
    tokens = llama.tokenizer
    own = prompt_ids(tokens, "the fox")
    assert own == tuple(tokens("the fox")["input_ids"])
    with_bos = prompt_ids(tokens, "the fox", bos="always")
    assert with_bos == (tokens.bos_token_id, *own)
    assert prompt_ids(tokens, "the fox", bos="never") == own
    assert prompt_ids(tokens, tokens.bos_token + "the fox", bos="never") == own
    assert prompt_ids(tokens, tokens.bos_token + "the fox", bos="always") == with_bos
    bare = tokenizer(merges=38)
    bare.bos_token = None
    with pytest.raises(UserError, match="no BOS token"):
        prompt_ids(bare, "the fox", bos="always")


def test_d12_sampling_has_a_seed_and_nothing_else(llama):
    ids = tuple(prompts(1)[0])
    settings = Decoding(mode="sample", temperature=1.2, new_tokens=8, seed=4)
    torch.manual_seed(1)
    (first,) = decode(llama, [Line(ids)], settings)
    torch.manual_seed(2)
    (second,) = decode(llama, [Line(ids)], settings)
    (other,) = decode(llama, [Line(ids)], settings.model_copy(update={"seed": 5}))
    assert first.ids == second.ids != other.ids
