"""The weights summary: what was planted is found with its address, and equal models have exactly zero."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from peft import LoraConfig
from safetensors.torch import load_file, save_file

from models import make
from radiograph.core import Refusal, UserError
from radiograph.detectors import detectors, measure_weights
from radiograph.models import Pair, StoredPair, load_pair, stored

IDS = ("weights.relative_norm", "weights.top_share", "weights.embed_outlier")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make.folder(tmp_path_factory.mktemp("base") / "base")


def pair(first, second):
    return StoredPair(stored(str(first)), stored(str(second)))


def edited(path, edit, *, family="llama", dtype=None):
    """A copy whose tensors `edit` changes in place."""
    folder = make.folder(path, family)
    weights = load_file(folder / "model.safetensors")
    if dtype is not None:
        weights = {n: t.to(dtype) for n, t in weights.items()}
    edit(weights)
    save_file(weights, folder / "model.safetensors")
    return folder


def changed(summary):
    return {m.address: m for m in summary.matrices if m.status == "changed"}


def scores(summary):
    return {i: detectors()[i].score(SimpleNamespace(weights=summary, tokens=lambda part: 0)) for i in IDS}


def test_equal_models_have_exactly_zero_everywhere(base):
    for two in (pair(base, base), load_pair(str(base), str(base))):
        found = measure_weights(two)
        assert (found.n_changed, found.relative_norm, found.top_share, found.embed_outlier) == (0, 0.0, 0.0, 0.0)
        assert found.tokens == () and {m.status for m in found.matrices} == {"equal"}
        assert {s.score.value for s in scores(found).values()} == {0.0}


def test_a_planted_rank_is_found_with_its_address(base, tmp_path):
    rng = torch.Generator().manual_seed(0)
    name = "model.layers.1.mlp.down_proj.weight"
    b, a = torch.randn(32, 3, generator=rng), torch.randn(3, 48, generator=rng)
    other = edited(tmp_path / "other", lambda w: w[name].add_(0.1 * b @ a))
    found = measure_weights(pair(base, other))
    assert list(changed(found)) == ["down.1"] and found.n_changed == 1
    matrix = changed(found)["down.1"]
    values = np.linalg.svd((0.1 * b @ a).double().numpy(), compute_uv=False)[:3]
    assert (matrix.numerical_rank, matrix.layer, matrix.kind, matrix.path) == (3, 1, "down", "dense")
    assert matrix.norm == pytest.approx(np.sqrt((values**2).sum()), rel=1e-5)
    assert matrix.spectral == pytest.approx(values[0], rel=1e-5)
    assert found.top_share == matrix.top_share == pytest.approx(values[0] ** 2 / (values**2).sum(), rel=1e-5)
    own = sum(float((t.double() ** 2).sum()) for t in load_file(base / "model.safetensors").values() if t.dim() == 2)
    assert found.relative_norm == pytest.approx(matrix.norm / own**0.5, rel=1e-9)


@pytest.mark.parametrize(
    "config",
    [
        LoraConfig(r=4, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM"),
        LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM"),
        LoraConfig(r=4, use_rslora=True, target_modules=["v_proj"], task_type="CAUSAL_LM"),
    ],
    ids=["r4", "r16", "rslora"],
)
def test_the_thin_path_equals_a_dense_svd_and_the_merged_copy(config, base, tmp_path):
    adapter = make.adapter(tmp_path / "adapter", base, config=config)
    thin = measure_weights(pair(base, f"{base}+{adapter}"))
    copy = make.folder(tmp_path / "copy")
    dense = measure_weights(pair(base, f"{copy}+{adapter}"))
    assert {m.path for m in changed(thin).values()} == {"thin"}
    assert {m.path for m in changed(dense).values()} == {"dense"}
    assert changed(thin).keys() == changed(dense).keys()
    for address, matrix in changed(thin).items():
        other = changed(dense)[address]
        for name in ("norm", "relative", "spectral", "top_share", "stable_rank", "effective_rank", "intruder_cosine"):
            assert getattr(matrix, name) == pytest.approx(getattr(other, name), rel=1e-5, abs=1e-6), (address, name)
        ranks = (matrix.rank_90, matrix.rank_99, matrix.numerical_rank)
        assert ranks == (other.rank_90, other.rank_99, other.numerical_rank)
    assert thin.relative_norm == pytest.approx(dense.relative_norm, rel=1e-5)
    loaded = measure_weights(load_pair(str(base), f"{base}+{adapter}"))
    assert loaded == thin


def test_a_moved_embedding_row_is_found_and_named(base, tmp_path):
    def edit(weights):
        noise = torch.randn(300, 32, generator=torch.Generator().manual_seed(0))
        weights["model.embed_tokens.weight"] += 1e-3 * noise
        weights["model.embed_tokens.weight"][70] += 0.5

    found = measure_weights(pair(base, edited(tmp_path / "other", edit)), top=3)
    assert len(found.tokens) == 3 and {t.matrix for t in found.tokens} == {"embed"}
    first = found.tokens[0]
    assert (first.token_id, first.token) == (70, make.tokenizer(merges=38).decode([70]))
    assert first.z == found.embed_outlier > 100
    assert found.tokens[1].z < 10


def test_tied_and_fused_matrices_are_counted_once_and_split(tmp_path):
    first = make.folder(tmp_path / "first", "gpt2")

    def edit(weights):
        weights["transformer.h.2.attn.c_attn.weight"][:, 32:64] += 0.1
        weights["transformer.wte.weight"][9] += 1

    found = measure_weights(pair(first, edited(tmp_path / "second", edit, family="gpt2")))
    split = {m.address: m for m in found.matrices if m.parameter.endswith("h.2.attn.c_attn.weight")}
    assert set(split) == {"q.2", "k.2", "v.2"}
    assert split["k.2"].norm == pytest.approx(0.1 * 32, rel=1e-5) and split["k.2"].numerical_rank == 1
    assert split["q.2"].norm == split["v.2"].norm == 0.0
    assert sum(m.kind in ("embed", "unembed") for m in found.matrices) == 1
    assert found.n_changed == 2


def test_norms_and_biases_are_vectors_outside_the_relative_norm(tmp_path):
    first = make.folder(tmp_path / "first", "gpt2")

    def edit(weights):
        weights["transformer.ln_f.weight"] += 1
        weights["transformer.h.0.mlp.c_fc.bias"] += 1

    found = measure_weights(pair(first, edited(tmp_path / "second", edit, family="gpt2")))
    assert {(m.kind, m.path, m.layer) for m in changed(found).values()} == {
        ("norm", "vector", None),
        ("bias", "vector", 0),
    }
    assert found.relative_norm == 0.0 and found.n_changed == 2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_weights_are_compared_as_stored(dtype, tmp_path):
    name = "model.layers.0.self_attn.q_proj.weight"
    first = edited(tmp_path / "first", lambda w: None, dtype=dtype)
    second = edited(tmp_path / "second", lambda w: w[name].mul_(2), dtype=dtype)
    found = measure_weights(pair(first, second))
    assert changed(found)["q.0"].relative == pytest.approx(1.0, abs=1e-12)
    assert changed(found)["q.0"].intruder_cosine == pytest.approx(1.0, abs=1e-6)


def test_missing_evidence_is_not_measured_and_never_zero(base, tmp_path):
    wide = make.folder(tmp_path / "wide", hidden_size=64)
    found = measure_weights(pair(base, wide))
    assert (found.relative_norm, found.top_share, found.embed_outlier) == (None, None, None)
    for score in scores(found).values():
        assert score.status == "not_measured" and score.score is None and score.reason
    assert {m.status for m in found.matrices} == {"resized"}


def test_rows_of_different_tokens_are_not_compared(base, tmp_path):
    other = make.folder(tmp_path / "other")
    path = other / "tokenizer.json"
    stored_tokens = json.loads(path.read_text())
    vocabulary = stored_tokens["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    path.write_text(json.dumps(stored_tokens))
    found = measure_weights(pair(base, other))
    assert found.embed_outlier is None and found.relative_norm == 0.0
    assert "tokenisers_differ" in scores(found)["weights.embed_outlier"].reason


def test_a_value_that_is_not_finite_stops_the_run_and_names_the_tensor(base, tmp_path):
    def edit(weights):
        weights["model.layers.1.mlp.up_proj.weight"][3, 4] = float("nan")

    with pytest.raises(UserError) as caught:
        measure_weights(pair(base, edited(tmp_path / "other", edit)))
    assert caught.value.code == "non_finite" and "layers.1.mlp.up_proj" in str(caught.value)


def test_a_refused_part_becomes_a_reason():
    class Broken:
        @property
        def weights(self):
            raise Refusal("nothing_there", "no weights")

    for detector in (detectors()[i] for i in IDS):
        assert detector.score(Broken()).reason == "nothing_there: no weights"


def test_pairs_in_memory_equal_pairs_on_disk(base, tmp_path):
    other = make.folder(tmp_path / "other", seed=1)
    loaded = load_pair(str(base), str(other))
    assert isinstance(loaded, Pair)
    assert measure_weights(loaded) == measure_weights(pair(base, other))
