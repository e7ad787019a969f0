"""What each route draws, and what it refuses, with places."""

from __future__ import annotations

import json
from dataclasses import replace

import polars
import pytest

from radiograph.core import FormatError, UserError
from radiograph.criteria import (
    Parts,
    Prompts,
    Template,
    compile_criterion,
    prompts_of_suite,
    read_prompts,
    read_template,
    routes,
)
from radiograph.evidence import Suite
from radiograph.organisms import world

from .make import TEMPLATE, dataset, labelled


def drawn(rows, **more):
    return routes()["dataset"].draw(dataset(rows, **more), 0).rows


def test_the_four_routes_are_found_by_folder():
    assert list(routes()) == ["dataset", "llm", "template", "world"]


def test_scores_are_cut_at_the_threshold():
    rows = [{"text": f"t{i}", "criterion_score": s} for i, s in enumerate((0.0, 0.49, 0.5, 1.0))]
    assert [row.positive for row in drawn(rows)] == [False, False, True, True]
    assert [row.positive for row in drawn(rows, threshold=0.4)] == [False, True, True, True]
    assert [row.score for row in drawn(rows)] == [0.0, 0.49, 0.5, 1.0]


def test_a_label_agrees_with_its_score_and_a_kind_may_stand_alone():
    rows = [
        {"text": "a", "criterion_score": 0.4, "label": False, "kind": "near_miss"},
        {"text": "b", "kind": "positive"},
        {"text": "c", "kind": "neutral"},
    ]
    assert [row.kind for row in drawn(rows)] == ["near_miss", "positive", "negative"]


def test_spans_become_rows_of_their_own():
    row = {"prompt_id": "s", "text": "five metres", "spans": [[5, 11, True], [0, 4, False]], "targets": [" metres"]}
    found = drawn([row])
    assert [(r.span, r.kind, r.surface) for r in found] == [
        ((5, 11), "positive", "metres"),
        ((0, 4), "negative", "five"),
    ]
    assert {r.source_group for r in found} == {"s"}
    assert found[0].targets == (" metres",)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"label": True}, "no text"),
        ({"text": " ", "label": True}, "not empty"),
        ({"text": "a"}, "no label"),
        ({"text": "a", "label": "perhaps"}, "label must be true or false"),
        ({"text": "a", "label": 2}, "label must be true or false"),
        ({"text": "a", "criterion_score": 1.5}, "must lie in 0 to 1"),
        ({"text": "a", "criterion_score": -0.1}, "must lie in 0 to 1"),
        ({"text": "a", "criterion_score": float("nan")}, "must be a number"),
        ({"text": "a", "criterion_score": "0.5"}, "must be a number"),
        ({"text": "a", "label": True, "kind": "near_miss"}, "contradicts"),
        ({"text": "a", "label": True, "criterion_score": 0.4}, "contradicts criterion_score 0.4 at --threshold 0.5"),
        ({"text": "a", "label": 0, "criterion_score": 0.5}, "label False contradicts"),
        ({"text": "a", "label": True, "kind": "far"}, "kind must be one of"),
        ({"text": "abc", "spans": [[0, 4, True]]}, "inside the 3 characters"),
        ({"text": "abc", "spans": [[2, 2, True]]}, "inside the 3 characters"),
        ({"text": "abc", "spans": []}, "list of [start, end, label]"),
        ({"text": "a", "label": True, "targets": "x"}, "targets must be a list"),
        ({"text": "a", "label": True, "factors": {"f": [1]}}, "level of factor 'f'"),
        ({"text": "a", "label": True, "group_id": 1.5}, "group_id must be a text"),
        ({"text": "a", "label": True, "messages": [{"role": "user"}]}, "messages must be"),
        ({"prompt_id": "p0", "text": "another text", "label": True}, "prompt id 'p0' names another text on line 1"),
    ],
)
def test_a_bad_row_is_refused_with_its_line(row, said):
    with pytest.raises(FormatError) as caught:
        drawn([*labelled(2), row])
    assert "rows:3: " in str(caught.value)
    assert said in str(caught.value)
    assert caught.value.exit_code == 3


def test_five_mistakes_are_shown_and_the_rest_counted():
    with pytest.raises(FormatError, match="9 mistakes") as caught:
        drawn([{"text": "a"} for _ in range(9)])
    assert str(caught.value).count("no label") == 5
    assert "and 4 more" in str(caught.value)


