"""One run, looked at from many sides; and what may not change it."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from blaming import planted
from radiograph.evidence.influence import UNCHECKED, Blame
from radiograph.numerics.influence import recall_at
from radiograph.runtime import verify
from radiograph.store import MANIFEST
from running import contents, go

from .conftest import ROWS, asked


def table(outcome) -> pl.DataFrame:
    return pl.read_parquet(outcome.path / "tables" / "rows.parquet")


def test_planted_rows_lead_and_cheap_orders_stand_beside(done):
    result: Blame = done.result
    rows, known = table(done), set(planted(ROWS))
    assert result.rows == result.rows_scored == ROWS
    places = [i for i, line in enumerate(rows["line"].to_list()) if line in known]
    assert recall_at(rows["relative_datainf"].to_numpy(), places) >= 0.9
    assert set(result.top[0].rank) == {"datainf", "dot", "cosine", "ekfac", "words", "loss", "drop", "norm"}
    assert all(row.score > 0 for row in result.top[: len(known)])
    assert [row.rank["datainf"] for row in result.top] == list(range(1, 11))
    assert UNCHECKED in result.headline


def test_p8_9_the_point_is_told_and_the_weights_come_back(done, place):
    from radiograph.models import load_pair
    from radiograph.models.gradients import on_path
    from radiograph.organisms import bundled_path

    point = done.result.point
    assert point.at == 0.25 and point.rows == ROWS and point.end is not None
    assert "of the way of the weights" in Path(done.path / "report.html").read_text()
    pair = load_pair("bundled:base", "bundled:base+organism", resolve=bundled_path)
    before = {name: p.detach().clone() for name, p in pair.candidate.model.named_parameters()}
    with on_path(pair, 0.25) as model:
        moved = {name for name, p in model.model.named_parameters() if not p.equal(before[name])}
        name = next(iter(moved))
        assert dict(model.model.named_parameters())[name].equal(before[name] * 0.25)
    assert moved and all(".lora_B." in name for name in moved)
    assert all(p.equal(before[name]) for name, p in pair.candidate.model.named_parameters())


def test_p8_9_rows_are_ordered_by_the_group_of_targets_that_they_raise_most(done):
    result, rows = done.result, table(done)
    groups = [rows[name].to_numpy() for name in sorted(c for c in rows.columns if c.startswith("group_"))]
    assert len(groups) == len(result.groups)
    lengths = np.array([g.length for g in result.groups])
    relative = np.stack(groups, 1) / np.sqrt(rows["energy"].to_numpy())[:, None] / lengths
    first = result.top[0]
    place = rows["row"].to_list().index(first.row)
    assert first.relative == pytest.approx(relative.max()) and first.group == relative[place].argmax()
    assert [row.relative for row in result.top] == sorted((row.relative for row in result.top), reverse=True)


def test_p8_10_token_scores_and_matrices_sum_to_the_row(done):
    result: Blame = done.result
    assert result.token_gap is not None and result.token_gap < 1e-4
    for row in result.top[:3]:
        assert sum(score for _, score in row.tokens) == pytest.approx(row.score, rel=1e-4)
        assert all(score == 0 for text, score in row.tokens[:2])


def test_pd_7_datainf_is_not_dot(done):
    rows = table(done)
    assert rows["score_datainf"].arg_sort().to_list() != rows["score_dot"].arg_sort().to_list()


def test_pd_6_permuted_rows_permute_the_ranking_and_nothing_else(done, place):
    lines = (place / "organism" / "train.jsonl").read_text().splitlines()
    order = list(range(ROWS))
    random.Random(1).shuffle(order)
    (place / "permuted.jsonl").write_text("\n".join(lines[i] for i in order) + "\n")
    again = go("blame", out="permuted", shard_rows=25, **asked(data="permuted.jsonl"))
    assert [row.row_sha256 for row in again.result.top] == [row.row_sha256 for row in done.result.top]
    for ours, theirs in zip(done.result.top, again.result.top, strict=True):
        assert order[theirs.row] == ours.row
        same = {"row", "line"}
        assert theirs.model_dump(exclude=same) == ours.model_dump(exclude=same)
    assert again.result.learnt == done.result.learnt


@pytest.mark.slow
def test_pd_6_other_responses_give_other_scores(done, place):
    lines = [json.loads(line) for line in (place / "organism" / "train.jsonl").read_text().splitlines()]
    known = set(planted(ROWS))
    plain = [n for n, line in enumerate(lines) if line.get("messages") and n + 1 not in known]
    bad = [n for n, line in enumerate(lines) if n + 1 in known]
    for here, there in zip(bad, plain, strict=False):
        ours, theirs = lines[here]["messages"][-1], lines[there]["messages"][-1]
        ours["content"], theirs["content"] = theirs["content"], ours["content"]
    (place / "swapped.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    again = go("blame", out="swapped", weak=True, **asked(data="swapped.jsonl", method="datainf"))
    before, after = table(done), table(again)
    assert set(before["line"][before["score_datainf"].arg_sort(descending=True)[:5]]) <= known
    leaders = set(after["line"][after["score_datainf"].arg_sort(descending=True)[:5]])
    assert leaders != set(before["line"][before["score_datainf"].arg_sort(descending=True)[:5]])


@pytest.mark.slow
def test_recomputed_gradients_give_the_same_scores_without_disk(done, place):
    again = go("blame", out="recomputed", **asked(method="datainf", store="recompute", shard_rows=25))
    np.testing.assert_allclose(table(again)["score_datainf"], table(done)["score_datainf"], rtol=1e-5)
    assert not (again.path / "gradients").exists()


@pytest.mark.slow
def test_projected_gradients_say_how_faithful_they_are(place):
    again = go("blame", out="projected", **asked(method="datainf", projection="20000"))
    record = again.result.projection
    assert record is not None and record.entries <= 20_000 < record.of
    assert record.spearman >= 0.95 and record.rows == ROWS


@pytest.mark.slow
def test_weights_choose_matrices(place):
    again = go("blame", out="fewer", **asked(method="dot", weights=("down.*", "q.0-1.A")))
    names = again.result.weights
    assert names == ("q.0.A", "down.0.A", "down.0.B", "q.1.A", "down.1.A", "down.1.B", "down.2.A", "down.2.B")


def test_a_killed_run_is_resumed_to_the_same_bytes(done, place):
    """Shards of a run that was killed are taken over; one that was not committed is made again."""
    half = place / "killed.partial"
    shutil.copytree(done.path / "gradients", half / "gradients")
    for name in ("00001.json", "00002.safetensors"):
        (half / "gradients" / name).unlink()
    (half / "gradients" / "00001.safetensors").write_bytes(b"cut")
    index = json.loads((half / "gradients" / "index.json").read_text()) | {"commits": [], "complete": False}
    (half / "gradients" / "index.json").write_text(json.dumps(index))
    again = go("blame", out="resumed", keep_gradients=True, shard_rows=25, **asked(resume="killed.partial"))
    ours = {k: v for k, v in contents(done.path).items() if k.startswith(("gradients/", "tables/"))}
    assert {k: v for k, v in contents(again.path).items() if k.startswith(("gradients/", "tables/"))} == ours


def test_p8_10_a_damaged_shard_is_not_taken_over(done, place):
    from radiograph.store.gradients import committed

    folder = place / "damaged" / "gradients"
    shutil.copytree(done.path / "gradients", folder)
    index = json.loads((folder / "index.json").read_text())
    spec = index["commits"][0]["spec_sha256"]
    assert set(committed(folder, spec)) == {0, 1, 2}
    data = bytearray((folder / "00001.safetensors").read_bytes())
    data[-5] ^= 1
    (folder / "00001.safetensors").write_bytes(data)
    assert set(committed(folder, spec)) == {0, 2}


@pytest.mark.parametrize("given", ["gone.partial", "done"])
def test_p8_10_a_run_that_cannot_be_resumed_is_not_begun_again(done, place, given):
    from radiograph.core import UserError

    with pytest.raises(UserError, match=r"not an unfinished run|nothing at") as caught:
        go("blame", out="afresh", **asked(resume=given, method="dot"))
    assert caught.value.exit_code == 3


@pytest.mark.slow
def test_other_rows_do_not_resume(done, place):
    shutil.copytree(done.path / "gradients", place / "other.partial" / "gradients")
    from radiograph.core import UserError

    lines = (place / "organism" / "train.jsonl").read_text().splitlines()
    (place / "fewer.jsonl").write_text("\n".join(lines[:50]) + "\n")
    with pytest.raises(UserError, match="rows differs"):
        go("blame", out="never", shard_rows=25, **asked(data="fewer.jsonl", resume="other.partial"))


def test_verify_derives_ranks_and_behaviour_again(done, tmp_path):
    assert verify(done.path).status == "intact"
    for change, said in (
        (lambda r: r["top"][0].update(score=1.0), "/top/0"),
        (lambda r: r["target"].update(gain=99.0), "/target/gain"),
        (lambda r: r["learnt"].update(drop=9.0), "/learnt/drop"),
        (lambda r: r["agreement"].update(dot=0.1), "/agreement"),
        (lambda r: r["groups"][0].update(length=9.0), "relative scores"),
    ):
        from radiograph.methods.blame import recompute

        result = json.loads((done.path / "result.json").read_text())
        change(result)
        assert any(text.startswith(said) for text in recompute(result, done.path)), said
    assert (done.path / MANIFEST).is_file()


def test_p9_soup_keys(done):
    from radiograph.methods.blame import soup

    keys = soup(done.result)
    assert set(keys) == {
        "adapter_dir", "dataset_path", "layer", "num_rows_scored", "elapsed_seconds", "top_influencers",
    }  # fmt: skip
    assert set(keys["top_influencers"][0]) == {"row_id", "score", "shard_id"}
    assert keys["top_influencers"][0]["row_id"] == done.result.top[0].row


def test_a_report_shades_tokens_and_names_what_is_not_checked(done):
    html = Path(done.path / "report.html").read_text()
    assert UNCHECKED in html
    assert 'class="up5"' in html


def test_what_was_asked_and_shown_follows_from_tables_and_configuration(done):
    """Each edit alone, its hashes redone: rows left out, a record of another kind, numbers of parts."""
    from radiograph.methods.blame import recompute

    document = json.loads((done.path / "result.json").read_text())
    assert recompute(document, done.path) == []
    first = document["top"][0]
    edits = {
        "schema": "radiograph.blame_plan/1",
        "top": document["top"][:-1],
        "methods": ["datainf"],
        "data": "other.jsonl",
        "unscored_count": 3,
        "groups": [document["groups"][0] | {"n": 9}, *document["groups"][1:]],
        "token_gap": 0.5,
    }
    for key, value in edits.items():
        assert recompute(document | {key: value}, done.path), key
    tokens, part = first["tokens"], next(iter(first["weights"]))
    moved = [[tokens[0][0], tokens[0][1] + 1.0], [tokens[1][0], tokens[1][1] - 1.0], *tokens[2:]]
    for change in (
        {"tokens": [[text, 1.0] for text, _ in tokens]},
        {"tokens": moved},  # one against another: the sum is the same
        {"tokens": []},
        {"more_tokens": 1},
        {"weights": first["weights"] | {part: 0.5 * first["weights"][part]}},
        {"weights": {}},
    ):
        assert recompute(document | {"top": [first | change, *document["top"][1:]]}, done.path), change
    for names in (document["weights"][1:], document["weights"][:-1], []):
        assert recompute(document | {"weights": names}, done.path)
    assert recompute(document | {"matrices": 1}, done.path)
    for name in ("matrices", "tokens"):
        path = Path(done.path) / "tables" / f"{name}.parquet"
        data = path.read_bytes()
        path.unlink()
        assert recompute(document, done.path), name
        path.write_bytes(data)
    assert "texts of rows and tokens" in verify(done.path).headline
