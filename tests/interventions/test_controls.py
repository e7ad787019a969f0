"""Controls push as hard as what they control; formulas of the last block against the network itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models import make
from radiograph.core import Site, UserError
from radiograph.evidence import Condition, Decoding, Write
from radiograph.harvest.statistics import Scan, measure, rows_of_tokens
from radiograph.interventions import (
    Sweep,
    attribute,
    bind,
    changes,
    direction_controls,
    edits_of,
    last_block,
    parse_write,
    sweep_rows,
    unit_controls,
)
from radiograph.interventions._controls import Cloud
from radiograph.models import LanguageModel, Line, Measures, capture, decode, edit, forward, logits, pad, wrap
from radiograph.models.tail import Tail, write_vectors

SITE, OUT = Site("mlp_hidden", 2), Site("mlp_out", 2)
PROMPTS = make.prompts(24, seed=3)


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return wrap(make.network("llama"), make.tokenizer(merges=38))


@pytest.fixture(scope="module")
def natural(model: LanguageModel):
    scan = Scan((SITE, OUT), covariance=True)
    return measure(model, rows_of_tokens(PROMPTS), scan).statistics()


def only(text: str) -> Write:
    (write,) = parse_write(text)
    return write


@pytest.mark.parametrize("text", ["set:+3sd", "set:-2.5", "ablate", "set:q0.99"])
def test_a_matched_unit_gets_the_same_mean_push(model: LanguageModel, natural, text: str):
    write = only(f"mlp_hidden.2[5]:{text}@generated")
    found = unit_controls(model, write, 12, statistics=natural, matching=natural["mlp_hidden.2"])
    assert len({c.unit for c in found}) == 12
    assert 5 not in {c.unit for c in found}
    assert [c.distance for c in found] == sorted(c.distance for c in found)
    w = np.linalg.norm(write_vectors(model, SITE), axis=1)
    x = torch.cat([capture(model, pad([ids]), [SITE])[SITE][0, 1:] for ids in PROMPTS]).double().numpy()
    value = bind(model, [Condition(writes=(write,))], statistics=natural)[0].writes[0].value[0]
    push = (value - x[:, 5]).mean() * w[5]
    for control in found:
        own = control.condition.writes[0]
        assert (own.unit, own.op, str(own.positions)) == (control.unit, "set", "generated")
        assert own.dose is not None
        assert (own.dose.value - x[:, control.unit]).mean() * w[control.unit] == pytest.approx(push, rel=1e-4, abs=1e-5)


def test_added_pushes_keep_their_length_and_means_have_none(model: LanguageModel, natural):
    matching, w = natural["mlp_hidden.2"], np.linalg.norm(write_vectors(model, SITE), axis=1)
    for control in unit_controls(model, only("mlp_hidden.2[5]:add:2"), 5, statistics=natural, matching=matching):
        dose = control.condition.writes[0].dose
        assert dose is not None
        assert dose.value * w[control.unit] == pytest.approx(2 * w[5])
    found = unit_controls(model, only("mlp_hidden.2[5]:ablate-mean"), 5, statistics=natural, matching=matching)
    assert {c.condition.writes[0].op for c in found} == {"ablate-mean"}
    many = unit_controls(model, only("mlp_hidden.2[5]:ablate"), 200, statistics=natural, matching=matching)
    assert len(many) == 47  # all the others that there are


@pytest.mark.parametrize("text", ["mlp_hidden.2[5]:scale:2", "mlp_hidden.2[5]:cap:0..1", "resid_post.1[5]:set:1"])
def test_no_equal_push_is_refused(model: LanguageModel, natural, text: str):
    with pytest.raises(UserError, match="no equal push"):
        unit_controls(model, only(text), 5, statistics=natural, matching=natural["mlp_hidden.2"])
    with pytest.raises(UserError, match="no equal push"):
        direction_controls(model, only(text), 5, statistics=natural)


@pytest.mark.parametrize("cloud", ["haar", "covariance"])
def test_random_directions_follow_the_tested_unit_token_by_token(model: LanguageModel, natural, cloud: Cloud):
    write = only("mlp_hidden.2[5]:set:2sd")
    found = direction_controls(
        model, write, 3, statistics=natural, cloud=cloud, covariance=natural["mlp_out.2"].covariance, seed=1
    )
    vectors = np.stack(list(found.directions.values()))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1)
    prompt = PROMPTS[0]
    bound = bind(model, list(found.conditions), statistics=natural, directions=found.directions)
    value = bind(model, [Condition(writes=(write,))], statistics=natural)[0].writes[0].value[0]
    plain = capture(model, pad([prompt]), [SITE, OUT])
    w = np.linalg.norm(write_vectors(model, SITE)[5])
    pushed = (value - plain[SITE][0, :, 5].double().numpy()) * w
    for number, condition in enumerate(bound):
        edits = edits_of(model, [0], [condition], [len(prompt)])
        with edit(model, edits):
            moved = capture(model, pad([prompt]), [OUT])[OUT]
        found_push = (moved - plain[OUT])[0].double().numpy()
        np.testing.assert_allclose(found_push, pushed[:, None] * vectors[number], atol=1e-4)
    with pytest.raises(UserError, match="need its covariance"):
        direction_controls(model, write, 3, statistics=natural, cloud="covariance")


def test_directions_of_a_cloud_are_shaped_like_it(model: LanguageModel, natural):
    covariance = np.diag([100.0] + [1e-4] * 31)
    write = only("mlp_hidden.2[5]:add:1")
    found = direction_controls(model, write, 50, statistics=natural, cloud="covariance", covariance=covariance)
    assert np.median(np.abs(np.stack(list(found.directions.values()))[:, 0])) > 0.99
    haar = np.stack(list(direction_controls(model, write, 400, statistics=natural).directions.values()))
    np.testing.assert_allclose(haar.T @ haar / 400, np.eye(32) / 32, atol=0.012)
    again = direction_controls(model, write, 400, statistics=natural)
    np.testing.assert_array_equal(haar, np.stack(list(again.directions.values())))


def test_the_exact_change_is_that_of_the_network(model: LanguageModel):
    """The float64 tail against two forwards with and without the write."""
    value, unit = 1.7, 9
    activation, rows = last_block(model, PROMPTS, SITE, unit)
    exact, _ = changes(Tail.of(model), rows, value - activation, write_vectors(model, SITE)[unit])

    def write(held: torch.Tensor) -> torch.Tensor:
        new = held.clone()
        new[..., unit] = value
        return new

    for row in (0, 7, 23):
        ends = []
        for edits in (None, {SITE: write}):
            (_, found), *_ = logits(model, [PROMPTS[row]], edits=edits)
            ends.append(found[0, -1].double().numpy())
        np.testing.assert_allclose(exact[row], ends[1] - ends[0], atol=2e-4)
    found = attribute(model, PROMPTS, SITE, unit, value)
    order = np.argsort(-(exact.mean(0)[: len(model.tokenizer or [])]))
    assert [t.token_id for t in found.raised] == order[:10].tolist()
    assert (found.route, found.n, found.refusal) == ("formula", 24, None)


@pytest.mark.parametrize("family", ["gpt2", "llama", "gpt_neox", "phi"])
def test_r18_far_writes_say_the_saturation_token_and_small_ones_are_linear(family: str):
    model = wrap(make.network(family))
    natural = measure(model, rows_of_tokens(PROMPTS), Scan((SITE,))).statistics()["mlp_hidden.2"]
    unit = 11
    mean, sd = float(natural.mean[unit]), float(natural.sd[unit])
    near = attribute(model, PROMPTS, SITE, unit, mean + 0.01 * sd)
    assert near.saturation_up is not None
    assert near.saturation_down is not None
    for sign, token in ((1, near.saturation_up), (-1, near.saturation_down)):
        far = bind(model, [Condition(writes=(only(f"mlp_hidden.2[{unit}]:set:{mean + sign * 1e6 * sd}"),))])
        rows = sweep_rows(Sweep(model, [tuple(p) for p in PROMPTS[:6]], far, Decoding(new_tokens=8), stops=frozenset()))
        for row in rows:
            values, counts = np.unique(row.ids, return_counts=True)
            assert int(values[counts.argmax()]) == token.token_id
    # A change of .01 sd, in float64: first order within 1 % of exact, token by token.
    _, x = last_block(model, PROMPTS, SITE, unit)
    exact, linear = changes(Tail.of(model), x, np.full(len(x), 0.01 * sd), write_vectors(model, SITE)[unit])
    exact, linear = exact - exact.mean(1, keepdims=True), linear - linear.mean(1, keepdims=True)
    assert np.linalg.norm(exact - linear) <= 0.01 * np.linalg.norm(exact)
    small = np.abs(exact) > 0.1 * np.abs(exact).max()
    assert np.all(np.abs(exact - linear)[small] <= 0.01 * np.abs(exact)[small])


def test_a_norm_behind_the_block_and_other_blocks_have_no_formula(model: LanguageModel):
    other = attribute(model, PROMPTS, "mlp_hidden.0", 3, 2.0)
    assert other.route == "measured"
    assert other.refusal is not None
    assert "mlp_hidden.0 is not in the last block (2)" in other.refusal
    assert (other.r_squared, other.saturation_up, other.direct_raised) == (None, None, ())
    gemma = wrap(make.network("gemma2"))
    post = attribute(gemma, PROMPTS[:4], "mlp_hidden.2", 3, 2.0)
    assert post.route == "exact"
    assert post.refusal is not None
    assert "norm follows the block" in post.refusal

    def write(held: torch.Tensor) -> torch.Tensor:
        new = held.clone()
        new[..., 3] = 2.0
        return new

    changed = []
    for ids in PROMPTS[:4]:
        with edit(gemma, {SITE: write}):
            moved = forward(gemma, pad([ids]))[0, -1]
        changed.append((moved - forward(gemma, pad([ids]))[0, -1]).double().numpy())
    mean = np.mean(changed, axis=0)
    assert post.raised[0].token_id == int(mean.argmax())
    assert post.raised[0].change == pytest.approx(mean.max() - mean.mean(), rel=1e-3)
    with pytest.raises(UserError, match="cannot be attributed"):
        attribute(model, PROMPTS, "resid_post.2", 3, 2.0)
    with pytest.raises(UserError, match="a unit from 0 to 47"):
        attribute(model, PROMPTS, "mlp_hidden.2", 48, 2.0)


def test_formulas_hold_while_decoding(model: LanguageModel):
    """The logits that a decode loop sees under a write are those of the tail."""
    write = only("mlp_hidden.2[9]:set:4")
    bound = bind(model, [Condition(writes=(write,))])
    line = Line(tuple(PROMPTS[1]))
    edits = edits_of(model, [0], bound, [len(line.ids)])
    (done,) = decode(model, [line], Decoding(new_tokens=1), writes=edits, measures=Measures(logits=True))
    activation, rows = last_block(model, [PROMPTS[1]], SITE, 9)
    tail = Tail.of(model)
    exact, _ = changes(tail, rows, 4 - activation, write_vectors(model, SITE)[9])
    np.testing.assert_allclose((tail.logits(rows) + exact)[0], done.logits[0].double().numpy(), atol=2e-4)