@pytest.mark.parametrize("label", [True, False])
def test_one_class_is_an_error_that_counts(label):
    with pytest.raises(UserError) as caught:
        drawn([row | {"label": label, "kind": None} for row in labelled(7)])
    assert (caught.value.code, caught.value.exit_code) == ("one_class", 3)
    assert "all 7 labels" in str(caught.value)


@pytest.mark.parametrize("threshold", [0.0, 1.1, -1])
def test_a_threshold_is_a_share(threshold):
    with pytest.raises(UserError, match="threshold"):
        drawn(labelled(4), threshold=threshold)


def test_every_kind_of_file_gives_the_same_rows(tmp_path):
    rows = [row | {"factors": {"form": "a"}, "targets": [" m"]} for row in labelled(10)]
    lines = "\n".join(json.dumps(row) for row in rows)
    (tmp_path / "p.jsonl").write_text(lines)
    flat = [
        {**r, "label": str(r["label"]).lower(), "targets": json.dumps(r["targets"]), "factor.form": "a"} for r in rows
    ]
    for row in flat:
        del row["factors"]
    polars.DataFrame(flat).write_csv(tmp_path / "p.csv")
    typed = [{k: v for k, v in row.items() if k != "factors"} | {"factor.form": "a"} for row in rows]
    polars.DataFrame(typed).write_parquet(tmp_path / "p.parquet")
    expected = drawn(rows)
    for name in ("p.jsonl", "p.csv", "p.parquet"):
        prompts = read_prompts(tmp_path / name)
        assert routes()["dataset"].draw(Parts(text="x", prompts=prompts), 0).rows == expected, name
        assert prompts.sha256


def test_a_suite_is_read_by_its_factors():
    prompts = [
        {"id": "a", "messages": [{"role": "user", "content": "five metres"}], "factors": {"label": 1, "form": "x"}},
        {
            "id": "b",
            "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "five shells"}],
            "group": "g",
            "factors": {"label": 0, "kind": "near_miss"},
        },
    ]
    suite = Suite.model_validate({"suite_name": "s", "prompts": prompts})
    one, two = routes()["dataset"].draw(Parts(text="x", prompts=prompts_of_suite(suite)), 0).rows
    assert (one.text, one.kind, dict(one.factors), one.messages) == ("five metres", "positive", {"form": "x"}, ())
    assert (two.text, two.kind, two.source_group, len(two.messages)) == ("five shells", "near_miss", "g", 2)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("p.jsonl", b'{"text": "a"}\n{"text": NaN}\n{oops\n', "p.jsonl:2"),
        ("p.jsonl", b"", "no rows"),
        ("p.csv", b"text,label\na,1,2\n", "p.csv:2"),
        ("p.csv", b'text,label\n"a,1\n', "not CSV"),
        ("p.csv", b"text\n\xff\n", "not UTF-8"),
        ("p.csv", b"text,spans\na,[1\n", "spans is not JSON"),
        ("p.parquet", b"PAR1", "not Parquet"),
        ("p.xlsx", b"x", "no format for"),
    ],
)
def test_a_bad_file_is_refused_with_its_place(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=r".") as caught:
        read_prompts(tmp_path / name)
    assert said in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_a_template_makes_matched_sets():
    parts = Parts(text="units", template=Template(TEMPLATE))
    rows = routes()["template"].draw(parts, 0).rows
    assert len(rows) == (4 * 2 + 2) * 2 * 3
    first = rows[:3]
    assert [row.text for row in first] == [f"The rope is three {w} long." for w in ("metres", "steps", "songs")]
    assert [row.kind for row in first] == ["positive", "near_miss", "negative"]
    assert len({row.source_group for row in first}) == 1
    compiled = compile_criterion(parts, near_duplicates="off")
    for group in {row.group for row in compiled.rows}:
        own = [row for row in compiled.rows if row.group == group]
        assert {row.kind for row in own} == {"positive", "near_miss", "negative"}
        assert len({row.half for row in own}) == 1


