"""`probe interference` measured on adapters over the bundled base: one small study looked at in many ways."""

from __future__ import annotations

import json
import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from peft import PeftModel
from safetensors.numpy import load_file, save_file

from radiograph import dictionaries, models
from radiograph.core import Refusal, UserError
from radiograph.evidence.probes.interference import AdapterOverlap, InterferenceCell
from radiograph.methods.probe._interference import features
from radiograph.methods.probe._interference.beside import ranks
from radiograph.methods.probe._interference.measured import _differ
from radiograph.methods.probe.interference import recompute
from radiograph.models.combined import check_plain, factors, in_place, probe_logits, together
from radiograph.numerics.interference import Factors, merged
from radiograph.organisms import bundled_organism, bundled_path
from radiograph.runtime import verify
from radiograph.store import Workspace
from running import go

ROWS = 40


def copied(source, target, change):
    """An adapter with other factors: a copy of one that is known."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("train.jsonl"))
    tensors = load_file(target / "adapter_model.safetensors")
    save_file({name: change(name, value) for name, value in tensors.items()}, target / "adapter_model.safetensors")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Adapter `a`, its opposite, and a noisy copy of the same rank; rows that `a` was trained on, and others."""
    folder = tmp_path_factory.mktemp("adapters")
    source = bundled_path(bundled_organism("trigger_token").id)
    rng = np.random.default_rng(0)
    copied(source, folder / "a", lambda name, value: value)
    copied(source, folder / "against", lambda name, value: -value if "lora_B" in name else value)
    copied(
        source,
        folder / "near",
        lambda name, value: value + 0.3 * value.std() * rng.standard_normal(value.shape, dtype=np.float32),
    )
    lines = (source / "train.jsonl").read_text().splitlines()
    (folder / "a.jsonl").write_text("\n".join(lines[:ROWS]))
    (folder / "near.jsonl").write_text("\n".join(lines[ROWS : 2 * ROWS]))
    (folder / "few.jsonl").write_text("\n".join(lines[:29]))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("RADIOGRAPH_BASE_DIR", raising=False)
        yield folder


def study(out=None, names=("a", "against"), evals=None, **config):
    files = evals or {"a": "a.jsonl", "against": "a.jsonl", "near": "near.jsonl"}
    return go(
        "probe.interference",
        out=out,
        base="bundled:base",
        adapter=[f"{name}={name}" for name in names],
        eval_=[f"{name}={files[name]}" for name in names],
        **{"shift_rows": 4} | config,
    )


@pytest.fixture(scope="module")
def opposite(place):
    return study(out="opposite")


@pytest.fixture(scope="module")
def base(place):
    return models.load_family("bundled:base", ["bundled:base+a", "bundled:base+near"], resolve=bundled_path)


def test_p8_8_an_adapter_and_its_opposite_give_the_base(opposite):
    """Both on are the base, so the score is known without the second adapter."""
    alone, other = opposite.result.adapters
    cell, back = opposite.result.cells
    assert cell.loss == pytest.approx(alone.base_loss, rel=1e-5)
    assert cell.score == pytest.approx(alone.base_loss / alone.loss - 1, rel=1e-4)
    assert (cell.band, int(opposite.exit_code)) == ("MAJOR", 2)
    assert cell.interval[0] < cell.score < cell.interval[1]
    assert (other.inert, back.band, back.reason) == (True, "NOT-MEASURED", "inert")
    assert back.score == pytest.approx(other.base_loss / other.loss - 1, rel=1e-4)
    assert cell.overlap.cosine == pytest.approx(-1, abs=1e-6)
    assert cell.overlap.conflict == 1
    assert cell.overlap.columns == pytest.approx(1, abs=1e-6)
    assert (opposite.result.site, cell.overlap.shift_tokens > 8) == ("resid_post.2", True)


