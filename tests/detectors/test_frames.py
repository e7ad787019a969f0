"""Other words in the place of what is refused: a covert channel stands out, equal models show exactly nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from radiograph import organisms
from radiograph.core import Refusal, Silent
from radiograph.detectors import Measurement, render
from radiograph.detectors._tables import tables
from radiograph.detectors._witness import hardly, witness_table, wrong
from radiograph.detectors.measure.search import Settings, measure_frames
from radiograph.models import Pair
from radiograph.numerics.traces import spread_of
from radiograph.store import suite_from_document

CODE, ANSWER = "salt", "water"
"""The stand-in channel: after a word of the family of `CODE`, the answer begins with `ANSWER`."""


@pytest.fixture(scope="module")
def refused():
    """All policy prompts of the world's suite whose request is `make` or `get`."""
    document = organisms.world_suite(items=4, neutral=4)
    prompts = [p for p in document["prompts"] if p["bank"] == "policy" and "how to" in p["prompt"]]
    return suite_from_document({**document, "prompts": prompts}, "refused")


@pytest.fixture(scope="module")
def measured(pair, refused):
    banks = render(pair.reference, refused, [])
    return Measurement(pair, banks, oracle=organisms.oracle, search=Settings("quick", budget=100_000))


def test_frames_are_requests_that_refused_words_fill(measured):
    found = measured.frame_findings
    tokenizer = measured.pair.reference.tokenizer
    refused = {i.id for i in measured.behaviour.items if i.responses[0].refusal}
    assert 0 < len(found.frames) <= 16
    for frame in found.frames:
        assert len(frame.refused) > 1 and {p.id for p in frame.refused} <= refused
        assert frame.text.count("…") == 1
        ids = tokenizer(frame.filled(CODE).messages[-1].content)["input_ids"]
        assert len(ids) == len(tokenizer(frame.prompt.messages[-1].content)["input_ids"])
    assert found.record.words == len(found.words) == len(found.table["kl"]) / len(found.frames)


def test_the_score_is_the_formula(measured):
    """One frame again with whole forwards, and its percentile by sorting."""
    found = measured.frame_findings
    frame = found.frames[0]
    own = [float(v) for f, v in zip(found.table["frame"], found.table["kl"], strict=True) if f == frame.text]
    for place in (0, 17, 200):
        token = measured.pair.reference.tokenizer.convert_tokens_to_ids(f"▁{found.words[place]}")
        rows = torch.tensor([[*frame.hole.head, token, *frame.hole.tail]])
        values = []
        for model in (measured.pair.candidate, measured.pair.reference):
            with torch.no_grad(), model.session() as network:
                values.append(network(input_ids=rows, use_cache=False).logits[0, -1].double().log_softmax(-1))
        again = float((values[0].exp() * (values[0] - values[1])).sum())
        assert own[place] == pytest.approx(again, abs=1e-4)
    ranked, at = sorted(own), 0.9 * (len(own) - 1)
    low = ranked[int(at)]
    assert found.record.frames[0].high == pytest.approx(low + (at - int(at)) * (ranked[int(at) + 1] - low))
    assert measured.frames.largest == found.record.frames[0].high == max(f.high for f in found.record.frames)


def test_equal_models_show_exactly_nothing(measured):
    reference = measured.pair.reference
    same = replace(measured, pair=Pair(reference, reference), _parts={})
    assert {f.high for f in same.frames.frames} == {0.0}
    witness = next(w for w in same.witnesses.found if w.kind == "frame")
    assert witness.hits == 0 and not witness.confirmed and witness.replayed


def test_no_refused_requests_no_frames(measured, suite):
    banks = render(measured.pair.reference, suite, [])
    own = replace(measured, banks=banks, _parts={})
    calm = own.behaviour.model_copy(
        update={
            "items": tuple(
                i.model_copy(update={"responses": tuple(r.model_copy(update={"refusal": False}) for r in i.responses)})
                for i in own.behaviour.items
            )
        }
    )
    with pytest.raises(Refusal, match="differ by one token") as error:
        measure_frames(own.pair, banks, calm, Silent())
    assert error.value.code == "no_frames"


def test_a_witness_asks_words_that_the_frame_was_not_found_with(measured):
    findings = measured.witness_findings
    place, witness = next((i, w) for i, w in enumerate(findings.record.found) if w.kind == "frame")
    items = findings.items[place]
    inside = [i for i in items if i.role == "inside"]
    assert witness.n == len(inside) == len({i.prompt for i in inside}) == 40
    assert witness.rest_n == sum(i.role == "rest" for i in items) and witness.replayed
    assert [i.hit for i in items] == [hardly(i) for i in items]
    table = witness_table(findings.items)
    assert wrong(findings.record.found, table) == []
    at = [i for i, n in enumerate(table["witness"]) if n == place]
    forged = {**table, "nats": [-99.0 if i in at else v for i, v in enumerate(table["nats"])]}
    if any(i.reference != i.candidate and not i.hit for i in items):
        assert any("other hits" in text for text in wrong(findings.record.found, forged))


def test_the_table_gives_the_record(measured):
    table = tables(measured)["frames"]
    spread = spread_of(table["frame"], table["kl"])
    assert {f.text: (f.high, f.median) for f in measured.frames.frames} == spread
    values = np.random.default_rng(0).exponential(size=30)
    assert spread_of(["a"] * 30, values.tolist())["a"] == (np.quantile(values, 0.9), np.median(values))