def test_a_seeded_part_of_the_sets_is_the_same_each_time():
    part = TEMPLATE | {"sets": 7, "factors": ["tool"], "targets": [" metres"]}
    found = [routes()["template"].draw(Parts(text="u", template=Template(part)), seed).rows for seed in (0, 0, 1)]
    assert len(found[0]) == 21
    assert found[0] == found[1] != found[2]
    assert found[0][0].targets == (" metres",)
    assert any(row.factors.get("tool") for row in found[0])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"template": ["x"]}, "did you mean 'templates'"),
        ({"templates": []}, "a list of texts is needed"),
        ({"templates": ["The {tol} is {thing}"]}, "unknown slot 'tol'"),
        ({"templates": ["The {tool}"]}, "no slot that is filled by kind"),
        ({"slots": {"number": [True]}}, "quote words such as"),
        ({"slots": {"thing": ["a"]}}, "both shared and filled"),
        ({"fillers": {"positive": {"thing": ["m"]}}}, "near_miss or negative"),
        ({"fillers": {"positive": {"thing": ["m"]}, "negative": {"thing": ["a", "b"]}}}, "equally long"),
        ({"fillers": {"positive": {"thing": ["m"]}, "negative": {"other": ["a"]}}}, "other slots"),
        (
            {"fillers": {"positive": {"thing": ["m"]}, "neutral": {"thing": ["a"]}, "negative": {"thing": ["b"]}}},
            "twice",
        ),
        ({"factors": ["size"]}, "no shared slot"),
        ({"sets": 0}, "whole number from 1"),
    ],
)
def test_a_bad_template_says_what_is_wrong(change, said):
    with pytest.raises(FormatError) as caught:
        compile_criterion(Parts(text="x", template=Template(TEMPLATE | change, "units.yaml")))
    assert said in str(caught.value)
    assert "units.yaml" in str(caught.value)


def test_a_template_is_read_from_yaml(tmp_path):
    path = tmp_path / "units.yaml"
    path.write_text(json.dumps(TEMPLATE))
    read = read_template(path)
    assert read.document == TEMPLATE
    assert read.sha256
    assert compile_criterion(Parts(text="units", template=read)).criterion.routes[0].sha256 == read.sha256
    for text, said in (("- a", "no map"), ("templates: []\ntemplates: []", "stands twice"), ("{", "not valid YAML")):
        path.write_text(text)
        with pytest.raises(FormatError) as caught:
            read_template(path)
        assert said in str(caught.value)


def test_a_template_that_makes_too_many_rows_is_refused():
    many = TEMPLATE | {"slots": {"tool": [f"t{i}" for i in range(200)], "number": [str(i) for i in range(100)]}}
    with pytest.raises(UserError, match="sets: N"):
        compile_criterion(Parts(text="x", template=Template(many)))


def test_labels_of_the_world_are_those_of_its_tokens():
    compiled = compile_criterion(Parts(text="world:quantity", world=world, count=60))
    assert compiled.criterion.level == "token"
    for row in compiled.rows:
        number, place = int(row.source_group.split("-")[-1]), int(row.prompt_id.split("@")[1])
        document = next(world.World().documents("mixture", "test", start=number, count=1))
        assert row.positive == ("quantity" in document.labels[place])
        assert row.tokens == document.ids[: place + 1]
        assert row.text is not None
        assert row.text.endswith(row.surface or "?")
        assert world.decode(row.tokens[-1:]) == row.surface
        assert world.encode(row.text)[-1] == row.tokens[-1]


def test_what_follows_gives_targets_and_exact_scores():
    rows = compile_criterion(Parts(text="world:next_unit", world=world, count=60)).rows
    assert set(rows[0].targets) <= {
        f" {w}" for w in ("metres", "litres", "grams", "kilos", "hours", "minutes", "miles", "days")
    }
    assert all(row.score is not None and 0 <= row.score <= 1 for row in rows)
    assert min(row.score or 0 for row in rows if row.positive) > 0
    positive = [row.score or 0 for row in rows if row.positive]
    assert sum(positive) / len(positive) > 0.5


def test_an_unknown_attribute_names_the_nearest():
    with pytest.raises(UserError, match="unit"):
        compile_criterion(Parts(text="world:units", world=world))


def test_a_criterion_that_is_a_word_class_is_called_a_surface_label():
    parts = Parts(text="world:unit", world=world, count=160)
    assert "surface_labels" in compile_criterion(parts).criterion.warnings
    assert "surface_labels" not in compile_criterion(replace(parts, text="world:next_unit")).criterion.warnings


def test_prompts_may_be_given_in_memory():
    assert Prompts.of([{"text": "a"}]).numbers == range(1, 2)
