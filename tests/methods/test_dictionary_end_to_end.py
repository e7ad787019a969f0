"""From a model and text to features that mean something: harvest, train, evaluate, records, a planted attribute."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import rankdata

from radiograph.core import ExitCode
from radiograph.organisms.world import World
from running import go

DATA = Path(__file__).parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not (DATA / "stories260K").is_dir(), reason="../shared/data is not here")
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("workspace")]


def auroc(values, truth):
    """Rank sum of the positives; ties share a rank, and silence is a value."""
    positive = int(truth.sum())
    return (rankdata(values)[truth].sum() - positive * (positive + 1) / 2) / (positive * (len(truth) - positive))


def found_again(table, truth, half):
    """AUROC on one half of the feature that is best on the other."""
    scores = [auroc(column, truth[half]) for column in table[half].T]
    return auroc(table[~half, int(np.argmax(scores))], truth[~half])


def words(attribute):
    """Tokens that the world labels with a class of words, whatever stands around them."""
    documents = World().documents("mixture", "test", seed=1, count=400)
    return {t for d in documents for t, own in zip(d.ids, d.labels, strict=True) if attribute in own}


def test_small_world_from_text_to_a_planted_attribute_within_three_minutes(workspace):
    began = time.monotonic()
    model, data = "bundled:base", ["world:mixture#3000"]
    go("harvest", model=model, site=["resid_post.1"], data=data, out="h")
    trained = go("dictionary train", activations="h", preset="minimal", model=model, data=data, out="t")
    evaluated = go(
        "dictionary evaluate",
        dictionary="t/dictionary",
        activations="h",
        model=model,
        data=data,
        require=["fvu<0.1", "ce_recovered_mean>0.9"],
    )
    assert evaluated.exit_code is ExitCode.PASS
    found = evaluated.result
    assert found.value("fvu") == pytest.approx(trained.result.fvu, abs=1e-3)
    for name in ("fvu", "delta_ce"):
        assert found.value(name) < found.metric(name).linear < found.metric(name).random
    assert len(found.curve) > 5 and (evaluated.path / "figures" / "curve.svg").is_file()
    go("harvest", model=model, data=["world:mixture:test#600"], dictionary="t/dictionary", out="r")
    rows = pl.concat(pl.read_parquet(p) for p in sorted(Path("r/records/rows").iterdir()))
    values = pl.concat(pl.read_parquet(p) for p in sorted(Path("r/records/values").iterdir()))
    table = np.zeros((len(rows), found.size), dtype=np.float32)
    table[values["row"].to_numpy(), values["feature"].to_numpy()] = values["value"].to_numpy()
    half = rows["prompt"].to_numpy() % 2 == 0
    truth = np.isin(rows["token_id"].to_numpy(), list(words("person")))
    assert found_again(table, truth, half) > 0.9
    assert found_again(table, np.random.default_rng(0).permutation(truth), half) < 0.65, "the best of as many by chance"
    assert time.monotonic() - began < 180


@needs_data
def test_stories_model_beats_both_rivals(workspace):
    model, data = str(DATA / "stories260K"), [str(DATA / "text" / "tinystories_1000.jsonl")]
    go("harvest", model=model, site=["resid_post.2"], data=data, out="h")
    # With 150,000 rows it would still lose to principal directions: 0.21 against 0.20 at the last layer.
    go("dictionary train", activations="h", size=512, k=16, tokens="400k", out="t")
    source = {"dictionary": "t/dictionary", "activations": "h", "model": model, "data": data}
    found = go("dictionary evaluate", **source, max_rows=4_000).result
    assert found.value("fvu") < 0.15 and found.value("l0") == pytest.approx(16)
    for name in ("fvu", "delta_ce", "kl"):
        assert found.value(name) < found.metric(name).linear < found.metric(name).random, name
    assert found.value("ce_recovered_mean") > 0.9
