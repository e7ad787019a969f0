"""What a probe or a feature reads, as the behaviour that rows are blamed for; second ways to its gradient."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from blaming import planted, targets
from radiograph.core import ExitCode, Site, UserError
from radiograph.harvest.gradients import Projection, gradient_engine
from radiograph.methods._blame.targets._readings import OfFeature, OfProbe, Reading
from radiograph.models import LanguageModel, load
from radiograph.models.gradients import tracked_matrices
from radiograph.organisms import bundled_path
from radiograph.runtime import verify
from radiograph.sources import Units
from running import go

from .conftest import ROWS, asked

SITE = Site.parse("resid_post.1")


@pytest.fixture(scope="module")
def texts(place: Path) -> Path:
    """The planted answers as conversations, and the bundled defection probe."""
    turns = [
        [{"role": "user", "content": one["prompt"]}, {"role": "assistant", "content": one["completion"]}]
        for one in targets()
    ]
    lines = [json.dumps({"id": str(n), "messages": messages}) + "\n" for n, messages in enumerate(turns)]
    (place / "said.jsonl").write_text("".join(lines))
    (place / "one.jsonl").write_text(lines[0] * 3)
    for name in ("defection", "truth"):
        shutil.copyfile(
            bundled_path("base").parent / "probes" / "base" / f"{name}.safetensors", place / f"{name}.safetensors"
        )
    return place


def reading(**more: Any) -> dict[str, Any]:
    return asked(**{"method": "dot", "texts": ("said.jsonl",), **more})


@pytest.mark.parametrize("pool", [None, "mean", "max", "last"])
@pytest.mark.parametrize("normalise", ["rms", "none"])
def test_the_score_is_that_of_reading_a_probe(pool, normalise):
    from radiograph.probing import Probe, read

    rng = np.random.default_rng(3)
    rows, w = rng.normal(size=(7, 16)).astype(np.float32), rng.normal(size=16).astype(np.float32)
    probe = Probe("p", "custom", "calibrated", "token", pool, normalise, str(SITE), w, 0.0, "")
    expected = read(probe, [(rows, np.zeros(7, dtype=np.int64))]).score.mean()
    marked = torch.zeros(1, 9)
    marked[0, [7] if pool == "last" else slice(1, 8)] = 1
    values = torch.full((1, 9, 16), 50.0)
    values[0, 1:8] = torch.from_numpy(rows)
    found = OfProbe(torch.from_numpy(w), normalise, pool)(values, marked)
    assert float(found[0]) == pytest.approx(float(expected), rel=1e-5)


@pytest.fixture(scope="module")
def base() -> LanguageModel:
    return load("bundled:base", resolve=bundled_path)


def values(base: LanguageModel) -> dict[str, OfProbe | OfFeature]:
    from radiograph import dictionaries

    w = torch.randn(base.width, generator=torch.Generator().manual_seed(1))
    return {
        "probe": OfProbe(w, "rms", None),
        "pooled": OfProbe(w, "rms", "max"),
        "unit": OfFeature(Units(str(SITE), base.width), 5),
        "dictionary": OfFeature(dictionaries.load(bundled_path("dictionary")), 12),
    }


@pytest.mark.parametrize("name", ["probe", "pooled", "unit", "dictionary"])
def test_the_gradient_is_that_of_moving_the_weights(base, name):
    """Against a difference of f along the gradient, matrix by matrix; what follows the site has none."""
    value = values(base)[name]
    site = Site.parse("resid_post.2") if name == "dictionary" else SITE
    own = [((5, 9, 12, 7, 30), (0.0, 1.0, 1.0, 0.0, 1.0)), ((5, 9, 44), (1.0, 1.0, 1.0))]
    read = Reading(site, value, name, ("", ""))
    matrices = tracked_matrices(base, ("q.1", "down.0", "down.1", "o.2"))
    with gradient_engine(base, Projection.of(matrices, None, 0)) as engine:
        found = engine.rows(own, reading=read)
    np.testing.assert_allclose(-found.loss, read.values(base, own), rtol=1e-4, atol=1e-5)
    layout = Projection.of(matrices, None, 0).layout
    for matrix, place in zip(matrices, layout.slices(), strict=True):
        gradient = found.gradient[:, place].sum(0).reshape(matrix.shape)
        if matrix.name == "o.2" and site == SITE:
            assert not gradient.any()
            continue
        moved = torch.from_numpy(gradient.T if matrix.transposed else gradient)
        parameter = dict(base.model.named_parameters())[matrix.parameter]
        before = parameter.detach().clone()
        step = 1e-2 / float(moved.norm())
        sides = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter.copy_(before + sign * step * moved)
                sides.append(float(read.values(base, own).sum()))
                parameter.copy_(before)
        slope = -(sides[0] - sides[1]) / (2 * step)
        assert slope == pytest.approx(float(moved.square().sum()), rel=2e-2), matrix.name


def raised(place: Path) -> int:
    """The unit of the last site that rose most, and on every planted answer."""
    from radiograph.harvest import Text
    from radiograph.methods._probe.capture import captured
    from radiograph.methods._probe.tokens import of_texts
    from radiograph.models import load_pair

    pair = load_pair("bundled:base", "bundled:base+organism", resolve=bundled_path)
    lines = [json.loads(line) for line in (place / "said.jsonl").read_text().splitlines()]
    texts = of_texts(pair.candidate, [Text(one["id"], "", one["id"], messages=tuple(one["messages"])) for one in lines])
    site = Site.parse("resid_post.2")
    found = [captured(m, texts, [site], "sequence", "mean").rows[str(site)] for m in (pair.reference, pair.candidate)]
    gain = found[1] - found[0]
    return int((gain.mean(0) / gain.std(0)).argmax())


def test_p8_9_rows_are_blamed_for_a_feature_that_rose(texts):
    unit = raised(texts)
    done = go("blame", out="feature", **reading(target=f"feature:resid_post.2[{unit}]", method="datainf"))
    assert done.exit_code is ExitCode.PASS
    target = done.result.target
    assert (target.kind, target.read, target.n, target.preferred) == ("feature", f"resid_post.2[{unit}]", 4, None)
    assert not target.standard_error or target.gain > 2 * target.standard_error
    known = set(planted(ROWS))
    # One unit is not the planted behaviour, and other rows move it too. Of a random order one in 15 finds 3 of the 8.
    assert sum(row.line in known for row in done.result.top[: len(known)]) >= 3
    assert done.path is not None
    page = (done.path / "report.html").read_text()
    assert "texts read by" in page and "mean log probability" not in page
    assert verify(done.path).status == "intact"


def test_a_probe_that_is_not_calibrated_is_stamped(texts):
    done = go("blame", out="probed", **reading(target="probe:truth.safetensors", weak=True, top_k=3))
    assert done.result.target.kind == "probe"
    assert done.result.target.read == "truth at resid_post.2"
    assert any(stamp.startswith("uncalibrated_probe") for stamp in done.result.stamps)


BAD = [
    ({"target": "probe:defection.safetensors", "texts": ()}, "no_texts", "reads texts"),
    ({"target": "organism/target.jsonl"}, "usage", "--texts"),
    ({"target": "probe:gone.safetensors"}, None, "gone.safetensors"),
    ({"target": "probe:said.jsonl"}, None, "said"),
    ({"target": "feature:resid_post.1"}, None, "resid_post.1"),
    ({"target": "feature:units:resid_post.1"}, "bad_features", "one feature"),
    ({"target": "feature:units:resid_post.1#900"}, "unknown_feature", "900"),
    ({"target": "feature:resid_post.1[3]", "texts": ("one.jsonl",)}, "too_few_texts", "one text"),
    ({"target": "feature:resid_post.0[3]", "weights": ("q.1",)}, "no_matrix_before", "depends on these matrices"),
]


@pytest.mark.parametrize(("given", "code", "says"), BAD, ids=lambda v: str(v)[:40])
def test_pd_15_bad_input(texts, given, code, says):
    with pytest.raises(UserError) as caught:
        go("blame", out="refused", **reading(**{"weak": True, **given}))
    assert caught.value.exit_code is ExitCode.BAD_INPUT
    assert says in str(caught.value)
    assert code is None or caught.value.code == code


def test_what_did_not_rise_is_refused(texts):
    done = go("blame", out="silent", **reading(target="probe:defection.safetensors"))
    assert done.exit_code is ExitCode.NOT_MEASURED
    assert "behaviour_absent" in str(done.result.model_dump())


def test_a_probe_of_another_model_is_refused(texts):
    from radiograph.store.opened import Opened
    from radiograph.store.probes import read_probe, write_probe

    with Opened.at(texts / "truth.safetensors") as file:
        stored = read_probe(file)
    card = stored.card.model_copy(update={"model": stored.card.model.model_copy(update={"sha256": "0" * 64})})
    (texts / "foreign").mkdir()
    write_probe(texts / "foreign", card, stored.tensors)
    done = go("blame", out="other", **reading(target="probe:foreign/truth.safetensors", weak=True))
    assert done.exit_code is ExitCode.NOT_MEASURED
    assert "other_model" in str(done.result.model_dump())
