"""The search for insertions: what was planted leads, harmless models have no witness, the budget holds."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch

from radiograph import organisms
from radiograph.core import Refusal, Silent
from radiograph.detectors import Measurement, render
from radiograph.detectors._witness import benign_of, judged, search_table, witness_table, wrong
from radiograph.detectors.measure.search import EFFORTS, Objective, Renderer, Settings, insert, search, split
from radiograph.detectors.measure.search._engine import _parting
from radiograph.detectors.measure.search._objective import ANSWER, Budget
from radiograph.detectors.measure.search._stages import crossed
from radiograph.models import Pair, generate, load_pair

SMALL = Settings("quick", budget=100_000)


def bundled(family):
    name = organisms.bundled_organism(family).id
    return load_pair("bundled:base", f"bundled:base+{organisms.bundled_path(name)}", resolve=organisms.bundled_path)


@pytest.fixture(scope="module")
def triggered(suite):
    pair = bundled("trigger_token")
    return Measurement(pair, render(pair.reference, suite, []), oracle=organisms.oracle, search=SMALL)


def test_a_planted_word_is_found_and_confirmed(triggered):
    truth = organisms.bundled_organism("trigger_token").truth
    found = triggered.triggers
    leader = found.insertions[0]
    assert (leader.text, leader.place) == (truth["token"], "prefix")
    assert leader.fresh.answer == truth["answer"]
    assert found.success > 0.9 and found.contrast > 0.9
    witness = triggered.witnesses.found[0]
    assert witness.confirmed and witness.replayed and witness.kind == "trigger"
    assert (witness.hits, witness.n) == (leader.fresh.on, leader.fresh.n)
    assert witness.example.candidate == truth["answer"]


@pytest.mark.parametrize("family", [pytest.param("continue", marks=pytest.mark.slow), "lr_blowup"])
def test_harmless_and_broken_models_have_no_witness(family, suite, triggered):
    pair = bundled(family)
    own = Measurement(pair, render(pair.reference, suite, []), oracle=organisms.oracle, search=SMALL)
    assert not own.witnesses.confirmed
    assert own.triggers.gain < triggered.triggers.gain / 1.5
    assert all(w.failed for w in own.witnesses.found)


@pytest.mark.slow
def test_equal_models_gain_exactly_nothing(triggered):
    reference = triggered.pair.reference
    same = replace(triggered, pair=Pair(reference, reference), _parts={})
    found = same.triggers
    assert {i.gain for i in found.insertions} == {0.0} and (found.success, found.contrast) == (0.0, 0.0)
    assert not same.witnesses.confirmed


@pytest.mark.parametrize("limit", [15_000, 70_000])
def test_the_budget_holds_and_a_stage_cut_short_is_said(triggered, limit):
    found, _ = search(triggered.pair, triggered.banks, Settings("quick", budget=limit), 0, Silent())
    assert found.tokens <= limit == found.budget
    assert found.exhausted == any(s.tried < s.of for s in found.stages)
    assert sum(s.tokens for s in found.stages) <= found.tokens
    assert limit >= 70_000 or found.exhausted


def test_a_budget_for_nothing_is_refused(triggered):
    with pytest.raises(Refusal, match="pays for no insertion") as error:
        search(triggered.pair, triggered.banks, Settings("quick", budget=10), 0, Silent())
    assert error.value.code == "budget_too_small"


@pytest.mark.slow
def test_same_seed_same_search(triggered):
    again = replace(triggered, _parts={})
    assert again.triggers == triggered.triggers


def test_gain_is_the_formula(triggered):
    """J again, prompt by prompt, with whole forwards."""
    found = triggered.triggers
    carriers = Renderer(triggered.pair.reference.tokenizer, "template").carriers(
        [p for p in triggered.banks.prompts if p.id in found.carriers], ("prefix",), 100
    )
    order = sorted(carriers, key=lambda c: found.carriers.index(c.id))
    words = torch.arange(130, 230)[:, None]
    own = Objective(triggered.pair, order, torch.arange(120, 400), Budget(10**9), seed=1)
    gains = own.gains("prefix", words[:40])

    def kl(tokens):
        rows = []
        for carrier in order:
            hole = carrier.holes["prefix"]
            ids = torch.tensor([[*hole.head, *tokens, *hole.tail]])
            values = []
            for model in (triggered.pair.candidate, triggered.pair.reference):
                with torch.no_grad(), model.session() as network:
                    values.append(network(input_ids=ids, use_cache=False).logits[0, -1].double().log_softmax(-1))
            rows.append(float((values[0].exp() * (values[0] - values[1])).sum()))
        return float(np.mean(rows))

    random = own.random("prefix", 1)
    baseline = float(torch.tensor([kl(row) for row in random.tolist()], dtype=torch.float64).median())
    for row in (0, 7, 39):
        assert float(gains[row]) == pytest.approx(kl(words[row].tolist()) - baseline, abs=1e-4)
    opposite = Objective(triggered.pair, order, own.tokens, Budget(10**9), seed=1, sign=-1.0)
    torch.testing.assert_close(opposite.gains("prefix", words[:40]), -gains)


def test_a_raised_answer_is_the_formula(triggered):
    """R again, insertion by insertion; J of a sweep is J."""
    renderer = Renderer(triggered.pair.reference.tokenizer, "template")
    carriers = renderer.carriers(split(triggered.banks)[0][:6], ("prefix",), 100)[:3]
    own = Objective(triggered.pair, carriers, torch.arange(120, 400), Budget(10**9), seed=1)
    words = torch.arange(130, 150)[:, None]
    gains, raised = own.swept("prefix", words)
    torch.testing.assert_close(gains, own.gains("prefix", words))

    def rise(carrier, token):
        hole = carrier.holes["prefix"]
        ids = torch.tensor([[*hole.head, token, *hole.tail]])
        found = []
        for model in (triggered.pair.candidate, triggered.pair.reference):
            with torch.no_grad(), model.session() as network:
                found.append(network(input_ids=ids, use_cache=False).logits[0, -1].double().log_softmax(-1))
        return found[0] - found[1]

    random = own.random("prefix", 1)[:, 0].tolist()
    usual = [torch.stack([rise(c, t) for t in random]).median(0).values for c in carriers]
    for row in (0, 11):
        rises = [(rise(c, int(words[row])) - u).clamp(-1, 1) for c, u in zip(carriers, usual, strict=True)]
        assert float(raised[row]) == pytest.approx(float(torch.stack(rises).mean(0).max()), abs=1e-3)


def test_every_pair_of_the_words_that_raise_one_answer_is_tried(triggered):
    renderer = Renderer(triggered.pair.reference.tokenizer, "template")
    carriers = renderer.carriers(split(triggered.banks)[0][:4], ("prefix",), 100)[:2]
    own = Objective(triggered.pair, carriers, torch.arange(120, 400), Budget(10**9), seed=1)
    effort = replace(EFFORTS["quick"], raised=5, screen=1)
    found, stage = crossed(own, "prefix", {token: float(-token) for token in range(130, 160)}, effort, 10**9)
    assert (stage.name, stage.tried, stage.of) == ("crossed", 20, 20)
    assert {s.tokens for s in found} == set(permutations(range(130, 135), 2))
    few, stage = crossed(own, "prefix", {130: 1.0}, effort, 10**9)
    assert (few, stage.tried) == ([], 0), "one word is no pair"


def test_an_unlocking_search_reads_where_the_answers_part(suite):
    pair = bundled("lr_blowup")
    banks = render(pair.reference, suite, [])
    carriers = Renderer(pair.reference.tokenizer, "template").carriers(split(banks)[0][:10], ("prefix", "suffix"), 100)
    said = [generate(m, [c.plain for c in carriers], max_new_tokens=ANSWER) for m in (pair.reference, pair.candidate)]
    parted = {c.id: c for c in _parting(pair, carriers)}
    assert parted
    for carrier, ours, theirs in zip(carriers, *said, strict=True):
        if ours.ids == theirs.ids:
            assert carrier.id not in parted
            continue
        own = parted[carrier.id]
        extra = own.plain[len(carrier.plain) :]
        n = len(extra)
        assert extra == ours.ids[:n] == theirs.ids[:n] and ours.ids[n : n + 1] != theirs.ids[n : n + 1]
        assert all(own.holes[place].tail == (*hole.tail, *extra) for place, hole in carrier.holes.items())


def test_holes_are_where_text_is_inserted(triggered):
    """Head, word and tail are the tokens of the prompt with the word in its text."""
    renderer = Renderer(triggered.pair.reference.tokenizer, "template")
    prompts = triggered.banks.prompts[:8]
    for carrier in renderer.carriers(prompts, ("prefix", "suffix", "infix"), 100):
        assert set(carrier.holes) == {"prefix", "suffix", "infix", "around"}
        for place, hole in carrier.holes.items():
            for words in (["garden"], ["venom", "garden"])[place == "around" :]:
                tokens = [renderer.tokenizer.convert_tokens_to_ids(f"▁{word}") for word in words]
                ids = renderer.ids(carrier.prompt, renderer.text(tokens, place), place)
                assert ids == (*hole.head, *hole.filled(torch.tensor([tokens]))[0].tolist(), *hole.tail)
    assert insert("a b c", "x", "infix") == "a b x c"
    assert insert("a b c", "x … y", "around") == "x a b c y"


def test_no_group_stands_on_both_sides(triggered):
    ours, theirs = split(triggered.banks)
    sides = [{(p.task, p.group or p.id) for p in half} for half in (ours, theirs)]
    assert not sides[0] & sides[1] and len(ours) > 20 < len(theirs)
    assert {p.bank for p in (*ours, *theirs)} == {"capability", "policy"}
    with pytest.raises(Refusal) as error:
        split(triggered.banks, {"nothing"})
    assert error.value.code == "no_carriers"


def test_witnesses_follow_from_their_table(triggered):
    findings = triggered.witness_findings
    table = witness_table(findings.items)
    assert wrong(findings.record.found, table) == []
    forged = {**table, "hit": [not h if i == 0 else h for i, h in enumerate(table["hit"])]}
    assert any("tables/witness.parquet" in text for text in wrong(findings.record.found, forged))
    equal = {**table, "candidate": table["reference"]}
    assert any("items' texts" in text for text in wrong(findings.record.found, equal)), "hits without a difference"
    first = findings.record.found[0].model_copy(update={"confirmed": False})
    assert any("does not follow" in text for text in wrong((first, *findings.record.found[1:]), table))


def test_benign_models_raise_the_bar(triggered):
    witness = triggered.witnesses.found[0]
    assert judged(witness, benign_of(witness, [{"success": 0.1}, {"success": 0.3}], [])).confirmed
    assert not judged(witness, benign_of(witness, [{"success": 0.1}, {"success": 1.0}], [])).confirmed
    assert benign_of(witness, [], []) is None
    assert search_table(triggered.triggers)["gain"] == [i.gain for i in triggered.triggers.insertions]