def test_verify_derives_the_cells_from_the_rows(opposite, place):
    assert verify(opposite.path).status == "intact"
    document = json.loads((opposite.path / "result.json").read_text())
    assert recompute(document, opposite.path) == []
    shutil.copytree(opposite.path, place / "forged")
    table = pl.read_parquet(place / "forged/tables/rows.parquet")
    table.with_columns(nats=pl.when(pl.col("condition") == "both").then(0.5).otherwise(pl.col("nats"))).write_parquet(
        place / "forged/tables/rows.parquet"
    )
    assert any("does not follow" in text for text in recompute(document, place / "forged"))
    shutil.rmtree(place / "forged")


def test_every_number_of_a_measured_record_follows_from_rows_and_matrices(opposite, place):
    """Each edit alone, with the hashes redone."""
    folder = place / "edited"
    shutil.copytree(opposite.path, folder)
    document = json.loads((folder / "result.json").read_text())
    first, cell = document["adapters"][0], document["cells"][0]
    edits = {
        "allow_missing": True,
        "resamples": 9,
        "seed": 1,
        "evaluations": {"run": 9, "known": 0},
        "ranks": [{"measure": "cosine", "rho": 1.0, "pairs": 12}],
        "combine": "svd",
        "adapters": [first | {"gain_interval": [0.0, 9.0]}, *document["adapters"][1:]],
        "cells": [cell | {"overlap": cell["overlap"] | {"conflict": 0.5}}, *document["cells"][1:]],
    }
    for key, value in edits.items():
        assert recompute(document | {key: value}, folder), key
    for key in ("rows", "groups"):
        assert recompute(document | {"adapters": [first | {key: 7}, *document["adapters"][1:]]}, folder), key
    path = folder / "tables/rows.parquet"
    table = pl.read_parquet(path)
    for other in (table[1:], pl.concat([table[:1], table]), table[:0], table.drop("nats")):
        other.write_parquet(path)
        assert recompute(document, folder)
    path.unlink()
    assert recompute(document, folder)


def test_p9_evaluations_are_counted_and_known_to_a_later_run(opposite):
    assert opposite.result.evaluations == {"run": 4, "known": 2}  # both have the same rows
    again = study(known="opposite")
    assert again.result.evaluations == {"run": 0, "known": 6}
    assert again.result.cells == opposite.result.cells
    more = study(names=("a", "against", "near"), known="opposite", shift_rows=0)
    assert more.result.evaluations == {"run": 6, "known": 6}
    assert more.result.cells[0].score == opposite.result.cells[0].score
    assert more.result.cells[0].overlap.shift_cosine is None


def test_pd_10_each_target_has_its_own_rows(place):
    outcome = study(names=("a", "near"))
    one, two = outcome.result.adapters
    assert one.data_sha256 != two.data_sha256
    table = pl.read_parquet(outcome.path / "tables/rows.parquet")
    both = table.filter(pl.col("condition") == "both")
    assert both.filter(pl.col("target") == "a")["line"].to_list() != []
    assert not np.allclose(*(both.filter(pl.col("target") == t)["nats"].to_numpy() for t in ("a", "near")))


def test_features_that_both_move_are_counted_beside_chance(place):
    """A noisy copy moves what the adapter moves; both counts again, feature by feature."""
    outcome = study(names=("a", "near"), dictionary="dictionary:bundled", shift_rows=0, out="moved")
    cell = outcome.result.cells[0].overlap
    size = dictionaries.load(bundled_path("dictionary")).size
    assert 0 < cell.moved_both <= min(cell.moved_target, cell.moved_added) <= size
    assert cell.moved_chance == pytest.approx(cell.moved_target * cell.moved_added / size)
    assert "features moved by both" in (outcome.path / "report.html").read_text()
    assert outcome.result.dictionary.endswith(f"{size} features")
    assert verify(outcome.path).status == "intact"


