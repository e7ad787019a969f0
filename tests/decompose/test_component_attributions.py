"""Direct effects over data: toys in closed form, brute force on a language model, the same sums however divided."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from decompose.planted import base, planted, tokens_of, write_planted
from radiograph import decompose
from radiograph.decompose.attribution import READERS, Effects, attribute_batch
from radiograph.decompose.importance import Size, new
from radiograph.methods.decompose.attribute import recompute
from radiograph.models.linearised import Aim, Linearised
from radiograph.models.masked import Factors, of_model, of_network
from radiograph.numerics.cofiring import as_real, half_width
from radiograph.store.components import open_attributions
from running import go

BITS = 28


def _toy():
    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 5, bias=False), nn.Linear(5, 4, bias=False)).double()
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    target = of_network(network, {"w_in": "0", "w_out": "1"}, sha256="0" * 64, name="toy")
    factors = {
        "w_in": Factors(
            torch.randn(6, 7, generator=generator).double(), torch.randn(7, 5, generator=generator).double()
        ),
        "w_out": Factors(
            torch.randn(5, 3, generator=generator).double(), torch.randn(3, 4, generator=generator).double()
        ),
    }
    sizes = {"w_in": Size(6, 7), "w_out": Size(5, 3)}
    judge = new("scalar", {"hidden": 1}, sizes, generator, {})
    return target, decompose.make(target, factors, judge, stored="F64")


def test_d10_12_effects_of_a_two_layer_linear_toy_are_mean_h_times_u_v():
    target, made = _toy()
    inputs = torch.randn(40, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = Effects.empty(10, 1, 4)
    attribute_batch(
        found, target, made, inputs, torch.ones(40, dtype=torch.bool), {"w_in": [0], "w_out": [0, 1, 2]}, live=True
    )
    h = inputs @ made.factors["w_in"].reads
    edge = (made.factors["w_in"].writes @ made.factors["w_out"].reads).numpy()
    signed = as_real(found.sums["components.signed"], BITS)
    assert np.allclose(signed[:7, 7:] / 40, h.mean(0).numpy()[:, None] * edge, atol=1e-6)
    assert not signed[:, :7].any() and not signed[7:].any(), "a source stands before its target"
    y = (target.network[0](inputs) @ made.factors["w_out"].reads).detach().numpy()
    brute = np.einsum("nc,ct,nt->ct", h.numpy(), edge, np.sign(y))
    assert np.allclose(as_real(found.sums["components.abs"], BITS)[:7, 7:], brute, atol=1e-6)


def test_d10_12_abs_equals_signed_where_the_target_never_changes_sign():
    target, made = _toy()
    inputs = torch.ones(12, 6, dtype=torch.float64) * torch.linspace(0.5, 2, 12, dtype=torch.float64)[:, None]
    found = Effects.empty(10, 1, 4)
    attribute_batch(found, target, made, inputs, torch.ones(12, dtype=torch.bool), {"w_out": [0, 1, 2]}, live=True)
    signed, size = (as_real(found.sums[f"components.{name}"], BITS)[:7, 7:] for name in ("signed", "abs"))
    y = (target.network[0](inputs[:1]) @ made.factors["w_out"].reads).detach().numpy()
    assert np.allclose(size, np.sign(y) * signed, atol=1e-6)


@pytest.fixture(scope="module")
def language():
    model = base()
    target = of_model(model)
    made = planted(model, tokens_of(model, ["the", "a", "was"]))
    luck = np.random.default_rng(0)
    return target, made, torch.from_numpy(luck.integers(10, model.vocab_size, (3, 7)))


AIMS = {"embed": [0], "up.1": [0, 2], "down.1": [1]}


def _effects(language, rows, residual=True):
    target, made, ids = language
    found = Effects.empty(made.size, target.model.vocab_size, target.place("embed").outputs)
    marks = torch.ones(ids[rows].shape, dtype=torch.bool)
    attribute_batch(found, target, made, ids[rows], marks, AIMS, residual=residual)
    found.shards = tuple(rows)
    return found


@pytest.fixture(scope="module")
def whole(language):
    return _effects(language, [0, 1, 2])


def test_dd_9_signed_and_abs_equal_brute_force_over_positions(language, whole):
    """The edges of every position by themselves, added up with and without the sign of their target."""
    target, made, ids = language
    for weight, index in (("up.1", 0), ("up.1", 2), ("down.1", 1)):
        signed, size = np.zeros(made.size), np.zeros(made.size)
        by_token = np.zeros(target.model.vocab_size)
        for row in ids:
            cut = Linearised.of(target, made.factors, row, copies=1)
            for position in range(len(row)):
                aim = Aim(weight, position, index)
                value, _ = cut.pull([aim])
                edges = np.concatenate([value.components[w][0].sum(0).numpy() for w in made.factors])
                signed += edges
                size += np.sign(cut.value(aim)) * edges
                np.add.at(by_token, row.numpy(), value.delta["embed"][0].numpy())
        column = made.offsets[weight] + index
        for name, expected in (("components.signed", signed), ("components.abs", size), ("tokens.signed", by_token)):
            assert np.allclose(as_real(whole.sums[name], BITS)[:, column], expected, atol=1e-4), name


def _spread_of_texts(sums, tokens):
    """Standard error of Σ sums / Σ tokens over texts, plainly."""
    about = sums - sums.sum(0) / tokens.sum() * tokens[:, None]
    n = len(tokens)
    return np.sqrt(n / (n - 1) * np.square(about).sum(0)) / tokens.sum()


def test_errors_equal_the_spread_over_texts_of_unequal_length(language, tmp_path):
    """However texts are put into batches and parts."""
    target, made, _ = language
    luck = np.random.default_rng(3)
    some = [*tokens_of(target.model, ["the", "a", "was"]), *range(10, 16)]
    ids = torch.from_numpy(luck.choice(some, (8, 9)))
    tokens = luck.integers(3, 10, 8)
    marks = torch.arange(9) < torch.from_numpy(tokens)[:, None]
    aims = {"up.1": [1, 4]}
    wide = made.size, target.model.vocab_size, target.place("embed").outputs

    def effects(rows, into):
        attribute_batch(into, target, made, ids[rows], marks[rows], aims, residual=False)
        return into

    alone = [effects([row], Effects.empty(*wide, length=9)) for row in range(8)]
    together = effects([5, 6, 7], effects([0, 1, 2, 3, 4], Effects.empty(*wide, length=9)))
    assert (together.counted, together.texts, together.batches) == (tokens.sum(), 8, 2)
    for name in ("components.signed", "components.abs", "components.modulating", "tokens.signed", "tokens.abs"):
        by_text = np.stack([one.real(name) for one in alone])
        column = made.offsets["up.1"] + 1
        plain = _spread_of_texts(by_text[:, :, column], tokens)
        assert plain.max() > 0, name
        assert np.allclose(together.error(name)[:, column], plain, rtol=1e-3, atol=1e-5), name
    assert np.isnan(alone[0].error("components.signed")).all(), "one text has no spread"
    added_up = Effects.empty(*wide, length=9)
    for number, one in enumerate(alone):
        one.save(tmp_path / f"{number}.npz", "spec")
        added_up.take(tmp_path / f"{number}.npz")
    added_up.save(tmp_path / "total.npz", "spec")
    again = Effects.load(tmp_path / "total.npz")
    assert (again.counted, again.texts, again.squared) == (together.counted, together.texts, together.squared)
    assert np.allclose(again.error("components.abs"), together.error("components.abs"), atol=1e-5)


def test_intervals_cover_the_effect_in_the_population_as_often_as_they_say():
    """Of 400 samples of 12 texts that differ in what they hold; the effect of all texts is known."""
    luck = np.random.default_rng(7)
    held = 0
    for _ in range(400):
        tokens = luck.integers(2, 60, 12)
        sums = tokens * (0.7 + luck.standard_normal(12) * 0.5)
        found = Effects.empty(1, 1, 1, length=60)
        found.count(tokens)
        found.add_texts("components.signed", (slice(None), 0), sums[:, None], tokens)
        mean = found.real("components.signed")[0, 0] / found.counted
        held += abs(mean - 0.7) <= half_width(12) * found.error("components.signed")[0, 0]
    assert 0.9 <= held / 400 <= 0.98


def test_random_targets_exceed_all_readers_as_often_as_chance_says():
    """Targets that read at random exceed 19 readers once in twenty; one that reads what a source writes always does."""
    luck = np.random.default_rng(5)
    exceeded, n = 0, 0
    for seed in range(12):
        target, made = _toy()
        reads = torch.from_numpy(luck.standard_normal((5, 19)))
        reads /= reads.norm(dim=0)
        inputs = torch.randn(30, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        found = Effects.empty(10, 1, 4, readers=2 * 19)
        every = torch.ones(30, dtype=torch.bool)
        own = torch.from_numpy(luck.standard_normal((5, 3)))
        made.factors["w_out"] = Factors(own / own.norm(dim=0), made.factors["w_out"].writes)
        own[:, 0] = made.factors["w_in"].writes[2] / made.factors["w_in"].writes[2].norm()
        made.factors["w_out"] = Factors(own / own.norm(dim=0), made.factors["w_out"].writes)
        attribute_batch(found, target, made, inputs, every, {"w_out": [0, 1, 2]}, readers={"w_out": reads}, live=True)
        chance = np.abs(found.real(f"components.signed{READERS}")[:7, 19:])
        h = (inputs @ made.factors["w_in"].reads).mean(0)
        expected = 30 * h[:, None] * (made.factors["w_in"].writes @ reads)
        assert np.allclose(chance, expected.abs().numpy(), atol=1e-6)
        size = np.abs(found.real("components.signed")[:7, 7:])
        assert size[2, 0] > chance[2].max(), "what is written is read"
        exceeded += int((size[:, 1:] > chance.max(axis=1)[:, None]).sum())
        n += 14
    assert 0.0 <= exceeded / n <= 0.15


def test_effects_on_logits_are_kept_in_residual_space(language, whole):
    target, made, ids = language
    out = as_real(whole.sums["out.components"], BITS)
    unembedding = target.matrix("unembed").double().numpy()
    token = 100
    brute = np.zeros(made.size)
    direction = torch.zeros(target.model.vocab_size)
    direction[token] = 1
    for row in ids:
        cut = Linearised.of(target, made.factors, row, copies=1)
        for position in range(len(row)):
            value, _ = cut.pull([Aim("logits", position, direction=direction)])
            brute += np.concatenate([value.components[w][0].sum(0).numpy() for w in made.factors])
    assert np.allclose(out @ unembedding[token], brute, atol=1e-3)
    up = slice(made.offsets["up.1"], made.offsets["up.1"] + 6)
    assert np.abs(out[: made.offsets["up.1"]]).sum() > 0 and not out[up].any(), "up writes into down, which is cut"


def test_padding_and_what_is_not_counted_change_nothing(language):
    target, made, ids = language
    plain = _effects(language, [0], residual=False)
    found = Effects.empty(made.size, target.model.vocab_size, target.place("embed").outputs)
    padded = torch.cat([ids[:1], ids[:1, :3]], dim=1)
    marks = torch.ones(padded.shape, dtype=torch.bool)
    marks[:, 7:] = False
    attribute_batch(found, target, made, padded, marks, AIMS, residual=False)
    for name, sums in plain.sums.items():
        assert np.allclose(as_real(found.sums[name], BITS), as_real(sums, BITS), atol=1e-4), name


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_d10_10_effects_are_the_same_bytes_however_shards_are_divided(language, workers, tmp_path):
    target, made, _ = language
    luck = np.random.default_rng(1)
    shape = made.size, target.model.vocab_size, 4
    shards = []
    for number in range(9):
        one = Effects.empty(*shape)
        one.sums = {n: luck.integers(-(2**40), 2**40, v.shape) for n, v in one.sums.items()}
        one.counted, one.shards = int(luck.integers(1, 9)), (number,)
        shards.append(one)
    for number, one in enumerate(shards):
        one.save(tmp_path / f"{number}.npz", "spec")

    def added(paths):
        total = Effects.empty(*shape)
        for path in paths:
            total.take(path)
        return total

    totals = []
    for count, order in ((1, np.arange(9)), (workers, luck.permutation(9))):
        held = [tmp_path / f"held-{n}.npz" for n in range(count)]
        for path, own in zip(held, np.array_split(order, count), strict=True):
            added(tmp_path / f"{number}.npz" for number in own).save(path, "spec")
        total = added(held)
        total.save(tmp_path / "found.npz", "spec")
        totals.append((tmp_path / "found.npz").read_bytes())
    assert totals[0] == totals[1]


def test_what_is_stated_follows_from_the_tables(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_planted(tmp_path / "planted")
    given = {"decomposition": "planted", "model": "bundled:base", "data": ["world:story#8"], "readers": 4}
    outcome = go("decompose.attribute", out="effects", **given)
    assert (outcome.result.texts, outcome.result.readers, outcome.result.notes) == (8, 4, ())
    assert 0 < outcome.result.apart["signed"] <= outcome.result.pairs
    stated = json.loads((tmp_path / "effects" / "result.json").read_text())
    assert recompute(stated, tmp_path / "effects") == []
    first = stated["strongest"][0]
    assert first["signed"]["low"] < first["signed"]["value"] < first["signed"]["high"]
    (shown, *_) = open_attributions(tmp_path / "effects").sources(first["target"], 1)
    assert (shown.address, shown.value, shown.p) == (first["source"], first["signed"]["value"], first["signed"]["p"])
    first["signed"]["p"] /= 2
    stated["above_readers"]["abs"] += 1
    problems = recompute(stated, tmp_path / "effects")
    assert len(problems) == 2 and "above readers" in problems[0] and first["source"] in problems[1]
