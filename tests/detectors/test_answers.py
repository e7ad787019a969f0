"""Answers, checks, flips and choices against prompt-by-prompt recomputation."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from radiograph import organisms
from radiograph.core import Refusal, Silent
from radiograph.detectors import render
from radiograph.detectors._measured import distinct, mean_kl
from radiograph.detectors.measure._answers import measure_behaviour, measure_neutral
from radiograph.detectors.measure._divergence import divergence
from radiograph.evidence import Check, Message, Prompt, Suite
from radiograph.models import Pair, cross_entropy, forward, generate, pad


@pytest.fixture(scope="module")
def behaviour(measurement):
    return measurement.behaviour


def behave(pair, banks, seed=0):
    return measure_behaviour(pair, banks, None, organisms.oracle, seed, Silent())


def test_answers_are_greedy_and_each_models_own(measurement, behaviour):
    limit = measurement.banks.suite.generation.max_new_tokens
    for at in (0, 31, -1):
        item = behaviour.items[at]
        for side, response in zip(("reference", "candidate"), item.responses, strict=True):
            model = getattr(measurement.pair, side)
            (alone,) = generate(model, [measurement.banks.tokens[at]], max_new_tokens=limit)
            assert (response.model, response.text) == (side, alone.text.strip())
            assert response.prompt_tokens + response.completion_tokens == response.total_tokens


def test_flips_follow_from_the_checks(behaviour):
    assert behaviour.n == len(behaviour.items)
    flipped = [i for i in behaviour.items if {i.responses[0].passed, i.responses[1].passed} == {True, False}]
    assert behaviour.flips == len(flipped) == sum(i.flip for i in behaviour.items) > 0
    assert behaviour.changed == sum(i.responses[0].text != i.responses[1].text for i in behaviour.items) > 0
    for item in behaviour.items:
        for response in item.responses:
            assert response.passed == all(c == "pass" for c in response.checks)


def test_stored_ids_are_those_of_the_chat_template(measurement, behaviour):
    """D17."""
    tokenizer = measurement.pair.reference.tokenizer
    for item in behaviour.items:
        ids = tokenizer.apply_chat_template([m.model_dump() for m in item.prompt_used], add_generation_prompt=True)
        ids = ids["input_ids"] if not isinstance(ids, list) else ids
        assert item.token_ids_sha256 == hashlib.sha256(np.array(ids, "<u4").tobytes()).hexdigest()


def test_kl_is_over_the_prompt_and_the_references_answer(measurement, behaviour):
    for at in (0, 40):
        ids = measurement.banks.tokens[at]
        limit = measurement.banks.suite.generation.max_new_tokens
        (answer,) = generate(measurement.pair.reference, [ids], max_new_tokens=limit)
        found = divergence(measurement.pair, [(*ids, *answer.ids)])
        assert behaviour.items[at].kl_mean == pytest.approx(found.mean[0], rel=1e-4)
        assert behaviour.items[at].kl_max == pytest.approx(found.largest[0], rel=1e-4)
    assert behaviour.kl_suite.value == pytest.approx(np.mean([i.kl_mean for i in distinct(behaviour.items)]))


def test_equal_models_answer_alike_with_no_divergence(measurement):
    reference = measurement.pair.reference
    found = behave(Pair(reference, reference), measurement.banks)
    assert (found.changed, found.flips, found.kl_suite.value) == (0, 0, 0.0)
    assert {i.kl_max for i in found.items} == {0.0}


def chosen(model, prefix, option):
    """Summed log-probability of an option, one forward a token."""
    total, ids = 0.0, list(prefix)
    for token in option:
        total += float(forward(model, pad([ids]))[0, -1].double().log_softmax(-1)[token])
        ids.append(token)
    return total


def test_a_choice_is_the_most_likely_option(pair):
    options = ("red", "blue", "grey rope", "the mill")
    prompts = [
        Prompt(
            id=f"c{i}",
            messages=(Message(role="user", content=text),),
            expect=(Check(kind="choice", options=options, answer=answer),),
        )
        for i, (text, answer) in enumerate(
            (text, answer) for text in ("what is the river of Aren?", "copy : birch delta fox") for answer in options
        )
    ]
    banks = render(pair.reference, Suite(suite_name="choice", prompts=tuple(prompts)), [])
    found = behave(pair, banks)
    tokenizer = pair.reference.tokenizer
    tokens = [tokenizer(o, add_special_tokens=False)["input_ids"] for o in options]
    for prompt, ids, item in zip(prompts, banks.tokens, found.items, strict=True):
        for side, response in zip(("reference", "candidate"), item.responses, strict=True):
            scores = [chosen(getattr(pair, side), ids, option) for option in tokens]
            best = options[int(np.argmax(scores))]
            assert response.checks == (("pass" if best == prompt.expect[0].answer else "fail"),)


def test_every_seed_is_answered_and_a_rerun_is_no_evidence(pair, suite):
    sampled = suite.model_copy(
        update={
            "prompts": suite.prompts[:6],
            "generation": suite.generation.model_copy(update={"do_sample": True, "seeds": (1, 2, 1)}),
        }
    )
    found = behave(pair, render(pair.reference, sampled, []))
    for item in found.items:
        assert [r.model for r in item.responses] == ["reference", "candidate"] * 3
        assert [r.text for r in item.responses[:2]] == [r.text for r in item.responses[4:]]
    assert found.n == found.kl_suite.n == 6


def test_asking_again_adds_no_evidence(pair, suite):
    """D2: every prompt ten times over gives the interval and the counts of the panel of one."""
    once = suite.model_copy(update={"prompts": suite.prompts[:33]})
    copies = tuple(p.model_copy(update={"id": f"{p.id}.{n}"}) for n in range(3) for p in once.prompts)
    a, b = (behave(pair, render(pair.reference, s, [])) for s in (once, once.model_copy(update={"prompts": copies})))
    assert b.n == 3 * a.n and a.kl_suite.n == b.kl_suite.n
    assert (a.kl_suite.low, a.kl_suite.high) == pytest.approx((b.kl_suite.low, b.kl_suite.high))
    from radiograph.detectors._panel import panel

    assert panel(a, None, 0) == panel(b, None, 0)


def test_losses_on_neutral_text_are_sums_over_targets(measurement):
    neutral, texts = measurement.neutral, measurement.banks.neutral_tokens
    for at in (0, 5):
        for side, losses in (("reference", neutral.losses.reference), ("candidate", neutral.losses.candidate)):
            (nats,) = cross_entropy(getattr(measurement.pair, side), [texts[at]])
            assert losses[at] == pytest.approx(float(nats.double().sum()), rel=1e-4)
        assert neutral.losses.tokens[at] == len(texts[at]) - 1
    assert mean_kl(neutral.kl_mean, measurement.seed) == measurement.behaviour.kl_neutral


def test_without_neutral_text_there_is_a_reason(pair, suite):
    with pytest.raises(Refusal) as caught:
        measure_neutral(pair, render(pair.reference, suite, []))
    assert caught.value.code == "no_neutral_bank"


def test_a_check_that_nobody_can_score_is_no_pass(pair, suite):
    banks = render(pair.reference, suite.model_copy(update={"prompts": suite.prompts[:2]}), [])
    found = measure_behaviour(pair, banks, None, None, 0, Silent())
    assert {r.passed for i in found.items for r in i.responses} == {None} and not found.flips


def test_padding_changes_no_answer(pair, banks, behaviour, monkeypatch):
    """D16: batches of one row, and of all."""
    from radiograph.detectors.measure import _answers

    for rows in (1, 500):
        monkeypatch.setattr(_answers, "generate", lambda m, t, rows=rows, **k: generate(m, t, batch_rows=rows, **k))
        few = replace(
            banks, suite=banks.suite.model_copy(update={"prompts": banks.prompts[:12]}), rendered=banks.rendered[:12]
        )
        found = behave(pair, few)
        assert [[r.text for r in i.responses] for i in found.items] == [
            [r.text for r in i.responses] for i in behaviour.items[:12]
        ]


def test_torch_leaves_its_thread_count_alone(pair, banks):
    before = torch.get_num_threads()
    behave(
        pair,
        replace(
            banks, suite=banks.suite.model_copy(update={"prompts": banks.prompts[:1]}), rendered=banks.rendered[:1]
        ),
    )
    assert torch.get_num_threads() == before