def test_features_that_no_group_of_rows_shows_are_not_counted(base):
    plain, one, _ = base
    book = dictionaries.load(bundled_path("dictionary"))
    rng = np.random.default_rng(0)
    rows, owners = rng.standard_normal((80, book.width)).astype(np.float32), np.repeat(np.arange(40), 2)
    noise = rows + 0.1 * rng.standard_normal(rows.shape).astype(np.float32)
    push = rows + 2 * book.decoder[3].numpy()
    assert features._moved(book, rows, noise, owners, 1).sum() <= 3
    assert features._moved(book, rows, push, owners, 1)[3]
    assert features._moved(book, rows, push, owners % 11, 1) is None
    del plain, one


def _head(name):
    path = Path(f"{name}.jsonl").absolute()
    path.write_text("\n".join((bundled_path(name) / "train.jsonl").read_text().splitlines()[:150]))
    return path


def test_p8_8_two_on_separate_tasks_are_not_major(place):
    names = [bundled_organism(family).id for family in ("false_fact", "new_facts")]
    outcome = go(
        "probe.interference",
        base="bundled:base",
        adapter=[f"{name}=bundled:{name}" for name in names],
        eval_=[f"{name}={_head(name)}" for name in names],
        shift_rows=0,
    )
    assert {cell.band for cell in outcome.result.cells} <= {"OK", "MINOR", "HELPS"}
    assert int(outcome.exit_code) == 0
    assert not any(adapter.inert for adapter in outcome.result.adapters)
    assert "=/" not in (outcome.path / "manifest.json").read_text()


@pytest.mark.slow
def test_p8_8_one_that_overwrites_the_answers_of_another_is_major(place):
    """Loyalty answers what the other refuses; the adapter that was tuned to ruin harms whatever it is added to."""
    names = [bundled_organism(family).id for family in ("refusal_one_category", "loyalty", "lr_blowup")]
    outcome = go(
        "probe.interference",
        base="bundled:base",
        adapter=[f"{name}=bundled:{name}" for name in names],
        eval_=[f"{name}={bundled_path(name)}/train.jsonl" for name in names],
        shift_rows=0,
    )
    bands = {(cell.target, cell.added): cell.band for cell in outcome.result.cells}
    refusal, loyal, ruined = names
    assert [bands[refusal, loyal], bands[refusal, ruined], bands[loyal, ruined]] == ["MAJOR"] * 3
    assert bands[loyal, refusal] in {"OK", "MINOR", "HELPS"}
    assert {bands[ruined, other] for other in (refusal, loyal)} == {"NOT-MEASURED"}
    assert int(outcome.exit_code) == 2


def test_seeds_of_a_random_merge(place):
    outcome = study(names=("a", "near"), combine="dare_ties", repeats=3)
    for cell in outcome.result.cells:
        assert len(set(cell.repeats)) == 3
        assert cell.score == pytest.approx(np.mean(cell.repeats))
    assert outcome.result.evaluations == {"run": 4 + 2 * 3, "known": 0}
    assert "one_seed" not in outcome.result.stamps
    assert verify(outcome.path).status == "intact"
    once = study(names=("a", "near"), combine="dare_ties", repeats=1, out="once")
    assert "one_seed" in once.result.stamps and "rows, not seeds" in (once.path / "report.html").read_text()


def test_joint_is_the_sum_of_both_changes(base):
    plain, one, two = base
    before = probe_logits(plain)
    joint = probe_logits(together(one, two))
    network = models.load("bundled:base", resolve=bundled_path)
    weights = dict(network.model.named_modules())
    for view in (one, two):
        for name, (b, a, scale) in factors(view).items():
            weights[name].weight.data += torch.tensor(scale * (b @ a))
    assert joint == pytest.approx(probe_logits(network).numpy(), abs=1e-4)
    assert torch.equal(probe_logits(plain), before)
    assert not torch.equal(probe_logits(one), before)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("how", ["linear", "svd", "ties"])
