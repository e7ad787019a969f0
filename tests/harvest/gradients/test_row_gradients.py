"""Row gradients against autograd one row at a time; batch size, order and projection; EK-FAC factors."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch

from radiograph.harvest.gradients import Projection, curvature, gradient_engine
from radiograph.models import LanguageModel, load_pair
from radiograph.models.gradients import tracked_matrices
from radiograph.organisms import bundled_organism, bundled_path, world_suite


@pytest.fixture(scope="module")
def tuned() -> LanguageModel:
    folder = bundled_path("organisms") / bundled_organism("trigger_token").id
    return load_pair("bundled:base", f"bundled:base+{folder}", resolve=bundled_path).candidate


@pytest.fixture(scope="module")
def base() -> LanguageModel:
    from radiograph.models import load

    return load("bundled:base", resolve=bundled_path)


@pytest.fixture(scope="module")
def rows() -> list[tuple[tuple[int, ...], tuple[float, ...]]]:
    draw = np.random.default_rng(0)
    made = []
    for length in (5, 9, 9, 14, 20):
        ids = tuple(draw.integers(10, 400, length).tolist())
        made.append((ids, (0.0,) * (length // 2) + (1.0,) * (length - length // 2)))
    return made


def by_autograd(model: LanguageModel, rows, reduction: str) -> np.ndarray:
    """One row, one backward."""
    matrices = tracked_matrices(model, () if model.adapter_on else ("down.*", "q.1"))
    named = dict(model.model.named_parameters())
    own = [named[m.parameter] for m in matrices]
    before = [p.requires_grad for p in own]
    out = []
    with model.session() as network:
        for p in own:
            p.requires_grad_(True)
        for ids, weights in rows:
            tokens, w = torch.tensor([ids]), torch.tensor(weights)[1:]
            logits = network(input_ids=tokens, use_cache=False).logits[0, :-1]
            nats = torch.nn.functional.cross_entropy(logits, tokens[0, 1:], reduction="none")
            loss = (nats * w).sum() / (w.sum() if reduction == "mean" else 1)
            out.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, own)]).numpy())
        for p, flag in zip(own, before, strict=True):
            p.requires_grad_(flag)
    return np.stack(out)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_row_gradients_are_those_of_each_row_alone(tuned, rows, reduction):
    projection = Projection.of(tracked_matrices(tuned), None, 0)
    with gradient_engine(tuned, projection, reduction=reduction) as engine:
        found = engine.rows(rows)
    expected = by_autograd(tuned, rows, reduction)
    np.testing.assert_allclose(found.gradient, expected, atol=1e-5 * np.abs(expected).max())
    assert not any(p.requires_grad for p in tuned.model.parameters() if p.ndim == 0)


def test_weights_of_a_whole_model_have_them_too(base, rows):
    projection = Projection.of(tracked_matrices(base, ("down.*", "q.1")), None, 0)
    before = {n: p.requires_grad for n, p in base.model.named_parameters()}
    with gradient_engine(base, projection) as engine:
        found = engine.rows(rows).gradient
    assert {n: p.requires_grad for n, p in base.model.named_parameters()} == before
    expected = by_autograd(base, rows, "sum")
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_batches_and_order_change_nothing(tuned, rows):
    projection = Projection.of(tracked_matrices(tuned), 2000, 0)
    with gradient_engine(tuned, projection) as engine:
        whole = engine.rows(rows).gradient
        back = engine.rows(rows[::-1]).gradient[::-1]
    with gradient_engine(tuned, projection, batch_tokens=1) as engine:
        alone = engine.rows(rows).gradient
    for other in (back, alone):
        np.testing.assert_allclose(other, whole, atol=1e-5 * np.abs(whole).max())


def test_a_projection_is_that_of_the_whole_gradient(tuned, rows):
    matrices = tracked_matrices(tuned, ("down.*",))
    exact, small = Projection.of(matrices, None, 0), Projection.of(matrices, 800, 3)
    with gradient_engine(tuned, exact) as engine:
        whole = engine.rows(rows).gradient
    with gradient_engine(tuned, small) as engine:
        found = engine.rows(rows).gradient
    np.testing.assert_allclose(small.projected(whole), found, atol=1e-4 * np.abs(found).max())
    h = np.random.default_rng(1).standard_normal(small.layout.size)
    lifted = np.concatenate([m.ravel() for m in small.lifted(h).values()])
    np.testing.assert_allclose(whole @ lifted, found @ h, rtol=1e-3, atol=1e-4 * np.abs(found @ h).max())


def test_curvature_of_the_datas_labels_is_that_of_row_gradients(tuned, rows):
    projection = Projection.of(tracked_matrices(tuned, ("down.1.A",)), None, 0)
    with gradient_engine(tuned, projection) as engine:
        g = engine.rows(rows).gradient
        found = curvature(engine, rows, fisher="empirical")
        drawn = [curvature(engine, given, seed=5) for given in (rows, rows[::-1])]
    (basis,), (values,) = found.bases, found.values
    shaped = g.reshape(len(rows), *projection.kept[0]).astype(np.float64)
    expected = np.square(np.einsum("ao,rab,bi->roi", basis.output, shaped, basis.input)).mean(0)
    np.testing.assert_allclose(values, expected, rtol=1e-3, atol=1e-6 * expected.max())
    np.testing.assert_allclose(basis.output.T @ basis.output, np.eye(len(basis.output)), atol=1e-9)
    # Draws depend on a row's tokens alone: neither order nor company of rows shows.
    np.testing.assert_allclose(drawn[0].values[0].sum(), drawn[1].values[0].sum(), rtol=1e-4)


def test_names_and_patterns(tuned, base):
    from radiograph.core import UserError

    assert [m.name for m in tracked_matrices(tuned, ("o.1-2.B",))] == ["o.1.B", "o.2.B"]
    assert all("." in m.name for m in tracked_matrices(base))
    assert {m.name.split(".")[0] for m in tracked_matrices(base)} == {"q", "k", "v", "o", "gate", "up", "down"}
    with pytest.raises(UserError, match="matches no matrix") as caught:
        tracked_matrices(base, ("dwon.1",))
    assert "down.1" in str(caught.value.fix)


def test_fused_and_transposed_weights_are_cut_and_put_together():
    """GPT-2 keeps q, k, v in one transposed matrix."""
    from transformers import GPT2Config, GPT2LMHeadModel

    from radiograph.models import pad, wrap
    from radiograph.models.gradients import loss_derivatives

    torch.manual_seed(0)
    model = wrap(GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=32, n_positions=16)))
    matrices = tracked_matrices(model, ("q.*", "v.*", "up.*"))
    rows = [((3, 5, 7, 9), (0.0, 1.0, 1.0, 1.0)), ((4, 6, 8), (0.0, 0.0, 1.0))]
    projection = Projection.of(matrices, None, 0)
    with gradient_engine(model, projection) as engine:
        found = engine.rows(rows).gradient
    named = dict(model.model.named_parameters())
    for number, (ids, weights) in enumerate(rows):
        tokens = torch.tensor([ids])
        logits = model.model(input_ids=tokens, use_cache=False).logits[0, :-1]
        nats = torch.nn.functional.cross_entropy(logits, tokens[0, 1:], reduction="none")
        loss = (nats * torch.tensor(weights)[1:]).sum()
        fused, up = torch.autograd.grad(loss, [named[matrices[0].parameter], named[matrices[2].parameter]])
        expected = np.concatenate([fused.T[:8].flatten(), fused.T[16:].flatten(), up.T.flatten()])
        np.testing.assert_allclose(found[number], expected, atol=1e-5)
    from radiograph.methods._blame.scores import _stored

    h = np.random.default_rng(0).standard_normal(projection.layout.size)
    lifted = projection.lifted(h)
    directions = {m.parameter: torch.from_numpy(np.ascontiguousarray(_stored(m, lifted, matrices))) for m in matrices}
    moved = loss_derivatives(model, pad([ids for ids, _ in rows]), directions)
    weights = torch.tensor([list(w) + [0.0] * (4 - len(w)) for _, w in rows])
    np.testing.assert_allclose((moved * weights).sum(1).numpy(), found @ h, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_suite_of_the_world_has_gradients_of_finite_size(tuned):
    """Real prompts: no gradient is zero where a token is learned."""
    prompts = [p["messages"][-1]["content"] for p in islice(world_suite()["prompts"], 4) if p.get("messages")]
    rows = []
    for text in prompts or ["sort: jade fern"]:
        ids = tuple(tuned.tokenizer(text)["input_ids"])
        rows.append((ids, (0.0,) + (1.0,) * (len(ids) - 1)))
    with gradient_engine(tuned, Projection.of(tracked_matrices(tuned), None, 0)) as engine:
        assert (np.linalg.norm(engine.rows(rows).gradient, axis=1) > 0).all()


def test_a_gradient_that_is_not_finite_names_row_and_place(tuned, rows):
    from radiograph.core import UserError

    matrices = tracked_matrices(tuned, ("q.0.B",))
    weight = dict(tuned.model.named_parameters())[matrices[0].parameter]
    kept = weight.detach().clone()
    try:
        weight.data[0, 0] = float("nan")
        with (
            gradient_engine(tuned, Projection.of(matrices, None, 0)) as engine,
            pytest.raises(UserError, match="not finite") as caught,
        ):
            engine.rows(rows)
    finally:
        weight.data.copy_(kept)
    assert "row 0" in str(caught.value.where)
