"""Writes of features against the engine of units and directions, against reading live, and against doing nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from radiograph.core import Site, UserError
from radiograph.interventions import bind, parse_conditions
from radiograph.interventions import edits_of as bound_edits
from radiograph.interventions.features import FeatureWrite, Pushed, codes_on, edits_of, live, pushed
from radiograph.models import capture, edit, forward, pad

KINDS = ("latents", "units", "directions")
NUMBERS = {"latents": (139, 3), "units": (5, 17), "directions": (0, 2)}
OPS = [("add", 0.7), ("scale", -2.0), ("set", 0.0), ("set", 1.5)]


def written(given, kind, op, value, *, where="all", span=None, numbers=None):
    """Logits of all texts under one write, packed; and the write."""
    codec, own = given.codecs[kind], numbers or NUMBERS[kind]
    write = FeatureWrite(codec, given.site(codec), own, given.directions(codec, own), op, value, where)
    codes = codes_on(given.model, codec, own, given.tokens)
    rows = [pushed(write, c, span) for c in codes]
    batch = pad(given.tokens)
    with edit(given.model, edits_of({row: [one] for row, one in enumerate(rows)})):
        return forward(given.model, batch), write, rows, batch


@pytest.mark.parametrize("kind", KINDS)
def test_a_write_of_nothing_changes_no_bit(given, kind):
    clean = forward(given.model, pad(given.tokens))
    for op, value in (("add", 0.0), ("scale", 1.0)):
        assert torch.equal(written(given, kind, op, value)[0], clean)
    assert not torch.equal(written(given, kind, "add", 0.5)[0], clean)


@pytest.mark.parametrize(("op", "value"), OPS)
@pytest.mark.parametrize("kind", KINDS)
def test_codes_read_beforehand_are_those_that_arrive(given, kind, op, value):
    packed, write, _, batch = written(given, kind, op, value)
    spans = dict.fromkeys(range(len(given.tokens)))
    with edit(given.model, {write.site: live(write, spans)}):
        slow = forward(given.model, batch)
    real = batch.mask[..., None]
    assert torch.allclose(packed * real, slow * real, atol=1e-4)


def test_units_and_directions_agree_with_the_engine_of_sweeps(given):
    model = given.model
    (direction,) = given.directions(given.codecs["directions"], (1,))
    texts = ["mlp_hidden.2[5]:ablate", "mlp_hidden.2[5]:add:0.7", "resid_post.1~d:add:0.7", "resid_post.1~d:ablate"]
    ours = [("units", "set", 0.0, (5,)), ("units", "add", 0.7, (5,)), ("directions", "add", 0.7, (1,))]
    ours.append(("directions", "set", 0.0, (1,)))
    lengths = [len(t) for t in given.tokens]
    for text, (kind, op, value, numbers) in zip(texts, ours, strict=True):
        bound = bind(model, parse_conditions([text]), directions={"d": direction})[1]
        batch = pad(given.tokens)
        with edit(model, bound_edits(model, batch.rows, [bound] * len(lengths), lengths)):
            theirs = forward(model, batch)
        assert torch.allclose(written(given, kind, op, value, numbers=numbers)[0], theirs, atol=2e-5), text


def test_an_ablated_unit_is_zero_and_a_clamped_projection_is_where_it_was_put(given):
    unit = given.codecs["units"]
    for kind, numbers, value in (("units", (5,), 0.0), ("directions", (1,), 2.0)):
        codec = given.codecs[kind]
        _, write, rows, batch = written(given, kind, "set", value, numbers=numbers)
        with edit(given.model, edits_of({r: [one] for r, one in enumerate(rows)})):
            found = capture(given.model, batch, [write.site])[write.site]
        direction = torch.from_numpy(given.directions(codec, numbers)[0]).float()
        assert torch.allclose((found @ direction)[batch.mask], torch.tensor(value), atol=1e-4)
    assert unit.address(5) == "mlp_hidden.2[5]"


def test_positions_are_the_span_or_where_the_feature_fires(given):
    _, _, everywhere, _ = written(given, "latents", "add", 1.0, numbers=(139,))
    _, _, active, _ = written(given, "latents", "add", 1.0, where="active", numbers=(139,))
    _, _, last, _ = written(given, "latents", "add", 1.0, span=(3, 5), numbers=(139,))
    codes = codes_on(given.model, given.codecs["latents"], (139,), given.tokens)
    for row, own in enumerate(codes):
        assert (everywhere[row].amount == 1).all()
        assert np.array_equal(active[row].amount != 0, own != 0)
        assert np.flatnonzero(last[row].amount[:, 0]).tolist() == [3, 4]


def test_a_group_acts_at_once_and_its_controls_are_as_long(given):
    _, _, rows, _ = written(given, "latents", "set", 0.0)
    unit = np.random.default_rng(0).standard_normal(given.model.width)
    unit /= np.linalg.norm(unit)
    for one in rows:
        size = np.linalg.norm(one.amount @ one.directions, axis=1)
        other = one.along(unit)
        assert np.allclose(np.linalg.norm(other.amount @ other.directions, axis=1), size)
    assert any(np.linalg.norm(one.amount) for one in rows)


def test_rows_of_one_batch_have_conditions_of_their_own(given):
    """Packed rows equal rows that run alone; rows without a write are those of the untouched model."""
    _, _, rows, _ = written(given, "directions", "add", 1.0)
    half = {row: [one] for row, one in enumerate(rows) if row % 2}
    batch = pad(given.tokens)
    with edit(given.model, edits_of(half)):
        packed = forward(given.model, batch)
    clean = forward(given.model, batch)
    for row, ids in enumerate(given.tokens):
        with edit(given.model, edits_of({0: half[row]} if row in half else {})):
            alone = forward(given.model, pad([ids]))[0]
        assert torch.allclose(packed[row, : len(ids)], alone, atol=1e-4)
        if row not in half:
            assert torch.equal(packed[row], clean[row])


def test_hooks_are_gone_and_a_codec_that_writes_elsewhere_is_not_read_live(given):
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in given.model.model.modules())
    codec = given.codecs["units"]
    write = FeatureWrite(codec, Site("resid_post", 1), (0,), np.eye(given.model.width)[:1], "add", 1.0)
    with pytest.raises(UserError, match="cannot be read"):
        live(write, {})
    assert Pushed(Site("embed"), np.ones((1, 2)), np.zeros((3, 1))).still


def test_a_group_is_set_to_a_value_of_each_feature(given):
    _, write, _, _ = written(given, "latents", "set", (5.0, 1.0))
    assert write.change(np.zeros((2, 2))).tolist() == [[5, 1]] * 2
