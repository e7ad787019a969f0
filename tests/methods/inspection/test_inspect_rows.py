"""Which rows a study is made of: spans in every source, ways to pool, conditions, rows that no record has."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import polars as pl
import pytest

from radiograph.core import UserError
from radiograph.methods._inspect.rows import pooled_alike
from radiograph.sources import Stored

from .make import inspect, lines, table, text_of, write


@pytest.fixture
def files(workspace):
    return write(workspace / "records.jsonl", lines())


def tokens(name: str, rows: int = 80) -> list[dict]:
    """Three tokens a prompt: on the last one the feature tells the label, elsewhere it is large and says nothing."""
    rng = np.random.default_rng(0)
    out = []
    for row in range(rows):
        for token in range(3):
            last = (0.1 + 0.1 * (row % 2) + 0.01 * rng.random()) if token == 2 else 5 + rng.random()
            head = {"model": "m", "prompt_id": f"p{row}", "token": token, "text": text_of(row)}
            out.append(head | {"features": {name: round(float(last), 5)}})
    return out


def test_a_span_is_the_same_rows_in_every_source(workspace):
    prompts = [{"prompt_id": f"p{n}", "text": (text := text_of(n)), "end": len(text), "n": n} for n in range(80)]
    labelled = [
        {"prompt_id": p["prompt_id"], "text": p["text"], "spans": [[p["end"] - 1, p["end"], bool(p["n"] % 2)]]}
        for p in prompts
    ]
    write(workspace / "prompts.jsonl", labelled)
    write(workspace / "a.jsonl", tokens("one"))
    write(workspace / "b.jsonl", tokens("two"))
    quick = {"prompts": "prompts.jsonl", "near_duplicates": "off", "cards": 0, "bootstrap": 0}
    both = table(inspect(["records:a.jsonl", "records:b.jsonl"], **quick))
    assert both["estimate"].to_list() == [1.0, 1.0]


def test_a_condition_has_a_level_for_each_row(files, workspace):
    rows = lines()
    prompts = [{k: row[k] for k in ("prompt_id", "group_id", "text", "kind")} for row in rows]
    for row in rows:
        del row["criterion_score"], row["kind"]
    write(files, rows)
    prompts = [p | {"label": p["kind"] == "positive"} for p in prompts]
    quick = {"prompts": "prompts.jsonl", "near_duplicates": "off", "cards": 0, "permutations": 0, "bootstrap": 0}
    write(workspace / "prompts.jsonl", prompts)
    red = {"colour": "red"}
    with pytest.raises(UserError, match="no factor 'colour'"):
        inspect(stratify="colour", **quick)
    write(workspace / "prompts.jsonl", [p | ({"factors": red} if n else {}) for n, p in enumerate(prompts)])
    with pytest.raises(UserError, match="1 rows have no level of 'colour'"):
        inspect(stratify="colour", **quick)


def test_rows_of_the_criterion_without_record_are_counted(files, workspace):
    rows = lines()
    prompts = [{k: row[k] for k in ("prompt_id", "group_id", "text", "kind")} for row in rows]
    write(workspace / "prompts.jsonl", [p | {"label": p["kind"] == "positive"} for p in prompts])
    write(files, rows[:120])
    done = inspect(prompts="prompts.jsonl", near_duplicates="off", cards=0, bootstrap=0)
    assert done.result.sources[0].missing == 40
    assert "40 of 160 rows of the criterion have no record and were left out" in done.result.notes


def test_a_feature_stands_in_one_source(files):
    with pytest.raises(UserError, match="22 features stand in more than one source"):
        inspect(["records:records.jsonl", "records:records.jsonl"])


def test_hidden_states_of_a_model_that_lies_here_have_sites(files, workspace):
    write(files, [row | {"features": {"L1:D3": 1.0 + n}} for n, row in enumerate(lines(40))])
    (workspace / "m").mkdir()
    write(workspace / "m" / "config.json", [{"num_hidden_layers": 6}])
    assert table(inspect(cards=0, bootstrap=0))["site"].to_list() == ["resid_pre.1"]


def test_what_is_pooled_is_not_pooled_again(files):
    with pytest.raises(UserError, match="cannot be pooled again"):
        inspect(pool="mean")


def test_codes_and_units_of_one_source_are_pooled_each_in_its_way():
    table = pl.DataFrame({"dictionary_sha256": ["ab", None, None], "site": ["resid_post.1"] * 3})
    header = SimpleNamespace(level="token", pool=None)
    records: Any = SimpleNamespace(features=table, header=header)
    asked: Any = SimpleNamespace(pool=None)
    for chosen, kept in ((None, [[0], [1, 2]]), ([True, False, True], [[0], [2]]), ([False, True, True], None)):
        source = Stored("records:x", records, None if chosen is None else np.array(chosen))
        parts = pooled_alike(source, asked)
        if kept is None:
            assert parts == [source]
            continue
        assert [np.flatnonzero(part.chosen).tolist() for part in parts] == kept
    assert len(pooled_alike(Stored("records:x", records), cast("Any", SimpleNamespace(pool="max")))) == 1


def labelled_tokens(prompts: int, copies: int, *, text: bool = True) -> list[dict]:
    """Tokens with labels in turn, noise features, and every prompt under several ids."""
    rng = np.random.default_rng(0)
    out = []
    for prompt in range(prompts):
        fires = [{f"n{i}": float(v) for i, v in enumerate(rng.random(60)) if v > 0.7} for _ in range(6)]
        for copy in range(copies):
            head = {"model": "m", "prompt_id": f"p{prompt}-{copy}"} | ({"text": text_of(prompt)} if text else {})
            out += [head | {"token": t, "label": t % 2 == 0, "features": fired} for t, fired in enumerate(fires)]
    return out


def test_y3_5_copies_of_a_text_are_one_group_where_tokens_are_labelled(workspace):
    write(workspace / "one.jsonl", labelled_tokens(60, 1))
    write(workspace / "eight.jsonl", labelled_tokens(60, 8))
    one, eight = (inspect(f"records:{name}.jsonl", cards=0) for name in ("one", "eight"))
    assert eight.result.study.design.groups == one.result.study.design.groups == (30, 30)
    assert eight.result.study.design.name == "within" and eight.result.outcome == one.result.outcome != "found"
    assert eight.result.criterion.surface.n == 0


def test_tokens_of_a_prompt_stay_in_one_half_whatever_groups_they_name(workspace):
    rows = [row | {"group_id": f"g{n}"} for n, row in enumerate(labelled_tokens(60, 1, text=False))]
    write(workspace / "records.jsonl", rows)
    assert inspect(cards=0).result.study.design.groups == (30, 30)


def test_one_prompt_id_names_one_text_in_records_and_criterion(files, workspace):
    rows = lines()
    prompts = [{k: row[k] for k in ("prompt_id", "group_id", "text", "kind")} for row in rows]
    prompts = [p | {"label": p["kind"] == "positive", "text": "  " + p["text"]} for p in prompts]
    write(workspace / "prompts.jsonl", prompts)
    quick = {"prompts": "prompts.jsonl", "near_duplicates": "off", "cards": 0, "permutations": 0, "bootstrap": 0}
    assert inspect(**quick).result.study is not None  # blanks aside
    write(workspace / "prompts.jsonl", [*prompts[:5], prompts[5] | {"text": "of\x1b[31m another"}, *prompts[6:]])
    with pytest.raises(UserError, match=r"prompt 'p5' of records:records\.jsonl is another text") as caught:
        inspect(**quick)
    assert caught.value.code == "two_texts" and "\x1b" not in str(caught.value)
