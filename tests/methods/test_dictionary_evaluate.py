"""`dictionary evaluate` end to end: every kind and route, demands and their exit codes, refusals, and its page."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import polars
import pytest
import torch
from safetensors.torch import save_file

from dictionaries.make import planted, random_dictionary
from radiograph import dictionaries
from radiograph.core import ExitCode, Refusal, UserError
from radiograph.dictionaries import ModelIdentity
from radiograph.harvest import harvest, read
from radiograph.methods.dictionary import evaluate
from radiograph.models import load
from radiograph.organisms import bundled_path
from radiograph.organisms.world import parse_source
from radiograph.reports import broken_pointers
from radiograph.runtime import verify
from radiograph.store.shards import Index, ModelRecord, ShardData, ShardWriter, SourceRecord, begin, finish
from running import go

pytestmark = pytest.mark.usefixtures("workspace")

VERB = "dictionary evaluate"
TEXTS = "world:mixture#60"
MODEL = {"model": "bundled:base", "data": [TEXTS]}
WIDTH = 64
PAIR = ("reference/resid_post.1", "candidate/resid_post.1")


@pytest.fixture(scope="module")
def base():
    return load("bundled:base", resolve=bundled_path)


def saved(folder, dictionary, model=None):
    identity = None if model is None else ModelIdentity(reference="bundled:base", tensors_sha256=model)
    meta = dictionary.metadata.model_copy(update={"model": identity})
    dictionaries.save(replace(dictionary, metadata=meta), folder)
    return str(folder)


def checked(outcome):
    """The result, once its bundle is intact and its page says what the result says."""
    assert verify(outcome.path, outcome.seal).problems == ()
    problems, n = broken_pointers(outcome.path)
    assert problems == [] and n > 20
    return outcome.result


def test_the_bundled_dictionary_beats_random_and_principal_directions():
    found = checked(go(VERB, dictionary="dictionary:bundled", **MODEL))
    for name in ("fvu", "delta_ce", "kl"):
        m = found.metric(name)
        assert m.estimate.low < m.estimate.value < m.estimate.high
        assert m.estimate.value < m.linear < m.random, name
    recovered = found.metric("ce_recovered_mean")
    assert recovered.estimate.value > 0.9 > recovered.random
    assert found.value("l0") == found.metric("l0").linear == 16
    assert found.not_measured == ()
    assert found.rows.groups == 60 and found.rows.units <= 60
    assert abs(found.spliced[0].exact) < 1e-5
    assert {b.by for b in found.bands} == {"position", "norm"}
    assert sum(found.densities.histogram) + found.value("dead") == found.size
    assert "random" in found.headline


def test_numbers_are_those_of_a_slower_way(base):
    d = dictionaries.load(bundled_path("dictionary"))
    texts = read(TEXTS, world=lambda source: [doc.text for doc in parse_source(source).documents(0)])
    rows = harvest(base, texts, ["resid_post.1"]).rows("resid_post.1")
    found = go(VERB, dictionary="dictionary:bundled", **MODEL).result
    e, y = (rows - d.reconstruct(rows)).double(), rows.double()
    assert found.value("fvu") == pytest.approx(float(e.square().sum() / (y - y.mean(0)).square().sum()), rel=1e-6)
    assert found.rows.n == len(rows)
    directions = torch.linalg.svd(y - y.mean(0), full_matrices=False).Vh
    squares = ((y - y.mean(0)) @ directions.T).square()
    missed = 1 - float(squares.topk(16, dim=1).values.sum() / squares.sum())
    assert found.metric("fvu").linear == pytest.approx(missed, rel=1e-3)


@pytest.mark.parametrize(
    ("demands", "code"),
    [
        (["fvu<0.2"], ExitCode.PASS),
        (["fvu<0.2", "l0<=16", "ce_recovered_mean>=0.5"], ExitCode.PASS),
        (["fvu<0.001"], ExitCode.GATE_FAILED),
        (["mmcs>0.5"], ExitCode.NOT_MEASURED),
        (["mmcs>0.5", "fvu<0.001"], ExitCode.GATE_FAILED),
        (["fvu@candidate/resid_post.1<0.2"], ExitCode.NOT_MEASURED),
    ],
)
def test_a_demand_decides_the_exit_code(demands, code):
    few = {"model": "bundled:base", "data": ["world:mixture#12"]}
    outcome = go(VERB, dictionary="dictionary:bundled", **few, require=demands)
    assert outcome.exit_code is code
    document = json.loads((outcome.path / "result.json").read_text())
    assert evaluate.recompute(document, outcome.path) == []
    document["requirements"][0]["met"] = "perhaps"
    assert evaluate.recompute(document, outcome.path)


@pytest.mark.parametrize("demand", ["fvu", "fvu=0.2", "fvu<", "fvu<nan", "fv<0.2", "fvu<0.2 and l0<3"])
def test_a_demand_that_cannot_be_read_is_bad_input_before_any_work(demand):
    with pytest.raises(UserError) as caught:
        go(VERB, dictionary="nowhere", require=[demand])
    assert caught.value.where == "--require"


@pytest.mark.parametrize(
    ("options", "says"),
    [({}, "nothing to measure"), ({"model": "bundled:base"}, "--model without --data"), ({"data": [TEXTS]}, "--data")],
)
def test_options_that_belong_together_are_asked_for(options, says):
    with pytest.raises(UserError, match=re.escape(says)):
        go(VERB, dictionary="dictionary:bundled", **options)


def test_another_model_is_refused_and_a_transfer_is_stamped(workspace, base):
    d = random_dictionary("topk", width=WIDTH, size=80)
    folder = saved(workspace / "foreign", d, model="0" * 64)
    with pytest.raises(Refusal) as caught:
        go(VERB, dictionary=folder, **MODEL)
    assert (caught.value.code, caught.value.exit_code) == ("dictionary_mismatch", ExitCode.BAD_INPUT)
    outcome = go(VERB, dictionary=folder, transfer=True, **MODEL)
    assert outcome.result.headline.startswith("TRANSFERRED")
    assert "Transferred" in (outcome.path / "report.html").read_text()


def test_a_dictionary_worse_than_the_mean_says_so_and_nothing_is_hidden(workspace):
    folder = saved(workspace / "bad", random_dictionary("topk", width=WIDTH, size=80))
    found = checked(go(VERB, dictionary=folder, **MODEL))
    assert found.value("fvu") > 1
    assert found.metric("fvu").estimate.null == 1
    assert found.value("explained_variance") == pytest.approx(1 - found.value("fvu"))


def test_a_transcoder_is_measured_on_its_target_and_has_no_linear_rival(workspace):
    d = random_dictionary(
        "topk", width=WIDTH, target_width=WIDTH, size=80, kind="transcoder", sites=("mlp_in.1",), target="mlp_out.1"
    )
    found = checked(go(VERB, dictionary=saved(workspace / "t", d), **MODEL))
    assert [s.source for s in found.spliced] == ["mlp_out.1"]
    assert found.metric("fvu").linear is None
    assert [g.code for g in found.not_measured if g.what == "principal directions"] == ["no_linear_rival"]
    assert found.metric("encoder_decoder_cosine") is None


def test_a_crosscoder_of_a_model_and_its_copy_has_nothing_exclusive(workspace):
    """Fault 16, through the verb: norms that lean to one side nominate, and two equal models share everything."""
    g = torch.Generator().manual_seed(3)
    d = random_dictionary("topk", width=2 * WIDTH, size=96, k=12, kind="crosscoder", sites=PAIR)
    side = torch.rand(96, generator=g) < 0.5
    decoder = d.decoder.clone()
    decoder[side, :WIDTH] *= 0.01
    decoder[~side, WIDTH:] *= 0.01
    folder = saved(workspace / "x", replace(d, decoder=decoder, encoder=decoder.clone()))
    with pytest.raises(UserError, match="more models"):
        go(VERB, dictionary=folder, **MODEL)
    found = checked(go(VERB, dictionary=folder, candidate=["bundled:base"], **MODEL))
    (pair,) = found.exclusivity
    assert pair.nominated > 30
    assert (pair.exclusive_reference, pair.exclusive_candidate, pair.copy_exclusive) == (0, 0, 0)
    assert {m.source for m in found.metrics if m.name == "delta_ce"} == set(PAIR)
    assert found.value("fvu") == pytest.approx(np.mean([found.value("fvu", s) for s in PAIR]))
    assert found.value("ce_clean", PAIR[0]) == found.value("ce_clean", PAIR[1])


def test_a_relu_crosscoder_carries_a_warning(workspace):
    d = random_dictionary("relu", width=2 * WIDTH, size=32, kind="crosscoder", sites=PAIR)
    options = {"model": "bundled:base", "candidate": ["bundled:base"], "data": ["world:mixture#12"]}
    outcome = go(VERB, dictionary=saved(workspace / "r", d), **options)
    assert outcome.result.exclusivity[0].warning == "l1_shrinkage"
    assert "L1 penalty" in (outcome.path / "report.html").read_text()


def test_planted_directions_and_another_seed(workspace):
    rows, truth = planted(500, directions=40, width=32)
    decoder = torch.cat([truth[:30], random_dictionary(size=50, width=32, seed=7).decoder])
    d = random_dictionary("topk", width=32, size=80, k=5)
    d = replace(d, decoder=decoder, encoder=decoder.clone(), input_bias=torch.zeros(32), encoder_bias=torch.zeros(80))
    folder = saved(workspace / "p", d)
    save_file({"directions": truth}, workspace / "truth.safetensors")
    outcome = go(
        VERB, dictionary=folder, truth="truth.safetensors", agree=folder, require=["found>0.7", "agreement>0.99"]
    )
    found = checked(outcome)
    assert outcome.exit_code is ExitCode.PASS
    assert (found.recovery.found, found.recovery.directions) == (30, 40)
    assert found.value("mmcs") > found.metric("mmcs").estimate.null
    assert found.value("agreement") == 1 and found.metric("agreement").estimate.null < 0.2
    assert found.rows is None and found.metric("fvu") is None
    missing = {g.what: g.code for g in found.not_measured}
    assert (missing["fvu"], missing["delta_ce"], missing["code_f1"]) == ("no_rows", "no_model", "no_true_codes")
    active = torch.rand(500, 40) < 0.1
    save_file({"directions": truth, "rows": rows, "active": active.to(torch.uint8)}, workspace / "codes.safetensors")
    coded = go(VERB, dictionary=folder, truth="codes.safetensors").result
    assert abs(coded.value("code_f1") - coded.metric("code_f1").estimate.null) < 0.05, "codes drawn at random"


def test_a_truth_of_another_width_and_a_file_that_is_none_are_bad_input(workspace):
    folder = saved(workspace / "p", random_dictionary("topk", width=32, size=80))
    save_file({"directions": torch.randn(5, 31)}, workspace / "narrow.safetensors")
    (workspace / "text.safetensors").write_text("no tensors")
    for name in ("narrow.safetensors", "text.safetensors"):
        with pytest.raises(UserError) as caught:
            go(VERB, dictionary=folder, truth=name)
        assert caught.value.where == name
    other = saved(workspace / "q", random_dictionary("topk", width=16, size=80))
    with pytest.raises(Refusal) as refused:
        go(VERB, dictionary=folder, agree=other)
    assert refused.value.code == "dictionary_mismatch"


@pytest.fixture
def stored(workspace, base):
    """The same rows as TEXTS, in two shards; every third text is held out."""
    texts = read(TEXTS, world=lambda source: [doc.text for doc in parse_source(source).documents(0)])
    held = harvest(base, texts, ["resid_post.1"], validation=0.0)
    n = len(held.windows)
    prompts = polars.DataFrame(
        {
            "prompt": np.arange(n, dtype=np.uint32),
            "prompt_id": [w.prompt for w in held.windows],
            "group": [w.group for w in held.windows],
            "split": ["validation" if i % 3 == 0 else "train" for i in range(n)],
        }
    )
    model = ModelRecord(role="reference", reference="bundled:base", sha256=base.identity.tensors_sha256)
    index = Index(
        models=(model,),
        sources=(SourceRecord(source="reference/resid_post.1", width=WIDTH, dtype="F32"),),
        tokenizer_sha256="0" * 64,
        config_sha256="1" * 64,
        data_sha256={"x": "2" * 64},
        split_salt=0,
        validation=0.3,
        shards=2,
    )
    folder = workspace / "activations"
    begin(folder, index, prompts)
    rows, owners = held.rows("resid_post.1"), held.owners.numpy()
    with ShardWriter(folder, "5" * 64) as writer:
        for number, span in enumerate(((0, n // 2 - 1), (n // 2, n - 1))):
            mine = (owners >= span[0]) & (owners <= span[1])
            writer.submit(
                ShardData(
                    number=number,
                    rows={"reference/resid_post.1": rows[torch.from_numpy(mine)]},
                    tokens=held.tokens.numpy()[mine],
                    prompts=owners[mine],
                    positions=held.positions.numpy()[mine],
                    span=span,
                    fed=int(mine.sum()),
                    validation=int((owners[mine] % 3 == 0).sum()),
                )
            )
    finish(folder, "5" * 64, {})
    return held


def test_stored_rows_give_the_numbers_of_the_same_texts(stored):
    texts = go(VERB, dictionary="dictionary:bundled", **MODEL).result
    found = checked(go(VERB, dictionary="dictionary:bundled", activations="activations", split="all"))
    assert (found.rows.n, found.rows.groups, found.rows.origin) == (texts.rows.n, texts.rows.groups, "activations")
    for name in ("fvu", "l0", "cosine", "dense", "ev_per_token"):
        ours, theirs = found.metric(name).estimate, texts.metric(name).estimate
        assert (ours.value, ours.low, ours.high) == pytest.approx((theirs.value, theirs.low, theirs.high), rel=1e-6)
    assert [(b.by, b.low, b.fvu.n) for b in found.bands] == [(b.by, b.low, b.fvu.n) for b in texts.bands]
    assert [b.fvu.value for b in found.bands] == pytest.approx([b.fvu.value for b in texts.bands])


def test_validation_rows_are_the_default(stored, base):
    found = go(VERB, dictionary="dictionary:bundled", activations="activations").result
    held = torch.from_numpy(stored.owners.numpy() % 3 == 0)
    rows = stored.rows("resid_post.1")[held]
    d = dictionaries.load(bundled_path("dictionary"))
    e = (rows - d.reconstruct(rows)).double().square().sum()
    assert found.value("fvu") == pytest.approx(float(e / (rows.double() - rows.double().mean(0)).square().sum()))
    assert (found.rows.split, found.rows.n, found.rows.groups) == ("validation", len(rows), 20)
    assert {g.code for g in found.not_measured} == {"no_model", "few_rows"}


def test_texts_beside_activations_are_spliced_on_the_same_side_of_the_split(stored):
    found = checked(go(VERB, dictionary="dictionary:bundled", activations="activations", **MODEL))
    whole = go(VERB, dictionary="dictionary:bundled", activations="activations", split="all", **MODEL).result
    assert 0 < found.spliced[0].groups < whole.spliced[0].groups == 60
    assert whole.metric("delta_ce") == go(VERB, dictionary="dictionary:bundled", **MODEL).result.metric("delta_ce")


def test_activations_of_another_model_site_or_width_are_refused_with_exit_4(stored, workspace):
    for name, changes in (
        ("other", {"model": "0" * 64}),
        ("site", {"sites": ("resid_post.2",)}),
        ("width", {"width": 32}),
    ):
        identity = changes.pop("model", None)
        d = random_dictionary("topk", size=80, **{"width": WIDTH, **changes})
        outcome = go(VERB, dictionary=saved(workspace / name, d, model=identity), activations="activations")
        assert outcome.exit_code is ExitCode.NOT_MEASURED
        assert outcome.result.code == "dictionary_mismatch"
