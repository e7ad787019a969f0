"""What compiling promises: no group spans the halves, nothing hangs on order or words, refusals say what is missing."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from radiograph.core import FormatError, Refusal, UserError
from radiograph.criteria import Parts, Prompts, Records, Template, compile_criterion, kinds_of, prepare_records
from radiograph.evidence import Criterion

from .make import TEMPLATE, dataset, labelled


def halves(compiled):
    return {row.prompt_id: row.half for row in compiled.rows}


def test_a_dataset_becomes_groups_and_halves():
    compiled = compile_criterion(dataset(labelled(60)))
    c = compiled.criterion
    assert (c.level, c.text) == ("prompt", "mentions of physical units")
    assert (c.rows.positive, c.rows.near_miss, c.rows.negative) == (30, 15, 15)
    assert c.routes[0].model_dump() == {"route": "dataset", "rows": 60, "sha256": None}
    assert sum(c.split.groups) == c.rows.groups
    assert abs(c.split.groups[0] - c.split.groups[1]) <= 1
    assert Criterion.read(c.model_dump(mode="json")) == c
    for half in ("discover", "confirm"):
        kinds = [row.kind for row in compiled.rows if row.half == half]
        assert 13 <= kinds.count("positive") <= 17
        assert 6 <= kinds.count("near_miss") <= 9


def test_no_group_spans_the_split():
    rows = labelled(80)
    luck = random.Random(0)
    for row in rows:
        row["group_id"] = f"g{luck.randint(0, 30)}"
    compiled = compile_criterion(dataset(rows))
    seen: dict[str, set[str]] = {}
    for row in compiled.rows:
        seen.setdefault(row.group, set()).add(row.half)
        seen.setdefault(row.source_group, set()).add(row.half)
    assert all(len(found) == 1 for found in seen.values())


def test_same_text_in_other_case_spaces_digits_and_near_copies_are_one_group():
    rows = labelled(20)
    base = rows[0]["text"]
    rows += [
        {"prompt_id": "case", "text": base.upper().replace(" ", "  "), "label": True},
        {"prompt_id": "digit", "text": base.translate(str.maketrans("123456789", "234567891")), "label": True},
        {"prompt_id": "near", "text": base.replace("away.", "away!"), "label": True},
    ]
    compiled = compile_criterion(dataset(rows))
    group = {row.prompt_id: row.group for row in compiled.rows}
    assert group["p0"] == group["case"] == group["digit"] == group["near"] == "case", "called after the smallest id"
    apart = compile_criterion(dataset(rows), near_duplicates="off")
    group = {row.prompt_id: row.group for row in apart.rows}
    assert group["p0"] == group["case"] == group["digit"] != group["near"]


def test_copies_are_dropped_and_contradictions_too():
    rows = labelled(40)
    rows.append(rows[0] | {"prompt_id": "copy"})
    rows.append({"prompt_id": "against", "text": rows[1]["text"], "label": True})
    compiled = compile_criterion(dataset(rows))
    assert compiled.criterion.rows.dropped == {"contradiction": 2, "duplicate": 1}
    assert "contradictions" in compiled.criterion.warnings
    assert {"p1", "against", "p0"} & set(halves(compiled)) == set(), "of copies the smallest id stays"
    assert "copy" in halves(compiled)


def records(rows, **more):
    names = [row["prompt_id"] for row in rows]
    kinds = [row.get("kind", "negative") for row in rows]
    texts = [row.get("text") for row in rows]
    return Records(names, [row.get("group_id", row["prompt_id"]) for row in rows], kinds, texts, **more)


def test_ready_records_lose_nothing():
    rows = labelled(40)
    rows.append(rows[0] | {"prompt_id": "copy"})
    rows.append({"prompt_id": "silent", "label": False})
    found = prepare_records("units", records(rows))
    assert len(found.group) == len(found.discover) == len(found.positive) == 42
    assert found.group[40] == found.group[0]
    assert found.groups[found.group[0]] == "copy"
    assert found.criterion.surface.n == 41
    assert found.criterion.rows.dropped == {}


def test_ready_records_get_the_halves_that_compiling_gives():
    rows = labelled(70)
    for i, row in enumerate(rows):
        row["group_id"] = f"g{i // 2}"
        row["factors"] = {"form": i % 3}
    compiled = compile_criterion(dataset(rows), near_duplicates="off", seed=5)
    found = prepare_records("units", records(rows, factors=[row["factors"] for row in rows]), seed=5)
    assert dict(zip([r["prompt_id"] for r in rows], found.discover.tolist(), strict=True)) == {
        name: half == "discover" for name, half in halves(compiled).items()
    }
    assert found.split == compiled.split
    assert found.criterion.surface == compiled.criterion.surface
    again = prepare_records("units", records(rows), seed=9, split=found.split, surface=False)
    assert (again.discover == found.discover).all()
    assert again.criterion.surface.n == 0


def test_y3_6_the_order_of_records_changes_nothing():
    rows = labelled(50)
    order = random.Random(2).sample(range(50), 50)
    one, other = (prepare_records("units", records([rows[i] for i in places])) for places in (range(50), order))
    assert one.criterion == other.criterion
    assert (one.discover[order] == other.discover).all()
    assert (one.group[order] == other.group).all()


def test_records_are_labelled_by_label_score_or_kind():
    found = kinds_of([True, None, None], [0.6, 0.7, None], [None, None, "neutral"])
    assert found == ["positive", "positive", "negative"]
    assert kinds_of(scores=[0.4, 0.6], threshold=0.3) == ["positive", "positive"]
    with pytest.raises(FormatError, match="3 mistakes") as caught:
        kinds_of([None, True, None, True], [None, None, 1.5, None], [None, "near_miss", None, None], name="r")
    for said in ("r:1: no label", "r:2: kind 'near_miss' contradicts", "r:3: criterion_score must lie in 0 to 1"):
        assert said in str(caught.value)
    with pytest.raises(FormatError, match=r"prompt 'a': label True contradicts criterion_score 0.1 at --threshold 0.5"):
        kinds_of([True, None], [0.1, 0.7], name="r", prompts=["a", "b"])
    assert kinds_of([True, None], [0.1, 0.7], threshold=0.1) == ["positive", "positive"]
    with pytest.raises(FormatError) as caught:
        kinds_of(scores=[0.1, 1.5], name="r", prompts=["a", "b"])
    assert "r: prompt 'b': criterion_score must lie in 0 to 1" in str(caught.value)


def test_records_of_one_class_or_uneven_columns_are_refused():
    with pytest.raises(Refusal, match="one class") as caught:
        prepare_records("units", Records(["a", "b"], ["a", "b"], ["positive", "positive"]))
    assert caught.value.exit_code == 4
    with pytest.raises(UserError, match="one entry a row"):
        prepare_records("units", Records(["a", "b"], ["a"], ["positive", "negative"]))


def test_y3_2_renaming_labels_or_rewording_changes_no_row_and_no_half():
    rows = labelled(60)
    first = compile_criterion(dataset(rows))
    spelled = [row | {"label": "1" if row["label"] else "0"} for row in rows]
    parts = replace(
        dataset(spelled, text="metres litres grams miles"), prompts=replace(Prompts.of(spelled), texts=True)
    )
    other = compile_criterion(parts)
    assert other.rows == first.rows
    assert other.criterion.surface == first.criterion.surface
    assert other.criterion.split == first.criterion.split
    assert other.criterion.id != first.criterion.id


def test_y3_6_the_order_of_rows_changes_neither_groups_nor_halves():
    rows = labelled(80)
    for i, row in enumerate(rows):
        row["group_id"] = f"g{i // 3}"
        row["factors"] = {"form": i % 3}
    first = compile_criterion(dataset(rows))
    order = random.Random(1).sample(rows, len(rows))
    other = compile_criterion(dataset(order))
    assert halves(other) == halves(first)
    assert other.criterion == first.criterion
    assert other.split == first.split


def test_another_seed_splits_otherwise():
    rows = labelled(80)
    found = [halves(compile_criterion(dataset(rows), seed=seed)) for seed in (0, 1)]
    same = np.mean([found[0][name] == found[1][name] for name in found[0]])
    assert 0.25 < same < 0.75


def test_strata_are_halved_one_by_one():
    rows = labelled(120)
    for i, row in enumerate(rows):
        row["factors"] = {"form": "question" if i % 10 == 0 else "order"}
    compiled = compile_criterion(dataset(rows), near_duplicates="off")
    rare = [row.half for row in compiled.rows if row.factors["form"] == "question"]
    assert abs(rare.count("discover") - rare.count("confirm")) <= 1


def test_factors_with_a_level_for_each_row_leave_the_halves_even():
    rows = [row | {"factors": {"word": i}} for i, row in enumerate(labelled(100))]
    compiled = compile_criterion(dataset(rows))
    for half in ("discover", "confirm"):
        own = [row.positive for row in compiled.rows if row.half == half]
        assert abs(2 * sum(own) - len(own)) <= 4
    assert halves(compiled) != halves(compile_criterion(dataset(rows), seed=1)), "chance decides, not the level"


def test_a_stored_split_is_reused_whatever_the_seed():
    rows = labelled(60)
    first = compile_criterion(dataset(rows), seed=3)
    again = compile_criterion(dataset(rows[:40]), seed=9, split=first.split)
    assert halves(again).items() <= halves(first).items()
    assert again.criterion.split.seed == 3
    assert again.criterion.split.sha256 == first.criterion.split.sha256


def test_a_split_that_does_not_know_a_group_is_refused():
    first = compile_criterion(dataset(labelled(40)))
    with pytest.raises(UserError, match="3 groups are not part of the split") as caught:
        compile_criterion(dataset(labelled(43)), split=first.split, near_duplicates="off")
    assert "p40, p41, p42" in str(caught.value)


def test_a_split_that_tears_a_group_is_refused():
    rows = labelled(40)
    first = compile_criterion(dataset(rows))
    a, b = (next(r for r in first.rows if r.half == half) for half in ("discover", "confirm"))
    torn = [
        row | {"group_id": "joined" if row["prompt_id"] in (a.prompt_id, b.prompt_id) else row["prompt_id"]}
        for row in rows
    ]
    split = replace_half(first.split, a.prompt_id, b.prompt_id)
    joined = [row | {"text": rows[0]["text"] + "." * i} for i, row in enumerate(torn[:2])]
    with pytest.raises(UserError, match="hold rows of both halves"):
        compile_criterion(dataset([*joined, *torn[2:]]), split=split)


def replace_half(split, one, two):
    forced = {"p0": "discover", "p1": "confirm", one: "discover", two: "confirm", "joined": "discover"}
    return split.model_copy(update={"halves": split.halves | forced})


def test_without_a_route_the_refusal_names_what_each_lacks():
    with pytest.raises(Refusal) as caught:
        compile_criterion(Parts(text="mentions of units"))
    assert caught.value.code == "no_route"
    assert caught.value.exit_code == 4
    for part in ("dataset: --prompts", "template: --template", "llm: --endpoint", "world: --criterion world:"):
        assert part in str(caught.value)


def test_an_attribute_of_the_world_takes_no_other_route():
    with pytest.raises(Refusal, match="no_route"):
        compile_criterion(Parts(text="world:unit", template=None))
    with pytest.raises(Refusal) as caught:
        compile_criterion(Parts(text="world:unit", prompts=Prompts.of(labelled(10))))
    assert caught.value.code == "no_route"


def test_routes_add_up():
    parts = replace(dataset(labelled(20)), template=Template(TEMPLATE))
    criterion = compile_criterion(parts).criterion
    assert [(r.route, r.rows) for r in criterion.routes] == [("dataset", 20), ("template", 60)]


def test_prompts_and_spans_do_not_mix():
    rows = labelled(20)
    rows[0] = {"prompt_id": "s", "text": "five metres", "spans": [[0, 4, True], [5, 11, False]]}
    with pytest.raises(UserError, match="one level"):
        compile_criterion(dataset(rows))


def test_a_class_that_is_dropped_whole_is_a_refusal_with_counts():
    rows = [{"prompt_id": f"a{i}", "text": "one text", "label": i == 0} for i in range(3)]
    rows += [{"prompt_id": "b", "text": "another", "label": False}]
    with pytest.raises(Refusal) as caught:
        compile_criterion(dataset(rows))
    assert (caught.value.code, caught.value.exit_code) == ("one_class", 4)
    assert "1 negative, 3 contradiction" in str(caught.value.got)


@pytest.mark.parametrize(
    ("change", "warned"),
    [
        (lambda row: row | {"text": row["text"] + (" and so on and on" if row["label"] else "")}, "surface_labels"),
        (lambda row: row | {"text": ("Surely " if row["label"] else "Hardly ") + row["text"]}, "surface_labels"),
        (lambda row: row | {"kind": "positive" if row["label"] else "negative"}, "no_near_miss"),
        (lambda row: row | {"group_id": f"g{int(row['prompt_id'][1:]) % 10}"}, "few_groups"),
        (lambda row: row | {"group_id": "g" if int(row["prompt_id"][1:]) < 45 else row["prompt_id"]}, "large_group"),
    ],
    ids=["length", "words", "no near miss", "few groups", "large group"],
)
def test_a_weak_criterion_is_warned_of(change, warned):
    plain = [row | {"text": row["text"].rsplit(",")[0]} for row in labelled(80)]
    assert compile_criterion(dataset(plain)).criterion.warnings == ()
    assert compile_criterion(dataset([change(row) for row in plain])).criterion.warnings == (warned,)


def test_compiling_imports_no_torch():
    code = "import sys; from radiograph.criteria import *\n"
    code += "rows = [{'text': 'a' * (i + 1), 'label': i % 2} for i in range(8)]\n"
    code += "compile_criterion(Parts(text='x', prompts=Prompts.of(rows))); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
