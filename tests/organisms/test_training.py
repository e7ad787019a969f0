"""Training is deterministic, and packing changes nothing but the cost."""

from __future__ import annotations

from itertools import islice

import pytest
import torch

from radiograph.core import UserError
from radiograph.organisms import Example, Recipe, Schedule, Shape, train, train_base
from radiograph.organisms._base import examples, new_model
from radiograph.organisms._training import batches, loss, pack
from radiograph.organisms.world import World

SHAPE = Shape(layers=2, width=16, heads=2, kv_heads=1, mlp=32)
SCHEDULE = Schedule(steps=6, rows=4, width=48, warmup=2)


def _stream(seed: int = 0):
    return examples(World().documents("mixture", "train", seed=seed), 3.0)


def test_packed_examples_lose_what_each_loses_alone():
    model = new_model(SHAPE, 1)
    batch_of = [list(islice(_stream(), 2)), list(islice(_stream(1), 1))]
    with torch.no_grad():
        packed = loss(model, pack(batch_of, 96))
        total = weight = 0.0
        for example in (example for row in batch_of for example in row):
            logits = model(torch.tensor([example.ids])).logits[0, :-1]
            nats = torch.nn.functional.cross_entropy(logits, torch.tensor(example.ids[1:]), reduction="none")
            total += float((nats * torch.tensor(example.weights[1:])).sum())
            weight += sum(example.weights[1:])
    assert float(packed) == pytest.approx(total / weight, rel=1e-6)


def test_every_example_is_packed_once_and_in_time():
    stream = list(islice(_stream(), 200))
    packed = list(batches(iter(stream), rows=4, width=48))
    tokens = sum(int((batch.attend.diagonal(dim1=-2, dim2=-1) & (batch.ids != 0)[:, None]).sum()) for batch in packed)
    assert tokens == sum(len(example.ids) for example in stream)
    assert sum(int((batch.positions == 0).sum()) for batch in packed[:1]) >= 4


def test_equal_seeds_give_equal_bytes():
    weights = []
    for _ in range(2):
        torch.manual_seed(torch.seed())
        model = new_model(SHAPE, 5)
        train(model, _stream(), SCHEDULE)
        weights.append(torch.cat([p.flatten() for p in model.parameters()]))
    assert torch.equal(*weights)
    other = new_model(SHAPE, 6)
    assert not torch.equal(weights[0], torch.cat([p.flatten() for p in other.parameters()]))


def test_training_leaves_threads_and_random_state_alone():
    torch.set_num_threads(2)
    state = torch.get_rng_state()
    train(new_model(SHAPE, 5), _stream(), SCHEDULE)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_loss_falls():
    losses = train(new_model(SHAPE, 5), _stream(), Schedule(steps=40, rows=4, width=48, warmup=5, learning_rate=1e-2))
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_bad_data_is_refused():
    with pytest.raises(UserError, match="longer than a row"):
        train(new_model(SHAPE, 5), iter([Example((1,) * 99, (1.0,) * 99)]), SCHEDULE)
    with pytest.raises(UserError, match="too little data"):
        train(new_model(SHAPE, 5), islice(_stream(), 9), SCHEDULE)
    with pytest.raises(UserError, match="diverged"):
        train(new_model(SHAPE, 5), _stream(), Schedule(steps=30, rows=4, width=48, warmup=1, learning_rate=1e30))


def test_a_base_comes_with_its_recipe_and_fails_its_gates_in_the_open(tmp_path):
    recipe = Recipe(shape=SHAPE, schedule=SCHEDULE)
    for folder in ("a", "b"):
        gates = train_base(tmp_path / folder, 3, recipe=recipe, gate_items=4)
    assert not all(gate.passed for gate in gates if gate.passed is not None)
    assert '"passed": false' in (tmp_path / "a" / "gates.json").read_text()
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert names >= {"config.json", "model.safetensors", "generation_config.json", "tokenizer.json", "gates.json"}
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
