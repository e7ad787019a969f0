from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from models import make
from radiograph.core import FormatError, Site, UserError
from radiograph.harvest.statistics import Scan, measure, rectified, rows_of_tokens, site_statistics
from radiograph.models import LanguageModel, capture, pad, wrap
from radiograph.numerics.units import ERROR
from radiograph.store.statistics import (
    cached_statistics,
    keep_statistics,
    read_statistics,
    statistics_key,
    write_statistics,
)

SITES = (Site("mlp_hidden", 1), Site("resid_post", 2))
HASHES = {"model_sha256": "a", "tokenizer_sha256": None, "data_sha256": "b"}


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return wrap(make.network("llama"), make.tokenizer(merges=38))


def plainly(model: LanguageModel, tokens: list[list[int]], site: Site) -> np.ndarray:
    """Row after row, one text at a time."""
    return torch.cat([capture(model, pad([ids]), [site])[site][0, 1:] for ids in tokens]).double().numpy()


@pytest.mark.slow
def test_r20_scans_over_one_two_and_five_shards_are_equal_bytes(model: LanguageModel, tmp_path: Path):
    tokens = make.prompts(60, seed=1)
    rows = rows_of_tokens(tokens)
    direction = np.random.default_rng(0).standard_normal(32)
    scan = Scan(SITES, covariance=True, directions={"resid_post.2": {"tone": direction}}, by_text=True, batch_tokens=64)
    written: list[tuple[bytes, bytes, bytes]] = []
    for shards in (1, 2, 5):
        parts = [measure(model, rows, scan, part=(n, shards)) for n in range(shards)]
        whole = parts.pop()
        for part in parts:
            whole.merge(part)
        folder = tmp_path / f"{shards}"
        folder.mkdir()
        found = whole.statistics()
        write_statistics(folder, found, **HASHES)
        written.append(
            (
                (folder / "statistics.json").read_bytes(),
                (folder / "statistics.safetensors").read_bytes(),
                whole.means("mlp_hidden.1").tobytes() + whole.contexts["mlp_hidden.1"].value.tobytes(),
            )
        )
        for site in SITES:
            x, one = plainly(model, tokens, site), found[str(site)]
            np.testing.assert_allclose(one.mean, x.mean(0), rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(one.sd, x.std(0), rtol=1e-4)
            assert one.norm == pytest.approx(np.linalg.norm(x, axis=1).mean(), rel=1e-5)
            for q in (0.01, 0.5, 0.99):
                true = np.quantile(x, q, axis=0)
                assert np.all(np.abs(one.quantiles(q) - true) <= (ERROR + 1e-4) * np.abs(true) + 1e-3)
            np.testing.assert_allclose(one.firing, (np.abs(x) > 0.1).mean(0), atol=2 / len(x))
            assert one.covariance is not None
            np.testing.assert_allclose(one.covariance, np.cov(x.T, bias=True), rtol=1e-3, atol=1e-5)
        y = plainly(model, tokens, SITES[1]) @ direction / np.linalg.norm(direction)
        along = found["resid_post.2"].along(-2 * direction)
        assert along.mean[0] == pytest.approx(-y.mean(), rel=1e-4)
        assert along.quantile(0, 0.9) == pytest.approx(np.quantile(-y, 0.9), rel=ERROR + 1e-3)
        assert along.norm == found["resid_post.2"].norm
    assert written[0] == written[1] == written[2]


def test_the_same_rows_give_moments_to_nine_digits(model: LanguageModel):
    """Against NumPy on the very numbers that one batch gives: no forward in between."""
    tokens = make.prompts(20, seed=2)
    held = measure(model, rows_of_tokens(tokens), Scan(SITES[:1], batch_tokens=10**6))
    batch = pad(tokens, sorted(range(20), key=lambda r: (len(tokens[r]), r)))
    values = capture(model, batch, SITES[:1])[SITES[0]].double().numpy()
    x = np.concatenate([values[n, 1 : len(tokens[r])] for n, r in enumerate(batch.rows)])
    found = held.statistics()["mlp_hidden.1"]
    np.testing.assert_allclose(found.mean, x.mean(0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.sd, x.std(0), rtol=1e-9)


def test_texts_leave_out_first_positions_and_specials(model: LanguageModel):
    texts = ["the quick brown fox jumps", "over the lazy dog and then sits"]
    found = site_statistics(model, texts, ["mlp_hidden.*"])
    assert sorted(found) == ["mlp_hidden.0", "mlp_hidden.1", "mlp_hidden.2"]
    assert model.tokenizer is not None
    ids = [model.tokenizer(t)["input_ids"] for t in texts]
    assert found["mlp_hidden.0"].n == sum(len(i) - 1 for i in ids)  # this tokenizer adds no BOS
    x = plainly(model, ids, Site("mlp_hidden", 0))
    np.testing.assert_allclose(found["mlp_hidden.0"].mean, x.mean(0), rtol=1e-4, atol=1e-6)


def test_equal_requests_are_measured_once(model: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    texts = ["the quick brown fox jumps", "over the lazy dog and then sits"]
    first = site_statistics(model, texts, ["mlp_hidden.0"], cache=tmp_path)
    monkeypatch.setattr("radiograph.harvest.statistics._measure.measure", None)
    again = site_statistics(model, texts, ["mlp_hidden.0"], cache=tmp_path)
    assert again["mlp_hidden.0"].sha256 == first["mlp_hidden.0"].sha256
    with pytest.raises(TypeError):
        site_statistics(model, texts, ["mlp_hidden.0"], cache=tmp_path, covariance=True)


def test_means_by_text(model: LanguageModel):
    tokens = make.prompts(9, seed=4)
    held = measure(model, rows_of_tokens(tokens), Scan(SITES[:1], by_text=True, batch_tokens=40))
    slow = np.stack([plainly(model, [ids], SITES[0]).mean(0) for ids in tokens])
    np.testing.assert_allclose(held.means("mlp_hidden.1"), slow, rtol=1e-4, atol=1e-6)


def test_only_units_behind_a_rectifier_fire_above_zero():
    relu = wrap(make.network("gpt2", activation_function="relu"))
    assert rectified(relu, Site("mlp_hidden", 0))
    assert not rectified(relu, Site("resid_post", 0))
    assert not rectified(wrap(make.network("llama", hidden_act="relu")), Site("mlp_hidden", 0))
    rows = rows_of_tokens(make.prompts(8))
    found = measure(relu, rows, Scan((Site("mlp_hidden", 0),))).statistics()["mlp_hidden.0"]
    assert found.threshold is None
    x = plainly(relu, make.prompts(8), Site("mlp_hidden", 0))
    np.testing.assert_allclose(found.firing, (x > 0).mean(0), atol=1 / len(x))


def test_files_and_cache_come_back_as_they_were(model: LanguageModel, tmp_path: Path):
    direction = {"resid_post.2": {"tone": np.arange(1.0, 33.0)}}
    rows = rows_of_tokens(make.prompts(10))
    found = measure(model, rows, Scan(SITES, covariance=True, directions=direction)).statistics()
    options = {"sites": ["mlp_hidden.1"], "covariance": True}
    key = statistics_key(**HASHES, options=options)
    assert key != statistics_key(**HASHES, options={**options, "covariance": False})
    assert cached_statistics(key, tmp_path) is None
    folder = keep_statistics(key, found, **HASHES, cache=tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [key]
    back = cached_statistics(key, tmp_path)
    assert back is not None
    for site, one in found.items():
        assert back[site].sha256 == one.sha256
        np.testing.assert_array_equal(back[site].quantiles(0.9), one.quantiles(0.9))
        np.testing.assert_array_equal(back[site].covariance, one.covariance)  # type: ignore[arg-type]
    along = back["resid_post.2"].along(np.arange(1.0, 33.0))
    assert along.quantile(0, 0.5) == found["resid_post.2"].directions["tone"].statistics.quantile(0, 0.5)
    with pytest.raises(UserError, match="another model"):
        read_statistics(folder, model_sha256="c")
    with pytest.raises(UserError, match="no site statistics"):
        read_statistics(tmp_path)
    header = json.loads((folder / "statistics.json").read_text())
    (folder / "statistics.json").write_text(json.dumps({**header, "arrays_sha256": "0"}))
    with pytest.raises(FormatError, match="not those that the header names"):
        read_statistics(folder)
    assert cached_statistics(key, tmp_path) is None


def test_bad_input_is_named(model: LanguageModel):
    with pytest.raises(UserError, match="no text has a token to measure"):
        rows_of_tokens([[3], [4]])
    with pytest.raises(UserError, match="outside the model"):
        site_statistics(model, ["the quick fox"], ["mlp_hidden.7"])
    rows = rows_of_tokens(make.prompts(3))
    with pytest.raises(UserError, match="direction tone does not fit"):
        measure(model, rows, Scan(SITES, directions={"resid_post.2": {"tone": np.ones(5)}}))
    broken = wrap(make.network("llama"))
    with torch.no_grad():
        next(p for name, p in broken.model.named_parameters() if "1.mlp.up_proj" in name)[7] = torch.inf
    with pytest.raises(UserError, match=r"mlp_hidden.1 is not finite") as caught:
        measure(broken, rows, Scan(SITES[:1]))
    assert "position 1, unit 7" in str(caught.value)
