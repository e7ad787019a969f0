"""Scores by hand, natural sizes by brute force, costs by definition, controls by what they promise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from radiograph.core import UserError
from radiograph.interventions.features import (
    FeatureWrite,
    Question,
    codes_on,
    controls_of,
    lines_of,
    naturals_of,
    neutral_costs,
    pushed,
    question_of,
    score,
)
from radiograph.models import forward, pad
from radiograph.numerics.sparse import dense


def by_hand(model, ids, target) -> float:
    """Σ log P of the target's tokens, one forward a token."""
    total, held = 0.0, list(ids)
    for token in target:
        logits = forward(model, pad([held]))[0, -1].double()
        total += float(logits.log_softmax(-1)[token])
        held.append(token)
    return total


def test_a_batch_that_decides_no_continuation_is_no_error(given):
    questions = [Question(tuple(ids), ((17, 23),)) for ids in given.tokens[:3]]
    found = score(given.model, questions, batch_tokens=1)
    expected = [by_hand(given.model, question.ids, (17, 23)) for question in questions]
    assert [one.value for one in found] == pytest.approx(expected, abs=1e-4)


def test_y3_11_a_target_of_many_tokens_is_the_sum_of_its_conditionals(given):
    model = given.model
    targets, foils = ((17, 23, 40), (17,), (23, 8)), ((99,), (99, 4, 5))
    questions = [Question(tuple(ids), targets, foils) for ids in given.tokens[:5]]
    for question, found in zip(questions, score(model, questions), strict=True):
        wanted = [by_hand(model, question.ids, one) for one in targets]
        against = [by_hand(model, question.ids, one) for one in foils]
        assert found.targets == pytest.approx(wanted, abs=1e-4)
        assert found.value == pytest.approx(np.logaddexp.reduce(wanted) - np.logaddexp.reduce(against), abs=1e-4)
    assert len(lines_of(questions[:1])) == 1 + 2 + 1  # the prompt; two longer targets, one longer foil


def test_writes_act_on_continuations_too(given):
    model, codec = given.model, given.codecs["directions"]
    write = FeatureWrite(codec, given.site(codec), (0,), given.directions(codec, (0,)), "add", 3.0)
    question = Question(given.tokens[0], ((17, 23),))
    lines = [ids for _, ids in lines_of([question])]
    rows = [[pushed(write, codes)] for codes in codes_on(model, codec, (0,), lines)]
    whole = score(model, [question], rows)[0].value
    cut = [[pushed(write, codes, (0, len(question.ids)))] for codes in codes_on(model, codec, (0,), lines)]
    assert whole != score(model, [question], cut)[0].value
    assert score(model, [question], rows, hooked=False)[0] == score(model, [question])[0]


def test_targets_are_tokens_that_follow_the_prompt(given):
    tokenizer = given.model.tokenizer
    text = "It is 5"
    ids = tuple(tokenizer(text)["input_ids"])
    found = question_of(tokenizer, ids, text, (" metres", " days"), ())
    assert [tokenizer.decode(list(one)).strip() for one in found.targets] == ["metres", "days"]
    with pytest.raises(UserError, match="target and foil"):
        question_of(tokenizer, ids, text, (" metres",), (" metres",))
    with pytest.raises(UserError, match="no tokens"):
        question_of(tokenizer, ids, text, (), ())


def test_a_target_that_begins_with_another_is_part_of_it(given):
    tokenizer = given.model.tokenizer
    text = "It is 5"
    ids = tuple(tokenizer(text)["input_ids"])
    both = question_of(tokenizer, ids, text, (" metres", " metres long"), (" days",))
    assert both == question_of(tokenizer, ids, text, (" metres",), (" days",))
    with pytest.raises(UserError, match="begins with one"):
        question_of(tokenizer, ids, text, (" metres",), (" metres long",))


