"""`records export`: what lies in the folder is what the model computes, whoever runs it and however it is batched."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from models import make
from radiograph.core import ExitCode, Refusal, UserError
from radiograph.store.directions import open_directions
from radiograph.store.foreign import read_records
from radiograph.store.records import open_records
from running import go

CRITERION = {"prompts": "world:next_unit", "count": 60, "near_duplicates": "off"}
SOURCES = ["dictionary:bundled", "units:mlp_hidden.2#3-6"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("export")
        patch.chdir(folder)
        patch.delenv("RADIOGRAPH_BASE_DIR", raising=False)
        yield folder


@pytest.fixture(scope="module")
def run(home):
    """Token records of dictionary and units on labelled prompts."""
    return go("records.export", model="bundled:base", features=SOURCES, **CRITERION)


@pytest.fixture(scope="module")
def records(run):
    return open_records(run.path, verify=True)


@pytest.fixture(scope="module")
def base():
    from radiograph import models, organisms

    return models.load("bundled:base", resolve=organisms.bundled_path)


def table(records):
    """Entries with the ids of their features, and what is known of their rows."""
    names = records.features.select("feature", "feature_id", "site")
    return records.values.collect().join(names, on="feature").join(records.rows.collect().drop("token"), on="row")


def dense(records):
    """Rows × features."""
    out = np.zeros((records.header.rows, records.header.features), np.float32)
    entries = records.values.collect()
    out[entries["row"].to_numpy(), entries["feature"].to_numpy()] = entries["value"].to_numpy()
    return out


def test_z_records_hold_what_the_codecs_give_at_every_token(run, records, base):
    from radiograph import criteria, dictionaries, organisms
    from radiograph.models import capture, pad

    compiled = criteria.read_compiled(run.path / "criterion" / "criterion.json")
    dictionary = dictionaries.load(organisms.bundled_path("dictionary"))
    found, rows = dense(records), records.rows.collect()
    assert records.header.sites == ("resid_post.1", "mlp_hidden.2") and records.header.order == "feature"
    for row in compiled.rows[:5]:
        own = rows.filter(pl.col("prompt_id") == row.prompt_id)
        (low, hidden) = base.sites("resid_post.1") + base.sites("mlp_hidden.2")
        acts = capture(base, pad([list(row.tokens)]), [low, hidden])
        at = own["token"].to_numpy()
        codes = dictionary.encode_dense(acts[low][0].float()).numpy()[at]
        wanted = np.concatenate([codes, acts[hidden][0].float().numpy()[at][:, 3:7]], axis=1)
        assert np.allclose(found[own["row"].to_numpy()], wanted, atol=1e-4)
        assert 0 not in at  # BOS is fed and not recorded


def test_labels_stand_at_the_labelled_token_and_nowhere_else(run, records):
    rows = records.rows.collect()
    labelled = rows.filter(pl.col("label").is_not_null())
    assert set(labelled["kind"]) == {"positive", "near_miss", "negative"}
    assert labelled["prompt_id"].n_unique() == len(labelled) == rows["prompt_id"].n_unique()
    last = rows.group_by("prompt_id").agg(pl.col("token").max())
    assert labelled.join(last, on=["prompt_id", "token"]).height == len(labelled)
    assert set(rows["split"]) == {"discover", "confirm"} and rows["group_id"].null_count() == 0


def test_offsets_spell_the_tokens(records, base):
    rows = records.rows.collect().filter(pl.col("offsets").is_not_null())
    assert len(rows) == records.header.rows
    for row in rows.head(40).iter_rows(named=True):
        start, end = row["offsets"]
        ids = base.tokenizer(row["text"])["input_ids"]
        assert base.tokenizer.decode([ids[row["token"]]]).strip() == row["text"][start:end].strip()


def test_write_directions_are_the_decoder_and_the_axes(run, records):
    from radiograph import dictionaries, organisms

    dictionary = dictionaries.load(organisms.bundled_path("dictionary"))
    header, found = open_directions(run.path / "records" / "directions.safetensors")
    features = records.features
    assert header.model_sha256 == records.header.model.sha256
    for number, row in enumerate(features.iter_rows(named=True)):
        if row["direction"] is None:
            continue
        vector = found[row["site"]][row["direction"]]
        assert header.tensors[row["site"]].names[row["direction"]] == row["feature_id"]
        wanted = dictionary.decoder[number].numpy() if number < 256 else np.eye(176, dtype=np.float32)[number - 256 + 3]
        assert np.array_equal(vector, wanted)
    assert features["dictionary_sha256"].to_list()[0] == dictionary.hash and features["label"][3]


@pytest.mark.parametrize(
    "pool", ["max", "last", *(pytest.param(how, marks=pytest.mark.slow) for how in ("mean", "sum"))]
)
def test_a_pooled_row_is_what_its_tokens_make(pool, home, tmp_path):
    texts = [{"prompt_id": f"p{n}", "text": "the river is 5 metres wide"[: 8 + 3 * n]} for n in range(6)]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(text) + "\n" for text in texts))
    given = {
        "model": "bundled:base",
        "features": ["toy#0-60", "units:resid_post.0#0-4"],
        "text": [str(tmp_path / "t.jsonl")],
    }
    tokens = open_records(go("records.export", **given, out=str(tmp_path / "a")).path)
    pooled = open_records(go("records.export", **given, level="prompt", pool=pool, out=str(tmp_path / "b")).path)
    assert (pooled.header.level, pooled.header.pool) == ("prompt", pool)
    values, rows = dense(tokens), tokens.rows.collect()
    how = {"max": lambda v: v.max(0), "mean": lambda v: v.mean(0), "sum": lambda v: v.sum(0), "last": lambda v: v[-1]}[
        pool
    ]
    for row, found in zip(pooled.rows.collect().iter_rows(named=True), dense(pooled), strict=True):
        own = rows.filter(pl.col("prompt_id") == row["prompt_id"])
        assert row["n_tokens"] == len(own) and row["token"] == -1
        assert np.allclose(found, how(values[own["row"].to_numpy()]), atol=1e-5)


@pytest.mark.slow
def test_z_the_pool_of_units_is_the_last_token_and_that_of_codes_the_largest(home):
    units = go("records.export", model="bundled:base", features=["units:resid_post.1"], **CRITERION, level="prompt")
    codes = go("records.export", model="bundled:base", features=["dictionary:bundled#0-9"], **CRITERION, level="prompt")
    with pytest.raises(UserError, match="pooled over tokens in two ways"):
        go("records.export", model="bundled:base", features=SOURCES, **CRITERION, level="prompt")
    assert (units.result.pool, codes.result.pool) == ("last", "max")
    assert units.result.rows == units.result.prompts and units.result.lost == 0


def test_kept_entries_are_the_largest_and_the_header_says_below(home, records):
    kept = go("records.export", model="bundled:base", features=SOURCES, **CRITERION, keep=5)
    few = open_records(kept.path)
    assert (few.header.absent, few.header.kept_per_row, kept.result.active) == ("below", 5, 5.0)
    whole, some = dense(records), dense(few)
    for row in range(0, len(whole), 7):
        order = np.argsort(-np.abs(whole[row]), kind="stable")[:5]
        assert set(np.flatnonzero(some[row])) == set(order) and np.array_equal(some[row][order], whole[row][order])
    assert any("censored" in note for note in kept.result.notes)


def test_y3_4_features_of_a_site_are_chosen_on_discover_alone(home):
    from radiograph.numerics.association import columns, measured, units_of

    given = {"model": "bundled:base", "features": ["units:resid_post.0", "units:resid_post.2"], "level": "prompt"}
    whole = open_records(go("records.export", **given, prompts="world:next_unit", count=100).path)
    chosen = go("records.export", **given, prompts="world:next_unit", count=100, per_site=4)
    few = open_records(chosen.path)
    rows = whole.rows.collect()
    half = (rows["split"] == "discover").to_numpy()
    label = rows["label"].cast(pl.Float64).to_numpy()
    units = units_of(rows["group_id"].to_numpy(), label, half)
    values = dense(whole)
    unit, feature = np.nonzero(values)
    cells = units.pooled(columns(unit, feature, values[unit, feature], units=len(rows), features=values.shape[1]))
    z = np.abs(measured(units.among(units.discover), cells.among(units.discover)).law.z)
    wanted = [*np.sort(np.argsort(-z[:64], kind="stable")[:4]), *(64 + np.sort(np.argsort(-z[64:], kind="stable")[:4]))]
    assert few.features["feature_id"].to_list() == [whole.features["feature_id"][int(n)] for n in wanted]
    split = json.loads((chosen.path / "criterion" / "split.json").read_text())
    from radiograph.evidence import Split

    assert few.header.selected == Split.read(split).sha256 and not few.header.preselected


@pytest.mark.slow
def test_z_batches_change_nothing_but_the_last_bits(home):
    given = {"model": "bundled:base", "features": SOURCES, "text": ["world:mixture#16"]}
    many, single = (open_records(go("records.export", **given, batch_tokens=n).path) for n in (8192, 1))
    one, other = dense(single), dense(many)
    assert np.abs(one - other).max() <= 1e-5 * np.abs(other).max()
    assert single.rows.collect().equals(many.rows.collect())


@pytest.mark.slow
def test_json_lines_hold_the_same_records(home, records, tmp_path):
    made = go("records.export", model="bundled:base", features=SOURCES, **CRITERION, to="jsonl")
    assert not (made.path / "records").exists()
    again = read_records(made.path / "records.jsonl", tmp_path)
    columns = ["prompt_id", "token", "feature_id", "value"]
    tokens = [r.values.collect().select("row", "feature", "token", "value") for r in (records, again)]
    wide = [
        t.join(r.features.select("feature", "feature_id"), on="feature")
        .join(r.rows.select("row", "prompt_id").collect(), on="row")
        .select(columns)
        .sort(columns)
        for t, r in zip(tokens, (records, again), strict=True)
    ]
    assert wide[0].equals(wide[1])


def test_long_prompts_are_cut_and_counted_and_bos_is_recorded_on_request(home, tmp_path):
    (tmp_path / "t.txt").write_text("the river is 5 metres wide\n\nOmar\n")
    given = {
        "model": "bundled:base",
        "features": ["units:resid_post.0#0"],
        "text": [str(tmp_path / "t.txt")],
        "max_length": 4,
    }
    skip = go("records.export", **given, out=str(tmp_path / "a"))
    keep = go("records.export", **given, bos="keep", out=str(tmp_path / "b"))
    bare = go("records.export", **given, prepend_bos=False, out=str(tmp_path / "c"))
    assert skip.result.truncated == 1 and any("longer than 4 tokens" in note for note in skip.result.notes)
    first = [
        open_records(r.path).rows.collect().group_by("prompt_id").agg(pl.col("token").min())["token"].to_list()
        for r in (skip, keep, bare)
    ]
    assert first == [[1, 1], [0, 0], [0, 0]]
    assert keep.result.rows == skip.result.rows + 2


@pytest.mark.parametrize("family", ["gpt2", "llama", "gpt_neox"])
def test_y3_17_random_models_are_exported_and_the_last_state_is_final_norm(family, home, tmp_path):
    """Against the hidden states of the library itself, in batches that are padded."""
    from radiograph.core import hidden_state

    make.folder(tmp_path / family, family)
    (tmp_path / "t.txt").write_text("the quick brown fox\n\na dog\n\nthe lazy dog sits down to read\n")
    made = go(
        "records.export",
        model=str(tmp_path / family),
        features=["units:final_norm"],
        layers="0,-1",
        text=[str(tmp_path / "t.txt")],
        out=str(tmp_path / "out"),
    )
    records = open_records(made.path)
    network, tokenizer = make.network(family), make.tokenizer(merges=38)
    values, rows, features = dense(records), records.rows.collect(), records.features
    assert records.header.sites == ("final_norm", "resid_post.0", "resid_post.2")
    assert str(hidden_state(3, 3)) == "final_norm" and str(hidden_state(1, 3)) == "resid_pre.1"
    for text in rows["text"].unique().to_list():
        own = rows.filter(pl.col("text") == text)
        with torch.no_grad():
            states = network(torch.tensor([tokenizer(text)["input_ids"]]), output_hidden_states=True).hidden_states
        for site, state in (("final_norm", states[-1]), ("resid_post.0", states[1])):
            at = features.filter(pl.col("site") == site)["feature"].to_numpy()
            found = values[own["row"].to_numpy()][:, at]
            assert np.abs(found - state[0].numpy()[own["token"].to_numpy()]).max() < 1e-4
        last = features.filter(pl.col("site") == "resid_post.2")["feature"].to_numpy()
        assert (
            np.abs(values[own["row"].to_numpy()][:, last] - states[-1][0].numpy()[own["token"].to_numpy()]).max() > 0.01
        )


@pytest.mark.parametrize("family", ["gpt2", "llama", "gpt_neox"])
def test_y3_17_left_and_right_padding_agree(family):
    from radiograph.models import capture, pad, wrap

    model = wrap(make.network(family))
    sites = [*model.sites("resid_post.*"), *model.sites("final_norm")]
    tokens = [[3, 5, 7, 9, 11], [4, 6], [200]]
    right, left = (capture(model, pad(tokens, left=side), sites) for side in (False, True))
    for site in sites:
        for row, ids in enumerate(tokens):
            one, other = right[site][row, : len(ids)], left[site][row, -len(ids) :]
            assert torch.allclose(one, other, atol=1e-4), site


def test_a_dictionary_that_explains_nothing_is_refused_and_nothing_is_left(home, tmp_path, base):
    from dictionaries.make import random_dictionary
    from radiograph import dictionaries

    dictionaries.save(random_dictionary(size=96, width=64, k=4), tmp_path / "d")
    before = set(Path("runs").iterdir())
    with pytest.raises(Refusal) as caught:
        go("records.export", model="bundled:base", features=[f"dictionary:{tmp_path / 'd'}"], text=["world:mixture#60"])
    assert caught.value.code == "dictionary_mismatch" and caught.value.exit_code is ExitCode.BAD_INPUT
    assert "FVU" in str(caught.value.got) and set(Path("runs").iterdir()) == before


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"text": ["world:mixture#5"]}, "--features"),
        ({"features": ["toy"]}, "--prompts or --text"),
        ({"features": ["toy"], "text": ["world:mixture#5"], "prompts": "world:unit"}, "one of them"),
        ({"features": ["toy"], "text": ["world:mixture#5"], "per_site": 3}, "--per-site"),
        ({"features": ["toy"], "text": ["world:mixture#5"], "pool": "max"}, "--pool"),
        ({"features": ["toy", "units:mlp_hidden.2#3"], "text": ["world:mixture#5"], "level": "prompt"}, "two ways"),
        ({"features": ["toy", "dictionary:bundled"], "text": ["world:mixture#5"]}, "two sources"),
        ({"features": ["toy"], "prompts": "world:unit", "per_site": 3, "keep": 3}, "--keep"),
        ({"layers": "0,x", "text": ["world:mixture#5"]}, "--layers"),
        ({"layers": "0", "site_template": "resid_post.1", "text": ["world:mixture#5"]}, "--site-template"),
        ({"features": ["jsonl:dump.jsonl"], "text": ["world:mixture#5"]}, "is dump"),
        ({"features": ["toy"], "text": ["blank.jsonl"]}, "is empty"),
        ({"features": ["units:resid_pots.1"], "text": ["world:mixture#5"]}, "resid_post"),
    ],
)
def test_bad_input_is_named_and_leaves_nothing(given, said, home):
    Path("dump.jsonl").write_text('{"model":"m","feature_id":"a"}\n')
    Path("blank.jsonl").write_text('{"text":"a"}\n{"text":"  "}\n')
    before = set(Path("runs").iterdir()) if Path("runs").is_dir() else set()
    with pytest.raises(UserError, match=said) as caught:
        go("records.export", model="bundled:base", **given)
    assert caught.value.exit_code is ExitCode.BAD_INPUT
    assert (set(Path("runs").iterdir()) if Path("runs").is_dir() else set()) == before


def test_an_edited_value_makes_verify_fail(run, home, tmp_path):
    import shutil

    from radiograph.methods.records.export import recompute
    from radiograph.runtime import verify

    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    file = copy / "records" / "values" / "00000.parquet"
    changed = pl.read_parquet(file).with_columns(value=pl.col("value") * 2)
    changed.write_parquet(file)
    assert verify(copy).status == "changed"
    result = json.loads((run.path / "result.json").read_text())
    assert recompute(result, run.path) == []
    assert recompute(result | {"entries": 3}, run.path)
