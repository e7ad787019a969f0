"""`harvest` end to end: what it stores, what it refuses, and that all models and dictionaries see the same tokens."""

from __future__ import annotations

import json
from pathlib import Path

import polars
import pytest
import torch
from safetensors.torch import load_file, save_file

from harvest.make import sentences
from models import make
from radiograph.core import ExitCode, UserError
from radiograph.harvest import harvest as in_memory
from radiograph.harvest import read
from radiograph.models import load, plan
from radiograph.organisms import bundled_path
from radiograph.runtime import verify
from radiograph.store import Bundle
from radiograph.store.records import open_records
from radiograph.store.shards import open_activations
from running import contents, go, leaks

pytestmark = [
    pytest.mark.usefixtures("workspace"),
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning"),
]
SITE = "reference/resid_post.1"


@pytest.fixture
def base(workspace):
    make.folder(workspace / "base")
    return "base"


@pytest.fixture
def data(workspace):
    rows = [{"text": text, "group_id": f"g{i // 3}"} for i, text in enumerate(sentences(40))]
    (workspace / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ["data.jsonl"]


def rows_of(outcome, source=SITE):
    """All rows of a source, shard after shard, from the files themselves."""
    folder = Path(outcome.path) / "activations"
    return torch.cat([load_file(p)[source] for p in sorted(folder.glob("0*.safetensors"))])


def column(outcome, name):
    folder = Path(outcome.path) / "activations"
    return torch.cat([load_file(p)[name].long() for p in sorted(folder.glob("0*.safetensors"))])


def edit(folder: Path, name: str, change) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors[name] = change(tensors[name]).contiguous()
    save_file(tensors, path, metadata={"format": "pt"})


def test_shards_hold_the_rows_of_a_forward_and_the_bundle_verifies(base, data, somebody, workspace):
    outcome = go(
        "harvest", model=str(workspace / base), site=[SITE[10:]], data=[str(workspace / data[0])], shard_size=4000
    )
    found = open_activations(outcome.path, verify=True)
    assert len(found.index.commits) == outcome.result.shards > 3
    alone = in_memory(load(base), read(data[0]), ["resid_post.1"])
    torch.testing.assert_close(rows_of(outcome), alone.rows("resid_post.1"), rtol=0, atol=1e-5)
    assert torch.equal(column(outcome, "token"), alone.tokens)
    assert torch.equal(column(outcome, "position"), alone.positions)
    assert found.prompts["split"].to_list() == [w.split for w in alone.windows]
    assert verify(outcome.path, outcome.seal).status == "intact"
    assert not leaks(outcome.path, workspace)
    assert sorted({p.name for p in (outcome.path / "activations").iterdir() if not p.name[0].isdigit()}) == [
        "index.json",
        "prompts.parquet",
        "statistics.safetensors",
    ]


def test_a_shard_that_was_changed_is_found(base, data):
    outcome = go("harvest", model=base, site=["embed"], data=data)
    path = outcome.path / "activations" / "00000.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert verify(outcome.path, outcome.seal).status != "intact"


def test_every_model_sees_the_same_tokens(base, data, workspace):
    make.folder(workspace / "other", seed=5)
    adapters = [make.adapter(workspace / name, workspace / base, seed) for seed, name in enumerate(("a", "b"))]
    candidates = ["base", *(f"base+{a.name}" for a in adapters), "other"]
    outcome = go("harvest", model=base, site=["resid_post.{0,1}"], candidate=candidates, data=data)
    roles = ["reference", "candidate", "candidate2", "candidate3", "candidate4"]
    assert [s.source for s in outcome.result.sources] == [f"{r}/resid_post.{n}" for r in roles for n in (0, 1)]
    assert torch.equal(rows_of(outcome), rows_of(outcome, "candidate/resid_post.1"))
    for role, name in zip(roles, ["base", *candidates], strict=True):
        alone = go("harvest", model=name, site=["resid_post.1"], data=data)
        assert torch.allclose(rows_of(outcome, f"{role}/resid_post.1"), rows_of(alone), atol=1e-6), role
        assert torch.equal(column(outcome, "token"), column(alone, "token"))
    assert not torch.allclose(rows_of(outcome), rows_of(outcome, "candidate3/resid_post.1"), atol=1e-2)


def test_batch_size_moves_no_row_and_padding_is_small(base, data):
    one, many = (go("harvest", model=base, site=["resid_post.*"], data=data, batch_tokens=n) for n in (1, 4096))
    for layer in range(3):
        a, b = (rows_of(run, f"reference/resid_post.{layer}") for run in (one, many))
        assert float((a - b).abs().max()) <= 1e-5 * float(a.square().mean().sqrt())
    lengths = [int(n) for n in torch.randint(4, 512, (2000,), generator=torch.Generator().manual_seed(0))]
    padded = sum(max(lengths[r] for r in rows) * len(rows) for rows in plan(lengths, 8192))
    assert padded <= 1.05 * sum(lengths)


@pytest.mark.parametrize(
    ("site", "said"),
    [("resid_post.9", "outside the model"), ("resid.1", "unknown site"), ("mlp_hidden.1[3]", "one unit")],
)
def test_sites_that_are_not_there(base, data, site, said):
    with pytest.raises(UserError, match=said):
        go("harvest", model=base, site=[site], data=data)


def test_models_that_read_text_differently_are_refused(base, data, workspace):
    make.folder(workspace / "merges")
    make.tokenizer(merges=20).save_pretrained(workspace / "merges")
    make.folder(workspace / "template", template=make.TEMPLATE + " ")
    for other, said in (("merges", "vocabulary"), ("template", "templates differ")):
        outcome = go("harvest", model=base, candidate=[other], site=["embed"], data=data)
        assert outcome.exit_code is ExitCode.NOT_MEASURED
        assert outcome.result.code == "tokenizers_differ"
        assert said in outcome.result.text


def test_empty_and_long_texts_are_counted(base, workspace):
    (workspace / "a.jsonl").write_text('{"text": ""}\n{"text": "the fox"}\n' + json.dumps({"text": "fox " * 99}) + "\n")
    result = go("harvest", model=base, site=["embed"], data=["a.jsonl"]).result
    assert (result.documents, result.documents_empty, result.documents_cut) == (2, 1, 1)
    assert result.windows > 2
    assert "50% of the documents are longer than a window and went on" in result.notes[0]
    cut = go("harvest", model=base, site=["embed"], data=["a.jsonl"], window="off").result
    assert cut.windows == 2
    assert "were truncated" in cut.notes[0]
    (workspace / "b.jsonl").write_text('{"text": ""}\n')
    with pytest.raises(UserError, match="no text has a token to keep"):
        go("harvest", model=base, site=["embed"], data=["b.jsonl"])


def test_a_value_that_is_not_finite_stops_the_run_with_its_place(base, data, workspace):
    edit(workspace / base, "model.layers.1.mlp.down_proj.weight", lambda w: w * 1e38)
    edit(workspace / base, "model.layers.1.mlp.up_proj.weight", lambda w: w * 1e6)
    with pytest.raises(UserError, match=r"reference/resid_post\.1 is not finite") as error:
        go("harvest", model=base, site=["resid_post.1"], data=data)
    assert error.value.where.startswith("prompt ")
    assert "position" in error.value.where and "index" in error.value.where
    assert go("harvest", model=base, site=["resid_post.0"], data=data).exit_code is ExitCode.PASS


def test_fp16_stops_before_it_overflows_and_bf16_is_stored_as_bf16(base, data, workspace):
    half = go("harvest", model=base, site=["resid_post.1"], data=data, dtype="fp16")
    assert rows_of(half).dtype == torch.float16
    edit(workspace / base, "model.embed_tokens.weight", lambda w: w * 1e6)
    with pytest.raises(UserError, match="does not fit into fp16"):
        go("harvest", model=base, site=["resid_post.1"], data=data, dtype="fp16")
    stored = go("harvest", model=base, site=["resid_post.1"], data=data, dtype="bf16")
    assert rows_of(stored).dtype == torch.bfloat16
    assert stored.result.sources[0].dtype == "BF16"


def test_rows_of_outlying_norm_are_left_out_and_counted(base, data):
    whole = go("harvest", model=base, site=["resid_post.1"], data=data)
    norms = rows_of(whole).norm(dim=1)
    bound = float(norms.median()) * 1.2
    some = go("harvest", model=base, site=["resid_post.1"], data=data, drop_norm=1.2)
    assert torch.equal(rows_of(some), rows_of(whole)[norms <= bound])
    assert some.result.rows_dropped == int((norms > bound).sum()) > 0
    assert f"{some.result.rows_dropped} rows were left out" in some.result.notes[-1]


def test_shards_outside_the_run_are_known_by_their_hash(base, data, workspace):
    config = {"model": base, "site": ["embed"], "data": data}
    inside = go("harvest", **config)
    outside = go("harvest", **config, to="shards")
    assert outside.result == inside.result
    assert contents(workspace / "shards") == contents(inside.path / "activations")
    assert not (outside.path / "activations").exists()
    with pytest.raises(UserError, match="is not empty"):
        go("harvest", **config, to="shards")


def test_suites_worlds_and_files_are_read_together(workspace):
    (workspace / "s.yaml").write_text(
        "schema: radiograph.suite/1\nsuite_name: s\nprompts:\n"
        '  - {id: a, prompt: "How far is it?", group: q}\n  - {id: b, prompt: "Name a fruit.", group: q}\n'
    )
    (workspace / "t.txt").write_text("the hen\n\nthe market\n")
    sources = ["suite:s.yaml", "world:story#3", "t.txt"]
    outcome = go("harvest", model="bundled:base", site=["embed"], data=sources, keep_text=True)
    prompts = open_activations(outcome.path).prompts
    assert prompts["prompt_id"].to_list()[:2] == ["a", "b"]
    assert prompts["group"].to_list()[:2] == ["q", "q"]
    assert json.loads(prompts["text"][0])[0]["content"] == "How far is it?"
    assert prompts["text"].to_list()[-2:] == ["the hen", "the market"]
    assert list(open_activations(outcome.path).index.data_sha256) == ["s.yaml", "world:story#3", "t.txt"]
    with pytest.raises(UserError, match="has no end"):
        go("harvest", model="bundled:base", site=["embed"], data=["world:story"])
    with pytest.raises(UserError, match="may not use the network"):
        go("harvest", model="bundled:base", site=["embed"], data=["hf:lab/made@4f1e#train"])


DICTIONARY = {"model": "bundled:base", "dictionary": "dictionary:bundled", "data": ["world:mixture#60"]}


def values_of(outcome):
    return open_records(outcome.path, verify=True).values.collect()


def test_records_are_the_codes_of_the_rows_and_hold_every_row(workspace):
    from radiograph.dictionaries import load as load_dictionary

    both = go("harvest", **DICTIONARY, records="too", shard_size=100_000)
    alone = go("harvest", **DICTIONARY, shard_size=100_000)
    assert values_of(both).equals(values_of(alone))
    assert alone.result.shards == 0 < both.result.shards
    rows, dictionary = rows_of(both), load_dictionary(bundled_path("dictionary"))
    codes = dictionary.encode(rows)
    found = values_of(both)
    assert found["row"].to_list() == codes.rows.tolist()
    assert found["feature"].to_list() == codes.indices.tolist()
    torch.testing.assert_close(found["value"].to_torch(), codes.values, rtol=1e-5, atol=1e-5)
    listed = open_records(both.path).rows.collect()
    assert listed["row"].to_list() == list(range(len(rows)))
    assert listed["token_id"].to_list() == column(both, "token").tolist()
    assert open_records(both.path).header.absent == "zero"


@pytest.mark.parametrize("pool", ["max", "mean", "last", "sum", "count"])
def test_a_pool_counts_the_silent_tokens_of_a_prompt_too(pool, workspace):
    tokens = open_records(go("harvest", **DICTIONARY).path)
    listed, values = tokens.rows.collect(), tokens.values.collect()
    wide = torch.zeros(len(listed), tokens.header.features)
    wide[values["row"].to_torch().long(), values["feature"].to_torch().long()] = values["value"].to_torch()
    owner = listed["prompt"].to_torch().long()
    slow = {
        "max": lambda r: r.max(0).values,
        "mean": lambda r: r.mean(0),
        "last": lambda r: r[-1],
        "sum": lambda r: r.sum(0),
        "count": lambda r: (r > 0).sum(0).float(),
    }[pool]
    wanted = torch.stack([slow(wide[owner == n]) for n in range(int(owner.max()) + 1)])
    pooled = values_of(go("harvest", **DICTIONARY, pool=pool))
    made = torch.zeros_like(wanted)
    made[pooled["row"].to_torch().long(), pooled["feature"].to_torch().long()] = pooled["value"].to_torch()
    torch.testing.assert_close(made, wanted, rtol=1e-5, atol=1e-5)
    assert set(pooled["token"].to_list()) == {-1}


def test_a_dictionary_of_another_model_is_refused(base, data):
    outcome = go("harvest", model=base, dictionary="dictionary:bundled", data=data)
    assert outcome.exit_code is ExitCode.NOT_MEASURED
    assert outcome.result.code == "dictionary_mismatch"
    with pytest.raises(UserError, match=r"does not read reference/resid_post\.0"):
        go("harvest", **DICTIONARY, site=["resid_post.0"])
    with pytest.raises(UserError, match="pools what a dictionary finds"):
        go("harvest", model=base, site=["embed"], data=data, pool="max")


def test_a_replay_of_a_resumed_run_needs_no_killed_one(base, data):
    first = go("harvest", model=base, site=["embed"], data=data, out="first")
    assert Bundle(first.path).manifest.config["resume"] is None
    again = go("replay", run="first")
    assert again.result.status == "identical"


def test_prompts_say_where_a_text_stood(base, data):
    outcome = go("harvest", model=base, site=["embed"], data=data)
    table = polars.read_parquet(outcome.path / "activations" / "prompts.parquet")
    assert table["source"].unique().to_list() == ["data.jsonl"]
    assert table["line"].to_list() == list(range(1, 41))
    assert table["n_kept"].sum() == outcome.result.rows