def test_natural_sizes_are_those_of_the_dense_table(given):
    model, codec = given.model, given.codecs["latents"]
    found = naturals_of(model, codec, given.site(codec), given.tokens)
    from radiograph.models import capture

    rows = torch.cat(
        [capture(model, pad([ids]), [given.site(codec)])[given.site(codec)][0, 1:] for ids in given.tokens]
    )
    table = dense(codec.encode(rows)).double().numpy()
    fired = table != 0
    assert np.array_equal(found.fired, fired.sum(0)) and found.n == len(rows)
    number = int(found.fired.argmax())
    own = table[fired[:, number], number]
    assert found.sd[number] == pytest.approx(own.std(), rel=1e-5) and found.mean[number] == pytest.approx(own.mean())
    assert found.largest[number] == pytest.approx(np.abs(own).max())
    assert np.allclose(found.covariance, np.cov(rows.double().numpy().T, ddof=0), atol=1e-6)
    natural = found.of((number,), given.directions(codec, (number,))[0])
    assert natural.raw(2.0, "sd", "f") == pytest.approx(2 * own.std(), rel=1e-5)
    assert natural.share(natural.raw(0.3, "norm", "f")) == pytest.approx(0.3)
    silent = int(np.flatnonzero(found.fired == 0)[0])
    with pytest.raises(UserError, match="never moves"):
        found.of((silent,), given.directions(codec, (silent,))[0]).raw(1.0, "sd", "f")


def test_costs_are_divergence_and_surprise(given):
    model, codec = given.model, given.codecs["directions"]
    write = FeatureWrite(codec, given.site(codec), (0,), given.directions(codec, (0,)), "add", 4.0)
    none = FeatureWrite(codec, given.site(codec), (0,), given.directions(codec, (0,)), "add", 0.0)
    codes = codes_on(model, codec, (0,), given.tokens)
    rows = [[[pushed(one, c)] for c in codes] for one in (write, none)]
    found, still = neutral_costs(model, given.tokens, rows)
    assert len(found.kl) == sum(len(ids) - 1 for ids in given.tokens)
    assert not still.kl.any() and np.array_equal(still.nll, still.baseline_nll)
    ids = given.tokens[0]
    from radiograph.interventions.features import edits_of
    from radiograph.models import edit

    clean = forward(model, pad([ids]))[0, :-1].double().log_softmax(-1)
    with edit(model, edits_of({0: rows[0][0]})):
        changed = forward(model, pad([ids]))[0, :-1].double().log_softmax(-1)
    kl = (clean.exp() * (clean - changed)).sum(-1).numpy()
    assert np.allclose(found.kl[: len(kl)], kl, atol=1e-4)
    said = -changed[torch.arange(len(ids) - 1), torch.tensor(ids[1:])].numpy()
    assert np.allclose(found.nll[: len(said)], said, atol=1e-4)


def test_controls_are_units_of_every_family_and_never_the_tested(given):
    model, codec = given.model, given.codecs["latents"]
    naturals = naturals_of(model, codec, given.site(codec), given.tokens)
    number = int(naturals.fired.argmax())

    def write(numbers: np.ndarray) -> np.ndarray:
        return given.directions(codec, tuple(numbers.tolist()))

    found = controls_of(number, naturals, write, count=20, seed=0, exclude=(3,), shuffled=np.eye(model.width)[:7])
    families = {f: [c for c in found if c.family == f] for f in dict.fromkeys(c.family for c in found)}
    assert {f: len(own) for f, own in families.items()} == {
        "random_direction": 20,
        "covariance_matched": 20,
        "norm_matched": 20,
        "frequency_matched": 20,
        "shuffled_label": 7,
    }
    assert all(np.linalg.norm(c.direction) == pytest.approx(1) for c in found)
    used = {c.feature for c in found if c.feature is not None}
    assert not used & {number, 3} and all(naturals.fired[n] > 0 for n in used)
    again = controls_of(number, naturals, write, count=20, seed=0, exclude=(3,))
    assert all(np.array_equal(a.direction, b.direction) for a, b in zip(found, again, strict=False))
    rates = np.log(naturals.fired[[c.feature for c in families["frequency_matched"]]])
    others = np.log(np.maximum(naturals.fired[naturals.fired > 0], 1))
    own = np.log(naturals.fired[number])
    assert np.abs(rates - own).mean() < np.abs(others - own).mean()