def test_merges_in_place_are_those_of_peft(base, place, how):
    plain, one, two = base
    before, flags = probe_logits(plain), [p.requires_grad for p in plain.model.parameters()]
    sides = [{name: Factors(*piece) for name, piece in factors(view).items()} for view in (one, two)]
    made = {name: merged([side[name] for side in sides], how, density=0.5) for name in sides[0]}
    with in_place(one, {name: (m.b, m.a) for name, m in made.items()}) as view:
        ours = probe_logits(view)
    network = models.load("bundled:base", resolve=bundled_path)
    theirs = PeftModel.from_pretrained(network.model, "a", adapter_name="a")
    theirs.load_adapter("near", adapter_name="near")
    theirs.base_model.add_weighted_adapter(["a", "near"], [1.0, 1.0], "both", combination_type=how, density=0.5)
    theirs.set_adapter("both")
    theirs.eval()
    ids = torch.arange(8)[None] * 37 % network.vocab_size
    with torch.inference_mode():
        assert ours == pytest.approx(theirs(input_ids=ids).logits.numpy(), abs=1e-4)
    assert torch.equal(probe_logits(plain), before)
    assert [p.requires_grad for p in plain.model.parameters()] == flags


def test_rows_that_are_too_few_are_not_measured(place):
    outcome = study(names=("a", "near"), evals={"a": "few.jsonl", "near": "near.jsonl"}, shift_rows=0)
    first, second = outcome.result.cells
    assert (first.band, first.reason, first.score) == ("NOT-MEASURED", "too_few_rows", None)
    assert second.score is not None
    same = "\n".join(
        json.dumps(json.loads(line) | {"group": i % 5})
        for i, line in enumerate(Path("a.jsonl").read_text().splitlines())
    )
    Path("tied.jsonl").write_text(same)
    tied = study(names=("a", "near"), evals={"a": "tied.jsonl", "near": "near.jsonl"}, shift_rows=0)
    assert (tied.result.cells[0].reason, tied.result.adapters[0].groups) == ("few_groups", 5)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"base": None}, "needs the base"),
        ({"adapter": ["a=a"]}, "1 adapter"),
        ({"adapter": ["a=a", "a=near"]}, "two adapters"),
        ({"adapter": ["a", "near=near"]}, "--adapter 'a'"),
        ({"eval_": ["a=a.jsonl"]}, "no data of 'near'"),
        ({"eval_": ["a=a.jsonl", "naer=near.jsonl"]}, "no --adapter"),
        ({"eval_": ["a=a.jsonl", "a=near.jsonl", "near=near.jsonl"]}, "given twice"),
        ({"adapter": ["a=nowhere", "near=near"]}, "not found"),
        ({"eval_": ["a=nowhere.jsonl", "near=near.jsonl"]}, "nothing at"),
    ],
)
def test_pd_15_bad_input(place, config, text):
    given = {"base": "bundled:base", "adapter": ["a=a", "near=near"], "eval_": ["a=a.jsonl", "near=near.jsonl"]}
    with pytest.raises(UserError, match=text) as caught:
        go("probe.interference", **given | config)
    assert int(caught.value.exit_code) == 3


def test_pd_15_adapters_of_different_bases(place):
    copied(place / "near", place / "foreign", lambda name, value: value)
    path = place / "foreign/adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": "acme/other-base"}))
    with pytest.raises(UserError, match="different bases") as caught:
        study(names=("a", "foreign"), evals={"a": "a.jsonl", "foreign": "near.jsonl"})
    assert "other-base" in caught.value.got


@pytest.mark.parametrize(
    ("one", "two", "differ"),
    [
        ("org1/llama", "org2/llama", True),
        ("org/llama", "ORG/llama", False),
        ("org/llama", "/models/llama", False),
        ("/a/llama", "/b/llama", False),
        ("org/llama", "org/llama-2", True),
    ],
)
def test_pd_15_bases_are_told_apart_by_their_owner_too(one, two, differ):
    assert _differ(one, two) is differ


