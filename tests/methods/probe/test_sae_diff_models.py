"""`probe sae-diff` on models of the small world: a harvest inside the run, crosscoders, transcoders, foreign places."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dictionaries.make import random_dictionary
from radiograph.core import Refusal
from radiograph.dictionaries import save
from radiograph.runtime import verify
from running import go

DATA = ["world:mixture#60"]
BASE = "bundled:base"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def same(place):
    return go("probe.sae-diff", dictionary="dictionary:bundled", reference=BASE, candidate=BASE, data=DATA, out="same")


def test_p8_3_a_model_beside_itself_did_not_move(same):
    table = same.path / "tables/features.parquet"
    import polars as pl

    found = pl.read_parquet(table)
    assert not found["shift"].to_numpy().any() and (found["p"].to_numpy() == 1).all()
    assert same.result.carried == () and same.result.rest.state == "nothing"
    assert same.result.moved.count == 0 and same.result.activation_drift == 0
    assert same.result.site == "resid_post.1" and same.result.stamps == ()
    assert verify(same.path).status == "intact"


def test_p8_2_model_mode_is_store_mode_on_the_harvest(same):
    folder = same.path / "steps" / "1-harvest"
    done = go(
        "probe.sae-diff",
        dictionary="dictionary:bundled",
        reference=f"{folder}#reference",
        candidate=f"{folder}#candidate",
    )
    ours, theirs = (d.result.model_dump(exclude={"reference", "candidate"}) for d in (same, done))
    assert ours == theirs
    assert (done.path / "tables/features.parquet").read_bytes() == (same.path / "tables/features.parquet").read_bytes()


def harvested(place, name, sites):
    done = go("harvest", model=BASE, candidate=[BASE], site=sites, data=["world:mixture#40"], out=name)
    return str(done.path)


def test_p8_3_a_dictionary_of_another_site_is_refused(place):
    folder = harvested(place, "other", ["resid_post.2"])
    with pytest.raises(Refusal, match="another site") as error:
        go(
            "probe.sae-diff",
            dictionary="dictionary:bundled",
            reference=f"{folder}#reference/resid_post.2",
            candidate=f"{folder}#candidate/resid_post.2",
        )
    assert int(error.value.exit_code) == 3
    with pytest.raises(Refusal, match="as it is recorded"):
        np.save("r.npy", np.random.default_rng(0).standard_normal((900, 64)).astype(np.float32))
        go("probe.sae-diff", dictionary="dictionary:bundled", reference="r.npy", candidate="r.npy")


def test_a_transcoder_carries_where_it_writes(place):
    folder = harvested(place, "two", ["resid_post.1", "mlp_out.2"])
    save(
        random_dictionary("relu", width=64, size=128, kind="transcoder", target="mlp_out.2", target_width=64),
        place / "transcoder",
    )
    done = go(
        "probe.sae-diff",
        dictionary="transcoder",
        reference=f"{folder}#reference/resid_post.1",
        candidate=f"{folder}#candidate/resid_post.1",
        depth="full",
    )
    assert done.result.target == "mlp_out.2" and done.result.rest.state == "nothing"


def test_a_crosscoder_says_where_its_features_are_written(place):
    rng = np.random.default_rng(0)
    width, size, n = 16, 40, 2000
    decoder = rng.standard_normal((size, 2, width)).astype(np.float32)
    decoder /= np.linalg.norm(decoder, axis=2, keepdims=True)
    decoder[:20, 1] = decoder[:20, 0]
    decoder[20:, 0] *= 0.01  # written in the candidate alone
    codes = (rng.random((n, size)) < 0.1) * rng.uniform(1, 2, (n, size))
    codes[:, 25] += 1.5  # and one that always fires there
    sides = [(codes @ decoder[:, i] + 0.01 * rng.standard_normal((n, width))).astype(np.float32) for i in (0, 1)]
    flat = torch.from_numpy(decoder.reshape(size, -1))
    made = random_dictionary("relu", width=2 * width, size=size, kind="crosscoder", sites=SOURCES)
    encoder = torch.from_numpy(np.linalg.pinv(decoder.reshape(size, -1)).T.astype(np.float32))
    from dataclasses import replace

    zeros = torch.zeros_like
    crosscoder = replace(
        made,
        encoder=encoder,
        decoder=flat,
        encoder_bias=zeros(made.encoder_bias),
        input_bias=zeros(made.input_bias),
        decoder_bias=zeros(made.decoder_bias),
    )
    save(crosscoder, place / "crosscoder")
    np.save("x0.npy", sides[0])
    np.save("x1.npy", sides[1])
    done = go("probe.sae-diff", dictionary="crosscoder", reference="x0.npy", candidate="x1.npy")
    assert done.result.kind == "crosscoder" and done.result.l2 is None
    assert {w.feature for w in done.result.written} <= set(range(20, 40)) and done.result.written
    assert 25 in {c.feature for c in done.result.carried}
    assert all(w.rho > 0.9 for w in done.result.written)
    assert verify(done.path).status == "intact"


SOURCES = ("reference/resid_post.1", "candidate/resid_post.1")