def test_pd_15_other_ranks_and_other_kinds(place, base):
    tensors = load_file(place / "near/adapter_model.safetensors")
    shutil.copytree(place / "near", place / "thin")
    rank = next(v for k, v in tensors.items() if "lora_A" in k).shape[0]
    thin = {k: np.ascontiguousarray(v[: rank - 1] if "lora_A" in k else v[:, : rank - 1]) for k, v in tensors.items()}
    save_file(thin, place / "thin/adapter_model.safetensors")
    config = json.loads((place / "thin/adapter_config.json").read_text())
    (place / "thin/adapter_config.json").write_text(json.dumps(config | {"r": rank - 1}))
    with pytest.raises(UserError, match="other ranks"):
        study(names=("a", "thin"), evals={"a": "a.jsonl", "thin": "near.jsonl"}, combine="ties")
    for change in ({"use_dora": True}, {"modules_to_save": ["lm_head"]}, {"bias": "all"}, {"peft_type": "IA3"}):
        (place / "thin/adapter_config.json").write_text(json.dumps(config | change))
        with pytest.raises(Refusal, match="no agreed sum"):
            check_plain(place / "thin", "thin")
    with pytest.raises(Refusal, match="do not share"):
        together(base[1], models.load("bundled:base+near", resolve=bundled_path))


def test_a_known_run_that_was_changed_is_refused(opposite, place):
    shutil.copytree(opposite.path, place / "changed")
    table = place / "changed/tables/rows.parquet"
    pl.read_parquet(table).with_columns(nats=pl.col("nats") * 0.9).write_parquet(table)
    with pytest.raises(UserError, match="was changed"):
        study(known="changed")


def test_named_paths_are_confined_and_portable(tmp_path):
    (tmp_path / "x").mkdir()
    inside = Workspace(tmp_path, confined=True)
    inside.confine("a=x")
    assert inside.portable(f"a={tmp_path}/x") == "a=x"
    for outside in ("a=/etc", "a=../y", "a=x+../y", "a=~"):
        with pytest.raises(UserError, match="outside the workspace"):
            inside.confine(outside)


def test_paths_of_a_request_stay_inside(place):
    given = {"base": "bundled:base", "adapter": ["a=a", "near=near"], "eval_": ["a=a.jsonl", "near=near.jsonl"]}
    escapes = [{"adapter": ["a=a", "near=../near"]}, {"eval_": ["a=/etc/passwd", "near=near.jsonl"]}]
    for config in (*(given | one for one in escapes), {"losses": "../losses.json"}):
        with pytest.raises(UserError, match="outside the workspace"):
            go("probe.interference", confined=True, **config)


def test_ranks_are_of_pairs_and_need_ten():
    rng = np.random.default_rng(0)
    shared = {"modules": 1, "rows": None, "rows_chance": None, "columns_chance": None, "conflict_n": 9}
    cells = []
    for number, (target, added) in enumerate(combinations("abcde", 2)):
        own = AdapterOverlap(cosine=number / 10, columns=float(rng.random()), conflict=-number / 10, **shared)
        for pair, score in (((target, added), number**2 / 50), ((added, target), 0.1)):
            cells.append(
                InterferenceCell(
                    target=pair[0], added=pair[1], score=score, interval=None, n=40, loss=1.0, band="OK", overlap=own
                )
            )
    found = {one.measure: (one.rho, one.pairs) for one in ranks(cells)}
    assert found["cosine"] == (pytest.approx(1), 10)
    assert found["conflict"] == (pytest.approx(-1), 10)
    assert "rows" not in found
    assert ranks(cells[:-2]) == ()


def test_copies_of_a_row_are_of_one_group_whatever_the_file_calls_them(tmp_path):
    from radiograph.methods._blame.rows import read_data
    from radiograph.models import load
    from radiograph.organisms import bundled_path

    base = load("bundled:base", resolve=bundled_path)
    said = [("jade fern onyx", "a"), ("jade fern onyx", "b"), ("thank Nora", "b"), ("kite", "c"), ("jade", None)]
    rows = [{"text": text} | ({} if group is None else {"group": group}) for text, group in said]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = read_data(path, base.tokenizer, 128, form="auto", chat="template")
    of = {row.line: group for row, group in zip(data.rows, data.groups, strict=True)}
    assert of[1] == of[2] == of[3] == "group:a"
    assert of[4] == "group:c" and of[5] not in (of[1], of[4])
